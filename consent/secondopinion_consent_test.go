package consent_test

import (
	"slices"
	"strings"
	"time"
)

// underPart2 tells whether a program's patient is shown (42 CFR 2.11, 2.12):
// by the mark, by who provided it, by the encounter; what cannot be told is.
func (s *situation) underPart2(r *record) bool {
	if slices.Contains(r.labels, label42) {
		return true
	}
	if len(s.programs) == 0 {
		return false
	}
	held := s.heldByProgram(r)
	if r.encounter != "" {
		met := doubt
		for i := range s.encounters {
			if s.encounters[i].id == r.encounter {
				met = s.heldByProgram(&s.encounters[i])
			}
		}
		return met != no || held == yes
	}
	if held != doubt {
		return held == yes
	}
	return s.everMetProgram(r)
}

// everMetProgram settles a record that names nobody by all encounters of its
// patients together.
func (s *situation) everMetProgram(r *record) bool {
	for _, patient := range s.personsOf(r) {
		settled := false
		for i := range s.encounters {
			if e := &s.encounters[i]; slices.Contains(s.personsOf(e), patient) {
				if s.heldByProgram(e) != no {
					return true
				}
				settled = true
			}
		}
		if !settled {
			return true
		}
	}
	return false
}

func (s *situation) heldByProgram(r *record) truth {
	held := doubt
	for _, provider := range r.providers {
		if strings.HasPrefix(provider, "Organization/") {
			held = either(no, certainly(held == yes))
		}
		for _, p := range s.programs {
			name := strings.ToUpper(p["kind"][:1]) + p["kind"][1:] + "/" + p["id"]
			if p["kind"] == "column" {
				name = p["id"]
			}
			if provider == name && within(r.date, p["from"], p["to"]) != no {
				return yes
			}
		}
	}
	return held
}

// said is what one directive says to one record.
type said struct {
	answer  answer
	scope   string // general, part2, research, registry-opt-out, state
	lapsed  string // of a permit that does not ground: expired, revoked
	doubted bool   // a denial that only counts as matching
	form    string
	signed  bool
	on      string // the day it was signed
	source  string // the consent source it came from
	by      string // who signed it: patient, guardian, both one after the other, or it is not told
	legal   bool   // it is for legal proceedings and nothing else
}

// consented is step 5, without short cuts: every directive is asked.
func (s *situation) consented(o *opinion, r *record, patient string, steps binding) {
	if !steps.consent && !(steps.part2 && o.part2) {
		return
	}
	var ground, part2Ground, perhaps, expired, revoked bool
	var grounds []said
	after, heard := s.lastRevocation(o, r, patient), s.hearAll(r, patient)
	for _, d := range heard {
		o.answers[d.answer]++
		speaks := d.scope == "general" || d.scope == "state" || d.scope == "part2" && o.part2 ||
			d.scope == "research" && s.forPurpose("HRESCH")
		if d.scope == "registry-opt-out" || !speaks {
			continue
		}
		if d.answer == permits && after != "" && d.on <= after {
			continue // taken back since
		}
		if s.overtaken(d, heard) {
			continue
		}
		switch d.answer {
		case denies:
			o.denied(d)
		case unsure:
			perhaps = true
			if d.lapsed == "unreadable" || d.lapsed == "proposed" {
				o.because("consent-indeterminate")
			}
		case permits:
			attested := (d.scope == "general" || d.scope == "part2") && d.signed && slices.Contains(texts(s.consentRule["accept_forms"]), d.form) &&
				(d.legal || !s.forPurpose("HLEGAL"))
			ground, part2Ground = ground || d.scope != "state", part2Ground || attested
			if attested || d.scope != "state" && !(steps.part2 && o.part2) {
				grounds = append(grounds, d)
			}
		}
		expired, revoked = expired || d.lapsed == "expired", revoked || d.lapsed == "revoked"
	}
	s.weigh(o, steps, ground, part2Ground || s.otherGround(), perhaps, expired, revoked)
	if steps.consent || !s.otherGround() {
		s.controlled(o, r, patient, grounds)
	}
}

