package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/policytest"
	"github.com/posternhealth/postern/internal/synthetic"
)

// identifying are the values of the synthetic clinic that tell who somebody is:
// ids, names, addresses and numbers of its extract and lists.
func (h *house) identifying() []string {
	var values []string
	add := func(list ...string) {
		for _, v := range list {
			if len(v) >= 5 {
				values = append(values, v)
			}
		}
	}
	for _, row := range h.rows(scoresCSV) {
		add(row[0], row[1], row[2], row[7])
	}
	for _, row := range h.rows("inputs/acme-roster.csv") {
		add(row[0], row[1])
	}
	for line := range strings.Lines(h.read("extract/fhir/Patient.ndjson")) {
		for _, key := range []string{`"family":"`, `"value":"`, `"id":"`, `"line":["`, `"given":["`, `"city":"`} {
			for _, part := range strings.Split(line, key)[1:] {
				value, _, _ := strings.Cut(part, `"`)
				add(value)
			}
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// A draft passes as it is, says much of its policy, and tells of nobody.
func TestDraftTellsOfNobody(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 150})
	secret := h.identifying()
	if len(secret) < 1000 {
		t.Fatalf("%d identifying values", len(secret))
	}
	for exchange, least := range map[string]float64{scores: 0.6, treatment: 0.5, outcomes: 0.7} {
		file := filepath.Join(t.TempDir(), "case.yaml")
		h.must(h.agent.DraftCase(context.Background(), exchange, "", file, agent.RunOptions{AsOf: day("2026-06-30")}))
		text, err := os.ReadFile(file)
		h.must(err)
		records, _, _ := strings.Cut(string(text), "\nexpect:")
		for _, value := range secret {
			if strings.Contains(records, value) {
				t.Errorf("%s: %q is in the draft", exchange, value)
			}
		}
		r := policytest.Run(context.Background(), file)
		if !r.Passed {
			t.Errorf("%s: %s %+v", exchange, r.Failed, r.Diffs)
		}
		if c := policytest.Covered([]*policytest.Result{r}); len(c) != 1 || c[0].Share() < least {
			t.Errorf("%s: coverage %+v", exchange, *c[0])
		}
		if err := h.agent.DraftCase(context.Background(), exchange, "", file, agent.RunOptions{}); err == nil {
			t.Error("a case was overwritten")
		}
	}
}
