package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/strictyaml"
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
	for kind, needed := range map[string]bool{"release": r.policy.Standard != Aggregate, "tables": r.policy.Standard == Aggregate} {
		if needed && r.policy.Standard != "" && !r.source.Has(kind) {
			r.errs.Add(r.source.AtKey(""), kind, "the key is missing", "add "+kind+":")
		}
	}
	for _, rel := range r.file.Release {
		out := Release{Dataset: rel.Key}
		if f := rel.Value; f != nil {
			out.Because, out.Only = f.Because, r.conditions(rel.Path+".only", f.Only)
			r.must(len(f.Fields) > 0, rel.Path+".fields", "name the fields that leave", "nothing of %s is released", rel.Key)
			r.text(rel.Path+".because", f.Because)
			for _, field := range f.Fields {
				if field.Value != nil {
					out.Fields = append(out.Fields, r.field(field.Path, field.Key, field.Value, f.Because))
				}
			}
		}
		r.policy.Release = append(r.policy.Release, out)
		r.coverage(&out)
	}
}

// coverage holds `any day of the period` against the period there is.
func (r *reading) coverage(rel *Release) {
	dated := slices.ContainsFunc(rel.Only, func(c Condition) bool { return c.Period != "" })
	if r.policy.People.Covered == "any-day-of-period" && r.policy.Cohort == nil && !dated {
		r.add("people.relationship.covered", "write covered: at-service, or a period under release."+rel.Dataset+".only", "%s has no period, so it has no days of one", rel.Dataset)
	}
}

func (r *reading) field(path, name string, f *fieldFile, because string) Field {
	out := Field{Name: name, From: cmp.Or(f.From, name), By: f.By, Do: f.Do, At: f.At, Unit: f.Unit, Because: f.Because}
	if r.broken[path] {
		return out
	}
	if f.Do == Keep && f.In != "" {
		out.Do = KeepIn
	}
	if !r.source.Has(path + ".because") {
		if out.Because = because; because == "" {
			r.add(path+".because", "add because: with the reason, here or on the dataset", "every released field needs its reason (45 CFR 164.514(d))")
		}
	}
	r.text(path+".because", f.Because)
	switch {
	case f.Do == "" && r.isLookUp(f.From):
		out.Do = Keep // a look-up gives a value as it stands in the roster
	case f.Do == "" && !r.source.Has(path+".do"):
		r.add(path+".do", "add do: with keep, code, year, age-band, zip3 or relative-time", "the field does not say what is done to it")
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
	case out.Do == Constant:
		r.must(false, path+".from", "remove from:", "a constant is taken from nothing")
		out.From = ""
	case f.From == FromIndex && out.Do != Year:
		r.add(path+".from", "write do: year", "of the index date only the year leaves")
	case r.isLookUp(f.From) && out.Do != Keep:
		r.add(path+".do", "write do: keep, or nothing", "a looked-up value leaves as it is or not at all")
	case r.policy.Standard == Identified && f.By == "" && r.isLookUp(f.From) && !strings.HasPrefix(f.From, r.policy.People.Roster+"."):
		r.add(path+".from", "name a column of the roster under people.relationship; in a table, add by: with the column that is looked up", "of a person, values are looked up in the members' roster only")
	}
	r.must(r.isLookUp(f.From), path+".by", "remove it, or write from: TABLE.COLUMN", "by: belongs to a look-up in a table")
	for key, needed := range map[string]bool{"from": f.From == FromIndex, "at": f.At == FromIndex, "do": out.Do == RelativeTime} {
		if needed && r.policy.Cohort == nil {
			r.add(path+"."+key, "add cohort: with index, index_year, follow and release_after", "there is no cohort, so there is no index date")
		}
	}
}

// optionsOf are the keys that belong to some transforms only; needed ones must
// stand there.
var optionsOf = []struct {
	key    string
	of     []Transform
	needed bool
	write  string
}{
	{"at", []Transform{AgeBand, Age}, false, ""},
	{"width", []Transform{AgeBand}, true, "width: 5"},
	{"top", []Transform{AgeBand}, true, "top: 90+"},
	{"unit", []Transform{RelativeTime}, true, "unit: days or unit: weeks"},
	{"range", []Transform{ShiftDate}, true, "range: 365 days"},
	{"to", []Transform{Map, Round, Region, CodeDisplay}, true, "to: with the included file, the step to round to, or region or division"},
	{"bands", []Transform{Band}, true, "bands: [0-4, 5-9]"},
	{"in", []Transform{KeepIn}, true, "in: with the value set"},
	{"value", []Transform{Constant}, true, "value: with the text"},
}

// options checks the keys that belong to some transforms, and reads them.
func (r *reading) options(path string, out *Field, f *fieldFile) {
	for _, o := range optionsOf {
		at := path + "." + o.key
		switch belongs := slices.Contains(o.of, out.Do); {
		case !belongs:
			r.must(false, at, fmt.Sprintf("remove it, or write do: %s", o.of[0]), "%s belongs to do: %s", o.key, o.of[0])
		case o.needed && !r.source.Has(at):
			r.add(at, "add "+o.write, "do: %s needs %s:", out.Do, o.key)
		}
	}
	switch out.Do {
	case AgeBand:
		r.ageBand(path, out, f)
	case Age:
		out.Top = oldestAge // all ages from 90 are one group, wherever one shows
	case ShiftDate:
		const day = strictyaml.Duration(24 * time.Hour)
		out.Days = int(f.Range / day) // two at least: no shift is zero
		r.must(out.Days >= 2 && f.Range%day == 0, path+".range", "write range: 365 days", "dates are shifted by whole days, two at least")
	case Round:
		step, err := strconv.Atoi(f.To)
		r.must(err == nil && step >= 1, path+".to", "write to: 5", "%q is no step to round to", f.To)
		out.Days = step
	case Map, CodeDisplay:
		if out.To = f.To; r.source.Has(path + ".to") {
			set := r.included(path+".to", f.To, f.Do == Map)
			r.must(f.Do == Map || set == nil || len(set.Display) > 0, path+".to", "add display: to its codes", "the value set %q has no words for its codes", f.To)
		}
	case KeepIn:
		out.To = f.In
		if set := r.included(path+".in", f.In, false); set != nil {
			_, single := set.Codes.Single()
			r.must(single, path+".in", "list its codes one by one", "the value set %q holds prefixes or ranges, so what leaves would not be known word by word", f.In)
		}
	case Region:
		out.To = f.To
		r.must(f.To == WholeRegion || f.To == Division, path+".to", "write to: region, or to: division", "%q is no kind of region of the Census Bureau", f.To)
	case Band:
		out.Bands = f.Bands
		r.bands(path, f.Bands, "numbers")
	case Constant:
		out.To = f.Value
		r.text(path+".value", f.Value)
	}
}

func (r *reading) ageBand(path string, out *Field, f *fieldFile) {
	digits, open := strings.CutSuffix(f.Top, "+")
	top, err := strconv.Atoi(digits)
	switch {
	case !r.source.Has(path+".width") || !r.source.Has(path+".top"):
	case err != nil || !open || top < 1 || top > oldestAge:
		r.add(path+".top", "write top: 90+ or a lower age", "all ages from 90 are one group (45 CFR 164.514(b)(2)(i)(C))")
	case f.Width == nil || *f.Width < 1 || top%*f.Width != 0:
		r.add(path+".width", "write width: 5 or width: 10", "bands of this width do not end at %d", top)
	default:
		out.Width, out.Top = *f.Width, top
	}
}
