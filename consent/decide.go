// Package consent decides whether a record may leave: is the agreement in
// force, what did the patient restrict, is there a relationship, what did the
// patient decide. It loads what the clinic knows about that (directives,
// restrictions, rosters, Part 2 programs) and judges each record against it.
//
// It promises that no step is skipped because another has decided, so that
// every reason is reported; that what cannot be read, matched or understood
// keeps the record back; and that a decision is a function of its inputs and
// of the two clocks that the request carries. Deny beats permit.
//
// It follows 45 CFR 164.502–164.522, 42 CFR Part 2 and, for directives, FHIR
// R4 Consent in its own dialect and in that of IHE PCF.
package consent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// Request is what is asked of the decision, for all records of an exchange.
type Request struct {
	Policy        *policies.Policy
	RecipientKind string
	DecidedAt     time.Time   // judges directives, restrictions and the agreement; its location is the clinic's
	AsOf          extract.Day // fixes periods

	// Organizations are the names by which directives may mean the recipient:
	// names and numbers, references (Organization/id), identifiers
	// (system|value). The policy's own name of it is always among them.
	Organizations []string
	// Others are such names of everybody else the clinic knows. An actor in a
	// FHIR directive that is neither among these nor among Organizations cannot
	// be told apart from the recipient.
	Others []string
	// Self are such names of the clinic itself, as custodian.
	Self []string
	// Period is what a policy with covered: any-day-of-period asks about;
	// NoSpan asks about the day of service.
	Period extract.Span
	// LabelsComplete says that every record was labelled where it was made: one
	// without a sensitivity label is then not sensitive. Otherwise it may be.
	LabelsComplete bool
	// Classifier tells what records without labels are about; nil when the
	// clinic has declared none.
	Classifier *Classifier
	// Notes that Postern never sends, by the codes of their document types, beside
	// those of the Classifier.
	PsychotherapyNotes, SUDCounselingNotes []string
}

// Tables is what decisions are made from, as NewTables gives them. Encounters are
// nil until they are known, and where nothing is known of them any more.
type Tables struct {
	People       *People
	Merges       *Merges // settled before the others are loaded
	Directives   *Directives
	Restrictions *Restrictions
	Rosters      map[string]*Roster
	Programs     *Programs
	Encounters   *Encounters
	Parts        Parts
}

// NewTables gives empty tables about people whom nobody has named yet.
func NewTables() *Tables {
	people := NewPeople()
	return &Tables{People: people, Merges: NewMerges(people), Directives: NewDirectives(people), Restrictions: NewRestrictions(people),
		Programs: NewPrograms(), Rosters: map[string]*Roster{}}
}

// Decision is the answer about one record. No reason means that it may leave.
type Decision struct {
	Reasons  extract.ReasonSet
	Part2    bool    // under 42 CFR Part 2
	Subject  Subject // the first, NoSubject when it is not known
	Subjects int     // how many the record is about
	Relied   int     // 1 + the directive of the first subject that permits it, for Directives.Place; 0 when none was needed
}

// Decider answers for one request. It is safe for concurrent use and allocates
// nothing per decision.
type Decider struct {
	request Request
	tables  *Tables
	steps   policies.Steps
	rules   *policies.People
	minors  *policies.MinorRules // nil when the policy names none
	roster  *Roster
	never   Classifier // the notes that the request names

	standing extract.ReasonSet // of the agreement and the purpose: the same for all records
	today    extract.Day
	now      int64 // DecidedAt, Unix time
	civil    int64 // DecidedAt as the clinic's clock shows it
	listed   bool  // whether an opt-out of registries binds
	leave2   bool  // whether Part 2 records stay by the clinic's choice

	ground *policies.Part2Ground // that stands for consent under Part 2; nil: none does

	who      []match   // by Directives.who
	bears    []bearing // by Directives.provisions
	planned  []uint32  // by Directives.trees: index into plans
	plans    []plan
	accepted []bool  // by Directives.forms: attested for Part 2
	bound    []match // by Restrictions.list: in force and towards this recipient
}

