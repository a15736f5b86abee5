package build

import (
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
