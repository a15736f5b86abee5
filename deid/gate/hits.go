package gate

import (
	"slices"
	"strings"
)

// MayBeFalse tells whether a hit may be a false alarm: a pattern or the roster
// was found in a string. What breaks a grammar is a defect of engine or policy.
func (h *Hit) MayBeFalse() bool {
	return strings.HasPrefix(h.Rule, "pattern: ") || strings.HasPrefix(h.Rule, "roster: ")
}

// Hits gives every position and rule by which a row is stopped, each once, for
// people to look at; none of a clean row. A hit that cannot be a false alarm
// ends the list. It reads the row once for each hit and counts nothing, so it
// is for rows that Row has stopped.
func (g *Gate) Hits(line []byte, subjects []uint32) (hits []Hit) {
	judged := g.judged
	defer func() { g.judged, g.passing = judged, passing{} }()
	for {
		hit := g.Row(line, subjects)
		if hit == nil {
			return hits
		}
		if slices.Contains(hits, *hit) { // nothing behind it was judged
			hit.Rule = RuleUnparseable
		}
		if hits = append(hits, *hit); !hit.MayBeFalse() {
			return hits
		}
		g.passing.hits = hits
	}
}

// passing are the hits behind which Hits looks for more. While there are any,
// nothing is remembered as clean.
type passing struct {
	hits  []Hit
	place string // the position that is being judged
}

// passes tells whether what a rule finds in the value at hand is known already.
func (g *Gate) passes(rule string) bool {
	return g.passing.hits != nil && slices.Contains(g.passing.hits, Hit{g.passing.place, rule})
}
