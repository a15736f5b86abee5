package build

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
)

// TestRepeatsMatchBruteForce holds the finder, spilling after a few records,
// against a map of all records.
func TestRepeatsMatchBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type rec struct{ id, content uint64 }
		recs := rapid.SliceOf(rapid.Custom(func(t *rapid.T) rec {
			return rec{rapid.Uint64Range(0, 20).Draw(t, "id"), rapid.Uint64Range(0, 2).Draw(t, "content")}
		})).Draw(t, "records")
		finder := newDuplicateFinder(tempDir)
		finder.limit = rapid.IntRange(1, 10).Draw(t, "limit")
		contents := map[uint64]map[uint64]bool{}
		for i, r := range recs {
			if err := finder.add(identity{id: [2]uint64{r.id, r.id}, content: r.content, ordinal: int64(i)}); err != nil {
				t.Fatal(err)
			}
			if contents[r.id] == nil {
				contents[r.id] = map[uint64]bool{}
			}
			contents[r.id][r.content] = true
		}
		found, err := finder.finish(int64(len(recs)))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[uint64]bool{}
		for i, r := range recs {
			want := extract.NoReason
			switch {
			case len(contents[r.id]) > 1:
				want = extract.Conflict
			case seen[r.id]:
				want = extract.Repeated
			}
			seen[r.id] = true
			if got := found.of(int64(i)); got != want {
				t.Fatalf("record %d: %v, want %v", i, got, want)
			}
		}
	})
}
