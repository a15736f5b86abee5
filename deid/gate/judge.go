package gate

import (
	"bytes"
	"math"
	"strconv"
)

// site is a position at work: its judge and the value it admitted last,
// because the rows of one person follow one another and codes repeat.
type site struct {
	path    string
	judge   func(g *Gate, v []byte) string
	last    [40]byte
	size    uint8
	bound   bool // admitted for this subject only
	open    bool // its grammar had it searched
	subject uint32
}

func (s *site) admittedLast(v []byte, subjects []uint32) bool {
	return int(s.size) == len(v) && string(s.last[:s.size]) == string(v) &&
		(!s.bound || len(subjects) == 1 && subjects[0] == s.subject)
}

// admit says by which rule a value may not stand there; "" means that it may.
func (g *Gate) admit(s *site, v []byte) string {
	g.judged.Values++
	if s.admittedLast(v, g.subjects) {
		if s.open {
			g.judged.Searched++
		}
		return ""
	}
	g.text.matched, g.open = false, false
	g.passing.place = s.path
	rule := s.judge(g, v)
	if g.open {
		g.judged.Searched++
	}
	bound := g.text.matched
	if rule != "" || g.passing.hits != nil || len(v) > len(s.last) || bound && len(g.subjects) != 1 {
		return rule
	}
	s.size, s.open, s.bound = uint8(copy(s.last[:], v)), g.open, bound
	if bound {
		s.subject = g.subjects[0]
	}
	return ""
}

func (g *Gate) judgeSystem(v []byte) string {
	if oid, is := bytes.CutPrefix(v, []byte("urn:oid:")); is && len(oid) > 0 && len(v) <= longestCode && len(bytes.Trim(oid, "0123456789.")) == 0 {
		return ""
	}
	rest, web := bytes.CutPrefix(v, []byte("https://"))
	if !web {
		rest, web = bytes.CutPrefix(v, []byte("http://"))
	}
	host, path, _ := bytes.Cut(rest, slash)
	if !web || len(v) > 2*longestCode || len(host) == 0 || !madeOf(host, inID) || bytes.IndexByte(host, '.') < 1 {
		return RuleGrammar
	}
	for len(path) > 0 {
		var step []byte
		if step, path, _ = bytes.Cut(path, slash); !madeOf(step, inID) {
			return RuleGrammar
		}
		if rule := g.scan(step, codes); rule != "" {
			return rule
		}
	}
	return ""
}

// judgeDigits refuses a long number that is an identifier of the row's own
// subject, and a longer one that is anybody's.
func (g *Gate) judgeDigits(v []byte) string {
	var room [20]byte
	if digits := wholeDigits(room[:0], v); len(digits) >= 7 {
		g.text.matched = true
		h := g.roster.hash(digits)
		if _, somebodys := g.roster.find(h); somebodys && len(digits) >= tellingDigits || g.ownedByRow(h) {
			return RuleGrammar
		}
	}
	return ""
}

// wholeDigits appends the digits of a number that is whole, however it is
// written: 87654321.0 and 8.7654321E7 are one record number.
func wholeDigits(room, v []byte) []byte {
	if digitsLength(v) == len(v) {
		return v
	}
	n := math.Round(math.Abs(decimal(v))*1e6) / 1e6 // decimal is exact to about 15 digits
	if n != math.Trunc(n) || n > 1e15 {
		return nil
	}
	return strconv.AppendInt(room, int64(n), 10)
}
