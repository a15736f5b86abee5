package deid

import (
	"os"
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
	timing := "|keep effectiveTiming repeat count|keep effectiveTiming repeat periodUnit"
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
		{"identified", `"subject":{"type":"Patient"},"effectiveTiming":{"repeat":{"count":3,"periodUnit":"d"}}`, `"subject":{"type":"Patient"},"effectiveTiming":{"repeat":{"count":3,"periodUnit":"d"}}`},
		{"identified", `"subject":{"type":"the patient"},"effectiveTiming":{"repeat":{"count":1000000000001,"periodUnit":"a day"}}`, ``},
		{"limited-data-set", `"effectiveTiming":{"repeat":{"count":20260102,"periodUnit":"d"}}`, `"effectiveTiming":{"repeat":{"periodUnit":"d"}}`},
	} {
		fields := kept
		switch c.standard {
		case "identified":
			fields += timing + "|keep subject type"
		case "limited-data-set":
			fields += timing
		}
		plan := compile(t, fhirPolicy(policies.Standard(c.standard), "Observation", strings.Split(fields, "|")...), "Observation")
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
	form := formOf(&policies.Policy{Standard: policies.LimitedDataSet}, extract.Date, nil)
	for text, want := range map[string]bool{"2026": true, "2026-01": true, "2026-01-05": true, "2026-01-05T10:30:00Z": true, "2026-01-05T10:30:00.123-06:00": true, "08:30:00": true, "08:30:00.5": true,
		"2026-01-05T10:30": false, "2026-01-05T10:30Z": true, "2026-01-05T10:30:00": false, "2026-01-05 10:30:00": false, "2026-01-05 10:30:00Z": false, "2026-1-5": false, "1066-10-14": false, "2226-01-01": false, "yesterday": false, "": false, "2026-01-05T25:00:00Z": false,
		"2026-01-05T23:59:60.123456789Z": true, "2026-01-05T10:30:00.Z": false, "2026-01-05T10:30:00.1234567890Z": false} {
		if form([]byte(text)) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
	if formOf(&policies.Policy{Standard: policies.LimitedDataSet}, extract.BirthDate, nil) != nil {
		t.Error("a birth date is held against the patient's own, not against a form")
	}
}

// What has another form stopped the whole drop at the gate.
func TestFormsOfClasses(t *testing.T) {
	for _, c := range []struct {
		standard    policies.Standard
		class       extract.Class
		right, slip string // cells, by |
	}{
		{policies.SafeHarbor, extract.State, "MA|ma|Vermont|puerto rico|US|USA|AE|United States", "MA |Mass.|Q|010|96799||" + strings.Repeat("M", 40)},
		{policies.LimitedDataSet, extract.Town, "Harborview|Köniz|O'Fallon|Township 12|district 7|Precinct", "12 Quarry Lane|Township 123|District 7b|Springfield 02139"},
		{policies.LimitedDataSet, extract.Postcode, "02139|02139-1234", "021391234|0213|02139-12|D-02139|2139"},
		{policies.LimitedDataSet, extract.ProviderKey, "1999000023|1234567893", "1234567890|p1|123456789|12345678931"},
		{policies.Identified, extract.ProviderKey, "1999000023", "G-77"},
		{policies.Identified, extract.CodeSystem, "http://loinc.org|urn:oid:2.16.840|https://ehr.example/codes/a-b|http://ehr.example", "urn:clinic|urn:oid:|http://ehr.example/a b|http://ehr.example?x=1|http://ehr|ehr.example|http://u@ehr.example/x|http://ehr.example/Ä"},
		{policies.SafeHarbor, extract.CodeSystem, "http://loinc.org", "urn:oid:1.2.3|https://ehr.example/codes"},
		{policies.SafeHarbor, extract.Boolean, "true|false", "yes|TRUE|1"},
		{policies.SafeHarbor, extract.Number, "17|-3.5|1e2|9999999", "10000000|1,5|NaN|0x10"},
	} {
		form := formOf(&policies.Policy{Standard: c.standard}, c.class, nil)
		for i, list := range []string{c.right, c.slip} {
			for value := range strings.SplitSeq(list, "|") {
				if form([]byte(value)) != (i == 0) {
					t.Errorf("%s, %s: %q: %v", c.standard, c.class, value, i > 0)
				}
			}
		}
	}
	if form := formOf(&policies.Policy{}, extract.State, []string{"Mass."}); !form([]byte("Mass.")) || form([]byte("MA")) {
		t.Error("of listed values no other may stand")
	}
}

// Engine and gate have a list of places each; they are the same.
func TestPlacesAreThoseOfTheGate(t *testing.T) {
	text, err := os.ReadFile("gate/places.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if place := strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			if all[strings.ToUpper(place)] = true; !isPlace([]byte(place)) {
				t.Errorf("%s is none", place)
			}
		}
	}
	for place := range places() {
		if place > "A" && !all[place] {
			t.Errorf("%s is one", place)
		}
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
