package gate

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"math/bits"
)

// Kind is what a value of the roster is to its person.
type Kind uint8

const (
	Other Kind = iota + 1
	Postcode
	City
	BirthDate
	Name
	StreetAddress
	Phone
	Email
	MemberNumber
	RecordNumber
	SSN

	kinds = int(SSN) + 1
)

var kindNames = [kinds]string{
	"", "other identifier", "postal code", "city", "birth date", "name", "street address", "phone", "e-mail",
	"member number", "record number", "social security number",
}

// Roster holds the identifying values of this extract's people, as keyed
// hashes only: no value can be read back from it. It is built by one
// goroutine, frozen, and then shared by any number of gates.
//
// Two tables of eight-byte slots: `values` knows that somebody has a value,
// `owned` knows whose it is. With ten values a person it stays below 256 bytes
// a person if NewRoster was told the number of people.
type Roster struct {
	seed   maphash.Seed
	values table
	owned  table
	// starts says of each first four bytes and length whether some value has
	// them: a small table that fits a core's cache and spares most look-ups.
	starts [1 << 15]uint64
	frozen bool
	text   text
}

// NewRoster makes room for this many people; more may be added.
func NewRoster(people int) *Roster {
	return &Roster{seed: maphash.MakeSeed(), values: newTable(people * 8), owned: newTable(people * 11)}
}

// ErrFrozen says that a value came too late for the gates to know it.
var ErrFrozen = errors.New("the gate's roster is frozen: add every person before making gates")

// Add notes that the subject has the value. Case, accents, punctuation and
// spaces do not count; a value of fewer than two letters or digits, such as a
// middle initial, may leave as the subject's own and is searched for nowhere.
func (r *Roster) Add(subject uint32, kind Kind, value []byte) error {
	if r.frozen {
		return ErrFrozen
	}
	if kind == 0 || int(kind) >= kinds {
		return errors.New("the gate's roster does not know this kind of value")
	}
	r.text.read(value)
	plain, tokens := r.text.plain, r.text.tokens
	if len(plain) < 2 {
		r.owned.put(ownedHash(r.hash(plain), subject, kind), 0)
		return nil
	}
	r.note(subject, kind, plain)
	if len(tokens) > longestName && (kind == StreetAddress || kind == Name) {
		r.note(subject, kind, plain[:tokens[longestName-1].end]) // of more words the gate looks for the first
	}
	if short := shorterForm(kind, plain); short != nil {
		r.note(subject, kind, short)
	}
	return nil
}

func (r *Roster) note(subject uint32, kind Kind, plain []byte) {
	h := r.hash(plain)
	if len(plain) >= shortestName {
		bit := start(plain)
		r.starts[bit/64] |= 1 << (bit % 64)
	}
	r.values.put(h&^kindMask|uint64(kind), kindMask)
	r.owned.put(ownedHash(h, subject, kind), 0)
}

// shorterForm is the same number as others write it: without leading zeros,
// or, for a telephone, without the country code of the North American plan.
func shorterForm(kind Kind, plain []byte) []byte {
	if digitsLength(plain) != len(plain) {
		return nil
	}
	i := 0
	switch {
	case kind == Phone && len(plain) == 11 && plain[0] == '1':
		i = 1
	case kind == RecordNumber || kind == MemberNumber || kind == Other:
		for i < len(plain) && plain[i] == '0' {
			i++
		}
	}
	if i == 0 || len(plain)-i < 2 {
		return nil
	}
	return plain[i:]
}

// Freeze ends the building. Gates can be made from now on.
func (r *Roster) Freeze() { r.frozen = true }

func (r *Roster) hash(plain []byte) uint64 { return maphash.Bytes(r.seed, plain) }

// start is the number of the bit that stands for a value of four bytes or more.
func start(plain []byte) uint32 {
	key := binary.LittleEndian.Uint32(plain) + uint32(len(plain))*0x9e3779b9
	key *= 0x85ebca6b
	return (key ^ key>>15) * 0xc2b2ae35 >> 11
}

// mayHave is false only for a value of four bytes or more that nobody has.
func (r *Roster) mayHave(plain []byte) bool {
	bit := start(plain)
	return r.starts[bit/64]&(1<<(bit%64)) != 0
}

func (r *Roster) find(h uint64) (Kind, bool) {
	slot := r.values.get(h&^kindMask, kindMask)
	return Kind(slot & kindMask), slot != 0
}

func (r *Roster) owns(h uint64, subjects []uint32, kind Kind) bool {
	for _, s := range subjects {
		if r.owned.get(ownedHash(h, s, kind), 0) != 0 {
			return true
		}
	}
	return false
}

// ownedHash mixes a keyed hash with its owner (the finalizer of MurmurHash3).
func ownedHash(h uint64, subject uint32, kind Kind) uint64 {
	h ^= (uint64(subject)<<8 | uint64(kind)) * 0x9e3779b97f4a7c15
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33 | 1
}

// kindMask is the part of a slot of `values` that holds the kind.
const kindMask = 15

// table is a set of hashes with open addressing; the bits of `payload` do not
// count when hashes are compared, and the greater payload stays.
type table struct {
	slots []uint64
	count int
}

func newTable(expected int) table { return table{slots: make([]uint64, 16+expected*5/4)} }

func (t *table) index(h uint64) int {
	hi, _ := bits.Mul64(h, uint64(len(t.slots)))
	return int(hi)
}

func (t *table) put(h, payload uint64) {
	if t.count*7 >= len(t.slots)*6 {
		t.grow(payload)
	}
	for i := t.index(h &^ payload); ; i++ {
		if i == len(t.slots) {
			i = 0
		}
		switch slot := t.slots[i]; {
		case slot == 0:
			t.slots[i] = h
			t.count++
			return
		case slot&^payload == h&^payload:
			t.slots[i] = max(slot, h)
			return
		}
	}
}

func (t *table) grow(payload uint64) {
	old := t.slots
	t.slots, t.count = make([]uint64, len(old)+len(old)/2), 0
	for _, slot := range old {
		if slot != 0 {
			t.put(slot, payload)
		}
	}
}

func (t *table) get(h, payload uint64) uint64 {
	for i := t.index(h &^ payload); ; i++ {
		if i == len(t.slots) {
			i = 0
		}
		if slot := t.slots[i]; slot == 0 || slot&^payload == h&^payload {
			return slot
		}
	}
}