// NewDecider prepares a request. It fails when the request can never be
// answered with yes: a disclosure that the table of steps does not know, or a
// roster that is not there.
func NewDecider(req Request, t *Tables) (*Decider, error) {
	p := req.Policy
	if p == nil || t == nil || req.DecidedAt.IsZero() {
		return nil, errors.New("a decision needs a policy, its people and a time")
	}
	d := &Decider{request: req, tables: t, rules: &p.People, steps: policies.Applies(req.RecipientKind, p.Basis, p.Standard)}
	if !policies.KnownRecipientKind(req.RecipientKind) {
		return nil, fmt.Errorf("recipient kind %q is not known; kinds are %s", req.RecipientKind, strings.Join(policies.RecipientKinds, ", "))
	}
	if !d.steps.Known() {
		return nil, fmt.Errorf("policy %s: a disclosure to a %s on basis %q in the form %s has no line in the table of steps; nothing may leave on it", p.Name, req.RecipientKind, p.Basis, p.Standard)
	}
	if d.steps.Relationship || p.People.Roster != "" {
		if d.roster = t.Rosters[p.People.Roster]; d.roster == nil {
			return nil, fmt.Errorf("policy %s: the roster %q is not loaded, and %s asks who is a member", p.Name, p.People.Roster, p.Basis)
		}
	}
	d.never = Classifier{psychotherapy: notesOf(req.PsychotherapyNotes), counseling: notesOf(req.SUDCounselingNotes)}
	at := req.DecidedAt
	hour, minute, second := at.Clock()
	d.today, d.now = extract.DayOf(at), at.Unix()
	d.civil = int64(d.today)*86400 + int64(hour*3600+minute*60+second)
	d.standing = d.agreement(&p.Agreement)
	if d.minors = p.People.MinorRules; d.minors == nil && p.People.Minors != "" {
		return nil, fmt.Errorf("policy %s: the rules for minors of %s are not loaded", p.Name, p.People.Minors)
	}
	d.listed = p.People.RegistryOptOut || req.RecipientKind == "registry" && d.steps.Consent
	d.leave2 = p.People.Part2LeaveOut || p.Output.Part2Rows == "leave-out"
	d.ground = p.Part2Ground(req.RecipientKind, d.today)
	d.settleDirectives()
	d.settleRestrictions()
	return d, nil
}

// agreement is step 1.
func (d *Decider) agreement(a *policies.Agreement) (r extract.ReasonSet) {
	switch {
	case a.Kind == "" || a.ID == "" || a.From == extract.NoDay || d.today < a.From,
		d.request.Policy.Standard == policies.LimitedDataSet && a.Kind != "dua": // 164.514(e)(4)
		r = r.With(extract.AgreementMissing)
	case a.To != extract.NoDay && d.today > a.To,
		a.To == extract.NoDay && (a.ReviewBy == extract.NoDay || d.today > a.ReviewBy):
		r = r.With(extract.AgreementLapsed)
	}
	within := func(wider string) bool { return policies.PurposeWithin(d.request.Policy.Purpose, wider) }
	if !policies.KnownPurpose(d.request.Policy.Purpose) || len(d.steps.Purposes) > 0 && !slices.ContainsFunc(d.steps.Purposes, within) {
		r = r.With(extract.PurposeNotPermitted)
	}
	return r
}

// Decide answers for one record.
func (d *Decider) Decide(f *extract.Facts) Decision {
	return d.decide(f, d.tables.underPart2(f))
}

// TellsRecordsApart tells whether it may withhold one record and not another,
// labels and document types aside.
func (d *Decider) TellsRecordsApart() bool {
	s := &d.steps
	return s.Consent || s.Part2 || s.Agreed || s.SelfPay || d.roster != nil || d.leave2 || d.listed && d.tables.Directives.Len() > 0
}

// DecideAgain answers for a record of the decision index, long after the index
// pass: whether it is under Part 2 is what was decided then. Where programs have
// been declared since, a record may be theirs unless the providers that it names
// tell otherwise: of its encounter nothing is known any more.
func (d *Decider) DecideAgain(f *extract.Facts, part2, declared bool) Decision {
	return d.decide(f, part2 || declared && d.tables.underPart2(f))
}

func (d *Decider) decide(f *extract.Facts, part2 bool) Decision {
	out := Decision{Reasons: d.standing | d.notes(f), Part2: part2, Subject: NoSubject, Subjects: len(f.Subjects)}
	if d.leave2 && part2 {
		out.Reasons = out.Reasons.With(extract.ClinicChoice)
	}
	if len(f.Subjects) == 0 && !policies.AboutNobody(f.Dataset) && (d.steps.Consent || d.steps.Part2) {
		out.Reasons = out.Reasons.With(extract.ConsentIndeterminate)
	}
	for i, id := range f.Subjects {
		s, known := d.tables.People.Find(id)
		if !known {
			out.Reasons |= d.unknown()
			continue
		}
		reasons, relied := d.person(s, f, part2)
		if out.Reasons |= reasons; i == 0 {
			out.Subject, out.Relied = s, relied
		}
	}
	return out
}

