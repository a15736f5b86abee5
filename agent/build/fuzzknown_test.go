package build

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// filled counts the cells that held what was expected, by what they hold.
var filled = map[string]int{}

// known holds the cells that tell of the person, of time from the index, or of a
// band, against what can be reckoned from the source.
func (k *clinic) known(t testing.TB, in *source, dataset string, columns []policies.Column, rows [][]string, origins []origin) {
	t.Helper()
	if in.unread || in.schema != nil && !in.plain {
		return
	}
	release := k.policy.Release[slices.IndexFunc(k.policy.Release, func(r policies.Release) bool { return r.Dataset == dataset })]
	people := map[string][]int{}
	for i, o := range origins {
		one := ""
		if len(o.people) == 1 {
			one = o.people[0]
		}
		people[one] = append(people[one], i)
	}
	for person, list := range people {
		wrong := "no record begins the window of " + person
		for _, index := range in.indexes(k.policy, person) {
			wrong = ""
			for _, i := range list {
				for j, c := range columns {
					at := slices.IndexFunc(release.Fields, func(f policies.Field) bool { return f.Name == c.From })
					if at < 0 {
						continue
					}
					e := expecting{in, k.policy, &release.Fields[at], &c, person, origins[i].record, index}
					if want, known := e.cell(); known && !slices.Contains(want, trimmed(&c, rows[i][j])) {
						wrong = cmp.Or(wrong, fmt.Sprintf("%s of %s: %q is none of %q, index %s: %v", c.Name, person, rows[i][j], want, index.Format(time.DateOnly), origins[i].record))
					} else if known && rows[i][j] != "" {
						filled[e.what()]++
					}
				}
			}
			if wrong == "" {
				break
			}
		}
		if wrong != "" {
			t.Fatalf("%s\n%s", wrong, k.written())
		}
	}
}

func trimmed(c *policies.Column, cell string) string {
	if c.Zeros && cell != "" {
		return cmp.Or(strings.TrimLeft(cell, "0"), "0")
	}
	return cell
}

// indexes are the days on which the window of a person can begin: of the records
// of the cohort in which the person stands. Without one it is no day.
func (in *source) indexes(p *policies.Policy, person string) (list []time.Time) {
	if p.Cohort == nil || person == "" {
		return []time.Time{{}}
	}
	for _, record := range in.records {
		text, _ := json.Marshal(record)
		if in.schema == nil && !slices.Equal(at(record, "resourceType"), []string{p.Cohort.Dataset}) || !in.bundle && !bytes.Contains(text, []byte(person)) {
			continue
		}
		for _, word := range strings.FieldsFunc(string(text), func(r rune) bool { return r == '"' }) {
			if first, _, ok := days(word); ok && first.Year() == indexYear(p) {
				list = append(list, first)
			}
		}
	}
	return list
}

// indexYear is the last year of which every window has closed on the day of the
// fuzzed runs.
func indexYear(p *policies.Policy) int {
	asOf := fuzzedAsOf.Time()
	for year := asOf.Year(); ; year-- {
		if !time.Date(year, 12, 31+p.Cohort.FollowDays, 0, 0, 0, 0, time.UTC).After(asOf) {
			return year
		}
	}
}

// days are the first and the last day that a date can mean.
func days(text string) (first, last time.Time, ok bool) {
	text, _, _ = strings.Cut(text, "T")
	for i, form := range []string{"2006-01-02", "2006-01", "2006", "01/02/2006"} {
		if day, err := time.Parse(form, text); err == nil {
			return day, day.AddDate([]int{0, 0, 1, 0}[i], []int{0, 1, 0, 0}[i], []int{0, -1, -1, 0}[i]), true
		}
	}
	return first, last, false
}

// expecting is a cell of which something is known.
type expecting struct {
	in     *source
	policy *policies.Policy
	field  *policies.Field
	column *policies.Column
	person string // "" when the record is about nobody, or about several
	record any
	index  time.Time
}

// what a cell holds, for the count.
func (e *expecting) what() string {
	if e.field.From != e.field.Name && strings.Contains(e.field.From, ".") {
		return "roster" + map[bool]string{true: " fhir"}[e.in.schema == nil]
	}
	return strings.Trim(string(e.field.Do)+" "+e.field.At, " ") + map[bool]string{true: " fhir"}[e.in.schema == nil]
}

// cell lists what can stand in the cell; known is false where nothing is known.
func (e *expecting) cell() (want []string, known bool) {
	if want, known = e.value(); e.column.When != nil { // it may be a row of another value
		want = append(want, "")
		if e.column.Others != nil {
			want = append(want, *e.column.Others)
		}
	}
	return want, known
}

func (e *expecting) value() (want []string, known bool) {
	f, c := e.field, e.column
	switch {
	case c.Codes != nil || c.Date != "" || c.RowKey:
		return nil, false
	case f.From == "payer-roster.member_id":
		return []string{map[string]string{"p1": "MBR-0001", "p2": "MBR-0002", "p3": "MBR-0003"}[e.person]}, true
	case f.From == "payer-roster.plan":
		return []string{map[string]string{"p1": "PPO", "p2": "HMO"}[e.person]}, true
	case f.From == policies.FromIndex:
		return []string{map[bool]string{false: e.index.Format("2006")}[e.index.IsZero()]}, true
	case f.Do == policies.Age || f.Do == policies.AgeBand:
		return e.age()
	case f.Do != policies.RelativeTime && f.Do != policies.Band:
		return nil, false
	}
	path := []string{f.From}
	if c.Leaf != nil {
		path = c.Leaf.Path
	}
	if c.Leaf != nil { // what is not of its form leaves nothing
		want = append(want, "")
	}
	for _, value := range at(e.record, path...) {
		want = append(want, e.turned(value))
	}
	return want, true
}

