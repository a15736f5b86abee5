package consent_test

import (
	"slices"
	"strings"
	"time"
)

// The second opinion decides as a patient clerk would who has the design, the
// law and all papers on one desk: for every record it goes through every paper
// from the first to the last. It shares no code with the engine.

// answer is four-valued; truth is what a criterion can be.
type answer int

const (
	silent answer = iota // not applicable
	permits
	denies
	unsure
)

var answerNames = []string{"not-applicable", "permit", "deny", "indeterminate"}

type truth int

const (
	no truth = iota
	doubt
	yes
)

func both(a, b truth) truth   { return min(a, b) }
func either(a, b truth) truth { return max(a, b) }

func certainly(is bool) truth {
	if is {
		return yes
	}
	return no
}

// opinion is what the clerk says about one record.
type opinion struct {
	reasons map[string]bool
	effect  string
	part2   bool
	said    map[string]bool // reasons of the patient who is being asked about
	answers [4]int          // of the directives that were looked at, each for itself
}

func (o *opinion) because(reason string) {
	o.reasons[reason] = true
	if o.said != nil {
		o.said[reason] = true
	}
}

// today is the civil day of the decision, in the zone that it is written in.
func (s *situation) today() string { return s.decidedAt[:len("2026-07-05")] }

func (s *situation) opinionOn(r *record) *opinion {
	o := &opinion{reasons: map[string]bool{}}
	steps := stepsFor(text(s.request["kind"]), text(s.request["basis"]), text(s.request["standard"]))
	o.part2 = s.underPart2(r)
	s.papers(o, steps)
	s.sessionNotes(o, r)
	for _, patient := range s.personsOf(r) {
		o.said = map[string]bool{}
		s.restricted(o, r, patient, steps)
		s.related(o, r, patient)
		s.optedOut(o, r, patient, steps)
		s.consented(o, r, patient, steps)
		s.linked(o, patient, steps)
	}
	if len(r.subjects) == 0 && !slices.Contains(aboutNobody, r.dataset) && (steps.consent || steps.part2 && o.part2) {
		o.because("consent-indeterminate") // whose consent to ask for cannot be told
	}
	if o.part2 && text(s.choice["part2_program"]) == "leave-out" {
		o.because("clinic-choice")
	}
	o.effect = effectOf(o.names())
	asked := steps.selfPay || steps.agreed || steps.consent || steps.part2 || asksRelationship(s) || len(s.choice) > 0 // the law or the clinic
	if o.effect == "permit" && (!asked || len(r.subjects) == 0) {
		o.effect = "not-applicable"
	}
	return o
}

// aboutNobody are the resources of the suite that concern no patient.
var aboutNobody = []string{"Organization", "Practitioner", "Location"}

func (o *opinion) names() (all []string) {
	for name := range o.reasons {
		all = append(all, name)
	}
	return all
}

// binding says which steps bind a disclosure.
type binding struct {
	selfPay, agreed, consent, authorization, part2 bool
	purposes                                       string
}

// stepsFor is the applicability of the steps, from the law: 164.502(d) for
// what identifies nobody; 164.522(a)(1)(v) and 164.512 for what the patient
// cannot restrict; Part 2 binds all that is identified.
func stepsFor(kind, basis, standard string) binding {
	paragraph := strings.TrimPrefix(basis, "45 CFR ")
	plan := kind == "health-plan"
	switch paragraph {
	case "164.502(d)":
		return binding{}
	case "164.506(c)(2)":
		return binding{agreed: true, consent: true, part2: true, purposes: "TREAT"}
	case "164.512(a)", "164.512(d)":
		return binding{part2: true}
	case "164.512(b)":
		return binding{part2: true, purposes: "PUBHLTH"}
	case "164.508":
		return binding{selfPay: plan, agreed: true, consent: true, authorization: true, part2: true}
	}
	purposes := map[string]string{"164.506(c)(1)": "TREAT HPAYMT HOPERAT", "164.506(c)(3)": "HPAYMT", "164.506(c)(4)": "HOPERAT",
		"164.506(c)(5)": "HOPERAT", "164.514(e)": "HRESCH PUBHLTH HOPERAT"}[paragraph]
	return binding{selfPay: plan, agreed: true, consent: true, part2: true, purposes: purposes}
}

