package bruteforce

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/policies"
)

// situation gives a value to each thing that a policy may ask about: an int
// for days and counts, a float64 for hours and shares, a string for the rest.
// A day that is absent is nil, and a value "".
type situation map[string]any

// gate is one thing that must hold for a piece to leave. It looks at nothing
// but what it names.
type gate struct {
	reads []string
	holds func(situation) bool
}

// runGates judge the run as a whole: the papers, the inputs and the extract.
func runGates(s *spec) (list []gate) {
	within := func(from, to string) {
		first, last := ordinalOr(from, math.MinInt), ordinalOr(to, math.MaxInt)
		list = append(list, gate{[]string{"day"}, func(x situation) bool { return x["day"].(int) >= first && x["day"].(int) <= last }})
	}
	until := s.Agreement.To
	if until == "" {
		until = s.Agreement.Review
	}
	within(s.Agreement.From, until)
	for _, paper := range []*dated{s.Attest, s.Certificate} {
		if paper != nil {
			within(paper.From, paper.To)
		}
	}
	for _, v := range s.Sets {
		within(v.From, v.To)
	}
	for _, end := range mustBeOver(s) {
		list = append(list, gate{[]string{"day"}, func(x situation) bool { return x["day"].(int) > end }})
	}
	for name, g := range s.Inputs {
		list = append(list, atMost("age:"+name, float64(g.Hours)), atMost("gone:"+name, float64(g.Gone)/1000))
	}
	return append(list, atMost("rejected", float64(s.Rejected)/1000))
}

// mustBeOver are the days that lie before any run: the end of a written index
// year and, under Safe Harbor, of written periods, in whatever dataset.
func mustBeOver(s *spec) (days []int) {
	if s.Cohort != nil && s.Cohort.Year != "last-closed" {
		year, _ := strconv.Atoi(s.Cohort.Year)
		days = append(days, yearEnd(year))
	}
	for _, list := range conditionsOf(s) {
		for _, c := range list {
			if _, to, written := strings.Cut(c.Period, ".."); written && s.Standard == "safe-harbor" {
				days = append(days, ordinal(to))
			}
		}
	}
	return days
}

func atMost(name string, most float64) gate {
	return gate{[]string{name}, func(x situation) bool { return x[name].(float64) <= most }}
}

func atLeast(name string, least int) gate {
	return gate{[]string{name}, func(x situation) bool { return x[name].(int) >= least }}
}

// peopleGates ask the decider. Of what concerns no patient it knows the record only.
func peopleGates(s *spec, dataset string, permits map[string]bool) (list []gate) {
	if aboutNobody[dataset] {
		return []gate{{[]string{"part2"}, func(x situation) bool { return permits["nobody_"+x["part2"].(string)] }}}
	}
	reads := slices.DeleteFunc(slices.Clone(standingVars), func(name string) bool { return strings.HasPrefix(name, "in:") && name != "in:"+s.People.Roster })
	list = append(list, gate{reads, func(x situation) bool {
		values := make([]string, len(standingVars))
		for i, name := range standingVars {
			if values[i] = "not-in-it"; slices.Contains(reads, name) {
				values[i] = x[name].(string)
			}
		}
		return permits[strings.Join(values, "_")]
	}})
	if steps := policies.Applies(kinds[s.Recipient], s.Basis, policies.Standard(s.Standard)); s.People.Minors != "" && steps.Consent {
		list = append(list, gate{[]string{"minor"}, func(x situation) bool { return x["minor"] != s.People.Minors }})
	} else if s.People.Minors != "" && steps.Part2 {
		list = append(list, gate{[]string{"minor", "part2"}, func(x situation) bool { return x["part2"] == "no" || x["minor"] != s.People.Minors }})
	}
	return list
}

// dayOfService asks for a day, where a relationship on it is asked about.
func dayOfService(s *spec, dataset string) []gate {
	if s.People.Roster == "" || s.People.Covered != "at-service" || aboutNobody[dataset] {
		return nil
	}
	return []gate{dateGate(dataset, nil, func(situation, int) bool { return true })}
}

// recordGates judge the record: the conditions of its dataset, the day it
// needs for a relationship, and the window of its person.
func recordGates(s *spec, rel release) []gate {
	list := slices.Concat(dayOfService(s, rel.Dataset), valueGates(s, rel.Dataset, rel.Only), listedGates(s, rel.Dataset))
	if s.Cohort == nil || aboutNobody[rel.Dataset] {
		return list
	}
	index := indexOf(s)
	list = append(list, gate{[]string{"as-of", index}, func(x situation) bool {
		day, known := x[index].(int)
		return known && dateOf(day).Year() == indexYear(s, x["as-of"].(int))
	}})
	if !undated[rel.Dataset] {
		list = append(list, dateGate(rel.Dataset, []string{index}, func(x situation, day int) bool {
			first, known := x[index].(int)
			return known && day >= first && day < first+s.Cohort.Follow
		}))
	}
	return list
}

// dateGate asks for the date of the record, which those of some datasets never have.
func dateGate(dataset string, others []string, holds func(x situation, day int) bool) gate {
	return gate{append([]string{"date"}, others...), func(x situation) bool {
		day, known := x["date"].(int)
		return known && !undated[dataset] && holds(x, day)
	}}
}

