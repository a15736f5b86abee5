package consent_test

import (
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/policies"
)

// minorRules are those of the policy: a case writes one of them flat.
func (s *situation) minorRules() (majority int, rules []row) {
	m, ok := s.consentRule["minors"].(map[string]any)
	if !ok {
		return 0, nil
	}
	if rules = rowsOf(m["rules"]); len(rules) == 0 {
		rules = []row{rowOf(m)}
	}
	if majority = number(text(m["majority"])); majority == 0 {
		majority = 18
	}
	return majority, rules
}

func number(written string) int {
	n, err := strconv.Atoi(written)
	if err != nil {
		return 0
	}
	return n
}

// controlled is the part of step 5 that belongs to minors: of each rule that is
// about the record, or may be, somebody has to have signed.
func (s *situation) controlled(o *opinion, r *record, patient string, grounds []said) {
	majority, rules := s.minorRules()
	if s.caredFor(r, patient) {
		return
	}
	own := slices.ContainsFunc(grounds, func(d said) bool { return strings.Contains(d.by, "patient") })
	guardians := slices.ContainsFunc(grounds, func(d said) bool { return strings.Contains(d.by, "guardian") })
	grown := len(s.births(patient)) > 0 && s.ofAge(patient, majority) == yes
	for _, rule := range rules {
		about := both(s.ageWithin(r, patient, number(rule["from_age"]), number(rule["to_age"])), within(r.date, rule["from"], rule["to"]))
		if both(about, s.meansLabels(rule["labels"], r)) == no {
			continue
		}
		if !own || rule["control"] == "both" && !guardians && !grown {
			o.because("minor-controls")
		}
	}
}

// births are all days on which a person may have been born, as written under
// any of the person's ids.
func (s *situation) births(person string) (all []string) {
	for _, p := range s.patients {
		if s.person(p["id"]) == person && p["birth_date"] != "" {
			all = append(all, p["birth_date"])
		}
	}
	return all
}

// ageWithin counts whole years on each day of service that the dates leave
// open. Who was born later than that, or nobody knows when, may be of any age.
// Two birth dates leave open every day between them.
func (s *situation) ageWithin(r *record, person string, from, to int) truth {
	born := s.births(person)
	if len(born) == 0 || r.date == "" {
		return doubt
	}
	first, last := bounds(r.date)
	youngest, oldest := max(0, years(latestOf(born), first)), years(earliestOf(born), last)
	switch {
	case oldest < 0: // served before birth
		return doubt
	case oldest < from || youngest > to:
		return no
	case youngest < from || oldest > to:
		return doubt
	}
	return yes
}

func earliestOf(dates []string) string {
	first := "9999"
	for _, date := range dates {
		first = min(first, earliest(date))
	}
	return first
}

func latestOf(dates []string) (last string) {
	for _, date := range dates {
		last = max(last, latest(date))
	}
	return last
}

// years counts birthdays; below zero is a day before the birth.
func years(birth, day string) int {
	if day < birth {
		return -1
	}
	n := number(day[:4]) - number(birth[:4])
	if day[4:] < birth[4:] {
		n--
	}
	return n
}

// ofAge is judged by the day of the decision.
func (s *situation) ofAge(person string, majority int) truth {
	born := s.births(person)
	if len(born) == 0 {
		return doubt
	}
	today := s.today()
	if youngest, oldest := years(latestOf(born), today), years(earliestOf(born), today); youngest >= majority {
		return yes
	} else if oldest >= majority || youngest < 0 {
		return doubt
	}
	return no
}

// outgrown: a permit that a guardian alone has signed is over from the day on
// which the patient comes of age, or may have; a denial is not.
func (s *situation) outgrown(d said, person string) said {
	if s.outgrownBy(d.by, person) && (d.answer == permits || d.answer == unsure && (d.lapsed == "" || d.lapsed == "expired")) {
		d.answer, d.lapsed = silent, "expired"
	}
	return d
}

func (s *situation) outgrownBy(signers, person string) bool {
	majority, rules := s.minorRules()
	return len(rules) > 0 && signers == "guardian" && s.ofAge(person, majority) != no
}

// unpermitted is a provision without the exceptions that permit: they are over,
// what they are exceptions to is not.
func unpermitted(p map[string]any, kind answer) map[string]any {
	var left []any
	for _, item := range listOf(p["provision"]) {
		inner := item.(map[string]any)
		if k := kindOf(inner, kind); k == denies || kind == permits {
			left = append(left, unpermitted(inner, k))
		}
	}
	return merged(p, map[string]any{"provision": left})
}

