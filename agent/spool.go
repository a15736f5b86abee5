package agent

import (
	"encoding/binary"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
)

// row is one released row on its way from the release pass to the seal pass.
type row struct {
	subject consent.Subject // noSubject for a resource about no patient
	place   extract.Place
	self    uint64 // deid.RefHash of its own Type/id; 0 when it has none
	rank    uint64 // shuffled position of its person; 0 when nothing is shuffled
	only    bool   // goes out only if a released row refers to it
	bytes   []byte
	holes   []deid.Hole
}

const noSubject = ^consent.Subject(0)

const rowHeader = 4 + 4 + 4 + 8 + 4 + 8 + 8 + 1 + 2

// appendRow encodes r; readRow is its inverse.
func appendRow(dst []byte, r *row) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.bytes)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.subject))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.place.File))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.place.Line))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(r.place.Entry))
	dst = binary.LittleEndian.AppendUint64(dst, r.self)
	dst = binary.LittleEndian.AppendUint64(dst, r.rank)
	only := byte(0)
	if r.only {
		only = 1
	}
	dst = append(dst, only)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.holes)))
	for _, h := range r.holes {
		dst = append(dst, byte(h.Kind))
		dst = binary.LittleEndian.AppendUint32(dst, h.Start)
		dst = binary.LittleEndian.AppendUint32(dst, h.End)
		dst = binary.LittleEndian.AppendUint64(dst, h.Ref)
	}
	return append(dst, r.bytes...)
}

// readRow decodes the first row of b into r, whose bytes then point into b.
func readRow(b []byte, r *row) (rest []byte) {
	size := int(binary.LittleEndian.Uint32(b))
	r.subject = consent.Subject(binary.LittleEndian.Uint32(b[4:]))
	r.place.File = int(binary.LittleEndian.Uint32(b[8:]))
	r.place.Line = int64(binary.LittleEndian.Uint64(b[12:]))
	r.place.Entry = int(binary.LittleEndian.Uint32(b[20:]))
	r.self = binary.LittleEndian.Uint64(b[24:])
	r.rank = binary.LittleEndian.Uint64(b[32:])
	r.only = b[40] == 1
	holes := int(binary.LittleEndian.Uint16(b[41:]))
	b = b[rowHeader:]
	r.holes = r.holes[:0]
	for range holes {
		r.holes = append(r.holes, deid.Hole{
			Kind:  deid.HoleKind(b[0]),
			Start: binary.LittleEndian.Uint32(b[1:]),
			End:   binary.LittleEndian.Uint32(b[5:]),
			Ref:   binary.LittleEndian.Uint64(b[9:]),
		})
		b = b[17:]
	}
	r.bytes = b[:size]
	return b[size:]
}

// partSpool holds the rows of one part of a drop until the seal pass. Rows of
// a shuffled part fall into buckets by rank, so that the seal pass can put one
// bucket after another in order without holding the part whole.
type partSpool struct {
	dataset string
	part2   bool
	plan    *deid.Plan
	spill   *spill
	buckets []bucket
	packed  []byte
}

type bucket struct {
	rows   []byte
	frames []int
}

const (
	frameSize     = 256 << 10
	shuffleFrames = 16 << 10
	shuffleBits   = 8
)

func newPartSpool(dataset string, part2 bool, plan *deid.Plan, s *spill, shuffled bool) *partSpool {
	p := &partSpool{dataset: dataset, part2: part2, plan: plan, spill: s, buckets: make([]bucket, 1)}
	if shuffled {
		p.buckets = make([]bucket, 1<<shuffleBits)
	}
	return p
}

func (p *partSpool) add(r *row) error {
	at, limit := 0, frameSize
	if len(p.buckets) > 1 {
		at, limit = int(r.rank>>(64-shuffleBits)), shuffleFrames
	}
	b := &p.buckets[at]
	b.rows = appendRow(b.rows, r)
	if len(b.rows) < limit {
		return nil
	}
	return p.flush(b)
}

func (p *partSpool) flush(b *bucket) error {
	if len(b.rows) == 0 {
		return nil
	}
	p.packed = s2.Encode(p.packed[:cap(p.packed)], b.rows)
	frame, err := p.spill.write(p.packed)
	if err != nil {
		return err
	}
	b.frames = append(b.frames, frame)
	b.rows = b.rows[:0]
	return nil
}

// each gives every row in the order of the drop. The row holds until the next.
func (p *partSpool) each(visit func(*row) error) error {
	for i := range p.buckets {
		b := &p.buckets[i]
		if err := p.flush(b); err != nil {
			return err
		}
		b.rows = nil
		var err error
		if len(p.buckets) == 1 {
			err = p.stream(b, visit)
		} else {
			err = p.sorted(b, visit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *partSpool) stream(b *bucket, visit func(*row) error) error {
	var sealed, rows []byte
	var r row
	for _, frame := range b.frames {
		var err error
		if sealed, err = p.spill.read(frame, sealed); err != nil {
			return err
		}
		if rows, err = s2.Decode(rows[:cap(rows)], sealed); err != nil {
			return err
		}
		for rest := rows; len(rest) > 0; {
			rest = readRow(rest, &r)
			if err := visit(&r); err != nil {
				return err
			}
		}
	}
	return nil
}

// sorted gives a bucket's rows by rank; rows of one person keep their order.
func (p *partSpool) sorted(b *bucket, visit func(*row) error) error {
	var all []row
	for _, frame := range b.frames {
		sealed, err := p.spill.read(frame, nil)
		if err != nil {
			return err
		}
		rows, err := s2.Decode(nil, sealed)
		if err != nil {
			return err
		}
		for rest := rows; len(rest) > 0; {
			var r row
			rest = readRow(rest, &r)
			all = append(all, r)
		}
	}
	slices.SortStableFunc(all, func(a, b row) int {
		switch {
		case a.rank < b.rank:
			return -1
		case a.rank > b.rank:
			return 1
		}
		return 0
	})
	for i := range all {
		if err := visit(&all[i]); err != nil {
			return err
		}
	}
	return nil
}
