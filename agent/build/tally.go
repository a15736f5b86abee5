package build

import (
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
)

// peopleSet is the people in a drop: a bit for each of the run.
type peopleSet struct {
	bits []uint64
	n    int64
}

func (p *peopleSet) add(s consent.Subject) {
	if s == consent.NoSubject {
		return
	}
	for int(s/64) >= len(p.bits) {
		p.bits = append(p.bits, 0)
	}
	if bit := uint64(1) << (s % 64); p.bits[s/64]&bit == 0 {
		p.bits[s/64] |= bit
		p.n++
	}
}

// ranks shuffles people: each gets a random rank when first met among released
// rows, so the order of a file says nothing about the order of the source.
type ranks struct {
	given  map[consent.Subject]uint64
	stream *keyring.Stream
}

func newRanks(stream *keyring.Stream) *ranks {
	return &ranks{map[consent.Subject]uint64{}, stream}
}

func (r *ranks) of(s consent.Subject) uint64 {
	rank, ok := r.given[s]
	if !ok {
		rank = r.stream.Uint64()
		r.given[s] = rank
	}
	return rank
}

// pathCounts are what was done to each path of each released dataset.
type pathCounts map[string]deid.Counts
