package build

import (
	"cmp"
	"errors"
	"hash/maphash"

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
	return identity{id: h.name(scratch), content: maphash.Bytes(h.content, rec.Raw), ordinal: rec.Ordinal}, scratch
}

// name hashes DATASET/id.
func (h identityHash) name(name []byte) [2]uint64 {
	return [2]uint64{maphash.Bytes(h.first, name), maphash.Bytes(h.second, name)}
}

// duplicateFinder finds, over all records of an extract, ids that occur more
// than once.
type duplicateFinder struct{ *sorter }

func newDuplicateFinder(dir string) duplicateFinder { return duplicateFinder{newSorter(dir)} }

// finish decides every repeated id among the `total` records of the extract.
func (f duplicateFinder) finish(total int64) (*repeats, error) {
	found := &repeats{total: total}
	group := newIdentityGroup(found)
	err := f.replay(group.add)
	group.close()
	return found, errors.Join(err, f.close())
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
