package extract

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/phi"
)

// show writes facts out; only a test may.
func show(rec *Record) string {
	list := func(values []phi.Bytes) string {
		var out []string
		for _, v := range values {
			out = append(out, string(v))
		}
		return strings.Join(out, ",")
	}
	f := rec.Facts
	s := fmt.Sprintf("%s/%s of %s on %v", rec.Dataset, string(f.ID), list(f.Subjects), f.Date.From)
	for _, part := range [][2]string{{"in", string(f.Encounter)}, {"by", list(f.Providers)}, {"code", list(f.Codes)}, {"label", list(f.Labels)}, {"status", string(f.Status)}} {
		if part[1] != "" {
			s += " " + part[0] + " " + part[1]
		}
	}
	if rec.Reject != NoReason {
		s += " REJECT " + rec.Reject.String()
	}
	return s
}

func TestFacts(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"resourceType":"Observation","id":"o","meta":{"security":[{"code":"PSY"},{"system":"x","code":"R"}]},"status":"final","code":{"coding":[{"code":"44261-6"},{"code":"x"}]},
		   "subject":{"reference":"Patient/p"},"encounter":{"reference":"Encounter/e"},"effectiveDateTime":"2026-03-02T09:00:00-05:00","issued":"2026-03-09T00:00:00Z","performer":[{"reference":"Practitioner/d"},{"reference":"Patient/p"}]}`,
			"Observation/o of p on 2026-03-02 in e by Practitioner/d code 44261-6,x label PSY,R status final"},
		{`{"subject":{"reference":"Patient/p"},"issued":"2026-03-09T00:00:00Z","id":"o","resourceType":"Observation"}`, "Observation/o of p on 2026-03-09"},
		{`{"resourceType":"Observation","effectivePeriod":{"end":"2026-04-01","start":"2026-03"},"subject":{"reference":"Patient/p"}}`, "Observation/ of p on 2026-03-01"},
		{`{"resourceType":"Observation","effectiveDateTime":"soon","issued":"2026-03-09T00:00:00Z","subject":{"reference":"Patient/p"}}`, "Observation/ of p on no date"},
		{`{"resourceType":"Condition","onsetDateTime":"2020-01-01","recordedDate":"2021-02-03","subject":{"reference":"Patient/p"}}`, "Condition/ of p on 2021-02-03"},
		{`{"resourceType":"Condition","onsetDateTime":"2020-01-01","subject":{"reference":"Patient/p"}}`, "Condition/ of p on 2020-01-01"},
		{`{"resourceType":"Encounter","id":"e","subject":{"reference":"http://ehr.example/fhir/Patient/p/_history/3"},"period":{"start":"2026-01-02"},"type":[{"coding":[{"code":"a"}]},{"coding":[{"code":"b"}]}],
		   "serviceProvider":{"reference":"Organization?identifier=urn:x|1"},"location":[{"location":{"reference":"Location/l"}}]}`,
			"Encounter/e of p on 2026-01-02 in e by Organization?identifier=urn:x|1,Location/l code a,b"},
		{`{"resourceType":"DocumentReference","subject":{"reference":"Patient\/p"},"date":"2026-01-02","context":{"encounter":[{"reference":"Encounter/e"}],"period":{}}}`, "DocumentReference/ of p on 2026-01-02 in e"},
		{`{"resourceType":"DocumentReference","subject":{"reference":"Patient/p"},"context":{"encounter":[{"reference":"Encounter/e"},{"reference":"Encounter/f"}]}}`, "DocumentReference/ of p on no date in e REJECT unsafe"},
		{`{"resourceType":"Claim","patient":{"reference":"Patient/p"},"item":[{"encounter":[{"reference":"Encounter/e"}]},{"encounter":[{"reference":"Encounter/e"}]}]}`, "Claim/ of p on no date in e"},
		{`{"resourceType":"Procedure","subject":{"reference":"Patient/p"},"encounter":{"identifier":{"value":"77"}}}`, "Procedure/ of p on no date in ?"},
		{`{"resourceType":"Procedure","subject":{"reference":"urn:uuid:1-2"},"encounter":{"reference":"Encounter?identifier=a|b"}}`, "Procedure/ of 1-2 on no date in Encounter?identifier=a|b"},
		{`{"resourceType":"Procedure","subject":{"reference":"Patient/p"},"performer":[{"actor":{"reference":"urn:uuid:77"}}]}`, "Procedure/ of p on no date by urn:uuid:77"},
		{`{"resourceType":"Coverage","beneficiary":{"reference":"Patient/p"},"subscriber":{"reference":"Patient/mother"},"payor":[{"reference":"Organization/plan"}]}`, "Coverage/ of p,mother on no date by Organization/plan"},
		{`{"resourceType":"Appointment","status":"booked","start":"2026-01-02T08:00:00Z","participant":[{"actor":{"reference":"Patient/p"}},{"actor":{"reference":"Practitioner/d"}}]}`, "Appointment/ of p on 2026-01-02 by Practitioner/d status booked"},
		{`{"resourceType":"Group","id":"g","member":[{"entity":{"reference":"Patient/p"}},{"entity":{"reference":"Patient/q"}},{"entity":{"reference":"Patient/p"}}]}`, "Group/g of p,q on no date"},
		{`{"resourceType":"Patient","id":"p","generalPractitioner":[{"reference":"Practitioner/d"}],"link":[{"other":{"reference":"Patient/old"},"type":"replaces"}]}`, "Patient/p of p on no date by Practitioner/d"},
		{`{"resourceType":"Patient"}`, "Patient/ of  on no date REJECT no-subject"},
		{`{"resourceType":"Organization","id":"x"}`, "Organization/x of  on no date"},
		{`{"resourceType":"MeasureReport","status":"complete","subject":{"reference":"Group/g"},"period":{"start":"2025-01-01"}}`, "MeasureReport/ of  on 2025-01-01 status complete"},
		{`{"resourceType":"Observation","extension":[{"url":"http://x","valueReference":{"reference":"Patient/twin"}}],"subject":{"reference":"Patient/p"}}`, "Observation/ of twin,p on no date"},
		// what cannot be told is refused
		{`{"resourceType":"Observation","subject":{"reference":"Group/g"},"performer":[{"reference":"Patient/p"}]}`, "Observation/ of p on no date REJECT no-subject"},
		{`{"resourceType":"Observation","subject":{"reference":"Patient?identifier=a|b"}}`, "Observation/ of  on no date REJECT no-subject"},
		{`{"resourceType":"Observation","subject":{"identifier":{"value":"77"}},"performer":[{"reference":"Patient/p"}]}`, "Observation/ of p on no date REJECT no-subject"},
		{`{"resourceType":"Observation","subject":{"reference":"12345"}}`, "Observation/ of  on no date REJECT no-subject"},
		{`{"resourceType":"Observation","subject":{"reference":"Device/d"}}`, "Observation/ of  on no date REJECT no-subject"},
		{`{"resourceType":"Condition","contained":[{"resourceType":"Practitioner","id":"p1","meta":{"security":[{"code":"HIV"}]}}],"subject":{"reference":"#p1"}}`, "Condition/ of  on no date by #p1 label HIV REJECT no-subject"},
		{`{"resourceType":"Condition","subject":{"reference":"#p1"},"contained":[{"resourceType":"Patient","id":"p1"}]}`, "Condition/ of  on no date REJECT no-subject"},
		{`{"resourceType":"Parameters","parameter":[]}`, "Parameters/ of  on no date REJECT schema"},
		{`{"resourceType":"observation"}`, "(unreadable)/ of  on no date REJECT unknown-dataset"},
		{`{"exportId":"x"}`, "(unreadable)/ of  on no date REJECT schema"},
		{`{"resourceType":["Patient"]}`, "(unreadable)/ of  on no date REJECT schema"},
		{`7`, "(unreadable)/ of  on no date REJECT schema"},
	} {
		var rec Record
		NewScanner().Resource([]byte(c.in), &rec)
		if got := show(&rec); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
		if rec.Facts.Dataset != rec.Dataset {
			t.Errorf("%s: facts say dataset %s", c.in, rec.Facts.Dataset)
		}
	}
}

// The types, their date and subject elements, and the patient compartment are
// held against the element table, which was made from HL7's definitions.
func TestResourceTableAgreesWithDefinitions(t *testing.T) {
	for _, name := range ResourceTypes() {
		r := resources[name]
		if r == nil {
			if name != "Resource" && name != "DomainResource" {
				t.Errorf("%s is missing", name)
			}
			continue
		}
		for _, e := range r.elements {
			def := TypeOf(name).Element(e.name)
			if def == nil {
				if e.role != status && e.role != contained {
					t.Errorf("%s has no element %s", name, e.name)
				}
				continue
			}
			if e.step != "" && def.Type != "Period" {
				t.Errorf("%s.%s is no Period", name, e.name)
			}
		}
		for _, e := range TypeOf(name).Elements {
			about := e.Name == "subject" || e.Name == "patient" || e.Name == "beneficiary" || e.Name == "individual"
			if about && slices.Contains(e.Targets, "Patient") && (r.find([]byte(e.Name), Token{End: int32(len(e.Name))}) == nil) {
				t.Errorf("%s.%s may be a Patient and is not in the table", name, e.Name)
			}
			if e.Name == "encounter" && e.Type == "Reference" && (r.find([]byte(e.Name), Token{End: int32(len(e.Name))}) == nil) {
				t.Errorf("%s.encounter is not in the table", name)
			}
		}
	}
	for name := range resources {
		if TypeOf(name) == nil {
			t.Errorf("%s is no type of the definitions", name)
		}
	}
}

func TestScanDoesNotAllocate(t *testing.T) {
	in := []byte(`{"resourceType":"Observation","id":"o","code":{"coding":[{"code":"44261-6"}]},"subject":{"reference":"Patient/p"},"note":[{"text":"a\nb"}],"encounter":{"reference":"http:\/\/x\/Encounter\/e"}}`)
	s, rec := NewScanner(), Record{}
	s.Resource(in, &rec)
	if n := testing.AllocsPerRun(100, func() { s.Resource(in, &rec) }); n > 0 {
		t.Errorf("%v allocations a record", n)
	}
}
