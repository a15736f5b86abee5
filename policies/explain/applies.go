package explain

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/policies"
)

// appliesNotes are said of the whole table.
var appliesNotes = []string{
	"Each line: a disclosure on this basis, in one of these forms, to one of these kinds of recipient, for one of these purposes, is bound by the steps marked yes. What has no line does not leave.",
	"Steps 1 (agreement and purpose) and 2 (psychotherapy notes and substance use counseling notes are never sent) bind every disclosure. A policy may be stricter than the table, never laxer.",
}

// appliesSteps are the columns of the table, with the step of the decision
// they belong to and the rule they come from.
var appliesSteps = []struct {
	head, law string
	cell      func(policies.Steps) string
}{
	{"3 self-pay", "45 CFR 164.522(a)(1)(vi)", func(s policies.Steps) string { return yesIf(s.SelfPay, "health-plan") }},
	{"3 agreed", "45 CFR 164.522(a)(1)", func(s policies.Steps) string { return yesIf(s.Agreed, "yes") }},
	{"4 relation", "45 CFR 164.506(c)(4)", func(s policies.Steps) string { return yesIf(s.Relationship, "yes") }},
	{"5 consent", "45 CFR 164.506(b), 164.508", func(s policies.Steps) string {
		if s.Authorization {
			return "required"
		}
		return yesIf(s.Consent, "yes")
	}},
	{"5 Part 2", "42 CFR 2.31", func(s policies.Steps) string { return yesIf(s.Part2, "yes") }},
	{"7 minimum necessary", "45 CFR 164.502(b)", func(s policies.Steps) string { return yesIf(s.MinimumNecessary, "yes") }},
}

func yesIf(applies bool, word string) string {
	if applies {
		return word
	}
	return "-"
}

// ApplicabilityText prints the table of steps, no wider than 80 columns.
func ApplicabilityText() string {
	var b strings.Builder
	for _, n := range appliesNotes {
		b.WriteString(page.Wrap(n, "", "") + "\n")
	}
	row := func(first string, cell func(i int) string) {
		line := fmt.Sprintf("%-14s", first)
		for i, s := range appliesSteps {
			line += fmt.Sprintf(" %-*s", max(len(s.head), len("health-plan")), cell(i))
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row("basis", func(i int) string { return appliesSteps[i].head })
	for _, l := range policies.ApplicabilityTable() {
		b.WriteString("\n")
		row(l.Basis, func(i int) string { return appliesSteps[i].cell(l.Steps) })
		b.WriteString(page.Wrap(whom(&l), "  ", "    "))
		b.WriteString(page.Wrap(l.Steps.Source, "  ", "    "))
	}
	return b.String()
}

var appliesBody = template.Must(template.New("applies").Parse(`{{range .Notes}}<p>{{.}}</p>
{{end}}<table>
<caption>Steps of the decision, by basis, form and recipient</caption>
<thead>
<tr><th scope="col">basis (45 CFR)</th>{{range .Heads}}<th scope="col">{{.}}</th>{{end}}</tr>
</thead>
<tbody>
{{range .Lines}}<tr><th scope="row">{{.Basis}}<br><small>{{.Whom}}</small></th>{{range .Cells}}<td>{{.}}</td>{{end}}</tr>
<tr><td colspan="7"><small>{{.Source}}</small></td></tr>
{{end}}</tbody>
</table>
`))

// ApplicabilityHTML is the table of steps as a page.
func ApplicabilityHTML() string {
	type line struct {
		Basis, Whom, Source string
		Cells               []string
	}
	var heads []string
	for _, s := range appliesSteps {
		heads = append(heads, s.head+" ("+s.law+")")
	}
	var lines []line
	for _, l := range policies.ApplicabilityTable() {
		row := line{Basis: l.Basis, Whom: whom(&l), Source: l.Steps.Source}
		for _, s := range appliesSteps {
			row.Cells = append(row.Cells, s.cell(l.Steps))
		}
		lines = append(lines, row)
	}
	return page.HTML("Which steps bind which disclosure", true, appliesBody, map[string]any{"Notes": appliesNotes, "Heads": heads, "Lines": lines})
}

// whom says which disclosures a line is about.
func whom(l *policies.Applicability) string {
	forms := make([]string, len(l.Standards))
	for i, s := range l.Standards {
		forms[i] = string(s)
	}
	return "as " + page.Or(forms) + "; to " + orAny(l.Recipients, "recipient") + "; for " + orAny(l.Steps.Purposes, "purpose")
}

func orAny(list []string, what string) string {
	if len(list) == 0 {
		return "any " + what
	}
	return page.Or(list)
}
