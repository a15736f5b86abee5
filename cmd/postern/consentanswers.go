package main

import (
	"fmt"

	"github.com/posternhealth/postern/agent"
	wording "github.com/posternhealth/postern/internal/page"
)

// consentExplain is `postern consent explain`. Of an id of which nothing is
// known it says so and ends with 4.
func consentExplain(k *call) error {
	subject := k.flags.String("subject", "", "the patient's `ID` in the extract and in the clinic's lists")
	exchange := k.flags.String("exchange", "", "the `EXCHANGE` that is asked about")
	to := k.page()
	return dated(k, k.clocks(true), 0, func(a *agent.Agent, options agent.RunOptions) (*agent.PatientAnswer, error) {
		if *subject == "" || *exchange == "" {
			return nil, usageFailure("explain was not told about whom or which exchange", "usage: postern %s %s", k.command.name, k.command.args)
		}
		return a.ExplainPatient(k.ctx, *exchange, *subject, options)
	}, func(_ *agent.Agent, answer *agent.PatientAnswer) error {
		return ends(agent.AnsweredNo, !answer.Known, to.write(k, answer, answer.Page()))
	})
}

// consentWithheld is `postern consent withheld`.
func consentWithheld(k *call) error {
	return dated(k, k.clocks(true), 1, func(a *agent.Agent, options agent.RunOptions) (*agent.WithheldReport, error) {
		return a.Withheld(k.ctx, k.arg(0), options)
	}, func(_ *agent.Agent, report *agent.WithheldReport) error {
		if k.json {
			return k.answer(report)
		}
		fmt.Fprintf(k.out, "withheld in %s, as of %s (a dry run: nothing leaves)\n%d records of what is asked for would leave, %d would stay, %d cannot be used\n",
			report.Exchange, report.AsOf, report.Released, report.Withheld, report.Rejected)
		for _, by := range report.By {
			fmt.Fprintf(k.out, "\nby %s (records %d, people %d)\n", by.By, by.Records, by.People)
			for _, l := range by.Lines {
				fmt.Fprintf(k.out, "\n  %s (records %d, people %d)\n", l.Reason, l.Records, l.People)
				for _, part := range [][2]string{{"", l.Says}, {"law: ", l.Law}, {"exception: ", l.Exception}, {"what would change it: ", l.Mend}} {
					fmt.Fprint(k.out, wording.Wrap(part[0]+part[1], "    ", "      "))
				}
			}
		}
		_, err := fmt.Fprint(k.out, "\n", wording.Wrap("Each record is counted once, under what weighs most. An exception holds only if its own conditions are met: "+
			"a written, consistent practice that asks for no more than is needed. Whether they are, and what is marked (check), is for the officer to settle.", "", ""))
		return err
	})
}
