package build

import "github.com/posternhealth/postern/deid"

// ordinals number values in the order in which a drop first shows them: by the
// order of its rows, so that a shuffled drop tells nothing of the source's, and
// anew in each, so that no number means anything beyond it. A value is known by
// a keyed hash of 64 bits; each that differs takes a map entry of 16 bytes
// until the drop is sealed.
type ordinals map[uint64]uint64

// fill writes the number of the hole's value, with leading zeros. A drop has
// fewer values than ten digits count.
func (o ordinals) fill(row []byte, h deid.Hole) {
	n, known := o[h.Ref]
	if !known {
		n = uint64(len(o) + 1)
		o[h.Ref] = n
	}
	digits := row[h.Start:h.End]
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
}

// number fills the ordinals of the batch, whose rows stand in the drop's order.
// One within a reference that will be cut is not counted: a number that is
// missing would tell of the record that is not there.
func (b *rowBatch) number(o ordinals, released *refSet) {
	for i := range b.rows {
		cut := uint32(0)
		for _, h := range b.rows[i].holes {
			switch {
			case h.Kind == deid.Reference && !released.has(h.Ref):
				cut = h.End
			case h.Kind == deid.Ordinal && h.Start >= cut:
				o.fill(b.rows[i].bytes, h)
			}
		}
	}
}
