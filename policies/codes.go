package policies

import (
	"cmp"
	"slices"
	"strings"
)

// CodeSet is a set of codes: of single ones, of all that begin alike, and of
// ranges. The zero value is empty. Codes are compared byte by byte.
type CodeSet struct {
	spans  []codeSpan // in order, without overlap
	hidden []string   // what was named and says nothing, because more was named
}

// codeSpan is every code from one to another in byte order; deep when the
// codes that begin with `to` belong to it.
type codeSpan struct {
	from, to string
	deep     bool
}

// Codes is the set of single codes.
func Codes(list ...string) CodeSet {
	spans := make([]codeSpan, len(list))
	for i, c := range list {
		spans[i] = codeSpan{c, c, false}
	}
	return newCodeSet(spans)
}

// CodePrefix is the set of codes that begin with prefix.
func CodePrefix(prefix string) CodeSet { return newCodeSet([]codeSpan{{prefix, prefix, true}}) }

// CodeRange is the set of codes from one to another, with those that begin
// with the last: F10..F19 holds F19.20.
func CodeRange(from, to string) CodeSet { return newCodeSet([]codeSpan{{from, to, true}}) }

// Union is the set of codes in any of the sets.
func Union(sets ...CodeSet) CodeSet {
	var spans []codeSpan
	var hidden []string
	for _, s := range sets {
		spans, hidden = append(spans, s.spans...), append(hidden, s.hidden...)
	}
	union := newCodeSet(spans)
	union.hidden = append(hidden, union.hidden...)
	return union
}

func newCodeSet(spans []codeSpan) CodeSet {
	spans = slices.DeleteFunc(slices.Clone(spans), func(s codeSpan) bool { return !s.holds(s.from) })
	slices.SortStableFunc(spans, func(a, b codeSpan) int { return cmp.Compare(a.from, b.from) })
	var out []codeSpan
	var hidden []string
	for _, s := range spans {
		last := len(out) - 1
		switch {
		case last < 0 || !out[last].holds(s.from) && !(out[last].deep && out[last].after() == s.from):
			out = append(out, s)
		case endsBefore(out[last], s):
			if out[last].from == s.from {
				hidden = append(hidden, out[last].says())
			}
			out[last].to, out[last].deep = s.to, s.deep
		default:
			hidden = append(hidden, s.says())
		}
	}
	return CodeSet{out, hidden}
}

// endsBefore tells whether b holds codes after the last of a.
func endsBefore(a, b codeSpan) bool {
	if a.deep && strings.HasPrefix(b.to, a.to) {
		return false
	}
	if b.deep && strings.HasPrefix(a.to, b.to) {
		return a.to != b.to || !a.deep
	}
	return a.to < b.to
}

func (s codeSpan) holds(code string) bool {
	return s.from <= code && (code <= s.to || s.deep && strings.HasPrefix(code, s.to))
}

// after is the first code after the span, in byte order.
func (s codeSpan) after() string {
	if !s.deep {
		return s.to + "\x00"
	}
	next := []byte(strings.TrimRight(s.to, "\xff"))
	if len(next) == 0 {
		return "" // every code lies in the span
	}
	next[len(next)-1]++
	return string(next)
}

// says writes the span as policies do.
func (s codeSpan) says() string {
	switch {
	case s.deep && s.from == s.to:
		return s.from + "*"
	case s.from == s.to:
		return s.from
	case s.deep:
		return s.from + ".." + s.to
	}
	return s.from + ".." + s.to + " alone"
}

// Empty tells whether no code is in the set.
func (s CodeSet) Empty() bool { return len(s.spans) == 0 }

// Contains tells whether a code is in the set. It does not allocate.
func (s CodeSet) Contains(code string) bool {
	low, high := 0, len(s.spans)
	for low < high {
		if mid := (low + high) / 2; s.spans[mid].from <= code {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low > 0 && s.spans[low-1].holds(code) // no other that begins before the code reaches as far
}

// Single are the codes of the set; ok is false when it holds more than single ones.
func (s CodeSet) Single() (codes []string, ok bool) {
	for _, x := range s.spans {
		if x.deep || x.from != x.to {
			return nil, false
		}
		codes = append(codes, x.from)
	}
	return codes, true
}

// Each gives the parts of the set in order: single codes (from is to), ranges,
// and, where deep, every code that begins so.
func (s CodeSet) Each(part func(from, to string, deep bool)) {
	for _, x := range s.spans {
		part(x.from, x.to, x.deep)
	}
}
