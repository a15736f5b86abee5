package consent

import (
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// What restricts a visit restricts the visits that are part of it, and what was
// written at them, however deep; where the whole cannot be told, it may.
func TestPartsOfARestrictedVisit(t *testing.T) {
	w := newWorld(t).restrict("p1,self-pay,,e9,,,,,,")
	scanner, parts := extract.NewScanner(), Parts{}
	for id, of := range map[string]string{
		"e10": `"reference":"Encounter/e9"`, "e11": `"reference":"https://ehr.example/fhir/Encounter/e10/_history/1"`,
		"e12": `"identifier":{"value":"e9"}`, "e20": `"reference":"Encounter/e21"`,
		"r1": `"reference":"Encounter/r2"`, "r2": `"reference":"Encounter/r1"`,
	} {
		var rec extract.Record
		scanner.Resource([]byte(`{"resourceType":"Encounter","id":"`+id+`","subject":{"reference":"Patient/p1"},"partOf":{`+of+`}}`), &rec)
		whole, is := PartOf(&rec)
		if !is {
			t.Fatalf("%s is no part", id)
		}
		parts.Add(rec.Facts.ID, whole)
	}
	var rec extract.Record
	scanner.Resource([]byte(`{"resourceType":"Encounter","id":"e1","subject":{"reference":"Patient/p1"}}`), &rec)
	if _, is := PartOf(&rec); is {
		t.Error("a visit of its own is a part")
	}
	parts.Add([]byte("two"), []byte("e1"))
	parts.Add([]byte("two"), []byte("e2"))
	parts.Add(nil, []byte("e9"))
	w.tables.Parts = parts
	for visit, want := range map[string]string{"e9": "restriction-self-pay", "e10": "restriction-self-pay", "e11": "restriction-self-pay", "e12": "restriction-indeterminate",
		"e20": "", "e1": "", "r1": "restriction-indeterminate", "two": "restriction-indeterminate", "": "restriction-indeterminate"} {
		f := score("p1", "2026-03-02")
		f.Encounter = phi.Bytes(visit)
		w.expect(f, want)
		var kept extract.Facts // as they are judged when no extract tells of the visit any more
		if _, err := ReadFacts(AppendFacts(nil, &f, w.tables.People, parts), &kept, nil); err != nil {
			t.Fatal(err)
		}
		w.tables.Parts = nil
		w.expect(kept, want)
		w.tables.Parts = parts
		if f.Dataset, f.ID = "Encounter", f.Encounter; visit != "" {
			w.expect(f, want)
		}
	}
}
