package casefile

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// Result is how one case ended.
type Result struct {
	File    string       `json:"file"`
	Line    int          `json:"line"`
	Case    string       `json:"case,omitempty"`
	Rule    string       `json:"rule,omitempty"`
	Passed  bool         `json:"passed"`
	Failed  string       `json:"failed,omitempty"` // why as a whole
	Records int          `json:"records"`
	Diffs   []Difference `json:"differences,omitempty"`
}

// Difference is one record that was decided otherwise than expected.
type Difference struct {
	Record   string `json:"record"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// RunFile runs the cases of one file. A file that cannot be read is one result.
func RunFile(ctx context.Context, file string) ([]*Result, error) {
	cases, err := Load(file)
	if err != nil {
		return []*Result{{File: file, Failed: err.Error()}}, nil
	}
	var results []*Result
	for _, c := range cases {
		r, err := c.Run(ctx)
		if err != nil {
			return results, err
		}
		results = append(results, r)
	}
	return results, nil
}

// Run decides the records of a case. The error is none of the case: no scratch
// folder, or the end of ctx.
func (c *Case) Run(ctx context.Context) (*Result, error) {
	r := &Result{File: c.File, Line: c.Line, Case: c.Title, Rule: c.Rule, Records: len(c.Records)}
	dir, err := os.MkdirTemp("", "postern-case-")
	if err != nil {
		return nil, err
	}
	stopped := c.decide(ctx, dir, r)
	if err := errors.Join(ctx.Err(), os.RemoveAll(dir)); err != nil {
		return nil, err
	}
	r.Failed = c.stopped(stopped)
	r.Passed = r.Failed == "" && len(r.Diffs) == 0
	return r, nil
}

// errRequest marks a request that can never be answered with yes.
var errRequest = errors.New("there is no such disclosure")

// stopped tells what is wrong with how a case stopped, or that it did not.
func (c *Case) stopped(err error) string {
	var defect *inputDefect
	how := ""
	switch {
	case errors.As(err, &defect):
		how = "input"
	case errors.Is(err, errRequest):
		how = "request"
	case err != nil:
		return err.Error()
	}
	switch {
	case how == c.Stops:
		return ""
	case how == "":
		return "the records were decided; expected: stops: " + c.Stops
	case c.Stops == "":
		return fmt.Sprintf("stops: %s: %v", how, err)
	}
	return fmt.Sprintf("stops: %s: %v; expected: stops: %s", how, err, c.Stops)
}

// decide fills the result with the differences; its error is what stopped it.
func (c *Case) decide(ctx context.Context, dir string, r *Result) error {
	tables, err := c.load(ctx, dir)
	if err != nil {
		return err
	}
	request := c.request()
	if request.Classifier, err = c.classifier(dir); err != nil {
		return err
	}
	decider, err := consent.NewDecider(request, tables)
	if err != nil {
		return fmt.Errorf("%w: %w", errRequest, err)
	}
	all, err := c.decideAll(decider)
	if err != nil {
		return err
	}
	for i := range c.expect {
		e := &c.expect[i]
		at := slices.IndexFunc(c.Records, func(r record) bool { return r.ID == e.Record })
		if want, got := e.String(), all[at].inWords(decider, e.Part2 != ""); want != got {
			r.Diffs = append(r.Diffs, Difference{e.Record, want, got})
		}
	}
	return nil
}

// outcome is what became of a record.
type outcome struct {
	rejected extract.Reason
	consent.Decision
}

// decideAll decides all records, those that are derived from others among them.
func (c *Case) decideAll(d *consent.Decider) ([]outcome, error) {
	all := make([]outcome, len(c.Records))
	var traces []consent.Trace
	for i := range c.Records {
		r := &c.Records[i]
		facts, rejected := r.facts()
		if all[i].rejected = rejected; rejected != extract.NoReason {
			continue
		}
		all[i].Decision = d.Decide(&facts)
		traces = append(traces, consent.Trace{Name: hashed(facts.Dataset + "/" + string(facts.ID)), Ordinal: int64(i), Withheld: all[i].Reasons != 0})
		for _, evidence := range facts.Evidence {
			traces = append(traces, consent.Trace{Name: hashed(string(evidence)), Ordinal: int64(i), Evidence: true})
		}
		for _, evidence := range r.DerivedFrom {
			traces = append(traces, consent.Trace{Name: hashed(c.fullName(evidence)), Ordinal: int64(i), Evidence: true})
		}
	}
	slices.SortFunc(traces, func(a, b consent.Trace) int {
		if c := slices.Compare(a.Name[:], b.Name[:]); c != 0 || a.Evidence == b.Evidence {
			return c
		}
		return map[bool]int{false: -1, true: 1}[a.Evidence] // a record before what names it
	})
	derived, err := consent.DeriveWithheld(int64(len(all)), false, func(each func(consent.Trace)) error {
		for _, t := range traces {
			each(t)
		}
		return nil
	})
	for i := range all {
		if derived.Has(int64(i)) {
			all[i].Reasons = all[i].Reasons.With(extract.DerivedFromWithheld)
		}
	}
	return all, err
}

// fullName is the id of a record with its type.
func (c *Case) fullName(id string) string {
	for i := range c.Records {
		if facts, _ := c.Records[i].facts(); c.Records[i].ID == id {
			return facts.Dataset + "/" + id
		}
	}
	return "Observation/" + id
}

func hashed(name string) (h [2]uint64) {
	sum := sha256.Sum256([]byte(name))
	return [2]uint64{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])}
}

// inWords is the outcome of a record in the words of an expectation.
func (o *outcome) inWords(d *consent.Decider, part2 bool) string {
	if o.rejected != extract.NoReason {
		return (&expectation{Effect: string(consent.EffectDeny), Reasons: []string{o.rejected.String()}}).String()
	}
	out := o.Decision
	got := &expectation{Effect: string(d.Effect(out))}
	if out.Reasons != 0 {
		got.Reasons = strings.Split(out.Reasons.Names(), ",")
	}
	if part2 {
		got.Part2 = map[bool]string{true: "yes", false: "no"}[out.Part2]
	}
	return got.String()
}

func (e *expectation) String() string {
	text := e.Effect
	if len(e.Reasons) > 0 {
		text += ": " + strings.Join(slices.Sorted(slices.Values(e.Reasons)), ", ")
	}
	if e.Part2 != "" {
		text += " (Part 2: " + e.Part2 + ")"
	}
	return text
}

// request is what the case asks, as the policy and the configuration of an
// exchange would say it.
func (c *Case) request() consent.Request {
	q := &c.Request
	p := &policies.Policy{Name: "case", Standard: q.Standard, Recipient: q.Recipient, Purpose: q.Purpose, Basis: q.Basis, Agreement: c.agreement()}
	p.People = policies.People{
		General: c.ConsentRule.General, MostRecent: c.ConsentRule.Conflict == "most-recent", Part2: policies.DenyWithout, AcceptForms: c.ConsentRule.AcceptForms, Covered: q.Covered,
		RegistryOptOut: c.ClinicChoice.RegistryOptOut != "", Part2LeaveOut: c.ClinicChoice.Part2Program != "",
	}
	if m := c.ConsentRule.Minors; m != nil {
		p.People.Minors, p.People.MinorRules = m.Jurisdiction, m.rules()
	}
	for _, g := range c.Grounds {
		if g.Recipient == q.Recipient {
			p.People.Grounds = append(p.People.Grounds, policies.Part2Ground{Section: g.Section, Paper: g.Paper, From: dayOf(g.From), To: dayOf(g.To), ReviewBy: dayOf(g.ReviewBy)})
		}
	}
	if q.Relationship == "yes" || policies.Applies(q.Kind, q.Basis, q.Standard).Relationship {
		p.People.Roster = roster
	}
	req := consent.Request{
		Policy: p, RecipientKind: q.Kind, DecidedAt: c.DecidedAt, AsOf: dayOf(c.AsOf), Period: extract.NoSpan,
		Organizations: q.Identifiers, Others: c.Clinic.Others, Self: c.Clinic.Identifiers, LabelsComplete: c.Clinic.Labels != "partial",
		PsychotherapyNotes: c.Clinic.PsychotherapyNotes, SUDCounselingNotes: c.Clinic.SUDCounselingNotes,
	}
	if q.Period != nil {
		req.Period = extract.Span{From: dayOf(q.Period.From), To: dayOf(q.Period.To)}
	}
	return req
}

func (m *minors) rules() *policies.MinorRules {
	years := func(text string) int {
		n, _ := strconv.Atoi(text)
		return n
	}
	rule := policies.MinorRule{FromAge: years(m.FromAge), ToAge: years(m.ToAge), From: dayOf(m.From), To: dayOf(m.To), Both: m.Control == "both", Source: m.Source}
	for label := range strings.SplitSeq(m.Labels, ";") {
		rule.Labels = append(rule.Labels, strings.TrimSpace(label))
	}
	return &policies.MinorRules{Majority: cmp.Or(years(m.Majority), 18), Rules: []policies.MinorRule{rule}}
}

// agreement is that of the case, or one in force of the kind that the standard asks for.
func (c *Case) agreement() policies.Agreement {
	if a := c.Agreement; a != nil {
		return policies.Agreement{Kind: a.Kind, ID: a.ID, From: dayOf(a.From), To: dayOf(a.To), ReviewBy: dayOf(a.ReviewBy)}
	}
	today := extract.DayOf(c.DecidedAt)
	in := policies.Agreement{Kind: "provider-contract", ID: "case", From: today, To: today, ReviewBy: extract.NoDay}
	if c.Request.Standard == policies.LimitedDataSet {
		in.Kind = "dua"
	}
	return in
}

// dayOf is the day of a date, NoDay of one that is open or not written.
func dayOf(d strictyaml.Date) extract.Day {
	if d.IsZero() || d.Open {
		return extract.NoDay
	}
	return extract.DayOf(d.Time())
}
