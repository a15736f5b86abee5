package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/internal/page"
)

// besideFields is what could tell of a person without being a field, and how it
// is seen what a policy does about it.
var besideFields = []struct {
	subject, law string
	answer       func(p *Policy) string
}{
	{"codes for people and records", "45 CFR 164.514(c)", tellsOfCodes},
	{"whom the selection picks", "45 CFR 164.514(b)(2)(i)", tellsOfSelection},
	{"the period and the cohort", "45 CFR 164.514(b)(2)(i)(C)", tellsOfPeriods},
	{"what one drop adds to the last", "45 CFR 164.514(b)(2)(i)(C)", tellsOfSteps},
	{"the moment of sending", "45 CFR 164.514(b)(2)(i)(C)", tellsOfSending},
	{"small groups", "CMS cell size policy", tellsOfGroups},
	{"records of Part 2 programs", "42 CFR 2.31, 2.32", tellsOfPart2},
	{"psychotherapy and counseling notes", "45 CFR 164.508(a)(2), 42 CFR 2.31(b)", func(*Policy) string {
		return "never sent; a document of that kind is withheld, whatever the policy says"
	}},
	{"what the layout adds", "45 CFR 164.514(d)", tellsOfLayout},
	{"row keys", "45 CFR 164.514(c)", tellsOfRowKeys},
	{"totals", "45 CFR 164.514(d)", tellsOfTotals},
	{"look-ups in rosters and value sets", "45 CFR 164.514(d)", tellsOfLookUps},
}

func besides(p *Policy) []Beside {
	list := make([]Beside, len(besideFields))
	for i, b := range besideFields {
		list[i] = Beside{b.subject, b.law, b.answer(p)}
	}
	return list
}

// fieldsThat lists the released fields that are treated so, as DATASET.FIELD.
func (p *Policy) fieldsThat(fits func(*Field) bool) string {
	var names []string
	for _, rel := range p.Release {
		for i := range rel.Fields {
			if fits(&rel.Fields[i]) {
				names = append(names, rel.Dataset+"."+rel.Fields[i].Name)
			}
		}
	}
	return strings.Join(names, ", ")
}

func doing(list ...Transform) func(*Field) bool {
	return func(f *Field) bool { return slices.Contains(list, f.Do) }
}

func tellsOfCodes(p *Policy) string {
	var parts []string
	for _, c := range []struct {
		do   Transform
		what string
	}{
		{CodePerson, "drawn at random and kept in the clinic's crosswalk, not derived from the person"},
		{Token, "keyed by a secret of this recipient and epoch: derived from the clinic's number, and no code of Safe Harbor"},
		{Ordinal, "counted within the drop, and of no use beyond it"},
	} {
		if names := p.fieldsThat(doing(c.do)); names != "" {
			parts = append(parts, names+": "+c.what)
		}
	}
	return orElse(parts, "none leave")
}

func tellsOfSelection(p *Policy) string {
	var by []string
	p.eachCondition(func(dataset, _ string, c *Condition) { by = append(by, dataset+"."+c.Path) })
	names := strings.Join(each(by), ", ")
	switch {
	case names == "":
		return "no record is chosen before another"
	case p.judgedBy() == Identified:
		return "records are chosen by " + names
	}
	return "records are chosen by " + names + "; no identifier chooses them"
}

func tellsOfPeriods(p *Policy) string {
	var parts []string
	p.eachCondition(func(_, path string, c *Condition) {
		if c.Period != "" {
			parts = append(parts, path+": "+c.Period)
		}
	})
	for _, t := range p.Tables {
		parts = append(parts, "table "+t.Name+": "+t.Period)
	}
	if c := p.Cohort; c != nil {
		parts = append(parts, fmt.Sprintf("a closed cohort by index year (%s), each person followed for %d days", c.IndexYear, c.FollowDays))
	}
	if p.judgedBy() == SafeHarbor {
		parts = append(parts, "nothing is told more finely than by calendar year")
	}
	return orElse(parts, "none is named")
}

func tellsOfSteps(p *Policy) string {
	switch {
	case p.judgedBy() == SafeHarbor && p.Cohort != nil:
		return "nothing: a drop holds a cohort whose last window has closed"
	case p.judgedBy() == SafeHarbor && p.undated() != "":
		return "of events nothing finer than a year; " + p.undated() + ": whom a drop adds to the last came between the two, so drops that are less than a year apart tell when"
	case p.judgedBy() == SafeHarbor:
		return "nothing finer than a year: a drop holds years that are over"
	case p.fieldsThat(doing(ShiftDate)) == "":
		return "no date is hidden that a drop could tell"
	case p.Certificate.FineDates:
		return "increments narrower than the date shift, which the certificate allows"
	}
	return "nothing finer than the shift of the dates: each drop holds a longer time that is over"
}

// undated are the datasets of people, of which no period is asked.
func (p *Policy) undated() string {
	var names []string
	for _, rel := range p.Release {
		if !AboutNobody(rel.Dataset) && !slices.ContainsFunc(rel.Only, func(c Condition) bool { return c.Period != "" }) {
			names = append(names, rel.Dataset)
		}
	}
	return strings.Join(names, ", ")
}

