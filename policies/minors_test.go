package policies

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

func TestMinorRulesAreLoaded(t *testing.T) {
	p := mustLoad(t, "testdata/right/acme-phq9-delta.yaml")
	rules := p.People.MinorRules
	if p.People.Minors != "us-ca" || rules.Majority != 18 || len(rules.Rules) != 1 {
		t.Fatalf("%+v", rules)
	}
	rule := rules.Rules[0]
	if rule.FromAge != 12 || rule.ToAge != 17 || rule.From != extract.NoDay || rule.To != extract.NoDay || rule.Both || !slices.Equal(rule.Labels, []string{"MH", "PSY", "PSYTHPN", "EMOTDIS"}) {
		t.Errorf("%+v", rule)
	}
	if !slices.ContainsFunc(p.Includes(), func(i Include) bool { return i.Name == "minors/us-ca.yaml" }) {
		t.Error("the rules are no part of what approvers sign")
	}
}

// Each shipped file of rules is right but for who has checked it.
func TestShippedMinorRules(t *testing.T) {
	whole := inPlace(t, "", "people: {relationship: {roster: acme-roster, covered: at-service}, consent: {general: {without_directive: deny}, minors: {rules: us-xx}}}\n")
	files, err := fs.Glob(Library(), "minors/*.yaml")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		state := strings.TrimSuffix(strings.TrimPrefix(file, "minors/"), ".yaml")
		open := func(name string) ([]byte, error) {
			if name == file {
				return fs.ReadFile(Library(), name)
			}
			return []byte("the notice"), nil
		}
		p, err := parse("p.yaml", []byte(strings.Replace(whole, "us-xx", state, 1)), testEnv(t), open)
		if err != nil {
			t.Error(file, err)
			continue
		}
		_, err = Check(p, testEnv(t))
		if mistakes, ok := err.(*strictyaml.Errors); !ok || len(mistakes.List) != 2 || !mistakes.Only(ErrPlaceholder) || !strings.Contains(err.Error(), "checked.by") {
			t.Error(file, err)
		}
	}
}

// withMinors is a right policy with rules for minors in it.
func withMinors(t *testing.T, general ConsentRule, rules *MinorRules) *Policy {
	p := right(t, "testdata/right/acme-phq9-gad7.yaml")
	p.People.General = general
	if rules != nil {
		p.People.Minors, p.People.MinorRules = "us-ca", rules
	}
	return p
}

func TestComparedRulesForMinors(t *testing.T) {
	day := extract.Day(20000)
	base := MinorRule{FromAge: 12, ToAge: 17, Labels: []string{"PSY", "SUD"}, From: day, To: day + 100}
	rule := func(edit func(*MinorRule)) *MinorRules {
		m := base
		edit(&m)
		return &MinorRules{Majority: 18, Rules: []MinorRule{m}}
	}
	old := rule(func(*MinorRule) {})
	both := rule(func(m *MinorRule) { m.Both = true })
	for _, c := range []struct {
		what            string
		old, new        *MinorRules
		widens, narrows bool
	}{
		{"the same", old, rule(func(m *MinorRule) { m.Source = "elsewhere" }), false, false},
		{"no rules", old, nil, true, false},
		{"rules", nil, old, false, true},
		{"no rule", old, &MinorRules{Majority: 18}, true, false},
		{"from a higher age", old, rule(func(m *MinorRule) { m.FromAge = 13 }), true, false},
		{"to a lower age", old, rule(func(m *MinorRule) { m.ToAge = 16 }), true, false},
		{"to a higher age", old, rule(func(m *MinorRule) { m.ToAge = 18 }), false, true},
		{"less care", old, rule(func(m *MinorRule) { m.Labels = []string{"PSY"} }), true, false},
		{"other care", old, rule(func(m *MinorRule) { m.Labels = []string{"HIV"} }), true, true},
		{"from a later day", old, rule(func(m *MinorRule) { m.From = day + 1 }), true, false},
		{"open", old, rule(func(m *MinorRule) { m.From, m.To = extract.NoDay, extract.NoDay }), false, true},
		{"not open any more", rule(func(m *MinorRule) { m.To = extract.NoDay }), old, true, false},
		{"two signatures", old, both, false, true},
		{"one signature", both, old, true, false},
		{"a second rule", old, &MinorRules{Majority: 18, Rules: []MinorRule{base, {FromAge: 14, ToAge: 15, Labels: []string{"HIV"}, From: extract.NoDay, To: extract.NoDay}}}, false, true},
		{"a later majority", old, &MinorRules{Majority: 21, Rules: old.Rules}, true, false},
		{"a later majority, both", both, &MinorRules{Majority: 21, Rules: both.Rules}, true, true},
		{"an earlier majority, both", &MinorRules{Majority: 21, Rules: both.Rules}, both, true, true},
	} {
		is := func(changes []Change) bool {
			for _, change := range changes {
				if change.Kind != NewPopulation || change.Dimension != dimPeople {
					t.Errorf("%s: %s", c.what, change.Says)
				}
			}
			return len(changes) > 0
		}
		env := testEnv(t)
		cmp := Compare(withMinors(t, DenyWithout, c.old), withMinors(t, DenyWithout, c.new), env, env)
		if widens, narrows := is(cmp.Widens), is(cmp.Narrows); widens != c.widens || narrows != c.narrows {
			t.Errorf("%s: widens %v, narrows %v", c.what, widens, narrows)
		}
	}
}