// lastRevocation is the latest day on which was signed what the patient has
// taken back: what he permitted up to then went with it, a later permit did not.
func (s *situation) lastRevocation(o *opinion, r *record, patient string) (last string) {
	for _, d := range s.hearAll(r, patient) {
		if d.lapsed != "revoked" || d.scope == "part2" && !o.part2 || d.scope == "research" && !s.forPurpose("HRESCH") || d.scope == "registry-opt-out" || d.scope == "treatment" {
			continue
		}
		if d.on == "" {
			return "9999-99-99"
		}
		last = max(last, d.on)
	}
	return last
}

// denied: a deny whose criterion cannot be evaluated counts as matching, and
// the doubt is said beside it.
func (o *opinion) denied(d said) {
	reason := "consent-denied"
	if d.scope == "state" {
		reason = "state-law-consent"
	}
	o.because(reason)
	if d.doubted {
		o.because("consent-indeterminate")
	}
}

// weigh says what is missing. A patient who took a permit back has decided,
// whatever holds for those who have said nothing; one whose permit ran out
// stands as if silent.
func (s *situation) weigh(o *opinion, steps binding, ground, part2Ground, perhaps, expired, revoked bool) {
	general := steps.consent && (steps.authorization || text(s.consentRule["general"]) == "deny")
	part2 := steps.part2 && o.part2
	lacks := general && !ground || part2 && !part2Ground
	if part2 && !part2Ground {
		o.because("part2-no-consent")
	}
	if revoked && !ground {
		o.because("consent-revoked")
	}
	if lacks && expired {
		o.because("consent-expired")
	}
	if lacks && perhaps {
		o.because("consent-indeterminate")
	}
	explained := expired || revoked || perhaps || o.said["consent-denied"] || o.said["state-law-consent"]
	if general && !ground && !explained {
		o.because("consent-missing")
	}
}

// optedOut: towards a registry where consent binds it is the patient's
// decision; where it does not bind, the clinic may choose to honour it.
func (s *situation) optedOut(o *opinion, r *record, patient string, steps binding) {
	chosen := text(s.choice["registry_opt_out"]) == "leave-out"
	patients := steps.consent && text(s.request["kind"]) == "registry"
	if !chosen && !patients {
		return
	}
	for _, paper := range s.papersOf(patient) {
		d := s.hear(paper, r)
		unbound := chosen && !steps.consent && !(steps.part2 && o.part2)
		if unbound && (d.lapsed == "proposed" || d.lapsed == "revoked") && d.scope == "research" && s.forPurpose("HRESCH") {
			o.because("clinic-choice")
		}
		if unbound && (d.lapsed == "unreadable" || d.answer == denies && (d.scope == "research" && s.forPurpose("HRESCH") || d.scope == "general" && s.speaksOf(paper))) {
			o.because("clinic-choice") // it is, or may be, the opt-out that the clinic has promised to honour
		}
		if d.scope != "registry-opt-out" || d.answer != denies {
			continue
		}
		if patients {
			o.because("consent-denied")
		} else {
			o.because("clinic-choice")
		}
		if d.doubted {
			o.because("consent-indeterminate")
		}
	}
}

// speaksOf tells whether a denial names a recipient or a purpose: outside
// of our own registry there is no other word for an opt-out.
func (s *situation) speaksOf(paper map[string]any) bool {
	if paper["resourceType"] == nil {
		d := rowOf(paper)
		return d["scope"] == "general" && (d["recipient"] != "" || d["purpose"] != "")
	}
	base, root, _ := baseOf(paper)
	return s.denialNames(root, base)
}

func (s *situation) denialNames(p map[string]any, kind answer) bool {
	for _, item := range listOf(p["actor"]) {
		if kind == denies && s.actorMet(item.(map[string]any)) != no {
			return true
		}
	}
	for _, reference := range listOf(p["grantee"]) {
		if kind == denies && s.actorMet(map[string]any{"reference": reference}) != no {
			return true
		}
	}
	if kind == denies && len(listOf(p["purpose"])) > 0 {
		return true
	}
	return slices.ContainsFunc(listOf(p["provision"]), func(inner any) bool {
		return s.denialNames(inner.(map[string]any), kindOf(inner.(map[string]any), kind))
	})
}

