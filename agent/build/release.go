package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
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
		b.arena = consent.AppendFacts(b.arena, &w.rec.Facts, w.run.index.people)
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

// releasePass decides and transforms every record, fills the spool and writes
// the clinic's book. The files must still be what the index pass read.
func (r *Run) releasePass(ctx context.Context) error {
	sums, counts, err := r.readRelease(ctx, func(chunk *extract.Chunk, b *batch) error {
		if p := b.plain; p != nil {
			if err := r.settlePlain(p); err != nil {
				return err
			}
		}
		if r.Policy.Output.RowKey {
			if err := r.rowKeys.lookUp(ctx, b.outcomes); err != nil {
				return err
			}
		}
		for i := range b.outcomes {
			if err := r.settle(b, &b.outcomes[i]); err != nil {
				return err
			}
		}
		r.progress("release", chunk.Size())
		return nil
	})
	if err != nil {
		return err
	}
	r.counts = counts
	for i, sum := range sums {
		if sum.SHA256 != r.index.sums[i].SHA256 {
			return r.changed(sum.Name)
		}
	}
	return r.settleConditional(ctx)
}

// readRelease has several workers make batches of the chunks, and gives them to
// settle in their order. The counts are of what was done to each path.
func (r *Run) readRelease(ctx context.Context, settle func(*extract.Chunk, *batch) error) ([]extract.FileSum, pathCounts, error) {
	var mu sync.Mutex
	var workers []*releaseWorker
	sums, err := pass(ctx, r.Files, r.Workers,
		func() func(*extract.Chunk, *batch) (*batch, error) {
			w := &releaseWorker{run: r, scanner: extract.NewScanner(), engines: map[string]*deid.Engine{}, apart: map[string]*deid.Engine{}}
			mu.Lock()
			defer mu.Unlock()
			workers = append(workers, w)
			return w.work
		}, settle)
	counts := pathCounts{}
	for _, f := range r.ordered {
		counts[f.dataset] = f.plan.Engine().Counts()
	}
	for _, w := range workers {
		for dataset, engine := range w.engines {
			counts[dataset].Add(engine.Counts())
		}
	}
	return sums, counts, err
}

// changed is the failure of a run whose source is no longer what the index
// pass read.
func (r *Run) changed(file string) error {
	return failure.New(failure.Altered, nil, "let the extract be written before its completeness rule holds, then run again",
		"source file %s changed while it was being read; nothing was sent", file)
}

// settlePlain takes the outcome of a chunk of records that no one asked for.
func (r *Run) settlePlain(p *plainChunk) error {
	reasons := extract.ReasonSet(0).With(extract.NotNamed)
	r.sheet.of(p.dataset).countAll(reasons.First(), p.n)
	if r.Observe != nil {
		r.Observe(p.n, consent.NoSubject, reasons.First())
	}
	return r.books.dispositionOf(p.n, p.place, p.dataset, reasons, "")
}

// settle takes one outcome in source order: here, and only here, codes, row
// keys and shuffled ranks are drawn.
func (r *Run) settle(b *batch, o *outcome) error {
	reason := o.reasons.First()
	only := o.part >= 0 && o.only
	if only {
		reason = extract.Population // until a released record refers to it
	}
	if r.Observe != nil {
		r.Observe(1, o.subject, reason)
	}
	if only {
		return r.postpone(b, o)
	}
	r.sheet.of(o.dataset).count(reason)
	if err := r.books.disposition(o.place, o.dataset, o.reasons, o.detail); err != nil {
		return err
	}
	if reason.Disposition() == extract.Rejected && len(r.rejected) < keptRejections {
		r.rejected = append(r.rejected, Rejection{r.at(o.place), o.dataset, reason.String(), o.detail})
	}
	if o.part < 0 {
		return nil
	}
	row := row{
		subject: o.subject, several: b.people[o.several[0]:o.several[1]], place: o.place, self: o.self,
		bytes: b.arena[o.bytes[0]:o.bytes[1]], holes: b.holes[o.holes[0]:o.holes[1]],
	}
	if o.part2 && r.scopes != nil {
		var err error
		if row.rests, err = r.scopes.number(o.rests); err != nil {
			return err
		}
	}
	if err := r.books.decided(b.arena[o.facts[0]:o.facts[1]], o.part2); err != nil {
		return err
	}
	for _, s := range row.people() {
		r.people.add(s)
	}
	return r.spoolLines(o, &row)
}