func tellsOfSending(p *Policy) string {
	names := "the names of the files and the clear manifest hold a number and no period"
	if p.Cohort != nil {
		return "no drop leaves before the last window of the cohort has closed; " + names
	}
	return names
}

func tellsOfGroups(p *Policy) string {
	g := p.Protect
	switch {
	case g == nil:
		return "no control is asked for"
	case p.Standard == Aggregate:
		return fmt.Sprintf("people are counted, not rows; no count of 1 to %d shows, and none can be reckoned from %s; an audit proves it for each drop",
			g.Smallest-1, strings.ReplaceAll(page.Or(g.Against), "-", " "))
	}
	return fmt.Sprintf("at least %d people share %s, or they do not leave", g.K, page.And(g.Over))
}

func tellsOfPart2(p *Policy) string {
	switch {
	case !p.StaysProtected() && p.People.Part2LeaveOut:
		return "left out by the clinic's choice"
	case !p.StaysProtected():
		return "de-identified like all others; no row is marked as one"
	case !p.ReleasesPart2():
		return "withheld: the policy lets none leave"
	}
	var on []string
	if len(p.People.AcceptForms) > 0 {
		on = append(on, "with consent on an accepted form only ("+strings.Join(p.People.AcceptForms, ", ")+")")
	}
	if len(p.People.Grounds) > 0 {
		on = append(on, "on "+p.groundsInWords())
	}
	where := ", in files of their own that are always sent, empty or not"
	if p.Output.Part2Rows == "same-file" {
		where = ", among the other rows"
	}
	if p.Notices.Part2 != "" {
		where += ", with the notice " + p.Notices.Part2
	}
	return "leave " + strings.Join(on, ", or ") + where
}

func tellsOfLayout(p *Policy) string {
	layouts := p.Output.Layout
	if p.Output.Also != "" {
		layouts += " and " + p.Output.Also
	}
	answer := layouts + ": the names of the released fields, and nothing else"
	if p.Standard == Aggregate {
		answer = layouts + ": the names of the dimensions and what is shown, and nothing else"
	}
	if p.Layout != nil {
		answer = layouts + ": " + p.Layout.adds(p.ReleasesPart2())
	}
	if names := p.fieldsThat(doing(Constant)); names != "" {
		answer += "; the same in every row: " + names
	}
	if p.Output.Shuffle == "" && p.Standard != Aggregate {
		return answer + "; rows keep the order of the source"
	}
	return answer
}

func tellsOfRowKeys(p *Policy) string {
	if p.Output.RowKey {
		return "random, stable for this exchange, not derived from the person or the record"
	}
	return "none leave"
}

func tellsOfTotals(p *Policy) string {
	var parts []string
	for _, t := range p.Totals {
		switch t.Kind {
		case "sum":
			parts = append(parts, "sum of "+t.Column)
		case "rows-by":
			parts = append(parts, "rows by "+t.Column)
		default:
			parts = append(parts, t.Kind)
		}
	}
	if parts != nil {
		return strings.Join(parts, ", ") + "; over what leaves only, sealed in the recipient's book"
	}
	for _, t := range p.Tables {
		if t.Totals {
			parts = append(parts, "of the table "+t.Name+", under the same rules as its cells")
		}
	}
	return orElse(parts, "none are asked for")
}

func tellsOfLookUps(p *Policy) string {
	var parts, sets []string
	chosen := map[string]bool{}
	p.eachCondition(func(_, _ string, c *Condition) {
		for _, name := range strings.Split(c.ValueSet, ", ") {
			chosen[name] = true
		}
	})
	mapped := p.fieldsThat(doing(Map))
	for _, t := range p.Tables {
		for _, d := range t.By {
			if d.Coarsen != "" {
				mapped = strings.TrimPrefix(mapped+", "+t.Dataset+"."+d.Path, ", ")
			}
		}
	}
	for _, name := range sortedNames(p.ValueSets) {
		if chosen[name] {
			sets = append(sets, name)
		}
	}
	for says, by := range map[string]bool{": from the recipient's own roster": false, ": from a table of the clinic's, by another column of the row": true} {
		if looked := p.fieldsThat(func(f *Field) bool {
			input, _, ok := strings.Cut(f.From, ".")
			return ok && p.isInput(input) && by == (f.By != "")
		}); looked != "" {
			parts = append(parts, looked+says)
		}
	}
	slices.Sort(parts)
	if mapped != "" {
		parts = append(parts, mapped+": from codes to codes of an included file")
	}
	if names := p.fieldsThat(doing(CodeDisplay, KeepIn)); names != "" {
		parts = append(parts, names+": words of an included file and no others")
	}
	if sets != nil {
		parts = append(parts, "records are chosen by the codes of "+page.And(sets))
	}
	return orElse(parts, "none")
}

// orElse joins what there is to say, or says that there is nothing.
func orElse(parts []string, nothing string) string {
	if parts == nil {
		return nothing
	}
	return strings.Join(parts, "; ")
}
