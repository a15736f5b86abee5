package build

import (
	"context"
	"os"
	"path/filepath"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// seal is one pass over the very bytes to be sent: references are settled, the
// gate judges each row, and what it passed is hashed, compressed and encrypted
// to the recipient and to the archive. A hit stops the drop, and the gate goes
// on to tell all hits.
func (r *Run) seal(ctx context.Context) error {
	if err := r.openQuarantine(ctx); err != nil {
		return err
	}
	totals := newTotals(r.Policy.Totals)
	if r.Policy.Layout != nil && r.Policy.Layout.Control != nil {
		r.Drop = &listing{Drop: r.Drop}
	}
	for _, part := range r.parts {
		seal := r.sealPart
		if part.action == transfer.Void {
			seal = r.sealVoids
		}
		if err := seal(ctx, part, totals); err != nil {
			return err
		}
	}
	if err := r.held.verdict(); err != nil {
		return err
	}
	if r.tellsOverlap() {
		if err := r.sealOverlap(ctx); err != nil {
			return err
		}
	}
	if r.scopes != nil {
		if err := r.sealScopes(); err != nil {
			return err
		}
	}
	if err := r.sealControl(); err != nil {
		return err
	}
	book, err := r.book(ctx, totals)
	if err != nil {
		return err
	}
	if err := r.books.close(r.ClinicBook()); err != nil {
		return err
	}
	r.Sealed, err = r.Drop.Seal(book)
	return err
}

func (r *Run) sealPart(ctx context.Context, part *partSpool, totals *totals) error {
	release := r.releaseOf(part.dataset)
	spec, err := r.gateSpec(release)
	if err != nil {
		return failure.New(failure.PolicyRefused, err, "", "dataset %s cannot be judged by the gate", part.dataset)
	}
	guards, all := newQueue[*gate.Gate](r.Workers+1), []*gate.Gate{} // one of each worker, and one of the lines around the rows
	for range r.Workers + 1 {
		guard, err := gate.New(spec, r.index.roster)
		if err != nil {
			return failure.New(failure.PolicyRefused, err, "", "dataset %s cannot be judged by the gate", part.dataset)
		}
		guards <- guard
		all = append(all, guard)
	}
	s := &sealer{spool: part, guard: <-guards}
	s.parts = parts{run: r, info: transfer.PartInfo{Dataset: part.dataset, Part2: part.part2, Action: part.action}, begins: s.begins, ends: s.ends}
	if spec.Format != gate.NDJSON {
		for _, p := range spec.Positions {
			s.info.Columns = append(s.info.Columns, p.Path)
		}
		s.header = part.plan.Header()
		if hit := s.guard.Header(s.header); hit != nil {
			if err := r.held.take(part.dataset, 0, "", s.header, []gate.Hit{*hit}); err != nil {
				return err
			}
		}
	}
	s.form = formOf(r.Policy, part.dataset, s.info.Columns)
	s.info.Format, s.totals = s.form.format(), totals.of(s.form, s.form.column)
	if !r.held.stopped {
		if err := s.begin(); err != nil {
			return err
		}
	}
	err = inOrder(ctx, r.Workers, func() func(*sealBatch) error {
		next := part.reader()
		return func(b *sealBatch) error {
			if err := next(&b.rowBatch); err != nil {
				return err
			}
			b.form = &s.form
			b.number(r.ordinals, &r.releasedRefs)
			return nil
		}
	}(), func() func(*sealBatch) error {
		guard := <-guards
		return func(b *sealBatch) error { b.judge(r, guard); return nil }
	}, s.batch)
	if err != nil || r.held.stopped { // the drop is discarded, this part with it
		return err
	}
	if err := s.end(); err != nil || r.held.stopped {
		return err
	}
	for _, guard := range all {
		r.sealedRows(part.dataset).Judged.Add(guard.Counts())
	}
	return nil
}

func (r *Run) releaseOf(dataset string) *policies.Release {
	for i := range r.Policy.Release {
		if r.Policy.Release[i].Dataset == dataset {
			return &r.Policy.Release[i]
		}
	}
	return nil
}

// sealBatch is a batch of rows as the gate has judged it.
type sealBatch struct {
	rowBatch
	form *form // nil: NDJSON
	cut  int64 // references taken out
	hits []rowHits
}

// rowHits is a row in which the gate found something.
type rowHits struct {
	row  int
	hits []gate.Hit
}

// judge settles the references of each row and has the gate judge what is to
// be sent of it. It runs on several goroutines: the gate, and nothing else of
// it, has a memory.
func (b *sealBatch) judge(r *Run, guard *gate.Gate) {
	b.cut, b.hits = 0, b.hits[:0]
	for n := range b.rows {
		row := &b.rows[n]
		for i := len(row.holes) - 1; i >= 0; i-- { // from the last, so that the others keep their places
			h := row.holes[i]
			if h.Kind == deid.Reference && !r.releasedRefs.has(h.Ref) {
				row.bytes = b.form.cut(row.bytes, h)
				b.cut++
			}
		}
		var room [4]uint32
		if about := row.about(room[:0]); guard.Row(row.bytes, about) != nil {
			b.hits = append(b.hits, rowHits{n, guard.Hits(row.bytes, about)})
		}
	}
}

// sealer seals the rows of one part.
type sealer struct {
	parts
	form    form
	spool   *partSpool
	guard   *gate.Gate // of header and trailer
	totals  *partTotals
	sums    *partTotals // of the part, for the control file; nil: there is none
	trailer *trailer    // of the part
	lines   int64
}

// begins counts anew what each part tells of itself.
func (s *sealer) begins() { s.sums, s.trailer = s.run.sums(s.form), newTrailer(s.form) }

// ends gives what stands behind the rows of a part.
func (s *sealer) ends() ([]byte, error) {
	text, err := s.trailer.line()
	if err != nil {
		return nil, failure.New(failure.Unbalanced, err, "give the trailer's cells the width that they need", "dataset %s cannot be laid out", s.spool.dataset)
	}
	if hit := s.guard.Trailer(text); hit != nil {
		err = s.run.held.take(s.spool.dataset, s.lines+1, "", text, []gate.Hit{*hit})
	}
	return text, err
}

func (s *sealer) batch(b *sealBatch) error {
	s.run.sealedRows(s.spool.dataset).ReferencesCut += b.cut
	size, found := 0, b.hits
	for i := range b.rows {
		if len(found) > 0 && found[0].row == i {
			row := &b.rows[i]
			if err := s.run.held.take(s.spool.dataset, s.lines+1, s.run.at(row.place), row.bytes, found[0].hits); err != nil {
				return err
			}
			found = found[1:]
		}
		if err := s.row(&b.rows[i]); err != nil {
			return err
		}
		size += len(b.rows[i].bytes)
	}
	s.run.progress("seal", size)
	return nil
}

func (s *sealer) row(row *row) error {
	if s.lines++; s.run.held.stopped {
		return nil
	}
	if err := s.parts.row(row.bytes); err != nil || s.run.held.stopped {
		return err
	}
	s.totals.add(row.bytes)
	if s.sums != nil {
		s.sums.add(row.bytes)
	}
	s.trailer.add(row.bytes)
	if row.rests > 0 {
		if err := s.run.scopes.row(s.number, s.rows, row, &s.form); err != nil {
			return err
		}
	}
	people := row.people()
	if len(people) == 0 {
		return s.run.books.row(s.number, s.rows, row, s.spool.dataset, nil)
	}
	for _, one := range people { // of a row about several, a line for each
		s.people.add(one)
		if err := s.run.books.row(s.number, s.rows, row, s.spool.dataset, s.run.index.people.ID(one)); err != nil {
			return err
		}
	}
	return nil
}

// book is the recipient's book: what is in the drop and nothing else.
func (r *Run) book(ctx context.Context, totals *totals) (*transfer.Book, error) {
	book := &transfer.Book{Standard: string(r.Policy.Standard), People: r.people.n, Totals: totals.list(r.people.n)}
	if r.replaces() {
		book.Replaces = r.Before.Number
	}
	if r.Policy.ReleasesPart2() {
		texts, err := r.notices()
		if err != nil {
			return nil, err
		}
		book.Notices = texts
	}
	if r.scopes != nil {
		book.Notices = append(book.Notices, r.scopes.explanations()...)
	}
	if r.Ledger == nil {
		return book, nil
	}
	var err error
	book.Ledger, err = r.Ledger(ctx)
	return book, err
}

// replaces tells whether the drop is a whole one, made over the periods of the
// one before.
func (r *Run) replaces() bool {
	if r.Before.Number == 0 || r.changes != nil {
		return false
	}
	for _, f := range r.ordered {
		before, err := deid.Compile(r.Policy, f.dataset, deid.Options{AsOf: r.Before.AsOf, Schema: r.Schemas[f.dataset]})
		if err != nil || !f.plan.SameTime(before) {
			return false
		}
	}
	return true
}

// notices are the texts that travel with Part 2 rows (42 CFR 2.32). They
// stand in every book of an exchange that could carry such rows.
func (r *Run) notices() ([]transfer.Notice, error) {
	if r.Policy.Notices.Part2 == "" {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(r.Policy.File), r.Policy.Notices.Part2))
	if err != nil {
		return nil, failure.New(failure.PolicyRefused, err, "", "notice of 42 CFR 2.32")
	}
	return []transfer.Notice{{Kind: "42 CFR 2.32", Text: string(text)}}, nil
}
