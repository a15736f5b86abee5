package gate

import (
	_ "embed"
	"strings"
	"unicode/utf8"
)

// mode says what kind of string is scanned. In codes and terms, numbers and
// words mean something of their own (SNOMED CT 313182004, LOINC 44261-6, the
// race "White"), so fewer of them alarm.
type mode uint8

const (
	prose mode = iota + 1 // anything at all
	terms                 // coded words, perhaps several
	codes                 // one code
)

const (
	longestName  = 6  // tokens of a roster value that is found inside a longer string
	longestValue = 64 // bytes of it
	shortestName = 4  // bytes of it; shorter values count only as a whole string
	deepest      = 2  // encodings inside encodings
)

// scan looks at a string that its grammar does not fully decide; "" is clean.
//
// What it does not find: a value cut short or changed by a letter, a name within
// a longer word, characters told apart by spaces, other encodings than base64
// and JSON escapes, and more than two of these one in the other; a town or a
// name that is an everyday word beside other words; where codes stand, whatever
// a code may be (agent/build, TestLeaksAmongCodes).
func (g *Gate) scan(v []byte, m mode) string {
	g.open = true
	if m == codes && matchesForm(v, uuidForm) {
		return g.scanUUID(v)
	}
	memo := &g.memo[g.roster.hash(v)%memoSize]
	if memo.is(v, m) {
		return ""
	}
	rule := g.scanAt(v, m, 0)
	if rule == "" && !g.text.matched && g.passing.hits == nil {
		memo.set(v, m)
	}
	return rule
}

const uuidForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"

// scanUUID looks for the whole only: what its groups of hexadecimal digits
// resemble, they resemble by chance.
func (g *Gate) scanUUID(v []byte) string {
	var plain [32]byte
	n := 0
	for _, c := range v {
		if c != '-' {
			if c >= 'A' {
				c |= 0x20
			}
			plain[n] = c
			n++
		}
	}
	return g.match(plain[:], true, codes)
}

func (g *Gate) scanAt(v []byte, m mode, depth int) string {
	v = g.cut(v, depth)
	seen, run := g.text.seen, g.text.run
	if rule := g.findPeople(m); rule != "" {
		return rule
	}
	if rule := g.findPatterns(v, m); rule != "" {
		return rule
	}
	if depth == deepest {
		return ""
	}
	if seen&isBackslash != 0 {
		// A string copied with its JSON escapes into a cell, or escaped twice.
		if inner := unescapeAll(g.inner[depth][:0], v); len(inner) > 0 {
			g.inner[depth] = inner
			if rule := g.scanAt(inner, m, depth+1); rule != "" {
				return rule
			}
		}
	}
	if run {
		return g.scanEncoded(v, depth)
	}
	return ""
}

// cut cuts a string into tokens, and gives it as it was read.
func (g *Gate) cut(v []byte, depth int) []byte {
	g.text.cut(v)
	if g.text.seen&isWide == 0 {
		return v
	}
	g.folded[depth] = fold(g.folded[depth][:0], v)
	g.text.cut(g.folded[depth])
	return g.folded[depth]
}

func unescapeAll(dst, v []byte) []byte {
	found := false
	for i := 0; i < len(v); {
		if v[i] == '\\' {
			if r, n := unescape(v[i:]); n > 0 {
				dst, i, found = utf8.AppendRune(dst, r), i+n, true
				continue
			}
		}
		dst = append(dst, v[i])
		i++
	}
	if !found {
		return nil
	}
	return dst
}

// findPeople looks for the roster's values: the whole string, and every
// sequence of up to longestName tokens, or of more within one word.
func (g *Gate) findPeople(m mode) string {
	t := &g.text
	if len(t.tokens) == 0 || g.roster.values.count == 0 {
		return ""
	}
	if rule := g.match(t.plain, true, m); rule != "" {
		return rule
	}
	for i := range t.tokens {
		first := &t.tokens[i]
		for j := i; j < len(t.tokens); j++ {
			if j-i >= longestName && t.tokens[j].word != first.word {
				break
			}
			size := t.tokens[j].end - first.start
			if size > longestValue {
				break
			}
			if size < shortestName {
				continue
			}
			if rule := g.match(t.plain[first.start:t.tokens[j].end], false, m); rule != "" {
				return rule
			}
		}
	}
	return ""
}

