package gate

import (
	"bytes"
	"math"
	"slices"
)

// Grammar is what may stand at a position. Most decide about a value by the
// value alone; the values of others are scanned, or held against the roster.
type Grammar struct {
	judge  func(g *Gate, v []byte) string // the rule that stops v, "" for none
	values []string                       // of a closed set
	own    []Kind                         // of identifiers that leave, of the row's own subject
	always bool                           // a layout has a value here in every row
	width  int                            // of a layout without delimiter
	when   *When                          // of a layout: nil where a value may stand in every row
}

// decided is a grammar that needs nothing but the value.
func decided(fits func(v []byte) bool) Grammar {
	return Grammar{judge: func(_ *Gate, v []byte) string {
		if !fits(v) {
			return RuleGrammar
		}
		return ""
	}}
}

func among(values []string) func(v []byte) bool {
	set := setOf(values)
	return func(v []byte) bool {
		_, in := set[string(v)]
		return in
	}
}

func setOf(values []string) map[string]struct{} {
	set := make(map[string]struct{}, len(values))
	for _, v := range values {
		set[v] = struct{}{}
	}
	return set
}

// Closed is a set of values, to the byte.
func Closed(values ...string) Grammar {
	g := decided(among(values))
	g.values = values
	return g
}

// URI is a closed set of URIs, such as the code systems that a release names.
// One that ends in a slash stands for all that have one name of an id's form
// behind it; that name is scanned like a code.
func URI(uris ...string) Grammar {
	return uriOr(uris, func(*Gate, []byte) string { return RuleGrammar })
}

// System is the URI of a code system: one of these, or any other OID or web
// address without query, user and port, of whose path each step is scanned like
// a code. Where the identified may leave, a clinic's own code systems may too.
func System(known ...string) Grammar { return uriOr(known, (*Gate).judgeSystem) }

func uriOr(known []string, other func(*Gate, []byte) string) Grammar {
	listed := among(known)
	return Grammar{values: known, judge: func(g *Gate, v []byte) string {
		if listed(v) {
			return ""
		}
		name := v[bytes.LastIndexByte(v, '/')+1:]
		if isID(name) && listed(v[:len(v)-len(name)]) {
			return g.scan(name, codes)
		}
		return other(g, v)
	}}
}

// CodeToken is one code of a published code system, at most 64 visible ASCII
// characters without those of quotation, mark-up and lists; it is scanned.
func CodeToken() Grammar {
	return Grammar{judge: func(g *Gate, v []byte) string {
		if len(v) > longestCode || !madeOf(v, inCode) {
			return RuleGrammar
		}
		return g.scan(v, codes)
	}}
}

// Term is a code or a short coded phrase ("Not Hispanic or Latino"), at most
// 64 bytes: what a clinic's column of class race, language or unit holds. It is
// scanned.
func Term() Grammar {
	return Grammar{judge: func(g *Gate, v []byte) string {
		if len(v) > longestCode {
			return RuleGrammar
		}
		return g.scan(v, terms)
	}}
}

// Any is any string; all of it is scanned.
func Any() Grammar {
	return Grammar{judge: func(g *Gate, v []byte) string { return g.scan(v, prose) }}
}

// Number is a decimal between two bounds, both allowed. One of seven digits and
// more, which could be somebody's identifier within wide bounds, is held
// against the row's own subject.
func Number(min, max float64, integer bool) Grammar {
	return Grammar{judge: func(g *Gate, v []byte) string {
		if len(v) > 18 || numberLength(v) != len(v) || integer && bytes.ContainsAny(v, ".eE") {
			return RuleGrammar
		}
		if n := decimal(v); n < min || n > max {
			return RuleGrammar
		}
		return g.judgeDigits(v)
	}}
}

// Multiple is a whole number that a step divides, between two bounds as Number
// has them.
func Multiple(step int, min, max float64) Grammar {
	grammar := Number(min, max, true)
	number := grammar.judge
	grammar.judge = func(g *Gate, v []byte) string {
		if rule := number(g, v); rule != "" {
			return rule
		}
		n := decimal(v)
		if step < 1 || math.Mod(n, float64(step)) != 0 || n == 0 && len(v) > 1 {
			return RuleGrammar
		}
		return ""
	}
	return grammar
}

// Ordinal is a number from 1 on, in exactly this many digits.
func Ordinal(length int) Grammar {
	return decided(func(v []byte) bool {
		return len(v) == length && digitsLength(v) == length && len(bytes.TrimLeft(v, "0")) > 0
	})
}

// Year is a calendar year between two bounds, both allowed.
func Year(min, max int) Grammar {
	return decided(func(v []byte) bool {
		n, ok := wholeNumber(v)
		return ok && len(v) == 4 && n >= min && n <= max
	})
}

// Interval is a whole number of days or weeks between two bounds.
func Interval(min, max int) Grammar {
	return decided(func(v []byte) bool {
		digits, negative := bytes.CutPrefix(v, minus)
		n, ok := wholeNumber(digits)
		if negative {
			n = -n
		}
		return ok && n >= min && n <= max
	})
}

// AgeBand is "LOW-HIGH", width years wide from a multiple of width, or "TOP+";
// the band below top ends before it (45 CFR 164.514(b)(2)(i)(C): top is 90).
func AgeBand(width, top int) Grammar {
	return decided(func(v []byte) bool {
		if low, open := bytes.CutSuffix(v, plus); open {
			n, ok := wholeNumber(low)
			return ok && n == top
		}
		low, high, two := bytes.Cut(v, minus)
		from, ok := wholeNumber(low)
		if !ok || width < 1 || from%width != 0 || from >= top {
			return false
		}
		if !two {
			return width == 1
		}
		to, ok := wholeNumber(high)
		return ok && to == min(from+width, top)-1
	})
}

