package policies

import (
	"slices"
	"testing"

	"github.com/posternhealth/postern/extract"
)

// What pages about a policy ask of it.
func TestWhatPagesAsk(t *testing.T) {
	p := mustLoad(t, "testdata/right/outcomes-registry.yaml")
	if !p.Written("purpose") || p.Written("nowhere") || p.IsOpen("purpose") || !(&Policy{}).Written("purpose") || (&Policy{}).IsOpen("purpose") {
		t.Error("what the file holds")
	}
	for code, want := range map[string][2]string{"TREAT": {"TREAT", "treatment"}, "ELIGVER": {"HPAYMT", "payment"}, "XYZ": {}} {
		if wider, words := PurposeMeaning(code); wider != want[0] || words != want[1] {
			t.Errorf("%s is %s, %s", code, wider, words)
		}
	}
	var parts []string
	Union(CodePrefix("F32"), CodeRange("F40", "F43"), Codes("X")).Each(func(from, to string, deep bool) {
		if deep && from == to {
			to += "*"
		}
		parts = append(parts, from+".."+to)
	})
	if !slices.Equal(parts, []string{"F32..F32*", "F40..F43", "X..X"}) {
		t.Error(parts)
	}
}

// An identifier is absent when no field, leaf or dimension has a class of it.
func TestAbsentIdentifiers(t *testing.T) {
	all := (&Policy{}).AbsentIdentifiers()
	if len(all) != 17 || all[0] != "names" || all[16] != "photographs" {
		t.Errorf("%d: %v", len(all), all)
	}
	has := func(p Policy, want int, not string) {
		t.Helper()
		if got := p.AbsentIdentifiers(); len(got) != want || slices.Contains(got, not) {
			t.Errorf("%v", got)
		}
	}
	has(Policy{Release: []Release{{Fields: []Field{{Class: extract.Phone, Do: Keep}}}}}, 16, "telephone numbers")
	has(Policy{Release: []Release{{Fields: []Field{{Do: Keep, Leaves: []Leaf{{Class: extract.Name}}}}}}}, 16, "names")
	has(Policy{Release: []Release{{Fields: []Field{{Class: extract.OtherUnique, Do: Keep}}}}}, 10, "devices")
	has(Policy{Release: []Release{{Fields: []Field{{Class: extract.FreeText, Do: Keep}}}}}, 0, "")
	has(Policy{Release: []Release{{Fields: []Field{{Class: extract.FreeText, Do: KeepIn}}}}}, 17, "")
	has(Policy{Tables: []Table{{Period: "calendar-year"}}}, 16, "dates and ages")
	has(Policy{Tables: []Table{{By: []Dimension{{Class: extract.Postcode}}}}}, 16, "places below a state")
}
