package build

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// askedTogether is for how many people the codes of the epoch before are looked
// up at once.
const askedTogether = 1 << 12

// tellsOverlap tells whether the drop has a part that maps codes of the epoch
// before to those of this one. Then it is always there, empty or not.
func (r *Run) tellsOverlap() bool { return r.Epoch.Before != nil && GivesCodes(r.Policy) }

// GivesCodes tells whether a policy releases people's codes.
func GivesCodes(p *policies.Policy) bool {
	return slices.ContainsFunc(p.Release, func(release policies.Release) bool {
		return slices.ContainsFunc(release.Fields, func(f policies.Field) bool { return f.Do == policies.CodePerson })
	})
}

// sealOverlap seals the part: of each person who has a code in this drop, and
// whose code of the epoch before the recipient has been sent, both. Its lines
// are in the order of the new codes, which are random, so it says nothing of the
// extract's. Where rows under 42 CFR Part 2 may be in the drop, the part is one
// of those that hold them: a code that no other part has would tell of them.
func (r *Run) sealOverlap(ctx context.Context) error {
	lines := newPartSpool(transfer.Overlap, r.Policy.ReleasesPart2(), nil, r.spill, true)
	for some := range slices.Chunk(slices.Sorted(maps.Keys(r.crosswalk.codes)), askedTogether) {
		before, err := r.codesBefore(ctx, some)
		if err != nil {
			return err
		}
		for _, s := range some {
			old, had := before[s]
			if !had {
				continue
			}
			code := r.crosswalk.codes[s]
			line := slices.Concat(old[:], []byte{','}, code[:], []byte{'\n'})
			if err := lines.add(&row{subject: s, rank: binary.BigEndian.Uint64(code[:]), bytes: line}); err != nil {
				return err
			}
		}
	}
	spec := gate.Spec{Format: gate.CSV, Positions: []gate.Position{
		{Path: "old_code", Grammar: gate.OwnCode(deid.CodeLen)}, {Path: "new_code", Grammar: gate.OwnCode(deid.CodeLen)},
	}}
	return r.sealBeside(transfer.PartInfo{Dataset: transfer.Overlap, Part2: lines.part2, Format: transfer.CSV}, spec, lines, nil)
}

// codesBefore are the codes that people had in the epoch before: of several ids
// of one person, that of the first that had one, as a run would have gone on.
func (r *Run) codesBefore(ctx context.Context, people []consent.Subject) (map[consent.Subject][deid.CodeLen]byte, error) {
	var asked [][16]byte
	for _, s := range people {
		for _, id := range r.index.people.IDs(s) {
			person, _ := r.Epoch.Before.keyed("person", id)
			asked = append(asked, person)
		}
	}
	known := map[[16]byte][deid.CodeLen]byte{}
	if err := r.Memory.CodesBefore(ctx, asked, known); err != nil {
		return nil, err
	}
	before := map[consent.Subject][deid.CodeLen]byte{}
	for _, s := range people {
		for _, id := range r.index.people.IDs(s) {
			person, pad := r.Epoch.Before.keyed("person", id)
			if sealed, had := known[person]; had {
				before[s] = flip(sealed, pad)
				break
			}
		}
	}
	return before, nil
}
