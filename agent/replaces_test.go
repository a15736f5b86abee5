package agent_test

import (
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// TestWholeDropNamesWhatItReplaces: the plan's measure year goes on from drop to
// drop, and another one begins with none to replace.
func TestWholeDropNamesWhatItReplaces(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	for number, c := range []struct {
		asOf     string
		replaces float64
	}{{"2025-03-31", 0}, {"2025-06-30", 1}, {"2025-12-31", 2}, {"2026-01-31", 0}, {"2026-06-30", 4}} {
		h.run(scores, agent.RunOptions{AsOf: day(c.asOf)})
		if got := h.drop(scores, int64(number+1)).book["replaces"]; got != c.replaces {
			t.Errorf("as of %s: replaces %v", c.asOf, got)
		}
	}
}
