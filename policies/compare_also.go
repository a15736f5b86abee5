package policies

import (
	"fmt"
	"strings"
	"time"
)

// also are the parts of a policy that let nothing out by themselves, or give
// the same pieces another form.
var also = []struct {
	what string
	of   func(*Policy) any
}{
	{"name", func(p *Policy) any { return p.Name }},
	{"version", func(p *Policy) any { return p.Version }},
	{"standard", func(p *Policy) any { return p.Standard }},
	{"ground of aggregates", func(p *Policy) any { return p.Ground }},
	{"purpose", func(p *Policy) any { return p.Purpose }},
	{"basis", func(p *Policy) any { return p.Basis }},
	{"agreement", func(p *Policy) any { return p.Agreement.Kind + " " + p.Agreement.ID }},
	{"reason", func(p *Policy) any { return p.Because }},
	{"reasons of fields", reasons},
	{"who attests", func(p *Policy) any { return at(p.Attest).By }},
	{"certificate", func(p *Policy) any {
		c := at(p.Certificate)
		return strings.Join(append([]string{c.Expert, c.Method, fmt.Sprint(c.FineDates)}, c.Conditions...), "; ")
	}},
	{"value sets", titles},
	{"ambiguous members", func(p *Policy) any { return p.People.IfAmbiguous }},
	{"names of fields", columns},
	{"layout", func(p *Policy) any { return strings.Trim(p.Output.Layout+", "+p.Output.Also, ", ") }},
	{"mode", func(p *Policy) any { return p.Output.Mode }},
	{"Part 2 rows", func(p *Policy) any { return p.Output.Part2Rows }},
	{"totals", func(p *Policy) any { return fmt.Sprint(p.Totals) }},
	{"notices", func(p *Policy) any { return strings.Trim(p.Notices.Part2+", "+p.Notices.ScopeOfConsent, ", ") }},
	{"retention", func(p *Policy) any { return fmt.Sprintf("%d days", p.Keep.SealedDrop/(24*time.Hour)) }},
}

// at is what is pointed to, or nothing.
func at[T any](p *T) (value T) {
	if p != nil {
		value = *p
	}
	return value
}

// alsoChanged lists what differs of them, and how where that is short.
func alsoChanged(old, new *Policy) []string {
	lines := []string{}
	for _, part := range also {
		was, is := fmt.Sprint(part.of(old)), fmt.Sprint(part.of(new))
		switch {
		case was == is:
		case len(was)+len(is) > 60 || strings.ContainsAny(was+is, "{[\n"):
			lines = append(lines, part.what)
		default:
			lines = append(lines, fmt.Sprintf("%s: %s, now %s", part.what, orNone(was), orNone(is)))
		}
	}
	return lines
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func reasons(p *Policy) any {
	var b strings.Builder
	for _, rel := range p.Release {
		for _, f := range rel.Fields {
			fmt.Fprintf(&b, "%s.%s: %s\n", rel.Dataset, f.Name, f.Because)
		}
	}
	return b.String() + p.People.ChoiceBecause
}

func columns(p *Policy) any {
	var b strings.Builder
	for _, rel := range p.Release {
		for _, f := range rel.Fields {
			fmt.Fprintf(&b, "%s.%s\n", rel.Dataset, f.Name)
		}
	}
	return b.String()
}

func titles(p *Policy) any {
	var b strings.Builder
	for _, name := range sortedNames(p.ValueSets) {
		s := at(p.ValueSets[name])
		fmt.Fprintf(&b, "%s: %s, %s, %s, %s\n", name, s.Title, s.Source, s.Licence, s.System)
	}
	return b.String()
}
