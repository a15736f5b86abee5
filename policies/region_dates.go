package policies

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
)

// lastDay stands for an end that lies open.
const lastDay = extract.Day(math.MaxInt32)

// terms are the spans of days on which a policy lets anything out: agreement,
// attestation, certificate, value sets, the days after a written index year, and
// under safe-harbor after dated periods. One that can never be met ends before it begins.
func (v *view) terms() []extract.Span {
	a := v.Agreement
	list := []extract.Span{{From: a.From, To: a.To}}
	if a.To == extract.NoDay {
		list[0].To = a.ReviewBy
	}
	if v.never() {
		list[0] = extract.Span{From: a.From, To: a.From - 1}
	}
	if v.Attest != nil {
		list = append(list, extract.Span{From: v.Attest.On, To: v.Attest.ReviewBy})
	}
	if v.Certificate != nil {
		list = append(list, extract.Span{From: v.Certificate.On, To: v.Certificate.Expires})
	}
	for _, name := range sortedNames(v.ValueSets) {
		if set := v.ValueSets[name]; set != nil { // still to be filled in
			list = append(list, extract.Span{From: set.From, To: orOpen(set.To)})
		}
	}
	if v.Cohort != nil {
		if year, err := strconv.Atoi(v.Cohort.IndexYear); err == nil {
			list = append(list, extract.Span{From: civil(year+1, 1, 1), To: lastDay})
		}
	}
	for _, rel := range v.Release {
		for _, c := range rel.Only {
			if _, last, ok := ClosedRange(c.Period); ok && v.Standard == SafeHarbor {
				list = append(list, extract.Span{From: last + 1, To: lastDay})
			}
		}
	}
	return list
}

func orOpen(day extract.Day) extract.Day {
	if day == extract.NoDay {
		return lastDay
	}
	return day
}

// never tells whether nothing leaves on whatever day: what step 1 of the
// decision asks of the paper, and the relationship of a roster.
func (v *view) never() bool {
	a := v.Agreement
	covers := func(wider string) bool { return PurposeWithin(v.Purpose, wider) }
	return a.Kind == "" || a.ID == "" || a.From == extract.NoDay || !v.steps.Known() || !KnownPurpose(v.Purpose) ||
		v.Standard == LimitedDataSet && a.Kind != "dua" ||
		len(v.steps.Purposes) > 0 && !slices.ContainsFunc(v.steps.Purposes, covers) ||
		v.steps.Relationship && v.People.Roster == ""
}

func (v *view) inForce(day extract.Day) bool {
	return !slices.ContainsFunc(v.terms(), func(t extract.Span) bool { return day < t.From || day > t.To })
}

func decidedOn(a, b *view) dimension {
	days := []extract.Day{b.today}
	for _, t := range slices.Concat(a.terms(), b.terms()) {
		days = append(days, around(t)...)
	}
	return over(dimDay, nearest(days, b.today), func(s *Situation, day extract.Day) { s.DecidedOn = day })
}

// around are the limits of a span and the days beside them.
func around(s extract.Span) (days []extract.Day) {
	for _, day := range []extract.Day{s.From, s.To} {
		if day != extract.NoDay && day != lastDay {
			days = append(days, day, day-1, day+1)
		}
	}
	return days
}

// nearest puts days in the order of their distance from one, each once.
func nearest(days []extract.Day, to extract.Day) []extract.Day {
	far := func(d extract.Day) int64 { return max(int64(d)-int64(to), int64(to)-int64(d)) }
	slices.SortFunc(days, func(x, y extract.Day) int { return cmp.Or(cmp.Compare(far(x), far(y)), cmp.Compare(x, y)) })
	return slices.Compact(days)
}

// periodOn gives the days of a period as of a day, as the engine takes them.
func periodOn(period string, asOf extract.Day) extract.Span {
	y, m, _ := asOf.Time().Date()
	switch period {
	case MeasureYear:
		return extract.Span{From: civil(y, 1, 1), To: civil(y+1, 1, 1) - 1}
	case LastClosedYear:
		return extract.Span{From: civil(y-1, 1, 1), To: civil(y, 1, 1) - 1}
	case LastClosedMonth:
		return extract.Span{From: civil(y, m-1, 1), To: civil(y, m, 1) - 1}
	}
	first, last, _ := ClosedRange(period)
	return extract.Span{From: first, To: last}
}

func civil(year int, month time.Month, day int) extract.Day {
	return extract.DayOf(time.Date(year, month, day, 0, 0, 0, 0, time.UTC))
}

// indexDefinition tells one index date from another: by the dataset and what is
// asked of its records.
func indexDefinition(p *Policy, env Env) string {
	rel := p.ReleaseOf(p.Cohort.Dataset)
	if rel == nil {
		return p.Cohort.Dataset
	}
	without := *p
	without.Cohort = nil
	var asked []string
	for _, c := range newView(&without, env, p.Cohort.Dataset, rel.Only).only {
		asked = append(asked, c.Path+" "+c.says())
	}
	slices.Sort(asked)
	return strings.Join(append([]string{"first of " + p.Cohort.Dataset}, asked...), "; ")
}

// window is a cohort at an as-of day: the days of the index year, and how long
// each person is followed; closed tells whether every window of it is over.
func (c *Cohort) window(asOf extract.Day) (year extract.Span, closed bool) {
	ends := func(y int) extract.Day { return civil(y, 12, 31) + extract.Day(c.FollowDays) - 1 }
	y, err := strconv.Atoi(c.IndexYear)
	if err != nil { // last-closed
		for y = asOf.Year() - 1; ends(y) >= asOf; {
			y--
		}
	}
	return extract.Span{From: civil(y, 1, 1), To: civil(y, 12, 31)}, ends(y) < asOf
}

