package build

import (
	"fmt"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// layouts writes a policy of what leaves in a layout of the recipient's.
func (r *random) layouts() {
	r.layout = true
	if r.IntN(2) == 0 {
		r.rows()
		return
	}
	r.resources()
	r.rowKey = r.IntN(2) == 0 && r.standard != policies.SafeHarbor
}

// laying is a layout on its way to its text.
type laying struct {
	*random
	delimited bool
	b         string
	sums      []string // what can be added up
}

func (l *laying) text(format string, args ...any) { l.b += fmt.Sprintf(format, args...) }

// layoutText is a layout of what a policy releases.
func (r *random) layoutText(p *policies.Policy) string {
	l := &laying{random: r, delimited: r.IntN(2) == 0}
	encoding := one(r, "utf-8", "ascii")
	l.text("postern: layout/v1\ntitle: t\nline_end: %s\n", one(r, "crlf", "lf"))
	if l.delimited {
		l.text("form: delimited\ndelimiter: %s\nquotes: %s\n", one(r, "comma", "bar", "tab", "semicolon"), one(r, "where-needed", "always", "never"))
		if encoding == "utf-8" && r.IntN(2) == 0 {
			l.text("bom: yes\n")
		}
	} else {
		encoding = "ascii"
		l.text("form: fixed-width\n")
	}
	l.text("encoding: %s\nfiles:\n", encoding)
	for i := range p.Release {
		l.file(&p.Release[i], string(rune('a'+i)))
	}
	if r.IntN(2) == 0 {
		l.control()
	}
	return l.b
}

// cell is one of a header, a trailer or a control file.
func (l *laying) cell(text string, width int) string {
	if l.delimited {
		return fmt.Sprintf("%q", text)
	}
	return fmt.Sprintf("{text: %q, width: %d%s}", text, width, one(l.random, "", ", align: right", ", align: left"))
}

// column writes a column whose name begins with one letter for each file.
func (l *laying) column(name, text string, width int) {
	if !l.delimited {
		text += fmt.Sprintf(", width: %d", width+l.IntN(3)) + one(l.random, "", "", ", align: right", ", align: right, fill: blanks")
	}
	l.text("      %s: {%s}\n", name, text)
}

// file writes how a dataset becomes a file.
func (l *laying) file(release *policies.Release, letter string) {
	columns := l.columns(release)
	l.text("  %s:\n", release.Dataset)
	if per := l.per(release.Dataset, columns); per != "" {
		l.text("    per: %s\n", per)
	}
	header := l.IntN(3)
	if header == 0 {
		l.text("    header: yes\n")
	}
	l.text("    columns:\n")
	n := 0
	name := func() string { n++; return fmt.Sprintf("%s%d", letter, n) }
	var sums []string
	for _, c := range columns {
		form, zeros := l.form(&c), ""
		if !l.delimited && form == "" && l.IntN(6) == 0 && (c.class == extract.Number || l.IntN(4) == 0) {
			zeros = ", fill: zeros"
		}
		if form == "" && c.class == extract.Number && (c.field.Do == policies.Keep || c.field.Do == policies.Round) {
			sums = append(sums, c.name, letter+fmt.Sprint(n+1))
		}
		l.text("      %s: {from: %s%s%s", name(), c.name, form, zeros)
		if !l.delimited {
			l.text(", width: %d", one(l.random, 10, 24, 40, 40)+l.IntN(3))
		}
		l.text("}\n")
	}
	for _, code := range columns {
		for _, value := range l.codes(release, &code) {
			c := one(l.random, columns...)
			if (c.leaf == nil) != (code.leaf == nil) { // nothing of an element is bound to what is known of the person
				c = code
			}
			l.column(name(), fmt.Sprintf("from: %s, when: {%s: %q}%s", c.name, code.name, value, one(l.random, "", `, else: "-"`)), 40)
			if c.class == extract.Number && c.field.Do == policies.Keep {
				sums = append(sums, fmt.Sprintf("%s%d", letter, n))
			}
		}
	}
	if l.IntN(2) == 0 {
		l.column(name(), `constant: "C 1"`, 3)
	}
	if l.IntN(2) == 0 {
		l.column(name(), "empty: yes", 4)
	}
	if l.rowKey {
		l.column(name(), "row_key: yes", 20)
	}
	if header == 1 {
		l.text("    header: [%s", l.cell("HDR", 4))
		for range n - 1 {
			l.text(", %s", l.cell("THEM", 9))
		}
		l.text("]\n")
	}
	if l.IntN(2) == 0 {
		l.text("    trailer: [%s, %s", l.cell("TRL", 3), l.cell("rows", 8))
		if len(sums) > 0 {
			l.text(", %s", l.cell("sum of "+one(l.random, sums...), 60))
		}
		l.text("]\n")
	}
	l.sums = append(l.sums, sums...)
}

// control writes a control file.
func (l *laying) control() {
	l.text("control:\n%s  columns:\n    f: %s\n", one(l.random, "", "  header: yes\n"), l.cell("file", 40))
	day := "as of " + one(l.random, "YYYY-MM-DD", "YYYYMMDD", "MM/DD/YYYY", "M/D/YYYY", "YYYY")
	if !l.showsDates() {
		day = "as of YYYY"
	}
	for i, text := range []string{"rows", "CTL", day} {
		if l.IntN(3) > 0 {
			l.text("    c%d: %s\n", i, l.cell(text, 12))
		}
	}
	for i, name := range l.sums {
		if l.IntN(3) == 0 {
			l.text("    s%d: %s\n", i, l.cell("sum of "+name, 60))
		}
	}
}

// laidValue is what a column takes: a field, or of FHIR a value of one.
type laidValue struct {
	field *policies.Field
	leaf  *policies.Leaf
	name  string
	class extract.Class
}

// columns are one or two for each field.
func (l *laying) columns(release *policies.Release) (list []laidValue) {
	for i := range release.Fields {
		f := &release.Fields[i]
		for range 1 + l.IntN(6)/5 {
			if f.Leaves == nil {
				list = append(list, laidValue{f, nil, f.Name, f.Class})
				continue
			}
			leaf := &f.Leaves[l.IntN(len(f.Leaves))]
			list = append(list, laidValue{f, leaf, pathOf(leaf), leaf.Class})
		}
	}
	return list
}

// pathOf is how a layout names a value of FHIR; "" of a row.
func pathOf(leaf *policies.Leaf) string {
	if leaf == nil {
		return ""
	}
	path := strings.Join(leaf.Path, ".")
	for _, known := range extract.KnownExtensions() {
		path = strings.ReplaceAll(path, "extension:"+known.URL+".", known.Name+".")
	}
	return strings.ReplaceAll(path, "extension:", "")
}

// per is a repeating element in which a value of the columns lies, or "".
func (l *laying) per(dataset string, columns []laidValue) string {
	list := []string{""}
	for _, c := range columns {
		typ := extract.TypeOf(dataset)
		for i := 0; c.leaf != nil && typ != nil && i < len(c.leaf.Path)-1; i++ {
			e := typ.Element(c.leaf.Path[i])
			if typ = nil; e != nil && e.Name != "extension" {
				if typ = extract.TypeOf(e.Type); e.Many {
					list = append(list, strings.Join(c.leaf.Path[:i+1], "."))
				}
			}
		}
	}
	return one(l.random, list...)
}

// form is how a kept value is written otherwise.
func (l *laying) form(c *laidValue) string {
	if c.field.Do != policies.Keep || c.leaf == nil && (l.schema == nil || l.schema.Column(c.field.From) < 0) {
		return ""
	}
	switch c.class {
	case extract.Date, extract.BirthDate, extract.DeathDate:
		return one(l.random, "", "", ", date: YYYYMMDD", ", date: MM/DD/YYYY", ", date: M/D/YYYY", ", date: YYYY", ", date: YYYY-MM-DD")
	case extract.Code, extract.Sex, extract.Number:
		return one(l.random, "", "", ", map: {female: F, \"17\": \"0\", final: \"f\"}, else: \"\"", ", map: {female: F, male: M, \"17\": \"a b\"}, else: U", ", map: {final: f, female: F, \"17\": s}")
	}
	return ""
}

// codes are the values to which columns can be bound, all of a closed list.
func (l *laying) codes(release *policies.Release, c *laidValue) []string {
	switch {
	case l.IntN(3) == 0:
		return nil
	case c.leaf != nil && c.class == extract.CodeSystem && c.field.Do == policies.Keep:
		return []string{"http://loinc.org"}
	case c.field.Do == policies.Map:
		return []string{"F", "A,1", `x "y"`, "White", "fem", "English", "North"}
	case c.field.Do != policies.Keep:
		return nil
	}
	for _, only := range release.Only {
		codes, single := only.Codes.Single()
		if single && only.Period == "" && (c.name == only.Path || c.name == only.Path+".coding.code") {
			return codes
		}
	}
	return nil
}
