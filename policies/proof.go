package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// Proof shows, identifier by identifier, what becomes of it under a policy.
type Proof struct {
	Policy   string
	Version  int
	Standard Standard
	SHA256   string // of the policy file
	Rows     []ProofRow
	Notes    []string // what the proof rests on
}

// ProofRow is one identifier of 45 CFR 164.514(b)(2)(i), or a kind of field
// that may hold any of them.
type ProofRow struct {
	Paragraph string // (A) to (R); "" for fields that may hold any
	Title     string
	Handled   []Handling
}

// Handling is what happens to the fields of one dataset.
type Handling struct {
	Dataset   string
	Fields    []string // released ones by their name in the policy, dropped ones by column or first element
	Treatment string   // dropped, or what is done to them
}

// prove makes the proof of a policy that Check has found right.
func prove(p *Policy, env Env) *Proof {
	proof := &Proof{Policy: p.Name, Version: p.Version, Standard: p.Standard, SHA256: p.SHA256, Notes: notes(p, env)}
	places := map[string][]Leaf{}
	for _, rel := range p.Release {
		places[rel.Dataset] = occurrences(rel.Dataset, env)
	}
	for _, par := range paragraphs {
		row := ProofRow{Paragraph: par.letter, Title: par.title}
		for i := range p.Release {
			row.Handled = append(row.Handled, handle(&p.Release[i], par.classes, places[p.Release[i].Dataset])...)
		}
		proof.Rows = append(proof.Rows, row)
	}
	return proof
}

func notes(p *Policy, env Env) []string {
	var list []string
	for _, rel := range p.Release {
		if schema, ok := env.Schemas[rel.Dataset]; ok {
			list = append(list, fmt.Sprintf("%s: holds for the classes that its schema declares for %d columns.", rel.Dataset, len(schema.Fields)))
		} else {
			list = append(list, rel.Dataset+": holds for FHIR R4 4.0.1 as defined; members outside the definition do not leave.")
		}
	}
	switch {
	case p.Standard == Identified:
		list = append(list, "The release is protected health information, under "+p.Basis+".")
	case p.Attest != nil:
		list = append(list, fmt.Sprintf("No actual knowledge (45 CFR 164.514(b)(2)(ii)): stated by %s on %s, to be reviewed by %s.", p.Attest.By, p.Attest.On, p.Attest.ReviewBy))
	}
	if p.Standard == SafeHarbor && p.Cohort != nil {
		list = append(list, fmt.Sprintf("A closed cohort by index year (%s), followed for %d days, released when every window has closed.", p.Cohort.IndexYear, p.Cohort.FollowDays))
	}
	return list
}

// handle tells what becomes of the classes of one paragraph in one dataset.
func handle(rel *Release, classes []extract.Class, places []Leaf) []Handling {
	var list []Handling
	released := map[string]bool{}
	note := func(name, treatment string) {
		if i := slices.IndexFunc(list, func(h Handling) bool { return h.Treatment == treatment }); i >= 0 {
			if !slices.Contains(list[i].Fields, name) {
				list[i].Fields = append(list[i].Fields, name)
			}
			return
		}
		list = append(list, Handling{rel.Dataset, []string{name}, treatment})
	}
	for _, f := range rel.Fields {
		for _, path := range releasedPaths(&f, classes) {
			released[path] = true
			note(f.Name, treatment(&f))
		}
	}
	partly := map[string]bool{}
	for _, f := range rel.Fields {
		for _, l := range f.Leaves {
			partly[l.Path[0]] = len(l.Path) > 1
		}
	}
	for _, o := range places {
		if slices.Contains(classes, o.Class) && !released[strings.Join(o.Path, ".")] {
			first := o.Path[0] // what a person would look for
			if partly[first] {
				first = "rest of " + first
			}
			note(first, "dropped")
		}
	}
	return list
}

// releasedPaths are the columns or leaves of a field that have one of the classes.
func releasedPaths(f *Field, classes []extract.Class) []string {
	var paths []string
	for _, l := range f.Leaves {
		if slices.Contains(classes, l.Class) {
			paths = append(paths, strings.Join(l.Path, "."))
		}
	}
	if f.Leaves == nil && slices.Contains(classes, f.Class) {
		paths = append(paths, f.From)
	}
	return paths
}

func treatment(f *Field) string {
	switch f.Do {
	case Keep:
		return "leaves as it is (" + f.Because + ")"
	case CodePerson:
		return "becomes a random code of the person, kept in the clinic's crosswalk (164.514(c))"
	case Year:
		if f.Class == extract.BirthDate {
			return "becomes its year; ages from 90 are one group"
		}
		return "becomes its year"
	case AgeBand:
		return fmt.Sprintf("becomes an age band of %d years up to %d+", f.Width, f.Top)
	case ZIP3:
		return "becomes three digits, 000 where 20,000 people or fewer live"
	case RelativeTime:
		return "becomes " + f.Unit + " since the index date"
	}
	return string(f.Do)
}

// occurrences are all places of a dataset where a value can stand: its columns,
// or the leaves of its elements.
func occurrences(dataset string, env Env) (list []Leaf) {
	if schema, ok := env.Schemas[dataset]; ok {
		for _, c := range schema.Fields {
			list = append(list, Leaf{[]string{c.Name}, c.Class})
		}
	} else if typ := resourceType(dataset); typ != nil {
		for i := range typ.Elements {
			list = leavesOf(list, &typ.Elements[i], nil, map[string]int{}, false)
		}
	}
	return list
}

// String prints the proof as a table for people.
func (p *Proof) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s, version %d, standard %s\nSHA-256 %s\n", p.Policy, p.Version, p.Standard, p.SHA256)
	if p.Standard == SafeHarbor {
		b.WriteString("45 CFR 164.514(b)(2)(i): identifiers, and what becomes of each\n\n")
	} else {
		b.WriteString("identifiers of 45 CFR 164.514(b)(2)(i), and what becomes of each\n\n")
	}
	for _, row := range p.Rows {
		fmt.Fprintf(&b, "%-4s %s\n", row.Paragraph, row.Title)
		if len(row.Handled) == 0 {
			b.WriteString("       cannot occur in what is released\n")
		}
		for _, h := range row.Handled {
			fmt.Fprintf(&b, "       %s: %s\n         %s\n", h.Dataset, strings.Join(h.Fields, ", "), h.Treatment)
		}
	}
	b.WriteString("\n")
	for _, n := range p.Notes {
		b.WriteString(n + "\n")
	}
	return b.String()
}
