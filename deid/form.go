package deid

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// formOf gives the form that a kept value of a class has; nil where any may
// stand. A value of another form is a slip of whoever wrote it. It leaves
// nothing, and is counted: the gate, which has its own forms, would stop the whole
// drop for it. Where values are listed, they are all that may stand.
func formOf(p *policies.Policy, class extract.Class, listed []string) func([]byte) bool {
	if len(listed) > 0 {
		return isOneOf(listed)
	}
	identified := p.Standard == policies.Identified
	limited := p.Standard == policies.LimitedDataSet
	switch class {
	case extract.Code, extract.Unit, extract.Sex:
		return isCode
	case extract.Race, extract.Ethnicity, extract.Language:
		return func(v []byte) bool { return len(v) <= longestCode }
	case extract.CodeSystem, extract.WebAddress:
		if identified {
			return isSystem
		}
		return isPublishedSystem
	case extract.State:
		return isPlace
	case extract.Number:
		if identified {
			return between(-1e12, 1e12)
		}
		return between(-9_999_999, 9_999_999)
	case extract.AgeYears:
		return between(0, 150)
	case extract.Boolean:
		return isOneOf([]string{"true", "false"})
	}
	switch {
	case identified && class == extract.RecordKey:
		return isCode
	case limited && class == extract.Town:
		return isTown
	case limited && class == extract.Postcode:
		return isPostcode
	case (identified || limited) && class == extract.ProviderKey:
		return isProviderNumber
	case (identified || limited) && (class == extract.Date || class == extract.DeathDate):
		return isTime
	}
	return nil
}

func isOneOf(listed []string) func([]byte) bool {
	set := map[string]bool{}
	for _, v := range listed {
		set[v] = true
	}
	return func(v []byte) bool { return set[string(v)] }
}

// closed lists the values that the release asks for at a path; nil when it does
// not list any.
func closed(release *policies.Release, path string) []string {
	for _, c := range release.Only {
		if codes, single := c.Codes.Single(); c.Path == path && c.Period == "" && single && len(codes) > 0 {
			return codes
		}
	}
	return nil
}

// retold tells whether the layout writes other words for a value of FHIR.
func retold(l *policies.Layout, dataset string, path []string) bool {
	if l == nil || l.File(dataset) == nil {
		return false
	}
	return slices.ContainsFunc(l.File(dataset).Columns, func(c policies.Column) bool {
		return c.Codes != nil && c.Leaf != nil && slices.Equal(c.Leaf.Path, path)
	})
}

const longestCode = 64 // bytes

// isCode tells of a code of a published system: visible ASCII without the signs
// of quotation, mark-up and lists.
func isCode(v []byte) bool {
	for _, c := range v {
		if !inCodes[c] {
			return false
		}
	}
	return len(v) <= longestCode
}

var inCodes = func() (t [256]bool) {
	for c := '!'; c <= '~'; c++ {
		t[c] = !strings.ContainsRune("\"\\<>@,;`&", c)
	}
	return t
}()

var published = func() map[string]bool {
	all := map[string]bool{}
	for _, system := range extract.CodeSystems {
		all[system] = true
	}
	return all
}()

// isComparator tells of a code of FHIR R4 quantity-comparator.
func isComparator(v []byte) bool {
	switch string(v) {
	case "<", "<=", ">=", ">":
		return true
	}
	return false
}

// isPublishedSystem tells of a code system that is published, or of one below an
// address under which HL7 publishes them.
func isPublishedSystem(v []byte) bool {
	if published[string(v)] {
		return true
	}
	above := bytes.LastIndexByte(v, '/') + 1
	return above < len(v) && plainID(v[above:]) && published[string(v[:above])]
}

// isSystem tells of an OID, or of a web address without query, user and port
// whose steps are names: any code system, the clinic's own too.
func isSystem(v []byte) bool {
	if oid, is := bytes.CutPrefix(v, []byte("urn:oid:")); is {
		return len(oid) > 0 && len(v) <= longestCode && len(bytes.Trim(oid, "0123456789.")) == 0
	}
	rest, web := bytes.CutPrefix(v, []byte("https://"))
	if !web {
		rest, web = bytes.CutPrefix(v, []byte("http://"))
	}
	host, path, _ := bytes.Cut(rest, []byte{'/'})
	named := !bytes.ContainsFunc(path, func(c rune) bool { return c != '/' && (c > '~' || !plainID([]byte{byte(c)}) || c == '_' || c == ':') })
	return isPublishedSystem(v) || web && named && len(v) <= 2*longestCode && plainID(host) && !bytes.ContainsAny(host, "_:") && bytes.IndexByte(host, '.') > 0
}

