package page

import (
	"html/template"
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	if got := Or([]string{"a"}) + "; " + And([]string{"a", "b"}) + "; " + Or([]string{"a", "b", "c"}) + Or(nil); got != "a; a and b; a, b or c" {
		t.Error(got)
	}
	word := strings.Repeat("é", 38)
	if got := Wrap(word+"  "+word+"\n"+word, "- ", "  "); got != "- "+word+" "+word+"\n  "+word+"\n" {
		t.Error(got)
	}
	web := HTML("<Title>", true, template.Must(template.New("").Parse("<p>{{.}}</p>")), "a<b")
	if !strings.Contains(web, "<h1>&lt;Title&gt;</h1>\n<p>a&lt;b</p></main>") || !strings.Contains(web, `<body class="wide">`) {
		t.Error(web)
	}
}

// A report says the same in both forms; its tables name their columns and rows
// for who cannot see them, and nothing in a cell is taken for HTML.
func TestReport(t *testing.T) {
	r := &Report{Title: "What was done"}
	s := r.Section("To each field", "One sentence.", "Another.")
	s.Table = Table{Caption: "Fields", Head: []string{"field", "how", "left"}, Numbers: 1}
	s.Row("a<b>", "as it is", "12")
	r.Section("Nothing here")
	const web = `<h2>To each field</h2>
<p>One sentence. Another.</p>
<table>
<caption>Fields</caption>
<thead><tr><th scope="col">field</th><th scope="col">how</th><th scope="col">left</th></tr></thead>
<tbody>
<tr><th scope="row">a&lt;b&gt;</th><td>as it is</td><td class="number">12</td></tr>
</tbody>
</table>
<h2>Nothing here</h2>
</main>`
	if got := r.HTML(); !strings.Contains(got, web) || !strings.Contains(got, `<html lang="en">`) {
		t.Error(got)
	}
	const text = "What was done\n\nTo each field\n\nOne sentence. Another.\n\n  field  how       left\n  a<b>   as it is  12\n\nNothing here\n\n"
	if got := r.Text(); got != text {
		t.Errorf("%q", got)
	}
	// Too wide for a terminal, a table without numbers is told cell by cell.
	long := strings.Repeat("long ", 20)
	s.Table = Table{Head: []string{"what", "why", "law"}, Rows: [][]string{{"a", long, "the law"}, {"b", "", "another"}}}
	want := "  a\n" + Wrap(long, "    ", "      ") + "    the law\n  b\n    another\n"
	if got := r.Text(); !strings.Contains(got, "Another.\n\n"+want+"\n") {
		t.Errorf("%q", got)
	}
	s.Table.Numbers = 1
	if got := r.Text(); !strings.Contains(got, "  what  why") {
		t.Errorf("%q", got)
	}
}
