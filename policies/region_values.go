package policies

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
)

// inValues judges the value at a path. A value that the schema does not list, or
// that is none of its column's type, rejects its row before any policy is asked.
func (v *view) inValues(path, value string) bool {
	listed := v.listed(path)
	return (listed == nil || value == "" || slices.Contains(listed, value)) && (value == "" || v.isOfType(path, value)) &&
		!slices.ContainsFunc(v.only, func(c Condition) bool { return c.Path == path && !c.accepts(value) })
}

func (v *view) isOfType(path, value string) bool {
	col := v.column(path)
	if col == nil || col.Type != extract.TypeInteger && col.Type != extract.TypeNumber {
		return true
	}
	n, err := strconv.ParseFloat(value, 64)
	return err == nil && (col.Type == extract.TypeNumber || n == math.Trunc(n))
}

// listed are the only values that the schema lets a column have; nil: any.
func (v *view) listed(path string) []string {
	if col := v.column(path); col != nil {
		return col.Enum()
	}
	return nil
}

// accepts tells whether a condition on codes or numbers accepts a value; about
// dates it says nothing.
func (c *Condition) accepts(value string) bool {
	switch {
	case c.Period != "":
		return true
	case c.Range == nil:
		return value != "" && c.Codes.Contains(value)
	}
	n, err := strconv.ParseFloat(value, 64)
	return err == nil && n >= c.Range.Min && n <= c.Range.Max
}

// valuesAt are the dimensions of the values at the paths of conditions, and of
// columns for which two schemas list other values.
func valuesAt(a, b *view) (list []dimension) {
	of := map[string][]Condition{}
	for _, c := range slices.Concat(a.only, b.only) {
		if c.Period == "" {
			of[c.Path] = append(of[c.Path], c)
		}
	}
	for _, v := range []*view{a, b} {
		for _, path := range v.columns() {
			if !slices.Equal(a.listed(path), b.listed(path)) {
				of[path] = append(of[path], Condition{Codes: Codes(v.listed(path)...)})
			}
		}
	}
	for _, path := range sortedNames(of) {
		tried := slices.Concat(a.listed(path), b.listed(path), candidates(of[path]))
		list = append(list, over(dimValue+":"+path, tried, func(s *Situation, value string) {
			s.Values = with(s.Values, path, value)
		}))
	}
	return list
}

func (v *view) columns() []string {
	if v.schema == nil {
		return nil
	}
	return v.schema.Names()
}

// candidates are values of which one lies in every set that the conditions can
// tell from another, the readable ones first.
func candidates(conditions []Condition) []string {
	readable, first := []string{}, []string{"\x00"}
	var limits []float64
	for _, c := range conditions {
		if c.Range != nil {
			limits = append(limits, c.Range.Min, c.Range.Max)
			continue
		}
		for _, s := range c.Codes.spans {
			readable = append(readable, s.from, s.to)
			if s.deep || s.from != s.to {
				first = append(first, s.from+"x", s.to+"x") // among the codes of a range, and no number
			}
			if n, err := strconv.ParseFloat(s.from, 64); err == nil {
				limits = append(limits, n)
				for k := 1; k <= 6; k++ { // numbers that begin as a code of the range does
					first = append(first, s.from+strings.Repeat("0", k), s.to+strings.Repeat("9", k))
				}
			}
			first = append(first, s.after())
		}
	}
	return slices.Concat(readable, numbers(limits), []string{"another-code"}, first, []string{""})
}

// numbers are the limits, what lies beside and between them, in several
// spellings: a set of codes tells 10 from 10.0, which a range does not.
func numbers(limits []float64) (list []string) {
	slices.Sort(limits)
	var all []float64
	for i, n := range limits {
		all = append(all, n, math.Floor(n), math.Ceil(n), math.Floor(n)-1, math.Ceil(n)+1)
		if i > 0 {
			all = append(all, (n+limits[i-1])/2)
		}
	}
	for _, n := range all {
		for _, format := range []string{"%s", "0%s", "+%s"} {
			list = append(list, fmt.Sprintf(format, strconv.FormatFloat(n, 'f', -1, 64)))
		}
	}
	return list
}

// guards are the dimensions of protective inputs and of what is rejected.
func guards(a, b *view) (list []dimension) {
	of, rejected := map[string][]Guard{}, []float64{0, a.Tolerate.Rejected, b.Tolerate.Rejected}
	for _, v := range []*view{a, b} {
		for name, g := range v.Inputs {
			of[name] = append(of[name], g)
		}
	}
	for _, name := range sortedNames(of) {
		ages, shares := []time.Duration{time.Hour}, []float64{0}
		for _, g := range of[name] {
			ages, shares = append(ages, g.MaxAge, g.MaxAge+time.Hour), append(shares, g.ShrinkLimit)
		}
		list = append(list,
			over(dimAge+":"+name, ages, func(s *Situation, age time.Duration) { s.Age = with(s.Age, name, age) }),
			over(dimGone+":"+name, between(shares), func(s *Situation, gone float64) { s.Gone = with(s.Gone, name, gone) }))
	}
	return append(list, over(dimRejected, between(rejected), func(s *Situation, share float64) { s.Rejected = share }))
}

// between are shares, the whole, and what lies between them.
func between(limits []float64) []float64 {
	limits = append(limits, 1)
	slices.Sort(limits)
	for i, n := range limits[1:] {
		limits = append(limits, (n+limits[i])/2)
	}
	slices.Sort(limits)
	return slices.Compact(limits)
}

func with[T any](m map[string]T, key string, value T) map[string]T {
	if m == nil {
		m = map[string]T{}
	}
	m[key] = value
	return m
}
