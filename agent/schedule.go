package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// civilLayout writes an occurrence: the time on the clinic's wall clock. Civil
// times, not instants, identify occurrences: 02:30 is due once on the day the
// clocks go forward and once on the day they go back.
const civilLayout = "2006-01-02T15:04"

// occurrence states
const (
	occurrenceDue       = "due"
	occurrenceCommitted = "committed"
	occurrenceMissed    = "missed"
)

// civilNow is the wall clock of a zone, written as if it were UTC, so that
// arithmetic on it knows no daylight saving.
func civilNow(now time.Time, zone *time.Location) time.Time {
	t := now.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// dueBetween lists the civil times after `from` up to and including `to` at
// which the schedule comes due, at most `most` of the newest.
func dueBetween(schedule cron.Schedule, from, to time.Time, most int) []time.Time {
	var due []time.Time
	for t := schedule.Next(from); !t.IsZero() && !t.After(to); t = schedule.Next(t) {
		due = append(due, t)
		if len(due) > most {
			due = due[1:]
		}
	}
	return due
}

// keptOccurrences bounds how many missed occurrences one outage may record.
const keptOccurrences = 1000

// recordDue writes down what has come due since the last look: the newest
// occurrence as due, all earlier ones as missed, because one run covers them.
// It returns the civil time of what is due, or "".
func recordDue(ctx context.Context, tx *sql.Tx, exchange string, schedule cron.Schedule, now time.Time, zone *time.Location) (string, error) {
	civil := civilNow(now, zone)
	from, err := lastOccurrence(ctx, tx, exchange, civil)
	if err != nil {
		return "", err
	}
	due := dueBetween(schedule, from, civil, keptOccurrences)
	if len(due) == 0 {
		return "", nil
	}
	newest := due[len(due)-1].Format(civilLayout)
	if _, err := tx.ExecContext(ctx, `UPDATE occurrence SET state = ?, reason = 'covered by the occurrence of ' || ? || CASE reason WHEN '' THEN '' ELSE '; last: ' || reason END
		WHERE exchange = ? AND state = ?`, occurrenceMissed, newest, exchange, occurrenceDue); err != nil {
		return "", err
	}
	for _, t := range due[:len(due)-1] {
		if _, err := tx.ExecContext(ctx, `INSERT INTO occurrence (exchange, civil, state, reason) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			exchange, t.Format(civilLayout), occurrenceMissed, "the agent was not running; covered by the occurrence of "+newest); err != nil {
			return "", err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO occurrence (exchange, civil, state) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, exchange, newest, occurrenceDue)
	return newest, err
}

// lastOccurrence is the newest civil time recorded for an exchange; for one
// that was never served, the present, so that nothing from before is due.
func lastOccurrence(ctx context.Context, tx *sql.Tx, exchange string, civil time.Time) (time.Time, error) {
	if _, err := tx.ExecContext(ctx, `INSERT INTO exchange (name, since) VALUES (?, ?)
		ON CONFLICT (name) DO UPDATE SET since = excluded.since WHERE since = ''`, exchange, civil.Format(civilLayout)); err != nil {
		return time.Time{}, err
	}
	var last string
	err := tx.QueryRowContext(ctx, `SELECT max(since, coalesce((SELECT max(civil) FROM occurrence WHERE exchange = e.name), '')) FROM exchange e WHERE name = ?`, exchange).Scan(&last)
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(civilLayout, last)
	if err != nil {
		return time.Time{}, fail(Altered, err, "restore the state from its backup", "occurrence of %s", exchange)
	}
	return t, nil
}

// settleOccurrence records within a commit that an occurrence led to a drop.
// It fails when the occurrence was already settled: each commits at most once.
func settleOccurrence(ctx context.Context, tx *sql.Tx, exchange, civil string, number int64) error {
	result, err := tx.ExecContext(ctx, `UPDATE occurrence SET state = ?, number = ?, reason = '' WHERE exchange = ? AND civil = ? AND state = ?`,
		occurrenceCommitted, number, exchange, civil, occurrenceDue)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, fail(Locked, nil, "nothing was committed", "occurrence %s of %s is already settled", civil, exchange))
	}
	return nil
}

// noteOccurrence keeps the last error of an occurrence that is still due.
func noteOccurrence(ctx context.Context, db *sql.DB, exchange, civil string, cause error) {
	_, _ = db.ExecContext(ctx, `UPDATE occurrence SET reason = ? WHERE exchange = ? AND civil = ? AND state = ?`, cause.Error(), exchange, civil, occurrenceDue)
}

// Occurrence is one scheduled time of an exchange.
type Occurrence struct {
	Exchange string `json:"exchange"`
	Civil    string `json:"civil"`
	State    string `json:"state"`
	Number   int64  `json:"number,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// Upcoming lists the next n civil times of every scheduled exchange.
func (c *Config) Upcoming(now time.Time, n int) ([]Occurrence, error) {
	var list []Occurrence
	for _, e := range c.Exchanges {
		if e.Value.Schedule == "" {
			continue
		}
		schedule, err := parseSchedule(e.Value.Schedule, c.Zone)
		if err != nil {
			return nil, fmt.Errorf("exchange %s: %w", e.Key, err)
		}
		t := civilNow(now, c.Zone)
		for range n {
			if t = schedule.Next(t); t.IsZero() {
				break
			}
			list = append(list, Occurrence{Exchange: e.Key, Civil: t.Format(civilLayout), State: "upcoming"})
		}
	}
	return list, nil
}
