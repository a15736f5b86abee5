package policies

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Periods that a condition on a date may name. A HEDIS measurement year is the
// calendar year that holds the as-of date.
const (
	MeasureYear     = "measure-year"
	LastClosedYear  = "last-closed-year"
	LastClosedMonth = "last-closed-month"
)

// FromIndex is the source of a field that is taken from the cohort's index date.
const FromIndex = "index"

// oldestAge is the age from which all ages are one group (164.514(b)(2)(i)(C)).
const oldestAge = 90

func (r *reading) cohort() {
	if !r.source.Has("cohort") {
		return
	}
	f, day := &r.file.Cohort, strictyaml.Duration(24*time.Hour)
	year, err := strconv.Atoi(f.IndexYear)
	r.must(f.IndexYear == "last-closed" || err == nil && year >= 1900 && year <= 2999, "cohort.index_year", "write last-closed, or a year such as 2025", "%q is no index year", f.IndexYear)
	r.must(f.Follow >= day && f.Follow%day == 0, "cohort.follow", "write it like 52 weeks", "people are followed for whole days")
	r.must(f.ReleaseAfter == "every window has closed", "cohort.release_after", "write release_after: every window has closed", "a cohort leaves when the last person's window has closed")
	r.policy.Cohort = &Cohort{Dataset: r.indexDataset(f.Index), IndexYear: f.IndexYear, FollowDays: int(f.Follow / day)}
}

// indexDataset reads "first score of the person" for the dataset scores.
func (r *reading) indexDataset(text string) string {
	const path = "cohort.index"
	word, ok := strings.CutPrefix(text, "first ")
	word, of := strings.CutSuffix(word, " of the person")
	var names []string
	for _, rel := range r.file.Release {
		if ok && of && (rel.Key == word || rel.Key == word+"s") {
			return rel.Key
		}
		names = append(names, "first "+strings.TrimSuffix(rel.Key, "s")+" of the person")
	}
	r.must(false, path, "write one of: "+strings.Join(names, "; "), "%q names no released dataset", text)
	return ""
}

func (r *reading) release() {
	r.must(len(r.file.Release) > 0, "release", "name a dataset and its fields", "nothing is released")
	for _, rel := range r.file.Release {
		if rel.Value == nil {
			continue
		}
		out := Release{Dataset: rel.Key}
		for _, only := range rel.Value.Only {
			out.Only = append(out.Only, r.condition(only))
		}
		r.must(len(rel.Value.Fields) > 0, rel.Path+".fields", "name the fields that leave", "nothing of %s is released", rel.Key)
		r.text(rel.Path+".because", rel.Value.Because)
		for _, f := range rel.Value.Fields {
			if f.Value != nil {
				out.Fields = append(out.Fields, r.field(f.Path, f.Key, f.Value, rel.Value.Because))
			}
		}
		r.policy.Release = append(r.policy.Release, out)
	}
}

func (r *reading) condition(only strictyaml.Entry[values]) Condition {
	c := Condition{Path: only.Key}
	period, isPeriod := "", false
	if len(only.Value) == 1 {
		period, isPeriod = periodOf(only.Value[0])
	}
	dated := only.Key == "date" || only.Key == "service_date"
	switch {
	case r.source.IsPlaceholder(only.Path):
	case isPeriod:
		c.Period = period
	case dated && len(only.Value) > 0:
		r.add(only.Path, "write measure-year, last-closed-year, last-closed-month, or 2026-01-01..2026-06-30", "%q is no period", only.Value[0])
	case len(only.Value) == 0:
		r.add(only.Path, "name a value, or remove the condition", "no record can meet this condition")
	default:
		c.Codes = Codes(only.Value...)
	}
	return c
}

// periodOf reads the name of a period, or a pair of dates.
func periodOf(text string) (period string, ok bool) {
	switch text {
	case MeasureYear, "measurement-year":
		return MeasureYear, true
	case LastClosedYear, LastClosedMonth:
		return text, true
	}
	first, last, ok := ClosedRange(text)
	return text, ok && first <= last
}

// ClosedRange reads a period written as two dates, 2026-01-01..2026-06-30.
func ClosedRange(period string) (first, last extract.Day, ok bool) {
	from, to, ok := strings.Cut(period, "..")
	if !ok || len(from) != 10 || len(to) != 10 {
		return extract.NoDay, extract.NoDay, false
	}
	a, okA := extract.ParseSpan([]byte(from))
	b, okB := extract.ParseSpan([]byte(to))
	return a.From, b.To, okA && okB
}

