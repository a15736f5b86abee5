package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// Layout is how released values become the recipient's files
// (docs/layouts.md). It is a part of its policy and immutable like it.
type Layout struct {
	Name, Title string
	Delimiter   byte   // 0: columns are told by their width
	Quotes      string // WhereNeeded, Always, Never; "" of fixed widths
	LineEnd     string // CR LF, or LF
	ASCII       bool   // nothing above U+007F; otherwise UTF-8
	BOM         bool   // each file begins with a byte order mark
	Files       []LaidOut
	Control     *LaidOut // a line for each of the other files, of constants and totals; nil: there is none

	source *strictyaml.Source
}

// When a cell of a delimited file stands in double quotes.
const (
	WhereNeeded = "where-needed" // where it holds the delimiter or a double quote
	Always      = "always"
	Never       = "never"
)

// LaidOut is the file of one dataset.
type LaidOut struct {
	Dataset string
	Per     []string // FHIR: each element here makes a row; nil: the resource makes one
	Header  []Column // of constants; nil: the file has none
	Columns []Column
	Trailer []Column // of constants and totals; nil: the file has none
}

// Column is one column of a file, or a cell of its header or trailer.
type Column struct {
	Name   string
	From   string // the released field; "" when it holds one of the last three, or nothing
	Leaf   *Leaf  // FHIR: the one value of the field; nil of a delimited dataset
	When   *When  // only there it holds the value; elsewhere Others, or nothing
	Text   string // the same in every row
	RowKey bool
	Total  *Total // of a trailer: rows, or a sum; of a control file also file, or as-of, which has a Date

	Date   string            // the form in which a date is written, one of the list in docs/layouts.md; "" as it is
	Codes  map[string]string // what each value becomes; nil: values stay
	Others *string           // what a value becomes that is not among Codes; nil rejects its record. See also When

	Width int  // of fixed widths: characters
	Right bool // it stands on the right of its width
	Zeros bool // filled with zeros, not blanks

	alone bool
}

// layout reads the layout that the policy names: layouts/NAME.yaml beside it.
// One that is not there is left for Unbuilt.
func (r *reading) layout() {
	const path = "output.layout"
	name := r.policy.Output.Layout
	if r.said(path) || !plainName(name) || slices.Contains(plainLayouts, name) {
		return
	}
	file := "layouts/" + name + ".yaml"
	if _, err := r.open(file); errors.Is(err, fs.ErrNotExist) {
		return
	}
	data, ok := r.read(path, file)
	if !ok {
		return
	}
	var f layoutFile
	source, _ := strictyaml.Decode(filepath.Join(filepath.Dir(r.policy.File), filepath.FromSlash(file)), data, &f, strictyaml.Drafts)
	in := laying{reading: newReading(source, r.policy), layout: &Layout{Name: name, source: source}}
	if source.Has("") {
		in.form(&f)
		for _, file := range f.Files {
			if file.Value != nil {
				in.file(file.Path, file.Key, file.Value)
			}
		}
		if source.Has("control") {
			in.control(&f.Control)
		}
	}
	r.errs.Join(in.errs)
	r.policy.unfilled = append(r.policy.unfilled, source.Placeholders()...)
	r.policy.Layout = in.layout
	if len(in.errs.List) == 0 {
		r.laidOut()
	}
}

// laidOut says which released datasets and fields the layout leaves behind.
func (r *reading) laidOut() {
	l := r.policy.Layout
	for i := range r.policy.Release {
		rel := &r.policy.Release[i]
		file := l.File(rel.Dataset)
		if file == nil {
			r.add("output.layout", "add it under files:", "the layout %s does not say how %s becomes a file", l.Name, rel.Dataset)
			continue
		}
		for _, f := range rel.Fields {
			if !slices.ContainsFunc(file.Columns, func(c Column) bool { return c.From == f.Name || c.When != nil && c.When.From == f.Name }) {
				r.add(strictyaml.Join("release."+rel.Dataset+".fields", f.Name), "remove the field, or add a column that takes it",
					"no column of the layout %s takes it, so it does not leave", l.Name)
			}
		}
		if key := slices.ContainsFunc(file.Columns, func(c Column) bool { return c.RowKey }); key != r.policy.Output.RowKey {
			r.add("output.row_key", "write row_key: yes here and in a column, or in neither", "the layout %s and the policy differ on whether rows of %s have keys", l.Name, rel.Dataset)
		}
		for k, t := range r.policy.Totals {
			if rel.Field(t.Column) != nil && file.Holding(t) < 0 {
				r.add(fmt.Sprintf("totals[%d]", k), "take the rows, or add a column that holds all values of it", "no column of the layout %s holds %s in every row of %s", l.Name, t.Column, rel.Dataset)
			}
		}
	}
}

