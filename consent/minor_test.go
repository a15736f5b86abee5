package consent

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// minorRules are one rule: 12 to 17 years, mental health, any day.
func minorRules() *policies.MinorRules {
	return &policies.MinorRules{Majority: 18, Rules: []policies.MinorRule{{FromAge: 12, ToAge: 17, Labels: []string{"PSY"}, From: extract.NoDay, To: extract.NoDay}}}
}

// minors makes the exchange one whose policy names rules for minors.
func (w *world) minors() *world {
	w.req.Policy.People.Minors, w.req.Policy.People.MinorRules = "us-xx", minorRules()
	w.req.LabelsComplete = true
	return w
}

func (w *world) born(id, on string) *world {
	birth, _ := extract.ParseSpan([]byte(on))
	w.tables.People.NoteBirth(w.tables.People.Intern([]byte(id)), birth)
	return w
}

const signedHeader = "patient,scope,decision,status,signed_on,signed_by,categories,from,to,form,ended_on,ended_by"

// signed loads rows with who has signed them.
func (w *world) signed(rows ...string) *world {
	w.t.Helper()
	_, err := w.tables.Directives.LoadRegistry(w.file("signed.csv", signedHeader, pad(rows, 11)))
	w.must(err)
	return w
}

var therapy = labelled(score("p1", "2026-03-02"), "PSY")

func TestMinors(t *testing.T) {
	for name, c := range map[string]struct {
		set     func(*world)
		f       extract.Facts
		reasons string
	}{
		"a minor controls": {func(w *world) { w.born("p1", "2012-03-01") }, therapy, "minor-controls"},
		"two births of one patient, of which one is of age": {func(w *world) { w.born("p1", "2012-03-01").born("p1", "1990-03-01") }, therapy, "minor-controls"},
		"two births of one patient, both of age":            {func(w *world) { w.born("p1", "1992-03-01").born("p1", "1990-03-01") }, therapy, ""},
		"a birth that cannot be read tells nothing":         {func(w *world) { w.born("p1", "1990-03-01").born("p1", "?") }, therapy, ""},
		"two rules, one of them shared": {func(w *world) {
			rules := w.req.Policy.People.MinorRules
			rules.Rules = append(rules.Rules, policies.MinorRule{FromAge: 14, ToAge: 14, Labels: []string{"BH"}, From: extract.NoDay, To: extract.NoDay, Both: true})
			w.born("p1", "2012-03-01").signed("p1,general,permit,active,2026-02-01,patient")
		}, therapy, "minor-controls"},
		"signed by both in one row": {func(w *world) {
			w.req.Policy.People.MinorRules.Rules[0].Both = true
			w.born("p1", "2012-03-01").signed("p1,general,permit,active,2026-02-01,patient;guardian")
		}, therapy, ""},
		"of a record under Part 2 the patient signs the form": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p1,part2,permit,active,2026-02-01,patient,,,,tpo-2026")
		}, labelled(therapy, "PSY", "42CFRPart2"), ""},
		"of a record under Part 2 another paper of the patient is none": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p1,part2,permit,active,2026-02-01,guardian,,,,tpo-2026", "p1,general,permit,active,2026-02-01,patient")
		}, labelled(therapy, "PSY", "42CFRPart2"), "minor-controls"},
		"the most recent decides, and who has signed it": {func(w *world) {
			w.req.Policy.People.MostRecent = true
			w.born("p1", "2012-03-01").signed("p1,general,deny,active,2026-02-01,patient", "p1,general,permit,active,2026-02-02,patient")
		}, therapy, ""},
		"a guardian's permit that is over overtakes no denial": {func(w *world) {
			w.req.Policy.People.MostRecent = true
			w.born("p1", "2008-07-05").signed("p1,general,deny,active,2026-02-01,patient", "p1,general,permit,active,2026-02-02,guardian")
		}, score("p1", "2026-03-02"), "consent-denied"},
		"an end of the guardian's consent to the care": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p1,treatment,permit,active,,guardian,,,,,2026-07-05,desk")
		}, therapy, "minor-controls"},
		"an end of the patient's own consent to the care": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p1,treatment,permit,active,,patient,,,,,2026-07-05,desk", "p1,treatment,permit,active,,guardian")
		}, therapy, ""},
		"a refusal of the care says nothing": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p1,treatment,deny,active,,patient", "p1,treatment,permit,active,,guardian")
		}, therapy, ""},
		"a signature of nobody who is known leaves the patient in doubt": {func(w *world) {
			w.born("p1", "1990-03-01").signed("p1,general,permit,active,2026-02-01,mother")
		}, therapy, "consent-indeterminate"},
		"a refusal of the care that is over says nothing either": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p1,treatment,deny,expired,,patient,,2025-01-10,2026-03-01", "p1,treatment,permit,active,,guardian")
		}, therapy, ""},
		"another patient's consent to the care": {func(w *world) {
			w.born("p1", "2012-03-01").signed("p2,treatment,permit,active,,guardian")
		}, therapy, "minor-controls"},
		"a guardian's denial with an exception that permits, at majority": {func(w *world) {
			w.born("p1", "2008-07-05").consents(fhir("c1", "active", "OPTOUT", `"performer":[{"reference":"RelatedPerson/g"}],"provision":{"provision":[{"type":"permit"}]}`))
		}, score("p1", "2026-03-02"), "consent-denied"},
		"the same a day before": {func(w *world) {
			w.born("p1", "2008-07-06").consents(fhir("c1", "active", "OPTOUT", `"performer":[{"reference":"RelatedPerson/g"}],"provision":{"provision":[{"type":"permit"}]}`))
		}, score("p1", "2026-03-02"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).minors()
			c.set(w)
			w.expect(c.f, c.reasons)
		})
	}
}

