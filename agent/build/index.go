package build

import (
	"bytes"
	"context"
	"fmt"
	"maps"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"slices"
)

// index is what the index pass keeps of an extract: bounded tables of people
// and encounters, the repeated ids, and where each chunk's records begin.
type index struct {
	people  *consent.People
	persons []person // by consent.Subject
	roster  *gate.Roster
	repeats *repeats
	sums    []extract.FileSum
	bases   []int64 // ordinal of the first record of each chunk
	plain   []plainChunk
	records int64
}

// plainChunk says that a chunk holds nothing but whole records of one dataset
// that the policy does not name, one a line: all that the release pass must
// know of it, as long as none of its ids stands elsewhere. n is 0 of any other
// chunk.
type plainChunk struct {
	dataset string
	place   extract.Place // of the first record
	n       int64
}

// take adds the next record of the chunk; false when it is not plain.
func (p *plainChunk) take(rec *extract.Record) bool {
	if p.n == 0 {
		p.dataset, p.place = rec.Dataset, rec.Place
	}
	if rec.Reject != extract.NoReason || rec.Place.Entry != 0 || rec.Dataset != p.dataset || rec.Place.Line != p.place.Line+p.n {
		return false
	}
	p.n++
	return true
}

// person is what transforms need of a patient.
type person struct {
	birth, death extract.Span
	start             // of the person's window in the cohort
	rostered     bool // the gate's roster has the person's id
}

// start is where a person's window begins: index for what is released, seen for
// what is withheld, which is only counted.
type start struct{ index, seen extract.Day }

var noStart = start{extract.NoDay, extract.NoDay}

func (s *start) take(day extract.Day, withheld bool) {
	if s.seen == extract.NoDay || day < s.seen {
		s.seen = day
	}
	if !withheld && (s.index == extract.NoDay || day < s.index) {
		s.index = day
	}
}

var unknownPerson = person{birth: extract.NoSpan, death: extract.NoSpan, start: noStart}

func (x *index) person(s consent.Subject) person {
	if int(s) >= len(x.persons) {
		return unknownPerson
	}
	return x.persons[s]
}

// known gives the entry of a person, for the index pass to fill.
func (x *index) known(s consent.Subject) *person {
	for int(s) >= len(x.persons) {
		x.persons = append(x.persons, unknownPerson)
	}
	return &x.persons[s]
}

// clues are what one chunk tells the index.
type clues struct {
	records  int64
	plain    plainChunk
	datasets map[string]int64
	ids      []identity
	arena    []byte
	people   []peopleClue
	values   []valueClue
	visits   []visitClue
	starts   []startClue
	links    [][2][2]int // two ids of people who are said to be one
	parts    [][2][2]int // an encounter, and the one of which it is part
	unowned  []uint64    // records about no patient, by deid.RefHash
	evidence []identity
}

type peopleClue struct {
	id           [2]int // in the arena
	birth, death extract.Span
}

type valueClue struct { // a value of a person, for the gate's roster
	id, value [2]int
	kind      gate.Kind
}

type visitClue struct { // an encounter: whether a Part 2 program held it
	id, patient [2]int
	met         consent.EncounterFacts
}

type startClue struct { // a record that may begin a person's window
	id       [2]int
	day      extract.Day
	ordinal  int64
	withheld bool // as far as is known at this reading
}

// indexWorker reads chunks for the index pass.
type indexWorker struct {
	run     *Run
	again   bool // a second reading, for the cohort's starts alone
	scanner *extract.Scanner
	rec     extract.Record
	hash    identityHash
	scratch []byte
	leaves  leafWalk
	last    []byte // id of the person last noted, to note runs of records once
	lastRow []byte // identifying cells of the row last noted
}

func (w *indexWorker) work(chunk *extract.Chunk, old *clues) (*clues, error) {
	c := old
	if c == nil {
		c = &clues{datasets: map[string]int64{}}
	}
	clear(c.datasets)
	*c = clues{datasets: c.datasets, ids: c.ids[:0], arena: c.arena[:0], people: c.people[:0], values: c.values[:0], visits: c.visits[:0], starts: c.starts[:0], links: c.links[:0], parts: c.parts[:0], unowned: c.unowned[:0], evidence: c.evidence[:0]}
	w.last = w.last[:0]
	if x := w.run.index; w.again && chunk.Index < len(x.plain) && x.plain[chunk.Index].n > 0 { // nothing in it begins a window
		c.records = x.plain[chunk.Index].n
		return c, nil
	}
	w.scanner.Reset(chunk)
	plain := true
	for w.scanner.Next(&w.rec) {
		c.records++
		c.datasets[w.rec.Dataset]++
		plain = plain && w.run.flows[w.rec.Dataset] == nil && c.plain.take(&w.rec)
		if w.rec.Reject == extract.NoReason {
			w.note(c)
		}
	}
	if !plain {
		c.plain = plainChunk{}
	}
	return c, nil
}

