package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/explain"
)

// policyCommands are the words after `postern policy`. Each is a command of
// its own, with its own flags; one file each, or this one.
var policyCommands = []command{
	{"policy list", "", "the policies that exchanges stand on, and the library's", policyList, false},
	{"policy check", "EXCHANGE | FILE", "check one policy and print what becomes of each identifier", policyCheck, false},
	{"policy explain", "EXCHANGE | FILE | --applies", "the policy in plain English, for those who answer for it", policyExplain, false},
	{"policy compare", "OLD NEW [--source FOLDER]", "what would newly leave and newly stay; ends with 4 when something would newly leave", policyCompare, false},
	{"policy approve", "EXCHANGE [--signature FILE.sig]… | --statement FILE --key KEY", "what approvers sign, and their signatures taken in", approve, false},
	{"policy test", "DIR | FILE … | --draft EXCHANGE --out FILE", "run cases: records go in, what becomes of each is held against what is expected", policyTest, false},
}

// policy hands over to the word that follows.
func policy(k *call) error { return k.among(policyCommands) }

// policyCheck proves a policy. One that this version cannot carry out is proved
// too, and then refused by name.
func policyCheck(k *call) error {
	to := k.page()
	if err := k.parse(1, 1); err != nil {
		return err
	}
	at, err := agent.PolicyOf(k.config, k.arg(0))
	if err != nil {
		return err
	}
	at.Env.Unbuilt = true
	proof, err := policies.Check(at.Policy, at.Env)
	if err != nil {
		return &agent.Failure{Class: agent.PolicyRefused, Err: err}
	}
	answer := checkedPolicy{proof, policies.Findings(at.Policy, at.Env)}
	if err := to.write(k, answer, answer); err != nil {
		return err
	}
	if *to.html { // the page is the proof alone
		fmt.Fprint(k.err, answer.findings())
	}
	at.Env.Unbuilt = false
	if _, err := policies.Check(at.Policy, at.Env); err != nil {
		return &agent.Failure{Class: agent.PolicyRefused, What: "the policy is right, and cannot run yet", Err: err}
	}
	return nil
}

// checkedPolicy is a proof, and what the author of the policy hardly meant.
type checkedPolicy struct {
	*policies.Proof
	Findings []policies.Finding `json:"findings"`
}

// Text is the proof with the findings; as a page it stands alone.
func (c checkedPolicy) Text() string { return c.String() + c.findings() }

func (c checkedPolicy) findings() string {
	var b strings.Builder
	for _, f := range c.Findings {
		b.WriteString("\n" + page.Wrap(fmt.Sprintf("%s: line %d, %s: %s; %s", f.Kind, f.Line, f.Path, f.Says, f.Remedy), "", "  "))
	}
	return b.String()
}

func policyExplain(k *call) error {
	to := k.page()
	applies := k.flags.Bool("applies", false, "say which steps of the decision bind which disclosure, and why")
	if err := k.parse(0, 1); err != nil {
		return err
	}
	if *applies {
		return to.write(k, policies.ApplicabilityTable(), applicability{})
	}
	if k.arg(0) == "" {
		return usageFailure("explain was not told what", "name an exchange or a policy file, or write --applies")
	}
	at, err := agent.PolicyOf(k.config, k.arg(0))
	if err != nil {
		return err
	}
	page, err := at.Explain(k.approvalOf(at.Exchange))
	if err != nil {
		return err
	}
	return to.write(k, page, page)
}

// applicability is the table of steps as a text for people.
type applicability struct{}

func (applicability) Text() string { return explain.ApplicabilityText() }
func (applicability) HTML() string { return explain.ApplicabilityHTML() }

// approvalOf tells where an exchange stands with its approvers; nil where that
// cannot be told: a draft's configuration has no state yet.
func (k *call) approvalOf(exchange string) (approval *agent.Approval) {
	if exchange == "" {
		return nil
	}
	if k.with(func(a *agent.Agent) (err error) {
		approval, err = a.Approval(k.ctx, exchange)
		return err
	}) != nil {
		return nil
	}
	return approval
}

