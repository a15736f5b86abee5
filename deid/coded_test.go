package deid

import (
	"bytes"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// fill writes into each ordinal's hole the numbers that a drop would, and gives
// the references that stay only if their record is in it.
func fill(out *Output, numbers map[uint64]string) (references int) {
	for _, h := range out.Holes {
		switch h.Kind {
		case Ordinal:
			copy(out.Bytes[h.Start:h.End], numbers[h.Ref])
		case Reference:
			references++
			if out.Bytes[h.Start] != '"' || out.Bytes[h.End-1] != '"' {
				panic("a reference is not a whole value")
			}
		}
	}
	return references
}

// The id of a record and the references to it have one token, or one ordinal; so
// have a person, by whichever id, and the patient of their records. What names
// another patient leaves nothing, and so does a patient's ordinal.
func TestCodedElements(t *testing.T) {
	numbers := map[uint64]string{RefHash([]byte("Encounter/e1")): "0000000001", RefHash([]byte("Observation/o1")): "0000000002",
		RefHash([]byte("Practitioner/d1")): "0000000003", RefHash([]byte("CV-1")): "0000000004"}
	token := func(kind, id string) string { return tokenOracle(7, kind+"\x00"+id) }
	for _, c := range []struct{ dataset, fields, in, tokens, ordinals string }{
		{"Encounter", "id identifier.value serviceProvider.reference",
			`{"resourceType":"Encounter","id":"e1","identifier":[{"system":"urn:x","value":"CV-1"}],"subject":{"reference":"Patient/p-old"},"serviceProvider":{"reference":"#o"}}`,
			`{"resourceType":"Encounter","id":"` + token("record", "Encounter/e1") + `","identifier":[{"value":"` + token("number", "CV-1") + `"}]}`,
			`{"resourceType":"Encounter","id":"0000000001","identifier":[{"value":"0000000004"}]}`},
		{"Observation", "id subject.reference encounter.reference performer.reference hasMember.reference",
			`{"resourceType":"Observation","id":"o\u0031","subject":{"reference":"Patient/p-old"},"encounter":{"reference":"http://ehr.example/fhir/Encounter/e1/_history/2"},"performer":[{"reference":"Practitioner/d1"},{"reference":"Patient/p-old"},{"reference":"Patient/p9"}],"hasMember":[{"reference":"Observation?code=1"}]}`,
			`{"resourceType":"Observation","id":"` + token("record", "Observation/o1") + `","subject":{"reference":"Patient/` + token("person", "p1") + `"},"encounter":{"reference":"Encounter/` + token("record", "Encounter/e1") + `"},"performer":[{"reference":"Practitioner/` + token("record", "Practitioner/d1") + `"},{"reference":"Patient/` + token("person", "p1") + `"}]}`,
			`{"resourceType":"Observation","id":"0000000002","encounter":{"reference":"Encounter/0000000001"},"performer":[{"reference":"Practitioner/0000000003"}]}`},
		{"Patient", "id link.other.reference",
			`{"resourceType":"Patient","id":"p-old","link":[{"other":{"reference":"Patient/p1"},"type":"replaced-by"}]}`,
			`{"resourceType":"Patient","id":"` + token("person", "p1") + `"}`, ""},
	} {
		for do, want := range map[string]string{"token": c.tokens, "ordinal": c.ordinals} {
			var lines []string
			for field := range strings.FieldsSeq(c.fields) {
				lines = append(lines, do+" "+strings.ReplaceAll(field, ".", " "))
			}
			secret := secretOf(7)
			plan, err := Compile(fhirPolicy(policies.ExpertDetermination, c.dataset, lines...), c.dataset, Options{AsOf: asOf, Secret: &secret})
			if err != nil {
				if want != "" {
					t.Error(err)
				}
				continue // of a person there is no ordinal
			}
			rec, s, out := recordOf([]byte(c.in)), UnknownSubject(), Output{}
			s.ID = phi.Bytes("p1")
			if err := plan.Engine().Apply(rec, &s, &out); err != nil {
				t.Fatal(err)
			}
			fill(&out, numbers)
			if got := strings.TrimSpace(string(out.Bytes)); got != want {
				t.Errorf("%s, %s:\n got %s\nwant %s", c.dataset, do, got, want)
			}
			rec.Facts.Subjects = append(rec.Facts.Subjects, phi.Bytes("p2"))
			out = Output{}
			if err := plan.Engine().Apply(rec, &s, &out); err != nil || bytes.Contains(out.Bytes, []byte("Patient/")) {
				t.Errorf("%s of two people, %s: %v, %s", c.dataset, do, err, out.Bytes)
			}
			for _, left := range []string{"p1", "p-old", "e1", "d1", "CV-1"} {
				if bytes.Contains(out.Bytes, []byte(left)) {
					t.Errorf("%s, %s: %s left", c.dataset, do, left)
				}
			}
		}
	}
}

// A resource that a Bundle is to create has its id by the fullUrl alone: it leaves
// in the form of the others, and cut references take their ordinals along.
func TestCodedIDOfEntry(t *testing.T) {
	for do, want := range map[string]string{"token": tokenOracle(7, "record\x00Encounter/e1"), "ordinal": unfilled[:OrdinalLen], "keep": "e1"} {
		secret := secretOf(7)
		standard := map[bool]policies.Standard{true: policies.Identified, false: policies.ExpertDetermination}[do == "keep"]
		plan, err := Compile(fhirPolicy(standard, "Encounter", do+" id", do+" partOf reference"), "Encounter", Options{AsOf: asOf, Secret: &secret})
		if err != nil {
			t.Fatal(err)
		}
		rec, out := recordOf([]byte(`{"resourceType":"Encounter","partOf":{"reference":"Encounter/e1"}}`)), Output{}
		rec.Place.Entry, rec.Facts.ID = 1, phi.Bytes("e1")
		if err := plan.Engine().Apply(rec, nil, &out); err != nil {
			t.Fatal(err)
		}
		full := `{"resourceType":"Encounter","partOf":{"reference":"Encounter/` + want + `"},"id":"` + want + `"}` + "\n"
		if got := string(out.Bytes); got != full {
			t.Errorf("%s: got %s", do, got)
		}
		for i := len(out.Holes) - 1; i >= 0; i-- {
			if out.Holes[i].Kind == Reference {
				out.Bytes = CutReference(out.Bytes, out.Holes[i])
			}
		}
		if got := string(out.Bytes); got != `{"resourceType":"Encounter","id":"`+want+`"}`+"\n" {
			t.Errorf("%s, cut: %s", do, got)
		}
	}
	// and a patient's
	plan := compile(t, fhirPolicy(policies.ExpertDetermination, "Patient", "token id"), "Patient")
	rec, out := recordOf([]byte(`{"resourceType":"Patient"}`)), Output{}
	rec.Place.Entry, rec.Facts.ID, rec.Facts.Subjects = 1, phi.Bytes("p1"), []phi.Bytes{phi.Bytes("other")}
	if err := plan.Engine().Apply(rec, nil, &out); err != nil || string(out.Bytes) != `{"resourceType":"Patient"}`+"\n" {
		t.Errorf("%v, %s", err, out.Bytes)
	}
}