func (r *reading) field(path, name string, f *fieldFile, because string) Field {
	out := Field{Name: name, From: cmp.Or(f.From, name), Do: Transform(f.Do), At: f.At, Unit: f.Unit, Because: f.Because}
	if !r.source.Has(path + ".because") {
		if out.Because = because; because == "" {
			r.add(path, "add because: with the reason, here or on the dataset", "every released field needs its reason (45 CFR 164.514(d))")
		}
	}
	r.text(path+".because", f.Because)
	if f.Do == "" && r.isLookUp(f.From) {
		out.Do = Keep // a look-up gives a value as it stands in the roster
	}
	if f.Do == "drop" {
		r.add(path+".do", "remove the field", "what is not listed does not leave")
	} else if out.Do == "" {
		r.add(path, "add do: with keep, code, year, age-band, zip3 or relative-time", "the field does not say what is done to it")
	} else {
		r.oneOf(path+".do", string(out.Do), string(Keep), string(CodePerson), string(Year), string(AgeBand), string(ZIP3), string(RelativeTime))
	}
	r.origin(path, &out, f)
	r.options(path, &out, f)
	return out
}

// isLookUp tells whether from has the form ROSTER.COLUMN of a protective input.
func (r *reading) isLookUp(from string) bool {
	input, _, ok := strings.Cut(from, ".")
	_, known := r.policy.Inputs[input]
	return ok && (known || input == r.policy.People.Roster)
}

// origin checks what a field is taken from, as far as the file alone tells.
func (r *reading) origin(path string, out *Field, f *fieldFile) {
	switch {
	case f.From == FromIndex && out.Do != Year:
		r.add(path+".from", "write do: year", "of the index date only the year leaves")
	case r.isLookUp(f.From) && out.Do != Keep:
		r.add(path+".do", "write do: keep, or nothing", "a looked-up value leaves as it is or not at all")
	case r.policy.Standard == Identified && r.isLookUp(f.From) && !strings.HasPrefix(f.From, r.policy.People.Roster+"."):
		r.add(path+".from", "name a column of the roster under people.relationship", "values are looked up in the members' roster only")
	}
	for key, needed := range map[string]bool{"from": f.From == FromIndex, "at": f.At == FromIndex, "do": out.Do == RelativeTime} {
		if needed && r.policy.Cohort == nil {
			r.add(path+"."+key, "add cohort: with index, index_year, follow and release_after", "there is no cohort, so there is no index date")
		}
	}
}

// options checks the keys that belong to one transform.
func (r *reading) options(path string, out *Field, f *fieldFile) {
	for key, do := range map[string]Transform{"at": AgeBand, "width": AgeBand, "top": AgeBand, "unit": RelativeTime} {
		r.must(out.Do == do, path+"."+key, fmt.Sprintf("remove it, or write do: %s", do), "%s belongs to do: %s", key, do)
	}
	switch out.Do {
	case AgeBand:
		r.oneOf(path+".at", f.At, FromIndex)
		r.ageBand(path, out, f)
	case RelativeTime:
		if f.Unit == "" && !r.source.Has(path+".unit") {
			r.add(path, "add unit: days or unit: weeks", "do: relative-time needs a unit")
		}
		r.oneOf(path+".unit", f.Unit, "days", "weeks")
	}
}

func (r *reading) ageBand(path string, out *Field, f *fieldFile) {
	digits, open := strings.CutSuffix(f.Top, "+")
	top, err := strconv.Atoi(digits)
	switch {
	case !r.source.Has(path+".width") || !r.source.Has(path+".top"):
		r.add(path, "add width: 5 and top: 90+", "do: age-band needs a width and a top")
		return
	case err != nil || !open || top < 1 || top > oldestAge:
		r.add(path+".top", "write top: 90+ or a lower age", "all ages from 90 are one group (45 CFR 164.514(b)(2)(i)(C))")
		return
	case f.Width == nil || *f.Width < 1 || top%*f.Width != 0:
		r.add(path+".width", "write width: 5 or width: 10", "bands of this width do not end at %d", top)
		return
	}
	out.Width, out.Top = *f.Width, top
}
