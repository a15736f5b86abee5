package build

import "math/bits"

// refSet is a set of records by deid.RefHash: about 13 bytes each, where a map
// takes 20 and, while it grows, twice that. Many goroutines may read it once
// nothing is added any more.
type refSet struct {
	shards [64]refTable // each grows by itself, so that little is copied at once
}

type refTable struct {
	slots []uint64 // open addressing; 0 is free
	n     int
}

func (s *refSet) add(ref uint64) {
	t := &s.shards[ref>>58]
	if 4*t.n >= 3*len(t.slots) {
		t.grow()
	}
	if at := t.find(ref); t.slots[at] == 0 {
		t.slots[at] = max(ref, 1)
		t.n++
	}
}

func (s *refSet) has(ref uint64) bool {
	t := &s.shards[ref>>58]
	return t.n > 0 && t.slots[t.find(ref)] != 0
}

// find gives the slot that holds ref, or the free one where it belongs.
func (t *refTable) find(ref uint64) int {
	ref = max(ref, 1)
	high, _ := bits.Mul64(ref<<6, uint64(len(t.slots)))
	at := int(high)
	for t.slots[at] != 0 && t.slots[at] != ref {
		if at++; at == len(t.slots) {
			at = 0
		}
	}
	return at
}

func (t *refTable) grow() {
	old := t.slots
	t.slots = make([]uint64, len(old)+len(old)/2+16)
	for _, ref := range old {
		if ref != 0 {
			t.slots[t.find(ref)] = ref
		}
	}
}
