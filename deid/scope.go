package deid

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

type scope []condition

type condition struct {
	reason extract.Reason
	path   []string // FHIR: member names; empty means the date of the service
	column int      // delimited
	field  *extract.Field
	values map[string]bool // nil: codes
	codes  policies.CodeSet
	dated  bool // compared with the period
	period extract.Span
	number bool // compared with least and most
	least  decimal
	most   decimal
}

// wholeDate is the path under which a policy restricts the date of the record,
// whichever element or column holds it.
const wholeDate = "date"

func newScope(release *policies.Release, opt Options) (scope, error) {
	s := make(scope, 0, len(release.Only))
	for _, only := range release.Only {
		c := condition{reason: extract.Measure}
		if err := c.place(release.Dataset, only.Path, opt.Schema); err != nil {
			return nil, err
		}
		if err := c.set(&only, opt.AsOf); err != nil {
			return nil, fmt.Errorf("%s: %w", only.Path, err)
		}
		s = append(s, c)
	}
	return s, nil
}

func (c *condition) set(only *policies.Condition, asOf extract.Day) (err error) {
	switch {
	case only.Period != "":
		c.reason, c.dated = extract.Period, true
		c.period, err = periodAt(only.Period, asOf)
		return err
	case only.Range != nil:
		c.number = true
		c.least, c.most = bound(only.Range.Min), bound(only.Range.Max)
		return nil
	}
	c.codes = only.Codes
	if single, ok := only.Codes.Single(); ok {
		c.values = make(map[string]bool, len(single))
		for _, v := range single {
			c.values[v] = true
		}
	}
	return nil
}

// bound is a number of the policy as its officer wrote it: the shortest that
// means this one.
func bound(n float64) decimal {
	d, _ := parseDecimal(strconv.AppendFloat(nil, n, 'f', -1, 64))
	return d
}

// place finds where the condition looks. What restricts people rather than
// events is counted as population.
func (c *condition) place(dataset, path string, schema *extract.Schema) error {
	if schema == nil {
		if path != wholeDate {
			c.path = strings.Split(path, ".")
		}
		if dataset == "Patient" {
			c.reason = extract.Population
		}
		return nil
	}
	c.column = schema.Column(path)
	if c.column < 0 && path == wholeDate {
		c.column = slices.IndexFunc(schema.Fields, dated)
	}
	if c.column < 0 {
		return fmt.Errorf("%s: the schema of %s has no such column", path, dataset)
	}
	c.field = &schema.Fields[c.column]
	switch c.field.Class {
	case extract.Sex, extract.Race, extract.Ethnicity, extract.Language, extract.State, extract.Postcode, extract.BirthDate, extract.AgeYears:
		c.reason = extract.Population
	}
	return nil
}

// periodAt gives the days of a period as of a day. A year or month is closed
// when its last day lies before as-of.
func periodAt(period string, asOf extract.Day) (extract.Span, error) {
	y, m, _ := asOf.Time().Date()
	switch period {
	case policies.MeasureYear:
		return extract.Span{From: civil(y, 1, 1), To: civil(y+1, 1, 1) - 1}, nil
	case policies.LastClosedYear:
		return extract.Span{From: civil(y-1, 1, 1), To: civil(y, 1, 1) - 1}, nil
	case policies.LastClosedMonth:
		return extract.Span{From: civil(y, m-1, 1), To: civil(y, m, 1) - 1}, nil
	}
	from, to, ok := strings.Cut(period, "..")
	first, okFirst := extract.ParseSpan([]byte(from))
	last, okLast := extract.ParseSpan([]byte(to))
	if !ok || !okFirst || !okLast || first.From > last.To {
		return extract.NoSpan, fmt.Errorf("period %q: write measure-year, last-closed-year, last-closed-month or FROM..TO with two dates", period)
	}
	return extract.Span{From: first.From, To: last.To}, nil
}

// InScope tells whether the policy asks for the record: NoReason if so, else
// the first of Period, Measure and Population that keeps it out. A date that
// is unknown, or that may lie outside the period, is outside. It allocates
// nothing and may be called by several workers.
func (pl *Plan) InScope(rec *extract.Record) extract.Reason {
	first := extract.NoReason
	for i := range pl.scope {
		c := &pl.scope[i]
		if (first == extract.NoReason || c.reason < first) && !c.holds(pl, rec) {
			first = c.reason
		}
	}
	return first
}

// Asks tells whether the policy asks for the record as it is, whenever it was
// made: periods are left aside.
func (pl *Plan) Asks(rec *extract.Record) bool {
	return !slices.ContainsFunc(pl.scope, func(c condition) bool { return !c.dated && !c.holds(pl, rec) })
}

// InPeriod tells whether a record of some date lies in the periods that the plan
// asks for. A plan without one asks for all time.
func (pl *Plan) InPeriod(date extract.Span) bool {
	return !slices.ContainsFunc(pl.scope, func(c condition) bool { return c.dated && !within(date, c.period) })
}

// SameTime tells whether two plans ask for the same periods and the same cohort.
func (pl *Plan) SameTime(other *Plan) bool {
	same := func(a, b condition) bool { return a.dated == b.dated && a.period == b.period }
	return slices.EqualFunc(pl.scope, other.scope, same) && (pl.cohort == nil || *pl.cohort == *other.cohort)
}

