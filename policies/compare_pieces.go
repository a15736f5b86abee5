package policies

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// piece is what a policy lets out of each record that it admits: something that
// is taken from one source in one form. Of a table it is a number that a record
// counts in.
type piece struct {
	field  string // as the policy names it, for people
	source string // in its dataset or table
	shape  shape
	group  group
}

// shape is a form: what a transform makes of a value.
type shape struct {
	do      Transform
	step    int               // of years, for bands; of numbers, for round; of days, for intervals; the range of a shift
	top     int               // the age from which on there is one group
	bands   []string          // of a table
	codes   map[string]string // of a map
	others  string            // what it makes of all others
	index   string            // the definition of the index date that it is counted from; "" for none
	harbor  bool              // no year 90 years ago or more is shown
	rate    bool              // of a table: the number shows in a rate only
	coarser string            // it was coarsened, by this list of what is coarsened first
	when    string            // it shows only where another field has this value
}

// What leaves beside fields.
const (
	rowKey   Transform = "row-key"
	rowOrder Transform = "order"
)

// released are the pieces of a dataset.
func (v *view) released(rel *Release) (list []piece) {
	add := func(field, source string, f shape) {
		list = append(list, piece{field: field, source: source, shape: f})
	}
	for i := range rel.Fields {
		f := &rel.Fields[i]
		for j := range f.Leaves {
			l := &f.Leaves[j]
			for _, s := range v.laidOut(rel.Dataset, f, l, v.shapeOf(f, l.Class)) {
				add(f.Name, strings.Join(l.Path, "."), s)
			}
		}
		if f.Leaves == nil {
			source, class := v.sourceOf(f)
			for _, s := range v.laidOut(rel.Dataset, f, nil, v.shapeOf(f, class)) {
				add(f.Name, source, s)
			}
		}
	}
	if v.Output.RowKey {
		add("row key", "row key", shape{do: rowKey})
	}
	if v.Output.Shuffle == "" {
		add("order of the rows", "order", shape{do: rowOrder})
	}
	return v.grouped(list)
}

// sourceOf is where a field's value comes from: a column, a roster's column,
// the index date, or what is known of the person from other datasets.
func (v *view) sourceOf(f *Field) (string, extract.Class) {
	if f.From == FromIndex || v.schema == nil {
		return f.From, extract.Date
	}
	col := find(v.schema, named(f.From))
	if col == nil {
		col = impliedColumn(f, v.schema)
	}
	switch {
	case col != nil:
		return col.Name, col.Class
	case f.Do == AgeBand || f.Do == Age:
		return "birth date of the person", extract.BirthDate
	}
	if f.By != "" {
		return f.From + " by " + f.By, f.Class
	}
	return f.From, f.Class
}

// laidOut are the forms in which the columns of a layout hold a field, of FHIR
// one leaf of it, that has the form s. A column that is filled only where a field
// has one value tells of that field whether it has it.
func (p *Policy) laidOut(dataset string, f *Field, l *Leaf, s shape) (forms []shape) {
	if p.Layout == nil || p.Layout.File(dataset) == nil {
		return []shape{s}
	}
	same := func(name string, leaf *Leaf) bool {
		return name == f.Name && (l == nil || slices.Equal(leaf.Path, l.Path))
	}
	for _, c := range p.Layout.File(dataset).Columns {
		s := s
		if c.When != nil {
			s.when = c.When.name() + " " + c.When.Value
			if same(c.When.From, c.When.Leaf) {
				forms = append(forms, shape{do: Map, codes: map[string]string{c.When.Value: c.When.Value}})
			}
		}
		switch {
		case !same(c.From, c.Leaf):
		case c.Codes != nil:
			forms = append(forms, shape{do: Map, codes: c.Codes, others: *cmp.Or(c.Others, new(string)), when: s.when})
		case c.Date == "YYYY":
			forms = append(forms, shape{do: Year, when: s.when})
		default:
			forms = append(forms, s)
		}
	}
	return forms
}

func (v *view) shapeOf(f *Field, class extract.Class) shape {
	out := shape{do: f.Do}
	if f.From == FromIndex || f.Do == RelativeTime || f.At == FromIndex && class != extract.AgeYears {
		out.index = v.index
	}
	switch f.Do {
	case Year:
		out.harbor = v.Standard == SafeHarbor
	case AgeBand:
		out.step, out.top = f.Width, f.Top
	case Age:
		out.do, out.step, out.top = AgeBand, 1, oldestAge
	case RelativeTime:
		if out.step = 1; f.Unit == "weeks" {
			out.step = 7
		}
	case ShiftDate, Round:
		out.step = f.Days
	case Map, CodeDisplay, KeepIn:
		out.do, out.codes = Map, v.Words(f)
	case Region:
		out.step = map[string]int{Division: 1, WholeRegion: 2}[f.To]
	case Band:
		out.bands = f.Bands
	}
	return out
}

// mapNamed is an included map, never nil.
func (p *Policy) mapNamed(name string) map[string]string {
	if set := p.ValueSets[name]; set != nil && set.Map != nil {
		return set.Map
	}
	return map[string]string{}
}

