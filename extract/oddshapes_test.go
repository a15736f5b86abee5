package extract

import (
	"os"
	"path/filepath"
	"testing"
)

// A cell that decisions compare with lists (of restrictions, consents, rosters)
// may be padded: nobody sees it, and an id that is another byte for byte would
// find no denial.
func TestPaddedCellsMeetTheLists(t *testing.T) {
	schema := filepath.Join(t.TempDir(), "schema.json")
	text := `{"fields":[
	  {"name":"patient","type":"string","class":"subject-key","role":"subject"},
	  {"name":"visit","type":"string","class":"record-key","role":"encounter"},
	  {"name":"code","type":"string","class":"code","role":"code"},
	  {"name":"place","type":"string","class":"provider-key","role":"provider"}]}`
	if err := os.WriteFile(schema, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := LoadSchema(schema)
	if err != nil {
		t.Fatal(err)
	}
	r := rowReader{utf8: true}
	r.follow(s)
	var rec Record
	rec.clear()
	rec.Raw = []byte("p1 ,\te9,90834\u00a0,\ufeffsud ")
	r.read(&rec)
	f := &rec.Facts
	if rec.Reject != NoReason || len(f.Subjects) != 1 || string(f.Subjects[0]) != "p1" || string(f.Encounter) != "e9" || string(f.Codes[0]) != "90834" || string(f.Providers[0]) != "sud" {
		t.Errorf("facts: %s", show(&rec))
	}
	if string(rec.Row[0]) != "p1 " {
		t.Error("the row itself was changed")
	}
	for _, row := range []string{"Patient/p1,Encounter/e9,http://cpt|90834,sud", "https://ehr/fhir/Patient/p1/_history/2,urn:uuid:e9,cpt|90834,sud"} {
		rec.clear()
		rec.Raw = []byte(row)
		if r.read(&rec); string(f.Subjects[0]) != "p1" || string(f.Encounter) != "e9" || string(f.Codes[0]) != "90834" {
			t.Errorf("%s: %s", row, show(&rec))
		}
	}
	rec.clear()
	rec.Raw = []byte("clinic/12,V/9,90834,sud")
	if r.read(&rec); string(f.Subjects[0]) != "clinic/12" || string(f.Encounter) != "V/9" {
		t.Errorf("ids with a slash: %s", show(&rec))
	}
	rec.clear()
	rec.Raw = []byte(" ,e9,90834,sud")
	if r.read(&rec); rec.Reject != NoSubject {
		t.Error("a blank patient is a patient")
	}
}

// A label protects in whatever shape it comes, also where FHIR has one value and the
// record a list of them.
func TestLabelsInLists(t *testing.T) {
	scanner := NewScanner()
	var rec Record
	for _, text := range []string{
		`"meta":{"security":[{"code":"42CFRPart2"}]}`, `"meta":{"security":{"code":"42CFRPart2"}}`, `"meta":[{},{"security":[{"code":"42CFRPart2"}]}]`,
		`"meta":{"security":[{"code":["N","42CFRPart2"]}]}`, `"meta":{"security":[[{"code":"42CFRPart2"}]]}`, `"contained":[{"meta":[{"security":[{"code":"42CFRPart2"}]}]}]`,
	} {
		scanner.Resource([]byte(`{"resourceType":"Observation","subject":{"reference":"Patient/p1"},`+text+`}`), &rec)
		if l := rec.Facts.Labels; rec.Reject != NoReason || len(l) == 0 || string(l[len(l)-1]) != "42CFRPart2" {
			t.Errorf("%s: %s", text, show(&rec))
		}
	}
}

// A reference to a patient that is nearly one by id names nobody whom the lists
// know. It must not become a person of whom nothing is on file.
func TestAlmostAPatient(t *testing.T) {
	scanner := NewScanner()
	var rec Record
	for _, ref := range []string{
		"Patient/p1 ", " Patient/p1", "Patient/p1\\t", "Patient/p%31", "Patient/p1|2", "Patient/\uff501", "Patient/p1\u200b",
		"patient/p1", "PATIENT/p1", "Patient//p1", "Patient/p1/", "Patient/", "Patient", "", "#p1", "Patient?identifier=mrn|1",
	} {
		scanner.Resource([]byte(`{"resourceType":"Observation","subject":{"reference":"`+ref+`"}}`), &rec)
		if rec.Reject != NoSubject {
			t.Errorf("%q: %s", ref, show(&rec))
		}
	}
	for _, ref := range []string{"Patient/p1", "http://ehr/fhir/Patient/p1", "Patient/p1/_history/2", "Patient\\/p1", "Patient/p1#name", "http://ehr/fhir/Patient/p1#name"} {
		scanner.Resource([]byte(`{"resourceType":"Observation","subject":{"reference":"`+ref+`"}}`), &rec)
		if rec.Reject != NoReason || len(rec.Facts.Subjects) != 1 || string(rec.Facts.Subjects[0]) != "p1" {
			t.Errorf("%q: %s", ref, show(&rec))
		}
	}
}

// The date of service decides about coverage and restrictions. One of the wrong
// type is unknown; the next best date is no answer.
func TestADateOfTheWrongTypeIsUnknown(t *testing.T) {
	scanner := NewScanner()
	var rec Record
	for _, date := range []string{`20260302`, `true`, `["2026-03-02"]`, `{"value":"2026-03-02"}`} {
		for _, text := range []string{
			`{"resourceType":"Observation","effectiveDateTime":` + date + `,"issued":"2026-04-01T00:00:00Z","subject":{"reference":"Patient/p1"}}`,
			`{"resourceType":"Observation","issued":"2026-04-01T00:00:00Z","effectivePeriod":{"start":` + date + `},"subject":{"reference":"Patient/p1"}}`,
		} {
			if scanner.Resource([]byte(text), &rec); rec.Facts.Date.Known() {
				t.Errorf("%s: %s", text, show(&rec))
			}
		}
	}
}
