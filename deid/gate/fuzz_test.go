package gate

import "testing"

// What fuzzing has found stays here, by what it was.

// A middle initial is its person's own where names leave, and no leak elsewhere.
func TestShortValuesAreTheirPersonsOwn(t *testing.T) {
	roster := NewRoster(2)
	for value, subject := range map[string]uint32{"J": 0, "K.": 0, "-": 0, "Zwirn": 0, "L": 1} {
		if err := roster.Add(subject, Name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	roster.Freeze()
	for rule, grammar := range map[string]Grammar{RuleNotOwn: OwnIdentifier(Name), "": Any()} {
		guard, err := New(Spec{Format: CSV, Positions: []Position{{Path: "v", Grammar: grammar}}}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for value, own := range map[string]bool{"J": true, "j.": true, "K": true, "-": true, "L": false, "M": false} {
			got := ""
			if hit := guard.Row([]byte(value+"\n"), []uint32{0}); hit != nil {
				got = hit.Rule
			}
			if want := map[bool]string{false: rule}[own]; got != want {
				t.Errorf("%s: %q, want %q", value, got, want)
			}
		}
	}
}
