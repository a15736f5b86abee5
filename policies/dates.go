package policies

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// This file holds what tells when something happened, beside the dates that
// leave: the period, the cohort, what one drop adds to the last (LAW: (C) covers
// what the selection, a file name or the difference between two drops reveals).

// eachCondition visits all that choose records or count people.
func (p *Policy) eachCondition(visit func(dataset, path string, c *Condition)) {
	each := func(dataset, path string, list []Condition) {
		for i := range list {
			visit(dataset, strictyaml.Join(path, list[i].Path), &list[i])
		}
	}
	for _, rel := range p.Release {
		each(rel.Dataset, strictyaml.Join("release", rel.Dataset)+".only", rel.Only)
	}
	for _, t := range p.Tables {
		path := strictyaml.Join("tables", t.Name)
		each(t.Dataset, path+".denominator", t.Denominator)
		each(t.Dataset, path+".numerator", t.Numerator)
	}
}

// tellsWholeYears refuses periods that tell a date finer than its year, and
// years that are not over: the difference of two drops would tell the date.
func (p *Policy) tellsWholeYears(say saying) {
	if p.judgedBy() != SafeHarbor {
		return
	}
	p.eachCondition(func(_, path string, c *Condition) {
		if c.Period != "" && !wholeYears(c.Period) {
			say(path, "write last-closed-year, or a range of whole past years such as 2024-01-01..2024-12-31",
				"the period %s tells a date finer than a calendar year that is over (45 CFR 164.514(b)(2)(i)(C))", c.Period)
		}
	})
}

func wholeYears(period string) bool {
	first, last, ok := ClosedRange(period)
	return period == LastClosedYear ||
		ok && strings.HasSuffix(first.String(), "-01-01") && strings.HasSuffix(last.String(), "-12-31")
}

// tellsOneYearBesideIntervals: from an interval and the year at its other end a
// day can be told that lies near a new year.
func (p *Policy) tellsOneYearBesideIntervals(say saying) {
	intervals := ""
	p.eachField(func(_ string, f *Field) {
		if f.Do == RelativeTime {
			intervals = f.Name
		}
	})
	p.eachField(func(path string, f *Field) {
		if intervals != "" && f.Do == Year && f.From != FromIndex {
			say(path+".do", "remove the field, or release do: age-band at: index; only {from: index, do: year} may stand beside intervals",
				"beside the intervals of %q the year of another event tells its date more finely (45 CFR 164.514(b)(2)(i)(C))", intervals)
		}
	})
}

// months are the names by which a text tells a month or a quarter.
const months = `\b(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?|dec(ember)?|q[1-4])\b`

// finerThanAYear are texts that tell a month, a quarter or a day of a year.
var finerThanAYear = regexp.MustCompile(`(?i)\d.*` + months + `|` + months + `.*\d|` +
	`\b(19|20)\d\d[-./]?(0[1-9]|1[0-2])([-./]?(0[1-9]|[12]\d|3[01]))?\b|\b\d\d?[-./](\d\d?[-./])?(19|20)\d\d\b`)

// namesNoDay: a constant is the same in every row, and may still be a month.
func (p *Policy) namesNoDay(say saying) {
	p.eachField(func(path string, f *Field) {
		if f.Do == Constant && finerThanAYear.MatchString(f.To) {
			say(path+".value", "write the year alone", "the constant tells a date finer than its year (45 CFR 164.514(b)(2)(i)(C))")
		}
	})
}

// dates refuses a dataset that tells dates by being followed: a Safe Harbor one
// that goes on, and shifted dates in steps narrower than their shift.
func (c *checking) dates(path string, rel *Release, typ *extract.TypeDef, schema *extract.Schema) {
	dated := typ == nil && (find(schema, withRole(extract.RoleDate)) != nil || find(schema, withClass(extract.Date)) != nil) ||
		typ != nil && typ.Name != "Patient" && len(extract.Compartment(typ.Name)) > 0
	switch {
	case c.Standard == SafeHarbor:
		c.closedCohort(path, rel, dated)
	case c.Standard == ExpertDetermination && dated && c.Cohort == nil && !(c.Certificate != nil && c.Certificate.FineDates) && !c.broken["certificate.fine_dates"]:
		c.coarseSteps(path, rel)
		c.yearsBesideShifts(path, rel)
	}
}

// closedCohort refuses a Safe Harbor release that goes on: what one drop adds
// to the last would tell when it happened.
func (c *checking) closedCohort(path string, rel *Release, dated bool) {
	closed := slices.ContainsFunc(rel.Only, func(o Condition) bool { return o.Period != "" })
	for _, o := range rel.Only {
		if _, last, ok := ClosedRange(o.Period); ok && !c.env.Alone && last >= c.env.Today {
			c.add(strictyaml.Join(path+".only", o.Path), "write last-closed-year, or years that are over",
				"the period ends on %s and is not over: what the next drop adds tells its date (45 CFR 164.514(b)(2)(i)(C))", last)
		}
	}
	if dated && !closed && c.Cohort == nil {
		c.add(path+".only", "add cohort:, or only: {date: last-closed-year}",
			"%s is followed without end: what one drop adds to the last tells the date of care (45 CFR 164.514(b)(2)(i)(C))", rel.Dataset)
	}
	if c.Cohort != nil {
		c.years(path, rel)
	}
}