// papers is step 1: the agreement in force on the day of the decision, and a
// purpose that the basis covers.
func (s *situation) papers(o *opinion, steps binding) {
	if a := s.agreement; a != nil {
		limited := text(s.request["standard"]) == "limited-data-set"
		last := a["to"]
		if last == "open" || last == "" {
			last = a["review_by"]
		}
		switch {
		case a["kind"] == "" || limited && a["kind"] != "dua" || a["from"] > s.today():
			o.because("agreement-missing")
		case last < s.today():
			o.because("agreement-lapsed")
		}
	} // none written: one in force, as the standard asks for it
	if steps.purposes == "" {
		return
	}
	for _, wide := range strings.Fields(steps.purposes) {
		if purposeWithin(text(s.request["purpose"]), wide) {
			return
		}
	}
	o.because("purpose-not-permitted")
}

// sessionNotes is step 2. A document whose type nobody wrote down may be one.
func (s *situation) sessionNotes(o *opinion, r *record) {
	document := slices.Contains([]string{"DocumentReference", "Composition", "DocumentManifest"}, r.dataset)
	untyped := len(r.codes) == 0 && document
	for key, reason := range map[string]string{"psychotherapy_notes": "psychotherapy-notes", "sud_counseling_notes": "sud-counseling-notes"} {
		never := texts(s.clinic[key])
		if document && slices.ContainsFunc(texts(s.clinic[key+"_authors"]), func(a string) bool { return slices.Contains(r.providers, a) }) {
			o.because(reason)
		}
		for _, code := range r.codes {
			if slices.Contains(never, code) {
				o.because(reason)
			}
		}
		if untyped && len(never)+len(texts(s.clinic[key+"_authors"])) > 0 {
			o.because(reason)
		}
	}
	if slices.Contains(r.labels, "PSYTHPN") {
		o.because("psychotherapy-notes")
	}
}

// restricted is step 3: 164.522(a), row by row.
func (s *situation) restricted(o *opinion, r *record, patient string, steps binding) {
	for _, paper := range s.restrictions {
		binds := paper["kind"] == "self-pay" && steps.selfPay || paper["kind"] == "agreed" && steps.agreed
		ended := paper["ended_on"] != "" && paper["ended_by"] != "" && paper["ended_on"] <= s.today()
		towards := both(s.meansRecipient(paper["recipient"]), s.meansRecipient(paper["plan"]))
		garbled := garbledRestriction(paper)
		if garbled && paper["kind"] != "self-pay" && paper["kind"] != "agreed" {
			binds = steps.selfPay || steps.agreed
		}
		if s.person(paper["subject"]) != patient || !binds || ended && !garbled {
			continue
		}
		if garbled {
			o.because("restriction-indeterminate")
			continue
		}
		match := both(towards, both(sameEncounter(paper, r), sameService(paper, r)))
		switch both(match, within(r.date, paper["from"], paper["to"])) {
		case yes:
			o.because("restriction-" + paper["kind"])
		case doubt:
			o.because("restriction-indeterminate")
		}
	}
}

// garbledRestriction is a row that nobody can understand. A column that has
// moved may have put another one into the wrong place, too.
func garbledRestriction(paper row) bool {
	return noDay(paper["from"], paper["to"], paper["ended_on"]) || (paper["ended_on"] == "") != (paper["ended_by"] == "") ||
		paper["kind"] != "self-pay" && paper["kind"] != "agreed"
}

func sameEncounter(paper row, r *record) truth {
	if paper["encounter"] == "" {
		return yes
	}
	if r.encounter == "" {
		return doubt
	}
	return certainly(paper["encounter"] == r.encounter)
}

func sameService(paper row, r *record) truth {
	if paper["service"] == "" {
		return yes
	}
	if len(r.codes) == 0 {
		return doubt
	}
	return certainly(slices.Contains(r.codes, paper["service"]))
}

// within asks whether a day, month or year of service lies in a range: wholly,
// not at all, or nobody can tell.
func within(date, from, to string) truth {
	if from == "" && to == "" {
		return yes
	}
	if date == "" {
		return doubt
	}
	first, last := bounds(date)
	if to != "" && first > latest(to) || from != "" && last < earliest(from) {
		return no
	}
	if (from == "" || first >= earliest(from)) && (to == "" || last <= latest(to)) {
		return yes
	}
	return doubt
}

func earliest(date string) string { first, _ := bounds(date); return first }
func latest(date string) string   { _, last := bounds(date); return last }

// bounds are the first and the last day that a date may mean.
func bounds(date string) (first, last string) {
	switch len(date) {
	case 4:
		return date + "-01-01", date + "-12-31"
	case 7:
		month, err := time.Parse("2006-01", date)
		if err != nil {
			return "", ""
		}
		return date + "-01", month.AddDate(0, 1, -1).Format("2006-01-02")
	}
	return date[:10], date[:10]
}

