package casefile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/strictyaml"
)

const shared = `common:
  as_of: 2026-06-30
  decided_at: 2026-07-05T02:00:00-05:00
  request: {recipient: acme, kind: health-plan, purpose: HOPERAT, basis: "45 CFR 164.506(c)(4)", standard: identified}
  consent_rule: {general: permit, part2: deny}
  clinic: {others: [other], labels: complete}
  coverage:
    - {subject: p1, from: 2026-01-01, to: 2026-12-31}
  records:
    - {id: r1, subject: p1, date: 2026-03-02, encounter: e9}
---
case: one
`

func write(t *testing.T, text string) string {
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// run runs the only case of a file, which begins with shared.
func run(t *testing.T, text string) *Result {
	t.Helper()
	results, err := RunFile(context.Background(), write(t, shared+text))
	if err != nil || len(results) != 1 {
		t.Fatalf("%d results, %v", len(results), err)
	}
	return results[0]
}

// Cases that hold: each shows that one key of the format reaches the decision.
func TestEveryKeyIsDecidedBy(t *testing.T) {
	const permitted, denied = "expect: [{record: r1, effect: permit, reasons: []}]\n", "expect: [{record: r1, effect: deny, reasons: [%]}]\n"
	deny := func(reasons string) string { return strings.Replace(denied, "%", reasons, 1) }
	doubt := func(reasons string) string { return strings.Replace(deny(reasons), "deny", "indeterminate", 1) }
	consent := `{resourceType: Consent, id: c1, status: active, scope: {coding: [{code: patient-privacy}]}, category: [{coding: [{code: 59284-0}]}], ` +
		`patient: {reference: Patient/p1}, dateTime: 2026-02-01, policyRule: {coding: [{code: OPTOUT}]}}`
	for name, text := range map[string]string{
		"common alone": permitted,
		"directives of a registry": `directives: [{patient: p1, scope: general, decision: deny, status: active, categories: PSY; SUD, from: 2026-01-01}]
records: [{id: r1, subject: p1, date: 2026-03-02, labels: [SUD]}]
` + deny("consent-denied"),
		"directives in FHIR":    "directives: [" + consent + "]\n" + deny("consent-denied"),
		"directives malformed":  "directives:\n  - " + consent + "\n  - {malformed: '{\"resourceType\":'}\nstops: input\n",
		"restrictions":          "restrictions: [{subject: p1, kind: self-pay, recipient: acme, encounter: e9}]\n" + deny("restriction-self-pay"),
		"doubt":                 "restrictions: [{subject: p1, kind: self-pay, plan: nobody}]\n" + doubt("restriction-indeterminate"),
		"identifiers":           "request: {identifiers: [nobody]}\nrestrictions: [{subject: p1, kind: self-pay, plan: nobody}]\n" + deny("restriction-self-pay"),
		"others":                "restrictions: [{subject: p1, kind: self-pay, plan: other}]\n" + permitted,
		"coverage of another":   "coverage: [{subject: p1, plan: other, from: 2026-01-01}]\n" + deny("not-a-member"),
		"coverage of this":      "coverage: [{subject: p1, plan: acme, from: 2026-01-01}]\n" + permitted,
		"member_id":             "coverage: [{subject: p1, member_id: m, from: 2026-01-01}, {subject: p2, member_id: m, from: 2026-01-01}]\n" + doubt("member-ambiguous"),
		"coverage that is none": "coverage: [{subject: p1, to: 2026-12-31}]\nstops: input\n",
		"period":                "request: {covered: any-day-of-period, period: {from: 2026-04-01, to: 2026-06-30}}\ncoverage: [{subject: p1, from: 2026-05-01}]\n" + permitted,
		"relationship":          "request: {kind: provider, purpose: TREAT, basis: 45 CFR 164.506(c)(2), relationship: yes}\ncoverage: []\n" + deny("not-a-member, clinic-choice"),
		"programs":              "programs: [{kind: organization, id: o1, from: 2026-01-01}]\nrecords: [{id: r1, subject: p1, date: 2026-03-02, providers: [Organization/o1]}]\nexpect: [{record: r1, effect: deny, reasons: [part2-no-consent], part2: yes}]\n",
		"encounters":            "programs: [{kind: organization, id: o1, from: 2026-01-01}]\nencounters: [{id: e9, subject: p1, date: 2026-03-02, providers: [Organization/o2]}]\nexpect: [{record: r1, effect: permit, reasons: [], part2: no}]\n",
		"accept_forms":          "consent_rule: {accept_forms: [f1]}\nrecords: [{id: r1, subject: p1, date: 2026-03-02, labels: [42CFRPart2]}]\ndirectives: [{patient: p1, scope: part2, decision: permit, status: active, purpose: TREAT; HOPERAT, signed_on: 2026-01-01, form: f1}]\n" + permitted,
		"patients":              "patients: [{id: p1, linked_to: p2}]\n" + doubt("merge-unresolved"),
		"notes":                 "clinic: {psychotherapy_notes: [a], sud_counseling_notes: [b]}\nrecords: [{id: r1, subjects: [p1], date: 2026-03-02, codes: [a, b]}]\n" + deny("psychotherapy-notes, sud-counseling-notes"),
		"labels":                "clinic: {labels: partial}\ndirectives: [{patient: p1, scope: general, decision: permit, status: active, categories: PSY}]\nconsent_rule: {general: deny}\n" + doubt("consent-indeterminate"),
		"agreement":             "agreement: {kind: provider-contract, id: a, from: 2026-01-01, to: 2026-07-04}\n" + deny("agreement-lapsed"),
		"open agreement":        "agreement: {kind: provider-contract, id: a, from: 2026-01-01, to: open, review_by: 2026-07-05}\n" + permitted,
		"limited data set":      "request: {standard: limited-data-set, purpose: HRESCH, basis: 45 CFR 164.514(e)}\n" + permitted,
		"clinic_choice":         "request: {kind: registry, standard: safe-harbor, purpose: HRESCH, basis: 45 CFR 164.502(d)}\nclinic_choice: {registry_opt_out: leave-out}\ndirectives: [{patient: p1, scope: registry-opt-out, decision: deny, status: active}]\n" + deny("clinic-choice"),
		"de-identified":         "request: {kind: registry, standard: safe-harbor, purpose: HRESCH, basis: 45 CFR 164.502(d)}\nexpect: [{record: r1, effect: not-applicable, reasons: []}]\n",
		"no such disclosure":    "request: {basis: 45 CFR 164.999}\nstops: request\n",
		"data":                  "restrictions: [{subject: p1, kind: self-pay, encounter: e1}]\nrecords: [{id: r1, data: {resourceType: Observation, id: r1, status: final, subject: {reference: Patient/p1}, encounter: {reference: Encounter/e1}, effectiveDateTime: 2026-03-02}}]\n" + deny("restriction-self-pay"),
		"data about nobody":     "records: [{id: r1, data: {resourceType: Observation, id: r1, status: final}}]\n" + deny("no-subject"),
	} {
		t.Run(name, func(t *testing.T) {
			if r := run(t, text); !r.Passed {
				t.Errorf("%s %v", r.Failed, r.Diffs)
			}
		})
	}
}

// Cases that do not hold say so.
func TestWhatDoesNotHold(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"another effect":     {"expect: [{record: r1, effect: deny, reasons: [consent-denied]}]\n", "[{r1 deny: consent-denied permit}]"},
		"reasons missing":    {"coverage: []\ndirectives: [{patient: p1, scope: general, decision: deny, status: active}]\nexpect: [{record: r1, effect: deny, reasons: [consent-denied]}]\n", "[{r1 deny: consent-denied deny: consent-denied, not-a-member}]"},
		"part2":              {"expect: [{record: r1, effect: permit, reasons: [], part2: yes}]\n", "[{r1 permit (Part 2: yes) permit (Part 2: no)}]"},
		"decided":            {"stops: input\n", "the records were decided; expected: stops: input"},
		"stopped":            {"programs: [{kind: clinic, id: x}]\nexpect: [{record: r1, effect: permit, reasons: []}]\n", "stops: input: line 13: kind is none of"},
		"stopped by a table": {"coverage: [{subject: p1, to: 2026-12-31}]\nstops: request\n", "stops: input: line 12: from is empty: coverage needs its first day; expected: stops: request"},
		"cannot be laid":     {"records: [{id: r1, subject: p1, date: never}]\nexpect: [{record: r1, effect: deny, reasons: [not-a-member]}]\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, c.text)
			if r.Passed != (c.want == "") || !strings.Contains(r.Failed+strings.ReplaceAll(strings.Join(differences(r), " "), "\n", ""), c.want) {
				t.Errorf("%v %s %v", r.Passed, r.Failed, r.Diffs)
			}
		})
	}
}

