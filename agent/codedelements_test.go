package agent_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// codedResources lets the same resources out with their ids as DO, and people as tokens.
const codedResources = `postern: policy/v1
policy: coded
version: 1
standard: expert-determination
recipient: national-outcomes-registry
purpose: HRESCH
basis: 45 CFR 164.502(d)
agreement: {kind: participation, id: NOR-78, from: 2026-01-01, to: 2099-12-31}
because: research on the course of depression
certificate: {expert: a statistician, on: 2026-03-01, method: report 2026-17, conditions: [no linking], expires: 2099-12-31}
inputs: {consents: {max_age: 7 days, shrink_limit: 1%}}
people: {clinic_choice: {registry_opt_out: leave-out, because: promised}}
release:
  Observation:
    because: research
    only: {code: [44261-6, 70274-6], date: 2024-01-01..2025-12-31}
    fields:
      id: {do: DO}
      subject: {do: token}
      encounter: {do: DO}
      valueQuantity.value: {do: keep}
  Encounter:
    because: research
    only: {date: 2025-01-01..2025-12-31}
    fields:
      id: {do: DO}
      subject: {do: token}
  Patient:
    because: research
    fields:
      id: {do: token}
      identifier: {do: DO}
output: {layout: ndjson, mode: full, shuffle: people}
`

// What leaves under tokens and ordinals hangs together as it did: each reference
// leads to a record of the drop whose person is the same, what it cannot lead to
// is gone, and of the numbers none is missing.
func TestCodedResourcesHangTogether(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 80})
	exchanges := "exchanges:\n"
	for i, do := range []string{"token", "ordinal"} {
		h.write("policies/coded-"+do+".yaml", strings.NewReplacer("DO", do, "policy: coded", "policy: coded-"+do).Replace(codedResources))
		exchanges += fmt.Sprintf("  %s: {id: c%d, source: ehr, policy: policies/coded-%s.yaml, recipient: national-outcomes-registry}\n", do, i, do)
	}
	h.edit("postern.yaml", "exchanges:\n", exchanges)
	for _, do := range []string{"token", "ordinal"} {
		rows := h.drop(do, h.run(do, agent.RunOptions{}).Number).rows()
		there, numbers, led, cut := map[string]resource{}, map[string]bool{}, 0, 0
		for _, row := range rows {
			var r resource
			h.must(json.Unmarshal([]byte(row), &r))
			there[r.Type+"/"+r.ID] = r
			if r.Type != "Patient" {
				numbers[r.ID] = true
			}
			for _, i := range r.Identifier {
				numbers[i.Value] = true
			}
		}
		if len(there) != len(rows) {
			t.Errorf("%s: %d rows, %d ids", do, len(rows), len(there))
		}
		for name, r := range there {
			if _, patient := there[r.Subject.Reference]; !patient && r.Type != "Patient" {
				t.Errorf("%s: %s refers to %q", do, name, r.Subject.Reference)
			}
			switch to, is := there[r.Encounter.Reference]; {
			case r.Type != "Observation":
			case r.Encounter.Reference == "":
				cut++
			case !is || to.Subject != r.Subject:
				t.Errorf("%s: %s refers to %q", do, name, r.Encounter.Reference)
			default:
				led++
			}
		}
		if led < 10 || cut < 10 {
			t.Errorf("%s: %d references lead somewhere, %d are gone", do, led, cut)
		}
		for i := range numbers {
			if want := fmt.Sprintf("%010d", len(numbers)); do == "ordinal" && (len(i) != 10 || i > want) || do == "token" && len(i) != 20 {
				t.Errorf("%s: %s of %d", do, i, len(numbers))
			}
		}
	}
}

// resource is what these tests look at of one.
type resource struct {
	Type       string `json:"resourceType"`
	ID         string
	Identifier []struct{ Value string }
	Subject    struct{ Reference string }
	Encounter  struct{ Reference string }
}

// wordsOfRows lets out what closed lists hold, and regions and bands.
const wordsOfRows = `postern: policy/v1
policy: words
version: 1
standard: safe-harbor
recipient: national-outcomes-registry
purpose: HRESCH
basis: 45 CFR 164.502(d)
agreement: {kind: participation, id: NOR-78, from: 2026-01-01, to: 2099-12-31}
because: comparison of outcomes
attest: {actual_knowledge: {none_known: yes, by: the privacy officer, on: 2026-01-20, review_by: 2099-11-20}}
include: {tools: tools.yaml}
inputs: {consents: {max_age: 7 days, shrink_limit: 1%}}
people: {clinic_choice: {registry_opt_out: leave-out, because: promised}}
release:
  scores:
    because: comparison
    only: {service_date: last-closed-year}
    fields:
      person:      {do: code}
      instrument:  {do: code-display, to: tools}
      kept:        {from: instrument, do: keep, in: tools}
      total_score: {do: keep}
      severity:    {from: total_score, do: band, bands: [0-4, 5-9, 10-14, 15-27]}
output: {layout: csv, mode: full, shuffle: people}
`

// What leaves by closed lists and bands is what the score beside it says, through
// the whole run and its gate.
func TestWordsOfClosedLists(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.write("policies/words.yaml", wordsOfRows)
	h.write("policies/tools.yaml", "postern: value-set/v1\ntitle: tools\nsource: the clinic\nlicence: its own\neffective: {from: 2020-01-01, to: open}\ncodes:\n  - {code: 44261-6, display: PHQ-9}\n  - 70274-6\n")
	h.edit("postern.yaml", "exchanges:\n", "exchanges:\n  words: {id: w1, source: ehr, policy: policies/words.yaml, recipient: national-outcomes-registry}\n")
	met := map[string]int{}
	for _, line := range h.drop("words", h.run("words", agent.RunOptions{AsOf: day(wholeYear)}).Number).rows() {
		cells := strings.Split(line, ",")
		if want := map[string]string{"44261-6": "PHQ-9"}[cells[2]]; cells[1] != want {
			t.Errorf("%s", line)
		}
		band, score := "", 0
		if _, err := fmt.Sscan(cells[3], &score); err == nil {
			band = []string{"0-4", "5-9", "10-14", "15-27"}[min(score/5, 3)]
		}
		if cells[4] != band {
			t.Errorf("%s", line)
		}
		met[cells[2]]++
		met[band]++
	}
	if met["44261-6"] < 5 || met["70274-6"] < 5 || met["10-14"] < 3 || met[""] == 0 {
		t.Errorf("met %v", met)
	}
}