// policyList names the policies that exchanges stand on, and the library's.
func policyList(k *call) error {
	if err := k.parse(0, 0); err != nil {
		return err
	}
	a, err := k.open()
	if err == nil {
		defer func() { _ = a.Close() }() // nothing was written
	}
	configured, err := agent.ListPolicies(k.ctx, k.config, a)
	if err != nil {
		return err
	}
	library := policies.ShippedPolicies()
	if k.json {
		return k.answer(map[string]any{"exchanges": configured, "library": library})
	}
	if err := tabulate(k, "exchange\tpolicy\tversion\tstandard\tdigest\tapproval", configured, func(p agent.ListedPolicy) []any {
		return []any{p.Exchange, p.Policy, p.Version, p.Standard, p.Digest[:min(12, len(p.Digest))], p.State}
	}); err != nil {
		return err
	}
	fmt.Fprintln(k.out, "\nin the library, to be filled in:")
	var left, right []string
	for _, p := range library {
		left, right = append(left, p.Name), append(right, p.About)
	}
	explained(k.out, left, right)
	return nil
}

// policyCompare tells what would newly leave and newly stay; with --source
// also of how many records and people of an extract.
func policyCompare(k *call) (err error) {
	folder := k.flags.String("source", "", "also count on the extract in this `FOLDER`, laid as the exchange's source is")
	c := k.clocks(true)
	if err := k.parse(2, 2); err != nil {
		return err
	}
	was, err := agent.PolicyOf(k.config, k.arg(0))
	if err != nil {
		return err
	}
	is, err := agent.PolicyOf(k.config, k.arg(1))
	if err != nil {
		return err
	}
	var answer struct {
		*policies.Comparison
		OnData *agent.OnData `json:"on_data,omitempty"`
	}
	answer.Comparison = policies.Compare(was.Policy, is.Policy, was.Env, is.Env)
	if *folder != "" {
		if answer.OnData, err = k.onData(was, is, *folder, c); err != nil {
			return err
		}
	}
	if k.json {
		err = k.answer(answer)
	} else {
		_, err = io.WriteString(k.out, answer.String())
		if d := answer.OnData; d != nil {
			fmt.Fprintf(k.out, "\nOn %d records of the extract\n  %d of %d people newly leave\n  %d of %d people newly stay\n",
				d.Source, d.Leave.Records, d.Leave.People, d.Stay.Records, d.Stay.People)
		}
	}
	return ends(agent.AnsweredNo, len(answer.Widens) > 0, err)
}

func (k *call) onData(was, is *agent.PolicyAt, folder string, c clocks) (found *agent.OnData, err error) {
	exchange := cmp.Or(was.Exchange, is.Exchange)
	if exchange == "" {
		return nil, usageFailure("no exchange carries either policy out, so nobody knows how the extract is laid", "name an exchange as OLD or NEW")
	}
	options, err := c.options()
	if err != nil {
		return nil, err
	}
	err = k.with(func(a *agent.Agent) (err error) {
		found, err = a.CompareOnData(k.ctx, exchange, folder, was.Policy, is.Policy, options)
		return err
	})
	return found, err
}

// sheet is where a text for people goes, and in which form.
type sheet struct {
	html *bool
	out  *string
}

func (k *call) page() sheet {
	return sheet{k.flags.Bool("html", false, "as one HTML page, to read in a browser or to print"),
		k.flags.String("out", "", "write to this `FILE` instead")}
}

// write writes what the flags ask for: v as JSON, or a text in one of its forms.
func (p sheet) write(k *call, v any, text interface {
	Text() string
	HTML() string
}) (err error) {
	out := k.out
	if *p.out != "" {
		f, err := os.Create(*p.out)
		if err != nil {
			return &agent.Failure{Class: agent.Usage, What: "--out", Err: err, Remedy: "name a file in a folder that can be written"}
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		out = f
	}
	switch {
	case k.json:
		to := *k
		to.out = out
		return to.answer(v)
	case *p.html:
		_, err = io.WriteString(out, text.HTML())
	default:
		_, err = io.WriteString(out, text.Text())
	}
	return err
}