func differences(r *Result) (list []string) {
	for _, d := range r.Diffs {
		list = append(list, "[{"+d.Record+" "+d.Expected+" "+d.Got+"}]")
	}
	return list
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	const fine = "expect: [{record: r1, effect: permit, reasons: []}]\n"
	for name, c := range map[string]struct{ text, want string }{
		"unknown key":       {shared + "expects: []\n" + fine, ":13:1: expects: unknown key"},
		"nothing expected":  {shared, ":12:1: expect: the key is missing, and common has none"},
		"record forgotten":  {shared + "records: [{id: r1}, {id: r2}]\n" + fine, `:14:9: expect: nothing is expected of record "r2"`},
		"record unknown":    {shared + "expect: [{record: r1, effect: permit, reasons: []}, {record: r9, effect: permit, reasons: []}]\n", `there is no record "r9"`},
		"record twice":      {shared + "expect: [{record: r1, effect: permit, reasons: []}, {record: r1, effect: permit, reasons: []}]\n", "expected twice"},
		"unknown reason":    {shared + "expect: [{record: r1, effect: deny, reasons: [consent-refused]}]\n", `there is no reason "consent-refused"`},
		"unknown column":    {shared + "restrictions: [{subject: p1, sort: agreed}]\n" + fine, ":13:36: restrictions[0].sort: there is no column"},
		"cell that is none": {shared + "programs: [{kind: [organization]}]\n" + fine, "a cell is a single value"},
		"row that is none":  {shared + "directives: [deny]\n" + fine, "a row is a mapping"},
		"both":              {shared + "stops: input\n" + fine, ":14:9: expect: nothing is decided in a case that stops"},
		"common":            {strings.Replace(shared, "labels: complete", "labels: all", 1) + fine, ":6:37: common.clinic.labels"},
		"row of common":     {strings.Replace(shared, "  records:\n", "  restrictions: [{sort: agreed}]\n  records:\n", 1) + fine, ":9:25: common.restrictions[0].sort: there is no column"},
		"without common":    {"case: one\n" + fine, ":1:1: as_of: the key is missing"},
		"no YAML":           {"case: [\n", "not readable as YAML"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(write(t, c.text))
			var mistakes *strictyaml.Errors
			if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	if _, err := strictyaml.Files(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error")
	}
	results, err := RunFile(context.Background(), filepath.Join(t.TempDir(), "none.yaml"))
	if err != nil || len(results) != 1 || results[0].Passed || !strings.Contains(results[0].Failed, "reading the cases") {
		t.Errorf("%v %v", results, err)
	}
	file := write(t, shared+"expect: [{record: r1, effect: permit, reasons: []}]\n")
	if files, err := strictyaml.Files(file); err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
	ended, end := context.WithCancel(context.Background())
	end()
	if _, err := RunFile(ended, file); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