// indexYear is the year of the cohort as of a day, 0 when none may leave: a
// year is closed when the windows of all that began in it have ended before.
func indexYear(s *spec, asOf int) int {
	closed := func(year int) bool { return yearEnd(year)+s.Cohort.Follow-1 < asOf }
	if s.Cohort.Year != "last-closed" {
		year, _ := strconv.Atoi(s.Cohort.Year)
		if !closed(year) {
			return 0
		}
		return year
	}
	year := dateOf(asOf).Year()
	for !closed(year) {
		year--
	}
	return year
}

// isDate tells whether a path is that of the record's date.
func isDate(dataset, path string) bool {
	return path == "date" || path == "service_date" && dataset == "scores"
}

func valueGates(s *spec, dataset string, conditions []only) (list []gate) {
	for _, c := range conditions {
		at, within := valueAt(dataset, c.Path), periodOf(c.Period)
		switch {
		case c.Period != "" && isDate(dataset, c.Path):
			list = append(list, dateGate(dataset, []string{"as-of"}, func(x situation, day int) bool { return within(x["as-of"].(int), day) }))
		case c.Period != "":
			list = append(list, gate{[]string{"as-of", at}, func(x situation) bool {
				day, known := x[at].(int)
				return known && within(x["as-of"].(int), day)
			}})
		case c.Numbers:
			list = append(list, gate{[]string{at}, func(x situation) bool {
				v, err := strconv.ParseFloat(x[at].(string), 64)
				return err == nil && v >= c.Min && v <= c.Max
			}})
		default:
			items := itemsOf(s, c)
			list = append(list, gate{[]string{at}, func(x situation) bool { return amongItems(items, x[at].(string)) }})
		}
	}
	return list
}

// listedGates: a row is rejected that holds a value which the schema does not list.
func listedGates(s *spec, dataset string) (list []gate) {
	for column, values := range s.Listed {
		at := valueAt(dataset, column)
		if dataset == "scores" {
			list = append(list, gate{[]string{at}, func(x situation) bool { return x[at] == "" || slices.Contains(values, x[at].(string)) }})
		}
	}
	return list
}

// valueAt names the value at a path; that of a FHIR concept is that of its
// codes, and the column of role date holds the date of the record.
func valueAt(dataset, path string) string {
	if isDate(dataset, path) {
		return "date"
	}
	if isFHIR(dataset) {
		path = strings.TrimSuffix(strings.TrimSuffix(path, ".code"), ".coding")
	}
	return "value:" + dataset + ":" + path
}

// periodOf tells whether a day lies in a period as of another.
func periodOf(period string) func(asOf, day int) bool {
	since := func(asOf, day int) (years, months int) {
		a, d := dateOf(asOf), dateOf(day)
		years = a.Year() - d.Year()
		return years, 12*years + int(a.Month()) - int(d.Month())
	}
	switch period {
	case "":
		return nil
	case "measure-year":
		return func(asOf, day int) bool { years, _ := since(asOf, day); return years == 0 }
	case "last-closed-year":
		return func(asOf, day int) bool { years, _ := since(asOf, day); return years == 1 }
	case "last-closed-month":
		return func(asOf, day int) bool { _, months := since(asOf, day); return months == 1 }
	}
	from, to, _ := strings.Cut(period, "..")
	first, last := ordinal(from), ordinal(to)
	return func(_, day int) bool { return day >= first && day <= last }
}

func amongItems(items []string, code string) bool {
	return code != "" && slices.ContainsFunc(items, func(item string) bool {
		if prefix, ok := strings.CutSuffix(item, "*"); ok {
			return strings.HasPrefix(code, prefix)
		}
		if from, to, ok := strings.Cut(item, ".."); ok {
			return code >= from && (code <= to || strings.HasPrefix(code, to))
		}
		return code == item
	})
}

// needed are the items of a list that add a code to the others.
func needed(items []string) (list []string) {
	all := slices.Compact(slices.Sorted(slices.Values(items)))
	for _, item := range all {
		if !strings.Contains(item, "..") && slices.ContainsFunc(all, func(other string) bool {
			return other != item && amongItems([]string{other}, strings.TrimSuffix(item, "*"))
		}) {
			continue
		}
		list = append(list, item)
	}
	return list
}

// controlGates are those of disclosure control. A policy has groups of its own.
func controlGates(s *spec, role string) (list []gate) {
	p := s.Protect
	if p == nil {
		return nil
	}
	if least := max(p.K, p.Smallest); least > 0 {
		list = append(list, atLeast("group:"+role, least))
	}
	for _, from := range p.Against {
		list = append(list, gate{[]string{"derivable"}, func(x situation) bool {
			back, drop := x["derivable"].(int)
			return x["derivable"] != from && !(drop && from == "earlier-drops" && back <= p.Years)
		}})
	}
	if p.Audit {
		list = append(list, gate{[]string{"audit"}, func(x situation) bool { return x["audit"] == "passed" }})
	}
	return list
}

// indexOf names the index date of a policy's cohort: it is that of the first
// record of the dataset that meets the dataset's conditions.
func indexOf(s *spec) string {
	if s.Cohort == nil {
		return ""
	}
	var conditions []string
	if rel := s.dataset(s.Cohort.Dataset); rel != nil {
		for _, c := range rel.Only {
			conditions = append(conditions, fmt.Sprint(valueAt(rel.Dataset, c.Path), needed(itemsOf(s, c)), c.Period, c.Numbers, c.Min, c.Max))
		}
	}
	slices.Sort(conditions)
	return "index:" + s.Cohort.Dataset + strings.Join(conditions, ";")
}
