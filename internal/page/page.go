// Package page gives what Postern says to people its form: one self-contained
// HTML page, text of a terminal's width, lists as sentences have them.
package page

import (
	"html/template"
	"strings"
)

// frame is one self-contained page: no script, nothing loaded from
// elsewhere, readable by a screen reader and on paper.
const frame = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>
body { font: 1.05rem/1.5 Georgia, "Times New Roman", serif; color: #1a1a1a; background: #fff; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }
body.wide { max-width: 64rem; }
h1, h2, th { font-family: system-ui, "Helvetica Neue", Arial, sans-serif; line-height: 1.25; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 1.8rem 0 .4rem; }
p { margin: .5rem 0; } ul { margin: .5rem 0; padding-left: 1.3rem; } li { margin: .25rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { border: 1px solid #767676; padding: .3rem .5rem; text-align: left; vertical-align: top; }
thead th { background: #eee; } caption { text-align: left; padding: .3rem 0; } td.number { text-align: right; }
pre { white-space: pre-wrap; background: #eee; padding: .4rem; }
.digest, pre { font: .85rem/1.4 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media print { body { font-size: 10.5pt; margin: 0; max-width: none; } h2 { break-after: avoid; } li, tr, p { break-inside: avoid; } thead { display: table-header-group; } }
</style>
</head>
<body{{if .Wide}} class="wide"{{end}}>
<main>
<h1>{{.Title}}</h1>
{{.Body}}</main>
</body>
</html>
`

var framed = template.Must(template.New("page").Parse(frame))

// HTML fills a body's template and sets it in the frame. The templates are the
// program's own and a strings.Builder takes everything, so neither can fail.
func HTML(title string, wide bool, body *template.Template, data any) string {
	var inner, b strings.Builder
	_ = body.Execute(&inner, data)
	_ = framed.Execute(&b, map[string]any{"Title": title, "Wide": wide, "Body": template.HTML(inner.String())})
	return b.String()
}

// Or and And join words as a sentence does: one, two and three.
func Or(list []string) string  { return joined(list, "or") }
func And(list []string) string { return joined(list, "and") }

func joined(list []string, last string) string {
	n := len(list)
	if n < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:n-1], ", ") + " " + last + " " + list[n-1]
}

const width = 80

// Wrap breaks a text into lines of 80 characters, the first after one indent
// and the others after another, and ends it.
func Wrap(text, first, rest string) string {
	var lines []string
	line := first
	for _, word := range strings.Fields(text) {
		if line != first && line != rest && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), rest
		} else if line != first && line != rest {
			line += " "
		}
		line += word
	}
	return strings.Join(append(lines, line), "\n") + "\n"
}