// laying is a layout on its way from the file to a Layout.
type laying struct {
	*reading
	layout *Layout
}

func (in *laying) form(f *layoutFile) {
	l := in.layout
	in.text("title", f.Title)
	l.Title, l.ASCII, l.BOM = f.Title, f.Encoding == "ascii", f.BOM
	l.LineEnd = map[string]string{"crlf": "\r\n", "lf": "\n"}[f.LineEnd]
	in.must(!f.BOM || !l.ASCII, "bom", "remove it", "a byte order mark is not ASCII")
	if f.Form == "fixed-width" {
		in.must(false, "delimiter", "remove it", "columns of fixed width have no delimiter")
		in.must(false, "quotes", "remove it", "columns of fixed width have no quotes")
		in.must(l.ASCII, "encoding", "write encoding: ascii", "of UTF-8 nobody can tell whether a width counts characters or bytes")
		return
	}
	l.Delimiter, l.Quotes = map[string]byte{"comma": ',', "bar": '|', "tab": '\t', "semicolon": ';'}[f.Delimiter], f.Quotes
	for _, key := range []string{"delimiter", "quotes"} {
		if f.Form != "" && !in.source.Has(key) {
			in.add("form", "add "+key+":", "a delimited file needs %s:", key)
		}
	}
	if l.Delimiter == 0 {
		l.Delimiter = ',' // said already
	}
}

func (in *laying) file(path, dataset string, f *laidOutFile) {
	rel := in.policy.ReleaseOf(dataset)
	if rel == nil {
		var names []string
		for _, rel := range in.policy.Release {
			names = append(names, rel.Dataset)
		}
		in.add(path, strictyaml.DidYouMean(dataset, names), "%q is no released dataset", dataset)
		return
	}
	out := LaidOut{Dataset: dataset, Per: in.per(path+".per", dataset, f.Per)}
	in.must(len(f.Columns) > 0, path+".columns", "write the columns in their order", "the file has no columns")
	for _, c := range f.Columns {
		if c.Value != nil {
			out.Columns = append(out.Columns, in.column(c.Path, c.Key, c.Value, rel))
		}
	}
	in.must(out.Per == nil || slices.ContainsFunc(out.Columns, func(c Column) bool { return c.Leaf != nil && c.Leaf.under(out.Per) }), path+".per",
		"add a column with from: "+f.Per+"…, or remove per:", "no column takes a value of it, so its rows would be alike")
	in.header(path, f.Header, &out)
	for _, c := range f.Trailer {
		out.Trailer = append(out.Trailer, in.cell(c, func(name string) bool { return out.Totalled(name) >= 0 }))
	}
	in.layout.Files = append(in.layout.Files, out)
}

// header makes the first line of a file, whose columns are known.
func (in *laying) header(path string, f headerFile, out *LaidOut) {
	if len(out.Columns) == 1 {
		out.Columns[0].alone = true
	}
	for _, c := range out.Columns {
		if f.names {
			out.Header = append(out.Header, Column{Name: c.Name, Text: c.Name, Width: c.Width, alone: c.alone})
			in.fits(strictyaml.Join(path+".columns", c.Name), c.Name, &out.Header[len(out.Header)-1])
		}
	}
	for _, c := range f.cells {
		out.Header = append(out.Header, in.cell(c, nil))
	}
	in.must(len(f.cells) == 0 || in.layout.Delimiter == 0 || len(out.Header) == len(out.Columns), path+".header", "write one text for each column",
		"the header has %d cells, a row %d", len(out.Header), len(out.Columns))
}

