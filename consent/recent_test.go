package consent

import (
	"fmt"
	"testing"

	"github.com/posternhealth/postern/policies"
)

func TestMostRecent(t *testing.T) {
	row := func(scope, decision, status, signed, more string) string {
		return fmt.Sprintf("p1,%s,%s,%s,,,%s,,,%s", scope, decision, status, more, signed)
	}
	old, young := "2026-02-01", "2026-03-01"
	denied, permitted := row("general", "deny", "active", old, ""), row("general", "permit", "active", young, "")
	for _, c := range []struct {
		name    string
		rows    []string
		reasons string // the same in any order of rows
	}{
		{"a newer permit overtakes a denial", []string{denied, permitted}, ""},
		{"a newer denial stands", []string{row("general", "permit", "active", old, ""), row("general", "deny", "active", young, "")}, "consent-denied"},
		{"of one day nobody can tell", []string{row("general", "deny", "active", young, ""), permitted}, "consent-denied"},
		{"a denial without a date may be the newest", []string{row("general", "deny", "active", "", ""), permitted}, "consent-denied"},
		{"a permit without a date may be the oldest", []string{denied, row("general", "permit", "active", "", "")}, "consent-denied"},
		{"the newest permit is not yet signed", []string{denied, row("general", "permit", "active", "2026-07-06", "")}, "consent-denied,consent-indeterminate"},
		{"the newest permit is over", []string{denied, row("general", "permit", "expired", young, "")}, "consent-denied,consent-expired"},
		{"the newest permit was taken back", []string{denied, row("general", "permit", "revoked", young, "")}, "consent-denied,consent-revoked"},
		{"the newest permit is about something else", []string{denied, row("general", "permit", "active", young, "code:90834")}, "consent-denied"},
		{"the newest cannot be evaluated", []string{denied, permitted, row("general", "permit", "active", "2026-04-01", "PSY")}, "consent-denied"},
		{"the newest denial cannot be evaluated", []string{permitted, row("general", "deny", "active", "2026-04-01", "PSY")}, "consent-denied,consent-indeterminate"},
		{"a permit newer than all doubts", []string{denied, row("general", "permit", "active", young, "PSY"), row("general", "permit", "active", "2026-04-01", "")}, ""},
		{"another scope", []string{row("research", "permit", "active", young, ""), denied}, "consent-denied"},
		{"a restriction of state law stands", []string{row("state", "deny", "active", old, ""), row("state", "permit", "active", young, ""), permitted}, "state-law-consent"},
		{"another person's permit", []string{denied, "p2,general,permit,active,,,,,," + young}, "consent-denied"},
		{"a permit alone", []string{permitted}, ""},
		{"nothing on file", nil, "consent-missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for range 2 {
				w := newWorld(t).general(policies.DenyWithout)
				w.req.Policy.People.MostRecent = true
				w.registry(append([]string(nil), c.rows...)...).expect(score("p1", "2026-03-02"), c.reasons)
				for i, j := 0, len(c.rows)-1; i < j; i, j = i+1, j-1 {
					c.rows[i], c.rows[j] = c.rows[j], c.rows[i]
				}
			}
		})
	}
}

// A newer permit of another source overtakes nothing, and an unreadable
// directive of any source leaves the person in doubt.
func TestMostRecentIsWithinOneSource(t *testing.T) {
	o := score("p1", "2026-03-02")
	w := newWorld(t).general(policies.DenyWithout).registry("p1,general,deny,active,,,,,,2026-01-01").consents(fhir("c", "active", "OPTIN", ""))
	w.req.Policy.People.MostRecent = true
	w.expect(o, "consent-denied")
	w.consents(fhir("bad", "on", "OPTIN", "")).expect(o, "consent-denied,consent-indeterminate")
}

// More scopes and sources than are told apart: a denial beats a permit.
func TestMostRecentIsBounded(t *testing.T) {
	w := newWorld(t).general(policies.DenyWithout).registry("p1,general,deny,active,,,,,,2026-01-01")
	w.req.Policy.People.MostRecent = true
	for i := range maxBallots {
		_, err := w.tables.Directives.LoadRegistry(w.file(fmt.Sprintf("r%d.csv", i), registryHeader, []string{"p1,general,permit,active,,,,,,2026-02-01,,,"}))
		w.must(err)
	}
	w.expect(score("p1", "2026-03-02"), "consent-denied")
}

// The bound of a policy that asks for it, too: nothing is allocated.
func TestMostRecentAllocatesNothing(t *testing.T) {
	w := newWorld(t).registry("p1,general,deny,active,,,,,,2026-01-01", "p1,general,permit,active,,,,,,2026-02-01")
	w.req.Policy.People.MostRecent = true
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	f := score("p1", "2026-03-02")
	if n := testing.AllocsPerRun(100, func() { d.Decide(&f) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
