package consent

import (
	"slices"
	"testing"

	"github.com/posternhealth/postern/extract"
)

// TestRevocations: what closes, of which kind and since which day; nothing that
// permits, concerns other matters or is over.
func TestRevocations(t *testing.T) {
	w := newWorld(t).registry(
		"denied,general,deny,active,,,,,,2026-02-01",
		"opted-out,registry-opt-out,deny,active",
		"taken-back,general,permit,revoked,,,,,,2026-01-01,,2026-03-02,desk",
		"taken-back-some-day,general,permit,revoked,,,,,,2026-01-01",
		"expired,part2,permit,expired,,,,,,2026-01-01,,2026-03-03,desk",
		"ends-tomorrow,general,deny,active,,,,,,2026-02-02,,2026-07-06,desk",
		"ends-today,general,deny,active,,,,,,2026-02-02,,2026-07-05,desk",
		"in-error,general,deny,entered-in-error,,,,,,2026-02-02,,2026-02-03,desk",
		"over,general,deny,expired,,,,2026-01-01,2026-02-01,2026-01-01",
		"permitted,general,permit,active,,,,,,2026-01-01",
	).consents(
		fhir("declined", "rejected", "OPTIN", ""),
		fhir("unclear", "active", "OPTIN", `"modifierExtension":[{"url":"x","valueBoolean":true}]`),
		`{"resourceType":"Consent","id":"will","status":"active","scope":{"coding":[{"code":"adr"}]},"category":[{"coding":[{"code":"59284-0"}]}],"patient":{"reference":"Patient/p1"},"policyRule":{"coding":[{"code":"OPTOUT"}]}}`,
	).restrict(
		"paid,self-pay,,,,,,,,",
		"asked,agreed,,,,,,,2026-07-06,desk",
		"asked-no-more,agreed,,,,,,,2026-07-05,desk",
	)
	type told struct {
		id, kind string
		day      extract.Day
	}
	var got []told
	keys := map[[16]byte]bool{}
	on := day("2026-07-05")
	for _, r := range append(w.tables.Directives.Revocations(on), w.tables.Restrictions.Revocations(on)...) {
		got = append(got, told{string(w.tables.People.ID(r.Subject)), r.Kind, r.Day})
		if keys[r.Key] = true; r.File == "" {
			t.Errorf("%s %s stands nowhere", r.Kind, got[len(got)-1].id)
		}
	}
	want := []told{
		{"denied", "denied", day("2026-02-01")}, {"opted-out", "denied", extract.NoDay},
		{"taken-back", "revoked", day("2026-03-02")}, {"taken-back-some-day", "revoked", extract.NoDay}, {"expired", "expired", day("2026-03-03")},
		{"ends-tomorrow", "denied", day("2026-02-02")},
		{"p1", "declined", day("2026-02-01")}, {"p1", "unreadable", extract.NoDay},
		{"paid", "restricted-self-pay", extract.NoDay}, {"asked", "restricted-agreed", extract.NoDay},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	restored := NewRestrictions(NewPeople())
	w.must(restored.Restore(w.tables.Restrictions.Closing()))
	if later := restored.Revocations(on); len(later) != 1 || later[0].File != "" {
		t.Errorf("of the restrictions that vanished: %+v", later)
	}
	if len(keys) != len(want) {
		t.Errorf("%d keys for %d rows", len(keys), len(want))
	}
}
