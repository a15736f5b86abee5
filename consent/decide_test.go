package consent

import (
	"testing"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

func TestReasons(t *testing.T) {
	plain := score("p1", "2026-03-02")
	atE9 := plain
	atE9.Encounter = list([]string{"e9"})[0]
	otherEncounter := plain
	otherEncounter.Encounter = list([]string{"e1"})[0]
	undated := plain
	undated.Date = extract.NoSpan
	nobody := plain
	nobody.Subjects = nil
	untyped := plain
	untyped.Dataset, untyped.Codes = "DocumentReference", nil
	for _, c := range []struct {
		name    string
		set     func(*world)
		facts   extract.Facts
		reasons string
	}{
		{"a member without a directive", func(w *world) {}, plain, ""},

		// step 1
		{"agreement without a number", func(w *world) { w.req.Policy.Agreement.ID = "" }, plain, "agreement-missing"},
		{"agreement not yet in force", func(w *world) { w.req.Policy.Agreement.From = day("2026-07-06") }, plain, "agreement-missing"},
		{"agreement over", func(w *world) { w.req.Policy.Agreement.To = day("2026-07-04") }, plain, "agreement-lapsed"},
		{"agreement on its last day", func(w *world) { w.req.Policy.Agreement.To = day("2026-07-05") }, plain, ""},
		{"open agreement past its review", func(w *world) { w.req.Policy.Agreement.ReviewBy = day("2026-07-04") }, plain, "agreement-lapsed"},
		{"open agreement on the day of its review", func(w *world) { w.req.Policy.Agreement.ReviewBy = day("2026-07-05") }, plain, ""},
		{"open agreement without review", func(w *world) { w.req.Policy.Agreement.ReviewBy = extract.NoDay }, plain, "agreement-lapsed"},
		{"limited data set without a dua", func(w *world) {
			w.req.Policy.Standard, w.req.Policy.Basis = policies.LimitedDataSet, "45 CFR 164.514(e)"
		}, plain, "agreement-missing"},
		{"purpose outside of the basis", func(w *world) { w.req.Policy.Purpose = "HMARKT" }, plain, "purpose-not-permitted"},
		{"purpose that is none", func(w *world) { w.req.Policy.Purpose = "PROFIT" }, plain, "purpose-not-permitted"},
		{"purpose within the basis", func(w *world) { w.req.Policy.Purpose = "HQUALIMP" }, plain, ""},

		// step 2
		{"session notes by label", func(w *world) {}, labelled(plain, "PSYTHPN"), "psychotherapy-notes"},
		{"session notes by document type", func(w *world) { w.req.PsychotherapyNotes = []string{"44261-6"} }, plain, "psychotherapy-notes"},
		{"SUD counseling notes by document type", func(w *world) { w.req.SUDCounselingNotes = []string{"44261-6"} }, plain, "sud-counseling-notes"},
		{"a document of a type that nobody wrote down", func(w *world) {
			w.req.PsychotherapyNotes, w.req.SUDCounselingNotes = []string{"a"}, []string{"b"}
		}, untyped, "psychotherapy-notes,sud-counseling-notes"},
		{"a document without a type, where no type is named", func(w *world) {}, untyped, ""},
		{"session notes stay in a de-identified release too", func(w *world) { w.safeHarbor() }, labelled(plain, "PSYTHPN"), "psychotherapy-notes"},

		// step 3
		{"self-pay by encounter", func(w *world) { w.restrict("p1,self-pay,acme-health-plan,e9,,,,,,") }, atE9, "restriction-self-pay"},
		{"self-pay of another encounter", func(w *world) { w.restrict("p1,self-pay,acme-health-plan,e9,,,,,,") }, otherEncounter, ""},
		{"self-pay by encounter, record without", func(w *world) { w.restrict("p1,self-pay,acme-health-plan,e9,,,,,,") }, plain, "restriction-indeterminate"},
		{"self-pay by dates", func(w *world) { w.restrict("p1,self-pay,,,,2026-03-01,2026-03-31,,,") }, plain, "restriction-self-pay"},
		{"self-pay outside of dates", func(w *world) { w.restrict("p1,self-pay,,,,2026-03-03,,,,") }, plain, ""},
		{"self-pay by dates, record without", func(w *world) { w.restrict("p1,self-pay,,,,2026-03-01,,,,"); w.req.Policy.People.Roster = "members" }, undated, "restriction-indeterminate,not-a-member"},
		{"self-pay by service", func(w *world) { w.restrict("p1,self-pay,,,44261-6,,,,,") }, plain, "restriction-self-pay"},
		{"self-pay of another service", func(w *world) { w.restrict("p1,self-pay,,,90834,,,,,") }, plain, ""},
		{"self-pay of everything to the plan", func(w *world) { w.restrict("p1,self-pay,,,,,,Acme,,") }, plain, "restriction-self-pay"},
		{"self-pay of everything to another plan", func(w *world) { w.restrict("p1,self-pay,,,,,,other,,") }, plain, ""},
		{"self-pay towards a name that nobody knows", func(w *world) { w.restrict("p1,self-pay,,,,,,acmee,,") }, plain, "restriction-indeterminate"},
		{"self-pay with an unreadable date", func(w *world) { w.restrict("p1,self-pay,,,,March,,,,") }, plain, "restriction-indeterminate"},
		{"self-pay of another person", func(w *world) { w.restrict("p2,self-pay,,,,,,,,") }, plain, ""},
		{"self-pay does not bind treatment", func(w *world) { w.treatment().restrict("p1,self-pay,,,,,,,,") }, plain, ""},
		{"self-pay does not bind what the law requires", func(w *world) {
			w.req.Policy.Basis = "45 CFR 164.512(a)"
			w.restrict("p1,self-pay,,,,,,,,", "p1,agreed,,,,,,,,")
		}, plain, ""},
		{"self-pay ended", func(w *world) { w.restrict("p1,self-pay,,,,,,,2026-07-05,the patient") }, plain, ""},
		{"self-pay that ends tomorrow", func(w *world) { w.restrict("p1,self-pay,,,,,,,2026-07-06,the patient") }, plain, "restriction-self-pay"},
		{"agreed restriction binds treatment", func(w *world) { w.treatment().restrict("p1,agreed,acme-health-plan,,,,,,,") }, plain, "restriction-agreed"},
		{"no restriction binds de-identified data", func(w *world) { w.safeHarbor().restrict("p1,agreed,,,,,,,,", "p1,self-pay,,,,,,,,") }, plain, ""},

		// step 4
		{"no coverage", func(w *world) { w.roster("p2,M2,2026-01-01,") }, plain, "not-a-member"},
		{"coverage began later", func(w *world) { w.roster("p1,M1,2026-03-03,") }, plain, "not-a-member"},
		{"coverage ended before", func(w *world) { w.roster("p1,M1,2026-01-01,2026-03-01") }, plain, "not-a-member"},
		{"service on the last day of coverage", func(w *world) { w.roster("p1,M1,2026-01-01,2026-03-02") }, plain, ""},
		{"month that may lie outside", func(w *world) { w.roster("p1,M1,2026-03-02,") }, score("p1", "2026-03"), "not-a-member"},
		{"month within two spans without a gap", func(w *world) { w.roster("p1,M1,2026-01-01,2026-03-15", "p1,M1,2026-03-16,") }, score("p1", "2026-03"), ""},
		{"month within two spans with a gap", func(w *world) { w.roster("p1,M1,2026-01-01,2026-03-15", "p1,M1,2026-03-17,") }, score("p1", "2026-03"), "not-a-member"},
		{"no date of service", func(w *world) {}, undated, "not-a-member"},
		{"two member ids at once", func(w *world) { w.roster("p1,M1,2026-01-01,", "p1,M9,2026-02-01,") }, plain, "member-ambiguous"},
		{"two member ids on one day", func(w *world) { w.roster("p1,M1,2026-01-01,2026-03-02", "p1,M9,2026-03-02,") }, plain, "member-ambiguous"},
		{"two member ids, one after the other", func(w *world) { w.roster("p1,M1,2026-01-01,2026-01-31", "p1,M9,2026-02-01,") }, plain, ""},
		{"one member id for two people", func(w *world) { w.roster("p1,M1,2026-01-01,", "p2,M1,2026-01-01,") }, plain, "member-ambiguous"},
		{"any day of the period", func(w *world) {
			w.req.Policy.People.Covered, w.req.Period = "any-day-of-period", extract.Span{From: day("2026-01-01"), To: day("2026-12-31")}
			w.roster("p1,M1,2026-11-01,")
		}, plain, ""},
		{"no day of the period", func(w *world) {
			w.req.Policy.People.Covered, w.req.Period = "any-day-of-period", extract.Span{From: day("2026-01-01"), To: day("2026-12-31")}
			w.roster("p1,M1,2027-01-01,")
		}, plain, "not-a-member"},
		{"ambiguous in the period", func(w *world) {
			w.req.Policy.People.Covered, w.req.Period = "any-day-of-period", extract.Span{From: day("2026-01-01"), To: day("2026-12-31")}
			w.roster("p1,M1,2026-01-01,", "p2,M1,2026-01-01,")
		}, plain, "member-ambiguous"},
		{"a roster that the law does not ask for", func(w *world) { w.treatment(); w.req.Policy.People.Roster = "members"; w.roster("p2,M2,2026-01-01,") }, plain, "not-a-member,clinic-choice"},

		// step 5
		{"no directive, and one is needed", func(w *world) { w.general(policies.DenyWithout) }, plain, "consent-missing"},
		{"a permit on file", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active") }, plain, ""},
		{"a denial on file", func(w *world) { w.registry("p1,general,deny,active") }, plain, "consent-denied"},
		{"deny beats permit", func(w *world) { w.registry("p1,general,permit,active", "p1,general,deny,active") }, plain, "consent-denied"},
		{"denial of another recipient", func(w *world) { w.registry("p1,general,deny,active,other-plan") }, plain, ""},
		{"linked to another patient", func(w *world) { w.tables.People.Link(w.tables.People.Intern([]byte("p1"))) }, plain, "merge-unresolved"},
		{"another person is linked", func(w *world) { w.tables.People.Link(w.tables.People.Intern([]byte("p2"))) }, plain, ""},
		{"denial of a name that nobody knows", func(w *world) { w.registry("p1,general,deny,active,acmee") }, plain, "consent-denied,consent-indeterminate"},
		{"permit to a name that nobody knows", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active,acmee") }, plain, "consent-indeterminate"},
		{"denial of this kind of recipients", func(w *world) { w.registry("p1,general,deny,active,kind:health-plan;x") }, plain, "consent-denied"},
		{"denial of another purpose", func(w *world) { w.registry("p1,general,deny,active,*,HRESCH") }, plain, ""},
		{"denial of a wider purpose", func(w *world) { w.req.Policy.Purpose = "HQUALIMP"; w.registry("p1,general,deny,active,,TPO") }, plain, "consent-denied"},
		{"denial of a part of the purpose", func(w *world) { w.registry("p1,general,deny,active,,HQUALIMP") }, plain, "consent-denied,consent-indeterminate"},
		{"permit of a part of the purpose", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active,,HQUALIMP") }, plain, "consent-indeterminate"},
		{"denial that has ended", func(w *world) { w.registry("p1,general,deny,active,,,,,2026-07-04") }, plain, ""},
		{"denial on its last day", func(w *world) { w.registry("p1,general,deny,active,,,,,2026-07-05") }, plain, "consent-denied"},
		{"denial that begins tomorrow", func(w *world) { w.registry("p1,general,deny,active,,,,2026-07-06") }, plain, ""},
		{"denial ended by somebody", func(w *world) { w.registry("p1,general,deny,active,,,,,,,,2026-07-01,officer") }, plain, ""},
		{"denial revoked", func(w *world) { w.registry("p1,general,deny,revoked,,,,,2026-07-04") }, plain, ""},
		{"denial expired, ended today", func(w *world) { w.registry("p1,general,deny,expired,,,,,,,,2026-07-05,officer") }, plain, ""},
		{"denial revoked as of tomorrow", func(w *world) { w.registry("p1,general,deny,revoked,,,,,,,,2026-07-06,officer") }, plain, "consent-denied"},
		{"denial entered in error", func(w *world) { w.registry("p1,general,deny,entered-in-error,,,,,,,,2026-07-05,officer") }, plain, ""},
		{"denial that will be found in error", func(w *world) { w.registry("p1,general,deny,entered-in-error,,,,,,,,2026-07-06,officer") }, plain, "consent-denied"},
		{"permit entered in error", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,entered-in-error") }, plain, "consent-missing"},
		{"permit that ran out", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active,,,,,2026-07-04") }, plain, "consent-expired"},
		{"permit marked expired", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,expired") }, plain, "consent-expired"},
		{"expired permit where none is needed", func(w *world) { w.registry("p1,general,permit,expired") }, plain, ""},
		{"revoked permit", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,revoked") }, plain, "consent-revoked"},
		{"revocation binds where no permit is needed", func(w *world) { w.registry("p1,general,permit,revoked,,,,,2026-06-01,2026-01-01") }, plain, "consent-revoked"},
		{"permit signed after a revoked one", func(w *world) {
			w.registry("p1,general,permit,revoked,,,,,,2026-01-01", "p1,general,permit,active,,,,,,2026-05-01")
		}, plain, ""},
		{"permit signed before a revoked one", func(w *world) {
			w.registry("p1,general,permit,revoked,,,,,,2026-05-01", "p1,general,permit,active,,,,,,2026-01-01")
		}, plain, "consent-revoked"},
		{"permit signed on the day of a revoked one", func(w *world) {
			w.registry("p1,general,permit,revoked,,,,,,2026-05-01", "p1,general,permit,active,,,,,,2026-05-01")
		}, plain, "consent-revoked"},
		{"revoked one without a date", func(w *world) {
			w.registry("p1,general,permit,revoked", "p1,general,permit,active,,,,,,2026-05-01")
		}, plain, "consent-revoked"},
		{"permit not yet signed", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active,,,,,,2026-08-01") }, plain, "consent-indeterminate"},
		{"permit ended by somebody", func(w *world) { w.registry("p1,general,permit,active,,,,,,2026-01-01,,2026-02-01,officer") }, plain, "consent-revoked"},
		{"authorization needs a permit whatever the rule", func(w *world) { w.req.Policy.Basis, w.req.Policy.Agreement.Kind = "45 CFR 164.508", "authorization" }, plain, "consent-missing"},
		{"state denial", func(w *world) { w.treatment().registry("p1,state-ny,deny,active") }, plain, "state-law-consent"},
		{"a state opt-in grounds nothing else", func(w *world) { w.treatment().general(policies.DenyWithout).registry("p1,state,permit,active") }, plain, "consent-missing"},
		{"denial of labelled records", func(w *world) { w.registry("p1,general,deny,active,,,PSY") }, labelled(plain, "PSY"), "consent-denied"},
		{"denial of a wider label", func(w *world) { w.registry("p1,general,deny,active,,,BH") }, labelled(plain, "OPIOIDUD"), "consent-denied"},
		{"denial of a narrower label", func(w *world) { w.registry("p1,general,deny,active,,,ETHUD") }, labelled(plain, "BH"), "consent-denied,consent-indeterminate"},
		{"denial of another label", func(w *world) { w.registry("p1,general,deny,active,,,HIV") }, labelled(plain, "PSY"), ""},
		{"denial of a label, record unlabelled", func(w *world) { w.registry("p1,general,deny,active,,,HIV") }, plain, "consent-denied,consent-indeterminate"},
		{"denial of a label, record classified", func(w *world) { w.req.LabelsComplete = true; w.registry("p1,general,deny,active,,,HIV") }, plain, ""},
		{"denial of R holds for V", func(w *world) { w.registry("p1,general,deny,active,,,R") }, labelled(plain, "V"), "consent-denied"},
		{"denial of R holds for R", func(w *world) { w.registry("p1,general,deny,active,,,R") }, labelled(plain, "R"), "consent-denied"},
		{"denial of R leaves N", func(w *world) { w.registry("p1,general,deny,active,,,R") }, labelled(plain, "N"), ""},
		{"denial of R, record without", func(w *world) { w.registry("p1,general,deny,active,,,R") }, labelled(plain, "PSY"), "consent-denied,consent-indeterminate"},
		{"permit of R holds for M", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active,,,R") }, labelled(plain, "M"), ""},
		{"permit of M does not hold for L, R", func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active,,,M") }, labelled(plain, "L", "R"), "consent-missing"},
		{"denial of a class", func(w *world) { w.registry("p1,general,deny,active,,,class:Observation") }, plain, "consent-denied"},
		{"denial of another class", func(w *world) { w.registry("p1,general,deny,active,,,class:Condition") }, plain, ""},
		{"denial of a code", func(w *world) { w.registry("p1,general,deny,active,,,code:44261-6") }, plain, "consent-denied"},
		{"research consent says nothing about operations", func(w *world) { w.registry("p1,research,deny,active") }, plain, ""},
		{"an opt-out of registries says nothing to a plan", func(w *world) { w.registry("p1,registry-opt-out,deny,active") }, plain, ""},

		// de-identified
		{"de-identified data needs no consent", func(w *world) { w.safeHarbor().registry("p1,general,deny,active", "p1,registry-opt-out,deny,active") }, plain, ""},
		{"clinic's choice: opt-out", func(w *world) {
			w.safeHarbor().registry("p1,registry-opt-out,deny,active")
			w.req.Policy.People.RegistryOptOut = true
		}, plain, "clinic-choice"},
		{"clinic's choice: a denial of research", func(w *world) {
			w.safeHarbor().registry("p1,general,deny,active,,HRESCH")
			w.req.Policy.People.RegistryOptOut = true
		}, plain, "clinic-choice"},
		{"clinic's choice: research consent taken back", func(w *world) {
			w.safeHarbor().registry("p1,research,permit,revoked")
			w.req.Policy.People.RegistryOptOut = true
		}, plain, "clinic-choice"},
		{"clinic's choice: an opt-out honoured towards a plan", func(w *world) {
			w.req.Policy.People.RegistryOptOut = true
			w.registry("p1,registry-opt-out,deny,active")
		}, plain, "clinic-choice"},
		{"clinic's choice: an ended opt-out", func(w *world) {
			w.safeHarbor().registry("p1,registry-opt-out,deny,active,,,,,,,,2026-01-01,officer", "p1,registry-opt-out,deny,entered-in-error,x,,,,,,,2026-01-01,officer")
			w.req.Policy.People.RegistryOptOut = true
		}, plain, ""},
		{"clinic's choice: a general denial is about protected data", func(w *world) {
			w.safeHarbor().registry("p1,general,deny,active")
			w.req.Policy.People.RegistryOptOut = true
		}, plain, ""},
		{"clinic's choice: an unreadable directive", func(w *world) {
			w.safeHarbor().consents(`{"resourceType":"Consent","patient":{"reference":"Patient/p1"}}`)
			w.req.Policy.People.RegistryOptOut = true
		}, plain, "clinic-choice"},
		{"clinic's choice: nobody known", func(w *world) { w.safeHarbor(); w.req.Policy.People.RegistryOptOut = true }, score("p9", "2026-03-02"), "clinic-choice"},
		{"an identified registry heeds an opt-out", func(w *world) {
			w.req.RecipientKind, w.req.Policy.Basis, w.req.Policy.Purpose = "registry", "45 CFR 164.508", "HRESCH"
			w.req.Policy.People.Roster = ""
			w.registry("p1,registry-opt-out,deny,active", "p1,research,permit,active")
		}, plain, "consent-denied"},

		// persons
		{"a person of whom nothing is known", func(w *world) {}, score("p9", "2026-03-02"), "not-a-member,consent-indeterminate"},
		{"a de-identified record of nobody known", func(w *world) { w.safeHarbor() }, score("p9", "2026-03-02"), ""},
		{"a record that should be about somebody", func(w *world) {}, nobody, "consent-indeterminate"},
		{"a record about no patient", func(w *world) {}, extract.Facts{Dataset: "Organization"}, ""},
		{"every reason is told", func(w *world) {
			w.req.Policy.Agreement.ID = ""
			w.roster("p2,M2,2026-01-01,").restrict("p1,self-pay,,,,,,,,", "p1,agreed,,,,,,,,").registry("p1,general,deny,active")
		}, labelled(plain, "PSYTHPN"), "agreement-missing,psychotherapy-notes,restriction-self-pay,restriction-agreed,not-a-member,consent-denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			w.expect(c.facts, c.reasons)
		})
	}
}

func TestPart2(t *testing.T) {
	const tpo = "p1,part2,permit,active,,,,,,2026-02-01,https://clinic/forms/tpo-2026"
	const plainTPO = "p1,part2,permit,active,,,,,,2026-02-01,tpo-2026"
	at := func(encounter string, providers ...string) extract.Facts {
		f := score("p1", "2026-03-02")
		f.Encounter, f.Providers = []byte(encounter), list(providers)
		return f
	}
	for _, c := range []struct {
		name    string
		set     func(*world)
		facts   extract.Facts
		part2   bool
		reasons string
	}{
		{"no programs", func(w *world) { w.tables.Programs, w.tables.Encounters = NewPrograms(), nil }, at("e1", "Organization/sud"), false, ""},
		{"label without programs", func(w *world) { w.tables.Programs = NewPrograms() }, labelled(at(""), "42CFRPart2"), true, "part2-no-consent"},
		{"provider is a program", func(w *world) {}, at("", "Organization/sud"), true, "part2-no-consent"},
		{"provider is a program, by identifier", func(w *world) { w.programs("organization,991,,") }, at("", "Organization?identifier=npi|991"), true, "part2-no-consent"},
		{"provider of a column is a program", func(w *world) {}, at("", "sud"), true, "part2-no-consent"},
		{"provider was a program later", func(w *world) { w.programs("organization,sud,2026-04-01,") }, at("", "Organization/sud"), false, ""},
		{"provider may have been a program", func(w *world) { w.programs("organization,sud,2026-04-01,") }, func() extract.Facts { f := at("", "Organization/sud"); f.Date = extract.NoSpan; return f }(), true, "not-a-member,part2-no-consent"},
		{"other organization settles it", func(w *world) {}, at("", "Organization/main"), false, ""},
		{"a practitioner does not settle it", func(w *world) {}, at("", "Practitioner/dr"), true, "part2-no-consent"},
		{"a conditional reference does not settle it", func(w *world) {}, at("", "Organization?identifier=npi|5"), true, "part2-no-consent"},
		{"a role does not settle it", func(w *world) { w.programs("practitioner,dr,,") }, at("", "PractitionerRole/7"), true, "part2-no-consent"},
		{"a column's id does not settle it", func(w *world) {}, at("", "main"), true, "part2-no-consent"},
		{"a column's id settles it where programs are declared so", func(w *world) { w.programs("column,sud,,") }, at("", "main"), false, ""},
		{"programs of columns, record with references", func(w *world) { w.programs("column,sud,,") }, at("", "Organization/main"), true, "part2-no-consent"},
		{"encounter of the program", func(w *world) { w.encounter("e1", "p1", "Organization/sud") }, at("e1"), true, "part2-no-consent"},
		{"encounter of the program at another provider's hand", func(w *world) { w.encounter("e1", "p1", "Organization/sud") }, at("e1", "Organization/main"), true, "part2-no-consent"},
		{"encounter elsewhere", func(w *world) { w.encounter("e1", "p1", "Organization/main", "Location/2") }, at("e1"), false, ""},
		{"encounter at a place that is a program", func(w *world) {
			w.programs("organization,sud,,", "location,ward,,").encounter("e1", "p1", "Organization/main", "Location/ward")
		}, at("e1"), true, "part2-no-consent"},
		{"encounter that does not say where", func(w *world) { w.encounter("e1", "p1") }, at("e1"), true, "part2-no-consent"},
		{"unknown encounter", func(w *world) {}, at("e404"), true, "part2-no-consent"},
		{"unknown encounter of a person whose others were elsewhere", func(w *world) { w.encounter("e1", "p1", "Organization/main") }, at("e404"), true, "part2-no-consent"},
		{"unknown encounter beside another provider", func(w *world) {}, at("e404", "Organization/main"), true, "part2-no-consent"},
		{"visit number of a row beside another provider", func(w *world) { w.programs("column,sud,,") }, func() extract.Facts { f := at("e404", "main"); f.Dataset = "scores"; return f }(), false, ""},
		{"two encounters of one id", func(w *world) {
			w.encounter("e1", "p1", "Organization/main").encounter("e1", "p2", "Organization/main")
		}, at("e1"), true, "part2-no-consent"},
		{"no encounter, all of the person's elsewhere", func(w *world) { w.encounter("e1", "p1", "Organization/main") }, at(""), false, ""},
		{"no encounter, one of the person's at the program", func(w *world) {
			w.encounter("e1", "p1", "Organization/main").encounter("e2", "p1", "Organization/sud")
		}, at(""), true, "part2-no-consent"},
		{"no encounter, none of the person's known", func(w *world) {}, at(""), true, "part2-no-consent"},
		{"programs, but no index of encounters", func(w *world) { w.tables.Encounters = nil }, at(""), true, "part2-no-consent"},
		{"about no patient", func(w *world) {}, extract.Facts{Dataset: "Organization", ID: []byte("sud")}, false, ""},

		{"consent on an attested form", func(w *world) { w.registry(tpo) }, at("", "Organization/sud"), true, ""},
		{"it grounds the general need too", func(w *world) { w.general(policies.DenyWithout).registry(plainTPO) }, at("", "Organization/sud"), true, ""},
		{"consent on another form", func(w *world) { w.registry("p1,part2,permit,active,,,,,,2026-02-01,old") }, at("", "Organization/sud"), true, "part2-no-consent"},
		{"consent without date of signature", func(w *world) { w.registry("p1,part2,permit,active,,,,,,,tpo-2026") }, at("", "Organization/sud"), true, "part2-no-consent"},
		{"consent expired", func(w *world) { w.registry("p1,part2,permit,active,,,,,2026-07-04,2026-02-01,tpo-2026") }, at("", "Organization/sud"), true, "consent-expired,part2-no-consent"},
		{"consent revoked", func(w *world) { w.registry("p1,part2,permit,revoked,,,,,,2026-02-01,tpo-2026") }, at("", "Organization/sud"), true, "consent-revoked,part2-no-consent"},
		{"consent to another purpose", func(w *world) { w.registry("p1,part2,permit,active,,TREAT,,,,2026-02-01,tpo-2026") }, at("", "Organization/sud"), true, "part2-no-consent"},
		{"denial of Part 2 records", func(w *world) { w.registry(tpo, "p1,part2,deny,active") }, at("", "Organization/sud"), true, "consent-denied"},
		{"denial of Part 2 records leaves others", func(w *world) { w.registry("p1,part2,deny,active") }, at("", "Organization/main"), false, ""},
		{"another ground than consent", func(w *world) { w.req.Policy.People.Part2 = policies.PermitWithout }, at("", "Organization/sud"), true, ""},
		{"no rule means deny", func(w *world) { w.req.Policy.People.Part2 = "" }, at("", "Organization/sud"), true, "part2-no-consent"},
		{"treatment needs it too", func(w *world) { w.treatment() }, at("", "Organization/sud"), true, "part2-no-consent"},
		{"what the law requires needs it too", func(w *world) { w.req.Policy.Basis = "45 CFR 164.512(a)" }, at("", "Organization/sud"), true, "part2-no-consent"},
		{"de-identified data does not", func(w *world) { w.safeHarbor() }, at("", "Organization/sud"), true, ""},
		{"clinic's choice", func(w *world) { w.safeHarbor(); w.req.Policy.People.Part2LeaveOut = true }, at("", "Organization/sud"), true, "clinic-choice"},
		{"rows left out of the layout", func(w *world) { w.registry(tpo); w.req.Policy.Output.Part2Rows = "leave-out" }, at("", "Organization/sud"), true, "clinic-choice"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t).programs("organization,sud,,")
			c.set(w)
			if got := w.decide(c.facts).Part2; got != c.part2 {
				t.Errorf("under Part 2: %v, want %v", got, c.part2)
			}
			w.expect(c.facts, c.reasons)
		})
	}
}

func TestDecideAgainKeepsWhatTheIndexTold(t *testing.T) {
	w := newWorld(t).programs("organization,sud,,").encounter("e1", "p1", "Organization/main")
	f := score("p1", "2026-03-02")
	f.Encounter = []byte("e1")
	w.expect(f, "")
	sealed := w.tables.Programs.Keys()
	again := func(part2 bool) string {
		w.tables.Encounters = NewEncounters(w.tables.Programs, w.tables.People) // which nobody fills
		d, err := NewDecider(w.req, w.tables)
		w.must(err)
		return d.DecideAgain(&f, part2, w.tables.Programs.DeclaredSince(sealed)).Reasons.Names()
	}
	if got := again(false); got != "" {
		t.Error(got)
	}
	if got := again(true); got != "part2-no-consent" {
		t.Errorf("judged again as Part 2: %v", got)
	}
	// The house of the encounter is declared a program, or was one a day longer.
	for _, rows := range [][]string{{"organization,sud,,", "organization,main,,"}, {"organization,sud,,2026-03-02"}} {
		if got := func() string { w.programs(rows...); return again(false) }(); got != "part2-no-consent" {
			t.Errorf("%v: %q", rows, got)
		}
	}
	// Who names a house that is none of the new ones is not theirs.
	f.Encounter, f.Providers = nil, list([]string{"Organization/main"})
	if got := func() string { w.programs("organization,other,,"); return again(false) }(); got != "" {
		t.Error(got)
	}
	if f.Providers = list([]string{"Organization/other"}); again(false) != "part2-no-consent" {
		t.Error("a provider that is a program now is not seen")
	}
	if NewPrograms().Keys() != nil || NewPrograms().DeclaredSince(nil) || !w.tables.Programs.DeclaredSince(w.tables.Programs.Keys()[:15]) {
		t.Error("programs and their keys")
	}
}

func TestDecisionTellsWhatItReliedOn(t *testing.T) {
	w := newWorld(t).programs("organization,sud,,").registry("p1,general,permit,active,,,,,,2026-01-01", "p1,part2,permit,active,,,,,,2026-02-01,tpo-2026")
	f := score("p1", "2026-03-02")
	f.Providers = list([]string{"Organization/sud"})
	d := w.decide(f)
	file, line := w.tables.Directives.Place(d.Relied - 1)
	if d.Reasons != 0 || d.Subjects != 1 || d.Subject == NoSubject || line != 3 || file == "" {
		t.Errorf("decision %+v relied on line %d", d, line)
	}
}

func TestNewDeciderRefuses(t *testing.T) {
	for name, set := range map[string]func(*world){
		"an unknown basis":         func(w *world) { w.req.Policy.Basis = "45 CFR 164.999" },
		"an unknown kind":          func(w *world) { w.req.RecipientKind = "friend" },
		"treatment by a plan":      func(w *world) { w.req.Policy.Basis = "45 CFR 164.506(c)(2)" },
		"identified as 164.502(d)": func(w *world) { w.req.Policy.Basis = "45 CFR 164.502(d)" },
		"no roster":                func(w *world) { delete(w.tables.Rosters, "members") },
		"no policy":                func(w *world) { w.req.Policy = nil },
		"no time":                  func(w *world) { w.req.DecidedAt = time.Time{} },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			set(w)
			if _, err := NewDecider(w.req, w.tables); err == nil {
				t.Error("no error")
			}
		})
	}
}
