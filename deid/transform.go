package deid

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// oldest is the age from which on people are one group, 45 CFR
// 164.514(b)(2)(i)(C): ages over 89, and all elements of dates that show one.
const oldest = 90

// rules are what a transform needs beside its value. Each transform is total:
// it gives a value that its standard allows, or none.
type rules struct {
	standard  policies.Standard
	asOf      extract.Day
	firstYear int // no birth or event may show an earlier year; 0 where dates may leave
	follow    int // days of each person's window; 0 without a cohort
}

func newRules(p *policies.Policy, asOf extract.Day) (rules, error) {
	r := rules{standard: p.Standard, asOf: asOf}
	if p.Cohort != nil {
		r.follow = p.Cohort.FollowDays
	}
	if asOf == extract.NoDay {
		return r, errors.New("as-of is not set; ages and periods are taken at that day")
	}
	switch p.Standard {
	case policies.Identified, policies.LimitedDataSet:
	case policies.SafeHarbor, policies.ExpertDetermination:
		r.firstYear = asOf.Year() - oldest
	default:
		return r, fmt.Errorf("standard: %s is not part of this version of Postern; use identified, limited-data-set, safe-harbor or expert-determination", p.Standard)
	}
	return r, nil
}

// permit holds a class and a transform against the standard once more, so that
// a policy that came around the check compiles to nothing.
func (r *rules) permit(c extract.Class, do policies.Transform) error {
	switch {
	case c == extract.Unclassed:
		return errors.New("its class is unknown, and what is unclassed never leaves; declare the class in the schema")
	case !policies.Permits(r.standard, c, do):
		return fmt.Errorf("class %s may not leave under %s with do: %s; remove the field", c, r.standard, do)
	}
	return nil
}

// year gives the year of a date. Of a birth that makes the person 90 or older
// at as-of it gives the first year of that group; the earliest day that a
// partial date may mean decides. An event so long ago shows such an age too
// and has no other year to stand for it: it gives none. Nor does a date later
// than the year after as-of: it is a slip, and the gate would stop the drop.
func (r *rules) year(c extract.Class, text []byte) (int, bool) {
	span, ok := extract.ParseSpan(text)
	if !ok {
		return 0, false
	}
	return r.yearOf(c, span)
}

func (r *rules) yearOf(c extract.Class, span extract.Span) (int, bool) {
	if !span.Known() {
		return 0, false
	}
	year := span.From.Year()
	switch {
	case year > r.asOf.Year()+1:
		return 0, false
	case r.firstYear == 0:
		return year, true
	case c == extract.BirthDate && age(span.From, r.asOf) >= oldest:
		return r.firstYear, true
	}
	return year, year >= r.firstYear
}

// band appends the age group at a day, "40-44" or "90+". Whoever is 90 or
// older at as-of is in the last group at every earlier day too. Of a partial
// birth date the oldest possible age decides about the last group; when the
// groups below cannot be told apart there is no value. Age ends with death.
func (r *rules) band(b []byte, s *Subject, birth extract.Span, at extract.Day, f *policies.Field) []byte {
	if !birth.Known() || at == extract.NoDay {
		return b
	}
	latest, earliest := at, at
	if s.Death.Known() {
		latest, earliest = min(at, s.Death.To), min(at, s.Death.From)
	}
	old := age(birth.From, latest)
	young := old
	if birth.From != birth.To || earliest != latest {
		young = age(birth.To, earliest)
	}
	switch {
	case young < 0:
		return b
	case old >= f.Top || at != r.asOf && r.amongOldest(s, birth):
		return append(strconv.AppendInt(b, int64(f.Top), 10), '+')
	case old/f.Width != young/f.Width:
		return b
	}
	return appendBand(b, old, f)
}

