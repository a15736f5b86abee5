package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/policies"
)

// policyCommands are the words after `postern policy`. Each is a command of
// its own, with its own flags; one file each, or this one.
var policyCommands = []command{
	{"policy check", "EXCHANGE | FILE", "check one policy and print what becomes of each identifier", policyCheck, false},
	{"policy explain", "EXCHANGE | FILE | --applies", "the policy in plain English, for those who answer for it", policyExplain, false},
	{"policy approve", "EXCHANGE [--signature FILE.sig]… | --statement FILE --key KEY", "what approvers sign, and their signatures taken in", approve, false},
	{"policy test", "DIR | FILE …", "run cases: records go in, what becomes of each is held against what is expected", policyTest, true},
}

// policy hands over to the word that follows.
func policy(k *call) error {
	if len(k.args) == 0 || slices.Contains([]string{"help", "-h", "--help", "-help"}, k.args[0]) {
		fmt.Fprintln(k.out, "usage: postern policy COMMAND [flags]")
		listCommands(k.out, policyCommands)
		if len(k.args) == 0 {
			return silent{agent.Usage}
		}
		return nil
	}
	c, err := find(policyCommands, "policy "+k.args[0])
	if err != nil {
		return err
	}
	return c.invoke(k.ctx, k.args[1:], k.in, k.out, k.err)
}

func policyCheck(k *call) error {
	if err := k.parse(1, 1); err != nil {
		return err
	}
	at, err := agent.PolicyOf(k.config, k.arg(0))
	if err != nil {
		return err
	}
	proof, err := policies.Check(at.Policy, at.Env)
	if err != nil {
		return &agent.Failure{Class: agent.PolicyRefused, Err: err}
	}
	if k.json {
		return k.answer(proof)
	}
	fmt.Fprint(k.out, proof)
	return nil
}

func policyExplain(k *call) error {
	to := k.page()
	applies := k.flags.Bool("applies", false, "say which steps of the decision bind which disclosure, and why")
	if err := k.parse(0, 1); err != nil {
		return err
	}
	if *applies {
		return to.write(k, policies.ApplicabilityTable(), policies.ApplicabilityText, policies.ApplicabilityHTML)
	}
	return usageFailure("explain was not told what", "name an exchange or a policy file, or write --applies")
}

// page is where a text for people goes, and in which form.
type page struct {
	html *bool
	out  *string
}

func (k *call) page() page {
	return page{k.flags.Bool("html", false, "as one HTML page, to read in a browser or to print"),
		k.flags.String("out", "", "write to this `FILE` instead")}
}

// write writes what the flags ask for: v as JSON, or one of the two texts.
func (p page) write(k *call, v any, text, html func() string) (err error) {
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
		_, err = io.WriteString(out, html())
	default:
		_, err = io.WriteString(out, text())
	}
	return err
}