// spoolLines fills and spools each line that a record has become. Of a layout it
// can be several, and no cell of one holds a line end.
func (r *Run) spoolLines(o *outcome, rec *row) error {
	line, holes := *rec, rec.holes
	for n, rest, at := 0, rec.bytes, 0; n == 0 || len(rest) > 0; n++ {
		line.bytes = rest
		if r.Policy.Layout != nil {
			line.bytes = rest[:bytes.IndexByte(rest, '\n')+1]
		}
		rest = rest[len(line.bytes):]
		end, own := at+len(line.bytes), 0
		for ; own < len(holes) && int(holes[own].Start) < end; own++ {
			holes[own].Start -= uint32(at)
			holes[own].End -= uint32(at)
		}
		line.holes, holes, at = holes[:own], holes[own:], end
		if err := r.fill(o, &line, n); err != nil {
			return err
		}
		if err := r.spoolRow(o.part, &line); err != nil {
			return err
		}
	}
	return nil
}

// fill writes the late values into the holes of the nth row of a record; references stay for the
// seal pass, when all that is released is known.
func (r *Run) fill(o *outcome, row *row, n int) error {
	kept, key := row.holes[:0], ""
	for _, h := range row.holes {
		switch h.Kind {
		case deid.PersonCode:
			if o.subject == consent.NoSubject {
				return errors.New("a row about no single person asks for a person's code")
			}
			code := r.crosswalk.code(o.subject, r.index.people)
			copy(row.bytes[h.Start:h.End], code[:])
		case deid.RowKey:
			if key == "" {
				var err error
				if key, err = r.rowKeys.key(ofRow(o.record, n), o.hasID); err != nil {
					return err
				}
			}
			copy(row.bytes[h.Start:h.End], key)
		case deid.Ordinal: // in the order of the drop, which the seal pass knows
			kept = append(kept, h)
		default:
			r.refer(h.Ref)
			kept = append(kept, h)
		}
	}
	row.holes = kept
	if r.ranks != nil && !row.only {
		row.rank = r.ranks.of(o.subject)
	}
	return nil
}

// refer notes that a released row refers to a record, if that is one of those
// that go out only when one does.
func (r *Run) refer(ref uint64) {
	if _, conditional := r.referred[ref]; conditional {
		r.referred[ref] = true
	}
}

func (r *Run) spoolRow(part int, row *row) error {
	if row.self != 0 && r.tracksReferences {
		r.releasedRefs.add(row.self)
	}
	if r.Drop == nil {
		return nil
	}
	return r.parts[part].add(row)
}

// postponed is a resource about no patient: it goes out only if a released
// record refers to it, which is known when all are decided.
type postponed struct {
	outcome
	row row
}

func (r *Run) postpone(b *batch, o *outcome) error {
	p := postponed{outcome: *o, row: row{subject: consent.NoSubject, place: o.place, self: o.self, only: true}}
	p.row.bytes = append([]byte(nil), b.arena[o.bytes[0]:o.bytes[1]]...)
	p.row.holes = append([]deid.Hole(nil), b.holes[o.holes[0]:o.holes[1]]...)
	r.postponed = append(r.postponed, p)
	return nil
}

// settleConditional decides the postponed resources. One that is referred to
// may refer to others in turn, so it goes round until nothing is added.
func (r *Run) settleConditional(ctx context.Context) error {
	taken := make([]bool, len(r.postponed))
	for again := true; again; {
		again = false
		for i := range r.postponed {
			p := &r.postponed[i]
			if taken[i] || !r.referred[p.row.self] || p.row.self == 0 {
				continue
			}
			taken[i], again = true, true
			for _, h := range p.row.holes {
				r.refer(h.Ref)
			}
		}
	}
	if r.Policy.Output.RowKey {
		var leaving []outcome
		for i := range r.postponed {
			if taken[i] {
				leaving = append(leaving, r.postponed[i].outcome)
			}
		}
		if err := r.rowKeys.lookUp(ctx, leaving); err != nil {
			return err
		}
	}
	for i := range r.postponed {
		p := &r.postponed[i]
		var reasons extract.ReasonSet
		detail := ""
		if !taken[i] {
			reasons, detail = reasons.With(extract.Population), "no released record refers to it"
		}
		r.sheet.of(p.dataset).count(reasons.First())
		if err := r.books.disposition(p.row.place, p.dataset, reasons, detail); err != nil {
			return err
		}
		if taken[i] {
			r.counts[p.dataset].AddTallies(p.tallies)
			if err := r.spoolLines(&p.outcome, &p.row); err != nil {
				return err
			}
		}
	}
	return nil
}