func TestMinorsAreMerged(t *testing.T) {
	w := merged(t, "old,p1").minors()
	w.born("p1", "1990-01-01").born("old", "2012-03-01")
	w.expect(therapy, "minor-controls")
	w = merged(t, "old,p1").minors()
	w.born("p1", "2012-03-01").consents(fhir("c1", "active", "OPTIN", `"performer":[{"reference":"Patient/old"}]`))
	w.expect(therapy, "")
}

func TestRulesForMinorsMustBeThere(t *testing.T) {
	w := newWorld(t)
	w.req.Policy.People.Minors = "us-xx"
	if _, err := NewDecider(w.req, w.tables); err == nil || !strings.Contains(err.Error(), "us-xx") {
		t.Error(err)
	}
}

// Who may have consented to the care goes on when the row has vanished: it keeps
// the control with the patient. Nothing else of such rows does.
func TestConsentToCareOutlivesItsRow(t *testing.T) {
	kept := newWorld(t).signed("p1,treatment,permit,active,,patient", "p1,treatment,permit,active,,", "p1,treatment,permit,active,,guardian",
		"p1,treatment,permit,revoked,,patient", "p1,treatment,deny,active,,patient", "p1,treatment,permit,active,,patient,,,,,2026-07-01,desk").tables.Directives.Closing()
	if len(kept) != 2 {
		t.Fatalf("%d rows go on", len(kept))
	}
	w := newWorld(t).minors().born("p1", "2012-03-01").signed("p1,treatment,permit,active,,guardian")
	w.expect(therapy, "")
	w.must(w.tables.Directives.Restore(kept))
	w.expect(therapy, "minor-controls")
	w = newWorld(t).minors().born("p1", "2012-03-01").signed("p1,treatment,permit,active,,guardian",
		"p1,treatment,permit,active,,patient,,,,,2026-07-01,desk", "p1,treatment,permit,active,,,,,,,2026-07-01,desk")
	w.must(w.tables.Directives.Restore(kept))
	w.expect(therapy, "")
}