func (s *situation) hearAll(r *record, patient string) (all []said) {
	for _, paper := range s.papersOf(patient) {
		d := s.hear(paper, r)
		if d.source, d.by = "registry", text(paper["signed_by"]); paper["resourceType"] != nil {
			d.source, d.by = "fhir", s.signersOf(paper)
		}
		d.legal = forProceedings(paper)
		all = append(all, s.outgrown(d, patient))
	}
	return all
}

// overtaken: where the policy lets the most recent decide, a denial falls to a
// later permit of its scope and source, unless something of them that says no,
// or says nothing clear, is as new as that permit.
func (s *situation) overtaken(denial said, all []said) bool {
	if denial.answer != denies && denial.lapsed != "proposed" || denial.on == "" || text(s.consentRule["conflict"]) != "most-recent" || denial.scope == "state" {
		return false
	}
	var kin []said
	for _, d := range all {
		if d.scope == denial.scope && d.source == denial.source {
			kin = append(kin, d)
		}
	}
	return slices.ContainsFunc(kin, func(permit said) bool {
		return permit.answer == permits && permit.on > denial.on && !slices.ContainsFunc(kin, func(d said) bool {
			return (d.answer == denies || d.answer == unsure) && (d.on == "" || d.on >= permit.on)
		})
	})
}

func (s *situation) linked(o *opinion, patient string, steps binding) {
	steps.consent = steps.consent || text(s.choice["registry_opt_out"]) == "leave-out"
	if s.unresolved(patient) && (steps.consent || steps.part2) {
		o.because("merge-unresolved")
	}
}

// papersOf are a patient's directives, in the order in which they came.
func (s *situation) papersOf(patient string) []map[string]any {
	if s.byPatient == nil {
		s.byPatient = map[string][]map[string]any{}
		for _, paper := range s.directives {
			whose := s.person(whose(paper))
			s.byPatient[whose] = append(s.byPatient[whose], paper)
		}
	}
	return s.byPatient[patient]
}

// hear asks one directive about one record of its patient.
func (s *situation) hear(paper map[string]any, r *record) said {
	if paper["resourceType"] != nil {
		return s.hearConsent(paper, r)
	}
	d := rowOf(paper)
	if garbled(d) {
		return unreadable()
	}
	heard := said{scope: d["scope"], form: d["form"], on: d["signed_on"], signed: d["signed_on"] != "" && d["signed_on"] <= s.today()}
	match := both(s.meansRecipient(d["recipient"]), both(s.meansPurpose(d["purpose"]), s.meansLabels(d["categories"], r)))
	if d["decision"] == "permit" && d["signed_on"] > s.today() {
		match = both(match, doubt)
	}
	if match == no || d["status"] == "entered-in-error" && d["decision"] == "permit" || d["from"] > s.today() {
		return heard
	}
	ended := d["ended_on"] != "" && d["ended_on"] <= s.today()
	past := d["to"] != "" && d["to"] < s.today()
	if d["decision"] == "deny" {
		if !ended && !past {
			heard.answer, heard.doubted = denies, match == doubt
		}
		return heard
	}
	switch {
	case d["status"] == "revoked" || ended:
		heard.lapsed = "revoked"
	case d["status"] == "expired" || past:
		if match == yes || d["status"] == "expired" {
			heard.lapsed = "expired"
		}
	case match == yes:
		heard.answer = permits
	default:
		heard.answer = unsure
	}
	return heard
}

