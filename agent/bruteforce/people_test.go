package bruteforce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// clinic is a clinic with one patient for every standing that a person can
// have, and the real engine of decisions to ask about each of them.
type clinic struct {
	tables  *consent.Tables
	answers map[string]map[string]bool // by what the decider looks at of a policy, then by patient and record
}

var (
	directives   = []string{"none", "permit", "deny", "unsure"}
	formVersions = []string{"none", "tpo-2024", "tpo-2026", "tpo-2027"}
	restrictions = []string{"no", "self-pay", "agreed"}
	standings    = []string{"not-in-it", "on-the-day", "another-day", "ambiguous"}
	rosters      = []string{"acme-roster", "beta-roster"}
	yesNo        = []string{"no", "yes"}

	kinds = map[string]string{
		"acme-health-plan": "health-plan", "beta-health-plan": "health-plan", "national-outcomes-registry": "registry",
		"valley-care-group": "provider", "state-health": "public-health", "university": "researcher",
	}
)

// standingVars are the dimensions that the decider's answer depends on, in the
// order in which they make up a patient's id; the last is of the record.
var standingVars = []string{"directive", "form", "opted-out", "restricted", "in:acme-roster", "in:beta-roster", "part2"}

var standingValues = [][]string{directives, formVersions, yesNo, restrictions, standings, standings, yesNo}

