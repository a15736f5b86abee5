package gate

import "strings"

// Grammar is what may stand at a position. Those that decide a value fully
// are not scanned: Closed, listed URIs, Number, Year, Interval, AgeBand, ZIP3, State,
// OwnCode, RowKey, Boolean, Date, DateTime, ProviderNumber, OwnIdentifier, OwnTown,
// OwnPostcode and OwnReference. Values under CodeToken, Term, Reference and Any are scanned.
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
	ownTown
	ownPostcode
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

// OwnTown is the town that the roster has for the row's own subject. The Postal
// Service writes no town with a digit; a street is written with one, and so is
// a number: of postal address a limited data set holds town, state and ZIP code
// only, 45 CFR 164.514(e)(2)(ii).
func OwnTown() Grammar { return Grammar{kind: ownTown, own: []Kind{City}} }

// OwnPostcode is the ZIP code that the roster has for the row's own subject, in
// five digits or in nine.
func OwnPostcode() Grammar { return Grammar{kind: ownPostcode, own: []Kind{Postcode}} }

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
