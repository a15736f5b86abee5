package explain

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/policies"
)

// inShort says who gets what, why and under which law.
func (e *explaining) inShort() {
	e.section("In short")
	who := e.text("recipient", e.Recipient)
	if words := kindWords[e.kind]; words != "" {
		who += ", " + words + ","
	}
	e.say(who+" receives "+standardWords[e.Standard]+".", "recipient", "standard")
	e.say("The purpose is "+purposeWords(e.Purpose)+".", "purpose")
	e.say("The reason: "+sentence(e.Because), "because")
	e.say("The law that allows it is "+e.Basis+": "+basisWords[policies.Section(e.Basis)]+".", "basis")
	e.agreement()
	e.ground()
	if a := e.Attest; a != nil {
		const at = "attest.actual_knowledge"
		e.say(fmt.Sprintf("On %s, %s stated that nothing else is known by which what is left could show who a person is (45 CFR 164.514(b)(2)(ii)).",
			e.day(at+".on", a.On), e.text(at+".by", a.By)), at+".by", at+".on", at+".none_known")
	}
}

func (e *explaining) agreement() {
	a := &e.Agreement
	text := fmt.Sprintf("It rests on %s %s, in force from %s", agreementWords[a.Kind], e.text("agreement.id", a.ID), e.day("agreement.from", a.From))
	if e.endless() {
		text += ", with no end"
	} else {
		text += " to " + e.day("agreement.to", a.To)
	}
	if a.ReviewBy != extract.NoDay {
		text += ", to be reviewed by " + e.day("agreement.review_by", a.ReviewBy)
	}
	e.say(text+".", "agreement.kind", "agreement.id", "agreement.from", "agreement.to", "agreement.review_by")
}

// endless tells whether the agreement has no end; one whose end is still to be
// filled in will have.
func (e *explaining) endless() bool {
	return e.Agreement.To == extract.NoDay && !e.IsOpen("agreement.to")
}

// ground says what lets a release leave that is not identified and not of Safe
// Harbor: an expert's certificate, or what makes counts harmless.
func (e *explaining) ground() {
	if e.Ground != "" {
		e.say("Counts may leave because "+aggregateWords[e.Ground]+".", "aggregate_ground")
	}
	c := e.Certificate
	if c == nil {
		return
	}
	e.say(fmt.Sprintf("On %s, %s determined that the risk of recognizing a person is very small (45 CFR 164.514(b)(1)), by this method: %s",
		e.day("certificate.on", c.On), c.Expert, sentence(c.Method)), "certificate.expert", "certificate.on", "certificate.method")
	if c.FineDates {
		e.say("The expert allows times that are told more finely than the dates are shifted.", "certificate.fine_dates")
	}
	for i, text := range c.Conditions {
		e.item("The expert's condition: "+sentence(text), fmt.Sprintf("certificate.conditions[%d]", i))
	}
}

// whose says about whom records may leave.
func (e *explaining) whose() {
	e.section("Whose records")
	if e.People.Roster == "" && e.Cohort == nil && !e.steps.Consent {
		e.say("Those of all our patients.", "standard", "basis")
	}
	e.relationship()
	e.cohort()
	e.consent()
	e.part2()
	e.choices()
}

func (e *explaining) relationship() {
	const at = "people.relationship"
	if e.People.Roster == "" {
		return
	}
	when := "on the day of the service"
	if e.People.Covered == "any-day-of-period" {
		when = "on any day of the period"
	}
	e.say(fmt.Sprintf("Only those of people whom the list %s shows as covered %s.", e.People.Roster, when), at+".roster", at+".covered")
	if e.steps.Relationship {
		e.say("The law asks for this relationship (45 CFR 164.506(c)(4)).", "basis")
	} else {
		e.say("This is our own choice; the law does not ask for it.", "basis", at+".roster")
	}
	switch e.People.IfAmbiguous {
	case "withhold":
		e.say("Where the list leaves open which person is meant, the record is withheld.", at+".if_ambiguous")
	case "leave-out":
		e.say("Where the list leaves open which person is meant, the person is left out.", at+".if_ambiguous")
	}
}

func (e *explaining) cohort() {
	c := e.Cohort
	if c == nil {
		return
	}
	year := "in " + c.IndexYear
	if c.IndexYear == "last-closed" {
		year = "in the latest calendar year whose people have all been followed to the end"
	}
	e.say(fmt.Sprintf("A closed group of people: those whose first record of %s (its day is their index date) lies %s.", c.Dataset, year), "cohort.index", "cohort.index_year")
	e.say(fmt.Sprintf("Each is followed for %s from the index date.", weeks(c.FollowDays)), "cohort.follow")
	e.say("Nothing leaves before that time is over for the last of them.", "cohort.release_after")
}