// caredFor: the guardian has consented to the care itself, and the patient has
// not, nor may have.
func (s *situation) caredFor(r *record, patient string) bool {
	guardians := false
	for _, paper := range s.papersOf(patient) {
		d := rowOf(paper)
		ended := d["ended_on"] != "" && d["ended_on"] <= s.today()
		if d["scope"] != "treatment" || d["decision"] != "permit" || d["status"] == "revoked" || d["status"] == "entered-in-error" || ended {
			continue
		}
		care := both(within(r.date, d["from"], d["to"]), s.meansLabels(d["categories"], r))
		if d["signed_by"] != "guardian" && care != no {
			return false
		}
		guardians = guardians || d["signed_by"] == "guardian" && care == yes
	}
	return guardians
}

// signersOf tells who has signed a Consent: the patient, a guardian, both.
func (s *situation) signersOf(c map[string]any) (by string) {
	for _, key := range []string{"performer", "grantor"} {
		for _, item := range listOf(c[key]) {
			kind, id, _ := strings.Cut(text(item.(map[string]any)["reference"]), "/")
			if kind == "Patient" && s.person(id) == s.person(whose(c)) && !strings.Contains(by, "patient") {
				by += "patient"
			}
			if kind == "RelatedPerson" && !strings.Contains(by, "guardian") {
				by += "guardian"
			}
		}
	}
	return by
}

// minorRulesOf are the same rules for the engine.
func minorRulesOf(s *situation) *policies.MinorRules {
	majority, rules := s.minorRules()
	if len(rules) == 0 {
		return nil
	}
	m := &policies.MinorRules{Majority: majority}
	for _, rule := range rules {
		m.Rules = append(m.Rules, policies.MinorRule{FromAge: number(rule["from_age"]), ToAge: number(rule["to_age"]), Labels: strings.Fields(strings.ReplaceAll(rule["labels"], ";", " ")),
			From: dayOf(rule["from"]).From, To: dayOf(rule["to"]).To, Both: rule["control"] == "both", Source: rule["source"]})
	}
	return m
}

// noteBirths is what the index pass finds in the Patients.
func (e *engine) noteBirths(s *situation) {
	for _, p := range s.patients {
		if p["birth_date"] != "" {
			e.tables.People.NoteBirth(e.tables.People.Intern([]byte(p["id"])), dayOf(p["birth_date"]))
		}
	}
}

// groundsOf are the other grounds under Part 2 that concern this recipient.
func groundsOf(s *situation) (all []policies.Part2Ground) {
	for _, g := range s.grounds {
		if g["recipient"] == text(s.request["recipient"]) {
			all = append(all, policies.Part2Ground{Section: g["section"], Paper: g["paper"], From: dayOf(g["from"]).From,
				To: dayOf(g["to"]).From, ReviewBy: dayOf(g["review_by"]).From})
		}
	}
	return all
}

// otherGround: an audit, research or service agreement of the officer, for whom
// and for what it may be one, on the day of the decision.
func (s *situation) otherGround() bool {
	kind := text(s.request["kind"])
	return slices.ContainsFunc(s.grounds, func(g row) bool {
		over := func(last string) bool { return last != "" && last < s.today() }
		if g["recipient"] != text(s.request["recipient"]) || g["from"] > s.today() || over(g["to"]) || over(g["review_by"]) {
			return false
		}
		switch g["section"] {
		case "2.12(c)(4)":
			return (kind == "vendor" || kind == "clearinghouse") && s.forPurpose("HOPERAT")
		case "2.52":
			return kind == "researcher" && s.forPurpose("HRESCH")
		}
		return (kind == "oversight" || kind == "health-plan") && (s.forPurpose("HOPERAT") || s.forPurpose("HPAYMT"))
	})
}

// forProceedings: a consent for legal proceedings names them and nothing else.
func forProceedings(paper map[string]any) bool {
	if paper["resourceType"] != nil {
		base, root, clear := baseOf(paper)
		return clear && permitsOnlyProceedings(root, base)
	}
	return onlyProceedings(strings.Split(text(paper["purpose"]), ";"))
}

func onlyProceedings(named []string) bool {
	return len(named) > 0 && !slices.ContainsFunc(named, func(code string) bool { return strings.TrimSpace(code) != "HLEGAL" })
}

// permitsOnlyProceedings: whatever is permitted, at whatever depth, is permitted
// for that purpose alone.
func permitsOnlyProceedings(p map[string]any, kind answer) bool {
	if kind == permits {
		var named []string
		for _, coding := range listOf(p["purpose"]) {
			named = append(named, text(coding.(map[string]any)["code"]))
		}
		return onlyProceedings(named)
	}
	return !slices.ContainsFunc(listOf(p["provision"]), func(item any) bool {
		inner := item.(map[string]any)
		return !permitsOnlyProceedings(inner, kindOf(inner, kind))
	})
}
