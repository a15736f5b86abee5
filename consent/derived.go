package consent

// Trace is one thing that an extract tells of derivation (step 6): that a
// record is there, or that a record names another as its evidence.
type Trace struct {
	Name     [2]uint64 // a hash of Type/id: of the record, or of its evidence
	Ordinal  int64     // of the record, or of the record that names the evidence
	Evidence bool      // names it; otherwise the record itself
	Withheld bool      // of the record itself: a step before this one keeps it back
}

// maxGenerations bounds how often the traces are gone through. Change scores
// of change scores need one going each; evidence that is named in a longer
// chain cannot be told, and is taken for withheld.
const maxGenerations = 256

// Derived are the records that are derived from something withheld, a bit each.
type Derived struct {
	bits []uint64
	n    int64
}

// DeriveWithheld finds, among records 0 … total-1, those that are derived from
// a record that is withheld, or from one so derived: a sum, a change or a rate
// tells of what it was made of. A record may rest on one that is not there;
// where unsure, which holds when records are judged one by one, what cannot be
// seen counts as withheld.
//
// replay gives all traces, any number of times in the same order: sorted by
// Name and, of one name, the records before the evidence. An id that two records
// have is withheld if either is.
func DeriveWithheld(total int64, unsure bool, replay func(func(Trace)) error) (*Derived, error) {
	d := &Derived{bits: make([]uint64, (total+63)/64)}
	for generation := 0; ; generation++ {
		before := d.n
		var name [2]uint64
		var there, closed bool
		err := replay(func(t Trace) {
			if t.Name != name {
				name, there, closed = t.Name, false, false
			}
			switch {
			case !t.Evidence:
				there, closed = true, closed || t.Withheld || d.Has(t.Ordinal)
			case closed, unsure && !there, generation == maxGenerations:
				d.add(t.Ordinal)
			}
		})
		if err != nil || d.n == before || generation == maxGenerations {
			return d, err
		}
	}
}

// Len is the number of records that are derived from something withheld; of nil, none.
func (d *Derived) Len() int64 {
	if d == nil {
		return 0
	}
	return d.n
}

// Has tells whether a record is derived from something withheld. Of nil, no
// record is.
func (d *Derived) Has(ordinal int64) bool {
	return d != nil && ordinal/64 < int64(len(d.bits)) && d.bits[ordinal/64]>>(ordinal%64)&1 != 0
}

func (d *Derived) add(ordinal int64) {
	if !d.Has(ordinal) {
		d.bits[ordinal/64] |= 1 << (ordinal % 64)
		d.n++
	}
}