// notes is step 2: session notes, which are recognized by their label and by
// the document types and authors that the clinic names.
func (d *Decider) notes(f *extract.Facts) (r extract.ReasonSet) {
	r = d.never.notes(f) | d.request.Classifier.notes(f)
	for _, label := range f.Labels {
		if isLabel(label, "PSYTHPN") {
			r = r.With(extract.PsychotherapyNotes)
		}
	}
	return r
}

func contains[T ~[]byte](list []string, value T) bool {
	for _, s := range list {
		if s == string(value) {
			return true
		}
	}
	return false
}

// unknown is the answer about a person of whom nothing is known: neither that
// the person is a member nor what the person decided.
func (d *Decider) unknown() (r extract.ReasonSet) {
	if d.roster != nil {
		r = r.With(extract.NotAMember)
	}
	switch {
	case d.steps.Consent || d.steps.Part2:
		r = r.With(extract.ConsentIndeterminate)
	case d.rules.RegistryOptOut:
		r = r.With(extract.ClinicChoice)
	}
	return r
}

// person is steps 3 to 5 for one person.
func (d *Decider) person(s Subject, f *extract.Facts, part2 bool) (extract.ReasonSet, int) {
	reasons, relied := d.consent(s, f, part2)
	if _, open := d.tables.People.unsettled[s]; open && (d.steps.Consent || d.steps.Part2 || d.steps.Agreed || d.steps.SelfPay || d.rules.RegistryOptOut) {
		reasons = reasons.With(extract.MergeUnresolved)
	}
	return reasons | d.restrictions(s, f) | d.relationship(s, f), relied
}

// restrictions is step 3.
func (d *Decider) restrictions(s Subject, f *extract.Facts) (r extract.ReasonSet) {
	rs := d.tables.Restrictions
	for i := rs.heads.of(s); i != 0; i = rs.list[i-1].next {
		if d.bound[i-1] == no {
			continue
		}
		n := &rs.list[i-1]
		switch covers := min(d.bound[i-1], d.tables.Parts.covers(n, f)); {
		case covers == unsure:
			r = r.With(extract.RestrictionIndeterminate)
		case covers == yes && n.kind == selfPay:
			r = r.With(extract.RestrictionSelfPay)
		case covers == yes:
			r = r.With(extract.RestrictionAgreed)
		}
	}
	return r
}

// relationship is step 4. Where the law does not ask for it but the policy
// names a roster, the clinic is stricter.
func (d *Decider) relationship(s Subject, f *extract.Facts) (r extract.ReasonSet) {
	if d.roster == nil {
		return 0
	}
	if d.rules.Covered == "any-day-of-period" && d.request.Period.Known() {
		r = r.With(d.roster.covered(s, d.request.Period))
	} else {
		r = r.With(d.roster.covers(s, f.Date))
	}
	if r != 0 && !d.steps.Relationship {
		r = r.With(extract.ClinicChoice)
	}
	return r
}

// settleRestrictions finds the restrictions that are in force, of a kind that
// binds this disclosure, and towards this recipient.
func (d *Decider) settleRestrictions() {
	names := d.names()
	d.bound = make([]match, len(d.tables.Restrictions.list))
	for i := range d.bound {
		n := &d.tables.Restrictions.list[i]
		binds := d.steps.Agreed && n.kind != selfPay || d.steps.SelfPay && n.kind != agreed
		over := n.ended != extract.NoDay && n.ended <= d.today
		if d.bound[i] = no; binds && !over {
			d.bound[i] = n.concerns(names)
		}
	}
}

// names says of each name that the clinic knows, without case, whether it is
// the recipient's.
func (d *Decider) names() map[string]match {
	names := map[string]match{}
	for _, n := range slices.Concat(d.request.Others, d.request.Self) {
		names[fold(n)] = no
	}
	for _, n := range append([]string{d.request.Policy.Recipient}, d.request.Organizations...) {
		names[fold(n)] = yes
	}
	delete(names, "")
	return names
}

// meant tells whether a name means the recipient. One that the clinic does not
// know, misspelled perhaps, may.
func meant(names map[string]match, name string) match {
	if m, known := names[fold(name)]; known {
		return m
	}
	return unsure
}

func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }
