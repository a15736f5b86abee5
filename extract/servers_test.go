package extract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two servers may number alike: Patient/7 there is not Patient/7 here.
func TestAddressesOfAnotherServer(t *testing.T) {
	ours := ServersOf([]string{"clearview", "Organization/clearview", "https://ehr.example/fhir/Organization/clearview", "http://npi|1"})
	if len(ours) != 1 || ours[0] != "https://ehr.example/fhir" {
		t.Fatalf("servers %q", ours)
	}
	for ref, c := range map[string]struct{ known, unknown Reason }{
		"Patient/7":                                      {NoReason, NoReason},
		"https://ehr.example/fhir/Patient/7":             {NoReason, NoReason},
		"https://ehr.example/fhir/Patient/7/_history/12": {NoReason, NoReason},
		"https://hie.example/fhir/Patient/7":             {NoSubject, NoReason},
		"https://hie.example/fhir/Patient/7/_history/12": {NoSubject, NoReason},
		"https://ehr.example/fhir/tenant/Patient/7":      {NoSubject, NoReason},
		"https://ehr.example/fhirs/Patient/7":            {NoSubject, NoReason},
	} {
		raw := `{"resourceType":"Observation","id":"o","status":"final","subject":{"reference":"` + ref + `"},"encounter":{"reference":"` + strings.Replace(ref, "Patient/7", "Encounter/9", 1) + `"}}`
		for servers, want := range map[*Servers]Reason{&ours: c.known, {}: c.unknown} {
			s := NewScanner()
			s.find.servers = *servers
			var rec Record
			if s.Resource([]byte(raw), &rec); rec.Reject != want {
				t.Errorf("%s, servers %q: %v, want %v", ref, *servers, rec.Reject, want)
			}
			if rec.servers = *servers; (rec.Resolve([]byte(ref)) == nil) != (want == NoSubject) {
				t.Errorf("%s resolves to %q", ref, rec.Resolve([]byte(ref)))
			}
			if own := string(rec.Facts.Encounter) == "9"; own != (want == NoReason) {
				t.Errorf("%s: its visit is %q", ref, rec.Facts.Encounter)
			}
		}
	}
}

func TestEntriesOfAnotherServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bundle.json")
	text := `{"resourceType":"Bundle","type":"collection","entry":[
	  {"fullUrl":"https://ehr.example/fhir/Patient/7","resource":{"resourceType":"Patient","id":"7"}},
	  {"fullUrl":"https://hie.example/fhir/Patient/8","resource":{"resourceType":"Patient","id":"8"}},
	  {"fullUrl":"https://ehr.example/fhir/Observation/o","resource":{"resourceType":"Observation","id":"o","subject":{"reference":"https://hie.example/fhir/Patient/8"}}},
	  {"fullUrl":"urn:uuid:9f2d9a46-4fae-4d5b-8c8a-3a5a3b3b5c11","resource":{"resourceType":"Observation","subject":{"reference":"https://ehr.example/fhir/Patient/7"}}}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := FileAt(path, &FileRule{Format: FHIRJSON, Servers: Servers{"https://ehr.example/fhir"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []Reason
	chunks := OpenChunks([]File{file})
	defer chunks.Close()
	var chunk Chunk
	scanner := NewScanner()
	for chunks.Next(&chunk) == nil {
		scanner.Reset(&chunk)
		for rec := new(Record); scanner.Next(rec); {
			got = append(got, rec.Reject)
		}
	}
	if want := []Reason{NoReason, NoSubject, NoSubject, NoReason}; len(got) != 4 || [4]Reason(got) != [4]Reason(want) {
		t.Errorf("%v, want %v", got, want)
	}
}
