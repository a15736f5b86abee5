package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
)

// TestTheClassifierIsApprovedAndDecides: what says which records are sensitive
// is part of what approvers sign, value sets included, and denials of a kind of
// record follow it.
func TestTheClassifierIsApprovedAndDecides(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(scores, agent.RunOptions{})
	person, _, _ := h.released(h.drop(scores, 1))

	denied := func() int64 {
		t.Helper()
		for _, b := range h.run(scores, agent.RunOptions{}).Balances {
			if b.Dataset == "scores" {
				return b.Reasons[extract.ConsentDenied.String()]
			}
		}
		t.Fatal("no scores")
		return 0
	}
	deny := func(label string) {
		row := registry(person, "general", "deny", "active", "2026-07-04", "")
		h.add(consentsCSV, strings.Replace(row, "active,,,,", "active,,,"+label+",", 1))
	}
	before := denied()
	deny("HIV")
	if got := denied(); got <= before {
		t.Errorf("%d denied after a denial that nobody can tell to be about other records, %d before", got, before)
	}

	const set = "postern: value-set/v1\ntitle: HIV\nsource: ours\nlicence: ours\neffective: {from: 2026-01-01, to: open}\ncodes: [B20]\n"
	h.must(os.MkdirAll(filepath.Join(h.dir, "labels"), 0o700))
	h.write("labels/hiv.yaml", set)
	h.write("labels/classifier.yaml", "postern: classifier/v1\ninclude: {hiv: hiv.yaml}\nlabels:\n  HIV: {in: [hiv], otherwise: not}\n")
	h.edit("postern.yaml", "\nrecipients:\n", "\nclassifier: labels/classifier.yaml\nrecipients:\n")
	h.sendsNothing(scores, "classifier labels/")
	if got := denied(); got != before {
		t.Errorf("%d denied though no score tells of HIV, %d before", got, before)
	}
	h.write("labels/hiv.yaml", strings.Replace(set, "[B20]", "[B20, 44261-6, 70274-6, 75626-2]", 1))
	h.sendsNothing(scores, "classifier labels/hiv.yaml")
	if got := denied(); got <= before {
		t.Errorf("%d denied though every score is said to tell of HIV, %d before", got, before)
	}
	h.write("labels/hiv.yaml", strings.Replace(set, "to: open", "to: 2026-02-01", 1))
	if _, err := h.agent.Run(t.Context(), scores, agent.RunOptions{DryRun: true}); classOf(err) != agent.Configuration {
		t.Errorf("a value set that is over: %v", err)
	}
}