func (g *Gate) match(part []byte, whole bool, m mode) string {
	if len(part) >= shortestName && !g.roster.mayHave(part) {
		return ""
	}
	h := g.roster.hash(part)
	kind, found := g.roster.find(h)
	if !found {
		return ""
	}
	g.text.matched = true
	if !g.counts(part, h, kind, whole, m) || g.passes(rosterRules[kind]) {
		return ""
	}
	return rosterRules[kind]
}

var rosterRules = func() (rules [kinds]string) {
	for k, name := range kindNames {
		rules[k] = "roster: " + name
	}
	return rules
}()

// counts says whether a value that somebody has is a leak where it stands.
func (g *Gate) counts(part []byte, h uint64, kind Kind, whole bool, m mode) bool {
	if m == codes && g.releasedByRow(h) {
		return false
	}
	if digitsLength(part) == len(part) {
		return g.numberCounts(part, h, kind, m)
	}
	switch {
	case kind == BirthDate:
		return g.ownedByRow(h)
	case kind == City:
		return whole && m == prose
	case len(part) < shortestName:
		return whole && m == prose
	case g.isWord(part):
		return whole && m == prose
	}
	return kind != Name || whole || m != codes
}

// tellingDigits is from how many digits on a number among codes is somebody's
// though it is not the row's own subject's: so few have it by chance.
const tellingDigits = 9

// numberCounts judges a number without letters. Record numbers are dense, so
// that somebody has the number 44261 says nothing; that this row's own subject
// has it, does. Where codes stand, one that is too short to tell from a code,
// or is a well-formed SNOMED CT identifier, does not count either.
func (g *Gate) numberCounts(part []byte, h uint64, kind Kind, m mode) bool {
	if m != prose && (len(part) < 7 || isConceptID(part)) {
		return false
	}
	if len(part) >= tellingDigits || m == prose && kind != BirthDate && len(part) >= 6 {
		return true
	}
	return len(part) >= shortestName && g.ownedByRow(h)
}

func (g *Gate) ownedByRow(h uint64) bool {
	for k := Other; int(k) < kinds; k++ {
		if g.roster.owns(h, g.subjects, k) {
			return true
		}
	}
	return false
}

// releasedByRow says that the value is the row's own subject's, of a kind that
// the release lets out beside it: record ids are often built on the patient's.
func (g *Gate) releasedByRow(h uint64) bool {
	for k, released := range g.released {
		if released && g.roster.owns(h, g.subjects, Kind(k)) {
			return true
		}
	}
	return false
}

// isWord says that letters are an everyday word, or a value that the release
// itself declares at some closed position.
func (g *Gate) isWord(part []byte) bool {
	if _, declared := g.harmless[string(part)]; declared {
		return true
	}
	_, common := words[string(part)]
	return common
}

//go:embed words.txt
var wordList string

var words = func() map[string]struct{} {
	set := make(map[string]struct{})
	for line := range strings.Lines(wordList) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			set[word] = struct{}{}
		}
	}
	return set
}()

// remembered is a string that was found clean, and in which nobody's value
// stands, so that it is clean for every subject. Codes repeat from row to row.
type remembered struct {
	mode  mode
	size  uint8
	bytes [62]byte
}

const memoSize = 1024

func (r *remembered) is(v []byte, m mode) bool {
	return r.mode == m && int(r.size) == len(v) && string(r.bytes[:r.size]) == string(v)
}

func (r *remembered) set(v []byte, m mode) {
	if len(v) <= len(r.bytes) {
		r.mode, r.size = m, uint8(copy(r.bytes[:], v))
	}
}
