package deid

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// A kept value that is none of its class leaves nothing: it is a slip, and the
// gate would stop the whole drop for it. A code of a system that is not
// published leaves nothing either, and without its system it would be another.
func TestKeptValuesHaveTheFormOfTheirClass(t *testing.T) {
	kept := "keep code coding system|keep code coding code|keep valueQuantity value|keep valueQuantity system|keep valueQuantity code|keep valueQuantity comparator|keep valueInteger"
	for _, c := range []struct{ standard, in, want string }{
		{"safe-harbor", `"code":{"coding":[{"system":"http://loinc.org","code":"44261-6"},{"system":"https://clinic.example/codes","code":"PHQ"}]}`, `"code":{"coding":[{"system":"http://loinc.org","code":"44261-6"}]}`},
		{"safe-harbor", `"code":{"coding":[{"code":"PHQ","system":"https://clinic.example/codes"}]}`, ``},
		{"safe-harbor", `"code":{"coding":[{"code":"PHQ-9"}]}`, ``},
		{"identified", `"code":{"coding":[{"code":"PHQ-9"}]}`, `"code":{"coding":[{"code":"PHQ-9"}]}`},
		{"safe-harbor", `"code":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"}]}`, `"code":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"}]}`},
		{"safe-harbor", `"code":{"coding":[{"system":"http://loinc.org","code":"depression screening, positive"}]}`, `"code":{"coding":[{"system":"http://loinc.org"}]}`},
		{"safe-harbor", `"code":{"coding":[{"system":"http://loinc.org","code":"` + strings.Repeat("1", 65) + `"}]}`, `"code":{"coding":[{"system":"http://loinc.org"}]}`},
		{"safe-harbor", `"valueQuantity":{"value":17,"system":"https://clinic.example/units","code":"{score}"}`, `"valueQuantity":{"value":17,"code":"{score}"}`},
		{"safe-harbor", `"valueInteger":20260102`, ``},
		{"safe-harbor", `"valueInteger":1e300`, ``},
		{"identified", `"valueInteger":20260102`, `"valueInteger":20260102`},
		{"identified", `"code":{"coding":[{"system":"https://clinic.example/codes","code":"PHQ"}]}`, `"code":{"coding":[{"system":"https://clinic.example/codes","code":"PHQ"}]}`},
		{"identified", `"valueQuantity":{"value":5,"comparator":"<"}`, `"valueQuantity":{"value":5,"comparator":"<"}`},
		{"identified", `"valueQuantity":{"comparator":"about"}`, ``},
	} {
		plan := compile(t, fhirPolicy(policies.Standard(c.standard), "Observation", strings.Split(kept, "|")...), "Observation")
		var out Output
		if err := plan.Engine().Apply(recordOf([]byte(`{"resourceType":"Observation",`+c.in+`}`)), nil, &out); err != nil {
			t.Fatal(err)
		}
		want := `{"resourceType":"Observation"`
		if c.want != "" {
			want += "," + c.want
		}
		if got := strings.TrimSpace(string(out.Bytes)); got != want+"}" {
			t.Errorf("%s, %s: %s, want %s}", c.standard, c.in, got, want)
		}
	}
}

func TestFormsOfTimes(t *testing.T) {
	form := formOf(&policies.Policy{Standard: policies.LimitedDataSet}, extract.Date, false)
	for text, want := range map[string]bool{"2026": true, "2026-01": true, "2026-01-05": true, "2026-01-05T10:30:00Z": true, "2026-01-05T10:30:00.123-06:00": true, "08:30:00": true, "08:30:00.5": true,
		"2026-01-05T10:30": false, "2026-01-05T10:30Z": true, "2026-01-05T10:30:00": false, "2026-01-05 10:30:00": false, "2026-01-05 10:30:00Z": false, "2026-1-5": false, "1066-10-14": false, "2226-01-01": false, "yesterday": false, "": false, "2026-01-05T25:00:00Z": false} {
		if form([]byte(text)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if formOf(&policies.Policy{Standard: policies.LimitedDataSet}, extract.BirthDate, false) != nil {
		t.Error("a birth date is held against the patient's own, not against a form")
	}
}

func TestNumbersAsJSONWritesThem(t *testing.T) {
	for text, want := range map[string]string{"5": "5", "05": "5", "+5": "5", "-05": "-5", "0": "0", "00": "0", ".5": "0.5", "5.": "5", "-.5": "-0.5", "05.50": "5.50", "5.e3": "5e3", "1e3": "1e3", "0.0": "0.0"} {
		if got := string(appendNumber(nil, []byte(text))); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// Of a time without a zone, or with a blank before it, the day leaves.
func TestTimesWithoutAZone(t *testing.T) {
	plan := compile(t, fhirPolicy(policies.LimitedDataSet, "Observation", "keep effectiveDateTime"), "Observation")
	for text, want := range map[string]string{"2026-01-05T10:30": "2026-01-05", "2026-01-05 10:30:00": "2026-01-05", "2026-01-05T10:30Z": "2026-01-05T10:30Z", "2026-01": "2026-01",
		"2026-1-5": "", "9999-12-31": "", "9999-12-31T00:00:00": ""} {
		var out Output
		if err := plan.Engine().Apply(recordOf([]byte(`{"resourceType":"Observation","effectiveDateTime":"`+text+`"}`)), nil, &out); err != nil {
			t.Fatal(err)
		}
		if want != "" {
			want = `,"effectiveDateTime":"` + want + `"`
		}
		if got := strings.TrimSpace(string(out.Bytes)); got != `{"resourceType":"Observation"`+want+"}" {
			t.Errorf("%s: %s", text, got)
		}
	}
}
