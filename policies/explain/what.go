package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// which says which records of these people leave, or are counted.
func (e *explaining) which() {
	if len(e.Release) > 0 {
		e.section("Which of their records")
	}
	var all, clausesOfAll []string
	for _, rel := range e.Release {
		at := strictyaml.Join("release", rel.Dataset)
		if len(rel.Only) == 0 && policies.AboutNobody(rel.Dataset) {
			e.item("Of "+rel.Dataset+", those that a released record refers to.", at)
			continue
		} else if len(rel.Only) == 0 {
			all, clausesOfAll = append(all, rel.Dataset), append(clausesOfAll, at)
			continue
		}
		var clauses []string
		for _, c := range rel.Only {
			clauses = append(clauses, strictyaml.Join(at+".only", c.Path), at+".only.date")
		}
		e.item("Of "+rel.Dataset+", those where "+e.conditions(at+".only", rel.Only)+".", clauses...)
	}
	if len(all) > 0 {
		e.item("All of "+page.And(all)+".", clausesOfAll...)
	}
}

func (e *explaining) conditions(at string, list []policies.Condition) string {
	words := make([]string, len(list))
	for i, c := range list {
		words[i] = e.condition(strictyaml.Join(at, c.Path), c)
	}
	return page.And(words)
}

func (e *explaining) condition(clause string, c policies.Condition) string {
	switch {
	case c.Period != "":
		return c.Path + " " + periodWords(e, clause, c.Period)
	case c.Range != nil:
		return fmt.Sprintf("%s is from %v to %v", c.Path, c.Range.Min, c.Range.Max)
	case c.ValueSet != "":
		return c.Path + " is in " + page.Or(strings.Split(c.ValueSet, ", "))
	}
	return c.Path + " is " + page.Or(codeWords(c.Codes))
}

// leaves says field by field what leaves and why, or which counts.
func (e *explaining) leaves() {
	for i := range e.Release {
		rel := &e.Release[i]
		at := strictyaml.Join("release", rel.Dataset)
		e.section("What leaves of each record of " + rel.Dataset)
		if rel.Because != "" {
			e.say("The reason: "+sentence(rel.Because), at+".because")
		}
		if e.steps.MinimumNecessary {
			e.say("The law asks for the minimum necessary (45 CFR 164.502(b)), so each item has its reason, and what is not in this list stays here.", "basis", "standard")
		}
		e.fields(rel)
		if e.Output.RowKey {
			e.item("row_key: a random key, by which a row can later be corrected or voided.", "output.row_key")
		}
	}
	for i := range e.Tables {
		e.table(&e.Tables[i])
	}
	e.protect()
}

// fields says what leaves by each field. Those that leave as they are, for the
// reason of the dataset, stand in one sentence.
func (e *explaining) fields(rel *policies.Release) {
	var plain, clauses []string
	for i := range rel.Fields {
		f := &rel.Fields[i]
		at := strictyaml.Join(strictyaml.Join("release", rel.Dataset)+".fields", f.Name)
		own := f.Because != rel.Because
		if f.Do == policies.Keep && !own && f.From == f.Name {
			plain, clauses = append(plain, f.Name), append(clauses, at, at+".do")
			continue
		}
		text, about := e.field(f), []string{at + ".from", at + ".do", at + ".at", at + ".width", at + ".top", at + ".unit", at + ".to", at + ".range"}
		if own {
			text, about = text+". Why: "+sentence(f.Because), append(about, at+".because")
		} else {
			text += "."
		}
		e.item(text, append(about, at)...)
	}
	switch words := page.And(plain); len(plain) {
	case 0:
	case 1:
		e.item(words+", as it is.", clauses...)
	default:
		e.item(words+", as they are.", clauses...)
	}
}

