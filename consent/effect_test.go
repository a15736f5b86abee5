package consent

import (
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

func TestEffects(t *testing.T) {
	o := score("p1", "2026-03-02")
	nobody := o
	nobody.Dataset, nobody.Subjects = "Organization", nil
	for _, c := range []struct {
		name  string
		set   func(*world)
		facts extract.Facts
		want  Effect
	}{
		{"nothing keeps it back", func(*world) {}, o, EffectPermit},
		{"a denial", func(w *world) { w.registry("p1,general,deny,active") }, o, EffectDeny},
		{"a denial, and a doubt", func(w *world) { w.restrict("p1,agreed,nobody-knows,,,,,,,").registry("p1,general,deny,active") }, o, EffectDeny},
		{"a doubt about a restriction", func(w *world) { w.restrict("p1,agreed,nobody-knows,,,,,,,") }, o, EffectIndeterminate},
		{"a doubt about the member", func(w *world) { w.roster("p1,M1,2026-01-01,", "p2,M1,2026-01-01,") }, o, EffectIndeterminate},
		{"an unreadable directive", func(w *world) { w.consents(fhir("c", "active", "nobody-knows", "")) }, o, EffectIndeterminate},
		{"an unresolved merge", func(w *world) { w.tables.People.Link(w.tables.People.Intern([]byte("p1"))) }, o, EffectIndeterminate},
		{"about nobody", func(*world) {}, nobody, EffectNotApplicable},
		{"de-identified", func(w *world) { w.safeHarbor() }, o, EffectNotApplicable},
		{"de-identified, where the clinic asks who opted out", func(w *world) { w.safeHarbor(); w.req.Policy.People.RegistryOptOut = true }, o, EffectPermit},
		{"de-identified, where the clinic leaves Part 2 out", func(w *world) { w.safeHarbor(); w.req.Policy.People.Part2LeaveOut = true }, o, EffectPermit},
		{"required by law", func(w *world) { w.req.Policy.Basis, w.req.Policy.People = "45 CFR 164.512(a)", policies.People{} }, o, EffectPermit},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			d, err := NewDecider(w.req, w.tables)
			w.must(err)
			if got := d.Effect(d.Decide(&c.facts)); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}
