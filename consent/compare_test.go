package consent

import (
	"fmt"
	"testing"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// roster is the only one.
const roster = "plan"

// clinics are the files that say what situations say of a person, made once
// each: policies do not change them.
type clinics map[string]*Tables

func (c clinics) of(t *testing.T, s *policies.Situation) *Tables {
	key := fmt.Sprint(s.Directive, "/", s.Part2Form, "/", s.OptedOut, "/", s.Restriction, "/", s.Standing[roster])
	if c[key] == nil {
		c[key] = clinicOf(t, s)
	}
	return c[key]
}

func clinicOf(t *testing.T, s *policies.Situation) *Tables {
	w := newWorld(t)
	var rows []string
	switch s.Directive {
	case "permit", "deny":
		rows = append(rows, "p1,general,"+s.Directive+",active,,,,,,2026-02-01,")
	case "deny, then permit":
		rows = append(rows, "p1,general,deny,active,,,,,,2026-02-01,", "p1,general,permit,active,,,,,,2026-02-02,")
	case "unsure":
		w.consents(fhir("c1", "active", "nobody-knows", ""))
	}
	if s.Part2Form != "" {
		rows = append(rows, "p1,part2,permit,active,,,,,,2026-02-01,"+s.Part2Form)
	}
	if s.OptedOut {
		rows = append(rows, "p1,registry-opt-out,deny,active,,,,,,2026-02-01,")
	}
	if rows != nil {
		w.registry(rows...)
	}
	if s.Restriction != "" {
		w.restrict("p1," + s.Restriction + ",,e1,,,,,,")
	}
	w.roster(map[string][]string{
		"": {"p2,M2,2026-01-01,"}, "none": {"p2,M2,2026-01-01,"},
		"at-service": {"p1,M1,2026-01-01,"}, "in-period": {"p1,M1,2026-06-01,"},
		"ambiguous": {"p1,M1,2026-01-01,", "p2,M1,2026-01-01,"},
	}[s.Standing[roster]]...)
	w.tables.Rosters[roster] = w.tables.Rosters["members"]
	return w.tables
}

// decided asks the engine about one observation.
func decided(t *testing.T, p *policies.Policy, kind string, s *policies.Situation, tables *Tables) bool {
	d, err := NewDecider(Request{Policy: p, RecipientKind: kind, DecidedAt: time.Date(2026, 7, 5, 12, 0, 0, 0, chicago), AsOf: s.AsOf,
		Period: extract.Span{From: day("2026-01-01"), To: day("2026-12-31")}}, tables)
	if err != nil {
		t.Fatal(err)
	}
	f := score("p1", "2026-03-02")
	f.Encounter = []byte("e1")
	if s.Part2 {
		f = labelled(f, "42CFRPart2")
	}
	return d.Decide(&f).Reasons == 0
}

// What comparing takes the people of a policy to mean is what the engine
// decides, in every situation and under every line of the table of steps.
func TestComparedPeopleAreDecidedSo(t *testing.T) {
	rules := []policies.People{
		{General: policies.PermitWithout, Part2: policies.DenyWithout, AcceptForms: []string{"tpo-2026"}},
		{General: policies.DenyWithout, Part2: policies.DenyWithout, AcceptForms: []string{"tpo-2026"}},
		{General: policies.PermitWithout, Part2: policies.DenyWithout, RegistryOptOut: true},
		{General: policies.DenyWithout, Part2: policies.DenyWithout, AcceptForms: []string{"tpo-2026"}, Part2LeaveOut: true},
		{General: policies.DenyWithout, MostRecent: true, Part2: policies.DenyWithout, AcceptForms: []string{"tpo-2026"}, RegistryOptOut: true},
		{General: policies.PermitWithout, Part2: policies.DenyWithout, AcceptForms: []string{"tpo-2026"}, Grounds: []policies.Part2Ground{
			{Section: "2.53", Paper: "lapsed", From: day("2026-01-01"), To: day("2026-07-04"), ReviewBy: extract.NoDay},
			{Section: "2.53", Paper: "A-1", From: day("2026-07-05"), To: extract.NoDay, ReviewBy: day("2026-07-05")},
			{Section: "2.12(c)(4)", Paper: "Q-1", From: day("2026-01-01"), To: day("2026-12-31"), ReviewBy: extract.NoDay},
		}},
	}
	asked, permitted, files := 0, 0, clinics{}
	for _, line := range policies.ApplicabilityTable() {
		for _, kind := range []string{"health-plan", "provider", "registry", "public-health", "oversight"} {
			for i, people := range rules {
				if people.Roster = ""; line.Steps.Relationship || i == 1 {
					people.Roster, people.Covered = roster, []string{"at-service", "any-day-of-period"}[i%2]
				}
				p := &policies.Policy{
					Name: "p", Standard: line.Standards[0], Recipient: "acme", Purpose: append(line.Steps.Purposes, "HOPERAT")[0], Basis: "45 CFR " + line.Basis, People: people,
					Release:   []policies.Release{{Dataset: "Observation"}},
					Agreement: policies.Agreement{Kind: "dua", ID: "A-1", From: day("2026-01-01"), To: extract.NoDay, ReviewBy: day("2026-12-31")},
				}
				if !policies.Applies(kind, p.Basis, p.Standard).Known() {
					continue
				}
				env := policies.Env{Recipients: map[string]string{"acme": kind}}
				eachSituation(p, func(s *policies.Situation) {
					asked++
					admitted := policies.Admits(p, env, s)
					if admitted {
						permitted++
					}
					if got := decided(t, p, kind, s, files.of(t, s)); got != admitted {
						t.Errorf("%s, %s, %+v: compared as %v, decided %v in %s", kind, p.Basis, people, admitted, got, describe(s))
					}
				})
			}
		}
	}
	if permitted == 0 || permitted == asked {
		t.Errorf("%d situations, %d permitted", asked, permitted)
	}
}

// eachSituation goes through everything that a person may have decided, and
// every standing in the roster.
func eachSituation(p *policies.Policy, visit func(*policies.Situation)) {
	standings := []string{""}
	if p.People.Roster != "" {
		standings = []string{"at-service", "in-period", "ambiguous", "none"}
	}
	s := policies.Situation{DecidedOn: day("2026-07-05"), AsOf: day("2026-06-30"), Dataset: "Observation", Dates: map[string]extract.Day{"date": day("2026-03-02")}}
	for _, s.Part2 = range []bool{false, true} {
		for _, s.Directive = range []string{"", "permit", "deny", "unsure", "deny, then permit"} {
			for _, s.Part2Form = range []string{"", "tpo-2026", "tpo-2019"} {
				for _, s.OptedOut = range []bool{false, true} {
					for _, s.Restriction = range []string{"", "self-pay", "agreed"} {
						for _, standing := range standings {
							s.Standing = map[string]string{p.People.Roster: standing}
							visit(&s)
						}
					}
				}
			}
		}
	}
}

func describe(s *policies.Situation) string {
	return fmt.Sprintf("part2 %v, directive %q, form %q, opted out %v, restriction %q, standing %v", s.Part2, s.Directive, s.Part2Form, s.OptedOut, s.Restriction, s.Standing)
}
