package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// PatientAnswer is what the next run of an exchange would do with one person's
// records, and why. It is for the officer who answers the patient: it stays at
// the clinic, and holds no value of a record but the years of service.
type PatientAnswer struct {
	Subject   string         `json:"subject"` // as it was asked for
	Known     bool           `json:"known"`   // to the extract or to a list
	IDs       int            `json:"ids"`     // how many the person has here since ids were merged
	Exchange  string         `json:"exchange"`
	Recipient string         `json:"recipient"`
	Policy    string         `json:"policy"`
	Version   int            `json:"version"`
	SHA256    string         `json:"policy_sha256"`
	Closure   string         `json:"closure_sha256"`
	Approved  bool           `json:"approved"` // as it stands now; else nothing leaves at all
	AsOf      string         `json:"as_of"`
	DecidedAt time.Time      `json:"decided_at"`
	Records   map[string]int `json:"records"` // by disposition
	Kinds     []RecordKind   `json:"kinds"`
	Papers    []PaperAnswer  `json:"papers"`   // directives, then restrictions
	Coverage  []CoveredTime  `json:"coverage"` // by the policy's roster
	Reasons   []ReasonAnswer `json:"reasons"`  // each that occurs, in decision order

	purpose, recipient string
	forms              []string
}

// RecordKind is the records of one kind that have one outcome.
type RecordKind struct {
	Outcome string   `json:"outcome"`
	Reasons []string `json:"reasons,omitempty"` // all, in decision order
	Dataset string   `json:"dataset"`
	Year    int      `json:"year,omitempty"`   // of service; 0 when the record does not tell
	Labels  string   `json:"labels,omitempty"` // sensitivity labels in HL7's codes
	Part2   bool     `json:"part2,omitempty"`  // under 42 CFR Part 2
	Records int      `json:"records"`
	Visits  int      `json:"visits"` // how many encounters they name

	visits map[string]struct{}
}

// PaperAnswer is a directive or a restriction of the person, and of how many
// records that are asked for it says what.
type PaperAnswer struct {
	Source      string               `json:"source"` // file:line, as seen from postern.yaml; "" of one that has left its file and goes on
	Restriction bool                 `json:"restriction,omitempty"`
	Scope       string               `json:"scope"`
	Decision    string               `json:"decision"`
	Exceptions  bool                 `json:"exceptions,omitempty"`
	Status      string               `json:"status,omitempty"`
	Signed      string               `json:"signed,omitempty"`
	SignedBy    []string             `json:"signed_by,omitempty"`
	From        string               `json:"from,omitempty"`
	To          string               `json:"to,omitempty"`
	Ended       string               `json:"ended,omitempty"`
	Forms       []string             `json:"forms,omitempty"`
	Limits      []string             `json:"limits,omitempty"`
	Here        bool                 `json:"here"` // it may be about this recipient and purpose
	Says        map[consent.Says]int `json:"says"`
}

// CoveredTime is a time for which the roster shows the person.
type CoveredTime struct {
	Roster    string `json:"roster"`
	From      string `json:"from"`
	To        string `json:"to,omitempty"` // "" while it is open
	Ambiguous bool   `json:"ambiguous,omitempty"`
}

// ReasonAnswer is a reason with all that stands behind it.
type ReasonAnswer struct {
	Reason string `json:"reason"`
	consent.Claim
}

// patient gathers the answer about one person in a dry run.
type patient struct {
	run          *run
	answer       *PatientAnswer
	id           []byte
	kinds        map[string]*RecordKind
	reasons      extract.ReasonSet
	directives   map[int]map[consent.Says]int
	restrictions map[int]map[consent.Says]int
}

// ExplainPatient answers for one person, by the id that the extract and the
// clinic's lists use. A person of whom nothing is known has an answer too.
func (a *Agent) ExplainPatient(ctx context.Context, exchange, id string, opt RunOptions) (*PatientAnswer, error) {
	x, err := a.load(exchange)
	if err != nil {
		return nil, err
	}
	opt.DryRun, opt.Workers = true, 1
	r := a.newRun(x, opt)
	closure := a.closure(x)
	approval, err := a.Approval(ctx, exchange)
	if err != nil {
		return nil, err
	}
	p := &patient{run: r, id: []byte(strings.TrimPrefix(id, "Patient/")), kinds: map[string]*RecordKind{},
		directives: map[int]map[consent.Says]int{}, restrictions: map[int]map[consent.Says]int{},
		answer: &PatientAnswer{Subject: id, Exchange: exchange, Recipient: x.config.Recipient, Policy: x.policy.Name, Version: x.policy.Version,
			SHA256: x.policy.SHA256, Closure: closure.SHA256(), Approved: approval.Approved, AsOf: r.opt.AsOf.String(), DecidedAt: r.opt.DecidedAt,
			Records: map[string]int{}, purpose: x.policy.Purpose, recipient: cmp.Or(x.recipient.Name, x.config.Recipient), forms: x.policy.People.AcceptForms}}
	r.inspect = p.take
	if err = r.execute(ctx); err == nil {
		p.conclude()
	}
	return p.answer, errors.Join(err, r.clean(err != nil))
}

