package bruteforce

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
)

// The forms: each transform is done to enumerated values, and a new form is
// covered by an old one when every two values that look alike through the old
// one look alike through the new one. What is kept covers everything taken
// from it.

// sample is one value with what a transform may look at beside it.
type sample struct {
	text  string
	day   int // of a date
	asOf  int // the recipient knows it
	index int // the person's, not known unless it is released
}

// form is what a piece of a field tells, with the class of its source and the
// standard and value sets of its policy.
type form struct {
	field
	class    extract.Class
	standard string
	mapped   map[string]string
	follow   int // days of the person's window, where it is no gate of its own; 0 without
}

// readsIndex tells whether the form is taken from the index date too.
func (f form) readsIndex() bool {
	return f.Do == "relative-time" || f.At == "index" || f.From == "index"
}

func (f form) covers(n form) bool {
	secrets := []string{"token", "code", "ordinal"} // each may be worked back further than the next
	was, is := slices.Index(secrets, f.Do), slices.Index(secrets, n.Do)
	switch {
	case f.Do == "keep" && !n.readsIndex():
		return true
	case was >= 0 || is >= 0: // what a secret made of a value tells no more, and nothing else tells it
		return was >= 0 && is >= was
	case f.Do == "shift-date" || n.Do == "shift-date":
		return f.Do == n.Do && n.Days >= f.Days
	}
	type known struct {
		asOf int
		told string
	}
	seen := map[known]string{}
	for _, x := range samples(f.class) {
		was, is := known{x.asOf, f.apply(x)}, n.apply(x)
		if before, met := seen[was]; met && before != is {
			return false
		}
		seen[was] = is
	}
	return true
}

// apply is what the recipient sees.
func (f form) apply(x sample) string {
	if f.From == "index" {
		return f.year(x.index, x.asOf)
	}
	switch f.Do {
	case "keep":
		return x.text
	case "year":
		return f.year(x.day, x.asOf)
	case "age", "age-band":
		return f.age(x)
	case "zip3":
		return zip3(x.text)
	case "relative-time":
		since := x.day - x.index
		if f.follow > 0 && (since < 0 || since >= f.follow) {
			return ""
		}
		if f.Unit == "weeks" {
			since = int(math.Floor(float64(since) / 7))
		}
		return strconv.Itoa(since)
	case "round":
		v, _ := strconv.ParseFloat(x.text, 64)
		return strconv.FormatFloat(math.Floor(v/float64(f.Days)+0.5)*float64(f.Days), 'f', -1, 64)
	case "map":
		return f.mapped[x.text]
	case "constant":
		return f.To
	}
	panic("no transform " + f.Do)
}

func dateOf(day int) time.Time { return time.Unix(int64(day)*86400, 0).UTC() }

// year groups, under Safe Harbor, the birth years of people of 90 and more, and
// shows no year before theirs.
func (f form) year(day, asOf int) string {
	y, first := dateOf(day).Year(), dateOf(asOf).Year()-90
	switch {
	case f.standard != "safe-harbor":
	case f.class == extract.BirthDate && ageAt(day, asOf) >= 90:
		y = first
	case y < first:
		return ""
	}
	return strconv.Itoa(y)
}

func (f form) age(x sample) string {
	at, width, top := x.asOf, f.Width, f.Top
	if f.At == "index" {
		at = x.index
	}
	if f.Do == "age" {
		width, top = 1, 90
	}
	years, err := strconv.Atoi(x.text)
	among := years >= 90
	if err != nil {
		years, among = ageAt(x.day, at), ageAt(x.day, x.asOf) >= 90
	}
	switch {
	case years < 0:
		return ""
	case among || years >= top:
		return "oldest"
	}
	return strconv.Itoa(years / width)
}

func ageAt(birth, at int) int {
	b, a := dateOf(birth), dateOf(at)
	years := a.Year() - b.Year()
	if 100*int(a.Month())+a.Day() < 100*int(b.Month())+b.Day() {
		years--
	}
	return years
}

// zip3 knows of two prefixes that hold too few people.
func zip3(zip string) string {
	if p := zip[:3]; p != "036" && p != "893" {
		return p
	}
	return "000"
}

// samples are the values of a class, in every circumstance.
func samples(class extract.Class) []sample {
	if made[class] == nil {
		made[class] = makeSamples(class)
	}
	return made[class]
}

var made = map[extract.Class][]sample{}

func makeSamples(class extract.Class) (list []sample) {
	asOfs, indexes := []int{ordinal("2026-06-30"), ordinal("2026-12-31"), ordinal("2027-03-01")}, []int{ordinal("1901-05-05"), ordinal("1902-06-06"), ordinal("2024-01-01"), ordinal("2024-05-17"), ordinal("2025-03-08")}
	var texts []string
	switch class {
	case extract.BirthDate, extract.DeathDate:
		for year := 1925; year <= 2015; year += 3 {
			texts = append(texts, fmt.Sprintf("%d-02-11", year), fmt.Sprintf("%d-02-12", year), fmt.Sprintf("%d-10-20", year), fmt.Sprintf("%d-10-20", year+1))
		}
	case extract.Date:
		texts = []string{"1901-05-05", "1902-06-06"}
		for day := ordinal("2024-01-01"); day < ordinal("2026-01-02"); day += 3 {
			texts = append(texts, dateOf(day).Format(time.DateOnly))
		}
	case extract.Number:
		for v := 0.0; v <= 60; v += 0.5 {
			texts = append(texts, strconv.FormatFloat(v, 'f', -1, 64))
		}
	case extract.AgeYears:
		for v := range 120 {
			texts = append(texts, strconv.Itoa(v))
		}
	case extract.Postcode:
		texts = []string{"60601", "60602", "61701", "03601", "89301"}
	case extract.State:
		texts = []string{"IL", "IN", "OH"}
	default: // codes of any kind, with those that the maps name and one that none does
		texts = []string{"A", "B", "W", "X", "en", "es", "fr", "de"}
	}
	for _, text := range texts {
		day := 0
		if class == extract.Date || class == extract.BirthDate || class == extract.DeathDate {
			day = ordinal(text)
		}
		for _, asOf := range asOfs {
			for _, index := range indexes {
				list = append(list, sample{text, day, asOf, index})
			}
		}
	}
	return list
}

// stratum is what a table's dimension makes of a value: itself, what a map
// says, or its band; "" when it is not counted.
func (d dimension) stratum(sets map[string]set, text string) string {
	if d.Coarsen != "" {
		return sets[d.Coarsen].Map[text]
	}
	if len(d.Bands) == 0 {
		return text
	}
	age, _ := strconv.Atoi(text)
	i := slices.IndexFunc(d.Bands, func(band string) bool {
		from, to, closed := strings.Cut(strings.TrimSuffix(band, "+"), "-")
		low, _ := strconv.Atoi(from)
		high, _ := strconv.Atoi(to)
		return age >= low && (!closed || age <= high)
	})
	if i < 0 {
		return ""
	}
	return d.Bands[i]
}

// stratumCovers tells whether what one dimension counts by tells what another
// counts by.
func stratumCovers(was dimension, wasSets map[string]set, is dimension, isSets map[string]set) bool {
	seen := map[string]string{}
	for _, x := range samples(tableColumns[was.Path]) {
		a, b := was.stratum(wasSets, x.text), is.stratum(isSets, x.text)
		if before, met := seen[a]; met && before != b {
			return false
		}
		seen[a] = b
	}
	return true
}
