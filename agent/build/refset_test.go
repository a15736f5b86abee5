package build

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/consent"
)

func TestRefSetIsASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set refSet
		want := map[uint64]bool{}
		ref := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 3), rapid.Custom(func(t *rapid.T) uint64 {
			return ^uint64(0) - rapid.Uint64Range(0, 40).Draw(t, "last slots")
		}))
		for _, r := range rapid.SliceOf(ref).Draw(t, "added") {
			set.add(r)
			want[max(r, 1)] = true // hashes 0 and 1 are one
		}
		n := 0
		for i := range set.shards {
			n += set.shards[i].n
		}
		if n != len(want) {
			t.Fatalf("%d in the set, want %d", n, len(want))
		}
		for r := range want {
			if !set.has(r) {
				t.Fatal("lost one")
			}
		}
		for _, r := range rapid.SliceOf(ref).Draw(t, "asked") {
			if set.has(r) != want[max(r, 1)] {
				t.Fatal("has one that was never added")
			}
		}
	})
}

func TestPeopleAreCountedOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set peopleSet
		want := map[consent.Subject]bool{}
		for _, s := range rapid.SliceOf(rapid.Uint32Range(0, 300)).Draw(t, "people") {
			set.add(consent.Subject(s))
			want[consent.Subject(s)] = true
		}
		set.add(consent.NoSubject)
		if set.n != int64(len(want)) {
			t.Fatalf("%d people, want %d", set.n, len(want))
		}
	})
}
