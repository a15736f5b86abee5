package policies

import (
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// saying notes a mistake at a key path, with what to do about it.
type saying func(path, hint, format string, args ...any)

// rules are what a standard asks of a policy as a whole, each once.
var rules = []struct {
	standards []Standard // nil: all
	ask       func(p *Policy, say saying)
}{
	{nil, (*Policy).standsOnBasis},
	{nil, (*Policy).saysWhatHoldsWithoutDirective},
	{nil, refuse(func(p *Policy) bool { return p.consentsToPart2() && p.Notices.Part2 == "" },
		"notices.part2", "name the file with the officer's notice, or write output: {part2_rows: leave-out}",
		"Part 2 records that leave with consent carry a notice (42 CFR 2.32)")},
	{nil, refuse(func(p *Policy) bool { return p.consentsToPart2() && p.Notices.ScopeOfConsent == "" },
		"notices.scope_of_consent", "write scope_of_consent: per-row, or output: {part2_rows: leave-out}",
		"Part 2 records that leave with consent carry the scope of that consent (42 CFR 2.32(b))")},
	{[]Standard{SafeHarbor}, refuse(func(p *Policy) bool { return p.Attest == nil },
		"attest.actual_knowledge", "add attest: actual_knowledge: {none_known: true, by: …, on: …, review_by: …}",
		"Safe Harbor needs the officer's dated statement that nothing else is known to identify a person (45 CFR 164.514(b)(2)(ii))")},
	{[]Standard{SafeHarbor}, refuse(func(p *Policy) bool { return p.Output.RowKey },
		"output.row_key", "remove row_key:", "a row key is another unique code of a record (45 CFR 164.514(b)(2)(i)(R))")},
	{[]Standard{SafeHarbor}, refuse(func(p *Policy) bool { return p.Output.Mode == Delta },
		"output.mode", "write mode: full", "a drop of changes tells when each record changed (45 CFR 164.514(b)(2)(i)(C))")},
	// An extract is mostly in order of time, and where a row stands among all then tells its date.
	{[]Standard{SafeHarbor, ExpertDetermination}, refuse(func(p *Policy) bool { return p.Output.Shuffle == "" },
		"output.shuffle", "add shuffle: people", "rows in the order of the extract tell when things happened (45 CFR 164.514(b)(2)(i)(C))")},
	{[]Standard{SafeHarbor, Aggregate}, (*Policy).tellsWholeYears},
	{[]Standard{SafeHarbor}, (*Policy).tellsOneYearBesideIntervals},
	{[]Standard{SafeHarbor, ExpertDetermination}, (*Policy).namesNoDay},
	{[]Standard{ExpertDetermination}, (*Policy).shiftsOnce},
	{[]Standard{LimitedDataSet, SafeHarbor, ExpertDetermination}, (*Policy).looksNothingUp},
	{[]Standard{ExpertDetermination, Aggregate}, (*Policy).isCertified},
	{[]Standard{Aggregate}, (*Policy).standsOnGround},
	{[]Standard{Aggregate}, (*Policy).hidesSmallCells},
}

// refuse is a rule that says one thing.
func refuse(wrong func(p *Policy) bool, path, hint, why string) func(*Policy, saying) {
	return func(p *Policy, say saying) {
		if wrong(p) {
			say(path, hint, "%s", why)
		}
	}
}

// keyOfStandards is a key that belongs to some policies only, and what is to be
// done where it stands in another.
type keyOfStandards struct {
	key       string
	belongs   func(p *Policy) bool
	why, hint string
}

var keysOfStandards = []keyOfStandards{
	{"attest", func(p *Policy) bool { return p.judgedBy() == SafeHarbor }, "an attestation of actual knowledge belongs to safe-harbor", "remove attest:"},
	{"certificate", func(p *Policy) bool { return p.judgedBy() == ExpertDetermination }, "a certificate belongs to expert-determination", "remove certificate:"},
	{"aggregate_ground", isAggregate, "a ground belongs to aggregate", "remove aggregate_ground:"},
	{"tables", isAggregate, "tables belong to aggregate", "remove tables:, or write standard: aggregate"},
	{"release", notAggregate, "aggregates let no rows out", "name what is counted under tables:"},
	{"cohort", notAggregate, "aggregates count by calendar year", "remove cohort:"},
	{"totals", notAggregate, "aggregates say their totals in the table, under the same rules as its cells", "remove totals:"},
	{"output.row_key", notAggregate, "a table has no rows of people", "remove row_key:"},
	{"people.relationship", func(p *Policy) bool { return isAggregate(p) || p.StaysProtected() }, notBinding, leavePeopleOut},
	{"people.consent", (*Policy).StaysProtected, notBinding, leavePeopleOut},
	{"notices", (*Policy).StaysProtected, notBinding, "remove it"},
	{"output.part2_rows", (*Policy).StaysProtected, notBinding, "remove it; a clinic may leave Part 2 records out under people.clinic_choice"},
}

const (
	notBinding     = "does not apply to de-identified data (45 CFR 164.502(d))"
	leavePeopleOut = "remove it; a clinic may leave people out under people.clinic_choice"
)

func isAggregate(p *Policy) bool  { return p.Standard == Aggregate }
func notAggregate(p *Policy) bool { return p.Standard != Aggregate }

// standard checks what the standard asks, and resolves FHIR paths, whose classes
// need no schema.
func (r *reading) standard() {
	p := r.policy
	if p.Standard == "" {
		return
	}
	for _, k := range keysOfStandards {
		r.must(k.belongs(p), k.key, k.hint, "%s", k.why)
	}
	if p.StaysProtected() && p.Output.Part2Rows == "" && !r.source.Has("output.part2_rows") {
		p.Output.Part2Rows = "own-file"
	}
	p.obey(r.add)
	for i := range p.Release {
		if resourceType(p.Release[i].Dataset) != nil {
			r.fhir(&p.Release[i])
		}
	}
}

// obey holds a policy against every rule of its standard.
func (p *Policy) obey(say saying) {
	for _, rule := range rules {
		if rule.standards == nil || slices.Contains(rule.standards, p.Standard) {
			rule.ask(p, say)
		}
	}
}

func (p *Policy) saysWhatHoldsWithoutDirective(say saying) {
	line := lineOf(p.Basis)
	if line != nil && line.Steps.Consent && p.StaysProtected() && p.People.General == "" && !p.source.Has("people.consent.general") { // what is wrong with it has been said
		say("people.consent.general", "add people: consent: general: {without_directive: permit} or deny",
			"a disclosure on %s asks what patients have decided (step 5), so the policy says what holds for those without a directive", p.Basis)
	}
}

// consentsToPart2 tells whether records under Part 2 may leave with consent.
func (p *Policy) consentsToPart2() bool { return p.ReleasesPart2() && len(p.People.AcceptForms) > 0 }

// looksNothingUp refuses roster columns: they hold the health plan's own numbers.
// Those of tables are judged by their classes.
func (p *Policy) looksNothingUp(say saying) {
	p.eachField(func(path string, f *Field) {
		if input, _, ok := strings.Cut(f.From, "."); ok && f.By == "" && p.isInput(input) {
			form := forms[p.Standard]
			say(path+".from", "remove the field; do: code gives the rows of one person a common code",
				"a look-up in a roster gives a member's own number (%s%s)", form.law, letterOf(form.names, extract.MemberNumber))
		}
	})
}

func (p *Policy) isInput(name string) bool {
	_, known := p.Inputs[name]
	return known || name != "" && name == p.People.Roster
}

func (p *Policy) eachField(visit func(path string, f *Field)) {
	for i := range p.Release {
		rel := &p.Release[i]
		path := strictyaml.Join("release", rel.Dataset) + ".fields"
		for j := range rel.Fields {
			visit(strictyaml.Join(path, rel.Fields[j].Name), &rel.Fields[j])
		}
	}
}

// isCertified asks for the expert's determination, all of it.
func (p *Policy) isCertified(say saying) {
	const path = "certificate"
	switch c := p.Certificate; {
	case p.judgedBy() != ExpertDetermination:
	case c == nil:
		say(path, "add certificate: {expert: …, on: …, method: …, conditions: […], expires: …}",
			"an expert's determination leaves by certificate only: who, when, by which method, under which conditions, until when (45 CFR 164.514(b)(1))")
	default:
		for key, missing := range map[string]bool{
			"expert": c.Expert == "", "method": c.Method == "", "conditions": len(c.Conditions) == 0,
			"on": c.On == extract.NoDay, "expires": c.Expires == extract.NoDay,
		} {
			if missing {
				say(strictyaml.Join(path, key), "take it from the certificate", "the certificate does not say its %s (45 CFR 164.514(b)(1))", key)
			}
		}
	}
}

// needed notes the protective inputs that a release cannot do without.
func (c *checking) needed(kinds map[string]bool) {
	need := func(kind, why string) {
		if !kinds[kind] {
			c.add("inputs", "add the input that holds the "+kind+", with max_age and shrink_limit", "%s, and no input of kind %s is named", why, kind)
		}
	}
	if c.StaysProtected() {
		need("consents", "a release of protected information reads consents and denials")
	}
	kind := c.env.Recipients[c.Recipient]
	if s := Applies(kind, c.Basis, c.Standard); c.StaysProtected() && kind == "health-plan" && (s.SelfPay || !s.Known()) {
		need("restrictions", "a patient who paid out of pocket may restrict what a health plan learns (45 CFR 164.522(a)(1)(vi))")
	}
	if c.People.RegistryOptOut {
		need("consents", "people.clinic_choice leaves out who opted out of registries")
	}
}