// years refuses a second calendar year beside that of a cohort, which has years
// of its own: of an event that must lie both in a window and in a year, the
// edge of either tells the day of the other.
func (c *checking) years(path string, rel *Release) {
	for _, o := range rel.Only {
		if o.Period != "" {
			c.add(strictyaml.Join(path+".only", o.Path), "remove it: who is in the cohort, and until when, the cohort says",
				"a year that ends within people's windows tells when their windows began (45 CFR 164.514(b)(2)(i)(C))")
		}
	}
	for i := range rel.Fields {
		if f := &rel.Fields[i]; f.Do == Year && f.From != FromIndex && (f.Class == extract.Date || holdsEvent(f.Leaves)) {
			c.add(strictyaml.Join(path+".fields", f.Name)+".do", "remove the field, or the cohort: {from: index, do: year} says the year of the cohort",
				"the year of an event that lies within %d days of the index date can tell the day of both (45 CFR 164.514(b)(2)(i)(C))", c.Cohort.FollowDays)
		}
	}
}

func holdsEvent(leaves []Leaf) bool {
	return slices.ContainsFunc(leaves, func(l Leaf) bool { return l.Class == extract.Date })
}

// shiftsOnce refuses two ranges: intervals would be exact no more, and the
// difference of two shifts of one person tells of both.
func (p *Policy) shiftsOnce(say saying) {
	first := p.shiftRange()
	p.eachField(func(path string, f *Field) {
		if f.Do == ShiftDate && f.Days != first {
			say(path+".range", fmt.Sprintf("write range: %d days", first), "all dates of a person are shifted alike, so there is one range (45 CFR 164.514(b)(1))")
		}
	})
}

// shiftRange is by how many days dates are shifted at most; 0: none are.
func (p *Policy) shiftRange() int {
	days := 0
	p.eachField(func(_ string, f *Field) {
		if f.Do == ShiftDate && days == 0 {
			days = f.Days
		}
	})
	return days
}

// yearsBesideShifts refuses the true year of an event beside shifted dates: it is
// a window of a year, for each row.
func (c *checking) yearsBesideShifts(path string, rel *Release) {
	for i := range rel.Fields {
		f := &rel.Fields[i]
		event := f.Class == extract.Date || f.Class == extract.DeathDate || holdsEvent(f.Leaves)
		if c.shiftRange() > 0 && f.Do == Year && f.From != FromIndex && event {
			c.add(strictyaml.Join(path+".fields", f.Name)+".do", "remove the field, or write fine_dates: yes if the certificate says so",
				"the year of an event tells by how much the dates of its person are shifted (45 CFR 164.514(b)(1))")
		}
	}
}

// coarseSteps refuses drops of a time that moves, or is shorter than the shifts
// lie apart: when a row first stands in a drop then tells its date better than
// the shift hides it, as the attack in docs/transforms.md measures (DESIGN,
// De-identification and keys).
func (c *checking) coarseSteps(path string, rel *Release) {
	shift, step := c.shiftRange(), 0
	for _, o := range rel.Only {
		step = max(step, c.lengthOf(o.Period))
	}
	if c.Output.Mode == Delta {
		step = 0
	}
	if step < 2*shift {
		c.add(path+".only", fmt.Sprintf("write date: with two dates that are over, at least %d days apart, and mode: full, or fine_dates: yes if the certificate says so", 2*shift),
			"drops of %s do not all hold one time of at least %d days, from one end of the shifts to the other, so they tell by how much dates are shifted (45 CFR 164.514(b)(1))", rel.Dataset, 2*shift)
	}
}

// lengthOf is how many days a period has that is over and the same in every
// drop; 0 of any other.
func (c *checking) lengthOf(period string) int {
	first, last, ok := ClosedRange(period)
	if ok && (c.env.Alone || last < c.env.Today) {
		return int(last-first) + 1
	}
	return 0
}

// ages refuses what tells a birthday: an age as of each drop, which changes on
// it, and a year of birth beside an age.
func (c *checking) ages() {
	if c.Standard != SafeHarbor {
		return
	}
	aged := ""
	c.eachField(func(path string, f *Field) {
		if f.Do != AgeBand && f.Do != Age {
			return
		}
		aged = f.Name
		if f.Class == extract.BirthDate && f.At != FromIndex {
			c.add(path, "add at: index, with a cohort",
				"an age as of each drop tells, from one drop to the next, when the birthday is (45 CFR 164.514(b)(2)(i)(C))")
		}
	})
	c.eachField(func(path string, f *Field) {
		if aged != "" && f.Do == Year && f.Class == extract.BirthDate {
			c.add(path+".do", "release the one or the other", "beside %q the year of birth tells on which side of a day the birthday lies (45 CFR 164.514(b)(2)(i)(C))", aged)
		}
	})
}
