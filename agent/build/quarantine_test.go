package build

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/posternhealth/postern/deid/gate"
)

// What is kept and told apart is bounded, and a rare hit is not crowded out by
// a common one. What cannot be told apart is excepted by nobody.
func TestQuarantineIsBounded(t *testing.T) {
	var kept bytes.Buffer
	q := &quarantine{hits: map[Stop]*met{}, open: func() (io.Writer, error) { return &kept, nil }}
	hit := func(position string) []gate.Hit { return []gate.Hit{{Position: position, Rule: "pattern: e-mail"}} }
	take := func(line int64, position string) {
		t.Helper()
		if err := q.take("scores", line, "scores.csv:9", []byte("a,b\r\n"), hit(position)); err != nil {
			t.Fatal(err)
		}
	}
	for n := range int64(3 * KeptForView) {
		take(n, "common")
	}
	take(1, "rare")
	if n := strings.Count(kept.String(), "\n  | a,b\n"); n != KeptForView+1 || !strings.Contains(kept.String(), `position "rare"`) {
		t.Errorf("%d rows are kept", n)
	}
	for n := range 2 * mostStops {
		take(1, fmt.Sprint(n))
	}
	found := q.found()
	if len(found) != mostStops+1 {
		t.Fatalf("%d are told apart", len(found))
	}
	rows := int64(0)
	for _, h := range found {
		if rows += h.Rows; h.Stop == elsewhere && h.MayBeFalse() {
			t.Error("what is not told may be excepted")
		}
	}
	if rows != 3*KeptForView+1+2*mostStops || rows != q.rows {
		t.Errorf("%d rows are told of %d", rows, q.rows)
	}
}

// The rows that people looked at pass, and not one more, one less or another; a
// row with a second hit needs both.
func TestExceptionsCount(t *testing.T) {
	race, note := gate.Hit{Position: "race", Rule: "pattern: e-mail"}, gate.Hit{Position: "note", Rule: "roster: name"}
	except := []Hits{{Stop{"scores", race.Position, race.Rule}, 2, fmt.Sprintf("%x", sha256.Sum256([]byte("scores.csv:4\nscores.csv:9\n")))}}
	for rows, stopped := range map[string]bool{"4 9": false, "4": true, "4 9 9": true, "4 8": true} {
		q := &quarantine{hits: map[Stop]*met{}, excepted: except}
		for _, line := range strings.Fields(rows) {
			if err := q.take("scores", 1, "scores.csv:"+line, nil, []gate.Hit{race}); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.verdict(); (err != nil) != stopped || q.stopped != stopped {
			t.Errorf("rows %s: %v", rows, err)
		}
	}
	for _, other := range []struct {
		dataset string
		hits    []gate.Hit
	}{{"scores", []gate.Hit{race, note}}, {"visits", []gate.Hit{race}}} {
		q := &quarantine{hits: map[Stop]*met{}, excepted: except}
		if err := q.take(other.dataset, 1, "", nil, other.hits); err != nil {
			t.Fatal(err)
		}
		var held *Quarantined
		if !q.stopped || !errors.As(q.verdict(), &held) || held.Rows != 1 || len(held.Hits) != len(other.hits) {
			t.Errorf("%v of %s passed", other.hits, other.dataset)
		}
	}
}
