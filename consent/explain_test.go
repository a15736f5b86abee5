package consent

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
	"pgregory.net/rapid"
)

// drawWorld draws a disclosure of which consent may or may not be asked, and a
// registry of one patient.
func drawWorld(t *testing.T, rt *rapid.T) *world {
	w := newWorld(t)
	switch rapid.SampledFrom([]string{"plan", "treatment", "safe harbor"}).Draw(rt, "disclosure") {
	case "treatment":
		w.treatment()
	case "safe harbor":
		w.safeHarbor()
	}
	w.general(rapid.SampledFrom([]policies.ConsentRule{policies.PermitWithout, policies.DenyWithout}).Draw(rt, "rule"))
	w.req.Policy.People.MostRecent = rapid.Bool().Draw(rt, "most recent")
	w.req.Policy.People.RegistryOptOut = rapid.Bool().Draw(rt, "opt-outs count")
	rows := drawRows(rt, "p1", "p1")
	if rapid.Bool().Draw(rt, "opted out") {
		rows = append(rows, "p1,registry-opt-out,deny,active")
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(rt, "unreadable") {
		w.consents(fhir("k", "active", "OPTIN", `"provision":{"type":"neither"}`))
	}
	return w.registry(rows...)
}

// What an explanation has heard, taken together, is what the decision says.
func TestExplainingAgreesWithDeciding(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, f, part2 := drawWorld(t, rt), drawFacts(rt), rapid.Bool().Draw(rt, "part 2")
		d, err := NewDecider(w.req, w.tables)
		w.must(err)
		s, known := w.tables.People.Find([]byte("p1"))
		if !known {
			return
		}
		want, relied := d.consent(s, &f, part2)
		heard, all := d.hear(s, &f, part2)
		got, gotRelied := all.reasons, 0
		if d.steps.Consent || d.steps.Part2 && part2 {
			got, gotRelied = d.conclude(&all, part2)
		}
		if got != want || gotRelied != relied {
			rt.Fatalf("explained as %q on %d, decided as %q on %d", got.Names(), gotRelied, want.Names(), relied)
		}
		if x := d.Explain(&f, part2); !slices.Equal(x.Directives, heard) {
			rt.Fatal("Explain says something else")
		}
		for _, h := range heard {
			if relied > 0 && h.Number == relied-1 && h.Says != Permits && h.Says != PermitsPart2 {
				rt.Fatalf("relied on what says %s", h.Says)
			}
		}
	})
}

func TestWhatOneDirectiveSays(t *testing.T) {
	f := score("p1", "2026-03-02")
	for row, want := range map[string]Says{
		"p1,general,permit,active,acme,TPO,,,,2026-02-01":          Permits,
		"p1,general,permit,active,acme,TPO,,,,2026-02-01,tpo-2026": PermitsPart2,
		"p1,general,permit,active,acme,TPO,PSY,,,2026-02-01":       PermitsPerhaps, // the record has no label
		"p1,general,deny,active":                                   Denies,
		"p1,state,deny,active":                                     Denies,
		"p1,general,deny,active,,,PSY":                             DeniesPerhaps,
		"p1,general,deny,active,someone":                           DeniesPerhaps,
		"p1,general,permit,revoked":                                TakenBack,
		"p1,general,permit,active,,,,,2026-03-31,2026-02-01":       RunOut,
		"p1,general,permit,expired":                                RunOut,
		"p1,general,deny,active,other":                             Nothing,
		"p1,general,permit,active,,TREAT,,,,2026-02-01":            Nothing,
		"p1,research,deny,active":                                  Nothing,
		"p1,general,permit,entered-in-error":                       Nothing,
	} {
		w := newWorld(t).registry(row)
		d, err := NewDecider(w.req, w.tables)
		w.must(err)
		if heard := d.Explain(&f, true).Directives; len(heard) != 1 || heard[0].Says != want {
			t.Errorf("%s: %v, want %s", row, heard, want)
		}
	}
	w := newWorld(t).safeHarbor().registry("p1,registry-opt-out,deny,active")
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	if heard := d.Explain(&f, false).Directives; len(heard) != 0 {
		t.Error("consent is not asked, and speaks", heard)
	}
	w.req.Policy.People.RegistryOptOut = true
	d, err = NewDecider(w.req, w.tables)
	w.must(err)
	if heard := d.Explain(&f, false).Directives; len(heard) != 1 || heard[0].Says != Denies {
		t.Error("an opt-out that the clinic honours says", heard)
	}
}