func (w *indexWorker) note(c *clues) {
	rec := &w.rec
	if w.again {
		if len(rec.Facts.Subjects) == 1 {
			w.noteStart(c, rec.Facts.Subjects[0])
		}
		return
	}
	if len(rec.Facts.ID) > 0 {
		var id identity
		id, w.scratch = w.hash.of(rec, w.scratch)
		c.ids = append(c.ids, id)
		if len(rec.Facts.Subjects) == 0 && w.run.flows[rec.Dataset] != nil {
			c.unowned = append(c.unowned, deid.RefHash(w.scratch))
		}
	}
	for _, e := range rec.Facts.Evidence {
		c.evidence = append(c.evidence, w.evidence(e))
	}
	for _, s := range rec.Facts.Subjects {
		if string(s) != string(w.last) {
			w.last = append(w.last[:0], s...)
			c.people = append(c.people, peopleClue{id: c.put(s), birth: extract.NoSpan, death: extract.NoSpan})
		}
	}
	if len(rec.Facts.Subjects) == 1 {
		w.notePerson(c, rec.Facts.Subjects[0])
		w.noteStart(c, rec.Facts.Subjects[0])
	}
	if rec.Dataset == "Encounter" {
		if whole, is := consent.PartOf(rec); is {
			c.parts = append(c.parts, [2][2]int{c.put(rec.Facts.ID), c.put(whole)})
		}
		if met, ok := w.run.Tables.Encounters.Weigh(&rec.Facts); ok {
			for _, patient := range rec.Facts.Subjects {
				c.visits = append(c.visits, visitClue{c.put(rec.Facts.ID), c.put(patient), met})
			}
		}
	}
}

// noteStart notes a record of the cohort's dataset that may be the first of
// its person.
func (w *indexWorker) noteStart(c *clues, subject []byte) {
	flow := w.run.cohort
	if flow == nil || w.rec.Dataset != flow.dataset || !w.rec.Facts.Date.Known() || flow.plan.InScope(&w.rec) != extract.NoReason {
		return
	}
	withheld := w.again && !w.run.engine && w.run.Decider.Decide(&w.rec.Facts).Reasons != 0 // the tables are full by then, and only read
	c.starts = append(c.starts, startClue{id: c.put(subject), day: w.rec.Facts.Date.From, ordinal: w.rec.Ordinal, withheld: withheld})
}

func (c *clues) put(b []byte) [2]int {
	start := len(c.arena)
	c.arena = append(c.arena, b...)
	return [2]int{start, len(c.arena)}
}

func (c *clues) get(at [2]int) []byte { return c.arena[at[0]:at[1]] }

// indexPass reads the extract once, before any decision.
func (r *Run) indexPass(ctx context.Context) error {
	x := r.index
	finder := newDuplicateFinder(r.Scratch)
	hash := newIdentityHash()
	starts, err := r.readIndex(ctx, &finder, hash)
	if err != nil {
		return err
	}
	if x.repeats, err = finder.finish(x.records); err != nil {
		return err
	}
	x.people.LinkAlike()
	if err := r.traceWithheld(ctx, hash); err != nil {
		return err
	}
	if r.cohort != nil && (r.derived.Len() > 0 || x.repeats.conflicts > 0 || r.Decider.TellsRecordsApart() || r.Schemas[r.cohort.dataset] == nil) {
		// A record that is rejected as a conflict must not begin a window, nor
		// one that is withheld: the intervals from it would tell of it. Whether
		// it is can be decided when all people and encounters are known.
		if starts, err = r.readIndex(ctx, nil, hash); err != nil {
			return err
		}
	}
	for s, begun := range starts {
		x.known(s).start = begun
	}
	for _, name := range slices.Sorted(maps.Keys(r.Tables.Rosters)) {
		if err := r.Tables.Rosters[name].Members(func(s consent.Subject, member []byte) error {
			return x.roster.Add(uint32(s), gate.MemberNumber, member)
		}); err != nil {
			return err
		}
	}
	x.roster.Freeze()
	return nil
}

