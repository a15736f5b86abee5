package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// adds says for the proof what stands in the files beside released values, and
// which of them stand by a code.
func (l *Layout) adds(part2 bool) string {
	var texts, coded, parts []string
	for _, f := range l.Files {
		for _, c := range f.Columns {
			if c.Text != "" {
				texts = append(texts, f.Dataset+"."+c.Name)
			}
			if c.When != nil {
				coded = append(coded, f.Dataset+"."+c.Name+" by "+c.When.From+" "+c.When.Value)
			}
		}
		for what, cells := range map[string][]Column{"header": f.Header, "trailer": f.Trailer} {
			if cells != nil {
				parts = append(parts, "a "+what+" of "+f.Dataset)
			}
		}
		if f.Per != nil {
			parts = append(parts, "a row for each "+strings.Join(f.Per, ".")+" of "+f.Dataset)
		}
	}
	slices.Sort(parts)
	if coded != nil {
		parts = append([]string{"filled for one code only: " + strings.Join(coded, ", ")}, parts...)
	}
	if texts != nil {
		parts = append([]string{"the same in every row: " + strings.Join(texts, ", ")}, parts...)
	}
	if l.Control != nil {
		words := "a control file with " + page.And(l.Control.tells())
		if part2 {
			words += ", and one of its own for files with Part 2 rows"
		}
		parts = append(parts, words)
	}
	return "the released fields by the layout " + l.Title + strings.Join(append([]string{""}, parts...), "; ")
}

// tells are what a control file says of each file.
func (f *LaidOut) tells() (words []string) {
	for _, c := range f.Columns {
		switch t := c.Total; {
		case t == nil:
		case t.Kind == "sum":
			words = append(words, "the sum of "+t.Column)
		case t.Kind == AsOf:
			words = append(words, "the as-of date")
		default:
			words = append(words, map[string]string{"rows": "rows", FileName: "names"}[t.Kind])
		}
	}
	return words
}

// laidOut checks what only the classes of fields tell of a layout.
func (c *checking) laidOut() {
	if c.Layout == nil {
		return
	}
	in := mistakes{source: c.Layout.source, errs: c.Layout.source.NewErrors(), broken: map[string]bool{}}
	for i := range c.Layout.Files {
		file := &c.Layout.Files[i]
		if c.env.Schemas[file.Dataset] == nil && resourceType(file.Dataset) == nil {
			continue
		}
		rel, path := c.ReleaseOf(file.Dataset), strictyaml.Join("files", file.Dataset)
		for _, col := range file.Columns {
			if col.From != "" {
				c.laidColumn(&in, strictyaml.Join(path+".columns", col.Name), rel, &col)
			}
		}
		c.whens(&in, path+".columns", rel, file)
		c.undated(&in, path+".columns", slices.Concat(file.Header, file.Columns))
		c.undated(&in, path+".trailer", file.Trailer)
		for k, cell := range file.Trailer {
			c.addable(&in, fmt.Sprintf("%s.trailer[%d]", path, k), rel, file, cell.Total)
		}
		if c.Layout.Control != nil {
			for _, cell := range c.Layout.Control.Columns {
				c.addable(&in, strictyaml.Join("control.columns", cell.Name), rel, file, cell.Total)
			}
		}
	}
	if c.Layout.Control != nil {
		c.undated(&in, "control", slices.Concat(c.Layout.Control.Header, c.Layout.Control.Columns))
		for _, cell := range c.Layout.Control.Columns {
			in.must(cell.Date == "" || cell.Date == "YYYY" || c.Standard == Identified || c.Standard == LimitedDataSet,
				strictyaml.Join("control.columns", cell.Name), "write as of YYYY", "under %s no day leaves, not even that of the release", c.Standard)
		}
	}
	c.errs.Join(in.errs)
}

// undated refuses a text of the layout that tells when, where no date finer than a
// year may leave: it stands beside every row.
func (c *checking) undated(in *mistakes, path string, cells []Column) {
	for _, cell := range cells {
		in.must(c.Standard == Identified || c.Standard == LimitedDataSet || !finerThanAYear.MatchString(cell.Text),
			path, "write the year alone, or nothing", "the text %q tells a date finer than its year (45 CFR 164.514(b)(2)(i)(C))", cell.Text)
	}
}

func (c *checking) laidColumn(in *mistakes, path string, rel *Release, col *Column) {
	class := col.class(rel)
	dates := []extract.Class{extract.Date, extract.BirthDate, extract.DeathDate, extract.Unclassed}
	in.must(slices.Contains(dates, class), path+".date", "remove it", "%s is %s, and no date", col.From, a(class))
	in.must(class != extract.Link, path+".map", "remove it", "a reference is not mapped: whether it stays is known only when the drop is sealed")
}

// class is that of the value that a column holds; Unclassed where it is not known.
func (c *Column) class(rel *Release) extract.Class {
	if c.Leaf != nil {
		return c.Leaf.Class
	}
	return rel.Field(c.From).Class
}

// addable holds a sum of a line with totals against the class of what it adds up.
func (c *checking) addable(in *mistakes, path string, rel *Release, file *LaidOut, t *Total) {
	if t == nil || t.Kind != "sum" {
		return
	}
	if at := file.Totalled(t.Column); at >= 0 {
		col := &file.Columns[at]
		in.must(col.class(rel) == extract.Number && rel.Field(col.From).Do != Band, path, "take the rows", "%s holds no numbers, so it has no sum", t.Column)
	}
}
