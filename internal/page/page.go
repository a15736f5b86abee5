package policies

import (
	"html/template"
	"strings"
)

// pageFrame is one self-contained page: no script, nothing loaded from
// elsewhere, readable by a screen reader and on paper.
const pageFrame = `{{define "page"}}<!DOCTYPE html>
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
thead th { background: #eee; }
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
{{end}}`

var pages = template.Must(template.New("pages").Parse(pageFrame + appliesBody + explainBody))

// htmlPage fills a body's template and sets it in the frame. The templates are
// ours and a strings.Builder takes everything, so neither can fail.
func htmlPage(title string, wide bool, body string, data any) string {
	var inner, b strings.Builder
	_ = pages.ExecuteTemplate(&inner, body, data)
	_ = pages.ExecuteTemplate(&b, "page", map[string]any{"Title": title, "Wide": wide, "Body": template.HTML(inner.String())})
	return b.String()
}

const explainBody = `{{define "explain"}}{{range .Sections}}<h2>{{.Heading}}</h2>
{{range .Paragraphs}}{{if (index . 0).Item}}<ul>
{{range .}}<li>{{.Text}}</li>
{{end}}</ul>
{{else if (index . 0).ToCopy}}<pre>{{(index . 0).Text}}</pre>
{{else}}<p>{{range $i, $s := .}}{{if $i}} {{end}}{{$s.Text}}{{end}}</p>
{{end}}{{end}}{{end}}<p class="digest">Made from the policy file whose SHA-256 is {{.SHA256}}.</p>
{{end}}`
