package consent

import (
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
