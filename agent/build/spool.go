package build

import (
	"cmp"
	"encoding/binary"
	"io"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
)

// row is one released row on its way from the release pass to the seal pass.
type row struct {
	subject consent.Subject // consent.NoSubject for a resource about no patient, or about several
	several []consent.Subject
	place   extract.Place
	self    uint64 // deid.RefHash of its own Type/id; 0 when it has none
	rank    uint64 // shuffled position of its person; 0 when nothing is shuffled
	only    bool   // goes out only if a released row refers to it
	rests   uint32 // on which scope of consent; 0 of a row that tells of none
	bytes   []byte
	holes   []deid.Hole
	key     string // its row key, until it is spooled
}

// people are all whom the row is about.
func (r *row) people() []consent.Subject {
	if r.subject != consent.NoSubject {
		return []consent.Subject{r.subject}
	}
	return r.several
}

// about are they, as the gate knows them.
func (r *row) about(dst []uint32) []uint32 {
	for _, s := range r.people() {
		dst = append(dst, uint32(s))
	}
	return dst
}

const rowHeader = 4 + 4 + 4 + 8 + 4 + 8 + 8 + 1 + 4 + 4 + 4

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
	dst = binary.LittleEndian.AppendUint32(dst, r.rests)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.several)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.holes)))
	for _, s := range r.several {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(s))
	}
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
	r.rests = binary.LittleEndian.Uint32(b[41:])
	several, holes := int(binary.LittleEndian.Uint32(b[45:])), int(binary.LittleEndian.Uint32(b[49:]))
	b = b[rowHeader:]
	r.several = r.several[:0]
	for range several {
		r.several = append(r.several, consent.Subject(binary.LittleEndian.Uint32(b)))
		b = b[4:]
	}
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
	action  string // of transfer; empty of a whole drop
	plan    *deid.Plan
	spill   *spill
	buckets []bucket
	packed  []byte
	n       int64 // rows
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
	p.n++
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

// rowBatch is a run of a part's rows in the order of the drop: a frame of the
// spool, or a bucket of a shuffled part. It is used again for later rows.
type rowBatch struct {
	rows []row
	text []byte // what the rows' bytes lie in
}

// reader gives the batches of the part one after the other, io.EOF at the end.
// Nothing can be added any more.
func (p *partSpool) reader() func(*rowBatch) error {
	at, frame := 0, 0
	var sealed []byte
	load := func(b *rowBatch, frame int) (err error) {
		if sealed, err = p.spill.read(frame, sealed); err != nil {
			return err
		}
		size, err := s2.DecodedLen(sealed)
		if err != nil {
			return err
		}
		start := len(b.text)
		b.text = slices.Grow(b.text, size)[:start+size]
		_, err = s2.Decode(b.text[start:], sealed)
		return err
	}
	return func(b *rowBatch) error {
		b.text = b.text[:0]
		for ; at < len(p.buckets) && len(b.text) == 0; at++ {
			bucket := &p.buckets[at]
			if err := p.flush(bucket); err != nil {
				return err
			}
			bucket.rows = nil
			for ; frame < len(bucket.frames); frame++ {
				if len(p.buckets) == 1 && len(b.text) > 0 {
					b.split()
					return nil
				}
				if err := load(b, bucket.frames[frame]); err != nil {
					return err
				}
			}
			frame = 0
		}
		if len(b.text) == 0 {
			return io.EOF
		}
		if b.split(); len(p.buckets) > 1 {
			b.sort()
		}
		return nil
	}
}

// split finds the rows of the batch's text.
func (b *rowBatch) split() {
	b.rows = b.rows[:0]
	for rest := b.text; len(rest) > 0; {
		if len(b.rows) < cap(b.rows) {
			b.rows = b.rows[:len(b.rows)+1] // with the room for holes that it has
		} else {
			b.rows = append(b.rows, row{})
		}
		rest = readRow(rest, &b.rows[len(b.rows)-1])
	}
}

// sort puts the rows in the order of their ranks; rows of one person keep theirs.
func (b *rowBatch) sort() {
	slices.SortStableFunc(b.rows, func(a, b row) int { return cmp.Compare(a.rank, b.rank) })
}
