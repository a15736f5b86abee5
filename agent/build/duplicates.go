package build

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"hash/maphash"
	"slices"

	"github.com/posternhealth/postern/extract"
)

// identity is what the index pass keeps of a record to find the same id again:
// keyed hashes, so that what is spilled says nothing even beside its key.
type identity struct {
	id      [2]uint64
	content uint64
	ordinal int64
}

const identitySize = 32

func (a identity) compare(b identity) int {
	if a.id[0] != b.id[0] { // nearly always
		if a.id[0] < b.id[0] {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.id[1], b.id[1]), cmp.Compare(a.ordinal, b.ordinal))
}

// identityHash hashes ids and contents with keys of this process.
type identityHash struct{ first, second, content maphash.Seed }

func newIdentityHash() identityHash {
	return identityHash{maphash.MakeSeed(), maphash.MakeSeed(), maphash.MakeSeed()}
}

func (h identityHash) of(rec *extract.Record, scratch []byte) (identity, []byte) {
	scratch = append(append(append(scratch[:0], rec.Dataset...), '/'), rec.Facts.ID...)
	return identity{
		id:      [2]uint64{maphash.Bytes(h.first, scratch), maphash.Bytes(h.second, scratch)},
		content: maphash.Bytes(h.content, rec.Raw),
		ordinal: rec.Ordinal,
	}, scratch
}

// duplicateFinder finds, over all records of an extract, ids that occur more
// than once. It holds a bounded number of identities and spills sorted runs of
// them, encrypted.
type duplicateFinder struct {
	dir   string
	limit int
	held  []identity
	spill *spill
	runs  []int // frame number at which each sorted run begins
	buf   []byte
}

const (
	heldIdentities  = 1 << 19 // 16 MiB
	frameIdentities = 1 << 11 // 64 KiB
)

func newDuplicateFinder(dir string) *duplicateFinder {
	return &duplicateFinder{dir: dir, limit: heldIdentities}
}

