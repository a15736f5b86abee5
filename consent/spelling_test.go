package consent

import (
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// Whoever keeps the lists and whoever writes the extract spell one thing in two
// ways. No spelling may turn a restriction, a denial or a program into nothing.
func TestSpellingsOpenNothing(t *testing.T) {
	o := score("p1", "2026-03-02")
	at := func(encounter string) extract.Facts {
		f := o
		f.Encounter = phi.Bytes(encounter)
		return f
	}
	by := func(providers ...string) extract.Facts {
		f := o
		f.Providers = list(providers)
		return f
	}
	for _, c := range []struct {
		name    string
		set     func(*world)
		facts   extract.Facts
		reasons string
	}{
		{"restricted encounter, record names it by identifier alone", func(w *world) { w.restrict("p1,self-pay,,e9,,,,,,") }, at("?"), "restriction-indeterminate"},
		{"restricted encounter, record names it by a search", func(w *world) { w.restrict("p1,self-pay,,e9,,,,,,") }, at("Encounter?identifier=v|77"), "restriction-indeterminate"},
		{"restricted encounter, record holds a copy of it", func(w *world) { w.restrict("p1,self-pay,,e9,,,,,,") }, at("#visit"), "restriction-indeterminate"},
		{"restricted encounter, record names it by an unresolved urn", func(w *world) { w.restrict("p1,self-pay,,e9,,,,,,") }, at("urn:uuid:1-2"), "restriction-indeterminate"},
		{"restricted encounter, record names it by an address", func(w *world) { w.restrict("p1,self-pay,,e9,,,,,,") }, at("https://ehr/visits/9"), "restriction-indeterminate"},
		{"restricted encounter in another numbering of columns", func(w *world) { w.restrict("p1,self-pay,,V/9,,,,,,") }, func() extract.Facts { f := at("V/10"); f.Dataset = "scores"; return f }(), ""},
		{"restricted encounter written as a reference", func(w *world) { w.restrict("p1,self-pay,,Encounter/e9,,,,,,") }, at("e9"), "restriction-self-pay"},
		{"restricted encounter written as an address", func(w *world) { w.restrict("p1,self-pay,,https://ehr/fhir/Encounter/e9/_history/2,,,,,,") }, at("e9"), "restriction-self-pay"},
		{"restricted person written as a reference", func(w *world) { w.restrict("Patient/p1,self-pay,,,,,,,,") }, o, "restriction-self-pay"},
		{"restricted service written with its system", func(w *world) { w.restrict("p1,self-pay,,,http://loinc.org|44261-6,,,,,") }, o, "restriction-self-pay"},
		{"denial of a person written as a reference", func(w *world) { w.registry("Patient/p1,general,deny,active") }, o, "consent-denied"},
		{"denial of a person written as an address", func(w *world) { w.registry("https://ehr/fhir/Patient/p1,general,deny,active") }, o, "consent-denied"},
		{"denial of a code written with its system", func(w *world) { w.registry("p1,general,deny,active,,,code:http://loinc.org|44261-6") }, o, "consent-denied"},
		{"member written as a reference", func(w *world) { w.roster("Patient/p1,M1,2026-01-01,") }, o, ""},
		{"program written as a reference", func(w *world) { w.programs("organization,Organization/sud,,") }, by("Organization/sud"), "part2-no-consent"},
		{"a second organization that is named by a search", func(w *world) { w.programs("organization,sud,,") }, by("Organization/main", "Organization?identifier=npi|5"), "part2-no-consent"},
		{"a second provider that the record holds itself", func(w *world) { w.programs("organization,sud,,") }, by("Organization/main", "#org"), "part2-no-consent"},
		{"a second provider that nothing resolves", func(w *world) { w.programs("organization,sud,,") }, by("Organization/main", "urn:uuid:7"), "part2-no-consent"},
		{"a practitioner by a search, where organizations are programs", func(w *world) { w.programs("organization,sud,,") }, by("Organization/main", "Practitioner?identifier=npi|5"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			w.expect(c.facts, c.reasons)
		})
	}
}

// A label that says nothing about sensitivity (a handling instruction, a mark
// of test data) is no sign that somebody has looked for sensitivity.
func TestHandlingLabelsAreNoClassification(t *testing.T) {
	o := score("p1", "2026-03-02")
	for _, label := range []string{"HTEST", "NOREDISCLOSE", "local-mark", ""} {
		newWorld(t).registry("p1,general,deny,active,,,PSY").expect(labelled(o, label), "consent-denied,consent-indeterminate")
	}
	newWorld(t).registry("p1,general,deny,active,,,PSY").expect(labelled(o, "HIV"), "")
	for _, label := range []string{"psythpn", " PSYTHPN", "PsyThpn\t"} {
		newWorld(t).expect(labelled(o, label), "psychotherapy-notes")
	}
	newWorld(t).expect(labelled(o, "42cfrpart2 "), "part2-no-consent")
	// A mark of 42 CFR Part 2 says substance use, though not which.
	newWorld(t).treatment().registry("p1,general,deny,active,,,SUD", "p1,part2,permit,active,,,,,,2026-02-01,tpo-2026").expect(labelled(o, "42CFRPart2"), "consent-denied")
	newWorld(t).treatment().registry("p1,general,deny,active,,,ETHUD", "p1,part2,permit,active,,,,,,2026-02-01,tpo-2026").expect(labelled(o, "42CFRPart2"), "consent-denied,consent-indeterminate")
}

// Two servers number their Consents alike. What each closes is kept for itself.
func TestConsentsOfOneNumberCloseEachForItself(t *testing.T) {
	first := fhir("1", "active", "OPTOUT", "")
	second := `{"resourceType":"Consent","id":"1","status":"active","scope":{"coding":[{"code":"patient-privacy"}]},` +
		`"category":[{"coding":[{"code":"59284-0"}]}],"patient":{"reference":"Patient/p2"},"policyRule":{"coding":[{"code":"OPTOUT"}]}}`
	w := newWorld(t).general(policies.PermitWithout).consents(first, second)
	kept := map[[16]byte]ClosingRow{} // as the state keeps them: one row a key
	for _, row := range w.tables.Directives.Closing() {
		kept[row.Key] = row
	}
	w.tables.Directives = NewDirectives(w.tables.People)
	for _, row := range kept {
		w.must(w.tables.Directives.Restore([]ClosingRow{row}))
	}
	w.expect(score("p1", "2026-03-02"), "consent-denied")
	w.expect(score("p2", "2026-03-02"), "consent-denied")
}

func TestTellsRecordsApart(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*world)
		want bool
	}{
		"identified":    {func(w *world) {}, true},
		"de-identified": {func(w *world) { w.safeHarbor() }, false},
		"no directives at all": {func(w *world) {
			w.safeHarbor()
			w.req.Policy.People.RegistryOptOut = true
			w.tables.Directives = NewDirectives(w.tables.People)
		}, false},
		"opt-out promised": {func(w *world) {
			w.safeHarbor().registry("p1,registry-opt-out,deny,active")
			w.req.Policy.People.RegistryOptOut = true
		}, true},
		"Part 2 left out":              {func(w *world) { w.safeHarbor(); w.req.Policy.People.Part2LeaveOut = true }, true},
		"members only, though no need": {func(w *world) { w.safeHarbor(); w.req.Policy.People.Roster = "members" }, true},
	} {
		w := newWorld(t)
		c.set(w)
		d, err := NewDecider(w.req, w.tables)
		w.must(err)
		if d.TellsRecordsApart() != c.want {
			t.Errorf("%s: want %v", name, c.want)
		}
	}
}
