package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/policytest"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// policyTest is `postern policy test`: cases, each by the run that makes drops.
func policyTest(k *call) error {
	cover := k.flags.String("cover", "", "fail when cases meet less than this share of a policy's clauses, such as `80%`")
	draft := k.flags.String("draft", "", "make a case for this `EXCHANGE` from its extract, with every value replaced")
	source := k.flags.String("source", "", "with --draft: another `FOLDER` than the exchange's")
	out := k.flags.String("out", "", "with --draft: the case `FILE` to write")
	clocks := k.clocks(true)
	if err := k.parse(0, -1); err != nil {
		return err
	}
	if *draft != "" {
		return k.draftCase(*draft, *source, *out, clocks)
	}
	least, err := share(*cover)
	if err != nil {
		return err
	}
	var answer struct {
		Cases    []*policytest.Result   `json:"cases"`
		Coverage []*policytest.Coverage `json:"coverage"`
	}
	failed := 0
	err = k.eachCaseFile(policytest.Files, func(file string) error {
		result := policytest.Run(k.ctx, file)
		answer.Cases = append(answer.Cases, result)
		if !result.Passed {
			failed++
		}
		if !k.json {
			k.showCase(result)
		}
		return nil
	})
	if err != nil {
		return err
	}
	answer.Coverage = policytest.Covered(answer.Cases)
	err = k.say(answer, "%s\n%d cases, %d failed\n", coverageWords(answer.Coverage), len(answer.Cases), failed)
	if err == nil && len(answer.Cases) == 0 {
		return usageFailure("there are no cases", "a case file begins with postern: "+policytest.Format)
	}
	little := slices.ContainsFunc(answer.Coverage, func(c *policytest.Coverage) bool { return c.Share() < least })
	return ends(agent.AnsweredNo, failed > 0 || little, err)
}

// draftCase writes a case that an officer is to read before it counts.
func (k *call) draftCase(exchange, source, out string, c clocks) error {
	options, err := c.options()
	if err == nil && (out == "" || len(k.args) > 0) {
		err = usageFailure("a draft is written to a file", "postern policy test --draft EXCHANGE --out FILE")
	}
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		if err := a.DraftCase(k.ctx, exchange, source, out, options); err != nil {
			return err
		}
		fmt.Fprintf(k.err, "postern: %s is drafted: read what it expects, then keep it beside the policy\n", out)
		return nil
	})
}

func share(text string) (float64, error) {
	var at struct {
		Cover strictyaml.Percent `yaml:"cover"`
	}
	if text == "" {
		return 0, nil
	}
	if _, err := strictyaml.Decode("--cover", []byte("cover: "+text), &at); err != nil {
		return 0, &agent.Failure{Class: agent.Usage, What: "--cover is no share", Remedy: "write 80%"}
	}
	return float64(at.Cover), nil
}

func (k *call) showCase(r *policytest.Result) {
	fmt.Fprint(k.out, caseWords(r.Passed, r.File, r.Case, r.Failed))
	for _, d := range r.Diffs {
		fmt.Fprint(k.out, differenceWords(strings.TrimSpace(d.Record+" "+d.At), d.Expected, d.Got))
		if d.Why != "" {
			fmt.Fprintf(k.out, "    because   %s\n", d.Why)
		}
	}
}

func coverageWords(list []*policytest.Coverage) string {
	var b strings.Builder
	for _, c := range list {
		fmt.Fprintf(&b, "\n%s: cases meet %d of %d clauses (%.0f%%)\n", c.Policy, c.Met, c.Clauses, 100*c.Share())
		for _, clause := range c.Missing {
			fmt.Fprintf(&b, "  no case: %s\n", clause)
		}
	}
	return b.String()
}
