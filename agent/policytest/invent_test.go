package policytest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
)

// Every identifier becomes another of its shape, the same one each time.
func TestInventedValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newInventor([]string{"acme"})
		class := extract.Class(rapid.IntRange(int(extract.Name), int(extract.ProviderKey)).Draw(t, "class"))
		text := rapid.StringMatching(`[A-Z]{2}-[0-9]{6}|[A-Z][a-z]{5,9}|1[0-9]{9}|20[0-2][0-9]-0[1-9]-[12][0-9]`).Draw(t, "text")
		got := v.value(class, text)
		if got == text || len(got) != len(text) || v.value(class, text) != got {
			t.Fatalf("%s: %q became %q, then %q", class, text, got, v.value(class, text))
		}
		if v.value(extract.Code, text) == text && class != extract.Date && class != extract.BirthDate && class != extract.DeathDate {
			t.Fatalf("%q is kept as a code although it is somebody's %s", text, class)
		}
		if v.value(extract.RecordNumber, "acme") != "acme" {
			t.Fatal("the name of an organization was replaced")
		}
	})
}

// All days move by the same number of them.
func TestDaysMoveTogether(t *testing.T) {
	v := newInventor(nil)
	a, b := v.value(extract.Date, "2026-03-02"), v.value(extract.BirthDate, "1990-12-31T10:00:00-05:00")
	one, err := time.Parse(time.DateOnly, a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := time.Parse(time.RFC3339, b)
	if err != nil {
		t.Fatal(err)
	}
	days := one.Sub(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour)
	if moved := two.Sub(time.Date(1990, 12, 31, 15, 0, 0, 0, time.UTC)) / (24 * time.Hour); days == 0 || moved != days {
		t.Errorf("%s and %s: by %d and %d days", a, b, days, moved)
	}
}

// A provider's number still has its check digit, or the gate would stop it.
func TestInventedProvidersPassTheGate(t *testing.T) {
	roster := gate.NewRoster(0)
	roster.Freeze()
	guard, err := gate.New(gate.Spec{Format: gate.CSV, Positions: []gate.Position{{Path: "npi", Grammar: gate.ProviderNumber()}}}, roster)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		if npi := providerNumber("1999000064"); guard.Row([]byte(npi+"\n"), nil) != nil {
			t.Fatalf("%s is stopped", npi)
		}
	}
}