// isTown tells of a name without digits, as the Postal Service writes all towns, or
// of a numbered subdivision of a county: a street is written with one.
func isTown(v []byte) bool {
	name, number, _ := bytes.Cut(v, []byte{' '})
	switch string(bytes.ToLower(name)) {
	case "township", "district", "precinct":
		return len(number) <= 2 && allDigits(number) || !bytes.ContainsAny(number, "0123456789")
	}
	return !bytes.ContainsAny(v, "0123456789")
}

// isProviderNumber tells of a National Provider Identifier (45 CFR 162.406): ten
// digits, the last of which is Luhn's (ISO/IEC 7812-1) over 80840 and the others.
func isProviderNumber(v []byte) bool {
	sum := 24 // what 80840 contributes
	for i, c := range v {
		n := int(c - '0')
		if i%2 == 0 {
			n *= 2
		}
		sum += n/10 + n%10
	}
	return len(v) == 10 && allDigits(v) && sum%10 == 0
}

// isPostcode tells of a ZIP code of five digits, or of nine with their hyphen.
func isPostcode(v []byte) bool { return isZIP(v) && len(v) != 9 }

// between tells of a number between two bounds, both allowed.
func between(least, most float64) func([]byte) bool {
	return func(v []byte) bool {
		if len(v) > 18 {
			return false
		}
		if n, whole := wholeNumber(v); whole {
			return least <= n && n <= most
		}
		n, err := strconv.ParseFloat(string(v), 64)
		return err == nil && !math.IsNaN(n) && least <= n && n <= most
	}
}

// wholeNumber is the value of one to nine digits, as most numbers are.
func wholeNumber(v []byte) (float64, bool) {
	n := 0
	for _, c := range v {
		if c -= '0'; c > 9 {
			return 0, false
		}
		n = 10*n + int(c)
	}
	return float64(n), len(v) > 0 && len(v) < 10
}

// The lives of people now treated: a day outside is a slip, and the gate stops it.
const earliestYear, latestYear = 1880, 2120

// isTime tells of a FHIR date, dateTime, instant or time of the lives of people
// now treated. What has a time of the day has a zone, too.
func isTime(v []byte) bool {
	span, ok := extract.ParseSpan(v)
	switch {
	case !ok:
		_, err := time.Parse("15:04:05", string(v))
		return err == nil
	case span.From.Year() < earliestYear || span.From.Year() > latestYear:
		return false
	}
	return len(v) <= len(time.DateOnly) || isTimeOfDay(v[len(time.DateOnly):])
}

// isTimeOfDay tells of "Thh:mm[:ss[.fff]]" with a zone (FHIR R4 §2.24.0.1); the
// seconds, of which it has nine decimals at most, many leave out.
func isTimeOfDay(v []byte) bool {
	clock := func(v []byte, mark byte, most int) bool {
		return len(v) >= 3 && v[0] == mark && allDigits(v[1:3]) && int(v[1]-'0')*10+int(v[2]-'0') <= most
	}
	if !clock(v, 'T', 23) || !clock(v[3:], ':', 59) {
		return false
	}
	if v = v[6:]; clock(v, ':', 60) {
		if v = v[3:]; len(v) > 0 && v[0] == '.' {
			decimals := len(v) - len(bytes.TrimLeft(v[1:], "0123456789")) - 1
			if decimals < 1 || decimals > 9 {
				return false
			}
			v = v[1+decimals:]
		}
	}
	return len(v) == 1 && v[0] == 'Z' ||
		len(v) == 6 && (clock(v, '+', 14) || clock(v, '-', 14)) && clock(v[3:], ':', 59)
}

// appendDay appends the day of a time that is written otherwise, such as one
// without a zone: what hour that was, nobody can tell.
func appendDay(b, text []byte) []byte {
	if len(text) <= len(time.DateOnly) || !isTime(text[:len(time.DateOnly)]) {
		return b
	}
	return append(b, text[:len(time.DateOnly)]...)
}

// appendNumber appends a number as JSON writes it: without a plus, without zeros
// before it that say nothing, and with a digit on either side of its point.
func appendNumber(b, text []byte) []byte {
	digits, negative := bytes.CutPrefix(text, []byte{'-'})
	digits = bytes.TrimPrefix(digits, []byte{'+'})
	for len(digits) > 1 && digits[0] == '0' && '0' <= digits[1] && digits[1] <= '9' {
		digits = digits[1:]
	}
	if negative {
		b = append(b, '-')
	}
	if len(digits) > 0 && digits[0] == '.' {
		b = append(b, '0')
	}
	whole, rest, point := bytes.Cut(digits, []byte{'.'})
	b = append(b, whole...)
	if point && len(rest) > 0 && '0' <= rest[0] && rest[0] <= '9' {
		b = append(b, '.')
	}
	return append(b, rest...)
}