// Under most-recent only so many scopes and sources are told apart; a denial of
// one beyond them is overtaken by nothing.
func TestExplainTellsAsManyBallotsApartAsTheDecision(t *testing.T) {
	w := newWorld(t)
	w.req.Policy.People.MostRecent = true
	for i := range maxBallots + 1 {
		rows := []string{"p1,general,deny,active,,,,,,2026-02-01,,,", "p1,general,permit,active,,,,,,2026-03-01,,,"}
		_, err := w.tables.Directives.LoadRegistry(w.file(strings.Repeat("r", i+1)+".csv", registryHeader, rows))
		w.must(err)
	}
	f := score("p1", "2026-03-02")
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	said := map[Says]int{}
	for _, h := range d.Explain(&f, false).Directives {
		said[h.Says]++
	}
	if said[Overtaken] != maxBallots || said[Denies] != 1 || d.Decide(&f).Reasons.Names() != "consent-denied" {
		t.Error(said)
	}
}

func TestPapers(t *testing.T) {
	w := newWorld(t).registry(
		"p1,general,permit,active,acme,TPO,,2026-01-01,2026-12-31,2026-02-01,tpo-2026",
		"p1,part2,deny,revoked,other,,,,,,,2026-03-01,officer",
	).consents(fhir("k1", "active", "OPTOUT", `"provision":{"period":{"start":"1969-12-30"},"provision":[{"type":"permit"}]}`), fhir("k2", "active", "NEITHER", "")).
		restrict("p1,self-pay,acme,e1,,,,,,", "p1,agreed,other,,90834,2026-01-01,,,,", "p2,agreed,,,,never,,,,", "p3,agreed,,,,,,,2026-05-01,officer")
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	one, _ := w.tables.People.Find([]byte("p1"))
	papers := d.DirectivesOf(one)
	if len(papers) != 4 {
		t.Fatal(papers)
	}
	expect := func(got, want Paper) {
		t.Helper()
		if !strings.HasSuffix(got.File, want.File) || got.File == "" && want.File != "" {
			t.Errorf("from %s", got.File)
		}
		if got.File = want.File; strings.HasSuffix(want.File, ".ndjson") { // what a Consent names its form by is tested where it is read
			got.Forms = nil
		}
		if got.Line != want.Line || got.Scope != want.Scope || got.Decision != want.Decision || got.Excepts != want.Excepts || got.Status != want.Status || got.Signed != want.Signed ||
			got.From != want.From || got.To != want.To || got.Ended != want.Ended || !slices.Equal(got.Forms, want.Forms) || !slices.Equal(got.Limits, want.Limits) || got.Here != want.Here {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	for by, want := range []string{"", "patient", "guardian", "guardian,patient"} {
		d.tables.Directives.list[papers[0]].signer = signer(by)
		if got := strings.Join(d.Directive(papers[0]).SignedBy, ","); got != want {
			t.Errorf("signed by %q, want %q", got, want)
		}
	}
	const never = extract.NoDay
	expect(d.Directive(papers[0]), Paper{File: "registry.csv", Line: 2, Scope: "general", Decision: "permit", Status: "active", Signed: day("2026-02-01"),
		From: day("2026-01-01"), To: day("2026-12-31"), Ended: never, Forms: []string{"tpo-2026"}, Here: true})
	expect(d.Directive(papers[1]), Paper{File: "registry.csv", Line: 3, Scope: "part2", Decision: "deny", Status: "revoked", Signed: never, From: never, To: never, Ended: day("2026-03-01")})
	expect(d.Directive(papers[2]), Paper{File: "consents.ndjson", Line: 1, Scope: "general", Decision: "deny", Excepts: true, Status: "active", Signed: day("2026-02-01"),
		From: day("1969-12-30"), To: never, Ended: never, Here: true})
	expect(d.Directive(papers[3]), Paper{File: "consents.ndjson", Line: 2, Scope: "general", Decision: "unreadable", Status: "active", Signed: day("2026-02-01"),
		From: never, To: never, Ended: never, Here: true})

	papers = d.RestrictionsOf(one)
	if len(papers) != 2 {
		t.Fatal(papers)
	}
	expect(d.Restriction(papers[0]), Paper{File: "restrictions.csv", Line: 2, Scope: "self-pay", Decision: "deny", Signed: never, From: never, To: never, Ended: never, Limits: []string{"one visit"}, Here: true})
	expect(d.Restriction(papers[1]), Paper{File: "restrictions.csv", Line: 3, Scope: "agreed", Decision: "deny", Signed: never, From: never, To: never, Ended: never, Limits: []string{"one service", "certain days"}})
	two, _ := w.tables.People.Find([]byte("p2"))
	expect(d.Restriction(d.RestrictionsOf(two)[0]), Paper{File: "restrictions.csv", Line: 4, Scope: "agreed", Decision: "unreadable", Signed: never, From: never, To: never, Ended: never, Here: true})

	kept := w.tables.Restrictions.Closing()
	w.tables.Restrictions = NewRestrictions(w.tables.People)
	w.must(w.tables.Restrictions.Restore(kept))
	d, err = NewDecider(w.req, w.tables)
	w.must(err)
	expect(d.Restriction(d.RestrictionsOf(two)[0]), Paper{Scope: "agreed", Decision: "unreadable", Signed: never, From: never, To: never, Ended: never, Here: true})

	f := score("p1", "2026-03-02")
	f.Encounter = list([]string{"e1"})[0]
	said := d.Explain(&f, false).Restrictions
	if len(said) != 2 || said[0].Says != Denies || said[1].Says != Nothing {
		t.Error(said)
	}
	f = score("p2", "2026-03-02")
	if said = d.Explain(&f, false).Restrictions; len(said) != 1 || said[0].Says != DeniesPerhaps {
		t.Error(said)
	}
	f = score("nobody", "2026-03-02")
	if x := d.Explain(&f, false); len(x.Directives)+len(x.Restrictions) > 0 {
		t.Error("something is heard about nobody")
	}
}

func TestCoverage(t *testing.T) {
	w := newWorld(t).roster("p1,M2,2026-02-01,", "p1,M1,2026-01-01,2026-03-31", "p2,M3,2026-01-01,2026-01-31")
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	one, _ := w.tables.People.Find([]byte("p1"))
	two, _ := w.tables.People.Find([]byte("p2"))
	if got := d.Coverage(one); !slices.Equal(got, []Covered{{day("2026-01-01"), day("2026-03-31"), true}, {day("2026-02-01"), extract.NoDay, true}}) {
		t.Error(got)
	}
	if got := d.Coverage(two); !slices.Equal(got, []Covered{{day("2026-01-01"), day("2026-01-31"), false}}) {
		t.Error(got)
	}
	d, err = NewDecider(newWorld(t).treatment().req, w.tables)
	w.must(err)
	if got := d.Coverage(one); got != nil {
		t.Error("a policy without a roster knows of coverage", got)
	}
}

// A label that is no code of the vocabulary may be anything, a name too.
func TestSensitivitiesShowNoValue(t *testing.T) {
	f := labelled(score("p1", "2026-03-02"), "N", " psy ", "Jane Doe", "42CFRPart2", "John Doe")
	if got := Sensitivities(&f); got != "42CFRPart2, PSY, other" {
		t.Errorf("%q", got)
	}
}
