package policies

import (
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// When binds a column to one value of another released field. Of FHIR both are
// looked for in the same element: in the innermost that both paths lie in.
type When struct {
	From  string // the field
	Leaf  *Leaf  // as of a Column
	Value string // as it is released
}

// Kinds of totals that only a control file has, beside rows and sum.
const (
	FileName = "file"  // the name of the file, as its recipient sees it
	AsOf     = "as-of" // the day that the run fixes periods by
)

// written is how a layout names the leaf: an extension by its known name.
func (l *Leaf) written() string {
	steps := slices.Clone(l.Path)
	for i, step := range steps {
		url, is := strings.CutPrefix(step, extensionStep)
		if at := slices.IndexFunc(extract.KnownExtensions(), func(x extract.Extension) bool { return is && x.URL == url }); at >= 0 {
			url = extract.KnownExtensions()[at].Name
		}
		if is {
			steps[i] = url
		}
	}
	return strings.Join(steps, ".")
}

// under tells whether the leaf lies in the elements at a path.
func (l *Leaf) under(path []string) bool {
	return len(l.Path) > len(path) && slices.Equal(l.Path[:len(path)], path)
}

// released finds the field that a column takes, of FHIR with the one value of it;
// nil, and a mistake noted, when there is none.
func (in *laying) released(path, name string, rel *Release) (*Field, *Leaf) {
	var names []string
	for i := range rel.Fields {
		f := &rel.Fields[i]
		names = append(names, f.Name)
		var within []string
		for j := range f.Leaves {
			if within = append(within, f.Leaves[j].written()); within[j] == name || f.Name == name && len(f.Leaves) == 1 {
				return f, &f.Leaves[j]
			}
		}
		switch names = append(names, within...); {
		case f.Name != name:
		case len(within) > 0:
			in.add(path, "write "+page.Or(within), "%s has several values, and a cell holds one", name)
			return nil, nil
		case resourceType(rel.Dataset) != nil && !f.OfPerson(): // what is wrong with it has been said
			return nil, nil
		default:
			return f, nil
		}
	}
	if !in.said(path) {
		in.add(path, strictyaml.DidYouMean(name, names), "%q is not among the released fields of %s", name, rel.Dataset)
	}
	return nil, nil
}

// per reads of which elements of a resource each makes a row.
func (in *laying) per(path, dataset, text string) []string {
	if text == "" {
		return nil
	}
	steps := strings.Split(text, ".")
	typ, many := resourceType(dataset), false
	for _, step := range steps {
		var e *extract.Element
		if typ != nil {
			e = typ.Element(step)
		}
		if many = e != nil && e.Many; e != nil {
			typ = extract.TypeOf(e.Type)
		}
	}
	if typ == nil || !many {
		in.add(path, "write a repeating element, such as component of Observation, or remove per:", "%s has no element %s that repeats and has elements of its own", dataset, text)
		return nil
	}
	return steps
}

// when reads the field and the value that a column is bound to.
func (in *laying) when(path string, f *columnFile, rel *Release, out *Column) {
	in.must(f.From != "", path, "remove it", "when: is about the value of a field")
	in.must(len(f.When) == 1, path, "write when: {FIELD: VALUE}", "a column is bound to one value of one field")
	if len(f.When) == 1 && f.From != "" {
		field, leaf := in.released(f.When[0].Path, f.When[0].Key, rel)
		switch of := resourceType(rel.Dataset) != nil; {
		case of && field != nil && leaf == nil, of && out.From != "" && out.Leaf == nil:
			in.add(path, "remove it, or name two elements", "what is known of the person stands in no element, so nothing is bound to it")
		case field != nil:
			out.When = &When{field.Name, leaf, f.When[0].Value}
		}
	}
}

// control reads the file that lists the others.
func (in *laying) control(f *controlFile) {
	out := &LaidOut{}
	adds := func(name string) bool {
		return slices.ContainsFunc(in.layout.Files, func(f LaidOut) bool { return f.Totalled(name) >= 0 })
	}
	in.must(len(f.Columns) > 0, "control.columns", "write texts, file, rows, sum of FIELD, as of YYYYMMDD", "the file has no columns")
	for _, c := range f.Columns {
		cell := c.Value
		form, asOf := strings.CutPrefix(cell.Text, "as of ")
		switch known := slices.Contains(dateForms, form); {
		case cell.Text == FileName:
			cell.Text = ""
		case asOf && known:
			cell.Text = ""
		case asOf:
			in.add(c.Path, "write as of with one of "+page.Or(dateForms), "%q is no form of a date", form)
		}
		column := in.cell(cell, adds)
		switch {
		case c.Value.Text == FileName:
			column.Total = &Total{Kind: FileName}
		case asOf:
			column.Total, column.Date = &Total{Kind: AsOf}, form
		}
		column.Name = c.Key
		out.Columns = append(out.Columns, column)
	}
	in.header("control", f.Header, out)
	in.layout.Control = out
}

// dateForms are the forms in which a layout writes a date.
var dateForms = []string{"YYYY-MM-DD", "YYYYMMDD", "MM/DD/YYYY", "M/D/YYYY", "YYYY"}

// whens holds the columns that are bound to a value against all values that the
// field can have: a list that is not closed has values that no column could take.
func (c *checking) whens(in *mistakes, path string, rel *Release, file *LaidOut) {
	taken := map[string][]string{} // by the field or value that columns are bound to
	for _, col := range file.Columns {
		if col.When != nil {
			taken[col.When.name()] = append(taken[col.When.name()], col.When.Value)
		}
	}
	for _, col := range file.Columns {
		if col.When == nil {
			continue
		}
		name := col.When.name()
		at := strictyaml.Join(path, col.Name) + ".when"
		if l := col.When.Leaf; l != nil && l.Class == extract.CodeSystem { // a choice among codings
			continue
		}
		closed := c.closed(rel, col.When)
		missing := slices.DeleteFunc(slices.Clone(closed), func(v string) bool { return slices.Contains(taken[name], v) })
		switch {
		case closed == nil:
			in.add(at, "list its values under release."+rel.Dataset+".only, or in the schema", "the values of %s are no closed list, so some would have no column", name)
		case !slices.Contains(closed, col.When.Value):
			in.add(strictyaml.Join(at, name), strictyaml.DidYouMean(col.When.Value, closed), "%q is none of the values that %s can have", col.When.Value, name)
		case len(missing) > 0:
			in.add(at, "add columns for them, or remove them from only:", "no column takes rows whose %s is %s", name, page.Or(missing))
		}
		taken[name] = closed // said once
	}
}

// name is how the layout names the field, or the value of it.
func (w *When) name() string {
	if w.Leaf != nil {
		return w.Leaf.written()
	}
	return w.From
}

// closed lists the values that a field can have as it leaves; nil when they are
// no closed list. Of FHIR they are the codes of which each record has one.
func (c *checking) closed(rel *Release, w *When) []string {
	f := rel.Field(w.From)
	if f.Do == Map {
		return slices.Compact(slices.Sorted(maps.Values(c.mapNamed(f.To))))
	}
	if f.Do != Keep {
		return nil
	}
	for _, only := range rel.Only {
		values, single := only.Codes.Single()
		rest, asked := strings.CutPrefix(w.path(f), only.Path)
		if asked && single && len(values) > 0 && slices.Contains([]string{"", ".code", ".coding.code"}, rest) {
			return values
		}
	}
	if schema := c.env.Schemas[rel.Dataset]; schema != nil {
		if col := find(schema, named(f.From)); col != nil {
			return col.Enum()
		}
	}
	return nil
}

// path is the column or leaf that the value comes from.
func (w *When) path(f *Field) string {
	if w.Leaf != nil {
		return strings.Join(w.Leaf.Path, ".")
	}
	return f.From
}
