package agent_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// A denial that comes before delivery under an id in other capitals keeps the
// drop back as it keeps the next run's records back.
func TestDenialInOtherCapitalsBeforeDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	h.run(scores, agent.RunOptions{})
	person, _, _ := h.released(h.drop(scores, 1))
	other := strings.ToUpper(person)
	if other == person {
		other = strings.ToLower(person)
	}
	if other == person {
		t.Fatal("the id has no letters")
	}
	h.add(consentsCSV, registry(other, "general", "deny", "active", "2026-07-04", ""))
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "voided" || done[0].Reason != "merge-unresolved" {
		t.Errorf("delivery: %+v", done)
	}
	if names := h.inbox(scores, 1); len(names) > 0 {
		t.Errorf("the recipient has %v", names)
	}
}

// What restricts a visit restricts the visits that are part of it, in the run
// and before delivery.
func TestPartOfARestrictedVisitStays(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(treatment, agent.RunOptions{})
	var visit struct {
		ID      string
		Subject struct{ Reference string }
	}
	for _, line := range h.drop(treatment, 1).rows() {
		if strings.Contains(line, `"resourceType":"Encounter"`) {
			h.must(json.Unmarshal([]byte(line), &visit))
			break
		}
	}
	if visit.ID == "" {
		t.Fatal("no visit was released")
	}
	h.edit("extract/fhir/Encounter.ndjson", `"id":"`+visit.ID+`",`, `"id":"`+visit.ID+`","partOf":{"reference":"Encounter/the-whole"},`)
	h.deliver(treatment)
	h.run(treatment, agent.RunOptions{})
	if !has(h.drop(treatment, 2), visit.ID) {
		t.Fatal("a part of a visit that nobody restricted stays")
	}
	h.add(restrictCSV, strings.TrimPrefix(visit.Subject.Reference, "Patient/")+",agreed,,,the-whole,,,,,")
	if done := h.deliver(treatment); len(done) != 1 || done[0].State != "voided" || done[0].Reason != "restriction-agreed" {
		t.Errorf("delivery: %+v", done)
	}
	h.run(treatment, agent.RunOptions{})
	if has(h.drop(treatment, 3), visit.ID) {
		t.Error("a part of a restricted visit leaves")
	}
}

// Whom a Patient says to be one person with is in doubt too, also where the
// reference names a version.
func TestLinkToAVersion(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(treatment, agent.RunOptions{})
	var person, other struct{ ID string }
	for _, line := range h.drop(treatment, 1).rows() {
		if strings.Contains(line, `"resourceType":"Patient"`) {
			h.must(json.Unmarshal([]byte(line), &person))
			break
		}
	}
	for line := range strings.Lines(h.read("extract/fhir/Patient.ndjson")) {
		if h.must(json.Unmarshal([]byte(line), &other)); other.ID != person.ID {
			break
		}
	}
	h.edit("extract/fhir/Patient.ndjson", `"id":"`+other.ID+`",`, `"id":"`+other.ID+`","link":[{"other":{"reference":"Patient/`+person.ID+`/_history/2"},"type":"seealso"}],`)
	h.run(treatment, agent.RunOptions{})
	if person.ID == "" || has(h.drop(treatment, 2), `"Patient/`+person.ID+`"`) {
		t.Error("the person who is linked leaves")
	}
}
