package build

import (
	"bytes"
	"context"
	"errors"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
)

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
	if o.part >= 0 && o.only { // out of scope until a released record refers to it
		r.observe(o, extract.Population)
		return r.postpone(b, o)
	}
	if o.part >= 0 {
		if err := r.send(b, o); err != nil {
			return err
		}
	}
	reason := o.reasons.First()
	r.observe(o, reason)
	r.sheet.of(o.dataset).count(reason)
	if err := r.books.disposition(o.place, o.dataset, o.reasons, o.detail); err != nil {
		return err
	}
	if reason.Disposition() == extract.Rejected && len(r.rejected) < keptRejections {
		r.rejected = append(r.rejected, Rejection{r.at(o.place), o.dataset, reason.String(), o.detail})
	}
	return r.changes.meet(o)
}

func (r *Run) observe(o *outcome, reason extract.Reason) {
	if r.Observe != nil {
		r.Observe(1, o.subject, reason)
	}
}

// send spools what a record has become. Of a drop of changes that can be
// nothing: then the outcome says why.
func (r *Run) send(b *batch, o *outcome) error {
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
	facts := b.arena[o.facts[0]:o.facts[1]]
	if err := r.spoolLines(o, &row); err != nil {
		return err
	}
	if r.changes != nil {
		if err := r.spoolChanges(o, facts); err != nil || o.reasons != 0 {
			return err
		}
	}
	for _, s := range row.people() {
		r.people.add(s)
	}
	return r.books.decided(facts, o.part2)
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
		if r.changes != nil {
			r.changes.compare(o, &line, n)
			continue
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
	row.holes, row.key = kept, key
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
		if err := r.rowKeys.lookUp(ctx, leaving, nil); err != nil {
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