// readIndex reads every chunk into the tables. Without a finder it is a second
// reading, for the cohort's starts alone, with conflicts known.
func (r *Run) readIndex(ctx context.Context, finder *duplicateFinder, hash identityHash) (map[consent.Subject]start, error) {
	x := r.index
	starts := map[consent.Subject]start{}
	base := int64(0)
	sums, err := pass(ctx, r.Files, r.Workers,
		func() func(*extract.Chunk, *clues) (*clues, error) {
			w := &indexWorker{run: r, again: finder == nil, scanner: extract.NewScanner(), hash: hash}
			return w.work
		},
		func(chunk *extract.Chunk, c *clues) error {
			for _, s := range c.starts {
				if x.repeats != nil && x.repeats.of(base+s.ordinal) != extract.NoReason {
					continue
				}
				subject := x.people.Intern(c.get(s.id))
				begun, ok := starts[subject]
				if !ok {
					begun = noStart
				}
				begun.take(s.day, s.withheld || r.derived.Has(base+s.ordinal))
				starts[subject] = begun
			}
			defer func() { base += c.records }()
			if finder == nil {
				return nil
			}
			x.bases = append(x.bases, base)
			x.plain = append(x.plain, c.plain)
			r.progress("index", chunk.Size())
			if len(x.bases)%64 == 0 {
				holdMemory(r.Tables)
			}
			return r.merge(finder, base, c)
		})
	if err != nil {
		return nil, err
	}
	for i, sum := range sums {
		if finder == nil && !r.engine && sum.SHA256 != x.sums[i].SHA256 {
			return nil, r.changed(sum.Name)
		}
	}
	x.sums, x.records = sums, base
	return starts, nil
}

// merge takes the clues of one chunk into the tables, in file order.
func (r *Run) merge(finder *duplicateFinder, base int64, c *clues) error {
	x := r.index
	for dataset, n := range maps.All(c.datasets) {
		r.sheet.of(dataset).Source += n
	}
	for _, id := range c.ids {
		id.ordinal += base
		if err := finder.add(id); err != nil {
			return err
		}
	}
	for _, id := range c.evidence {
		id.ordinal += base
		if err := r.lineage.add(id); err != nil {
			return err
		}
	}
	for _, p := range c.people {
		subject := x.people.Intern(c.get(p.id))
		known := x.known(subject)
		if !known.rostered || !bytes.Equal(c.get(p.id), x.people.ID(subject)) { // by whichever record names the person: there may be no Patient in this extract
			known.rostered = true
			if err := x.roster.Add(uint32(subject), gate.RecordNumber, c.get(p.id)); err != nil {
				return fmt.Errorf("roster of this extract: %w", err)
			}
		}
		if p.birth.Known() {
			known.birth = widest(known.birth, p.birth)
			if r.Policy.People.Minors != "" {
				x.people.NoteBirth(subject, p.birth)
			}
		}
		if p.death.Known() {
			known.death = widest(known.death, p.death)
		}
	}
	for _, v := range c.values {
		if err := x.roster.Add(uint32(x.people.Intern(c.get(v.id))), v.kind, c.get(v.value)); err != nil {
			return fmt.Errorf("roster of this extract: %w", err)
		}
	}
	for _, ref := range c.unowned {
		r.referred[ref] = false
	}
	for _, l := range c.links {
		if a, b := x.people.Intern(c.get(l[0])), x.people.Intern(c.get(l[1])); a != b { // not yet merged
			x.people.Link(a)
			x.people.Link(b)
		}
	}
	for _, p := range c.parts {
		if r.Tables.Parts == nil {
			r.Tables.Parts = consent.Parts{}
		}
		r.Tables.Parts.Add(c.get(p[0]), c.get(p[1]))
	}
	for _, v := range c.visits {
		r.Tables.Encounters.Add(c.get(v.id), v.met, c.get(v.patient))
	}
	return nil
}

// widest joins two readings of one date: where they differ, any day between
// them may be true, and whoever judges by it must allow for all.
func widest(a, b extract.Span) extract.Span {
	if !a.Known() {
		return b
	}
	return extract.Span{From: min(a.From, b.From), To: max(a.To, b.To)}
}
