package build

import (
	"errors"
	"fmt"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// outcome is what a worker found out about one record.
type outcome struct {
	dataset string
	place   extract.Place
	reasons extract.ReasonSet
	detail  string
	part    int // index of the part it goes to; -1 when it is not released
	subject consent.Subject
	self    uint64
	only    bool
	record  [16]byte // keyed hash of its id, for its row key
	hasID   bool
	bytes   [2]int // in the batch's arena
	holes   [2]int // in the batch's holes
	keys    int    // that its lines await
	several [2]int // in the batch's people, of a record about more than one
	part2   bool
	rests   string       // on what it rests, under Part 2
	tallies deid.Tallies // of a record that goes out only if a released one refers to it
	facts   [2]int       // in the batch's arena: for the decision index; of the engine alone, the person's id
	met     meeting      // for a drop of changes
	date    extract.Day  // likewise
}

// batch is the work done on one chunk. It is reused for later chunks.
type batch struct {
	plain    *plainChunk // instead of all else: the chunk needs no reading
	outcomes []outcome
	arena    []byte
	holes    []deid.Hole
	people   []consent.Subject
}

// releaseWorker decides and transforms the records of chunks. It has all its
// scratch space to itself; what it shares is read-only by now.
type releaseWorker struct {
	run     *Run
	scanner *extract.Scanner
	rec     extract.Record
	engines map[string]*deid.Engine
	apart   map[string]*deid.Engine // for records of which it is not known yet whether they leave
	out     deid.Output
	subject deid.Subject
	seen    extract.Day // start.seen of the subject
	id      []byte
}

func (w *releaseWorker) work(chunk *extract.Chunk, old *batch) (*batch, error) {
	b := old
	if b == nil {
		b = new(batch)
	}
	b.plain, b.outcomes, b.arena, b.holes, b.people = nil, b.outcomes[:0], b.arena[:0], b.holes[:0], b.people[:0]
	base := int64(0)
	if x := w.run.index; !w.run.engine {
		if chunk.Index >= len(x.bases) {
			return nil, w.run.changed(chunk.File().Name)
		}
		base = x.bases[chunk.Index]
		if p := &x.plain[chunk.Index]; p.n > 0 && w.run.Inspect == nil && x.repeats.none(base, p.n) {
			b.plain = p
			return b, nil
		}
	}
	w.scanner.Reset(chunk)
	for w.scanner.Next(&w.rec) {
		w.rec.Ordinal += base
		b.outcomes = append(b.outcomes, outcome{})
		o := &b.outcomes[len(b.outcomes)-1]
		if err := w.one(b, o); err != nil {
			return nil, fmt.Errorf("%s: %w", w.run.at(w.rec.Place), err)
		}
		if w.run.changes != nil {
			w.meet(o)
		}
		if w.run.Inspect != nil {
			w.run.Inspect(&w.rec, o.reasons, o.part2)
		}
	}
	return b, nil
}

// one finds the outcome of the record in w.rec. No step is skipped because an
// earlier one has decided, so that the clinic's book shows every reason.
func (w *releaseWorker) one(b *batch, o *outcome) error {
	rec := &w.rec
	o.dataset, o.place, o.part, o.subject = rec.Dataset, rec.Place, -1, consent.NoSubject
	if rec.Reject != extract.NoReason {
		o.reasons, o.detail = o.reasons.With(rec.Reject), rec.Detail
		return nil
	}
	o.reasons = o.reasons.With(w.run.index.repeats.of(rec.Ordinal))
	flow := w.run.flows[rec.Dataset]
	if flow == nil {
		o.reasons = o.reasons.With(extract.NotNamed)
		return nil
	}
	w.fillSubject(flow, o)
	var decision consent.Decision
	if !w.run.engine {
		decision = w.run.Decider.Decide(&rec.Facts)
		o.part2 = decision.Part2
	}
	if w.run.derived.Has(rec.Ordinal) {
		decision.Reasons = decision.Reasons.With(extract.DerivedFromWithheld)
		o.detail = "it names evidence that is withheld, or that is not in this extract"
	}
	if decision.Reasons != 0 {
		w.subject.Index = w.seen
	}
	o.reasons = o.reasons.With(flow.plan.InScope(rec)).With(flow.plan.InCohort(rec, &w.subject))
	if w.run.changes != nil {
		w.followable(o)
	}
	if o.reasons |= decision.Reasons; o.reasons != 0 {
		return nil
	}
	return w.transform(b, o, flow, decision.Part2)
}

// fillSubject looks up what transforms need of the record's person.
func (w *releaseWorker) fillSubject(flow *flow, o *outcome) {
	w.subject = deid.Subject{Birth: extract.NoSpan, Death: extract.NoSpan, Index: extract.NoDay, Lookup: w.subject.Lookup[:0]}
	w.seen = extract.NoDay
	if len(w.rec.Facts.Subjects) == 1 {
		if s, ok := w.run.index.people.Find(w.rec.Facts.Subjects[0]); ok {
			o.subject = s
			w.subject.ID = w.run.index.people.ID(s)
			known := w.run.index.person(s)
			w.subject.Birth, w.subject.Death, w.subject.Index = known.birth, known.death, known.index
			w.seen = known.seen
		}
	}
	for _, l := range flow.plan.Lookups() {
		var value phi.Bytes
		switch roster, table := w.run.Tables.Rosters[l.Input], w.run.LookUps[l.Input]; {
		case l.By != deid.ByPerson && table != nil:
			value = table.value(w.rec.Row[l.By], l.Column)
		case l.By == deid.ByPerson && roster != nil && o.subject != consent.NoSubject:
			value = roster.Value(o.subject, l.Column, w.rec.Facts.Date)
		}
		w.subject.Lookup = append(w.subject.Lookup, value)
	}
}

func (w *releaseWorker) transform(b *batch, o *outcome, flow *flow, part2 bool) error {
	o.only = len(w.rec.Facts.Subjects) == 0 && !w.run.engine
	engines := w.engines
	if o.only {
		engines = w.apart
	}
	engine := engines[flow.dataset]
	if engine == nil {
		engine = flow.plan.Engine()
		engines[flow.dataset] = engine
	}
	w.out.Bytes, w.out.Holes = b.arena, w.out.Holes[:0]
	start := len(b.arena)
	if err := engine.Apply(&w.rec, &w.subject, &w.out); err != nil {
		return o.reject(err)
	}
	b.arena = w.out.Bytes
	o.bytes = [2]int{start, len(b.arena)}
	firstHole := len(b.holes)
	for _, h := range w.out.Holes { // holes count from the row's first byte
		h.Start -= uint32(start)
		h.End -= uint32(start)
		b.holes = append(b.holes, h)
		if h.Kind == deid.RowKey {
			o.keys++
		}
	}
	o.holes = [2]int{firstHole, len(b.holes)}
	if w.run.engine {
		o.part = 0
		if len(w.rec.Facts.Subjects) == 1 {
			start = len(b.arena)
			b.arena = append(b.arena, w.rec.Facts.Subjects[0]...)
			o.facts = [2]int{start, len(b.arena)}
		}
		return nil
	}
	o.part, o.part2 = flow.part(part2), part2
	if o.only {
		o.tallies = engine.Take()
	}
	if part2 && w.run.scopes != nil && !o.only {
		o.rests = w.run.Decider.RestsOn(&w.rec.Facts)
	}
	w.fillSeveral(b, o)
	w.identify(o)
	if !o.only {
		start = len(b.arena)
		b.arena = consent.AppendFacts(b.arena, &w.rec.Facts, w.run.index.people, w.run.Tables.Parts)
		o.facts = [2]int{start, len(b.arena)}
	}
	return nil
}

// reject makes an error of the engine the record's outcome, where it is one.
func (o *outcome) reject(err error) error {
	var unfit *deid.LayoutError
	switch {
	case errors.Is(err, deid.ErrUnsafe):
		o.reasons, o.detail = o.reasons.With(extract.Unsafe), "it has a modifier extension, which may change what the record means"
	case errors.As(err, &unfit):
		o.reasons, o.detail = o.reasons.With(extract.SchemaMismatch), unfit.Error()
	default:
		return err
	}
	return nil
}

// fillSeveral notes whom a record about more than one person is about: the gate
// lets their identifiers pass, and the row index names each of them.
func (w *releaseWorker) fillSeveral(b *batch, o *outcome) {
	first := len(b.people)
	if len(w.rec.Facts.Subjects) > 1 {
		for _, id := range w.rec.Facts.Subjects {
			if s, ok := w.run.index.people.Find(id); ok {
				b.people = append(b.people, s)
			}
		}
	}
	o.several = [2]int{first, len(b.people)}
}

// identify hashes the record's id, for references to it and for its row key.
func (w *releaseWorker) identify(o *outcome) {
	if len(w.rec.Facts.ID) == 0 {
		return
	}
	o.hasID = true
	w.id = append(append(append(w.id[:0], w.rec.Dataset...), '/'), w.rec.Facts.ID...)
	o.self = deid.RefHash(w.id)
	if w.run.Policy.Output.RowKey {
		o.record, _ = w.run.Epoch.keyed("record", w.id)
	}
}
