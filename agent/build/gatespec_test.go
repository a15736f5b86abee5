package build

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// A number has no pattern that tells a telephone, a social security number or a
// day from a measurement: of de-identified data the size must.
func TestNumbersOfDeidentifiedData(t *testing.T) {
	for standard, most := range map[policies.Standard]string{policies.SafeHarbor: "9999999", policies.Identified: "123456789012"} {
		r := &Run{Job: Job{Policy: &policies.Policy{Standard: standard}}}
		grammar, err := r.keptGrammar(extract.Number, false)
		if err != nil {
			t.Fatal(err)
		}
		roster := gate.NewRoster(0)
		roster.Freeze()
		guard, err := gate.New(gate.Spec{Format: gate.CSV, Positions: []gate.Position{{Path: "n", Grammar: grammar}}, ExactDates: standard == policies.Identified}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"0", "27", "-3.5", "250000", "0.000012", most, "-" + most} {
			if hit := guard.Row([]byte(value+"\n"), nil); hit != nil {
				t.Errorf("%s: %s: %v", standard, value, hit)
			}
		}
		for _, value := range []string{"20240305", "19800102.0", "078051120", "6175550134", "6.175550134e9", "-20240305", "1709596800"} {
			if hit := guard.Row([]byte(value+"\n"), nil); hit == nil && standard == policies.SafeHarbor {
				t.Errorf("%s: %s passes", standard, value)
			}
		}
	}
}

// Of a column that is yes or no the schema says in which words: those leave.
func TestBooleansInTheWordsOfTheSchema(t *testing.T) {
	schema := &extract.Schema{Fields: []extract.Field{{Name: "seen", Class: extract.Boolean, Type: extract.TypeBoolean, True: []string{"Y"}, False: []string{"N"}}}}
	field := policies.Field{Name: "seen", From: "seen", Do: policies.Keep}
	r := &Run{Job: Job{Policy: &policies.Policy{Standard: policies.SafeHarbor}}}
	grammar, err := r.cellGrammar(&policies.Release{Fields: []policies.Field{field}}, &field, schema)
	if err != nil {
		t.Fatal(err)
	}
	roster := gate.NewRoster(0)
	roster.Freeze()
	guard, err := gate.New(gate.Spec{Format: gate.CSV, Positions: []gate.Position{{Path: "seen", Grammar: grammar}}}, roster)
	if err != nil {
		t.Fatal(err)
	}
	for value, passes := range map[string]bool{"Y": true, "N": true, "yes": false, "Quabrix": false} {
		if hit := guard.Row([]byte(value+"\n"), nil); (hit == nil) != passes {
			t.Errorf("%s: %v", value, hit)
		}
	}
}

