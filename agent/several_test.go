package agent_test

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// A record about two people who both permit it goes out; it must not stop the
// drop, nor be missing when either of them asks what was sent.
func TestRecordAboutSeveralPeople(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	people := h.optedIn()
	p := fhirPerson{people[0], "org-clearview", "2026-04-13"}
	both := strings.Replace(p.observation("O-both", "E-both", 5), `"valueInteger"`, `"performer":[{"reference":"Patient/`+people[1]+`"}],"valueInteger"`, 1)
	other := strings.Replace(p.observation("O-other", "E-both", 5), `"valueInteger"`, `"performer":[{"reference":"Patient/NOBODY-KNOWS"}],"valueInteger"`, 1)
	h.add(encountersND, p.encounter("E-both"))
	before := h.run(treatment, agent.RunOptions{AsOf: day(wholeYear)})
	h.add(observationsND, both, other)
	after := h.run(treatment, agent.RunOptions{AsOf: day(wholeYear)})
	if after.Released != before.Released+1 || after.People != before.People {
		t.Errorf("released %d of %d people, then %d of %d", before.Released, before.People, after.Released, after.People)
	}
	text := strings.Join(h.drop(treatment, 2).rows(), "\n")
	if !strings.Contains(text, `"id":"O-both"`) || strings.Contains(text, "O-other") {
		t.Error("the record about both is missing, or that about somebody who permits nothing is there")
	}
	if done := h.deliver(treatment); len(done) != 2 {
		t.Errorf("delivered: %v", done)
	}
}

// Two patients that are one person by Patient.link: neither leaves until the
// clinic has merged them, for a denial under one id would not bind the other.
func TestLinkedPatientsAreWithheld(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	people := h.optedIn()
	before := h.run(treatment, agent.RunOptions{AsOf: day(wholeYear)})
	h.add("extract/fhir/Patient.ndjson", `{"resourceType":"Patient","id":"CV-OLD","link":[{"other":{"reference":"Patient/`+people[0]+`"},"type":"seealso"}]}`)
	after := h.run(treatment, agent.RunOptions{AsOf: day(wholeYear)})
	if after.People != before.People-1 {
		t.Errorf("%d people, then %d", before.People, after.People)
	}
	if strings.Contains(strings.Join(h.drop(treatment, 2).rows(), "\n"), `"Patient/`+people[0]+`"`) {
		t.Error("a linked patient's record left")
	}
}
