package consent

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// Subject is the dense number of a patient within one run: 0, 1, 2, … in the
// order in which the patients were met. It means nothing outside the run.
type Subject uint32

// NoSubject is the number of nobody.
const NoSubject = ^Subject(0)

// heads are where the lists of subjects begin: 1 + the place of the first, 0
// for nothing.
type heads []uint32

func (h heads) of(s Subject) uint32 {
	if int(s) >= len(h) {
		return 0
	}
	return h[s]
}

func (h *heads) set(s Subject, first uint32) {
	for int(s) >= len(*h) {
		*h = append(*h, 0)
	}
	(*h)[s] = first
}

// People are the patients of one run: their ids, and what decisions and
// transforms need of a person. The index pass and the loaders fill it; from
// then on it is only read, by any number of goroutines. A patient takes the
// bytes of the id and about 60 more.
type People struct {
	ids   []byte
	ends  []uint64 // end of each id in ids
	slots []slot   // open addressing
	seed  maphash.Seed

	into      []Subject             // by number: whose id it is since it was merged; itself elsewhere
	aliases   map[Subject][]Subject // the numbers of ids that were merged into a patient's
	unsettled map[Subject]struct{}  // who may be one person with another
	births    []extract.Span        // by number; noted only where rules for minors ask
}

// slot finds a patient in one look into memory for the slot and one for the
// id: where decisions meet patients at random, each further look is a tenth of
// the time of a decision.
type slot struct {
	hash  uint32
	owner uint32 // subject + 1; 0 is free
	place uint64 // of the id in People.ids: start << 24 | length; an id is shorter than a record
}

// NewPeople gives an empty set of people.
func NewPeople() *People { return &People{seed: maphash.MakeSeed(), slots: make([]slot, 64)} }

// Link notes that a patient's record says it is one person with another
// (Patient.link, FHIR R4 §8.1.2.2). Until the clinic has merged the two, what
// the person decided under one id is not known to hold under the other.
func (p *People) Link(s Subject) {
	if p.unsettled == nil {
		p.unsettled = map[Subject]struct{}{}
	}
	p.unsettled[s] = struct{}{}
}

// LinkAlike links patients whose ids differ by capitals only: a list that
// somebody keeps by hand may have written one of them for the other, and what it
// closes would close nothing. It is for when all ids are known.
func (p *People) LinkAlike() {
	type folded struct {
		hash uint64
		s    Subject
	}
	ids := make([]folded, len(p.ends))
	var lower []byte
	for s := range ids {
		lower = lower[:0]
		for _, c := range p.ID(Subject(s)) {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			lower = append(lower, c)
		}
		ids[s] = folded{maphash.Bytes(p.seed, lower), Subject(s)}
	}
	slices.SortFunc(ids, func(a, b folded) int { return cmp.Compare(a.hash, b.hash) })
	for i := 1; i < len(ids); i++ {
		if a, b := p.one(ids[i-1].s), p.one(ids[i].s); ids[i-1].hash == ids[i].hash && a != b {
			p.Link(a)
			p.Link(b)
		}
	}
}

// merge makes one patient of two who are not one yet.
func (p *People) merge(from, into Subject) {
	for int(max(from, into)) >= len(p.into) {
		p.into = append(p.into, Subject(len(p.into)))
	}
	if p.aliases == nil {
		p.aliases = map[Subject][]Subject{}
	}
	p.into[from] = into
	p.aliases[into] = append(append(p.aliases[into], from), p.aliases[from]...)
	delete(p.aliases, from)
}

// one gives the patient whom a number stands for since ids were merged.
func (p *People) one(s Subject) Subject {
	for int(s) < len(p.into) && p.into[s] != s {
		s = p.into[s]
	}
	return s
}

// IDs are all ids of a patient: the one that stands, then those merged into it.
func (p *People) IDs(s Subject) []phi.Bytes {
	ids := []phi.Bytes{p.ID(s)}
	for _, alias := range p.aliases[s] {
		ids = append(ids, p.ID(alias))
	}
	return ids
}

// Len is the number of ids.
func (p *People) Len() int { return len(p.ends) }

// Intern gives the number of the patient with this id, a new one at need.
func (p *People) Intern(id []byte) Subject {
	s, at, found := p.probe(id)
	if found {
		return p.one(s)
	}
	s = Subject(len(p.ends))
	p.slots[at] = slot{uint32(maphash.Bytes(p.seed, id) >> 32), uint32(s) + 1, uint64(len(p.ids))<<24 | uint64(len(id))}
	p.ids = append(p.ids, id...)
	p.ends = append(p.ends, uint64(len(p.ids)))
	if 4*len(p.ends) > 3*len(p.slots) {
		p.grow()
	}
	return s
}

// Find gives the number of a patient already met. It does not allocate.
func (p *People) Find(id []byte) (Subject, bool) {
	s, _, found := p.probe(id)
	return p.one(s), found
}

func (p *People) probe(id []byte) (s Subject, at int, found bool) {
	h := maphash.Bytes(p.seed, id)
	mask := len(p.slots) - 1
	for at = int(h) & mask; ; at = (at + 1) & mask {
		v := &p.slots[at]
		if v.owner == 0 {
			return NoSubject, at, false
		}
		if v.hash == uint32(h>>32) && int(v.place&(1<<24-1)) == len(id) && bytes.Equal(p.ids[v.place>>24:][:len(id)], id) {
			return Subject(v.owner - 1), at, true
		}
	}
}

func (p *People) grow() {
	p.slots = make([]slot, 2*len(p.slots))
	mask := len(p.slots) - 1
	var start uint64
	for s, end := range p.ends {
		h := maphash.Bytes(p.seed, p.ids[start:end])
		at := int(h) & mask
		for p.slots[at].owner != 0 {
			at = (at + 1) & mask
		}
		p.slots[at] = slot{uint32(h >> 32), uint32(s) + 1, start<<24 | (end - start)}
		start = end
	}
}

// ID is the patient's id in the clinic's numbering.
func (p *People) ID(s Subject) phi.Bytes {
	var from uint64
	if s > 0 {
		from = p.ends[s-1]
	}
	return phi.Bytes(p.ids[from:p.ends[s]])
}