func (c *condition) holds(pl *Plan, rec *extract.Record) bool {
	switch {
	case pl.root == nil:
		return c.column < len(rec.Row) && c.accepts(rec.Row[c.column], false)
	case len(c.path) == 0:
		if !c.dated {
			return false
		}
		return within(rec.Facts.Date, c.period)
	}
	return c.find(rec, 0, 0)
}

func within(date, period extract.Span) bool {
	return date.Known() && date.From >= period.From && date.To <= period.To
}

// accepts judges one value, still with its JSON escapes when escaped is set.
func (c *condition) accepts(text []byte, escaped bool) bool {
	var room [256]byte
	if escaped {
		text = extract.Unescape(room[:0], text)
	}
	switch {
	case c.values != nil:
		return c.values[string(text)]
	case c.number:
		n, ok := parseDecimal(text)
		return ok && n.compare(c.least) >= 0 && n.compare(c.most) <= 0
	case !c.dated:
		return c.codes.Contains(string(text))
	}
	if c.field != nil {
		date, _ := c.field.Span(text)
		return within(date, c.period)
	}
	date, _ := extract.ParseSpan(text)
	return within(date, c.period)
}

// find tells whether any value at the path, from its given step on, is
// accepted; arrays are looked through.
func (c *condition) find(rec *extract.Record, at int32, step int) bool {
	t := &rec.Doc[at]
	switch {
	case t.Kind == extract.Array:
		for i := at + 1; i < t.Next; i = rec.Doc[i].Next {
			if c.find(rec, i, step) {
				return true
			}
		}
	case t.Kind != extract.Object:
		return step >= len(c.path) && t.Kind != extract.Null && (!c.number || t.Kind == extract.Numeral) && c.accepts(rec.Raw[t.Start:t.End], t.Escaped)
	default:
		found := false
		for i := at + 1; i < t.Next; i = rec.Doc[i].Next {
			name := rec.Raw[rec.Doc[i].Start:rec.Doc[i].End]
			if c.number && string(name) == "comparator" {
				return false // "less than 10" (FHIR R4 §2.24.0.9): which number it is, nobody knows
			}
			found = found || c.leadsOn(name, step) && c.find(rec, i+1, step+1)
		}
		return found
	}
	return false
}

// leadsOn tells whether the search goes on below a member. Past the end of the
// path an element stands for what identifies its value: a concept for the
// codes of its codings, a Period for its start, a Quantity for its value.
func (c *condition) leadsOn(name []byte, step int) bool {
	switch {
	case step < len(c.path):
	case c.dated:
		return string(name) == "start"
	case c.number:
		return string(name) == "value"
	default:
		return string(name) == "coding" || string(name) == "code"
	}
	if choice, ok := strings.CutSuffix(c.path[step], "[x]"); ok {
		return len(name) > len(choice) && string(name[:len(choice)]) == choice && name[len(choice)] < 'a'
	}
	return string(name) == c.path[step]
}

// cohort is the closed group of a policy, followed for a fixed window.
type cohort struct {
	year    int
	follow  extract.Day
	undated bool // the dataset tells of people, not of events
}

// newCohort fixes the index year. A year is closed when the last window that
// began in it lies wholly before as-of. No other leaves: the policy says so
// under every standard, and under Safe Harbor the moment of sending would tell
// dates finer than a year.
func newCohort(p *policies.Policy, dataset string, opt Options) (*cohort, error) {
	if p.Cohort == nil {
		return nil, nil
	}
	c := &cohort{follow: extract.Day(p.Cohort.FollowDays), undated: isUndated(dataset, opt.Schema)}
	if c.follow <= 0 {
		return nil, errors.New("cohort.follow: a window needs at least one day")
	}
	closed := opt.AsOf.Year() - 1
	for c.lastDay(closed) >= opt.AsOf {
		closed--
	}
	if p.Cohort.IndexYear == "last-closed" {
		c.year = closed
		return c, nil
	}
	var err error
	if c.year, err = strconv.Atoi(p.Cohort.IndexYear); err != nil || c.year < 1900 || c.year > 9999 {
		return nil, fmt.Errorf("cohort.index_year %q: write last-closed or a year", p.Cohort.IndexYear)
	}
	if c.year > closed {
		return nil, fmt.Errorf("cohort.index_year %d: its last window ends on %s, and as-of is %s; the last closed year is %d",
			c.year, c.lastDay(c.year), opt.AsOf, closed)
	}
	return c, nil
}

func (c *cohort) lastDay(year int) extract.Day { return civil(year, 12, 31) + c.follow - 1 }

func isUndated(dataset string, schema *extract.Schema) bool {
	if schema == nil {
		return dataset == "Patient"
	}
	return !slices.ContainsFunc(schema.Fields, dated)
}

func dated(f extract.Field) bool { return f.Role == extract.RoleDate }

// InCohort tells whether the record lies in the policy's cohort: Population
// when its person has no index in the index year, Period when it lies outside
// the person's window. Without a cohort, and for a record about nobody, it is
// NoReason. The index pass, which finds each person's index, asks InScope only.
func (pl *Plan) InCohort(rec *extract.Record, s *Subject) extract.Reason {
	c := pl.cohort
	if c == nil || len(rec.Facts.Subjects) == 0 {
		return extract.NoReason
	}
	if s == nil || s.Index == extract.NoDay || s.Index.Year() != c.year {
		return extract.Population
	}
	if !c.undated && !within(rec.Facts.Date, extract.Span{From: s.Index, To: s.Index + c.follow - 1}) {
		return extract.Period
	}
	return extract.NoReason
}
