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
	err := k.eachCaseFile(strictyaml.Files, func(file string) error {
		results, err := casefile.RunFile(k.ctx, file)
		answer.Cases = append(answer.Cases, results...)
		return err
	})
	if err != nil {
		return err
	}
	var shown strings.Builder
	for _, r := range answer.Cases {
		at := r.File
		if r.Line > 0 {
			at = fmt.Sprintf("%s:%d", r.File, r.Line)
		}
		if !r.Passed {
			answer.Failed++
		}
		shown.WriteString(caseWords(r.Passed, at, r.Case, r.Failed))
		for _, d := range r.Diffs {
			shown.WriteString(differenceWords(d.Record, d.Expected, d.Got))
		}
	}
	err = k.say(answer, "%s\n%d cases, %d failed\n", &shown, len(answer.Cases), answer.Failed)
	if err == nil && len(answer.Cases) == 0 {
		return usageFailure("there are no cases", "name case files, or folders that hold some")
	}
	return ends(agent.AnsweredNo, answer.Failed > 0, err)
}

// eachCaseFile does something with each file of cases that the arguments name.
func (k *call) eachCaseFile(in func(path string) ([]string, error), do func(file string) error) error {
	for _, path := range k.args {
		files, err := in(path)
		if err != nil {
			return &agent.Failure{Class: agent.Usage, Err: err, Remedy: "name case files, or folders that hold some"}
		}
		for _, file := range files {
			err := k.ctx.Err()
			if err == nil {
				err = do(file)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// caseWords tell how a case ended, and why it failed as a whole.
func caseWords(passed bool, at, name, failed string) string {
	switch {
	case passed:
		return fmt.Sprintf("passed  %s: %s\n", at, name)
	case failed != "":
		failed = "  " + strings.ReplaceAll(failed, "\n", "\n  ") + "\n"
	}
	return fmt.Sprintf("FAILED  %s: %s\n%s", at, name, failed)
}

func differenceWords(at, expected, got string) string {
	return fmt.Sprintf("  %s\n    expected  %s\n    got       %s\n", at, expected, got)
}

// consentDecide is `postern consent decide`: standard input to standard output.
func consentDecide(k *call) error {
	clocks := k.clocks(true)
	return k.on(1, 1, func(a *agent.Agent) error {
		options, err := clocks.options()
		if err != nil {
			return err
		}
		return a.Decide(k.ctx, k.arg(0), k.in, k.out, options)
	})
}

// consentMend is `postern consent mend`: places and why, no values.
func consentMend(k *call) error {
	return k.on(1, 1, func(a *agent.Agent) error {
		doubts, err := a.Mend(k.ctx, k.arg(0))
		return show(k, k.showDoubts)(orEmpty(doubts), err)
	})
}

func (k *call) showDoubts(doubts []consent.Doubt) error {
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
}