func (f *duplicateFinder) add(id identity) error {
	if len(f.held) >= f.limit {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.held = append(f.held, id)
	return nil
}

func (f *duplicateFinder) flush() error {
	slices.SortFunc(f.held, identity.compare)
	if f.spill == nil {
		var err error
		if f.spill, err = newSpill(f.dir); err != nil {
			return err
		}
	}
	f.runs = append(f.runs, len(f.spill.frames))
	for part := range slices.Chunk(f.held, frameIdentities) {
		f.buf = f.buf[:0]
		for _, id := range part {
			f.buf = binary.LittleEndian.AppendUint64(f.buf, id.id[0])
			f.buf = binary.LittleEndian.AppendUint64(f.buf, id.id[1])
			f.buf = binary.LittleEndian.AppendUint64(f.buf, id.content)
			f.buf = binary.LittleEndian.AppendUint64(f.buf, uint64(id.ordinal))
		}
		if _, err := f.spill.write(f.buf); err != nil {
			return err
		}
	}
	f.held = f.held[:0]
	return nil
}

// finish decides every repeated id among the `total` records of the extract.
func (f *duplicateFinder) finish(total int64) (*repeats, error) {
	found := &repeats{total: total}
	if f.spill == nil {
		slices.SortFunc(f.held, identity.compare)
		group := newIdentityGroup(found)
		for _, id := range f.held {
			group.add(id)
		}
		group.close()
		f.held = nil
		return found, nil
	}
	if err := f.flush(); err != nil {
		return nil, err
	}
	f.held = nil
	return found, errors.Join(f.merge(found), f.spill.close())
}

// merge reads all sorted runs in step.
func (f *duplicateFinder) merge(found *repeats) error {
	var queue runQueue
	for i, first := range f.runs {
		end := len(f.spill.frames)
		if i+1 < len(f.runs) {
			end = f.runs[i+1]
		}
		run := &sortedRun{spill: f.spill, next: first, end: end}
		ok, err := run.advance()
		if err != nil {
			return err
		}
		if ok {
			queue = append(queue, run)
		}
	}
	heap.Init(&queue)
	group := newIdentityGroup(found)
	for len(queue) > 0 {
		run := queue[0]
		group.add(run.head)
		ok, err := run.advance()
		if err != nil {
			return err
		}
		if ok {
			heap.Fix(&queue, 0)
		} else {
			heap.Pop(&queue)
		}
	}
	group.close()
	return nil
}

// identityGroup gathers the copies of one id, which come in order of place.
type identityGroup struct {
	found *repeats
	held  []identity
}

func newIdentityGroup(found *repeats) *identityGroup { return &identityGroup{found: found} }

func (g *identityGroup) add(id identity) {
	if len(g.held) > 0 && g.held[0].id != id.id {
		g.close()
	}
	g.held = append(g.held, id)
}

// close decides a group: copies with one content are repeats of the first;
// with two contents none can be trusted.
func (g *identityGroup) close() {
	if len(g.held) > 1 {
		same := true
		for _, id := range g.held[1:] {
			same = same && id.content == g.held[0].content
		}
		for i, id := range g.held {
			switch {
			case !same:
				g.found.set(id.ordinal, extract.Conflict)
			case i > 0:
				g.found.set(id.ordinal, extract.Repeated)
			}
		}
	}
	g.held = g.held[:0]
}

// repeats says of every record by ordinal whether its id was met elsewhere:
// two bits a record, and none while there is nothing to say.
type repeats struct {
	total     int64
	conflicts int64
	bits      []uint64
}

func (r *repeats) set(ordinal int64, reason extract.Reason) {
	if r.bits == nil {
		r.bits = make([]uint64, (r.total+31)/32)
	}
	value := uint64(1)
	if reason == extract.Conflict {
		value = 2
		r.conflicts++
	}
	r.bits[ordinal/32] |= value << (ordinal % 32 * 2)
}

// of is Repeated, Conflict or NoReason.
func (r *repeats) of(ordinal int64) extract.Reason {
	if r.bits == nil || ordinal >= r.total { // a source that has grown since: the run stops at its file's end
		return extract.NoReason
	}
	switch r.bits[ordinal/32] >> (ordinal % 32 * 2) & 3 {
	case 1:
		return extract.Repeated
	case 2:
		return extract.Conflict
	}
	return extract.NoReason
}

// none tells whether nothing is said of n records from an ordinal on.
func (r *repeats) none(from, n int64) bool {
	if r.bits == nil {
		return true
	}
	for o := from; o < from+n; o++ {
		if o%32 == 0 && o+32 <= from+n && r.bits[o/32] == 0 {
			o += 31
			continue
		}
		if r.of(o) != extract.NoReason {
			return false
		}
	}
	return true
}

// sortedRun reads one spilled run.
type sortedRun struct {
	spill     *spill
	next, end int
	frame     []byte
	rest      []byte
	head      identity
}

func (r *sortedRun) advance() (bool, error) {
	if len(r.rest) == 0 {
		if r.next == r.end {
			return false, nil
		}
		var err error
		if r.frame, err = r.spill.read(r.next, r.frame); err != nil {
			return false, err
		}
		r.next++
		r.rest = r.frame
	}
	b := r.rest
	r.head = identity{
		id:      [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])},
		content: binary.LittleEndian.Uint64(b[16:]),
		ordinal: int64(binary.LittleEndian.Uint64(b[24:])),
	}
	r.rest = b[identitySize:]
	return true, nil
}

type runQueue []*sortedRun

func (q runQueue) Len() int           { return len(q) }
func (q runQueue) Less(i, j int) bool { return q[i].head.compare(q[j].head) < 0 }
func (q runQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *runQueue) Push(x any)        { *q = append(*q, x.(*sortedRun)) }
func (q *runQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