// turned is what a date or number becomes.
func (e *expecting) turned(value string) string {
	if e.field.Do == policies.RelativeTime {
		first, last, ok := days(value)
		if !ok || first != last || e.index.IsZero() {
			return ""
		}
		n := int(first.Sub(e.index).Hours()) / 24
		switch {
		case n < 0 || n >= 25*7: // outside of the window
			return ""
		case e.field.Unit == "weeks":
			n /= 7
		}
		return strconv.Itoa(n)
	}
	n, ok := new(big.Rat).SetString(value)
	switch {
	case !ok || n.Sign() < 0:
	case n.Cmp(big.NewRat(9, 1)) <= 0:
		return "0-9"
	case n.Cmp(big.NewRat(10, 1)) >= 0 && n.Cmp(big.NewRat(19, 1)) <= 0:
		return "10-19"
	case n.Cmp(big.NewRat(20, 1)) >= 0:
		return "20+"
	}
	return ""
}

// age is that of the person, by the birth date of the row or of all Patients.
func (e *expecting) age() (want []string, known bool) {
	if e.field.Class != extract.BirthDate || !e.in.plain {
		return nil, false
	}
	var born, bornBy time.Time
	take := func(text string) {
		if first, last, ok := days(text); ok {
			if born.IsZero() || first.Before(born) {
				born = first
			}
			if last.After(bornBy) {
				bornBy = last
			}
		}
	}
	if e.in.schema != nil {
		for _, text := range at(e.record, e.field.From) {
			take(text)
		}
	} else {
		for _, record := range e.in.records {
			if slices.Equal(at(record, "resourceType"), []string{"Patient"}) {
				if at(record, "deceasedDateTime") != nil || at(record, "id") == nil {
					return nil, false
				}
				if record.(map[string]any)["id"] == e.person {
					for _, text := range at(record, "birthDate") {
						take(text)
					}
				}
			}
		}
	}
	day := fuzzedAsOf.Time()
	if e.field.At == policies.FromIndex {
		day = e.index
	}
	if born.IsZero() || day.IsZero() || e.person == "" {
		return []string{""}, true
	}
	old, young := birthdays(born, day), birthdays(bornBy, day)
	switch {
	case young < 0:
		return []string{""}, true
	case birthdays(born, fuzzedAsOf.Time()) >= 90:
		return []string{"90+"}, true
	case e.field.Do == policies.Age:
		return []string{map[bool]string{true: strconv.Itoa(old)}[old == young]}, true
	}
	band := func(age int) string {
		from := age / e.field.Width * e.field.Width
		return fmt.Sprintf("%d-%d", from, from+e.field.Width-1)
	}
	return []string{map[bool]string{true: band(old)}[band(old) == band(young)]}, true
}

// birthdays counts those from a birth to a day; -1 of a day before.
func birthdays(born, day time.Time) int {
	n := -1
	for !born.AddDate(n+1, 0, 0).After(day) {
		n++
	}
	return n
}

// apart sees that the rows of Part 2 programs lie in parts of their own and
// nowhere else, and that the scope of consent has a line for each.
func apart(t testing.TB, k *clinic, drop *capture, in *source) {
	t.Helper()
	var scopes []string
	for i, p := range drop.parts {
		for n, o := range in.of(t, drop, i) {
			if part2, known := k.part2(in, o.record); known && part2 != p.info.Part2 {
				t.Fatalf("of a program: %v, in part %s: %v\n%s", part2, p.File(), o.record, k.written())
			}
			if p.info.Part2 {
				filled["part2"]++
				if len(o.people) > 0 {
					scopes = append(scopes, fmt.Sprintf("%d,%d", i+1, n+1))
				}
			}
		}
	}
	told := drop.scopes(t)
	if drop.scope != nil && len(told) != len(scopes) {
		t.Fatalf("%q tell of rows %q", told, scopes)
	}
	for i, row := range told {
		if row[0]+","+row[1] != scopes[i] || row[2] != "1" || k.policy.Output.RowKey && len(row[3]) != 20 {
			t.Fatalf("%q tell of rows %q", told, scopes)
		}
	}
}

// scopes are the lines of the part that tells on what rows rest.
func (d *capture) scopes(t testing.TB) [][]string {
	if d.scope == nil {
		return nil
	}
	told, err := csv.NewReader(bytes.NewReader(d.scope.Bytes())).ReadAll()
	must(t, err)
	return told[1:]
}

// part2 tells whether a record is under 42 CFR Part 2 and that binds: by its
// label, or by the providers of a row.
func (k *clinic) part2(in *source, record any) (is, known bool) {
	if !k.policy.StaysProtected() {
		return false, true
	}
	if in.unread {
		return false, false
	}
	if in.schema == nil {
		labels := slices.Concat(at(record, "meta", "security", "code"), at(record, "contained", "meta", "security", "code"))
		return slices.ContainsFunc(labels, func(l string) bool { return strings.EqualFold(strings.TrimSpace(l), "42CFRPart2") }), true
	}
	if !k.policy.ReleasesPart2() { // no program is declared
		return false, true
	}
	met := ""
	for _, f := range in.schema.Fields {
		if f.Role == extract.RoleProvider {
			for _, id := range at(record, f.Name) {
				met += id
			}
		}
	}
	return met == "" || strings.Contains(met, program), in.plain
}
