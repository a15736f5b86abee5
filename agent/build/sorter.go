package build

import (
	"container/heap"
	"encoding/binary"
	"slices"
)

// sorter gives identities in their order. It holds a bounded number of them and
// spills sorted runs of them, encrypted.
type sorter struct {
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

func newSorter(dir string) *sorter { return &sorter{dir: dir, limit: heldIdentities} }

func (f *sorter) add(id identity) error {
	if len(f.held) >= f.limit {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.held = append(f.held, id)
	return nil
}

func (f *sorter) flush() error {
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

// replay gives all identities in order, as often as it is asked to. Then nothing
// can be added any more.
func (f *sorter) replay(see func(identity)) error {
	if f.spill == nil {
		slices.SortFunc(f.held, identity.compare)
		for _, id := range f.held {
			see(id)
		}
		return nil
	}
	if len(f.held) > 0 {
		if err := f.flush(); err != nil {
			return err
		}
		f.held = nil
	}
	return f.merge(see)
}

// close gives up what was spilled.
func (f *sorter) close() error {
	f.held = nil
	if f.spill == nil {
		return nil
	}
	spill := f.spill
	f.spill = nil
	return spill.close()
}

// merge reads all sorted runs in step.
func (f *sorter) merge(see func(identity)) error {
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
	for len(queue) > 0 {
		run := queue[0]
		see(run.head)
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
	return nil
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
