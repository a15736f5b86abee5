package consent_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const fewPeople = 8

// check asks fewer times than rapid would: each time is two whole engines, fed
// from files, and 50 records.
func check(t *testing.T, property func(*rapid.T)) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if usual := checks.Value.String(); usual == checks.DefValue {
		if err := checks.Value.Set("40"); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = checks.Value.Set(usual) }()
	}
	rapid.Check(t, property)
}

// smallWorld is a random world that the properties change in one respect.
func smallWorld(rt *rapid.T) *situation {
	return dice{rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))}.world(0, fewPeople, 25)
}

// changed is a world of its own, with other directives.
func (s *situation) changed(directives []map[string]any) *situation {
	c := *s
	c.directives, c.byPatient, c.persons = directives, nil, nil
	return &c
}

// answersOf asks the engine about all records, by id.
func answersOf(t *testing.T, rt *rapid.T, s *situation) map[string]string {
	e := newEngine(t, s)
	if e.stopped != "" {
		rt.Fatalf("stopped at %s: %v", e.stopped, e.why)
	}
	all := map[string]string{}
	for i := range s.records {
		d := e.decide(t, &s.records[i])
		all[s.records[i].id] = fmt.Sprint(d.Reasons.Names(), " part 2: ", d.Part2)
		if d.Reasons == 0 {
			all[s.records[i].id] = "released"
		}
	}
	return all
}

func noMoreReleased(rt *rapid.T, before, after map[string]string) {
	for id, answer := range after {
		if answer == "released" && before[id] != "released" {
			rt.Fatalf("record %s leaves now; before: %s", id, before[id])
		}
	}
}

func somebody(rt *rapid.T) string {
	return fmt.Sprintf("p%d", rapid.IntRange(0, fewPeople-1).Draw(rt, "patient"))
}

func TestAddingADenialReleasesNothing(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s, who := smallWorld(rt), somebody(rt)
		d := dice{rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "denial"), 2))}
		denial := d.registryRow(who)
		denial["decision"], denial["status"] = "deny", "active"
		if rapid.Bool().Draw(rt, "as a FHIR Consent") {
			denial = consentOf(who, "2026-01-10", "OPTOUT", nil)
		}
		noMoreReleased(rt, answersOf(t, rt, s), answersOf(t, rt, s.changed(append(slices.Clone(s.directives), denial))))
	})
}

func TestRemovingAPermitReleasesNothing(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		delete(s.consentRule, "conflict") // of the most recent, one that may match keeps an older permit from overtaking
		fewer := slices.DeleteFunc(slices.Clone(s.directives), func(d map[string]any) bool {
			row := rowOf(d)
			closes := row["scope"] == "treatment" && row["signed_by"] != "guardian" || d["resourceType"] != nil || garbled(row) // as exceptions of a Consent may
			return d["decision"] == "permit" && d["status"] == "active" && !closes && rapid.Bool().Draw(rt, "removed")
		})
		noMoreReleased(rt, answersOf(t, rt, s), answersOf(t, rt, s.changed(fewer)))
	})
}

func TestAnotherPatientsDirectiveChangesNothing(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s, who := smallWorld(rt), somebody(rt)
		d := dice{rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "directive"), 3))}
		more := append(slices.Clone(s.directives), d.registryRow(who), d.consent(who, 1000))
		differsOnlyFor(rt, s, who, answersOf(t, rt, s), answersOf(t, rt, s.changed(more)))
	})
}

func differsOnlyFor(rt *rapid.T, s *situation, who string, before, after map[string]string) {
	for _, r := range s.records {
		if before[r.id] != after[r.id] && !slices.Contains(s.personsOf(&r), s.person(who)) {
			rt.Fatalf("record %s of %v: %s, then %s, because of %s", r.id, r.subjects, before[r.id], after[r.id], who)
		}
	}
}

