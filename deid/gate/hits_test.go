package gate

import (
	"encoding/base64"
	"slices"
	"testing"
)

// People who look at a row that was stopped are told all of it: what lies behind
// a hit in the same value, encoded in it, and at later positions. The row is
// stopped afterwards as before.
func TestHitsTellsAllOfARow(t *testing.T) {
	hidden := base64.StdEncoding.EncodeToString([]byte("or 617-555-0188 at night"))
	row := []byte("0123456789ab,44261-6,Thistlewick,\"Quenby Larkspurre, q@mail.example, " + hidden + "\",12\n")
	g := newGate(t, rowSpec(), people(t))
	want := []Hit{{"race", "roster: name"}, {"note", "roster: name"}, {"note", "pattern: e-mail"}, {"note", "pattern: telephone"}}
	for range 2 {
		if hits := g.Hits(row, []uint32{3}); !slices.Equal(hits, want) {
			t.Fatalf("hits %v", hits)
		}
		if hit := g.Row(row, []uint32{3}); hit == nil || *hit != want[0] {
			t.Fatalf("the row passed, or by another rule: %v", hit)
		}
	}
	single := []byte("0123456789ab,44261-6,White,Quenby Larkspurre,12\n")
	if hits := g.Hits(single, []uint32{3}); len(hits) != 1 {
		t.Errorf("hits %v", hits)
	}
	if hit := g.Row(single, []uint32{3}); hit == nil {
		t.Error("what Hits looked behind is taken for clean")
	}
	if counts := g.Counts(); counts.Rows != 3 {
		t.Errorf("looking at hits counts as %d rows judged", counts.Rows)
	}
}

// What breaks a grammar is no false alarm, whatever else stands in the row.
func TestABrokenGrammarIsNoFalseAlarm(t *testing.T) {
	g := newGate(t, rowSpec(), people(t))
	hits := g.Hits([]byte("0123456789ab,44261-6,Thistlewick,,99\n"), []uint32{3})
	if !slices.Equal(hits, []Hit{{"race", "roster: name"}, {"total", RuleGrammar}}) {
		t.Fatalf("hits %v", hits)
	}
	if !hits[0].MayBeFalse() || hits[1].MayBeFalse() {
		t.Error("which of them may be false is told the wrong way round")
	}
	if hits := g.Hits([]byte("0123456789ab,44261-6,White,,9\n"), []uint32{3}); hits != nil {
		t.Errorf("a clean row has hits %v", hits)
	}
}
