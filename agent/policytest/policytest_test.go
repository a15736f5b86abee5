package policytest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// altered runs a case of testdata with one thing changed.
func altered(t *testing.T, name, from, to string) *Result {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(from, to).Replace(string(text))
	if changed == string(text) && from != to {
		t.Fatalf("%s holds no %q", name, from)
	}
	changed = strings.ReplaceAll(changed, "../../demo", filepath.Join(filepath.Dir(here), "demo"))
	changed = strings.ReplaceAll(changed, "{scores: scores.json}", "{scores: "+filepath.Join(here, "testdata", "scores.json")+"}")
	file := filepath.Join(t.TempDir(), "case.yaml")
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return Run(context.Background(), file)
}

func TestCasesPass(t *testing.T) {
	files, err := Files("testdata")
	if err != nil || len(files) < 3 {
		t.Fatalf("%v (%v)", files, err)
	}
	for _, file := range files {
		if r := Run(context.Background(), file); !r.Passed {
			t.Errorf("%s: %s %+v", file, r.Failed, r.Diffs)
		}
	}
}

// The example of the guide is a case that passes.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/policy-tests.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	example = strings.NewReplacer("../policies/", "../../demo/clinic/policies/", "{scores: ../schemas/scores.json}", "{scores: scores.json}").Replace(example)
	original, err := os.ReadFile("testdata/registry.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r := altered(t, "registry.yaml", string(original), example); !r.Passed {
		t.Errorf("%s %+v", r.Failed, r.Diffs)
	}
}

// A case fails at what was expected wrongly, and only there.
func TestDifferencesAreFound(t *testing.T) {
	for _, c := range []struct{ file, from, to, record, at, expected, got string }{
		{"members.yaml", "total_score: 12, provider_npi: 1999000064, row_key", "total_score: 13, provider_npi: 1999000064, row_key", "scores/r1", "total_score", `"13"`, `"12"`},
		{"members.yaml", ", row_key: any}", "}", "scores/r1", "row_key", "no such column", `"`},
		{"members.yaml", "{member_id: M-100, birth", "{name: any, member_id: M-100, birth", "scores/r1", "name", `"any"`, "no such column"},
		{"members.yaml", "  - {record: r3, withheld: [not-a-member]}\n", "", "scores/r3", "", "the case says nothing of it", "withheld: not-a-member"},
		{"members.yaml", "record: r4, withheld: [consent-denied]", "record: r4, released: yes", "scores/r4", "", "released", "withheld: consent-denied"},
		{"members.yaml", "record: r4,", "record: r44,", "r44", "", "a record of this case", "there is none of that name"},
		{"registry.yaml", "{person: $p2", "{person: $p1", "scores/r3", "person", `"$p1"`, `"`},
		{"registry.yaml", "    released: {person: $p1, index_year: 2024, week: 4", "    released: {person: $p3, index_year: 2024, week: 4", "scores/r2", "person", `"$p3"`, `"`},
		{"treatment.yaml", `{reference: Patient/p1}, encounter: {reference: Encounter/e1}, effectiveDateTime: "2026-03-02", valueInteger: 12}`, `{reference: Patient/p1}, effectiveDateTime: "2026-03-02", valueInteger: 12}`, "Observation/o1", "encounter.reference", "nothing", `"Encounter/e1"`},
		{"treatment.yaml", `released: {resourceType: Patient, id: p1`, `released: {resourceType: Patient, active: true, id: p1`, "Patient/p1", "active", "true", "nothing"},
	} {
		r := altered(t, c.file, c.from, c.to)
		found := slices.ContainsFunc(r.Diffs, func(d Difference) bool {
			return d.Record == c.record && d.At == c.at && d.Expected == c.expected && strings.HasPrefix(d.Got, c.got)
		})
		if r.Passed || r.Failed != "" || !found {
			t.Errorf("%s with %q: %s %+v", c.file, c.to, r.Failed, r.Diffs)
		}
	}
}

// What must stop the run stops it in a case, and a case may say so.
func TestRefusals(t *testing.T) {
	expect := func(t *testing.T, name string) string {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		_, after, _ := strings.Cut(string(text), "\nexpect:\n")
		return "expect:\n" + after
	}
	for _, c := range []struct{ from, to, why string }{
		{"recipient: {kind: health-plan}", "recipient: {kind: registry}", "164.506(c)(4)"},
		{"{subject: p1, kind: self-pay", "{subject: \"\", kind: self-pay", "subject is empty"},
	} {
		if r := altered(t, "members.yaml", c.from, c.to); r.Passed || !strings.Contains(r.Failed, c.why) {
			t.Errorf("%q: %q", c.to, r.Failed)
		}
		text, err := os.ReadFile("testdata/members.yaml")
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.Replace(string(text), c.from, c.to, 1)
		whole = strings.Replace(whole, expect(t, "members.yaml"), "refused: \""+c.why+"\"\n", 1)
		if r := altered(t, "members.yaml", string(text), whole); !r.Passed {
			t.Errorf("%q, refusal expected: %s", c.to, r.Failed)
		}
	}
	text := expect(t, "members.yaml")
	if r := altered(t, "members.yaml", text, "refused: stopped by the gate\n"); !strings.Contains(r.Failed, "was not refused") {
		t.Errorf("a run that was not refused: %q", r.Failed)
	}
}

func TestCasesThatDoNotLoad(t *testing.T) {
	for _, c := range []struct{ from, to, why string }{
		{"policy-case/v1", "policy-case/v2", "no format of cases"},
		{"{record: r4, withheld: [consent-denied]}", "{record: r4, withheld: [consent-denid]}", `did you mean "consent-denied"`},
		{"{record: r4, withheld: [consent-denied]}", "{record: r4}", "exactly one way"},
		{"{record: r4, withheld: [consent-denied]}", "{record: r4, withheld: [consent-denied], released: yes}", "exactly one way"},
		{"recipient: {kind: health-plan}", "recipient: {kind: health-plan}\nrefused: x", "one of expect: and refused:"},
		{"record_id: r4, person_id", "record_id: r4, persn_id", `no column "persn_id"`},
		{"as_of: 2026-06-30", "as_off: 2026-06-30", `did you mean`},
	} {
		if r := altered(t, "members.yaml", c.from, c.to); !strings.Contains(r.Failed, c.why) || r.Passed {
			t.Errorf("%q: %q", c.to, r.Failed)
		}
	}
}

// A clause counts as met only when a record met it.
func TestCoverage(t *testing.T) {
	whole, without := Run(context.Background(), "testdata/members.yaml"), altered(t, "members.yaml", "status: preliminary", "status: final")
	missing := func(r *Result) string { return strings.Join(Covered([]*Result{r})[0].Missing, "\n") }
	const status = "release.scores.only.status keeps out"
	if strings.Contains(missing(whole), status) || !strings.Contains(missing(without), status) {
		t.Errorf("missing: %s", missing(without))
	}
	c := Covered([]*Result{whole, whole})[0]
	if c.Met+len(c.Missing) != c.Clauses || c.Share() >= 1 || c.Share() < 0.5 {
		t.Errorf("%+v", c)
	}
}
