package policies

import (
	"cmp"
	"fmt"
	"strings"

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

// conditionFile is what a path is compared with: values, a period, or a set.
type conditionFile struct {
	values oneOrMany
	set    *setFile
}

type setFile struct {
	In     oneOrMany `yaml:"in" about:"included value sets"`
	Prefix oneOrMany `yaml:"prefix" about:"how codes begin"`
	Range  string    `yaml:"range" about:"from one to another: codes, F10..F19; numbers, 10..27"`
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (c *conditionFile) UnmarshalNode(n strictyaml.Node) {
	if !n.IsMap() {
		c.values.UnmarshalNode(n)
		return
	}
	c.set = &setFile{}
	n.Decode(c.set)
	if len(n.Entries()) != 1 {
		n.Fail("write one of them; a value set can hold codes, prefixes and ranges together", "a set is one of in, prefix and range")
	}
}

// Schema implements strictyaml.Schemer.
func (*conditionFile) Schema() map[string]any {
	set := schemaOf[setFile]()
	set["minProperties"], set["maxProperties"] = 1, 1
	return oneOf(schemaOf[oneOrMany](), set)
}

func (r *reading) conditions(path string, list strictyaml.Ordered[conditionFile]) []Condition {
	var out []Condition
	for _, only := range list {
		c := Condition{Path: only.Key}
		if !r.broken[only.Path] && !r.source.IsPlaceholder(only.Path) {
			r.condition(only.Path, &c, only.Value)
		}
		out = append(out, c)
	}
	return out
}

func (r *reading) condition(path string, c *Condition, f conditionFile) {
	if f.set != nil {
		r.setCondition(path, c, f.set)
		return
	}
	period, isPeriod := "", false
	if len(f.values) == 1 {
		period, isPeriod = periodOf(f.values[0])
	}
	dated := c.Path == "date" || c.Path == "service_date"
	switch {
	case isPeriod:
		c.Period = period
	case dated && len(f.values) > 0:
		r.add(path, "write measure-year, last-closed-year, last-closed-month, or 2026-01-01..2026-06-30", "%q is no period", f.values[0])
	case len(f.values) == 0:
		r.add(path, "name a value, or remove the condition", "no record can meet this condition")
	default:
		c.Codes = Codes(f.values...)
	}
}

func (r *reading) setCondition(path string, c *Condition, f *setFile) {
	if r.source.Has(path + ".range") {
		r.rangeCondition(path+".range", c, f.Range)
		return
	}
	at := path + "." + map[bool]string{true: "in", false: "prefix"}[r.source.Has(path+".in")]
	if len(f.In)+len(f.Prefix) == 0 {
		r.must(false, at, "name one, or remove the condition", "no record can meet this condition")
	}
	var sets []CodeSet
	for _, name := range f.In {
		if set := r.included(at, name, false); set != nil {
			sets = append(sets, set.Codes)
		}
	}
	for _, prefix := range f.Prefix {
		r.text(at, prefix)
		sets = append(sets, CodePrefix(prefix))
	}
	c.Codes, c.ValueSet = Union(sets...), strings.Join(f.In, ", ")
}

// rangeCondition takes over the ends of a range. Whether they are codes or
// numbers the class of the path tells; until it is known, what looks like
// numbers is taken for them.
func (r *reading) rangeCondition(path string, c *Condition, text string) {
	from, to, ok := strings.Cut(text, "..")
	if !ok || from == "" || to == "" || to[0] == '.' {
		r.add(path, "write it like F10..F19 or 10..27", "%q is no range", text)
		return
	}
	c.ends = [2]string{from, to}
	if c.settle(extract.Number) != "" && c.settle(extract.Code) != "" {
		c.ends = [2]string{}
		r.add(path, "write the smaller end first", "%s comes after %s", from, to)
	}
}

// settle makes a range one of numbers or of codes, as the class asks; why is
// "" when it can. Of other conditions it does nothing.
func (c *Condition) settle(class extract.Class) (why string) {
	from, to := c.ends[0], c.ends[1]
	if from == "" {
		return ""
	}
	c.Codes, c.Range = CodeSet{}, nil
	if class != extract.Number {
		if c.Codes = CodeRange(from, to); c.Codes.Empty() {
			return fmt.Sprintf("of codes, %s comes after %s", from, to)
		}
		return ""
	}
	least, err := strictyaml.Decimal(from)
	most, err2 := strictyaml.Decimal(to)
	switch {
	case cmp.Or(err, err2) != nil:
		return from + ".." + to + " is no range of numbers, and the path holds numbers"
	case least > most:
		return fmt.Sprintf("%s is more than %s", from, to)
	}
	c.Range = &Range{least, most}
	return ""
}

// settled settles a condition by the class of its path and tells what is
// wrong with it; why is "" when nothing is.
func (c *Condition) settled(std Standard, class extract.Class) (why, hint string) {
	if why, hint = conditionRefusal(std, *c, class); why != "" {
		return why, hint
	}
	if _, single := c.Codes.Single(); class == extract.Number && c.ends[0] == "" && !single {
		return "this is a number, and has no codes to begin alike", "write {range: 10..27}"
	}
	return c.settle(class), "write the smaller end first"
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
