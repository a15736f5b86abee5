package policies

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
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
	Header  []Column // of constants; nil: the file has none
	Columns []Column
	Trailer []Column // of constants and totals; nil: the file has none
}

// Column is one column of a file, or a cell of its header or trailer.
type Column struct {
	Name   string
	From   string // the released field; "" when it holds one of the next three, or nothing
	Text   string // the same in every row
	RowKey bool
	Total  *Total // of a trailer: rows, or a sum

	Date   string            // the form in which a date is written, one of the list in docs/layouts.md; "" as it is
	Codes  map[string]string // what each value becomes; nil: values stay
	Others *string           // what a value becomes that is not among Codes; nil rejects its record

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
		if resourceType(rel.Dataset) != nil {
			continue
		}
		if file == nil {
			r.add("output.layout", "add it under files:", "the layout %s does not say how %s becomes a file", l.Name, rel.Dataset)
			continue
		}
		for _, f := range rel.Fields {
			if !slices.ContainsFunc(file.Columns, func(c Column) bool { return c.From == f.Name }) {
				r.add(strictyaml.Join("release."+rel.Dataset+".fields", f.Name), "remove the field, or add a column that takes it",
					"no column of the layout %s takes it, so it does not leave", l.Name)
			}
		}
		if key := slices.ContainsFunc(file.Columns, func(c Column) bool { return c.RowKey }); key != r.policy.Output.RowKey {
			r.add("output.row_key", "write row_key: yes here and in a column, or in neither", "the layout %s and the policy differ on whether rows of %s have keys", l.Name, rel.Dataset)
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
	i := slices.IndexFunc(in.policy.Release, func(rel Release) bool { return rel.Dataset == dataset })
	if i < 0 {
		var names []string
		for _, rel := range in.policy.Release {
			names = append(names, rel.Dataset)
		}
		in.add(path, strictyaml.DidYouMean(dataset, names), "%q is no released dataset", dataset)
		return
	}
	out, rel := LaidOut{Dataset: dataset}, &in.policy.Release[i]
	in.must(len(f.Columns) > 0, path+".columns", "write the columns in their order", "the file has no columns")
	for _, c := range f.Columns {
		if c.Value != nil {
			out.Columns = append(out.Columns, in.column(c.Path, c.Key, c.Value, rel))
		}
	}
	if len(out.Columns) == 1 {
		out.Columns[0].alone = true
	}
	for _, c := range out.Columns {
		if f.Header.names {
			out.Header = append(out.Header, Column{Name: c.Name, Text: c.Name, Width: c.Width, alone: c.alone})
			in.fits(strictyaml.Join(path+".columns", c.Name), c.Name, &out.Header[len(out.Header)-1])
		}
	}
	for _, c := range f.Header.cells {
		out.Header = append(out.Header, in.cell(c, nil))
	}
	in.must(len(f.Header.cells) == 0 || in.layout.Delimiter == 0 || len(out.Header) == len(out.Columns), path+".header", "write one text for each column",
		"the header has %d cells, a row %d", len(out.Header), len(out.Columns))
	for _, c := range f.Trailer {
		out.Trailer = append(out.Trailer, in.cell(c, &out))
	}
	in.layout.Files = append(in.layout.Files, out)
}

func (in *laying) column(path, name string, f *columnFile, rel *Release) Column {
	out := Column{Name: name, From: f.From, Text: f.Constant, RowKey: f.RowKey, Date: f.Date}
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
		if field = fieldNamed(rel, f.From); field == nil && !in.said(path+".from") {
			var names []string
			for _, known := range rel.Fields {
				names = append(names, known.Name)
			}
			in.add(path+".from", strictyaml.DidYouMean(f.From, names), "%q is not among the released fields of %s", f.From, rel.Dataset)
		}
	}
	for _, key := range []string{"date", "map", "else"} {
		in.must(f.From != "", path+"."+key, "remove it", "%s: is about the value of a field", key)
		in.must(field == nil || field.Do == Keep, path+"."+key, "remove it; what leaves of the field is settled in the policy", "%s: takes a kept value, and the field leaves with another transform", key)
	}
	in.must(in.source.Has(path+".map"), path+".else", "add map:", "else: belongs to map:")
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

// cell is one of a header, or of the trailer of a file.
func (in *laying) cell(f cellFile, of *LaidOut) Column {
	out := Column{Text: f.Text}
	in.pad(f.at, f.Width, f.Align, f.Fill, &out)
	name, sum := strings.CutPrefix(f.Text, "sum of ")
	switch {
	case of != nil && f.Text == "rows":
		out.Total = &Total{Kind: "rows"}
	case of != nil && sum:
		out.Total = &Total{Kind: "sum", Column: name}
		if of.Totalled(name) < 0 {
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

// Totalled is the column over which a total of a field is taken: the first that
// holds its values as they are; of a field of which all are written otherwise,
// -1.
func (f *LaidOut) Totalled(field string) int {
	return slices.IndexFunc(f.Columns, func(c Column) bool { return c.From == field && c.Codes == nil && c.Date == "" })
}

// adds says for the proof what stands in the files beside released values.
func (l *Layout) adds() string {
	var texts, parts []string
	for _, f := range l.Files {
		for _, c := range f.Columns {
			if c.Text != "" {
				texts = append(texts, f.Dataset+"."+c.Name)
			}
		}
		for what, cells := range map[string][]Column{"header": f.Header, "trailer": f.Trailer} {
			if cells != nil {
				parts = append(parts, "a "+what+" of "+f.Dataset)
			}
		}
	}
	slices.Sort(parts)
	if texts != nil {
		parts = append([]string{"the same in every row: " + strings.Join(texts, ", ")}, parts...)
	}
	return "the released fields by the layout " + l.Title + strings.Join(append([]string{""}, parts...), "; ")
}

// laidOut checks what only the classes of fields tell of a layout.
func (c *checking) laidOut() {
	l := c.Layout
	if l == nil {
		return
	}
	in := mistakes{source: l.source, errs: l.source.NewErrors(), broken: map[string]bool{}}
	dates := []extract.Class{extract.Date, extract.BirthDate, extract.DeathDate}
	for i := range l.Files {
		file := &l.Files[i]
		if c.env.Schemas[file.Dataset] == nil {
			continue
		}
		j := slices.IndexFunc(c.Release, func(rel Release) bool { return rel.Dataset == file.Dataset })
		path := strictyaml.Join("files", file.Dataset)
		for _, col := range file.Columns {
			if f := fieldNamed(&c.Release[j], col.From); f != nil && f.Class != extract.Unclassed {
				in.must(col.Date == "" || slices.Contains(dates, f.Class), strictyaml.Join(path+".columns", col.Name)+".date", "remove it", "%s is %s, and no date", f.Name, a(f.Class))
			}
		}
		for k, cell := range file.Trailer {
			if t := cell.Total; t != nil {
				f := fieldNamed(&c.Release[j], t.Column)
				in.must(f == nil || f.Class == extract.Number, fmt.Sprintf("%s.trailer[%d]", path, k), "take the rows", "%s holds no numbers, so it has no sum", t.Column)
			}
		}
	}
	c.errs.Join(in.errs)
}
