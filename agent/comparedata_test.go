package agent_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/policies"
)

// What one policy lets out and another does not is what plans of the difference
// alone count: here the scores of one instrument.
func TestCompareOnData(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 80, Mess: true})
	const file, all = "policies/acme-scores.yaml", "[44261-6, 70274-6, 75626-2]"
	text := h.read(file)
	of := func(name, instruments string) *policies.Policy {
		h.write(filepath.Join("policies", name), strings.Replace(text, all, instruments, 1))
		p, err := policies.Load(filepath.Join(h.dir, "policies", name), policies.Env{})
		h.must(err)
		return p
	}
	older, newer := of("older.yaml", "[44261-6, 70274-6]"), of("newer.yaml", "[70274-6, 75626-2]")
	opt := agent.RunOptions{AsOf: day(wholeYear)}
	got, err := h.agent.CompareOnData(context.Background(), scores, "", older, newer, opt)
	h.must(err)
	planned := func(instruments string) agent.Moved {
		h.write(file, strings.Replace(text, all, instruments, 1))
		o, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: opt.AsOf, DryRun: true})
		h.must(err)
		return agent.Moved{Records: o.Released, People: o.People}
	}
	want := agent.OnData{Source: got.Source, Leave: planned("[75626-2]"), Stay: planned("[44261-6]")}
	if *got != want || got.Leave.Records == 0 || got.Stay.People == 0 || got.Source < got.Stay.Records {
		t.Errorf("got %+v, want %+v", *got, want)
	}
	elsewhere, err := h.agent.CompareOnData(context.Background(), scores, filepath.Join(h.copied().dir, "extract"), newer, older, opt)
	h.must(err)
	if elsewhere.Leave != got.Stay || elsewhere.Stay != got.Leave {
		t.Errorf("the other way round, from another folder: %+v", *elsewhere)
	}
}
