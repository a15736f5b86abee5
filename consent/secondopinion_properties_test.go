package consent_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
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
	c.directives, c.byPatient = directives, nil
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
		fewer := slices.DeleteFunc(slices.Clone(s.directives), func(d map[string]any) bool {
			return d["decision"] == "permit" && d["status"] == "active" && rapid.Bool().Draw(rt, "removed")
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
		other.records = shuffled(d, s.records)
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