// A clinic's own code systems may leave beside the identified, and must not
// stop its drops; of de-identified data only published ones may.
func TestSystemsOfAClinicsOwn(t *testing.T) {
	for standard, own := range map[policies.Standard]bool{policies.SafeHarbor: false, policies.Identified: true} {
		grammar, err := (&Run{Job: Job{Policy: &policies.Policy{Standard: standard}}}).keptGrammar(extract.CodeSystem, false)
		if err != nil {
			t.Fatal(err)
		}
		roster := gate.NewRoster(1)
		if err := roster.Add(0, gate.RecordNumber, []byte("CV-100005")); err != nil {
			t.Fatal(err)
		}
		roster.Freeze()
		guard, err := gate.New(gate.Spec{Format: gate.CSV, Positions: []gate.Position{{Path: "s", Grammar: grammar}}}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for value, passes := range map[string]bool{
			"http://loinc.org": true, "urn:oid:2.16.840.1.113883.6.238": true, "http://terminology.hl7.org/CodeSystem/v3-ActCode": true,
			"urn:oid:1.2.840.114350.1.13.61": own, "https://ehr.clearview.example/codes/visit-type": own,
			"https://ehr.clearview.example/patients/CV-100005": false, "https://user@ehr.example/x": false, "https://ehr.example/x?p=1": false,
			"urn:oid:CV-100005": false, "ehr.example/x": false, "https://ehr.example/617-555-0134": false, "https:///x": false,
		} {
			if hit := guard.Row([]byte(value+"\n"), []uint32{0}); (hit == nil) != passes {
				t.Errorf("%s: %s: %v", standard, value, hit)
			}
		}
	}
}

// A limited data set shows its own person's town and ZIP code and any date, and
// nothing else that the roster has of anybody: 45 CFR 164.514(e)(2).
func TestCellsOfALimitedDataSet(t *testing.T) {
	r := &Run{Job: Job{Policy: &policies.Policy{Standard: policies.LimitedDataSet}}}
	roster := gate.NewRoster(2)
	for i, values := range []map[gate.Kind]string{
		{gate.Name: "Eastlake", gate.City: "Harbor Falls", gate.Postcode: "02601", gate.StreetAddress: "12 Mill Road", gate.BirthDate: "1951-03-02", gate.RecordNumber: "CV-104233", gate.MemberNumber: "00112", gate.Phone: "413-555-0134"},
		{gate.City: "Eastlake", gate.Postcode: "06103", gate.BirthDate: "1960-07-04"},
	} {
		for kind, value := range values {
			if err := roster.Add(uint32(i), kind, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	roster.Freeze()
	for class, values := range map[extract.Class][2]string{ // what passes, what does not
		extract.Town:        {"Harbor Falls|HARBOR FALLS", "Eastlake|12 Mill Road|Millbrook|CV-104233|413-555-0134"},
		extract.Postcode:    {"02601", "06103|00112|CV-104233|1951"},
		extract.State:       {"MA|Vermont", "Harbor Falls|02601|Eastlake"},
		extract.Date:        {"2026-05-03|2026-05-03T08:15:00-05:00", "CV-104233|413-555-0134|3 May"},
		extract.DeathDate:   {"2026-05-03", "Eastlake"},
		extract.BirthDate:   {"1951-03-02", "1960-07-04|2026-05-03"},
		extract.AgeYears:    {"93", "1951"},
		extract.Number:      {"27", "4135550134|20260503"},
		extract.Code:        {"crisis|44261-6", "CV-104233|413-555-0134"},
		extract.Race:        {"Asian", "Eastlake|CV-104233|413-555-0134"},
		extract.ProviderKey: {"1234567893", "1234567890|CV-104233"},
	} {
		grammar, err := r.keptGrammar(class, false)
		if err != nil {
			t.Fatal(err)
		}
		guard, err := gate.New(gate.Spec{Format: gate.CSV, ExactDates: r.showsDates(), Positions: []gate.Position{{Path: "v", Grammar: grammar}}}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for i := range values {
			for value := range strings.SplitSeq(values[i], "|") {
				if hit := guard.Row([]byte(value+"\n"), []uint32{0}); (hit == nil) != (i == 0) {
					t.Errorf("%s %q: %v", class, value, hit)
				}
			}
		}
	}
	for class := range extract.Class(extract.Classes) {
		_, err := r.keptGrammar(class, false)
		if err == nil && !policies.Permits(policies.LimitedDataSet, class, policies.Keep) && class != extract.CodeSystem && class != extract.WebAddress {
			t.Errorf("the gate has a grammar for a %s, which no limited data set holds", class)
		}
	}
	if _, err := r.cellGrammar(&policies.Release{}, &policies.Field{From: "acme-roster.plan", Do: policies.Keep}, &extract.Schema{}); err == nil {
		t.Error("the gate has a grammar for a look-up in a roster")
	}
}

// What a roster tells of a member beside the number is scanned, not refused; a
// column of dates holds no time of day.
func TestCellsOfRosterAndDates(t *testing.T) {
	r := &Run{Job: Job{Policy: &policies.Policy{Standard: policies.Identified}}}
	schema := &extract.Schema{Fields: []extract.Field{{Name: "day", Type: extract.TypeDate, Class: extract.Date}}}
	roster := gate.NewRoster(0)
	roster.Freeze()
	for from, values := range map[string]map[string]bool{
		"acme-roster.plan": {"PPO": true, "078-05-1120": false},
		"day":              {"2026-01-30": true, "2026-01-30T08:15:00Z": false},
	} {
		grammar, err := r.cellGrammar(&policies.Release{}, &policies.Field{From: from, Do: policies.Keep}, schema)
		if err != nil {
			t.Fatal(err)
		}
		guard, err := gate.New(gate.Spec{Format: gate.CSV, ExactDates: true, Positions: []gate.Position{{Path: "v", Grammar: grammar}}}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for value, passes := range values {
			if hit := guard.Row([]byte(value+"\n"), nil); (hit == nil) != passes {
				t.Errorf("%s: %s: %v", from, value, hit)
			}
		}
	}
}

// Of a Timing all is a date by its class; the counts, lengths and codes in it
// leave where dates may, and are what their types say.
func TestTimings(t *testing.T) {
	roster := gate.NewRoster(0)
	roster.Freeze()
	for leaf, values := range map[string]map[string]bool{
		"dosageInstruction.timing.repeat.frequency":  {`2`: true, `"x y"`: false},
		"dosageInstruction.timing.repeat.period":     {`1.5`: true, `"2026-01-30"`: false},
		"dosageInstruction.timing.repeat.periodUnit": {`"d"`: true, `"617-555-0134"`: false},
		"dosageInstruction.timing.event":             {`"2026-01-30"`: true, `"d"`: false},
		"authoredOn":                                 {`"2026-01-30"`: true, `2`: false},
	} {
		path := strings.Split(leaf, ".")
		release := policies.Release{Dataset: "MedicationRequest", Fields: []policies.Field{{Name: leaf, Do: policies.Keep, Leaves: []policies.Leaf{{Path: path, Class: extract.Date}}}}}
		spec, err := (&Run{Job: Job{Policy: &policies.Policy{Standard: policies.LimitedDataSet}}}).gateSpec(&release)
		if err != nil {
			t.Fatal(err)
		}
		guard, err := gate.New(spec, roster)
		if err != nil {
			t.Fatal(err)
		}
		for value, passes := range values {
			line := `{"resourceType":"MedicationRequest","` + strings.Join(path, `":{"`) + `":` + value + strings.Repeat("}", len(path))
			if hit := guard.Row([]byte(line+"\n"), nil); (hit == nil) != passes {
				t.Errorf("%s: %v", line, hit)
			}
		}
	}
}