func TestMinorsInWords(t *testing.T) {
	rules := &MinorRules{Majority: 18, Rules: []MinorRule{{FromAge: 12, ToAge: 17, Labels: []string{"PSY", "SUD"}, From: 20000, To: 20100, Both: true}}}
	env := testEnv(t)
	text := Compare(withMinors(t, DenyWithout, nil), withMinors(t, DenyWithout, rules), env, env).String()
	if want := "a minor controls care labelled PSY, SUD at 12 to 17 years, from 2024-10-04, to 2025-01-12, unless the minor and the guardian have signed a permit"; !strings.Contains(text, want) {
		t.Error(text)
	}
	later := &MinorRules{Majority: 19, Rules: rules.Rules}
	text = Compare(withMinors(t, DenyWithout, rules), withMinors(t, DenyWithout, later), env, env).String()
	if want := "the person is 18 years old, and a guardian has signed what the person permits"; !strings.Contains(text, want) {
		t.Error(text)
	}
}

// kept tells by brute force whether rules keep a record back where a permit is
// needed: of care at an age and on a day, signed by whom, of somebody who is so old now.
func kept(rules *MinorRules, age int, label string, day extract.Day, minor, guardian bool, now int) bool {
	if rules == nil {
		return !minor && !guardian
	}
	adult := now >= rules.Majority
	if adult {
		guardian = false
	}
	if !minor && !guardian {
		return true
	}
	for _, r := range rules.Rules {
		about := age >= r.FromAge && age <= r.ToAge && slices.Contains(r.Labels, label) && (r.From == extract.NoDay || day >= r.From) && (r.To == extract.NoDay || day <= r.To)
		if about && (!minor || r.Both && !guardian && !adult) {
			return true
		}
	}
	return false
}

// No widening of rules for minors is missed.
func TestEveryWideningForMinorsIsFound(t *testing.T) {
	env := testEnv(t)
	found := 0
	rapid.Check(t, func(rt *rapid.T) {
		days := []extract.Day{extract.NoDay, 20000, 20001}
		draw := func(name string) *MinorRules {
			if rapid.IntRange(0, 5).Draw(rt, name) == 0 {
				return nil
			}
			rules := &MinorRules{Majority: rapid.IntRange(18, 19).Draw(rt, "majority")}
			for range rapid.IntRange(0, 2).Draw(rt, "rules") {
				from := rapid.IntRange(12, 14).Draw(rt, "from")
				rules.Rules = append(rules.Rules, MinorRule{
					FromAge: from, ToAge: from + rapid.IntRange(0, 2).Draw(rt, "to"), Both: rapid.Bool().Draw(rt, "both"),
					Labels: rapid.SampledFrom([][]string{{"PSY"}, {"SUD"}, {"PSY", "SUD"}}).Draw(rt, "labels"),
					From:   rapid.SampledFrom(days).Draw(rt, "from day"), To: rapid.SampledFrom([]extract.Day{extract.NoDay, 20001, 20002}).Draw(rt, "to day"),
				})
			}
			return rules
		}
		old, new := draw("old"), draw("new")
		cmp := Compare(withMinors(t, DenyWithout, old), withMinors(t, DenyWithout, new), env, env)
		for age := 11; age <= 17; age++ {
			for _, label := range []string{"PSY", "SUD"} {
				for day := extract.Day(19999); day <= 20003; day++ {
					for signed := range 4 {
						for _, now := range []int{17, 18, 19} {
							minor, guardian := signed&1 != 0, signed&2 != 0
							if !kept(old, age, label, day, minor, guardian, now) || kept(new, age, label, day, minor, guardian, now) {
								continue
							}
							if found++; len(cmp.Widens) == 0 {
								rt.Fatalf("%s at %d on %s, signed %02b, now %d, newly leaves\nold %+v\nnew %+v", label, age, day, signed, now, old, new)
							}
						}
					}
				}
			}
		}
	})
	if found == 0 {
		t.Error("no pair widened")
	}
}
