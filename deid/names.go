package deid

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// names finds a member of a node by its name in one probe: a perfect hash of
// the name's length, first and last eight bytes, found when the plan is
// compiled. A miss costs one comparison.
type names struct {
	slots      []slot
	multiplier uint64
	shift      uint8
}

type slot struct {
	first, last uint64
	name        string
	child       *node
}

// key gives the first eight bytes of the name at raw[from:to], and its last
// eight when it is longer than that. Shorter names are filled with zeros.
func key(raw []byte, from, to int) (first, last uint64) {
	switch {
	case to-from >= 8:
		return binary.LittleEndian.Uint64(raw[from:]), binary.LittleEndian.Uint64(raw[to-8:])
	case from+8 <= len(raw): // short names are most, and seldom stand so near the end
		return binary.LittleEndian.Uint64(raw[from:]) & (1<<(8*uint(to-from)) - 1), 0
	}
	for i, c := range raw[from:to] {
		first |= uint64(c) << (8 * i)
	}
	return first, 0
}

func (t *names) place(first, last uint64, size int) uint64 {
	return ((first ^ bits.RotateLeft64(last, 29)) + uint64(size)) * t.multiplier >> t.shift
}

func (t *names) find(raw []byte, from, to int) *node {
	first, last := key(raw, from, to)
	s := &t.slots[t.place(first, last, to-from)]
	if s.first != first || s.last != last || len(s.name) != to-from {
		return nil
	}
	if to-from > 16 && s.name != string(raw[from:to]) {
		return nil
	}
	return s.child
}

// newNames lays out the table: the smallest power of two at which one of a
// fixed row of multipliers gives every name a slot of its own.
func newNames(children []*node) (names, error) {
	size := 2
	for size < len(children) {
		size *= 2
	}
	for ; size <= 1<<14; size *= 2 {
		t := names{multiplier: 0x9e3779b97f4a7c15, shift: uint8(64 - bits.TrailingZeros(uint(size)))}
		for range 256 {
			if t.fill(children, size) {
				return t, nil
			}
			t.multiplier = t.multiplier*0xd1342543de82ef95 | 1
		}
	}
	return names{}, fmt.Errorf("the names of %d members cannot be told apart by length, first and last eight bytes", len(children))
}

func (t *names) fill(children []*node, size int) bool {
	t.slots = make([]slot, size)
	for _, c := range children {
		first, last := key([]byte(c.name), 0, len(c.name))
		s := &t.slots[t.place(first, last, len(c.name))]
		if s.child != nil {
			return false
		}
		*s = slot{first, last, c.name, c}
	}
	return true
}
