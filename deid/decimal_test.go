package deid

import (
	"fmt"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// decimals are numbers as extracts write them, many of them near one another.
var decimals = rapid.Custom(func(t *rapid.T) string {
	text := rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, "sign") + rapid.StringMatching(`0{0,2}[0129]{1,4}`).Draw(t, "whole")
	if rapid.Bool().Draw(t, "point") {
		text += "." + rapid.StringMatching(`[019]{0,22}`).Draw(t, "fraction")
	}
	if rapid.Bool().Draw(t, "power") {
		text += rapid.StringMatching(`[eE][+-]?0?[0-3]`).Draw(t, "exponent")
	}
	return text
})

// math/big is the other implementation.
func TestDecimalsCompareExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, two := decimals.Draw(t, "one"), decimals.Draw(t, "two")
		a, okA := parseDecimal([]byte(one))
		b, okB := parseDecimal([]byte(two))
		if !okA || !okB {
			t.Fatalf("%s or %s is refused", one, two)
		}
		ratA, _ := new(big.Rat).SetString(one)
		ratB, _ := new(big.Rat).SetString(two)
		if got, want := max(-1, min(1, a.compare(b))), ratA.Cmp(ratB); got != want {
			t.Fatalf("%s against %s: %d, want %d", one, two, got, want)
		}
	})
	for _, text := range []string{"", "-", ".", "1e", "1e+", "e5", "1.2.3", "1,5", "0x10", "NaN", "Inf", " 1", "1 ", "1e5.0", "--1"} {
		if _, ok := parseDecimal([]byte(text)); ok {
			t.Errorf("%q is taken for a number", text)
		}
	}
	for _, pair := range [][2]string{{"1e999999999999999999999", "1e300"}, {"1e-300", "1e-999999999999999999999"}} {
		big, _ := parseDecimal([]byte(pair[0]))
		small, _ := parseDecimal([]byte(pair[1]))
		if big.compare(small) <= 0 || small.compare(big) >= 0 {
			t.Errorf("%s is not above %s", pair[0], pair[1])
		}
	}
}

// A range holds a value when exact arithmetic says so, in a column and in an
// element alike; both ends belong to it.
func TestRangesOfNumbers(t *testing.T) {
	row := rowPolicy(policies.Identified, policies.Field{Name: "total", Do: policies.Keep})
	observation := fhirPolicy(policies.Identified, "Observation", "keep id")
	for _, bounds := range [][2]float64{{10, 27}, {-0.1, 0.1}, {0, 0}, {0.3, 1e21}} {
		low, _ := new(big.Rat).SetString(fmt.Sprint(bounds[0]))
		high, _ := new(big.Rat).SetString(fmt.Sprint(bounds[1]))
		row.Release[0].Only = []policies.Condition{{Path: "total", Range: &policies.Range{Min: bounds[0], Max: bounds[1]}}}
		rows, err := Compile(row, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
		if err != nil {
			t.Fatal(err)
		}
		observation.Release[0].Only = []policies.Condition{{Path: "value[x]", Range: row.Release[0].Only[0].Range}}
		elements := compile(t, observation, "Observation")
		at := scoresSchema().Column("total")
		for _, text := range []string{"10", "9.99999999999999999999", "10.0", "1e1", "27", "27.000000000000000001", "28", "-0.1", "-0.10000000000000000001",
			"0.1", "0.1000000000000000000001", "0", "-0.0", "0.3", "0.29999999999999999", "1e21", "1000000000000000000000", "1.0000000000000000000001e21"} {
			value, _ := new(big.Rat).SetString(text)
			want := extract.Measure
			if value.Cmp(low) >= 0 && value.Cmp(high) <= 0 {
				want = extract.NoReason
			}
			cells := make([]string, len(scoresSchema().Fields))
			cells[at] = text
			if got := rows.InScope(rowOf(cells...)); got != want {
				t.Errorf("%s in a column, range %v: %s, want %s", text, bounds, got, want)
			}
			rec := recordOf([]byte(`{"resourceType":"Observation","valueQuantity":{"unit":"x","value":` + text + `}}`))
			if got := elements.InScope(rec); got != want {
				t.Errorf("%s in an element, range %v: %s, want %s", text, bounds, got, want)
			}
		}
	}
}

// What only looks like a number in the range is outside.
func TestNumbersThatNobodyKnows(t *testing.T) {
	p := fhirPolicy(policies.Identified, "Observation", "keep id")
	for _, path := range []string{"value[x]", "valueQuantity", "valueQuantity.value", "valueInteger"} {
		p.Release[0].Only = []policies.Condition{{Path: path, Range: &policies.Range{Min: 10, Max: 27}}}
		plan := compile(t, p, "Observation")
		for raw, want := range map[string]bool{
			`"valueInteger":12`: path == "value[x]" || path == "valueInteger", `"valueInteger":9`: false,
			`"valueQuantity":{"value":12}`:                      strings.HasPrefix(path, "valueQ") || path == "value[x]",
			`"valueQuantity":{"value":12,"comparator":"<"}`:     false,
			`"valueQuantity":{"comparator":">=","value":12}`:    false,
			`"valueQuantity":{"code":"12"}`:                     false,
			`"valueString":"12"`:                                false,
			`"valueInteger":"12"`:                               false,
			`"valueInteger":null`:                               false,
			`"valueBoolean":true`:                               false,
			`"valueRange":{"low":{"value":12}}`:                 false,
			`"valueCodeableConcept":{"coding":[{"code":"12"}]}`: false,
			`"status":"12"`:                                     false,
		} {
			got := plan.InScope(recordOf([]byte(`{"resourceType":"Observation",` + raw + `}`)))
			if (got == extract.NoReason) != want {
				t.Errorf("%s: %s: %s", path, raw, got)
			}
		}
	}
}

// Codes by prefix and by range, held against string functions, in a column and
// in an element, in which any one of several codings will do.
func TestSetsOfCodes(t *testing.T) {
	set := policies.Union(policies.CodePrefix("F3"), policies.CodeRange("F10", "F19"), policies.Codes("Z13.31"))
	holds := func(code string) bool {
		return strings.HasPrefix(code, "F3") || code >= "F10" && code < "F2" || code == "Z13.31"
	}
	row := rowPolicy(policies.Identified, policies.Field{Name: "total", Do: policies.Keep})
	row.Release[0].Only = []policies.Condition{{Path: "instrument", Codes: set}}
	rows, err := Compile(row, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	p := fhirPolicy(policies.Identified, "Condition", "keep id")
	p.Release[0].Only = []policies.Condition{{Path: "code", Codes: set}}
	elements := compile(t, p, "Condition")
	for _, code := range []string{"F3", "F32", "F32.1", "F29", "F1", "F10", "F10.20", "F19", "F19.99", "F2", "f32", "Z13.31", "Z13.3", "Z13.310", "", "G", "\u00e9"} {
		want := extract.Measure
		if holds(code) {
			want = extract.NoReason
		}
		cells := make([]string, len(scoresSchema().Fields))
		cells[scoresSchema().Column("instrument")] = code
		if got := rows.InScope(rowOf(cells...)); got != want {
			t.Errorf("%q in a column: %s, want %s", code, got, want)
		}
		rec := recordOf([]byte(`{"resourceType":"Condition","code":{"coding":[{"code":"other"},{"code":"` + code + `"}]}}`))
		if got := elements.InScope(rec); got != want {
			t.Errorf("%q in an element: %s, want %s", code, got, want)
		}
	}
}