// shown are the pieces of one part of a table: its denominator, or what it
// counts of it as the numerator.
func (v *view) shown(t *Table, part string) (list []piece) {
	var forms []shape
	if slices.Contains(t.Show, part) {
		forms = append(forms, shape{})
	}
	if slices.Contains(t.Show, "rate") {
		forms = append(forms, shape{rate: true})
	}
	for _, f := range forms {
		add := func(path string, f shape) {
			list = append(list, piece{field: path, source: part + " by " + path + " and " + t.Period, shape: f})
		}
		if t.Totals {
			add("everyone", f)
		}
		for _, d := range t.By {
			by := f
			if by.bands = d.Bands; d.Coarsen != "" {
				by.codes = v.mapNamed(d.Coarsen)
			}
			add(d.Path, by)
		}
	}
	return v.grouped(list)
}

// grouped says whose number counts for each piece, and adds what leaves of a
// field that is coarsened first.
func (v *view) grouped(list []piece) []piece {
	p := v.Protect
	if p == nil {
		return list
	}
	var shared, all []piece
	for _, x := range list {
		if slices.Contains(p.Over, x.field) {
			shared = append(shared, x)
		}
	}
	first := strings.Join(p.First, ", ")
	for _, x := range list {
		g := group{smallest: p.K, by: shared, person: p.Then == "suppress-person"}
		if len(v.Tables) > 0 {
			cell := x
			cell.shape.rate = false
			g.smallest, g.by = p.Smallest, []piece{cell}
		}
		x.group = g
		coarsened := slices.Contains(p.First, "coarsen "+x.field) ||
			slices.Contains(p.First, "coarsen") && (len(v.Tables) > 0 || slices.Contains(p.Over, x.field))
		if first == "" || coarsened {
			all = append(all, x)
		}
		if first != "" {
			if x.group.first = first; coarsened {
				x.shape.coarser = first
			}
			all = append(all, x)
		}
	}
	return all
}

// covers tells whether a piece tells at least as much as another, whatever the
// value is (docs/comparing-policies.md, "Which form tells at least as much").
func (p *piece) covers(o *piece) bool {
	switch {
	case o.shape.do == Constant:
		return true
	case p.source != o.source || p.shape.rate && !o.shape.rate:
		return false
	case o.shape.coarser != "" && o.shape.coarser == p.shape.coarser:
		x, y := p.shape, o.shape
		x.coarser, y.coarser = "", ""
		return x.covers(&y) && y.covers(&x)
	}
	return p.shape.coarser == "" && p.shape.covers(&o.shape)
}

func (f *shape) covers(g *shape) bool {
	switch {
	case f.index != g.index, f.when != "" && f.when != g.when:
		return false
	case f.do == Keep:
		return true
	case slices.Contains(identities, f.do) && slices.Contains(identities, g.do):
		return slices.Index(identities, f.do) <= slices.Index(identities, g.do)
	case f.do != g.do:
		return false
	}
	switch f.do {
	case Year:
		return g.harbor || !f.harbor
	case AgeBand:
		return refines(ages, f.band, g.band)
	case RelativeTime:
		return f.step <= g.step
	case ShiftDate, Region:
		return f.step <= g.step
	case Band:
		return refines(numbersNear(f.bands, g.bands), f.numberBand, g.numberBand)
	case Round:
		return f.step > 0 && g.step%f.step == 0 && g.step/f.step%2 == 1
	case Map:
		return refines(slices.Concat(sortedNames(f.codes), sortedNames(g.codes), []string{"another code"}), f.code, g.code)
	case "":
		return f.coversCell(g)
	}
	return true
}

// identities are the forms that tell one from another, the more telling first.
var identities = []Transform{Token, CodePerson, Ordinal}

// coversCell compares the dimensions of tables.
func (f *shape) coversCell(g *shape) bool {
	switch plain := f.bands == nil && f.codes == nil; {
	case plain:
		return true
	case f.bands != nil && g.bands != nil:
		return refines(ages, f.ageBand, g.ageBand)
	case f.codes != nil && g.codes != nil:
		return refines(slices.Concat(sortedNames(f.codes), sortedNames(g.codes), []string{"another code"}), f.code, g.code)
	}
	return false
}

// refines tells whether what g makes of a value can be told from what f makes
// of it.
func refines[V any](values []V, f, g func(V) string) bool {
	made := map[string]string{}
	for _, v := range values {
		x, y := f(v), g(v)
		if was, met := made[x]; met && was != y {
			return false
		}
		made[x] = y
	}
	return true
}

// ages are all that people reach, and the limits of bands beyond.
var ages = func() (all []int) {
	for years := range 200 {
		all = append(all, years)
	}
	return all
}()

func (f *shape) code(c string) string {
	if to, ok := f.codes[c]; ok {
		return to
	}
	return f.others
}

func (f *shape) band(years int) string {
	if years >= f.top {
		return strconv.Itoa(f.top)
	}
	return strconv.Itoa(years - years%max(f.step, 1))
}

// numbersNear are numbers, doubled, of which some lie in each band and some
// between any two: their ends, and half a step to either side.
func numbersNear(lists ...[]string) (doubled []int) {
	for _, list := range lists {
		for _, band := range list {
			from, to, _ := ageBand(band)
			for _, end := range []int{from, to} {
				doubled = append(doubled, 2*end-1, 2*end, 2*end+1)
			}
		}
	}
	return doubled
}

// ageBand is the band of a table that an age lies in; "" for none.
func (f *shape) ageBand(years int) string { return f.numberBand(2 * years) }

// numberBand is the band that half of a number lies in; "" for none.
func (f *shape) numberBand(doubled int) string {
	for _, band := range f.bands {
		if from, to, _ := ageBand(band); doubled >= 2*from && (doubled <= 2*to || strings.HasSuffix(band, "+")) {
			return band
		}
	}
	return ""
}