func TestOrderChangesNothing(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		d := dice{rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "order"), 4))}
		other := s.changed(shuffled(d, s.directives))
		other.restrictions, other.members, other.encounters = shuffled(d, s.restrictions), shuffled(d, s.members), shuffled(d, s.encounters)
		other.merges, other.links = shuffled(d, s.merges), shuffled(d, s.links)
		other.records, other.patients = shuffled(d, s.records), shuffled(d, s.patients)
		before, after := answersOf(t, rt, s), answersOf(t, rt, other)
		for id := range before {
			if before[id] != after[id] {
				rt.Fatalf("record %s: %s, in another order %s", id, before[id], after[id])
			}
		}
	})
}

func shuffled[T any](d dice, list []T) []T {
	list = slices.Clone(list)
	d.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// A policy that lets the most recent decide releases what it releases otherwise.
func TestMostRecentWithholdsNothingMore(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		s.consentRule["conflict"] = "most-recent"
		after := answersOf(t, rt, s)
		delete(s.consentRule, "conflict")
		noMoreReleased(rt, after, answersOf(t, rt, s))
	})
}

// What was written under the ids of one person counts as if it had been written
// under one of them from the beginning.
func TestMergedPeopleAreOne(t *testing.T) {
	people := 0
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		before, after := answersOf(t, rt, s), answersOf(t, rt, s.renamed())
		people += len(s.persons.into)
		for id := range before {
			if before[id] != after[id] {
				rt.Fatalf("record %s: %s, under one id %s", id, before[id], after[id])
			}
		}
	})
	if people == 0 {
		t.Error("nobody was merged: the property shows nothing")
	}
}

// renamed is the same world with one id for each person. Whoever is unresolved
// is so with somebody of whom nothing is known.
func (s *situation) renamed() *situation {
	one := s.changed(nil)
	for _, d := range s.directives {
		d = merged(d, map[string]any{})
		for _, key := range []string{"patient", "subject"} {
			if d["resourceType"] == nil && key == "patient" {
				d[key] = s.person(text(d[key]))
			} else if d[key] != nil {
				d[key] = s.renamedReference(d[key])
			}
		}
		for _, key := range []string{"performer", "grantor"} {
			var signers []any
			for _, item := range listOf(d[key]) {
				signers = append(signers, s.renamedReference(item))
			}
			if signers != nil {
				d[key] = signers
			}
		}
		one.directives = append(one.directives, d)
	}
	rows := func(all []row, key string) (list []row) {
		for _, r := range all {
			r = maps.Clone(r)
			r[key] = s.person(r[key])
			list = append(list, r)
		}
		return list
	}
	records := func(all []record) (list []record) {
		for _, r := range all {
			r.subjects = s.personsOf(&r)
			list = append(list, r)
		}
		return list
	}
	one.restrictions, one.members, one.patients = rows(s.restrictions, "subject"), rows(s.members, "subject"), rows(s.patients, "id")
	one.encounters, one.records, one.links, one.merges = records(s.encounters), records(s.records), nil, nil
	for i, id := range s.persons.open {
		one.merges = append(one.merges, row{"from": fmt.Sprintf("nobody-%d", i), "into": s.person(id), "status": "unresolved"})
	}
	return one
}

func (s *situation) renamedReference(reference any) map[string]any {
	kind, id, _ := strings.Cut(text(reference.(map[string]any)["reference"]), "/")
	if kind == "Patient" {
		id = s.person(id)
	}
	return map[string]any{"reference": kind + "/" + id}
}

func TestAnothersBirthDateChangesNothing(t *testing.T) {
	changes := 0
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		s.consentRule["minors"] = invented
		who := s.records[0].subjects[0]
		s.bear(who, "1980-05-05")
		before := answersOf(t, rt, s)
		s.bear(who, rapid.SampledFrom([]string{"2014-03-01", "2014-03-02", "2009-06-01", "2008"}).Draw(rt, "birth"))
		after := answersOf(t, rt, s)
		differsOnlyFor(rt, s, who, before, after)
		if !maps.Equal(before, after) {
			changes++
		}
	})
	if changes == 0 {
		t.Error("no birth date changed anything: the property shows nothing")
	}
}