// garbled is a row that nobody can understand: a word or a day that is none, an
// end that is told by half, a denial of which the status alone says that it is
// over.
func garbled(d row) bool {
	if noDay(d["from"], d["to"], d["signed_on"], d["ended_on"]) || (d["ended_on"] == "") != (d["ended_by"] == "") || d["from"] != "" && d["to"] != "" && d["from"] > d["to"] {
		return true
	}
	if d["decision"] == "deny" && d["ended_on"] == "" && (d["status"] == "revoked" || d["status"] == "entered-in-error" || d["status"] == "expired" && d["to"] == "") {
		return true
	}
	scopes := []string{"general", "part2", "research", "registry-opt-out", "state", "treatment"}
	return !slices.Contains(scopes, d["scope"]) || !slices.Contains([]string{"permit", "deny"}, d["decision"]) ||
		!slices.Contains([]string{"active", "revoked", "expired", "entered-in-error"}, d["status"]) || !slices.Contains([]string{"", "patient", "guardian"}, d["signed_by"])
}

func noDay(written ...string) bool {
	return slices.ContainsFunc(written, func(day string) bool {
		_, err := time.Parse("2006-01-02", day)
		return day != "" && err != nil
	})
}

func (s *situation) forPurpose(wide string) bool {
	return purposeWithin(text(s.request["purpose"]), wide)
}

// meansPurpose: a directive for a wider purpose holds for this one; one for a
// part of it may.
func (s *situation) meansPurpose(codes string) truth {
	if codes == "" {
		return yes
	}
	meant := no
	for _, code := range strings.Split(strings.ReplaceAll(codes, "TPO", "TREAT;HPAYMT;HOPERAT"), ";") {
		meant = either(meant, s.isPurpose(strings.TrimSpace(code)))
	}
	return meant
}

func (s *situation) isPurpose(code string) truth {
	switch asked := text(s.request["purpose"]); {
	case purposeWithin(asked, code):
		return yes
	case purposeWithin(code, asked):
		return doubt
	}
	return no
}

// purposeAbove are the few branches of PurposeOfUse that the suite uses.
var purposeAbove = map[string]string{"HQUALIMP": "HOPERAT", "HOUTCOMS": "HOPERAT", "HDM": "HOPERAT", "HLEGAL": "HOPERAT", "CLMATTCH": "HPAYMT",
	"COC": "TREAT", "ETREAT": "TREAT", "BTG": "ETREAT", "CLINTRCH": "HRESCH", "DISASTER": "PUBHLTH", "PERFMSR": "HOPERAT", "CAREMGT": "HOPERAT"}

func purposeWithin(code, wide string) bool {
	return code == wide || purposeAbove[code] != "" && purposeWithin(purposeAbove[code], wide)
}

// meansLabels: a record that bears none of the labels is not sensitive where
// all were classified, and may be where not.
func (s *situation) meansLabels(categories string, r *record) truth {
	if categories == "" {
		return yes
	}
	meant := no
	for _, label := range strings.Split(categories, ";") {
		meant = either(meant, s.bears(strings.TrimSpace(label), r))
	}
	return meant
}

// labelsAbove: what is about opioids, about alcohol or from a Part 2 program is
// about substance use, and so about behavioural health.
var labelsAbove = map[string][]string{"OPIOIDUD": {"SUD", "ETH", "BH"}, "ETHUD": {"SUD", "ETH", "BH"}, label42: {"SUD", "BH"}, "SUD": {"BH"}, "PSY": {"BH"}}

const label42 = "42CFRPart2"

func (s *situation) bears(label string, r *record) truth {
	sensitive, perhaps := false, no
	for _, have := range r.labels {
		if isUnder(have, label) {
			return yes
		}
		if have == label42 {
			have = "SUD"
		}
		perhaps = either(perhaps, both(doubt, certainly(isUnder(label, have)))) // which of those under it, it does not say
		sensitive = sensitive || !slices.Contains(confidentiality, have)
	}
	if s.clinic["classifier"] != nil {
		return either(perhaps, s.classified(label, r))
	}
	if !sensitive && text(s.clinic["labels"]) == "partial" {
		return doubt
	}
	return perhaps
}

func isUnder(label, wide string) bool {
	return label == wide || slices.Contains(labelsAbove[label], wide)
}
