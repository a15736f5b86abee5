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
