package consent

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// A ground that the officer has named stands for the consent of 2.31 and for
// nothing else.
func TestOtherGroundsUnderPart2(t *testing.T) {
	const tpo = "p1,part2,permit,active,,,,,,2026-02-01,tpo-2026"
	f := labelled(score("p1", "2026-03-02"), "42CFRPart2")
	for name, c := range map[string]struct{ row, from, to, reasons string }{
		"in force":               {"", "2026-01-01", "2026-07-05", ""},
		"lapsed":                 {"", "2026-01-01", "2026-07-04", "part2-no-consent"},
		"beside a denial":        {"p1,part2,deny,active", "2026-01-01", "2026-12-31", "consent-denied"},
		"beside a revocation":    {"p1,part2,permit,revoked,,,,,,2026-02-01,tpo-2026", "2026-01-01", "2026-12-31", "consent-revoked"},
		"beside a consent":       {tpo, "2026-01-01", "2026-12-31", ""},
		"lapsed, with a consent": {tpo, "2025-01-01", "2025-12-31", ""},
	} {
		w := newWorld(t)
		w.req.Policy.People.Grounds = []policies.Part2Ground{{Section: "2.53", Paper: "A-1", From: day(c.from), To: day(c.to), ReviewBy: extract.NoDay}}
		if c.row != "" {
			w.registry(c.row)
		}
		if got := w.decide(f).Reasons.Names(); got != c.reasons {
			t.Errorf("%s: %q, want %q", name, got, c.reasons)
		}
	}
}

// Consent for legal proceedings is one for nothing else (42 CFR 2.31(d)).
func TestConsentForLegalProceedings(t *testing.T) {
	const purpose = `"purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"HLEGAL"}]`
	const form = `"policy":[{"uri":"https://clinic/forms/tpo-2026"}],`
	f := labelled(score("p1", "2026-03-02"), "42CFRPart2")
	for name, c := range map[string]struct{ row, consent, reasons string }{
		"that purpose":                    {"p1,part2,permit,active,,HLEGAL,,,,2026-02-01,tpo-2026", "", ""},
		"another one beside it":           {"p1,part2,permit,active,,HLEGAL;TREAT,,,,2026-02-01,tpo-2026", "", "part2-no-consent"},
		"treatment, payment, operations":  {"p1,part2,permit,active,,TPO,,,,2026-02-01,tpo-2026", "", "part2-no-consent"},
		"no purpose":                      {"p1,part2,permit,active,,,,,,2026-02-01,tpo-2026", "", "part2-no-consent"},
		"an exception for it":             {"", fhir("c1", "active", "OPTOUT", form+`"provision":{"provision":[{"type":"permit",`+purpose+`}]}`), ""},
		"an exception beside a wider one": {"", fhir("c1", "active", "OPTOUT", form+`"provision":{"provision":[{"type":"permit",`+purpose+`},{"type":"permit"}]}`), "part2-no-consent"},
	} {
		w := newWorld(t)
		w.req.Policy.Basis, w.req.Policy.Purpose, w.req.Policy.People.Roster = "45 CFR 164.512(a)", "HLEGAL", ""
		if w.tables.Rosters = nil; c.row != "" {
			w.registry(c.row)
		} else {
			w.consents(c.consent)
		}
		if got := w.decide(f).Reasons.Names(); got != c.reasons {
			t.Errorf("%s: %q, want %q", name, got, c.reasons)
		}
	}
}

