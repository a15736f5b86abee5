package build

import (
	"bytes"
	"context"
	"errors"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// lineage is what an extract tells of derivation: which records name which as
// their evidence, and what becomes of those. It spills what it cannot hold.
type lineage struct {
	*sorter        // id: of a record or of evidence; content: 1 of one that is withheld
	wanted  []bool // by the hash of a record: it may be somebody's evidence
}

const (
	wantedBits = 22      // 4 MiB, of a run that has evidence at all
	ofEvidence = 1 << 62 // in an ordinal: the record names the evidence; sorts behind records
)

func (l *lineage) add(evidence identity) error {
	if l.wanted == nil {
		l.wanted = make([]bool, 1<<wantedBits)
	}
	l.wanted[evidence.id[0]>>(64-wantedBits)] = true
	return l.sorter.add(evidence)
}

func (l *lineage) wants(id [2]uint64) bool { return l.wanted[id[0]>>(64-wantedBits)] }

// evidence is what the record in w.rec tells of one that it names.
func (w *indexWorker) evidence(named []byte) identity {
	w.scratch = w.run.evidenceName(w.scratch[:0], w.rec.Dataset, named)
	return identity{id: w.hash.name(w.scratch), ordinal: w.rec.Ordinal | ofEvidence}
}

// evidenceName appends DATASET/id of what a record names: a row names rows of
// its own dataset by their bare ids.
func (r *Run) evidenceName(dst []byte, dataset string, named []byte) []byte {
	if extract.TypeOf(dataset) == nil {
		other, _, _ := bytes.Cut(named, []byte("/"))
		if len(other) == len(named) || extract.TypeOf(string(other)) == nil && r.Schemas[string(other)] == nil {
			dst = append(append(dst, dataset...), '/')
		}
	}
	return append(dst, named...)
}

// traceWithheld is step 6. Where records name evidence, the extract is read once
// more, now that all people and encounters are known: what each piece of evidence
// is decided to be settles what is derived from it, also where the policy does
// not ask for the evidence itself.
func (r *Run) traceWithheld(ctx context.Context, hash identityHash) error {
	if r.lineage.wanted == nil {
		return nil
	}
	base := int64(0)
	sums, err := pass(ctx, r.Files, r.Workers,
		func() func(*extract.Chunk, *decidedEvidence) (*decidedEvidence, error) {
			w := &lineageWorker{run: r, scanner: extract.NewScanner(), hash: hash}
			return w.work
		},
		func(chunk *extract.Chunk, d *decidedEvidence) error {
			defer func() { base += d.records }()
			return r.settleEvidence(base, d)
		})
	if err != nil {
		return err
	}
	for i, sum := range sums {
		if sum.SHA256 != r.index.sums[i].SHA256 {
			return r.changed(sum.Name)
		}
	}
	r.derived, err = consent.DeriveWithheld(r.index.records, r.Decider.TellsRecordsApart(), func(see func(consent.Trace)) error {
		return r.lineage.replay(func(id identity) {
			see(consent.Trace{Name: id.id, Ordinal: id.ordinal &^ ofEvidence, Evidence: id.ordinal&ofEvidence != 0, Withheld: id.content == 1})
		})
	})
	r.lineage.wanted = nil
	return errors.Join(err, r.lineage.close())
}

// settleEvidence takes in what one chunk holds of evidence. What of it may
// leave is judged again before delivery, with the records derived from it.
func (r *Run) settleEvidence(base int64, d *decidedEvidence) error {
	for _, id := range d.met {
		id.ordinal += base
		if err := r.lineage.sorter.add(id); err != nil {
			return err
		}
	}
	for _, f := range d.facts {
		if err := r.books.decided(d.arena[f.at[0]:f.at[1]], f.part2); err != nil {
			return err
		}
	}
	return nil
}

// decidedEvidence is what one chunk holds of records that may be evidence.
type decidedEvidence struct {
	records int64
	met     []identity
	arena   []byte
	facts   []factsAt
}

type factsAt struct {
	at    [2]int // in the arena
	part2 bool
}

type lineageWorker struct {
	run     *Run
	scanner *extract.Scanner
	rec     extract.Record
	hash    identityHash
	scratch []byte
}

func (w *lineageWorker) work(chunk *extract.Chunk, old *decidedEvidence) (*decidedEvidence, error) {
	d := old
	if d == nil {
		d = new(decidedEvidence)
	}
	*d = decidedEvidence{met: d.met[:0], arena: d.arena[:0], facts: d.facts[:0]}
	w.scanner.Reset(chunk)
	for w.scanner.Next(&w.rec) {
		d.records++
		if w.rec.Reject == extract.NoReason && len(w.rec.Facts.ID) > 0 {
			w.one(d)
		}
	}
	return d, nil
}

func (w *lineageWorker) one(d *decidedEvidence) {
	rec := &w.rec
	w.scratch = append(append(append(w.scratch[:0], rec.Dataset...), '/'), rec.Facts.ID...)
	met := identity{id: w.hash.name(w.scratch), ordinal: rec.Ordinal}
	if !w.run.lineage.wants(met.id) {
		return
	}
	decision := w.run.Decider.Decide(&rec.Facts)
	if decision.Reasons != 0 {
		met.content = 1
	} else {
		start := len(d.arena)
		d.arena = consent.AppendFacts(d.arena, &rec.Facts, w.run.index.people, w.run.Tables.Parts)
		d.facts = append(d.facts, factsAt{[2]int{start, len(d.arena)}, decision.Part2})
	}
	d.met = append(d.met, met)
}
