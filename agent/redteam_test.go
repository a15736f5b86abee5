package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

// limitedToRegistry is a limited data set to whom the Safe Harbor exchange sends
// too, for the same purpose.
const limitedToRegistry = `postern: policy/v1
policy: limited
version: 1
standard: limited-data-set
recipient: national-outcomes-registry
purpose: HRESCH
basis: 45 CFR 164.514(e)
agreement: {kind: dua, id: NOR-78, from: 2026-01-01, to: 2099-12-31}
because: research
people: {consent: {general: {without_directive: permit}}}
inputs: {consents: {max_age: 7 days, shrink_limit: 1%}}
release:
  scores:
    because: research
    only: {service_date: 2024-01-01..2024-12-31}
    fields:
      person:       {do: code}
      service_date: {do: keep}
output: {layout: csv, mode: full, part2_rows: leave-out}
`

// A Safe Harbor code that stands in another release too is a key to it: with the
// days of a limited data set, or the index year of another cohort, it tells dates
// (45 CFR 164.514(b)(2)(i)(C), (c)). Within one exchange it stays what it is.
func TestSafeHarborCodesJoinNothing(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.write("policies/limited.yaml", limitedToRegistry)
	h.edit("postern.yaml", "exchanges:\n", `exchanges:
  limited: {id: l1, source: ehr, policy: policies/limited.yaml, recipient: national-outcomes-registry}
  again:   {id: r5, source: ehr, policy: policies/outcomes-registry.yaml, recipient: national-outcomes-registry}
`)
	codes := func(exchange string, number int64) (list []string) {
		for _, row := range h.drop(exchange, number).rows() {
			code, _, _ := strings.Cut(row, ",")
			list = append(list, code)
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	h.run(outcomes, agent.RunOptions{})
	first := codes(outcomes, 1)
	if h.run(outcomes, agent.RunOptions{}); len(first) < 20 || !slices.Equal(first, codes(outcomes, 2)) {
		t.Errorf("the codes of %d people do not stay", len(first))
	}
	for _, other := range []string{"limited", "again"} {
		h.run(other, agent.RunOptions{})
		theirs := codes(other, 1)
		if len(theirs) < 20 {
			t.Errorf("%s lets only %d people out", other, len(theirs))
		}
		for _, code := range theirs {
			if slices.Contains(first, code) {
				t.Fatalf("a code of %s stands in %s too", outcomes, other)
			}
		}
	}
}

// What is relative in an approved configuration means something else in another
// folder: other lists of consents, another destination. With the state of the
// approved one it is not approved.
func TestAnotherFolderIsNotApproved(t *testing.T) {
	t.Parallel()
	base := approvedClinic(t)
	for name, state := range map[string]func(h *house) string{
		"its path": func(*house) string { return filepath.Join(base.dir, "state") },
		"a way to it": func(h *house) string {
			relative, err := filepath.Rel(h.dir, filepath.Join(base.dir, "state"))
			base.must(err)
			return relative
		},
		"a link": func(h *house) string {
			h.must(os.Symlink(filepath.Join(base.dir, "state"), filepath.Join(h.dir, "state")))
			return "state"
		},
	} {
		h := base.copied()
		h.must(os.RemoveAll(filepath.Join(h.dir, "state")))
		h.write("inputs/consents.csv", strings.SplitAfter(h.read("inputs/consents.csv"), "\n")[0]) // nobody denies
		h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "state: state", "state: "+state(h), 1))
		h.open(hclog.NewNullLogger())
		_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()})
		if classOf(err) != agent.PolicyRefused || !strings.Contains(fmt.Sprint(err), "folders: state state → state ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A policy is proved by one schema of a dataset. A second one would say of the
// same column that it is another, and be in no approval.
func TestDatasetHasOneSchema(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	h.write("schemas/other.json", strings.Replace(h.read("schemas/scores.json"), `"sex"`, `"surname"`, 1))
	for rule, want := range map[string]string{
		"schemas/scores.json": "",
		"schemas/other.json":  "23:75: sources.ehr.files[2].schema: the dataset scores has another schema already",
	} {
		text := h.read("postern.yaml")
		name := filepath.Base(rule) + ".yaml"
		h.write(name, strings.Replace(text, "inputs:\n", "      - {match: \"more/*.csv\", format: delimited, dataset: scores, schema: "+rule+"}\ninputs:\n", 1))
		_, err := agent.CheckFile(filepath.Join(h.dir, name))
		if want == "" && err != nil || want != "" && (classOf(err) != agent.Configuration || !strings.Contains(fmt.Sprint(err), want)) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// A policy that is gone, or a folder in its place, is said with the exchange
// that names it and the remedy.
func TestPolicyThatIsGone(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	h.must(os.Remove(filepath.Join(h.dir, scoresPolicy)))
	for range 2 {
		_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{})
		if classOf(err) != agent.PolicyRefused || !strings.Contains(fmt.Sprint(err), "or name another one under exchanges.acme-scores.policy") {
			t.Errorf("%v", err)
		}
		h.must(os.MkdirAll(filepath.Join(h.dir, scoresPolicy), 0o700))
	}
}

// Nobody is two people by a character that is not seen, and a drop is encrypted
// to somebody.
func TestWhatACheckedConfigurationCannotHold(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	text := h.read("postern.yaml")
	key := h.world.Recipient(synthetic.HealthPlan).EncryptTo
	for said, edited := range map[string]string{
		"approvers[1].name: the name has characters that no name has":         strings.Replace(text, "Ben Okafor, medical director", "Ana Ruiz, privacy officer\u200b", 1),
		"recipients.acme-health-plan.encrypt_to: a drop that nobody can open": strings.Replace(text, "["+key+"]", "[]", 1),
	} {
		h.write("edited.yaml", edited)
		if _, err := agent.CheckFile(filepath.Join(h.dir, "edited.yaml")); classOf(err) != agent.Configuration || !strings.Contains(fmt.Sprint(err), said) {
			t.Errorf("%s: %v", said, err)
		}
	}
}
