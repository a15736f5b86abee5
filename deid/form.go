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
// drop for it. closed tells of a value that is one of a list.
func formOf(p *policies.Policy, class extract.Class, closed bool) func([]byte) bool {
	identified := p.Standard == policies.Identified
	switch class {
	case extract.Code, extract.Unit, extract.Sex:
		if !closed {
			return isCode
		}
	case extract.RecordKey:
		if identified && !closed {
			return isCode
		}
	case extract.Race, extract.Ethnicity, extract.Language:
		if !closed {
			return func(v []byte) bool { return len(v) <= longestCode }
		}
	case extract.CodeSystem, extract.WebAddress:
		if !identified {
			return isPublishedSystem
		}
	case extract.Number:
		if identified {
			return between(-1e12, 1e12)
		}
		return between(-9_999_999, 9_999_999)
	case extract.AgeYears:
		return between(0, 150)
	case extract.Date, extract.DeathDate:
		if identified || p.Standard == policies.LimitedDataSet {
			return isTime
		}
	}
	return nil
}

// closed tells whether the release asks for one of listed values at a path.
func closed(release *policies.Release, path string) bool {
	return slices.ContainsFunc(release.Only, func(c policies.Condition) bool {
		codes, single := c.Codes.Single()
		return c.Path == path && c.Period == "" && single && len(codes) > 0
	})
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

// timeForms are those in which FHIR writes a day with a time; the seconds, which may
// have a fraction, many leave out.
var timeForms = []string{time.RFC3339, "2006-01-02T15:04Z07:00"}

// isTime tells of a FHIR date, dateTime, instant or time of the lives of people
// now treated. What has a time of the day has a zone, too.
func isTime(v []byte) bool {
	span, ok := extract.ParseSpan(v)
	switch {
	case !ok:
		_, err := time.Parse("15:04:05", string(v))
		return err == nil
	case span.From.Year() < 1880 || span.From.Year() > 2120:
		return false
	case len(v) <= len(time.DateOnly):
		return true
	}
	return len(v) <= len("2006-01-02T15:04:05.999999999-07:00") && slices.ContainsFunc(timeForms, func(form string) bool {
		_, err := time.Parse(form, string(v))
		return err == nil
	})
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
