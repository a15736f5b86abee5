package consent

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
	"pgregory.net/rapid"
)

// drawRow draws a row of the registry about a patient.
func drawRow(t *rapid.T, patient, decision, label string) string {
	pick := func(what string, from ...string) string { return rapid.SampledFrom(from).Draw(t, label+" "+what) }
	statuses := []string{"active", "entered-in-error"}
	if decision == "permit" {
		statuses = append(statuses, "revoked", "expired")
	}
	status, end := pick("status", statuses...), ","
	if decision == "deny" && status == "entered-in-error" {
		end = "2026-07-01,officer"
	}
	return strings.Join([]string{patient, pick("scope", "general", "part2", "research", "state"), decision, status,
		pick("recipient", "", "acme", "other", "kind:health-plan"), pick("purpose", "", "TPO", "HOPERAT", "HQUALIMP", "HRESCH"),
		pick("categories", "", "PSY", "BH", "ETHUD", "R", "class:Observation", "code:44261-6"),
		pick("from", "", "2026-01-01", "2026-08-01"), pick("to", "", "2026-12-31", "2026-09-01"),
		pick("signed", "", "2026-02-01", "2026-05-01"), pick("form", "", "tpo-2026"), end}, ",")
}

func drawRows(t *rapid.T, patient, label string) []string {
	var rows []string
	for range rapid.IntRange(0, 4).Draw(t, label+" rows") {
		rows = append(rows, drawRow(t, patient, rapid.SampledFrom([]string{"permit", "deny"}).Draw(t, label+" decision"), label))
	}
	return rows
}

func drawFacts(t *rapid.T) extract.Facts {
	f := score("p1", rapid.SampledFrom([]string{"2026-03-02", "2026-03", "2026-02-11"}).Draw(t, "date"))
	f.Labels = list(rapid.SliceOfDistinct(rapid.SampledFrom([]string{"PSY", "SUD", "N", "V", "42CFRPart2"}), rapid.ID[string]).Draw(t, "labels"))
	return f
}

// reasonsOf decides with these rows on file.
func reasonsOf(t *testing.T, rule policies.ConsentRule, f extract.Facts, rows ...string) extract.ReasonSet {
	return newWorld(t).general(rule).registry(slices.Clone(rows)...).decide(f).Reasons
}

func TestProperties(t *testing.T) {
	rule := func(rt *rapid.T) policies.ConsentRule {
		return rapid.SampledFrom([]policies.ConsentRule{policies.PermitWithout, policies.DenyWithout}).Draw(rt, "rule")
	}
	t.Run("adding a deny never releases more", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			rule, f, rows := rule(rt), drawFacts(rt), drawRows(rt, "p1", "p1")
			before := reasonsOf(t, rule, f, rows...)
			after := reasonsOf(t, rule, f, append(rows, drawRow(rt, "p1", "deny", "new"))...)
			if before != 0 && after == 0 {
				rt.Fatalf("withheld for %s, then released", before.Names())
			}
		})
	})
	t.Run("removing a permit never releases more", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			rule, f, rows := rule(rt), drawFacts(rt), drawRows(rt, "p1", "p1")
			extra := drawRow(rt, "p1", "permit", "gone")
			if strings.Contains(extra, "revoked") {
				return // a revocation is no permit
			}
			with := reasonsOf(t, rule, f, append([]string{extra}, rows...)...)
			if without := reasonsOf(t, rule, f, rows...); with != 0 && without == 0 {
				rt.Fatalf("withheld for %s, released without a permit", with.Names())
			}
		})
	})
	t.Run("another patient's directive changes nothing", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			rule, f, rows := rule(rt), drawFacts(rt), drawRows(rt, "p1", "p1")
			alone := reasonsOf(t, rule, f, rows...)
			if among := reasonsOf(t, rule, f, append(drawRows(rt, "p2", "p2"), rows...)...); among != alone {
				rt.Fatalf("%s, then %s", alone.Names(), among.Names())
			}
		})
	})
	t.Run("the order of rows changes nothing", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			rule, f, rows := rule(rt), drawFacts(rt), drawRows(rt, "p1", "p1")
			there := reasonsOf(t, rule, f, rows...)
			if back := reasonsOf(t, rule, f, rapid.Permutation(rows).Draw(rt, "order")...); back != there {
				rt.Fatalf("%s, then %s", there.Names(), back.Names())
			}
		})
	})
	t.Run("what closes outlives its row", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			rule, f, rows := rule(rt), drawFacts(rt), drawRows(rt, "p1", "p1")
			w := newWorld(t).general(rule).registry(slices.Clone(rows)...)
			before, kept := w.decide(f).Reasons, w.tables.Directives.Closing()
			w.tables.Directives = NewDirectives(w.tables.People)
			w.must(w.tables.Directives.Restore(kept))
			if after := w.decide(f).Reasons; before != 0 && after == 0 {
				rt.Fatalf("withheld for %s, released when the rows vanished", before.Names())
			}
		})
	})
}

func TestPeople(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, model := NewPeople(), map[string]Subject{}
		for _, id := range rapid.SliceOfN(rapid.StringN(0, 3, 8), 0, 300).Draw(t, "ids") {
			want, known := model[id]
			if _, found := p.Find([]byte(id)); found != known {
				t.Fatalf("found %v, want %v", found, known)
			}
			if got := p.Intern([]byte(id)); known && got != want {
				t.Fatalf("subject %d, want %d", got, want)
			} else if model[id] = got; string(p.ID(got)) != id || int(got) >= p.Len() {
				t.Fatal("the id changed")
			}
		}
		if p.Len() != len(model) {
			t.Fatalf("%d people, want %d", p.Len(), len(model))
		}
	})
}

func TestEncountersGrow(t *testing.T) {
	w := newWorld(t).programs("organization,sud,,")
	ids := func(i int) string {
		return strings.Repeat("e", i%7) + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
	}
	for i := range 500 {
		w.encounter(ids(i), "p1", []string{"Organization/sud", "Organization/main"}[i%2])
	}
	e := w.tables.Encounters
	if e.Len() != 500 {
		t.Errorf("%d encounters", e.Len())
	}
	for i := range 500 {
		if got := e.find([]byte(ids(i))); got != []EncounterFacts{ofProgram, notOfProgram}[i%2] {
			t.Fatalf("encounter %d is %d", i, got)
		}
	}
}
