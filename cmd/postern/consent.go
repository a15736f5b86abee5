package main

import (
	"fmt"
	"strings"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/consent/casefile"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// consentCommands are the words after `postern consent`.
var consentCommands = []command{
	{"consent test", "DIR | FILE …", "run consent cases: decisions and all reasons are held against what the rules ask for", consentTest, true},
	{"consent decide", "EXCHANGE", "records in as JSON lines, decisions out: the effect, all reasons, the directive relied on", consentDecide, false},
	{"consent explain", "--subject ID --exchange E", "what becomes of one patient's records and why, for the officer who answers the patient", consentExplain, false},
	{"consent withheld", "EXCHANGE", "what is kept back by law, patient, doubt and choice, and what that claims under information blocking", consentWithheld, false},
	{"consent mend", "EXCHANGE", "rows of protective inputs that cannot be understood or told apart, and keep records back until they are mended", consentMend, false},
	{"consent revocations", "[--exchange E] [--since DATE] [--over TIME] [--subject ID --archive-key FILE]", "what patients took back, denied or restricted: how long until it counted, and what had been sent to whom", consentRevocations, false},
}

// consentCommand hands over to the word that follows.
func consentCommand(k *call) error { return k.among(consentCommands) }

// consentTest is `postern consent test`. It ends with 4 when a case does not hold.
func consentTest(k *call) error {
	if err := k.parse(1, -1); err != nil {
		return err
	}
	var answer struct {
		Cases  []*casefile.Result `json:"cases"`
		Failed int                `json:"failed"`
	}
	for _, path := range k.args {
		files, err := strictyaml.Files(path)
		if err != nil {
			return &agent.Failure{Class: agent.Usage, Err: err, Remedy: "name case files, or folders that hold some"}
		}
		for _, file := range files {
			results, err := casefile.RunFile(k.ctx, file)
			if err != nil {
				return err
			}
			answer.Cases = append(answer.Cases, results...)
		}
	}
	for _, r := range answer.Cases {
		if !r.Passed {
			answer.Failed++
		}
		if !k.json {
			k.showConsentCase(r)
		}
	}
	if k.json {
		if err := k.answer(answer); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(k.out, "\n%d cases, %d failed\n", len(answer.Cases), answer.Failed)
	}
	switch {
	case len(answer.Cases) == 0:
		return usageFailure("there are no cases", "name case files, or folders that hold some")
	case answer.Failed > 0:
		return silent{agent.AnsweredNo}
	}
	return nil
}

func (k *call) showConsentCase(r *casefile.Result) {
	at := r.File
	if r.Line > 0 {
		at = fmt.Sprintf("%s:%d", r.File, r.Line)
	}
	if r.Passed {
		fmt.Fprintf(k.out, "passed  %s: %s\n", at, r.Case)
		return
	}
	fmt.Fprintf(k.out, "FAILED  %s: %s\n", at, r.Case)
	if r.Failed != "" {
		fmt.Fprintf(k.out, "  %s\n", strings.ReplaceAll(r.Failed, "\n", "\n  "))
	}
	for _, d := range r.Diffs {
		fmt.Fprintf(k.out, "  %s\n    expected  %s\n    got       %s\n", d.Record, d.Expected, d.Got)
	}
}

// consentDecide is `postern consent decide`: standard input to standard output.
func consentDecide(k *call) error {
	clocks := k.clocks(true)
	if err := k.parse(1, 1); err != nil {
		return err
	}
	options, err := clocks.options()
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		return a.Decide(k.ctx, k.arg(0), k.in, k.out, options)
	})
}

// consentMend is `postern consent mend`: places and why, no values.
func consentMend(k *call) error {
	if err := k.parse(1, 1); err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		doubts, err := a.Mend(k.ctx, k.arg(0))
		if err != nil {
			return err
		}
		if k.json {
			return k.answer(append([]consent.Doubt{}, doubts...))
		}
		for _, d := range doubts {
			at := fmt.Sprintf("%s:%d", d.File, d.Line)
			switch {
			case d.File == "":
				at = "in no file any more"
			case d.Earlier:
				at += " of an earlier reading"
			}
			fmt.Fprintf(k.out, "%s: %s\n", at, d.Why)
		}
		if len(doubts) == 0 {
			fmt.Fprintln(k.out, "nothing to mend")
		} else {
			fmt.Fprintln(k.out, "\nmend each in its file; a row of an earlier reading by writing it again, right this time (docs/consent.md, Mending)")
		}
		return nil
	})
}