func (v *view) asksDates() bool {
	return v.inCohort() || v.atService() || slices.ContainsFunc(v.only, func(c Condition) bool { return c.Period != "" })
}

func (v *view) inCohort() bool { return v.Cohort != nil && v.about == aPerson }

// inPeriods judges the dates of a record and of its person, as of a day.
func (v *view) inPeriods(s *Situation) bool {
	for _, c := range v.only {
		if c.Period != "" && !holds(periodOn(c.Period, s.AsOf), s.Dates[c.Path]) {
			return false
		}
	}
	date := s.Dates[v.date()]
	if v.atService() && (!v.dated() || date == extract.NoDay) {
		return false
	}
	if !v.inCohort() {
		return true
	}
	index := s.Index[v.index]
	year, closed := v.Cohort.window(s.AsOf)
	return closed && holds(year, index) &&
		(!v.dated() || holds(extract.Span{From: index, To: index + extract.Day(v.Cohort.FollowDays) - 1}, date))
}

func holds(s extract.Span, day extract.Day) bool {
	return day != extract.NoDay && day >= s.From && day <= s.To
}

// dates is the dimension of the as-of day with all dates that depend on it.
// Within one as-of day what each view admits is bounded by days and by the
// distance between two days, so its corners lie where two of the bounds meet.
func dates(a, b *view) dimension {
	return dimension{dimDates, func(s *Situation, try func() bool) {
		seen := map[string]bool{}
		for _, asOf := range asOfDays(a, b) {
			bounds := append(a.bounds(asOf), b.bounds(asOf)...)
			if key := fmt.Sprint(bounds, a.closedOn(asOf), b.closedOn(asOf)); seen[key] {
				continue
			} else {
				seen[key] = true
			}
			if s.AsOf = asOf; eachDate(a, b, bounds, s, try) {
				return
			}
		}
	}}
}

func (v *view) closedOn(asOf extract.Day) bool {
	if !v.inCohort() {
		return true
	}
	_, closed := v.Cohort.window(asOf)
	return closed
}

// bounds are the spans that a view names, as of a day.
func (v *view) bounds(asOf extract.Day) (list []extract.Span) {
	for _, c := range v.only {
		if c.Period != "" {
			list = append(list, periodOn(c.Period, asOf))
		}
	}
	if v.inCohort() {
		year, _ := v.Cohort.window(asOf)
		list = append(list, year)
	}
	return list
}

// asOfDays are the first days of months, and the days around the closing of
// each window, from before the first year that is named to after the last.
func asOfDays(a, b *view) []extract.Day {
	first, last, follow := b.today.Year(), b.today.Year(), 0
	for _, v := range []*view{a, b} {
		for _, s := range append(v.bounds(v.today), extract.Span{From: v.Agreement.From, To: v.Agreement.From}) {
			if s.From != extract.NoDay {
				first, last = min(first, s.From.Year()), max(last, s.To.Year())
			}
		}
		if v.inCohort() {
			follow = max(follow, v.Cohort.FollowDays/365+1)
		}
	}
	var days []extract.Day
	for y := first - 2 - follow; y <= last+2+follow; y++ {
		for m := time.January; m <= time.December; m++ {
			days = append(days, civil(y, m, 1))
		}
		for _, v := range []*view{a, b} {
			if v.inCohort() {
				over := civil(y, 12, 31) + extract.Day(v.Cohort.FollowDays)
				days = append(days, over-1, over)
			}
		}
	}
	return nearest(days, b.today)
}

// eachDate tries dates of the record and, for each, index dates of the person.
func eachDate(a, b *view, bounds []extract.Span, s *Situation, try func() bool) bool {
	days, lengths := []extract.Day{s.AsOf - 1}, []extract.Day{0}
	for _, v := range []*view{a, b} {
		if v.inCohort() {
			lengths = append(lengths, extract.Day(v.Cohort.FollowDays)-1, extract.Day(v.Cohort.FollowDays))
		}
	}
	for _, span := range bounds {
		for _, day := range around(span) {
			for _, length := range lengths {
				days = append(days, day+length)
			}
		}
	}
	days = append(nearest(days, s.AsOf), extract.NoDay)
	s.Dates, s.Index = map[string]extract.Day{}, map[string]extract.Day{}
	return assign(datePaths(a, b), days, s.Dates, func() bool {
		index := []extract.Day{extract.NoDay}
		for _, span := range bounds {
			index = append(index, around(span)...)
		}
		for _, date := range s.Dates {
			for _, length := range append(lengths, -1) {
				if date != extract.NoDay {
					index = append(index, date-length)
				}
			}
		}
		return assign(definitions(a, b), nearest(index, s.AsOf), s.Index, try)
	})
}

// definitions are the index dates that either view asks about.
func definitions(a, b *view) (list []string) {
	for _, v := range []*view{a, b} {
		if v.inCohort() && !slices.Contains(list, v.index) {
			list = append(list, v.index)
		}
	}
	return list
}

// datePaths are the dates of a record that either view asks about.
func datePaths(a, b *view) (paths []string) {
	add := func(path string) {
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
	}
	for _, v := range []*view{a, b} {
		if v.dated() && (v.atService() || v.inCohort()) {
			add(v.date())
		}
		for _, c := range v.only {
			if c.Period != "" {
				add(c.Path)
			}
		}
	}
	return paths
}

// assign tries every way to give each name one of the days.
func assign(names []string, days []extract.Day, to map[string]extract.Day, try func() bool) bool {
	if len(names) == 0 {
		return try()
	}
	for _, day := range days {
		if to[names[0]] = day; assign(names[1:], days, to, try) {
			return true
		}
	}
	return false
}
