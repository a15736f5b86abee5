package gate

import (
	"bytes"
	"math"
	"strconv"
)

// site is a position at work: its grammar and the value it admitted last,
// because the rows of one person follow one another and codes repeat.
type site struct {
	grammar Grammar
	last    [40]byte
	size    uint8
	bound   bool // admitted for this subject only
	subject uint32
}

func (s *site) admittedLast(v []byte, subjects []uint32) bool {
	return int(s.size) == len(v) && string(s.last[:s.size]) == string(v) &&
		(!s.bound || len(subjects) == 1 && subjects[0] == s.subject)
}

// admit says by which rule a value may not stand there; "" means that it may.
func (g *Gate) admit(s *site, v []byte) string {
	if s.admittedLast(v, g.subjects) {
		return ""
	}
	g.text.matched = false
	if rule := g.judge(&s.grammar, v); rule != "" {
		return rule
	}
	if s.bound = g.text.matched; len(v) <= len(s.last) && (!s.bound || len(g.subjects) == 1) {
		if s.size = uint8(copy(s.last[:], v)); s.bound {
			s.subject = g.subjects[0]
		}
	}
	return ""
}

func (g *Gate) judge(gr *Grammar, v []byte) string {
	switch gr.kind {
	case codeToken:
		if len(v) > longestCode || !madeOf(v, inCode) {
			return RuleGrammar
		}
		return g.scan(v, codes)
	case codedTerm:
		if len(v) > longestCode {
			return RuleGrammar
		}
		return g.scan(v, terms)
	case reference:
		_, id, found := bytes.Cut(v, slash)
		if !found || !gr.hasPrefix(v[:len(v)-len(id)]) || len(id) == 0 || len(id) > longestCode || !madeOf(id, inID) {
			return RuleGrammar
		}
		return g.scan(id, codes)
	case anyString:
		return g.scan(v, prose)
	case uriSet:
		return g.judgeURI(gr, v)
	case number:
		return g.admitNumber(gr, v)
	case ownTown, ownPostcode:
		if !gr.isPlaceOfPerson(v) {
			return RuleGrammar
		}
		return g.admitOwn(gr, v)
	case ownIdentifier:
		return g.admitOwn(gr, v)
	case ownReference:
		if !bytes.HasPrefix(v, []byte(gr.prefix[0])) {
			return RuleGrammar
		}
		return g.admitOwn(gr, v[len(gr.prefix[0]):])
	}
	if !gr.decides(v) {
		return RuleGrammar
	}
	return ""
}

func (g *Gate) judgeURI(gr *Grammar, v []byte) string {
	if gr.contains(v) {
		return ""
	}
	name := v[bytes.LastIndexByte(v, '/')+1:]
	if !gr.hasPrefix(v[:len(v)-len(name)]) || len(name) == 0 || len(name) > longestCode || !madeOf(name, inID) {
		if gr.open {
			return g.judgeSystem(v)
		}
		return RuleGrammar
	}
	return g.scan(name, codes)
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

// admitNumber also looks at numbers of seven digits and more, which could be
// somebody's identifier within wide bounds.
func (g *Gate) admitNumber(gr *Grammar, v []byte) string {
	if !gr.isNumber(v) {
		return RuleGrammar
	}
	var room [20]byte
	if digits := wholeDigits(room[:0], v); len(digits) >= 7 {
		g.text.matched = true
		if h := g.roster.hash(digits); g.ownedByRow(h) {
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

func (g *Gate) admitOwn(gr *Grammar, v []byte) string {
	h := g.roster.hash(g.text.normalize(v))
	g.text.matched = true
	for _, kind := range gr.own {
		if g.roster.owns(h, g.subjects, kind) {
			return ""
		}
	}
	return RuleNotOwn
}

// decides judges a value under a grammar that needs nothing but the value.
func (gr *Grammar) decides(v []byte) bool {
	switch gr.kind {
	case closedSet:
		return gr.contains(v)
	case year:
		n, ok := wholeNumber(v)
		return ok && len(v) == 4 && gr.holds(float64(n))
	case interval:
		digits := bytes.TrimPrefix(v, minus)
		n, ok := wholeNumber(digits)
		if len(digits) < len(v) {
			n = -n
		}
		return ok && gr.holds(float64(n))
	case ageBand:
		return gr.isAgeBand(v)
	case zip3:
		_, few := fewPeople[string(v)]
		return len(v) == 3 && digitsLength(v) == 3 && !few
	case place:
		return isPlace(v)
	case ownCode:
		if len(gr.prefix) > 0 {
			if !bytes.HasPrefix(v, []byte(gr.prefix[0])) {
				return false
			}
			v = v[len(gr.prefix[0]):]
		}
		return len(v) == gr.width && madeOf(v, inOwnCode)
	case boolean:
		return string(v) == "true" || string(v) == "false"
	case fullDate:
		return dateLength(v) == len(v)
	case dateTime:
		return isDateTime(v)
	case providerNumber:
		return isProviderNumber(v)
	}
	return false
}

func (gr *Grammar) holds(n float64) bool { return n >= gr.min && n <= gr.max }

func (gr *Grammar) hasPrefix(v []byte) bool {
	for _, p := range gr.prefix {
		if string(v) == p {
			return true
		}
	}
	return false
}

func (gr *Grammar) isNumber(v []byte) bool {
	if len(v) > 18 || numberLength(v) != len(v) {
		return false
	}
	for _, c := range v {
		if gr.integer && (c == '.' || c|0x20 == 'e') {
			return false
		}
	}
	return gr.holds(decimal(v))
}

func (gr *Grammar) isPlaceOfPerson(v []byte) bool {
	if gr.kind == ownTown {
		return bytes.IndexAny(v, "0123456789") < 0
	}
	zip, more, nine := bytes.Cut(v, minus)
	return len(zip) == 5 && digitsLength(zip) == 5 && (!nine || len(more) == 4 && digitsLength(more) == 4)
}

func (gr *Grammar) isAgeBand(v []byte) bool {
	if low, top := bytes.CutSuffix(v, plus); top {
		n, ok := wholeNumber(low)
		return ok && n == gr.top
	}
	low, high, two := bytes.Cut(v, minus)
	from, ok := wholeNumber(low)
	if !ok || gr.width < 1 || from%gr.width != 0 || from >= gr.top {
		return false
	}
	if !two {
		return gr.width == 1
	}
	to, ok := wholeNumber(high)
	return ok && to == min(from+gr.width, gr.top)-1
}

var (
	slash = []byte{'/'}
	minus = []byte{'-'}
	plus  = []byte{'+'}
)
