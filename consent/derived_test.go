package consent

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// lineage is a small extract: of each record what it is called, whether it is
// withheld, and what it names as evidence.
type lineage []struct {
	name     uint64
	withheld bool
	evidence []uint64
}

// replay gives the traces in the order that DeriveWithheld asks for.
func (l lineage) replay(see func(Trace)) error {
	var traces []Trace
	for i, r := range l {
		traces = append(traces, Trace{Name: [2]uint64{r.name, 1}, Ordinal: int64(i), Withheld: r.withheld})
		for _, e := range r.evidence {
			traces = append(traces, Trace{Name: [2]uint64{e, 1}, Ordinal: int64(i), Evidence: true})
		}
	}
	slices.SortStableFunc(traces, func(a, b Trace) int {
		after := func(t Trace) int {
			if t.Evidence {
				return 1
			}
			return 0
		}
		return cmp.Or(cmp.Compare(a.Name[0], b.Name[0]), after(a)-after(b))
	})
	for _, t := range traces {
		see(t)
	}
	return nil
}

// rests is the rule read word for word: whether record i is, however many steps
// away, derived from something withheld.
func (l lineage) rests(i int, unsure bool, seen map[int]bool) bool {
	if seen[i] {
		return false
	}
	seen[i] = true
	for _, e := range l[i].evidence {
		there := false
		for j, r := range l {
			if r.name == e {
				there = true
				if r.withheld || l.rests(j, unsure, seen) {
					return true
				}
			}
		}
		if !there && unsure {
			return true
		}
	}
	return false
}

func TestDerivedFromWithheldIsTransitive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 12).Draw(t, "records")
		l := make(lineage, n)
		for i := range l {
			l[i].name = rapid.Uint64Range(0, 14).Draw(t, "name") // now and then two of one name
			l[i].withheld = rapid.IntRange(0, 5).Draw(t, "withheld") == 0
			l[i].evidence = rapid.SliceOfN(rapid.Uint64Range(0, 14), 0, 3).Draw(t, "evidence")
		}
		unsure := rapid.Bool().Draw(t, "unsure")
		derived, err := DeriveWithheld(int64(n), unsure, l.replay)
		if err != nil {
			t.Fatal(err)
		}
		count := int64(0)
		for i := range l {
			want := l.rests(i, unsure, map[int]bool{})
			if derived.Has(int64(i)) != want {
				t.Fatalf("record %d of %v: %v", i, l, !want)
			}
			if want {
				count++
			}
		}
		if derived.Len() != count {
			t.Fatalf("%d are derived, counted %d", count, derived.Len())
		}
	})
}

func TestAChainThatCannotBeFollowedIsWithheld(t *testing.T) {
	// Each names the next, whose name sorts before its own, so that each going
	// comes one step further; only the last is withheld.
	chain := func(length uint64) *Derived {
		l := make(lineage, length)
		for i := range l {
			l[i].name, l[i].evidence = uint64(i)+1, []uint64{uint64(i) + 2}
		}
		l[length-1].evidence, l[length-1].withheld = nil, true
		derived, err := DeriveWithheld(int64(length), true, l.replay)
		if err != nil {
			t.Fatal(err)
		}
		return derived
	}
	for _, length := range []uint64{2, maxGenerations, 3 * maxGenerations} {
		if got := chain(length).Len(); got != int64(length)-1 {
			t.Errorf("of a chain of %d, %d are derived from something withheld", length, got)
		}
	}
}

func TestNothingIsDerivedWithoutTraces(t *testing.T) {
	var none *Derived
	if none.Has(0) || none.Len() != 0 {
		t.Error("a record is derived though nothing is")
	}
	broken := errors.New("broken")
	if _, err := DeriveWithheld(1, true, func(func(Trace)) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	derived, err := DeriveWithheld(1, true, func(func(Trace)) error { return nil })
	if err != nil || derived.Len() != 0 || derived.Has(1<<40) {
		t.Error(fmt.Errorf("a record beyond the last: %w", err))
	}
}
