package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// WithheldReport says how much of what is asked for an exchange would keep back
// now, by whom, and which exception to information blocking (45 CFR Part 171)
// each reason claims. Each record is counted once, under what weighs most.
type WithheldReport struct {
	Exchange  string       `json:"exchange"`
	Policy    string       `json:"policy"`
	SHA256    string       `json:"policy_sha256"`
	AsOf      string       `json:"as_of"`
	DecidedAt time.Time    `json:"decided_at"`
	Released  int64        `json:"released"`
	Withheld  int64        `json:"withheld"` // the sum of By
	Rejected  int64        `json:"rejected"` // cannot be used, so nobody decided about them
	By        []WithheldBy `json:"by"`       // law, patient, evidence, doubt, clinic: those that occur
}

// WithheldBy is what one of them keeps back.
type WithheldBy struct {
	By      consent.By     `json:"by"`
	Records int64          `json:"records"`
	People  int            `json:"people"`
	Lines   []WithheldLine `json:"reasons"`

	people map[consent.Subject]struct{}
}

// WithheldLine is what is kept back for one reason.
type WithheldLine struct {
	Reason  string `json:"reason"`
	Records int64  `json:"records"`
	People  int    `json:"people"`
	consent.Claim

	reason extract.Reason
	people map[consent.Subject]struct{}
}

// Withheld makes the report by a dry run.
func (a *Agent) Withheld(ctx context.Context, exchange string, opt RunOptions) (*WithheldReport, error) {
	x, err := a.load(exchange)
	if err != nil {
		return nil, err
	}
	opt.DryRun, opt.Workers = true, 1
	r := a.newRun(x, opt)
	report := &WithheldReport{Exchange: exchange, Policy: x.policy.Name, SHA256: x.policy.SHA256, AsOf: r.opt.AsOf.String(), DecidedAt: r.opt.DecidedAt}
	r.inspect = func(rec *extract.Record, reasons extract.ReasonSet, part2 bool) {
		if reasons.First().Disposition() == extract.Withheld {
			reason, claim := r.built.Decider.Counted(&rec.Facts, part2, reasons)
			report.count(reason, claim, r.tables.People, &rec.Facts)
		}
	}
	if err = r.execute(ctx); err == nil {
		report.conclude(r.built.Outcome())
	}
	return report, errors.Join(err, r.clean(err != nil))
}

func (w *WithheldReport) count(reason extract.Reason, claim consent.Claim, people *consent.People, f *extract.Facts) {
	at := slices.IndexFunc(w.By, func(b WithheldBy) bool { return b.By == claim.By })
	if at < 0 {
		at = len(w.By)
		w.By = append(w.By, WithheldBy{By: claim.By, people: map[consent.Subject]struct{}{}})
	}
	by := &w.By[at]
	if at = slices.IndexFunc(by.Lines, func(l WithheldLine) bool { return l.reason == reason }); at < 0 {
		at = len(by.Lines)
		by.Lines = append(by.Lines, WithheldLine{Reason: reason.String(), Claim: claim, reason: reason, people: map[consent.Subject]struct{}{}})
	}
	line := &by.Lines[at]
	w.Withheld, by.Records, line.Records = w.Withheld+1, by.Records+1, line.Records+1
	for _, id := range f.Subjects {
		if s, known := people.Find(id); known {
			by.people[s], line.people[s] = struct{}{}, struct{}{}
		}
	}
}

func (w *WithheldReport) conclude(o *Outcome) {
	w.Released = o.Released
	for _, b := range o.Balances {
		w.Rejected += b.Count(extract.Rejected)
	}
	slices.SortFunc(w.By, func(a, b WithheldBy) int { return cmp.Compare(a.By, b.By) })
	for i := range w.By {
		by := &w.By[i]
		by.People = len(by.people)
		for k := range by.Lines {
			by.Lines[k].People = len(by.Lines[k].people)
		}
		slices.SortFunc(by.Lines, func(a, b WithheldLine) int { return cmp.Compare(a.reason, b.reason) })
	}
}