// field says what leaves by one field.
func (e *explaining) field(f *policies.Field) string {
	from := f.From
	if roster, column, ok := strings.Cut(f.From, "."); ok && roster == e.People.Roster {
		return fmt.Sprintf("%s: the person's %s in the list %s", f.Name, column, roster)
	}
	if from == policies.FromIndex {
		from = "the index date"
	}
	itself := f.Name
	if f.From != f.Name {
		itself += ": " + from
	}
	switch f.Do {
	case policies.Keep:
		return itself + ", as it is"
	case policies.CodePerson:
		return f.Name + ": a random code in the place of " + from + ", the same for all records of one person; whose it is stays here (45 CFR 164.514(c))"
	case policies.Token:
		return f.Name + ": a code computed from " + from + " with a secret key of this exchange"
	case policies.Ordinal:
		return f.Name + ": a number that counts within the delivery, in the place of " + from
	case policies.Year:
		return f.Name + ": the year of " + from
	case policies.AgeBand:
		return fmt.Sprintf("%s: the age%s, in bands of %s; ages from %d are one group", f.Name, e.ageAt(f), count(f.Width, "year"), f.Top)
	case policies.Age:
		return f.Name + ": the age" + e.ageAt(f) + ", in years; ages from 90 are one group"
	case policies.ZIP3:
		return f.Name + ": the first three digits of " + from + ", and 000 where 20,000 people or fewer live"
	case policies.RelativeTime:
		return fmt.Sprintf("%s: the %s from the index date to %s", f.Name, f.Unit, from)
	case policies.ShiftDate:
		return fmt.Sprintf("%s, moved by a random number of days (up to %d), the same for all dates of one person", itself, f.Days)
	case policies.Round:
		return fmt.Sprintf("%s, rounded to multiples of %d", itself, f.Days)
	case policies.Map:
		return itself + ", in the groups of " + f.To
	case policies.Region:
		return fmt.Sprintf("%s: the %s of the United States in which %s lies", f.Name, f.To, from)
	case policies.Band:
		return itself + ", in the bands " + strings.Join(f.Bands, ", ")
	case policies.CodeDisplay:
		return itself + ", in the words of " + f.To
	case policies.KeepIn:
		return itself + ", as it is, where it is one of " + f.To + "; nothing elsewhere"
	}
	return f.Name + ": always " + f.To
}

func (e *explaining) ageAt(f *policies.Field) string {
	if f.At == policies.FromIndex {
		return " at the index date"
	}
	return " on the day as of which the delivery is made"
}

// codes says what the included lists of codes are.
func (e *explaining) codes() {
	if len(e.ValueSets) > 0 {
		e.section("The lists of codes it names")
	}
	for _, name := range slices.Sorted(maps.Keys(e.ValueSets)) {
		s, at := e.ValueSets[name], strictyaml.Join("include", name)
		if s == nil {
			continue // its file is still to be named: the draft says so
		}
		text, until := page.And(codeWords(s.Codes)), ", with no end"
		if s.Map != nil {
			text = mapWords(s.Map)
		}
		if s.To != extract.NoDay {
			until = " to " + e.day(at, s.To)
		}
		e.item(fmt.Sprintf("%s: %s. It holds %s. Source: %s. Licence: %s. In force from %s%s.",
			name, s.Title, text, s.Source, s.Licence, e.day(at, s.From), until), at)
	}
}

// mapWords say what becomes of each code, in the order of what it becomes.
func mapWords(m map[string]string) string {
	var words []string
	for _, from := range slices.Sorted(maps.Keys(m)) {
		words = append(words, from+" as "+m[from])
	}
	return page.And(words)
}

// stays says what never leaves.
func (e *explaining) stays() {
	e.section("What never leaves")
	var trees, clauses, tables []string
	for i := range e.Release {
		rel := &e.Release[i]
		at := strictyaml.Join("release", rel.Dataset)
		schema := e.env.Schemas[rel.Dataset]
		if schema == nil {
			trees, clauses = append(trees, rel.Dataset), append(clauses, at)
			continue
		}
		tables = append(tables, rel.Dataset)
		if rest := unreleased(schema, rel); len(rest) > 0 {
			e.item("Of "+rel.Dataset+": "+page.And(rest)+".", at+".fields")
		}
	}
	if len(trees) > 0 {
		e.item("Of "+page.And(trees)+": whatever is not named above. Inside what is named, texts, notes, attachments and unknown extensions stay here too, unless they are named by themselves.", clauses...)
	}
	if gone := e.AbsentIdentifiers(); len(gone) > 0 {
		text := "Of the identifiers that 45 CFR 164.514(b)(2)(i) names: " + page.And(gone) + "."
		if len(tables) > 0 {
			text += " This holds as far as the columns of " + page.And(tables) + " hold what their schema says."
		}
		e.item(text, "release", "standard")
	}
	if len(e.Tables) > 0 {
		e.item("Every single record: nothing leaves but counts of "+page.And(e.kinds())+".", "tables")
	} else {
		e.item("Every record of another kind than "+page.And(e.kinds())+".", "release")
	}
	e.item("Psychotherapy notes, and counseling notes of substance use programs.", everyPolicy)
	e.item("What was withheld, why, and even how much: the recipient does not learn of it.", everyPolicy)
}

// kinds are the datasets that the policy names.
func (e *explaining) kinds() (names []string) {
	for _, rel := range e.Release {
		names = append(names, rel.Dataset)
	}
	for _, t := range e.Tables {
		names = append(names, t.Dataset)
	}
	return names
}

func unreleased(schema *extract.Schema, rel *policies.Release) (names []string) {
	for _, c := range schema.Fields {
		if !slices.ContainsFunc(rel.Fields, func(f policies.Field) bool { return f.From == c.Name }) {
			names = append(names, c.Name)
		}
	}
	return names
}
