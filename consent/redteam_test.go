package consent

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// later reads the directives once more, as they stand now.
func (w *world) later(now func(*world)) *world {
	w.t.Helper()
	kept := w.tables.Directives.Closing()
	w.tables.Directives = NewDirectives(w.tables.People)
	now(w)
	w.must(w.tables.Directives.Restore(kept))
	return w
}

// What was taken back or denied is not opened by writing over it: a status, or
// a Consent of the same id that denies no more, needs a newer signature.
func TestWrittenOver(t *testing.T) {
	o := score("p1", "2026-03-02")
	permit := func(id, more string) string { return fhir(id, "active", "OPTIN", more) }
	renewed := `{"resourceType":"Consent","id":"c","status":"active","scope":{"coding":[{"code":"patient-privacy"}]},` +
		`"patient":{"reference":"Patient/p1"},"dateTime":"2026-06-01","policyRule":{"coding":[{"code":"OPTIN"}]}}`
	row := func(status, day string) string { return "p1,general,permit," + status + ",,,,,," + day }
	for name, c := range map[string]struct {
		before, after func(*world)
		reasons       string
	}{
		"a revocation by its status": {func(w *world) { w.registry(row("revoked", "2026-02-01")) }, func(w *world) { w.registry(row("active", "2026-02-01")) }, "consent-revoked"},
		"a revocation by another status": {func(w *world) { w.registry(row("revoked", "2026-02-01")) }, func(w *world) {
			w.registry(row("expired", "2026-02-01"), "p1,general,permit,active,acme,,,,,2026-01-01")
		}, "consent-expired,consent-revoked"},
		"a revocation by a newer signature": {func(w *world) { w.registry(row("revoked", "2026-02-01")) }, func(w *world) { w.registry(row("active", "2026-06-01")) }, ""},
		"a revocation that never was one": {func(w *world) { w.registry(row("revoked", "2026-02-01")) }, func(w *world) {
			w.registry(row("entered-in-error", "2026-02-01"), "p1,general,permit,active,acme,,,,,2026-01-01")
		}, ""},
		"a Consent taken back, by its status":   {func(w *world) { w.consents(fhir("c", "inactive", "OPTIN", "")) }, func(w *world) { w.consents(permit("c", "")) }, "consent-revoked"},
		"a Consent declined, by its status":     {func(w *world) { w.consents(fhir("c", "rejected", "OPTIN", "")) }, func(w *world) { w.consents(permit("c", "")) }, "consent-denied"},
		"a Consent that denied, by a base":      {func(w *world) { w.consents(fhir("c", "active", "OPTOUT", "")) }, func(w *world) { w.consents(permit("c", "")) }, "consent-denied"},
		"an exception that denied, left out":    {func(w *world) { w.consents(permit("c", `"provision":{"provision":[{"type":"deny"}]}`)) }, func(w *world) { w.consents(permit("c", "")) }, "consent-denied"},
		"a Consent that denied, signed anew":    {func(w *world) { w.consents(fhir("c", "active", "OPTOUT", "")) }, func(w *world) { w.consents(renewed) }, ""},
		"a draft that denied, decided since":    {func(w *world) { w.consents(fhir("c", "draft", "OPTOUT", "")) }, func(w *world) { w.consents(permit("c", "")) }, ""},
		"a Consent not understood, then mended": {func(w *world) { w.consents(fhir("c", "on", "OPTOUT", "")) }, func(w *world) { w.consents(permit("c", "")) }, ""},
		"a denial, by its own last day": {func(w *world) { w.consents(fhir("c", "active", "OPTOUT", "")) }, func(w *world) {
			w.consents(fhir("c", "active", "OPTOUT", `"provision":{"period":{"end":"2026-07-01"}}`))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).general(policies.DenyWithout)
			c.before(w)
			if c.reasons == "" {
				w.general(policies.PermitWithout)
			}
			for range 3 { // it is kept from reading to reading
				w.later(c.after).expect(o, c.reasons)
			}
		})
	}
}

// A list kept by hand writes a code in small letters, or a diagnosis without its
// point, as claims have it: what is closed by it may be meant.
func TestCodesWrittenOtherwise(t *testing.T) {
	for _, c := range []struct{ listed, recorded, denial string }{
		{"F10.20", "F10.20", "consent-denied"},
		{"F10.20", "F1020", "consent-denied,consent-indeterminate"},
		{"f10.20", "F10.20", "consent-denied,consent-indeterminate"},
		{"F1020", "F10.20", "consent-denied,consent-indeterminate"},
		{"F10", "F1020", "consent-denied,consent-indeterminate"},
		{"F10.2", "F10.20", "consent-denied,consent-indeterminate"},
		{"F10", "F11.20", ""},
		{"h0004", "H0004", "consent-denied,consent-indeterminate"},
		{"H0004", "H0005", ""},
		{"96127", "961270", ""},
	} {
		o := score("p1", "2026-03-02")
		o.Codes = list([]string{c.recorded})
		newWorld(t).registry("p1,general,deny,active,,,code:"+c.listed).expect(o, c.denial)
	}
}

// A label written in small letters is the label still.
func TestLabelsWrittenOtherwise(t *testing.T) {
	w := newWorld(t).registry("p1,general,deny,active,,,HIV")
	w.expect(labelled(score("p1", "2026-03-02"), "PSY", "HIV"), "consent-denied")
	w.expect(labelled(score("p1", "2026-03-02"), "PSY", "hiv"), "consent-denied")
}

// The Patient/p1 of another server may be anybody: what was decided there grounds
// nothing here, and may be a denial.
func TestConsentsOfAnotherServer(t *testing.T) {
	for ref, reasons := range map[string]string{
		"Patient/p1":                                     "",
		"https://ehr.example/fhir/Patient/p1":            "",
		"https://ehr.example/fhir/Patient/p1/_history/2": "",
		"https://other.example/fhir/Patient/p1":          "consent-indeterminate",
		"https://ehr.example/other/Patient/p1":           "consent-indeterminate",
	} {
		w := newWorld(t).general(policies.DenyWithout)
		w.tables.Directives.OwnServers([]string{"clearview", "Organization/clearview", "https://ehr.example/fhir/Organization/clearview", "http://npi|1"})
		w.consents(strings.Replace(fhir("c", "active", "OPTIN", ""), "Patient/p1", ref, 1))
		w.expect(score("p1", "2026-03-02"), reasons)
	}
}