// On the day on which somebody comes of age only that person's records change:
// a guardian's permit is over, a guardian's denial is not.
func TestMajorityConcernsOnlyWhoComesOfAge(t *testing.T) {
	changes := 0
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		s.consentRule["minors"] = invented
		who := s.records[0].subjects[0]
		s.bear(who, "2008-09-11")
		for _, decision := range []string{"permit", rapid.SampledFrom([]string{"permit", "deny"}).Draw(rt, "decision")} {
			s = s.changed(append(slices.Clone(s.directives), map[string]any{"patient": who, "scope": "general", "decision": decision, "status": "active",
				"from": "2026-01-01", "signed_on": "2026-07-06", "signed_by": "guardian"}))
		}
		s.consentRule["general"], s.decidedAt = "deny", "2026-09-10T23:59:59Z"
		before := answersOf(t, rt, s)
		s.decidedAt = "2026-09-11T00:00:00Z"
		after := answersOf(t, rt, s)
		differsOnlyFor(rt, s, who, before, after)
		for _, r := range s.records {
			if strings.Contains(before[r.id], "consent-denied") && !strings.Contains(after[r.id], "consent-denied") {
				rt.Fatalf("record %s: a birthday has ended a denial: %s, then %s", r.id, before[r.id], after[r.id])
			}
		}
		if !maps.Equal(before, after) {
			changes++
		}
	})
	if changes == 0 {
		t.Error("no coming of age changed anything: the property shows nothing")
	}
}

// invented is a rule of no state.
var invented = map[string]any{"from_age": "12", "to_age": "17", "labels": "BH", "control": "minor", "source": "invented"}

// bear says when somebody was born, under whatever id.
func (s *situation) bear(who, birth string) {
	s.patients = slices.DeleteFunc(slices.Clone(s.patients), func(p row) bool { return p["birth_date"] != "" && s.person(p["id"]) == s.person(who) })
	s.patients = append(s.patients, row{"id": who, "birth_date": birth})
}

// No paper of a random world begins or ends between 7 July and 30 December.
func TestDecidedAtAcrossNoBoundaryChangesNothing(t *testing.T) {
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		day := func(label string) string { return fmt.Sprintf("2026-%02d", rapid.IntRange(8, 11).Draw(rt, label)) }
		s.decidedAt = day("first") + rapid.SampledFrom([]string{"-01T00:00:00Z", "-15T23:59:59-05:00"}).Draw(rt, "time")
		before := answersOf(t, rt, s)
		s.decidedAt = day("second") + "-20T12:00:00Z"
		differsOnlyFor(rt, s, "nobody", before, answersOf(t, rt, s))
	})
}

// Across a boundary of one patient's paper only that patient's records change.
func TestDecidedAtAcrossABoundaryConcernsOnlyItsPatient(t *testing.T) {
	changes := 0
	check(t, func(rt *rapid.T) {
		s := smallWorld(rt)
		who := s.records[0].subjects[0]
		paper := map[string]any{"patient": who, "scope": "general", "decision": rapid.SampledFrom([]string{"permit", "deny"}).Draw(rt, "decision"),
			"status": "active", "from": "2026-01-01", "to": "2026-09-10", "signed_on": "2026-07-06"}
		s = s.changed(append(slices.Clone(s.directives), paper))
		s.decidedAt = "2026-09-10T23:59:59Z"
		before := answersOf(t, rt, s)
		s.decidedAt = "2026-09-11T00:00:00Z"
		after := answersOf(t, rt, s)
		differsOnlyFor(rt, s, who, before, after)
		if before[s.records[0].id] != after[s.records[0].id] {
			changes++
		}
	})
	if changes == 0 {
		t.Error("no boundary changed anything: the property shows nothing")
	}
}
