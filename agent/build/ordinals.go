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
func (b *rowBatch) number(o ordinals) {
	for i := range b.rows {
		for _, h := range b.rows[i].holes {
			if h.Kind == deid.Ordinal {
				o.fill(b.rows[i].bytes, h)
			}
		}
	}
}