// consent says what holds for a patient who has decided nothing.
func (e *explaining) consent() {
	const at = "people.consent.general.without_directive"
	switch {
	case !e.steps.Consent && e.Written(at):
		e.say("Whether a patient has decided anything makes no difference here.", at, "basis")
	case !e.steps.Consent:
	case e.IsOpen(at):
		e.say("Whether a patient who has decided nothing is included is still to be filled in.", at)
	case e.steps.Authorization:
		e.say("Only those of patients who have authorized it (45 CFR 164.508).", at, "basis")
	case e.People.General == policies.PermitWithout:
		e.say("A patient who has decided nothing is included.", at)
	default:
		e.say("Only those of patients who have consented.", at, "standard")
	}
	e.conflict()
	e.unsure("people.consent.general", "what a patient decided")
	if e.People.Minors != "" {
		const at = "people.consent.minors.rules"
		e.say(fmt.Sprintf("What a minor controls under the rules of %s is withheld.", jurisdiction(e.People.Minors)), at)
		for i := range e.People.MinorRules.Rules {
			rule := &e.People.MinorRules.Rules[i]
			e.say(fmt.Sprintf("That is %s (%s).", rule, rule.Source), at)
		}
		e.say(fmt.Sprintf("What a guardian has permitted ends when the patient turns %d.", e.People.MinorRules.Majority), at)
		e.unsure("people.consent.minors", "whether a minor controls it")
	}
}

// conflict says which of a patient's decisions holds, if the policy does.
func (e *explaining) conflict() {
	const at = "people.consent.general.conflict"
	switch {
	case !e.Written(at):
	case e.People.MostRecent:
		e.say("Where decisions of a patient in the same record of consents contradict each other, the most recent one holds; of the same day, or where it is unclear, the record is withheld.", at)
	default:
		e.say("Where decisions of a patient contradict each other, the denial holds.", at)
	}
}

// unsure says what happens where something cannot be told, if the policy does.
func (e *explaining) unsure(at, what string) {
	if at += ".if_unsure"; e.Written(at) {
		e.say("Where it cannot be told "+what+", the record is withheld.", at)
	}
}

// jurisdiction is a state as its own people call it: us-ca is CA.
func jurisdiction(rules string) string {
	_, state, _ := strings.Cut(rules, "-")
	return strings.ToUpper(state) + " (" + rules + ")"
}

// part2 says what becomes of records of a substance use program.
func (e *explaining) part2() {
	const at, rows, choice = "people.consent.part2", "output.part2_rows", "people.clinic_choice.part2_program"
	const program = "Records of a substance use program under 42 CFR Part 2"
	forms, clauses := slices.Clone(e.People.AcceptForms), each(at+".accept_forms", len(e.People.AcceptForms))
	for i := range forms {
		forms[i] = e.text(clauses[i], forms[i])
	}
	switch {
	case e.Output.Part2Rows == "leave-out" || e.People.Part2LeaveOut:
		e.say(program+" are left out.", rows, choice)
	case !e.steps.Part2:
		e.say(program+" are included, in the same form as others.", "standard", "basis")
	case len(forms) == 0 && len(e.People.Grounds) == 0:
		e.say(program+" are withheld, because the policy accepts no form of consent for them.", at)
	default:
		var on []string
		if len(forms) > 0 {
			on = append(on, "with the patient's written consent, on the form "+page.Or(forms)+" (42 CFR 2.31)")
		}
		for i := range e.People.Grounds {
			on = append(on, e.otherGround(i))
		}
		e.say(program+" leave only "+page.Or(on)+".", append(clauses, each(at+".grounds", len(e.People.Grounds))...)...)
		if e.Written(at + ".without_directive") {
			e.say("Without it they are withheld.", at+".without_directive")
		}
	}
	e.unsure(at, "whether a consent for such records covers one of them")
}

// otherGround is a ground other than consent, in words.
func (e *explaining) otherGround(i int) string {
	g := &e.People.Grounds[i]
	paper := e.text(fmt.Sprintf("people.consent.part2.grounds[%d].paper", i), g.Paper)
	text := fmt.Sprintf("for %s under the paper %s (42 CFR %s), from %s", g.What(), paper, g.Section, g.From)
	if g.To != extract.NoDay {
		text += " to " + g.To.String()
	}
	if g.ReviewBy != extract.NoDay {
		text += ", until it is to be reviewed on " + g.ReviewBy.String()
	}
	return text
}

func (e *explaining) choices() {
	const at = "people.clinic_choice"
	var left []string
	if e.People.RegistryOptOut {
		left = append(left, "people who opted out of registries")
	}
	if e.People.Part2LeaveOut {
		left = append(left, "records of substance use programs")
	}
	if len(left) > 0 {
		text := "That " + page.And(left) + " are left out is our own choice, stricter than the law"
		if e.People.ChoiceBecause != "" {
			text += ": " + e.People.ChoiceBecause
		}
		e.say(sentence(text), at+".registry_opt_out", at+".part2_program", at+".because")
	}
}