func newClinic(t testing.TB) *clinic {
	c := &clinic{answers: map[string]map[string]bool{}, tables: consent.NewTables()}
	people := c.tables.People
	var registry, restricted, unreadable []string
	members := map[string][]string{}
	for _, patient := range product(standingValues[:len(standingValues)-1]) {
		id := strings.Join(patient, "_")
		people.Intern([]byte(id))
		switch patient[0] {
		case "permit", "deny":
			registry = append(registry, id+",general,"+patient[0]+",active,2023-01-01,")
		case "unsure":
			unreadable = append(unreadable, `{"resourceType":"Consent","id":"`+id+`","status":"active","scope":{"coding":[{"code":"patient-privacy"}]},"patient":{"reference":"Patient/`+id+`"},"policyRule":{"coding":[{"code":"OPT"}]}}`)
		}
		if patient[1] != "none" {
			registry = append(registry, id+",part2,permit,active,2023-01-01,"+patient[1])
		}
		if patient[2] == "yes" {
			registry = append(registry, id+",registry-opt-out,deny,active,2023-01-01,")
		}
		if patient[3] != "no" {
			restricted = append(restricted, id+","+patient[3])
		}
		for i, roster := range rosters {
			members[roster] = append(members[roster], memberRows(id, patient[4+i])...)
		}
	}
	folder := t.TempDir()
	write := func(name, header string, rows []string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(header+strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(_ any, err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.tables.Directives.LoadRegistry(write("registry.csv", "patient,scope,decision,status,signed_on,form\n", registry)))
	must(c.tables.Restrictions.Load(write("restrictions.csv", "subject,kind\n", restricted)))
	path := write("consents.ndjson", "", unreadable)
	info, err := os.Stat(path)
	must(info, err)
	must(c.tables.Directives.LoadFHIRConsents(context.Background(), []extract.File{{Name: "consents.ndjson", Path: path, Size: info.Size(), Rule: &extract.FileRule{Format: extract.FHIRNDJSON}}}))
	for roster, rows := range members {
		r, err := consent.LoadRoster(write(roster+".csv", "subject,member_id,from,to\n", rows), people)
		must(r, err)
		c.tables.Rosters[roster] = r
	}
	return c
}

func memberRows(id, standing string) []string {
	switch standing {
	case "on-the-day":
		return []string{id + ",M-" + id + ",2026-01-01,2026-12-31"}
	case "another-day":
		return []string{id + ",M-" + id + ",2026-05-01,2026-05-31"}
	case "ambiguous":
		return []string{id + ",M-" + id + ",2026-01-01,2026-12-31", id + ",N-" + id + ",2026-01-01,2026-12-31"}
	}
	return nil
}

// product lists every combination of one value of each list.
func product(lists [][]string) (all [][]string) {
	all = [][]string{nil}
	for _, list := range lists {
		var next [][]string
		for _, head := range all {
			for _, value := range list {
				next = append(next, append(slices.Clip(slices.Clone(head)), value))
			}
		}
		all = next
	}
	return all
}

// permits answers, by the person's standing, whether the policy's consent
// rules, restrictions and relationship let the record leave. The agreement's
// dates are judged elsewhere: here the day is one on which it is in force.
func (c *clinic) permits(t testing.TB, p *policies.Policy) map[string]bool {
	kind := kinds[p.Recipient]
	key := fmt.Sprint(p.Standard, kind, p.Recipient, p.Purpose, p.Basis, p.Agreement.Kind == "dua", p.People, p.Output.Part2Rows)
	if known := c.answers[key]; known != nil {
		return known
	}
	answers := map[string]bool{}
	c.answers[key] = answers
	q := *p
	q.People.Minors = "" // a gate of its own
	q.Agreement.From, q.Agreement.To = extract.Day(ordinal("2020-01-01")), extract.Day(ordinal("2030-01-01"))
	d, err := consent.NewDecider(consent.Request{Policy: &q, RecipientKind: kind, DecidedAt: time.Date(2026, 7, 5, 12, 0, 0, 0, time.UTC),
		AsOf: extract.Day(ordinal("2026-06-30")), Period: extract.Span{From: extract.Day(ordinal("2026-01-01")), To: extract.Day(ordinal("2026-12-31"))}}, c.tables)
	if err != nil {
		return answers // the table of steps has no line for it: nothing leaves
	}
	for _, part2 := range yesNo {
		f := extract.Facts{Dataset: "Organization", Date: extract.NoSpan}
		if part2 == "yes" {
			f.Labels = []phi.Bytes{phi.Bytes("42CFRPart2")}
		}
		answers["nobody_"+part2] = d.Decide(&f).Reasons == 0
	}
	served := extract.Day(ordinal("2026-03-02"))
	for _, patient := range product(standingValues[:len(standingValues)-1]) {
		id := strings.Join(patient, "_")
		for _, part2 := range yesNo {
			f := extract.Facts{Dataset: "scores", Subjects: []phi.Bytes{phi.Bytes(id)}, Date: extract.Span{From: served, To: served}}
			if part2 == "yes" {
				f.Labels = []phi.Bytes{phi.Bytes("42CFRPart2")}
			}
			answers[id+"_"+part2] = d.Decide(&f).Reasons == 0
		}
	}
	return answers
}

// The clinic's patients stand as their ids say: of each standing one is
// permitted and one kept back, for the reason it is there for.
func TestPeople(t *testing.T) {
	c := newClinic(t)
	s := identifiedCSV()
	s.People.OptOut = true
	permitted := c.permits(t, rendering{nil, s}.policy())
	for patient, want := range map[string]bool{
		"none_none_no_no_on-the-day_not-in-it_no":           true,
		"permit_none_no_no_on-the-day_not-in-it_no":         true,
		"deny_none_no_no_on-the-day_not-in-it_no":           false,
		"unsure_none_no_no_on-the-day_not-in-it_no":         false,
		"none_none_yes_no_on-the-day_not-in-it_no":          false,
		"none_none_no_self-pay_on-the-day_not-in-it_no":     false,
		"none_none_no_agreed_on-the-day_not-in-it_no":       false,
		"none_none_no_no_not-in-it_on-the-day_no":           false,
		"none_none_no_no_another-day_on-the-day_no":         false,
		"none_none_no_no_ambiguous_on-the-day_no":           false,
		"none_none_no_no_on-the-day_not-in-it_yes":          false,
		"none_tpo-2024_no_no_on-the-day_not-in-it_yes":      false,
		"none_tpo-2026_no_no_on-the-day_not-in-it_yes":      true,
		"permit_tpo-2026_no_no_on-the-day_not-in-it_yes":    true,
		"deny_tpo-2026_no_no_on-the-day_not-in-it_yes":      false,
		"none_tpo-2026_no_self-pay_on-the-day_ambiguous_no": false,
	} {
		if got, known := permitted[patient]; !known || got != want {
			t.Errorf("%s: got %v (known: %v)", patient, got, known)
		}
	}
}
