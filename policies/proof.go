package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
)

// Proof shows, identifier by identifier, what becomes of it under a policy, and
// what else could tell of a person. As JSON its keys stay what they are.
type Proof struct {
	Policy   string     `json:"policy"`
	Version  int        `json:"version"`
	Standard Standard   `json:"standard"`
	SHA256   string     `json:"sha256"`           // of the policy file
	Law      string     `json:"law"`              // that names the identifiers
	Rows     []ProofRow `json:"identifiers"`      // in the order of the law
	Beside   []Beside   `json:"what_else"`        // what tells of people beside the fields
	RestsOn  []Support  `json:"what_it_rests_on"` // the proof holds as far as these do
}

// ProofRow is one identifier, or a kind of field that may hold several.
type ProofRow struct {
	Paragraph string     `json:"paragraph"` // such as (A), (xvi), (A)-(R); "" for what the law lets stay
	Title     string     `json:"title"`
	Handled   []Handling `json:"handled"` // empty: cannot occur
}

// Handling is what happens to the fields of one dataset.
type Handling struct {
	Dataset   string   `json:"dataset"`
	Fields    []string `json:"fields"` // released ones by their name in the policy, dropped ones by column or first element
	Treatment string   `json:"treatment"`
}

// Beside is what could tell of a person without being a field.
type Beside struct {
	Subject string `json:"subject"`
	Law     string `json:"law"`
	Answer  string `json:"answer"`
}

// Support is something that the proof takes from people, and until when.
type Support struct {
	Text  string `json:"text"`
	Until string `json:"until,omitempty"` // a date, the last on which it holds
}

// prove makes the proof of a policy that Check has found right.
func prove(p *Policy, env Env) *Proof {
	f := forms[p.judgedBy()]
	proof := &Proof{Policy: p.Name, Version: p.Version, Standard: p.Standard, SHA256: p.SHA256,
		Law: f.law, Beside: besides(p), RestsOn: supports(p, env)}
	releases := slices.Concat(p.Release, p.counted())
	places := map[string][]Leaf{}
	for _, rel := range releases {
		places[rel.Dataset] = occurrences(rel.Dataset, env)
	}
	for _, par := range slices.Concat(f.names, f.stays) {
		row := ProofRow{Paragraph: par.letter, Title: par.title}
		for i := range releases {
			row.Handled = append(row.Handled, handle(&releases[i], par.classes, places[releases[i].Dataset])...)
		}
		proof.Rows = append(proof.Rows, row)
	}
	return proof
}

// counted stands for keeping a dimension of a table: people are counted by it.
const counted Transform = "counted"

// counted is what the tables let out, as a release of each dataset.
func (p *Policy) counted() []Release {
	var list []Release
	for _, t := range p.Tables {
		i := slices.IndexFunc(list, func(r Release) bool { return r.Dataset == t.Dataset })
		if i < 0 {
			i, list = len(list), append(list, Release{Dataset: t.Dataset})
		}
		for _, d := range t.By {
			list[i].Fields = append(list[i].Fields, Field{Name: d.Path, From: d.Path, Do: counted, Class: d.Class, Because: d.told()})
		}
	}
	return list
}

