package page

import (
	"html/template"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Report is an account in sentences and tables.
type Report struct {
	Title    string
	Sections []*Section
}

// Section is what a report says to one question.
type Section struct {
	Heading string
	Says    []string // sentences, one paragraph
	Table   Table
}

// Table has a row for each thing that is told of, named by its first cell.
// Cells of the last Numbers columns are numbers.
type Table struct {
	Caption string
	Head    []string
	Rows    [][]string
	Numbers int
}

// Section adds a section with its sentences.
func (r *Report) Section(heading string, says ...string) *Section {
	s := &Section{Heading: heading, Says: says}
	r.Sections = append(r.Sections, s)
	return s
}

// Row adds a row to the section's table.
func (s *Section) Row(cells ...string) { s.Table.Rows = append(s.Table.Rows, cells) }

// IsNumber tells whether a column holds numbers.
func (t *Table) IsNumber(column int) bool { return column >= len(t.Head)-t.Numbers }

var reportBody = template.Must(template.New("report").Parse(`{{range .Sections}}<h2>{{.Heading}}</h2>
{{if .Says}}<p>{{range $i, $s := .Says}}{{if $i}} {{end}}{{$s}}{{end}}</p>
{{end}}{{with $t := .Table}}{{if .Rows}}<table>
<caption>{{.Caption}}</caption>
<thead><tr>{{range .Head}}<th scope="col">{{.}}</th>{{end}}</tr></thead>
<tbody>
{{range .Rows}}<tr>{{range $i, $c := .}}{{if not $i}}<th scope="row">{{$c}}</th>{{else if $t.IsNumber $i}}<td class="number">{{$c}}</td>{{else}}<td>{{$c}}</td>{{end}}{{end}}</tr>
{{end}}</tbody>
</table>
{{end}}{{end}}{{end}}`))

// HTML is the report as one self-contained page.
func (r *Report) HTML() string { return HTML(r.Title, true, reportBody, r) }

// Text is the report for a terminal. A table without numbers that is too wide for
// it is told cell by cell; one with numbers is as wide as it is.
func (r *Report) Text() string {
	var b strings.Builder
	b.WriteString(r.Title + "\n")
	for _, s := range r.Sections {
		b.WriteString("\n" + s.Heading + "\n\n")
		if len(s.Says) > 0 {
			b.WriteString(Wrap(strings.Join(s.Says, " "), "", ""))
		}
		if len(s.Table.Rows) == 0 {
			continue
		}
		if len(s.Says) > 0 {
			b.WriteString("\n")
		}
		b.WriteString(s.Table.text())
	}
	return b.String()
}

func (t *Table) text() string {
	var b, cells strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{t.Head}, t.Rows...) {
		_, _ = w.Write([]byte("  " + strings.Join(row, "\t") + "\n"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	tooWide := func(line string) bool { return utf8.RuneCountInString(line) > width }
	if t.Numbers > 0 || !slices.ContainsFunc(strings.Split(b.String(), "\n"), tooWide) {
		return b.String()
	}
	for _, row := range t.Rows {
		cells.WriteString(Wrap(row[0], "  ", "      "))
		for _, cell := range row[1:] {
			if cell != "" {
				cells.WriteString(Wrap(cell, "    ", "      "))
			}
		}
	}
	return cells.String()
}
