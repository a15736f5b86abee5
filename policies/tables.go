package policies

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// dimensionFile is a column that people are counted by: as it is, or coarser.
type dimensionFile struct {
	path string
	at   string // its key path
	coarserFile
}

type coarserFile struct {
	Coarsen string   `yaml:"coarsen" about:"by an included map"`
	Bands   []string `yaml:"bands" about:"of ages, such as [12-17, 18-64, 65+]"`
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (d *dimensionFile) UnmarshalNode(n strictyaml.Node) {
	d.at = n.Path()
	if !n.IsMap() {
		n.Decode(&d.path)
		return
	}
	entries := n.Entries()
	if len(entries) != 1 {
		n.Fail("write it like - age: {bands: [12-17, 18-64, 65+]}", "each line is one column")
		return
	}
	d.path, d.at = entries[0].Key, entries[0].Value.Path()
	entries[0].Value.Decode(&d.coarserFile)
	if inner := entries[0].Value; inner.IsMap() && len(inner.Entries()) != 1 {
		inner.Fail("write one of them", "a column is made coarser by coarsen or by bands")
	}
}

// Schema implements strictyaml.Schemer.
func (*dimensionFile) Schema() map[string]any {
	coarser := schemaOf[coarserFile]()
	coarser["minProperties"], coarser["maxProperties"] = 1, 1
	return oneOf(schemaOf[string](), map[string]any{"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": coarser})
}

func (r *reading) tables() {
	for _, t := range r.file.Tables {
		if f := t.Value; f != nil {
			out := Table{Name: t.Key, Dataset: f.From, Period: f.Period, Show: f.Show, Totals: f.Totals,
				Denominator: r.conditions(t.Path+".denominator", f.Denominator), Numerator: r.conditions(t.Path+".numerator", f.Numerator)}
			r.must(plainName(t.Key), t.Path, "write it like remission-by-stratum", "%q is no name: small letters, digits and hyphens, at most 64", t.Key)
			r.shown(t.Path, f)
			for _, d := range f.By {
				out.By = append(out.By, r.dimension(d))
			}
			r.must(len(f.By) > 0, t.Path+".by", "name a column", "people are counted by nothing")
			r.policy.Tables = append(r.policy.Tables, out)
		}
	}
}

// shown holds what a table shows against what it counts.
func (r *reading) shown(path string, f *tableFile) {
	r.must(len(f.Show) > 0, path+".show", "write show: [denominator, numerator, rate]", "the table shows nothing")
	for i, what := range f.Show {
		if what != "denominator" && !r.source.Has(path+".numerator") {
			r.add(fmt.Sprintf("%s.show[%d]", path, i), "add numerator: with the condition that a person meets", "the table has no numerator")
		}
	}
}

func (r *reading) dimension(d dimensionFile) Dimension {
	if d.Coarsen != "" {
		r.included(d.at+".coarsen", d.Coarsen, true)
	}
	r.bands(d.at, d.Bands, "ages")
	return Dimension{Path: d.path, Coarsen: d.Coarsen, Bands: d.Bands}
}

// bands checks a list of bands, of ages or of numbers.
func (r *reading) bands(path string, list []string, of string) {
	last := -1
	for i, band := range list {
		at := fmt.Sprintf("%s.bands[%d]", path, i)
		from, to, ok := ageBand(band)
		switch {
		case !ok:
			r.add(at, "write it like 18-44, and the last one 65+", "%q is no band of %s", band, of)
		case from <= last:
			r.add(at, "write the bands in their order, without overlap", "the band %s begins before the one above it ends", band)
		}
		last = max(last, to)
	}
}

// ageBand reads 18-44 or 65+.
func ageBand(text string) (from, to int, ok bool) {
	const noAge = 1 << 16
	if low, open := strings.CutSuffix(text, "+"); open {
		from, err := strconv.Atoi(low)
		return from, noAge, err == nil && from >= 0 && from < noAge
	}
	low, high, _ := strings.Cut(text, "-")
	from, err := strconv.Atoi(low)
	to, err2 := strconv.Atoi(high)
	return from, to, err == nil && err2 == nil && from >= 0 && from <= to
}

// againstFile is what a table may be compared with.
type againstFile struct {
	words []string
	years int
}

type earlierFile struct {
	Drops strictyaml.Duration `yaml:"earlier-drops,required" about:"how far back, in years"`
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (a *againstFile) UnmarshalNode(n strictyaml.Node) {
	if !n.IsList() {
		n.Fail("write against: [this-table, linked-tables, earlier-drops: 5 years]", "must be a list")
		return
	}
	const year = 366 * 24 * time.Hour // as strictyaml counts it
	for _, item := range n.Items() {
		switch {
		case item.IsMap():
			var earlier earlierFile
			item.Decode(&earlier)
			a.words, a.years = append(a.words, "earlier-drops"), int(time.Duration(earlier.Drops)/year)
			if earlier.Drops != 0 && time.Duration(earlier.Drops)%year != 0 {
				item.Fail("write it like earlier-drops: 5 years", "earlier drops are held against whole years")
			}
		case item.Text() == "this-table" || item.Text() == "linked-tables":
			a.words = append(a.words, item.Text())
		default:
			item.Fail("write this-table, linked-tables, or earlier-drops: 5 years", "a table is not held against that")
		}
	}
}

// Schema implements strictyaml.Schemer.
func (*againstFile) Schema() map[string]any {
	return map[string]any{"type": "array", "items": oneOf(map[string]any{"enum": []any{"this-table", "linked-tables"}}, schemaOf[earlierFile]())}
}

func (r *reading) protect() {
	if !r.source.Has("protect") {
		return
	}
	f := &r.file.Protect
	p := &Protect{K: f.K, Over: f.Over, Smallest: f.SmallestCount, First: f.First, Then: f.Then, Against: f.Against.words, Years: f.Against.years, Audit: f.Audit != ""}
	r.policy.Protect = p
	rows := r.policy.Standard != Aggregate
	for key, ofRows := range map[string]bool{"k": true, "over": true, "smallest_count": false, "against": false, "audit": false} {
		r.must(ofRows == rows, "protect."+key, "remove it", "%s belongs to %s", key, map[bool]string{true: "rows", false: "tables"}[ofRows])
	}
	for _, key := range []string{"k", "over"} {
		if rows && !r.source.Has("protect."+key) {
			r.add("protect", "add k: 11 and over: with the fields that tell people apart", "what is too rare to leave is not said: %s is missing", key)
		}
	}
	r.must(f.K >= 2 || !rows, "protect.k", "write k: 11, or what the agreement asks for", "a group of one is one person")
	r.must(rows || f.Then == "suppress", "protect.then", "write then: suppress", "tables hold counts, so counts are suppressed")
	r.must(!rows || f.Then == "suppress-person", "protect.then", "write then: suppress-person", "rows that tell a person apart go with the person")
	known := f.Over
	for _, t := range r.policy.Tables {
		for _, d := range t.By {
			known = append(known, d.Path)
		}
	}
	for i, name := range f.Over {
		r.must(r.policy.releases(name) || !rows, fmt.Sprintf("protect.over[%d]", i), "name released fields", "%q is not among the released fields", name)
	}
	r.coarsening(f, known)
}

// coarsening holds what is tried first against the fields or dimensions there are.
func (r *reading) coarsening(f *protectFile, known []string) {
	for i, text := range f.First {
		at := "protect.first"
		if r.source.Has(at + "[0]") {
			at = fmt.Sprintf("%s[%d]", at, i)
		}
		name, named := strings.CutPrefix(text, "coarsen ")
		switch {
		case text != "coarsen" && !named:
			r.add(at, "write coarsen, or coarsen FIELD", "%q is nothing to try first", text)
		case named && !slices.Contains(known, name):
			r.add(at, strictyaml.DidYouMean(name, known), "%q is nothing that groups are told apart by", name)
		}
	}
}

// table checks a table against the schema of its dataset.
func (c *checking) table(t *Table) {
	path := strictyaml.Join("tables", t.Name)
	schema, ok := c.env.Schemas[t.Dataset]
	if !ok {
		c.add(path+".from", strictyaml.DidYouMean(t.Dataset, sortedNames(c.env.Schemas)), "%q is no delimited dataset; tables are counted from those", t.Dataset)
		for i := range t.By {
			c.broken[fmt.Sprintf("%s.by[%d]", path, i)] = true
		}
		return
	}
	if find(schema, withRole(extract.RoleSubject)) == nil {
		c.add(path+".from", "give the column of the patient the role subject in its schema", "%s names no person, so nobody can be counted", t.Dataset)
	}
	for i := range t.Denominator {
		c.condition(strictyaml.Join(path+".denominator", t.Denominator[i].Path), &t.Denominator[i], schema)
	}
	for i := range t.Numerator {
		c.condition(strictyaml.Join(path+".numerator", t.Numerator[i].Path), &t.Numerator[i], schema)
	}
	for i := range t.By {
		c.dimension(fmt.Sprintf("%s.by[%d]", path, i), &t.By[i], schema)
	}
}

func (c *checking) dimension(path string, d *Dimension, schema *extract.Schema) {
	col := find(schema, named(d.Path))
	if col == nil && len(d.Bands) > 0 {
		col = find(schema, withClass(extract.BirthDate))
	}
	if col == nil {
		c.add(path, strictyaml.DidYouMean(d.Path, schema.Names()), "there is no column %q", d.Path)
		c.broken[path] = true // what its class may not, nobody knows
		return
	}
	d.Path, d.Class = col.Name, col.Class
}