// What is judged again before delivery knows the births.
func TestMinorsAreJudgedAgain(t *testing.T) {
	w := newWorld(t).minors().born("p1", "2012-03-01").signed("p1,general,permit,active,2026-02-01,patient")
	w.expect(therapy, "")
	index := AppendFacts(nil, &therapy, w.tables.People, nil)

	for name, c := range map[string]struct {
		rows    []string
		at      time.Time
		reasons string
	}{
		"nothing has changed":                                {[]string{"p1,general,permit,active,2026-02-01,patient"}, w.req.DecidedAt, ""},
		"the signature has vanished":                         {nil, w.req.DecidedAt, "consent-missing,minor-controls"},
		"the guardian has signed":                            {[]string{"p1,general,permit,active,2026-02-01,guardian"}, w.req.DecidedAt, "minor-controls"},
		"the guardian has signed, and the patient is of age": {[]string{"p1,general,permit,active,2026-02-01,guardian"}, w.req.DecidedAt.AddDate(4, 0, 0), "agreement-lapsed,consent-expired,minor-controls"},
	} {
		later := newWorld(t).minors().general(policies.DenyWithout)
		later.req.DecidedAt = c.at
		if c.rows != nil {
			later.signed(c.rows...)
		}
		var f extract.Facts
		if _, err := ReadFacts(index, &f, later.tables.People); err != nil {
			t.Fatal(err)
		}
		later.expect(f, c.reasons)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// Ages are those of people who count birthdays on a calendar.
func TestYears(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		birth := extract.Day(rapid.IntRange(-10000, 15000).Draw(t, "birth"))
		on := birth + extract.Day(rapid.IntRange(0, 11000).Draw(t, "days"))
		want, birthday := 0, birth.Time()
		for n := 1; ; n++ {
			next := birthday.AddDate(n, 0, 0) // of 29 February: 1 March
			if extract.DayOf(next) > on {
				break
			}
			want = n
		}
		if got := years(birth, on); got != want {
			t.Fatalf("%s to %s are %d years, not %d", birth, on, want, got)
		}
		least, most, told := age(extract.Span{From: birth - 400, To: birth}, extract.Span{From: on, To: on})
		if !told || least != want || most < want+1 || most > want+2 {
			t.Fatalf("%d to %d, %v", least, most, told)
		}
	})
}

// The labels that rules for minors may name are those that directives may.
func TestLabelsOfRulesForMinors(t *testing.T) {
	var schema struct {
		Definitions map[string]struct {
			Properties struct {
				Rules struct {
					Items struct {
						Properties struct {
							Labels struct{ Items struct{ Enum []string } }
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(policies.JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	listed := schema.Definitions["minor-rules"].Properties.Rules.Items.Properties.Labels.Items.Enum
	if !slices.Equal(slices.Sorted(slices.Values(listed)), slices.Sorted(maps.Keys(sensitivities))) {
		t.Error(listed)
	}
}

// A birthday changes nothing for anybody but who has it, and only across the
// ages that rules name.
func TestBirthdaysOfOthersChangeNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		people := []string{"p1", "p2"}
		var rows []string
		for _, p := range people {
			for range rapid.IntRange(0, 3).Draw(rt, "rows") {
				rows = append(rows, strings.Join([]string{p, rapid.SampledFrom([]string{"general", "treatment"}).Draw(rt, "scope"), "permit",
					rapid.SampledFrom([]string{"active", "revoked"}).Draw(rt, "status"), "2026-02-01",
					rapid.SampledFrom([]string{"", "patient", "guardian"}).Draw(rt, "by"), rapid.SampledFrom([]string{"", "PSY", "HIV"}).Draw(rt, "care")}, ","))
			}
		}
		birth := rapid.SampledFrom([]string{"", "2012", "2008-07-05", "2000-01-01"})
		first, second, other := birth.Draw(rt, "p1"), birth.Draw(rt, "p2"), birth.Draw(rt, "p2 instead")
		decide := func(of string) string {
			w := newWorld(t).minors().born("p1", first).born("p2", of).signed(slices.Clone(rows)...)
			return w.decide(therapy).Reasons.Names()
		}
		if a, b := decide(second), decide(other); a != b {
			rt.Fatalf("%q, with another birth of somebody else %q", a, b)
		}
	})
}
