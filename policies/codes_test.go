package policies

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Sets made of random pieces hold exactly the codes that a piece holds, over
// every string of up to three letters.
func TestCodeSetsHoldWhatTheirPiecesHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var all []string
	letters := "ABC"
	for _, a := range letters {
		all = append(all, string(a))
		for _, b := range letters {
			all = append(all, string([]rune{a, b}))
			for _, c := range letters {
				all = append(all, string([]rune{a, b, c}))
			}
		}
	}
	pick := func() string { return all[rng.IntN(len(all))] }
	for round := range 5000 {
		var sets []CodeSet
		var said []string
		var holds []func(string) bool
		for range 1 + rng.IntN(4) {
			a, b := pick(), pick()
			switch rng.IntN(3) {
			case 0:
				sets, said = append(sets, Codes(a, b)), append(said, a+","+b)
				holds = append(holds, func(c string) bool { return c == a || c == b })
			case 1:
				sets, said = append(sets, CodePrefix(a)), append(said, a+"*")
				holds = append(holds, func(c string) bool { return strings.HasPrefix(c, a) })
			default:
				sets, said = append(sets, CodeRange(a, b)), append(said, a+".."+b)
				holds = append(holds, func(c string) bool { return c >= a && (c <= b || strings.HasPrefix(c, b)) })
			}
		}
		union := Union(sets...)
		any := false
		for _, code := range all {
			want := false
			for _, h := range holds {
				want = want || h(code)
			}
			any = any || want
			if union.Contains(code) != want {
				t.Fatalf("round %d: %v holds %s: %v, want %v (%s)", round, said, code, !want, want, fmt.Sprint(union))
			}
		}
		if union.Empty() == any {
			t.Fatalf("round %d: %v empty: %v", round, said, union.Empty())
		}
	}
}

func TestSingleCodes(t *testing.T) {
	if codes, ok := Codes("b", "a", "b").Single(); !ok || strings.Join(codes, " ") != "a b" {
		t.Errorf("got %v %v", codes, ok)
	}
	for _, s := range []CodeSet{CodePrefix("a"), CodeRange("a", "b"), Union(Codes("a"), CodeRange("c", "d"))} {
		if _, ok := s.Single(); ok {
			t.Errorf("%v is said to hold single codes only", s)
		}
	}
}

// What begins alike and follows without a gap is one set, however it is written;
// what more that is named holds is told.
func TestSetsInWords(t *testing.T) {
	for want, set := range map[string]CodeSet{
		"A..B [A* B*]":   Union(CodePrefix("A"), CodePrefix("B"), CodeRange("A", "B")),
		"A..B []":        Union(CodePrefix("A"), CodePrefix("B")),
		"A..B alone []":  Union(CodePrefix("A"), Codes("B")),
		"F10..F19 [F11]": Union(CodeRange("F10", "F19"), Codes("F11")),
		"F1* [F1 F10]":   Union(Codes("F1", "F10"), CodePrefix("F1")),
		"a b []":         Codes("b", "a"),
	} {
		c := Condition{Codes: set}
		if got := fmt.Sprint(c.says(), " ", set.hidden); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if after := (codeSpan{"", "\xff", true}).after(); after != "" {
		t.Errorf("%q", after)
	}
}
