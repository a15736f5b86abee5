package build

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
)

// Stop is where in the rows of a dataset the gate found something, and by
// which rule. It never holds a value.
type Stop struct {
	Dataset  string `json:"dataset"`
	Position string `json:"position"`
	Rule     string `json:"rule"`
}

// MayBeFalse tells whether people may find that this is a false alarm.
func (s Stop) MayBeFalse() bool { return (&gate.Hit{Rule: s.Rule}).MayBeFalse() }

// Hits are the rows in which the gate found one and the same.
type Hits struct {
	Stop
	Rows  int64  `json:"rows"`
	Which string `json:"places_sha256"` // of where each stood in the extract, FILE:LINE and a line feed, in the order of the drop
}

func (h Hits) String() string {
	at := "the row"
	if h.Position != "" {
		at = fmt.Sprintf("%q", h.Position)
	}
	return fmt.Sprintf("dataset %s, %s: %s, in %d rows", h.Dataset, at, h.Rule, h.Rows)
}

// Quarantined is why the gate stopped a drop.
type Quarantined struct {
	Rows int64  // that were stopped, or were let through by an exception
	Hits []Hits // by dataset, position, rule
}

func (q *Quarantined) Error() string {
	text := fmt.Sprintf("the drop was stopped by the gate at %d rows", q.Rows)
	for _, h := range q.Hits {
		text += "\n  " + h.String()
	}
	return text + "\nnothing was sent"
}

// Exceptions says which hits, in a run that read these files, people found to be
// false alarms: so many rows, and these.
type Exceptions func(ctx context.Context, sources []extract.FileSum) ([]Hits, error)

const (
	mostStops = 100 // that are told apart
	// KeptForView is how many rows of each stop are kept for people to look at.
	KeptForView = 1000
)

// elsewhere stands for the stops beyond mostStops.
var elsewhere = Stop{Dataset: "any", Rule: "more positions and rules than are told apart"}

// quarantine takes the rows in which the gate found something. With the first
// for which there is no exception the drop is stopped: nothing more is written
// to it, and the gate goes on only so that people are told of everything. Whether
// the rows of an exception are the very ones shows when all are known: a consent
// that has ended may have made room for one that has begun.
type quarantine struct {
	excepted []Hits
	rows     int64
	hits     map[Stop]*met
	stopped  bool
	open     func() (io.Writer, error) // nil: the rows are kept nowhere
	out      io.Writer
}

// met are the rows of one stop so far.
type met struct {
	rows   int64
	places hash.Hash
}

func (r *Run) openQuarantine(ctx context.Context) (err error) {
	r.held = &quarantine{hits: map[Stop]*met{}, open: r.Review}
	if r.Exceptions != nil {
		r.held.excepted, err = r.Exceptions(ctx, r.index.sums)
	}
	return err
}

// take notes what was found in a row, and writes the row out for people to see:
// from says where it stood in the source, "" of a header or trailer. The form
// is that of docs/quarantine.md.
func (q *quarantine) take(dataset string, line int64, from string, text []byte, hits []gate.Hit) error {
	q.rows++
	keep := false
	for _, hit := range hits {
		stop := Stop{dataset, hit.Position, hit.Rule}
		if q.hits[stop] == nil && len(q.hits) >= mostStops {
			stop = elsewhere
		}
		m := q.hits[stop]
		if m == nil {
			m = &met{places: sha256.New()}
			q.hits[stop] = m
		}
		m.rows++
		fmt.Fprintln(m.places, from)
		q.stopped = q.stopped || !slices.ContainsFunc(q.excepted, func(h Hits) bool { return h.Stop == stop && h.Rows >= m.rows })
		keep = keep || m.rows <= KeptForView
	}
	if q.open == nil || !keep {
		return nil
	}
	if q.out == nil {
		var err error
		if q.out, err = q.open(); err != nil {
			return err
		}
	}
	view := fmt.Appendf(nil, "\nrow %d of dataset %s", line, dataset)
	if from != "" {
		view = fmt.Appendf(view, ", from %s", from)
	}
	for _, hit := range hits {
		view = fmt.Appendf(view, "\n  position %q, rule %q", hit.Position, hit.Rule)
	}
	_, err := q.out.Write(append(append(append(view, "\n  | "...), strings.TrimRight(string(text), "\r\n")...), '\n'))
	return err
}

// found lists all hits, by dataset, position and rule.
func (q *quarantine) found() []Hits {
	list := []Hits{}
	for _, stop := range slices.SortedFunc(maps.Keys(q.hits), func(a, b Stop) int {
		return cmp.Or(cmp.Compare(a.Dataset, b.Dataset), cmp.Compare(a.Position, b.Position), cmp.Compare(a.Rule, b.Rule))
	}) {
		list = append(list, Hits{stop, q.hits[stop].rows, hex.EncodeToString(q.hits[stop].places.Sum(nil))})
	}
	return list
}

// quarantined stops the drop at once, for a hit in what Postern itself writes
// beside the rows: nobody needs to see that to know that it is a defect.
func (r *Run) quarantined(dataset string, line int64, hit *gate.Hit) error {
	r.held.stopped = true
	return cmp.Or(r.held.take(dataset, line, "", nil, []gate.Hit{*hit}), r.held.verdict())
}

// verdict is the failure of a drop that was stopped, or of which other rows were
// excepted than are in it.
func (q *quarantine) verdict() error {
	found := q.found()
	for _, h := range found {
		q.stopped = q.stopped || !slices.Contains(q.excepted, h)
	}
	if !q.stopped {
		return nil
	}
	return failure.New(failure.Unbalanced, &Quarantined{q.rows, found}, "see what the policy releases there", "")
}

// GateFound says of a sealed drop that the gate found nothing, or which of its
// hits people had found to be false alarms.
func (r *Run) GateFound() any {
	if len(r.held.hits) == 0 {
		return "clean"
	}
	return map[string][]Hits{"excepted": r.held.found()}
}
