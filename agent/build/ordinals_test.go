package build

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/deid"
)

// Numbered as they first appear: equal for equal values, and counted from one.
func TestOrdinalsCountInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given, seen := ordinals{}, []string{}
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			var b rowBatch
			values := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})).Draw(t, "values")
			for _, v := range values {
				b.rows = append(b.rows, row{bytes: []byte("x,??????????,??\n"), holes: []deid.Hole{{Kind: deid.Reference, Start: 0, End: 1}, {Kind: deid.Ordinal, Start: 2, End: 12, Ref: deid.RefHash([]byte(v))}}})
			}
			b.number(given, &refSet{})
			for i, v := range values {
				at := 0
				for at < len(seen) && seen[at] != v {
					at++
				}
				if at == len(seen) {
					seen = append(seen, v)
				}
				if want := fmt.Sprintf("x,%010d,??\n", at+1); string(b.rows[i].bytes) != want {
					t.Fatalf("got %s, want %s", b.rows[i].bytes, want)
				}
			}
		}
	})
}

// A reference takes the number of the record that it names; one that will be cut
// takes none, so that no number is missing.
func TestOrdinalsOfReferences(t *testing.T) {
	var released refSet
	gone, there := deid.RefHash([]byte("Encounter/gone")), deid.RefHash([]byte("Encounter/there"))
	released.add(there)
	refer := func(ref uint64) row {
		return row{bytes: []byte(`"Encounter/??????????"`), holes: []deid.Hole{{Kind: deid.Reference, Start: 0, End: 22, Ref: ref}, {Kind: deid.Ordinal, Start: 11, End: 21, Ref: ref}}}
	}
	b := rowBatch{rows: []row{refer(gone), refer(there), {bytes: []byte("??????????"), holes: []deid.Hole{{Kind: deid.Ordinal, Start: 0, End: 10, Ref: deid.RefHash([]byte("other"))}}}, refer(there)}}
	b.number(ordinals{}, &released)
	for i, want := range []string{`"Encounter/??????????"`, `"Encounter/0000000001"`, "0000000002", `"Encounter/0000000001"`} {
		if got := string(b.rows[i].bytes); got != want {
			t.Errorf("row %d: %s, want %s", i, got, want)
		}
	}
}
