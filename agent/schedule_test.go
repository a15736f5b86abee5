package agent

import (
	"context"
	"database/sql"
	"testing"
	"time"
)

func TestCivilTimesKnowNoDaylightSaving(t *testing.T) {
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := parseSchedule("30 1,2 * * *", zone)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, from, to string
		want           []string
	}{
		{"clocks go forward", "2026-03-08T00:00:00-06:00", "2026-03-08T12:00:00-05:00", []string{"2026-03-08T01:30", "2026-03-08T02:30"}},
		{"clocks go back", "2026-11-01T00:00:00-05:00", "2026-11-01T12:00:00-06:00", []string{"2026-11-01T01:30", "2026-11-01T02:30"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			from, _ := time.Parse(time.RFC3339, c.from)
			to, _ := time.Parse(time.RFC3339, c.to)
			var got []string
			for _, d := range dueBetween(schedule, civilNow(from, zone), civilNow(to, zone), 10) {
				got = append(got, d.Format(civilLayout))
			}
			if len(got) != len(c.want) || got[0] != c.want[0] || got[1] != c.want[1] {
				t.Fatalf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSchedulesThatAreRefused(t *testing.T) {
	for _, line := range []string{"TZ=UTC", "TZ=UTC 0 2 * * *", "@every -1h", "@every 1h", "0 0 31 4 *", "* * *", "", "61 * * * *"} {
		if _, err := parseSchedule(line, time.UTC); err == nil {
			t.Errorf("%q was accepted", line)
		}
	}
}

// TestOutageIsCaughtUpOnce: after three missed nights one run is due and two
// are recorded as missed; the run commits once and no second time.
func TestOutageIsCaughtUpOnce(t *testing.T) {
	ctx := context.Background()
	db, err := openDatabase(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	schedule, err := parseSchedule("30 2 * * *", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	at := func(day int) time.Time { return time.Date(2026, 6, day, 12, 0, 0, 0, time.UTC) }
	look := func(day int) (due string) {
		t.Helper()
		err := inTx(ctx, db, func(tx *sql.Tx) error {
			due, err = recordDue(ctx, tx, "x", schedule, at(day), time.UTC)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return due
	}
	if due := look(1); due != "" {
		t.Fatalf("due at first sight: %s", due)
	}
	if due := look(4); due != "2026-06-04T02:30" {
		t.Fatalf("due %q", due)
	}
	settle := func() error {
		return inTx(ctx, db, func(tx *sql.Tx) error { return settleOccurrence(ctx, tx, "x", "2026-06-04T02:30", 1) })
	}
	if err := settle(); err != nil {
		t.Fatal(err)
	}
	if err := settle(); err == nil {
		t.Fatal("an occurrence committed twice")
	}
	var missed int
	if err := db.QueryRow(`SELECT count(*) FROM occurrence WHERE state = 'missed'`).Scan(&missed); err != nil || missed != 2 {
		t.Fatalf("missed %d (%v), want 2", missed, err)
	}
	if due := look(4); due != "" {
		t.Fatalf("due again: %s", due)
	}
}
