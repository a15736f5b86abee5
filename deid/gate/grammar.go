package gate

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// Grammar is what may stand at a position. Those that decide a value fully
// are not scanned: Closed, listed URIs, Number, Year, Interval, AgeBand, ZIP3, State,
// OwnCode, RowKey, Boolean, Date, DateTime, ProviderNumber, OwnIdentifier and
// OwnReference. Values under CodeToken, Term, Reference and Any are scanned.
type Grammar struct {
	kind       grammarKind
	values     []string
	set        map[string]struct{} // of values, where they are many
	prefix     []string
	open       bool // of URIs: others too
	min, max   float64
	integer    bool
	width, top int
	own        []Kind
}

type grammarKind uint8

const (
	undecided grammarKind = iota
	closedSet
	uriSet
	codeToken
	codedTerm
	number
	year
	interval
	ageBand
	zip3
	place
	ownCode
	boolean
	fullDate
	dateTime
	providerNumber
	ownIdentifier
	ownReference
	reference
	anyString
)

// Closed is a set of values, to the byte.
func Closed(values ...string) Grammar {
	g := Grammar{kind: closedSet, values: values}
	if len(values) > 8 {
		g.set = setOf(values)
	}
	return g
}

// URI is a closed set of URIs, such as the code systems that a release names.
// One that ends in a slash stands for all that have one name of an id's form
// behind it; that name is scanned like a code.
func URI(uris ...string) Grammar {
	g := Closed(uris...)
	g.kind = uriSet
	for _, u := range uris {
		if strings.HasSuffix(u, "/") {
			g.prefix = append(g.prefix, u)
		}
	}
	return g
}

// System is the URI of a code system: one of these, or any other OID or web
// address without query, user and port, of whose path each step is scanned like
// a code. Where the identified may leave, a clinic's own code systems may too.
func System(known ...string) Grammar {
	g := URI(known...)
	g.open = true
	return g
}

// CodeToken is one code of a published code system, at most 64 visible ASCII
// characters without those of quotation, mark-up and lists.
func CodeToken() Grammar { return Grammar{kind: codeToken} }

// Term is a code or a short coded phrase ("Not Hispanic or Latino"), at most
// 64 bytes: what a clinic's column of class race, language or unit holds.
func Term() Grammar { return Grammar{kind: codedTerm} }

// Number is a decimal between two bounds, both allowed.
func Number(min, max float64, integer bool) Grammar {
	return Grammar{kind: number, min: min, max: max, integer: integer}
}

// Year is a calendar year between two bounds, both allowed.
func Year(min, max int) Grammar { return Grammar{kind: year, min: float64(min), max: float64(max)} }

// Interval is a whole number of days or weeks between two bounds.
func Interval(min, max int) Grammar {
	return Grammar{kind: interval, min: float64(min), max: float64(max)}
}

// AgeBand is "LOW-HIGH", width years wide from a multiple of width, or "TOP+";
// the band below top ends before it (45 CFR 164.514(b)(2)(i)(C): top is 90).
func AgeBand(width, top int) Grammar { return Grammar{kind: ageBand, width: width, top: top} }

// ZIP3 is three digits, none of the prefixes that hold 20,000 people or fewer
// by the Census of 2000 or of 2020; those are written 000.
func ZIP3() Grammar { return Grammar{kind: zip3} }

// State is a state, district or territory of the United States by USPS code or
// name, or a country by ISO 3166-1, in any case.
func State() Grammar { return Grammar{kind: place} }

// OwnCode is a code that Postern made: Crockford base32 in lower case, of
// exactly this length.
func OwnCode(length int) Grammar { return Grammar{kind: ownCode, width: length} }

// RowKey has the form of OwnCode.
func RowKey(length int) Grammar { return OwnCode(length) }

// Boolean is true or false.
func Boolean() Grammar { return Grammar{kind: boolean} }

// Date is YYYY, YYYY-MM or YYYY-MM-DD. Only releases that may show exact
// dates declare it.
func Date() Grammar { return Grammar{kind: fullDate} }

// DateTime is a Date, or one with a time and its zone (FHIR dateTime, instant).
func DateTime() Grammar { return Grammar{kind: dateTime} }

// ProviderNumber is a National Provider Identifier with the right check digit.
// It identifies a provider, so no patient.
func ProviderNumber() Grammar { return Grammar{kind: providerNumber} }

// OwnIdentifier is a value that the roster has for the row's own subject as
// one of these kinds.
func OwnIdentifier(as ...Kind) Grammar { return Grammar{kind: ownIdentifier, own: as} }

// OwnReference is "TYPE/ID" with the row's own subject's id.
func OwnReference(resourceType string, as ...Kind) Grammar {
	return Grammar{kind: ownReference, prefix: []string{resourceType + "/"}, own: as}
}

// CodeReference is "TYPE/CODE" with a code as OwnCode has it.
func CodeReference(resourceType string, length int) Grammar {
	return Grammar{kind: ownCode, prefix: []string{resourceType + "/"}, width: length}
}

// Reference is "TYPE/ID" of one of these types, the id scanned like a code.
func Reference(resourceTypes ...string) Grammar {
	g := Grammar{kind: reference}
	for _, t := range resourceTypes {
		g.prefix = append(g.prefix, t+"/")
	}
	return g
}

// Any is any string; all of it is scanned.
func Any() Grammar { return Grammar{kind: anyString} }

func setOf(values []string) map[string]struct{} {
	set := make(map[string]struct{}, len(values))
	for _, v := range values {
		set[v] = struct{}{}
	}
	return set
}

func (gr *Grammar) contains(v []byte) bool {
	if gr.set != nil {
		_, in := gr.set[string(v)]
		return in
	}
	for _, known := range gr.values {
		if string(v) == known {
			return true
		}
	}
	return false
}

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