func (in *laying) column(path, name string, f *columnFile, rel *Release) Column {
	out := Column{Name: name, Text: f.Constant, RowKey: f.RowKey, Date: f.Date}
	held := 0
	for key, is := range map[string]bool{"from": f.From != "", "constant": f.Constant != "", "empty": f.Empty, "row_key": f.RowKey} {
		if is {
			held++
		}
		in.must(is, path+"."+key, "remove it", "%s: holds nothing", key)
	}
	if held != 1 && !in.said(path) {
		in.add(path, "write one of from, constant, empty: yes, row_key: yes", "a column holds one thing")
	}
	in.pad(path, f.Width, f.Align, f.Fill, &out)
	var field *Field
	if f.From != "" {
		field, out.Leaf = in.released(path+".from", f.From, rel)
	}
	if field != nil {
		out.From = field.Name
	}
	in.when(path+".when", f, rel, &out)
	for _, key := range []string{"date", "map", "else"} {
		in.must(f.From != "", path+"."+key, "remove it", "%s: is about the value of a field", key)
		in.must(field == nil || field.Do == Keep || key == "else" && out.When != nil, path+"."+key, "remove it; what leaves of the field is settled in the policy", "%s: takes a kept value, and the field leaves with another transform", key)
	}
	in.must(in.source.Has(path+".map") || out.When != nil, path+".else", "add map: or when:", "else: belongs to map: or when:")
	in.must(f.Date == "" || !in.source.Has(path+".map"), path+".map", "remove date: or map:", "a date is not mapped")
	if in.source.Has(path + ".map") {
		in.must(len(f.Map) > 0, path+".map", "write VALUE: WHAT IT BECOMES", "nothing is mapped")
		out.Codes = map[string]string{}
		for _, e := range f.Map {
			out.Codes[e.Key] = e.Value
			in.fits(e.Path, e.Value, &out)
		}
	}
	if in.source.Has(path + ".else") {
		out.Others = &f.Else
		in.fits(path+".else", f.Else, &out)
	}
	if f.Constant != "" {
		in.fits(path+".constant", f.Constant, &out)
	}
	return out
}

// cell is one of a header, or of a line with totals, which adds tells what can
// be added up for.
func (in *laying) cell(f cellFile, adds func(name string) bool) Column {
	out := Column{Text: f.Text}
	in.pad(f.at, f.Width, f.Align, f.Fill, &out)
	name, sum := strings.CutPrefix(f.Text, "sum of ")
	switch {
	case adds != nil && f.Text == "rows":
		out.Total = &Total{Kind: "rows"}
	case adds != nil && sum:
		out.Total = &Total{Kind: "sum", Column: name}
		if !adds(name) {
			in.add(f.at, "name a field that a column takes as it is", "there is no column to add up %q from", name)
		}
	default:
		in.fits(f.at, f.Text, &out)
	}
	return out
}

func (in *laying) pad(path string, width int, align, fill string, out *Column) {
	out.Width, out.Zeros = width, fill == "zeros"
	out.Right = out.Zeros || align == "right"
	if in.layout.Delimiter != 0 {
		for _, key := range []string{"width", "align", "fill"} {
			in.must(false, path+"."+key, "remove it", "%s: belongs to fixed-width", key)
		}
		return
	}
	if width < 1 && !in.said(path) {
		in.add(path, "add width: with the number of characters", "a column of fixed width needs its width")
	}
	in.must(!out.Zeros || align != "left", path+".align", "write align: right, or nothing", "zeros stand on the left of a number")
}

// fits holds a text of the layout itself against its own form.
func (in *laying) fits(path, text string, c *Column) {
	if _, why := in.layout.Append(nil, []byte(text), c); why != "" && !in.said(path) {
		in.add(path, "", "the text %s", why)
	}
}

// File is how the rows of a dataset become a file; nil when it is not said.
func (l *Layout) File(dataset string) *LaidOut {
	i := slices.IndexFunc(l.Files, func(f LaidOut) bool { return f.Dataset == dataset })
	if i < 0 {
		return nil
	}
	return &l.Files[i]
}

// Totalled is the column over which a total is taken of a field, of a value of it
// by its path, or of a column by its name: the first that holds all its values as
// they are; -1 when none does.
func (f *LaidOut) Totalled(name string) int {
	if at := f.Holding(Total{Kind: "sum", Column: name}); at >= 0 {
		return at
	}
	return slices.IndexFunc(f.Columns, func(c Column) bool { return c.From != "" && c.plain() && c.Name == name })
}

// Holding is the column over which a total of the recipient's book is taken: the
// first that holds the field in every row, as it is; rows are counted by one that
// writes it otherwise if there is no other. It is -1 when there is none.
func (f *LaidOut) Holding(t Total) int {
	holds := func(c Column) bool { return c.When == nil && c.takes(t.Column) }
	at := slices.IndexFunc(f.Columns, func(c Column) bool { return holds(c) && c.plain() })
	if at < 0 && t.Kind != "sum" {
		at = slices.IndexFunc(f.Columns, holds)
	}
	return at
}

// plain tells whether values stand as they are.
func (c *Column) plain() bool { return c.Codes == nil && c.Date == "" }

// takes tells whether a column holds a field, named as a whole or by its one value.
func (c *Column) takes(name string) bool {
	return c.From != "" && (c.From == name || c.Leaf != nil && c.Leaf.written() == name)
}
