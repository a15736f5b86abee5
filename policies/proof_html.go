package policies

import (
	"html/template"

	"github.com/posternhealth/postern/internal/page"
)

// proofBody is the proof as a table: identifier, where it could occur, what
// happens.
var proofBody = template.Must(template.New("proof").Parse(`<p class="digest">policy {{.Policy}}, version {{.Version}}, standard {{.Standard}}<br>SHA-256 {{.SHA256}}</p>
<table>
<caption>The {{.Heading}}</caption>
<thead><tr><th scope="col">Identifier</th><th scope="col">Where it could occur</th><th scope="col">What happens</th></tr></thead>
{{range .Rows}}<tbody>
{{$row := .}}{{range $i, $h := .Handled}}<tr>{{if eq $i 0}}<th scope="rowgroup" rowspan="{{len $row.Handled}}">{{$row.Paragraph}} {{$row.Title}}</th>{{end}}<td>{{.Dataset}}: {{range $j, $f := .Fields}}{{if $j}}, {{end}}{{$f}}{{end}}</td><td>{{.Treatment}}</td></tr>
{{else}}<tr><th scope="row">{{.Paragraph}} {{.Title}}</th><td colspan="2">cannot occur in what is released</td></tr>
{{end}}</tbody>
{{end}}</table>
<h2>What else could tell</h2>
<table>
<thead><tr><th scope="col">What</th><th scope="col">What happens</th><th scope="col">Law</th></tr></thead>
<tbody>
{{range .Beside}}<tr><th scope="row">{{.Subject}}</th><td>{{.Answer}}</td><td>{{.Law}}</td></tr>
{{end}}</tbody>
</table>
<h2>What the proof rests on</h2>
<ul>
{{range .RestsOn}}<li>{{.Text}}{{if .Until}} It holds until <time datetime="{{.Until}}">{{.Until}}</time>.{{end}}</li>
{{end}}</ul>
`))

// HTML is the proof as one page, for reading and for paper.
func (p *Proof) HTML() string {
	return page.HTML("Proof of the policy "+p.Policy, true, proofBody, struct {
		*Proof
		Heading string
	}{p, p.heading()})
}
