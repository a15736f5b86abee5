package consent

import (
	"bytes"
	"hash/maphash"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// Encounters tells of each encounter whether a Part 2 program held it, so that
// what was written at it is under Part 2 too. The index pass fills it, one
// goroutine at a time; then it is only read. An encounter takes 15 to 30 bytes:
// its id is kept as a 64-bit hash under a key of the run. Two ids with one
// hash become indeterminate, which is the stricter branch.
type Encounters struct {
	programs *Programs
	people   *People
	seed     maphash.Seed
	hashes   []uint64 // 0 is free
	facts    []uint32 // (subject + 1) << 2 | EncounterFacts
	used     int
	persons  []EncounterFacts // by Subject: of all encounters of the person
}

// EncounterFacts is what is known of an encounter, or of all encounters of a
// person.
type EncounterFacts uint32

const (
	ofProgram    EncounterFacts = 1 << iota // or indeterminate
	notOfProgram                            // together with ofProgram: both were met
)

// NewEncounters gives an empty table for these programs.
func NewEncounters(programs *Programs, people *People) *Encounters {
	return &Encounters{programs: programs, people: people, seed: maphash.MakeSeed(), hashes: make([]uint64, 64), facts: make([]uint32, 64)}
}

// Len is the number of encounters.
func (e *Encounters) Len() int { return e.used }

// Weigh tells what the facts of an encounter say about it; ok is false when
// nothing needs to be kept. One whose providers do not settle whether a program
// held it is indeterminate, and counts as of a program. It changes nothing and
// is safe for concurrent use.
func (e *Encounters) Weigh(f *extract.Facts) (met EncounterFacts, ok bool) {
	if e.programs.none() || len(f.ID) == 0 {
		return 0, false
	}
	if !labelledPart2(f.Labels) && e.programs.treats(f) == no {
		return notOfProgram, true
	}
	return ofProgram, true
}

// Add takes in an encounter as Weigh told it, and the ids of its patients: a
// record of theirs that names no encounter is settled by all of these together.
func (e *Encounters) Add(id []byte, met EncounterFacts, patients ...phi.Bytes) {
	var owner uint32
	for _, p := range patients {
		n := e.people.Intern(p)
		owner = (uint32(n) + 1) & (1<<30 - 1)
		for int(n) >= len(e.persons) {
			e.persons = append(e.persons, 0)
		}
		e.persons[n] |= met
	}
	h, slot := e.probe(id)
	if e.hashes[slot] != 0 {
		if e.facts[slot]>>2 != owner {
			met = ofProgram
		}
		e.facts[slot] |= uint32(met)
		return
	}
	e.hashes[slot], e.facts[slot] = h, owner<<2|uint32(met)
	if e.used++; 5*e.used > 4*len(e.hashes) {
		e.grow()
	}
}

// find tells what is known of an encounter; 0 when nothing is. An encounter
// met both ways is of a program.
func (e *Encounters) find(id []byte) EncounterFacts {
	_, slot := e.probe(id)
	f := EncounterFacts(e.facts[slot]) & (ofProgram | notOfProgram)
	if f&ofProgram != 0 {
		return ofProgram
	}
	return f
}

func (e *Encounters) probe(id []byte) (h uint64, slot int) {
	h = max(maphash.Bytes(e.seed, id), 1)
	return h, e.slot(h)
}

func (e *Encounters) slot(h uint64) int {
	mask := len(e.hashes) - 1
	slot := int(h) & mask
	for e.hashes[slot] != 0 && e.hashes[slot] != h {
		slot = (slot + 1) & mask
	}
	return slot
}

func (e *Encounters) grow() {
	hashes, facts := e.hashes, e.facts
	e.hashes, e.facts = make([]uint64, 2*len(hashes)), make([]uint32, 2*len(hashes))
	for i, h := range hashes {
		if h != 0 {
			slot := e.slot(h)
			e.hashes[slot], e.facts[slot] = h, facts[i]
		}
	}
}

// person is what is known of all encounters of a person.
func (e *Encounters) person(s Subject) EncounterFacts {
	if int(s) >= len(e.persons) {
		return 0
	}
	return e.persons[s]
}

// isLabel compares a label with a code that closes, however it is cased or padded.
func isLabel(label []byte, code string) bool {
	return string(label) == code || len(label) >= len(code) && strings.EqualFold(string(bytes.TrimSpace(label)), code)
}

func labelledPart2[T ~[]byte](labels []T) bool {
	for _, l := range labels {
		if isLabel(l, "42CFRPart2") {
			return true
		}
	}
	return false
}

// underPart2 tells whether a record is under 42 CFR Part 2. What cannot be
// told takes the stricter branch. The first that applies:
//
//   - its label says so, or a provider that it names is a program: yes;
//   - no program is declared: no;
//   - its encounter is known: as the encounter;
//   - it is a resource whose encounter is not in the extract: yes, whatever
//     provider it names. The visit number of a row refers to nothing;
//   - the providers that it names settle it: no;
//   - it names no encounter, and every encounter known of its people was held
//     outside of the programs: no;
//   - anything else: yes.
func (t *Tables) underPart2(f *extract.Facts) bool {
	if labelledPart2(f.Labels) {
		return true
	}
	if t.Programs.none() || len(f.Subjects) == 0 {
		return false
	}
	own := t.Programs.treats(f)
	if own == yes {
		return true
	}
	if t.Encounters != nil && len(f.Encounter) > 0 {
		if known := t.Encounters.find(f.Encounter); known != 0 || extract.TypeOf(f.Dataset) != nil {
			return known != notOfProgram
		}
	}
	if own == no {
		return false
	}
	return len(f.Encounter) > 0 || f.Dataset == "Encounter" || !t.outsideOfPrograms(f)
}

// outsideOfPrograms tells whether all people of a record have encounters, and
// none of them at a program.
func (t *Tables) outsideOfPrograms(f *extract.Facts) bool {
	if t.Encounters == nil {
		return false
	}
	for _, id := range f.Subjects {
		s, ok := t.People.Find(id)
		if !ok || t.Encounters.person(s) != notOfProgram {
			return false
		}
	}
	return true
}
