package explain

import (
	"fmt"
	"strings"

	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// table says whom an aggregate table counts, and by what.
func (e *explaining) table(t *policies.Table) {
	at := strictyaml.Join("tables", t.Name)
	e.section("What the table " + t.Name + " shows")
	text := "It counts people by their records of " + t.Dataset
	if t.Period != "" {
		text += ", for each " + strings.ReplaceAll(t.Period, "-", " ")
	}
	e.say(text+".", at+".from", at+".period", at+".count")
	if len(t.Denominator) > 0 {
		e.say("Counted are those where "+e.conditions(at+".denominator", t.Denominator)+".", clausesOf(at+".denominator", t.Denominator)...)
	}
	if len(t.Numerator) > 0 {
		e.say("Among them, apart: those where "+e.conditions(at+".numerator", t.Numerator)+".", clausesOf(at+".numerator", t.Numerator)...)
	}
	shown := make([]string, len(t.Show))
	for i, s := range t.Show {
		shown[i] = map[string]string{"denominator": "how many are counted", "numerator": "how many of them meet the second condition", "rate": "the share"}[s]
	}
	e.say("It shows "+page.And(shown)+".", each(at+".show", len(shown))...)
	for i, d := range t.By {
		e.item("By "+e.dimension(&d)+".", fmt.Sprintf("%s.by[%d]", at, i))
	}
	if len(t.By) > 1 {
		e.say("Each of these makes a table of its own; they are not crossed.", everyPolicy)
	}
	if t.Totals {
		e.say("Totals are shown.", at+".totals")
	}
}

func clausesOf(at string, list []policies.Condition) (clauses []string) {
	for _, c := range list {
		clauses = append(clauses, strictyaml.Join(at, c.Path))
	}
	return clauses
}

func (e *explaining) dimension(d *policies.Dimension) string {
	switch {
	case d.Coarsen != "":
		return d.Path + ", in the groups of " + d.Coarsen
	case len(d.Bands) > 0:
		return d.Path + ", in the bands " + page.And(d.Bands)
	}
	return d.Path
}

// protect says how people are hidden among others.
func (e *explaining) protect() {
	p := e.Protect
	if p == nil {
		return
	}
	const at = "protect"
	e.section("How people are hidden among others")
	if p.K > 0 {
		e.say(fmt.Sprintf("At least %d people share each combination of %s.", p.K, page.And(p.Over)), append([]string{at + ".k"}, each(at+".over", len(p.Over))...)...)
	}
	if p.Smallest > 0 {
		e.say(fmt.Sprintf("No count from 1 to %d is shown, and none can be worked out from others.", p.Smallest-1), at+".smallest_count")
	}
	e.remedies(p)
	if len(p.Against) > 0 {
		words := make([]string, len(p.Against))
		for i, a := range p.Against {
			if words[i] = againstWords[a]; a == "earlier-drops" {
				words[i] = fmt.Sprintf("what was delivered in the last %s", count(p.Years, "year"))
			}
		}
		e.say("This holds against "+page.And(words)+".", each(at+".against", len(words))...)
	}
	if p.Audit {
		e.say("An independent second computation must find the same before anything leaves.", at+".audit")
	}
}

var againstWords = map[string]string{"this-table": "the table itself", "linked-tables": "tables of the same people"}

// remedies says what is done where too few people are alike.
func (e *explaining) remedies(p *policies.Protect) {
	const at = "protect"
	if len(p.First) > 0 {
		e.say("Where they are fewer, the first remedy is to "+strings.Join(p.First, ", then ")+".", append([]string{at + ".first"}, each(at+".first", len(p.First))...)...)
	}
	switch p.Then {
	case "suppress":
		e.say("What is still too small is not shown.", at+".then")
	case "suppress-person":
		e.say("Who is still in too small a group is left out wholly.", at+".then")
	}
}
