package policies

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
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
	{"agreement", func(p *Policy) any {
		a := p.Agreement
		return fmt.Sprintf("%s %s, %s to %s, reviewed by %s", a.Kind, a.ID, a.From, a.To, a.ReviewBy)
	}},
	{"reason", func(p *Policy) any { return p.Because }},
	{"reason of the clinic's choice", func(p *Policy) any { return p.People.ChoiceBecause }},
	{"attestation", func(p *Policy) any {
		a := at(p.Attest)
		return fmt.Sprintf("by %s on %s, reviewed by %s", a.By, a.On, a.ReviewBy)
	}},
	{"certificate", func(p *Policy) any {
		c := at(p.Certificate)
		return strings.Join(append([]string{c.Expert, c.Method, c.On.String(), c.Expires.String(), fmt.Sprint(c.FineDates)}, c.Conditions...), "; ")
	}},
	{"value sets", titles},
	{"other grounds under Part 2", func(p *Policy) any { return p.groundsInWords() }},
	{"ambiguous members", func(p *Policy) any { return p.People.IfAmbiguous }},
	{"layout", func(p *Policy) any { return strings.Trim(p.Output.Layout+", "+p.Output.Also, ", ") }},
	{"columns of the layout", func(p *Policy) any {
		l := at(p.Layout)
		l.source = nil
		text, _ := json.Marshal(l) // texts, numbers and lists only
		return string(text)
	}},
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
		case len(was)+len(is) > 160 || strings.ContainsAny(was+is, "{[\n"):
			lines = append(lines, part.what)
		default:
			lines = append(lines, fmt.Sprintf("%s: %s, now %s", part.what, cmp.Or(was, "none"), cmp.Or(is, "none")))
		}
	}
	return append(lines, fieldsChanged(old, new)...)
}

// fieldsChanged lists the reasons and names that fields have now, of datasets
// that both policies release.
func fieldsChanged(old, new *Policy) (lines []string) {
	for i := range old.Release {
		was := &old.Release[i]
		is := new.ReleaseOf(was.Dataset)
		if is == nil {
			continue
		}
		for _, f := range was.Fields {
			same := func(g Field) bool { return g.Name == f.Name }
			if is.Field(f.Name) == nil {
				same = func(g Field) bool { return g.From == f.From && g.Do == f.Do && was.Field(g.Name) == nil }
			}
			if k := slices.IndexFunc(is.Fields, same); k < 0 {
				continue
			} else if g := is.Fields[k]; g.Name != f.Name {
				lines = append(lines, fmt.Sprintf("name of %s.%s: now %s", was.Dataset, f.Name, g.Name))
			} else if g.Because != f.Because {
				lines = append(lines, fmt.Sprintf("reason of %s.%s", was.Dataset, f.Name))
			}
		}
	}
	return lines
}

func titles(p *Policy) any {
	var b strings.Builder
	for _, name := range sortedNames(p.ValueSets) {
		s := at(p.ValueSets[name])
		fmt.Fprintf(&b, "%s: %s, %s, %s, %s\n", name, s.Title, s.Source, s.Licence, s.System)
	}
	return b.String()
}