// told says what becomes of a dimension.
func (d Dimension) told() string {
	switch d.does() {
	case AgeBand:
		return "people are counted by it in the bands " + strings.Join(d.Bands, ", ")
	case Map:
		return "people are counted by it, coarsened by " + d.Coarsen
	}
	return "people are counted by it"
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
	if f.Leaves == nil && slices.Contains(classes, f.Class) && f.Do != Constant {
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
	case Token:
		return "becomes a token keyed by a secret of this recipient and epoch, which the clinic keeps"
	case Ordinal:
		return "becomes a number within the drop"
	case Year:
		if f.Class == extract.BirthDate {
			return "becomes its year; ages from 90 are one group"
		}
		return "becomes its year"
	case ShiftDate:
		return fmt.Sprintf("is shifted by up to %d days, by the same for all dates of a person", f.Days)
	case AgeBand:
		return fmt.Sprintf("becomes an age band of %d years up to %d+", f.Width, f.Top)
	case Age:
		return "becomes an age in years; ages from 90 are one group"
	case ZIP3:
		return "becomes three digits, 000 where 20,000 people or fewer live"
	case Region:
		return "becomes the " + f.To + " of the Census Bureau, which is larger than a state"
	case CodeDisplay:
		return "becomes the words that " + f.To + " has for its code"
	case KeepIn:
		return "leaves only where it is one of the words of " + f.To
	case RelativeTime:
		return "becomes " + f.Unit + " since the index date"
	}
	return f.Because // counted
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

// supports are what the proof rests on.
func supports(p *Policy, env Env) []Support {
	var list []Support
	add := func(until extract.Day, format string, args ...any) {
		s := Support{Text: fmt.Sprintf(format, args...)}
		if until != extract.NoDay {
			s.Until = until.String()
		}
		list = append(list, s)
	}
	for _, rel := range slices.Concat(p.Release, p.counted()) {
		if schema, delimited := env.Schemas[rel.Dataset]; delimited {
			add(extract.NoDay, "%s: holds for the classes that its schema declares for %d columns.", rel.Dataset, len(schema.Fields))
		} else {
			add(extract.NoDay, "%s: holds for FHIR R4 4.0.1 as defined; members outside the definition do not leave.", rel.Dataset)
		}
	}
	for _, name := range sortedNames(p.ValueSets) {
		set := p.ValueSets[name]
		add(set.To, "The value set %s lists what its title says: %s (%s).", name, set.Title, set.Source)
	}
	if p.StaysProtected() {
		add(extract.NoDay, "The release is protected health information, under %s.", p.Basis)
	}
	if a := p.Attest; a != nil {
		add(a.ReviewBy, "No actual knowledge (45 CFR 164.514(b)(2)(ii)): stated by %s on %s.", a.By, a.On)
	}
	if c := p.Certificate; c != nil {
		add(c.Expires, "The risk is very small (45 CFR 164.514(b)(1)): determined by %s on %s, by %s, under these conditions: %s.",
			c.Expert, c.On, c.Method, strings.Join(c.Conditions, "; "))
	}
	if a := p.Agreement; a.ID != "" {
		until, open := a.To, ""
		if until == extract.NoDay {
			until, open = a.ReviewBy, ", open, to be reviewed"
		}
		add(until, "The agreement %s (%s) is in force from %s%s.", a.ID, a.Kind, a.From, open)
	}
	return list
}

// heading says which law the identifiers are taken from.
func (p *Proof) heading() string {
	of := "identifiers of " + p.Law
	switch p.Standard {
	case Identified:
		return of + ", and what becomes of each: the release is identified"
	case Aggregate:
		return of + ", and what becomes of each: people are counted"
	}
	return of + ", and what becomes of each"
}

// String prints the proof as a table for people.
func (p *Proof) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "policy %s, version %d, standard %s\nSHA-256 %s\n%s\n\n", p.Policy, p.Version, p.Standard, p.SHA256, p.heading())
	for _, row := range p.Rows {
		head := strings.TrimSpace(row.Paragraph + " " + row.Title)
		if len(row.Handled) == 0 {
			b.WriteString(page.Wrap(head+": cannot occur in what is released", "", "     "))
			continue
		}
		b.WriteString(head + "\n")
		for _, h := range row.Handled {
			b.WriteString(page.Wrap(h.Dataset+": "+strings.Join(h.Fields, ", "), "  ", "    "))
			b.WriteString(page.Wrap(h.Treatment, "      ", "      "))
		}
	}
	b.WriteString("\nWhat else could tell\n")
	for _, s := range p.Beside {
		b.WriteString(page.Wrap(s.Subject+" ("+s.Law+"): "+s.Answer, "  ", "    "))
	}
	b.WriteString("\nWhat the proof rests on\n")
	for _, s := range p.RestsOn {
		b.WriteString(page.Wrap(s.Text+s.until(), "  ", "    "))
	}
	return b.String()
}

// until says when what the proof rests on ends.
func (s Support) until() string {
	if s.Until == "" {
		return ""
	}
	return " It holds until " + s.Until + "."
}
