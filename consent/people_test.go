package consent

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestIDsThatDifferByCapitals: a denial or restriction written down under
// P1 is not known to be about somebody else than p1.
func TestIDsThatDifferByCapitals(t *testing.T) {
	w := newWorld(t).restrict("P1,self-pay,,,,,,,,")
	w.expect(score("p1", "2026-03-02"), "")
	w.tables.People.LinkAlike()
	w.expect(score("p1", "2026-03-02"), "merge-unresolved")
	w.expect(score("p2", "2026-03-02"), "")

	m := merged(t, "P1,p1").restrict("P1,self-pay,,,,,,,,")
	m.tables.People.LinkAlike()
	m.expect(score("p1", "2026-03-02"), "restriction-self-pay")
}

func TestLinkAlikeFindsThemAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		people := NewPeople()
		ids := rapid.SliceOf(rapid.StringMatching(`[aAbBé1]{1,3}`)).Draw(t, "ids")
		for _, id := range ids {
			people.Intern([]byte(id))
		}
		people.LinkAlike()
		for _, id := range ids {
			alike := false
			for _, other := range ids {
				alike = alike || id != other && strings.ToLower(id) == strings.ToLower(other)
			}
			if _, linked := people.unsettled[people.Intern([]byte(id))]; linked != alike {
				t.Fatalf("%q among %q: %v", id, ids, linked)
			}
		}
	})
}
