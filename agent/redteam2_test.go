package agent_test

import (
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