// take notes a record, if it is about the person.
func (p *patient) take(rec *extract.Record, reasons extract.ReasonSet, part2 bool) {
	people := p.run.tables.People
	self, known := people.Find(p.id)
	about := func(id phi.Bytes) bool { s, met := people.Find(id); return met && s == self }
	if !known || !slices.ContainsFunc(rec.Facts.Subjects, about) {
		return
	}
	outcome := reasons.First().Disposition()
	k := RecordKind{Outcome: outcome.String(), Dataset: rec.Dataset}
	if reasons != 0 {
		k.Reasons = strings.Split(reasons.Names(), ",")
	}
	p.answer.Records[k.Outcome]++
	asked := outcome == extract.Released || outcome == extract.Withheld || outcome == extract.Suppressed
	if asked {
		k.Part2, k.Labels = part2, consent.Sensitivities(&rec.Facts)
		if rec.Facts.Date.Known() {
			k.Year = rec.Facts.Date.From.Year()
		}
		p.hear(&rec.Facts, part2)
	} else {
		k.Reasons = k.Reasons[:1] // what it might be withheld for, if it were asked for, tells the patient nothing
	}
	if p.reasons = p.reasons.With(reasons.First()); asked {
		p.reasons |= reasons
	}
	key := fmt.Sprint(k.Outcome, k.Reasons, k.Dataset, k.Year, k.Labels, k.Part2)
	group := p.kinds[key]
	if group == nil {
		k.visits = map[string]struct{}{}
		group = &k
		p.kinds[key] = group
	}
	group.Records++
	if len(rec.Facts.Encounter) > 0 {
		group.visits[string(rec.Facts.Encounter)] = struct{}{}
	}
}

// hear counts what each directive and restriction of the person says.
func (p *patient) hear(f *extract.Facts, part2 bool) {
	own := *f
	own.Subjects = []phi.Bytes{p.id} // of several people one asks
	x := p.run.built.Decider.Explain(&own, part2)
	for _, list := range []struct {
		heard []consent.Heard
		into  map[int]map[consent.Says]int
	}{{x.Directives, p.directives}, {x.Restrictions, p.restrictions}} {
		for _, h := range list.heard {
			if list.into[h.Number] == nil {
				list.into[h.Number] = map[consent.Says]int{}
			}
			list.into[h.Number][h.Says]++
		}
	}
}

// conclude fills the answer when all records are decided.
func (p *patient) conclude() {
	a, decider, people := p.answer, p.run.built.Decider, p.run.tables.People
	self, known := people.Find(p.id)
	if a.Known = known; !known {
		return
	}
	a.IDs = len(people.IDs(self))
	for _, k := range slices.Sorted(maps.Keys(p.kinds)) {
		group := p.kinds[k]
		group.Visits = len(group.visits)
		a.Kinds = append(a.Kinds, *group)
	}
	for _, n := range decider.DirectivesOf(self) {
		a.Papers = append(a.Papers, p.paper(decider.Directive(n), p.directives[n]))
	}
	for _, n := range decider.RestrictionsOf(self) {
		paper := p.paper(decider.Restriction(n), p.restrictions[n])
		paper.Restriction = true
		a.Papers = append(a.Papers, paper)
	}
	for _, c := range decider.Coverage(self) {
		a.Coverage = append(a.Coverage, CoveredTime{p.run.policy.People.Roster, c.From.String(), dayText(c.To), c.Ambiguous})
	}
	for r := extract.Reason(1); int(r) < extract.Reasons; r++ {
		if p.reasons.Has(r) {
			a.Reasons = append(a.Reasons, ReasonAnswer{r.String(), decider.Claim(r)})
		}
	}
}

func (p *patient) paper(d consent.Paper, says map[consent.Says]int) PaperAnswer {
	a := PaperAnswer{Scope: d.Scope, Decision: d.Decision, Exceptions: d.Excepts, Status: d.Status, Signed: dayText(d.Signed), SignedBy: d.SignedBy,
		From: dayText(d.From), To: dayText(d.To), Ended: dayText(d.Ended), Forms: d.Forms, Limits: d.Limits, Here: d.Here, Says: says}
	if file := d.File; file != "" {
		if inside, err := filepath.Rel(p.run.agent.Config.Dir, file); err == nil && filepath.IsLocal(inside) {
			file = inside
		}
		a.Source = fmt.Sprintf("%s:%d", file, d.Line)
	}
	return a
}

// dayText is a date as JSON has it, "" for none.
func dayText(d extract.Day) string {
	if d == extract.NoDay {
		return ""
	}
	return d.String()
}