// meansRecipient asks whether a name stands for the recipient; no name stands
// for anyone, and a name that nobody knows may stand for the recipient.
func (s *situation) meansRecipient(names string) truth {
	if names == "" {
		return yes
	}
	meant := no
	for _, name := range strings.Split(names, ";") {
		meant = either(meant, s.isRecipient(strings.TrimSpace(name)))
	}
	return meant
}

func (s *situation) isRecipient(name string) truth {
	if name == text(s.request["recipient"]) || slices.Contains(texts(s.request["identifiers"]), name) {
		return yes
	}
	if slices.Contains(texts(s.clinic["others"]), name) || slices.Contains(texts(s.clinic["identifiers"]), name) {
		return no
	}
	return doubt
}

// related is step 4: 164.506(c)(4), day by day of what the date may mean.
func (s *situation) related(o *opinion, r *record, patient string) {
	if !asksRelationship(s) {
		return
	}
	var own, perhaps []row
	for _, member := range s.members {
		if s.person(member["subject"]) == patient {
			switch s.shows(member) {
			case yes:
				own = append(own, member)
			case doubt:
				perhaps = append(perhaps, member)
			}
		}
	}
	period := rowOf(s.request["period"])
	first, last, anyDay := period["from"], period["to"], text(s.request["covered"]) == "any-day-of-period"
	if !anyDay {
		if r.date == "" {
			s.noMember(o, "not-a-member")
			return
		}
		first, last = bounds(r.date)
	}
	ids, maybe := idsIn(own, first, last), idsIn(perhaps, first, last)
	switch {
	case len(ids) == 0 && len(maybe) > 0:
		s.noMember(o, "member-ambiguous")
	case len(ids) == 0:
		s.noMember(o, "not-a-member")
	case s.sharedMember(patient, ids) || contradicted(own):
		s.noMember(o, "member-ambiguous")
	case !anyDay && !everyDay(own, first, last) && len(maybe) > 0:
		s.noMember(o, "member-ambiguous")
	case !anyDay && !everyDay(own, first, last):
		s.noMember(o, "not-a-member")
	}
}

// shows tells whether a row makes a member: a Coverage may be void, paid by
// somebody else, or leave that open.
func (s *situation) shows(member row) truth {
	if s.rosterKind != "fhir-coverage" {
		return yes
	}
	if member["status"] == "cancelled" || member["status"] == "entered-in-error" {
		return no
	}
	paid := s.isRecipient(member["payor"])
	if member["status"] != "active" || member["modified"] != "" {
		return both(paid, doubt)
	}
	return paid
}

// noMember: where the law does not ask for it, the clinic's choice does.
func (s *situation) noMember(o *opinion, reason string) {
	o.because(reason)
	if text(s.request["basis"]) != "45 CFR 164.506(c)(4)" {
		o.because("clinic-choice")
	}
}

func holdsOn(member row, day string) bool {
	return member["from"] <= day && (member["to"] == "" || day <= member["to"])
}

func idsIn(own []row, first, last string) map[string]bool {
	ids := map[string]bool{}
	for _, member := range own {
		if member["from"] <= last && (member["to"] == "" || first <= member["to"]) {
			ids[member["member_id"]] = true
		}
	}
	return ids
}

func everyDay(own []row, first, last string) bool {
	for day := first; day <= last; day = following(day) {
		if !slices.ContainsFunc(own, func(member row) bool { return holdsOn(member, day) }) {
			return false
		}
	}
	return true
}

func following(day string) string {
	at, err := time.Parse("2006-01-02", day)
	if err != nil {
		return "9999-99-99"
	}
	return at.AddDate(0, 0, 1).Format("2006-01-02")
}

// sharedMember: one id for two people, on whatever days. A row in doubt takes
// nothing from one that can be told.
func (s *situation) sharedMember(patient string, ids map[string]bool) bool {
	return slices.ContainsFunc(s.members, func(other row) bool {
		return other["member_id"] != "" && ids[other["member_id"]] && s.shows(other) == yes && s.person(other["subject"]) != patient
	})
}

// contradicted: a roster that on one day gives a person two ids does not know
// whom it means.
func contradicted(own []row) bool {
	for _, a := range own {
		for _, b := range own {
			if a["member_id"] != b["member_id"] && holdsOn(a, b["from"]) {
				return true
			}
		}
	}
	return false
}
