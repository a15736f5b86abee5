package build

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// TestCellsAsAnotherReaderSeesThem holds cellAt against encoding/csv.
func TestCellsAsAnotherReaderSeesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cells := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune("ab,\" \nü"))), 1, 6).Draw(t, "cells")
		var line bytes.Buffer
		w := csv.NewWriter(&line)
		if err := w.Write(cells); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		for i, want := range append(slices.Clone(cells), "") {
			if got := string((&form{columns: cells}).cell(nil, line.Bytes(), i)); got != want {
				t.Fatalf("cell %d of %q: %q, want %q", i, line.String(), got, want)
			}
		}
	})
}

// TestTotals: over two parts with their columns in another order, and one
// without them, as a person with a pencil would add.
func TestTotals(t *testing.T) {
	totals := newTotals([]policies.Total{{Kind: "rows"}, {Kind: "sum", Column: "score"}, {Kind: "people"}, {Kind: "rows-by", Column: "tool"}, {Kind: "sum", Column: "none"}})
	of := func(columns ...string) *partTotals {
		f := form{columns: columns}
		return totals.of(f, f.column)
	}
	one, two, third := of("tool", "score"), of("score", "tool"), of()
	for _, line := range []string{"phq,3\n", "gad,0.25\n", "\"p,h\"\"q\",1e1\n", "phq,\n"} {
		one.add([]byte(line))
	}
	for _, line := range []string{"-1.5,phq\n", "many,gad\n"} {
		two.add([]byte(line))
	}
	third.add([]byte(`{"resourceType":"Patient"}` + "\n"))
	var got []string
	for _, total := range totals.list(4) {
		got = append(got, total.Name+" = "+total.Value)
	}
	want := []string{"rows = 7", "sum of score = 11.75", "people = 4", "rows by tool: gad = 2", `rows by tool: p,h"q = 1`, "rows by tool: phq = 3", "sum of none = 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "; "), strings.Join(want, "; "))
	}
}

// TestSumsAreExact: tenths add up to what they are, in any order.
func TestSumsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tenths := rapid.SliceOf(rapid.IntRange(-1000, 1000)).Draw(t, "tenths")
		totals := newTotals([]policies.Total{{Kind: "sum", Column: "score"}})
		f := form{columns: []string{"score"}}
		part, sum := totals.of(f, f.column), 0
		for _, n := range tenths {
			sum += n
			sign := ""
			if n < 0 {
				sign = "-"
			}
			part.add(fmt.Appendf(nil, "%s%d.%d\n", sign, max(n, -n)/10, max(n, -n)%10))
		}
		sign := ""
		if sum < 0 {
			sign, sum = "-", -sum
		}
		want := fmt.Sprintf("%s%d", sign, sum/10)
		if sum%10 != 0 {
			want += fmt.Sprintf(".%d", sum%10)
		}
		if got := totals.list(0); !slices.Equal(got, []transfer.Total{{Name: "sum of score", Value: want}}) {
			t.Fatalf("%v, want %s", got, want)
		}
	})
}
