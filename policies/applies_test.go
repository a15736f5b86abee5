package policies

import (
	"slices"
	"testing"
)

// The rules of LAW in the test's own words: self-pay binds health plans only,
// another's treatment has no minimum necessary, only 164.506(c)(4) asks for a
// relationship, and nothing binds what is de-identified.
func TestApplicability(t *testing.T) {
	for _, l := range ApplicabilityTable() {
		for _, std := range l.Standards {
			for _, kind := range RecipientKinds {
				s := Applies(kind, "45 CFR "+l.Basis, std)
				if s.Known() != (l.Recipients == nil || slices.Contains(l.Recipients, kind)) {
					t.Errorf("%s on %s: %+v", kind, l.Basis, s)
				}
				if s.SelfPay && kind != "health-plan" {
					t.Errorf("self-pay binds a %s on %s", kind, l.Basis)
				}
				if s.Known() && (s.MinimumNecessary && l.Basis == "164.506(c)(2)" || s.Relationship != (l.Basis == "164.506(c)(4)")) {
					t.Errorf("%s on %s: %+v", kind, l.Basis, s)
				}
				if bound := s.SelfPay || s.Agreed || s.Consent || s.Part2; s.Known() && bound == (l.Basis == "164.502(d)") {
					t.Errorf("%s on %s: %+v", kind, l.Basis, s)
				}
			}
		}
		if Applies("friend", l.Basis, l.Standards[0]).Known() {
			t.Errorf("%s lets something leave to an unknown kind of recipient", l.Basis)
		}
	}
}
