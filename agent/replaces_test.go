package agent_test

import (
	"fmt"
	"strings"
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

// TestExtractCutShortReplacesNothing: what stands instead of an earlier drop is made
// of as many records, but for those that shrink_limit lets go. Another year's is not compared.
func TestExtractCutShortReplacesNothing(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(scores, agent.RunOptions{AsOf: day("2025-06-30")})
	whole := h.read("extract/scores/scores.csv")
	lines := strings.SplitAfter(whole, "\n")
	h.write("extract/scores/scores.csv", strings.Join(lines[:len(lines)/2], ""))
	_, err := h.agent.Run(t.Context(), scores, agent.RunOptions{AsOf: day("2025-12-31")})
	if agent.ExitCode(err) != int(agent.Unbalanced) || !strings.Contains(fmt.Sprint(err), "shrink_limit") {
		t.Fatalf("half an extract: %v", err)
	}
	h.run(scores, agent.RunOptions{AsOf: day("2026-01-31")})
	h.write("extract/scores/scores.csv", whole)
	h.run(scores, agent.RunOptions{AsOf: day("2025-12-31")})
	if got := h.drop(scores, 3).book["replaces"]; got != 0.0 {
		t.Errorf("replaces %v", got)
	}
}