// bandOfAge is band for an age in years as it was written, at the date of its
// record. Where no birth is known, the age that the person may have by as-of
// follows from the two: whoever was 88 years old two years ago may be 90.
func (r *rules) bandOfAge(b []byte, s *Subject, written extract.Span, text []byte, f *policies.Field) []byte {
	years, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil {
		return b
	}
	birth := s.Birth
	if !birth.Known() && written.Known() {
		earliest := extract.DayOf(written.From.Time().AddDate(-int(years)-1, 0, 1))
		birth = extract.Span{From: earliest, To: earliest}
	}
	if int(years) >= f.Top || r.amongOldest(s, birth) {
		return append(strconv.AppendInt(b, int64(f.Top), 10), '+')
	}
	return appendBand(b, int(years), f)
}

func appendBand(b []byte, years int, f *policies.Field) []byte {
	from := years - years%f.Width
	b = strconv.AppendInt(b, int64(from), 10)
	if to := min(from+f.Width, f.Top) - 1; to > from {
		b = strconv.AppendInt(append(b, '-'), int64(to), 10)
	}
	return b
}

// amongOldest tells whether the person may be 90 or older at as-of, or was at
// death.
func (r *rules) amongOldest(s *Subject, birth extract.Span) bool {
	at := r.asOf
	if s.Death.Known() {
		at = min(at, s.Death.To)
	}
	return birth.Known() && age(birth.From, at) >= oldest
}

// age is the number of birthdays from birth to at; negative before birth.
func age(birth, at extract.Day) int {
	y, m, d := birth.Time().Date()
	toY, toM, toD := at.Time().Date()
	years := toY - y
	if toM < m || toM == m && toD < d {
		years--
	}
	return years
}

// relative appends the whole days or weeks from the index to a full date,
// rounded down, so that the day before the index is week -1. Of a day outside the
// person's window there is no value: nothing tells of it, and the gate would stop
// the drop.
func (r *rules) relative(b []byte, date extract.Span, index extract.Day, unit string) []byte {
	if !date.Known() || date.From != date.To || index == extract.NoDay {
		return b
	}
	n := int64(date.From) - int64(index)
	if r.follow > 0 && (n < 0 || n >= int64(r.follow)) {
		return b
	}
	if unit == "weeks" {
		n = (n - (n%7+7)%7) / 7
	}
	return strconv.AppendInt(b, n, 10)
}

// mapped is what each code of the field's included file becomes, as it is
// written; what is not in it becomes nothing. It is nil for a transform that has
// no such file.
func mapped(p *policies.Policy, f *policies.Field, write func(string) []byte) map[string][]byte {
	words := p.Words(f)
	if words == nil {
		return nil
	}
	codes := map[string][]byte{}
	for from, to := range words {
		codes[from] = write(to)
	}
	return codes
}

// mostRounded is how many digits a number may have before its point to be
// rounded; a larger one gives no value.
const mostRounded = 15

// appendRounded appends the multiple of the step that is nearest to the number,
// of two the one farther from zero. It is reckoned on the digits as they are
// written, so no value lies on the wrong side of a half.
func appendRounded(b, text []byte, step int) []byte {
	d, ok := parseDecimal(text)
	if !ok || d.power > mostRounded {
		return b
	}
	whole, tenth, at := int64(0), 0, 0
	for range d.power {
		tenth, at = nextDigit(d.digits, at)
		whole = 10*whole + int64(tenth)
	}
	if tenth = 0; d.power >= 0 {
		tenth, _ = nextDigit(d.digits, at)
	}
	past := whole % int64(step)
	whole -= past
	if 2*past >= int64(step) || 2*past+1 == int64(step) && tenth >= 5 {
		whole += int64(step)
	}
	return strconv.AppendInt(b, int64(d.sign)*whole, 10)
}

// rounded appends what is rounded, as far as it has the form of numbers: one that is
// larger leaves nothing, as a kept one does.
func (e *Engine) rounded(b, text []byte, step int) []byte {
	start := len(b)
	if b = appendRounded(b, text, step); !e.plan.number(b[start:]) {
		return b[:start]
	}
	return b
}

func appendYear(b []byte, year int) []byte {
	return append(b, byte('0'+year/1000%10), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10))
}

func civil(year int, month time.Month, day int) extract.Day {
	return extract.DayOf(time.Date(year, month, day, 0, 0, 0, 0, time.UTC))
}
