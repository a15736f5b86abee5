package agent_test

import (
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// TestProgramDeclaredBeforeDelivery: what was sealed before a program was
// declared may be that program's where a record does not tell otherwise, and its
// encounters are not at hand any more. The next run has them.
func TestProgramDeclaredBeforeDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	before := h.run(treatment, agent.RunOptions{})
	untouched := h.copied()
	if done := untouched.deliver(treatment); len(done) != 1 || done[0].State == "voided" {
		t.Fatalf("delivery under the same programs: %+v", done)
	}
	h.add(programsCSV, "practitioner,met-by-nobody,2026-01-01,")
	if done := h.deliver(treatment); len(done) != 1 || done[0].State != "voided" || done[0].Reason != "part2-no-consent" {
		t.Fatalf("delivery: %+v", done)
	}
	if after := h.run(treatment, agent.RunOptions{}); after.Released == 0 || after.Released > before.Released {
		t.Errorf("released %d, then %d", before.Released, after.Released)
	}
}