// ZIP3 is three digits, none of the prefixes that hold 20,000 people or fewer
// by the Census of 2000 or of 2020; those are written 000.
func ZIP3() Grammar {
	return decided(func(v []byte) bool {
		_, few := fewPeople[string(v)]
		return len(v) == 3 && digitsLength(v) == 3 && !few
	})
}

// State is a state, district or territory of the United States by USPS code or
// name, or a country by ISO 3166-1, in any case.
func State() Grammar { return decided(isPlace) }

// OwnCode is a code that Postern made: Crockford base32 in lower case, of
// exactly this length.
func OwnCode(length int) Grammar {
	return decided(func(v []byte) bool { return len(v) == length && madeOf(v, inOwnCode) })
}

// RowKey has the form of OwnCode.
func RowKey(length int) Grammar { return OwnCode(length) }

// Boolean is true or false.
func Boolean() Grammar {
	return decided(func(v []byte) bool { return string(v) == "true" || string(v) == "false" })
}

// Date is YYYY, YYYY-MM or YYYY-MM-DD. Only releases that may show exact
// dates declare it.
func Date() Grammar { return decided(func(v []byte) bool { return dateLength(v) == len(v) }) }

// Day is YYYY-MM-DD, where timed also with a time and its zone. Only releases
// whose days are not the true ones, or that may show those, declare it.
func Day(timed bool) Grammar {
	return decided(func(v []byte) bool {
		return dateLength(v) == 10 && (len(v) == 10 || timed && isDateTime(v))
	})
}

// DateTime is a Date, or one with a time and its zone (FHIR dateTime, instant),
// or a time alone (FHIR time).
func DateTime() Grammar { return decided(isDateTime) }

// ProviderNumber is a National Provider Identifier with the right check digit.
// It identifies a provider, so no patient.
func ProviderNumber() Grammar { return decided(isProviderNumber) }

// OwnIdentifier is a value that the roster has for the row's own subject as
// one of these kinds.
func OwnIdentifier(as ...Kind) Grammar {
	return ownIf(func(v []byte) ([]byte, bool) { return v, true }, as...)
}

// OwnTown is the town that the roster has for the row's own subject. The Postal
// Service writes no town with a digit; a street is written with one, and so is
// a number: of postal address a limited data set holds town, state and ZIP code
// only, 45 CFR 164.514(e)(2)(ii). Census numbers the subdivisions of some
// counties: "Township 12".
func OwnTown() Grammar {
	return ownIf(func(v []byte) ([]byte, bool) {
		name, number, _ := bytes.Cut(v, []byte{' '})
		numbered := len(number) <= 2 && digitsLength(number) == len(number) && slices.ContainsFunc(subdivisions, func(s []byte) bool { return bytes.EqualFold(s, name) })
		return v, numbered || !bytes.ContainsAny(v, "0123456789")
	}, City)
}

var subdivisions = [][]byte{[]byte("Township"), []byte("District"), []byte("Precinct")}

// OwnPostcode is the ZIP code that the roster has for the row's own subject, in
// five digits or in nine.
func OwnPostcode() Grammar {
	return ownIf(func(v []byte) ([]byte, bool) {
		return v, matchesForm(v, "#####") || matchesForm(v, "#####-####")
	}, Postcode)
}

// OwnReference is "TYPE/ID" with the row's own subject's id.
func OwnReference(resourceType string, as ...Kind) Grammar {
	prefix := []byte(resourceType + "/")
	return ownIf(func(v []byte) ([]byte, bool) { return bytes.CutPrefix(v, prefix) }, as...)
}

// ownIf is a value of which a part must be the row's own subject's.
func ownIf(part func(v []byte) ([]byte, bool), as ...Kind) Grammar {
	return Grammar{own: as, judge: func(g *Gate, v []byte) string {
		id, ok := part(v)
		if !ok {
			return RuleGrammar
		}
		h := g.roster.hash(g.text.normalize(id))
		g.text.matched = true
		if !slices.ContainsFunc(as, func(kind Kind) bool { return g.roster.owns(h, g.subjects, kind) }) {
			return RuleNotOwn
		}
		return ""
	}}
}

// Reference is "TYPE/ID" of one of these types, the id scanned like a code.
func Reference(resourceTypes ...string) Grammar {
	return ReferenceTo(Grammar{judge: func(g *Gate, id []byte) string {
		if !isID(id) {
			return RuleGrammar
		}
		return g.scan(id, codes)
	}}, resourceTypes...)
}

// ReferenceTo is "TYPE/ID" of one of these types, with an id as its own grammar
// has it.
func ReferenceTo(id Grammar, resourceTypes ...string) Grammar {
	listed := among(resourceTypes)
	return Grammar{judge: func(g *Gate, v []byte) string {
		kind, rest, _ := bytes.Cut(v, slash)
		if !listed(kind) {
			return RuleGrammar
		}
		return id.judge(g, rest)
	}}
}

// isID tells of the form that FHIR R4 gives an id.
func isID(v []byte) bool { return len(v) > 0 && len(v) <= longestCode && madeOf(v, inID) }

var (
	slash = []byte{'/'}
	minus = []byte{'-'}
	plus  = []byte{'+'}
)
