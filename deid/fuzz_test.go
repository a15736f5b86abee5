package deid

import (
	"encoding/csv"
	"strings"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// What fuzzing has found stays here, by what it was.

// FHIR knows no empty string (R4 §2.6.2), and the gate passes none: one in a
// thousand would stop the whole drop. So it leaves nothing, as null does.
func TestEmptyStringsLeaveNothing(t *testing.T) {
	engine := compile(t, fhirPolicy(policies.Identified, "Observation", "keep status", "keep code coding code", "keep valueCodeableConcept coding code"), "Observation").Engine()
	var out Output
	rec := recordOf([]byte(`{"resourceType":"Observation","status":"","code":{"coding":[{"code":""},{"code":"44261-6"}]},"valueCodeableConcept":{"coding":[{"code":""}]}}`))
	if err := engine.Apply(rec, nil, &out); err != nil {
		t.Fatal(err)
	}
	if want := `{"resourceType":"Observation","code":{"coding":[{"code":"44261-6"}]}}` + "\n"; string(out.Bytes) != want {
		t.Errorf("got %s, want %s", out.Bytes, want)
	}
	for _, c := range engine.Counts() {
		if c.Path == "Observation.code.coding.code" && (c.In != 2 || c.Out != 1) || c.Path == "Observation.status" && (c.In != 1 || c.Out != 0) {
			t.Errorf("counted: %+v", c)
		}
	}
}

// A control character stands in quotes, where the gate and every reader of CSV
// let it stand; bare, it stopped the whole drop.
func TestControlCharactersStandInQuotes(t *testing.T) {
	plan, err := Compile(rowPolicy(policies.Identified, policies.Field{Name: "note", Do: policies.Keep}, policies.Field{Name: "sex", Do: policies.Keep}), "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	for c := range byte(' ') {
		if c == '\r' || c == '\n' {
			continue // a row is one line
		}
		cells := strings.Split(laidRowText, "|")
		cells[8] = "a" + string(rune(c)) + "b"
		var out Output
		if err := plan.Engine().Apply(rowOf(cells...), nil, &out); err != nil {
			t.Fatal(err)
		}
		line := string(out.Bytes)
		if read, err := csv.NewReader(strings.NewReader(line)).Read(); err != nil || len(read) != 2 || read[0] != cells[8] {
			t.Errorf("%q reads as %q: %v", line, read, err)
		}
		if strings.HasPrefix(line, `"`) != (c != '\t') {
			t.Errorf("%q", line)
		}
	}
}
