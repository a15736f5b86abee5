package bruteforce

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// domains are, for each thing a policy may ask about, the values at which two
// policies can begin to differ: what they name, and its neighbours.
func domains(specs ...*spec) map[string][]any {
	d := map[string][]any{"minor": {"none", "us-xx"}, "date": {nil}, "derivable": {"no", "this-table", "linked-tables", 0}, "audit": {"passed", "failed"}}
	for i, name := range standingVars {
		d[name] = anys(standingValues[i])
	}
	add := func(name string, values ...any) { d[name] = append(d[name], values...) }
	near := func(name string, value int) { add(name, value-1, value, value+1) }
	atMost := func(name string, most, unit int) { // and none, and more
		for _, v := range []int{0, most, most + 1} {
			add(name, float64(v)/float64(unit))
		}
	}
	for _, s := range specs {
		for _, date := range papers(s) {
			if date != "" {
				near("day", ordinal(date))
			}
		}
		for _, end := range mustBeOver(s) {
			near("day", end)
		}
		for name, g := range s.Inputs {
			atMost("age:"+name, g.Hours, 1)
			atMost("gone:"+name, g.Gone, 1000)
		}
		atMost("rejected", s.Rejected, 1000)
		if s.People.Minors != "" {
			add("minor", s.People.Minors)
		}
		if s.Protect != nil {
			near("group:was", max(s.Protect.K, s.Protect.Smallest))
			near("group:is", max(s.Protect.K, s.Protect.Smallest))
			near("derivable", s.Protect.Years)
		}
		for column, values := range s.Listed {
			add(valueAt("scores", column), anys(append(values, "", "zzz"))...)
		}
		for name, list := range conditionsOf(s) {
			for _, c := range list {
				if c.Period == "" {
					add(valueAt(name, c.Path), anys(valuesNear(s, c))...)
				}
			}
		}
	}
	calendar(d, specs)
	for name := range d {
		d[name] = distinct(d[name])
	}
	return d
}

func anys(texts []string) (list []any) {
	for _, text := range texts {
		list = append(list, text)
	}
	return list
}

func distinct(list []any) (out []any) {
	seen := map[any]bool{}
	for _, v := range list {
		if n, isInt := v.(int); !seen[v] && !(isInt && n < 0) {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

// papers are the days on which something comes into force or ends.
func papers(s *spec) []string {
	list := []string{s.Agreement.From, s.Agreement.To, s.Agreement.Review}
	for _, p := range []*dated{s.Attest, s.Certificate} {
		if p != nil {
			list = append(list, p.From, p.To)
		}
	}
	for _, v := range s.Sets {
		list = append(list, v.From, v.To)
	}
	return list
}

func conditionsOf(s *spec) map[string][]only {
	list := map[string][]only{}
	for _, rel := range s.Release {
		list[rel.Dataset] = append(list[rel.Dataset], rel.Only...)
	}
	for _, t := range s.Tables {
		list[t.Dataset] = slices.Concat(list[t.Dataset], t.In, t.Met)
	}
	return list
}

// valuesNear are the values that a condition names, those just before and
// after, and one that is absent.
func valuesNear(s *spec, c only) []string {
	list := []string{"", "0", "zzz"}
	around := func(code string) {
		list = append(list, code, code+"!", code+".9", code+"~", code[:len(code)-1])
		last := code[len(code)-1]
		list = append(list, code[:len(code)-1]+string(last-1)+"~", code[:len(code)-1]+string(last+1))
	}
	for _, item := range itemsOf(s, c) {
		from, to, isRange := strings.Cut(strings.TrimSuffix(item, "*"), "..")
		if around(from); isRange {
			around(to)
		}
	}
	if c.Numbers {
		for _, v := range []float64{c.Min - 0.5, c.Min, c.Min + 0.5, c.Max - 0.5, c.Max, c.Max + 0.5} {
			list = append(list, strconv.FormatFloat(v, 'f', -1, 64))
		}
	}
	return list
}

// calendar adds the days of records, of indexes and as of which periods are
// taken: in the years that the policies name, some before and some after,
// first and last days of years, and of months where a policy counts in months.
func calendar(d map[string][]any, specs []*spec) {
	var named []string
	dates := []string{"date"}
	years, months, slack := []int{}, false, 2
	for _, s := range specs {
		for dataset, list := range conditionsOf(s) {
			for _, c := range list {
				if c.Period == "" {
					continue
				}
				if !isDate(dataset, c.Path) {
					dates = append(dates, valueAt(dataset, c.Path))
					d[valueAt(dataset, c.Path)] = []any{nil}
				}
				months = months || c.Period == "last-closed-month"
				if from, to, ok := strings.Cut(c.Period, ".."); ok {
					named = append(named, from, to)
				}
			}
		}
		if s.Cohort != nil {
			slack = max(slack, 2+s.Cohort.Follow/365)
			if year, err := strconv.Atoi(s.Cohort.Year); err == nil {
				years = append(years, year)
			}
		}
	}
	for _, date := range named {
		years = append(years, dateOf(ordinal(date)).Year())
		for _, name := range dates {
			d[name] = append(d[name], ordinal(date)-1, ordinal(date), ordinal(date)+1)
		}
	}
	if len(years) == 0 {
		years = []int{2026}
	}
	for year := slices.Min(years) - slack; year <= slices.Max(years)+slack; year++ {
		ends := []int{ordinal(fmt.Sprintf("%d-01-01", year)), ordinal(fmt.Sprintf("%d-12-31", year))}
		for month := 1; months && month <= 12; month++ {
			first := time.Date(year, time.Month(month), 1, 0, 0, 0, 0, time.UTC)
			ends = append(ends, ordinal(first.Format(time.DateOnly)), ordinal(first.AddDate(0, 1, -1).Format(time.DateOnly)))
		}
		for _, name := range append(dates, "as-of") {
			d[name] = append(d[name], anyDays(ends)...)
		}
		for _, s := range specs {
			if s.Cohort != nil {
				closes := ends[1] + s.Cohort.Follow - 1
				d["as-of"] = append(d["as-of"], closes, closes+1)
				d[indexOf(s)] = append(d[indexOf(s)], nil, ends[0], ends[1])
				for _, index := range ends[:2] {
					d["date"] = append(d["date"], index-1, index+s.Cohort.Follow-1, index+s.Cohort.Follow)
				}
			}
		}
	}
}

func anyDays(days []int) (list []any) {
	for _, day := range days {
		list = append(list, day)
	}
	return list
}