// A recipient learns on what each record rests: of this consent what permits the
// record, in no words but those of the policy and of code systems.
func TestRestsOn(t *testing.T) {
	const form = `"policy":[{"uri":"https://clinic/forms/tpo-2026"}],`
	const denied = `{"type":"deny","securityLabel":[{"code":"SUD"}],"provision":[{"type":"permit","period":{"start":"2026-01-01"},"dataPeriod":{"start":"2026-01-01","end":"2026-06-30"}}]}`
	const all = "consent: 42 CFR 2.31\nfrom whom: the sender\nwhat: all records\nto whom: acme-health-plan\nfor what: all purposes\n"
	const signed = "form: tpo-2026\nsigned: 2026-02-01"
	audit := policies.Part2Ground{Section: "2.53", Paper: "A-1", From: day("2026-01-01"), To: day("2026-12-31"), ReviewBy: extract.NoDay}
	const onAudit = "ground: 42 CFR 2.53, an audit or evaluation\npaper: A-1\nin force from: 2026-01-01\nin force until: 2026-12-31"
	f := labelled(score("p1", "2026-03-02"), "42CFRPart2", "SUD")
	for name, c := range map[string]struct {
		set  func(w *world)
		want string
	}{
		"a row without limits": {func(w *world) { w.registry("p1,part2,permit,active,,,,,,2026-02-01,https://clinic/forms/tpo-2026") }, all + signed},
		"a row with all of them": {func(w *world) {
			w.req.Self = []string{"clearview"}
			w.registry("p1,part2,permit,active,other;acme,TPO,SUD;ETH,1969-12-31,2026-12-31,2026-02-01,tpo-2026")
		}, "consent: 42 CFR 2.31\nfrom whom: clearview\nwhat: labelled SUD, ETH\nto whom: acme-health-plan\nfor what: TREAT, HPAYMT, HOPERAT\nin force from: 1969-12-31\nin force until: 2026-12-31\n" + signed},
		"a type": {func(w *world) { w.registry("p1,part2,permit,active,,,class:Observation,,,2026-02-01,tpo-2026") }, strings.Replace(all, "all records", "of the types Observation", 1) + signed},
		"a code": {func(w *world) { w.registry("p1,part2,permit,active,,,code:44261-6,,,2026-02-01,tpo-2026") }, strings.Replace(all, "all records", "of certain codes", 1) + signed},
		"records": {func(w *world) {
			w.consents(fhir("c1", "active", "OPTOUT", form+`"provision":{"provision":[{"type":"permit","data":[{"meaning":"instance","reference":{"reference":"Observation/o1"}}]}]}`))
		}, strings.Replace(all, "all records", "named in it one by one", 1) + signed},
		"an exception in an exception": {func(w *world) {
			w.consents(fhir("c1", "active", "OPTIN", form+`"provision":{"provision":[`+denied+`]}`))
		},
			strings.Replace(all, "all records", "labelled SUD; made from 2026-01-01; made until 2026-06-30", 1) + "in force from: 2026-01-01\n" + signed},
		"an exception that is another's": {func(w *world) {
			w.consents(fhir("c1", "active", "OPTIN", form+`"provision":{"provision":[{"type":"deny","securityLabel":[{"code":"HIV"}]}]}`))
		}, all + signed},
		"the newest of two": {func(w *world) {
			w.registry("p1,part2,permit,active,,TPO,,,,2026-01-01,tpo-2026", "p1,part2,permit,active,,,,,,2026-02-01,tpo-2026", "p1,part2,permit,revoked,,,,,,2025-01-01,tpo-2026")
		}, all + signed},
		"a ground": {func(w *world) { w.req.Policy.People.Grounds = []policies.Part2Ground{audit} }, onAudit},
		"a ground beside a general consent": {func(w *world) {
			w.registry("p1,general,permit,active,,,,,,2026-02-01,old")
			w.req.Policy.People.Grounds = []policies.Part2Ground{audit}
		}, onAudit},
		"consent before a ground": {func(w *world) {
			w.registry("p1,part2,permit,active,,,,,,2026-02-01,tpo-2026")
			w.req.Policy.People.Grounds = []policies.Part2Ground{audit}
		}, all + signed},
		"nothing": {func(w *world) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			d, err := NewDecider(w.req, w.tables)
			w.must(err)
			if got := d.RestsOn(&f); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
	w := newWorld(t).registry("p1,part2,permit,active,,,,,,2026-02-01,tpo-2026", "p2,part2,permit,active,,,,,,2026-03-01,tpo-2026")
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	f.Subjects = list([]string{"p1", "p2", "p1", "stranger"})
	if got, want := d.RestsOn(&f), all+signed+"\n\n"+all+strings.Replace(signed, "02-01", "03-01", 1); got != want {
		t.Errorf("of two people: %s", got)
	}
}
