package policies

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// ErrPlaceholder is the cause of a mistake that is a value still to be filled
// in. A policy with placeholders is refused, whatever else is right about it.
var ErrPlaceholder = strictyaml.ErrPlaceholder

// Env is what a policy is checked against.
type Env struct {
	Schemas    map[string]*extract.Schema // of the delimited datasets, by name
	Inputs     map[string]InputInfo       // protective inputs, by name
	Recipients map[string]string          // kind of each recipient, by name
	Demo       bool                       // sample texts may stand for an officer's
	Today      extract.Day
	Unbuilt    bool // what this version cannot carry out is let pass: to explain, prove and compare, never to run

	// Alone is for an engine that stands alone: only what a policy releases is
	// verified, neither recipient, protective inputs, attestations nor today's date
	// are asked for, and datasets without a schema here are not looked at. What
	// passes is fit to be compiled, and no release.
	Alone bool
}

// InputInfo tells about a protective input.
type InputInfo struct {
	Kind    string          // roster, consents, restrictions, programs, table
	Columns []string        // of a roster, those that may be looked up
	Schema  *extract.Schema // of a table; its first column is what is looked up
}

// memberNumber is the roster column that holds the health plan's own number.
const memberNumber = "member_id"

// checking is one check of a policy against an environment.
type checking struct {
	*Policy
	mistakes
	env Env
}

// Check verifies a policy against the schemas, inputs and recipients it will
// meet, fills in what only they tell (the class of each delimited field, the
// column it comes from), and proves what its standard promises. The error is a
// *strictyaml.Errors with every mistake; with errors.Is(err, ErrPlaceholder)
// when values are still to be filled in. Check may be called again.
func Check(p *Policy, env Env) (*Proof, error) {
	c := &checking{Policy: p, env: env, mistakes: mistakes{source: p.source, errs: &strictyaml.Errors{File: p.File}, broken: map[string]bool{}}}
	if p.source != nil {
		c.errs = p.source.NewErrors()
	}
	c.everything()
	if err := c.errs.Err(); err != nil {
		return nil, err
	}
	return prove(p, env), nil
}

// everything notes all mistakes that the environment shows. Of a policy of which
// a part could not be read it judges the rest.
func (c *checking) everything() {
	open := append(c.mistakes.source.Placeholders(), c.unfilled...)
	if !c.env.Demo {
		open = append(open, c.samples...)
	}
	if !c.env.Unbuilt {
		open = append(open, c.Unbuilt()...)
	}
	for _, m := range open {
		c.note(m)
	}
	if c.Standard == "" { // what it asks, nobody knows yet
		c.add("standard", "write standard: with one of the five", "the policy has no standard")
	} else if !c.env.Alone {
		c.obey(c.add)
	}
	if !c.env.Alone {
		c.recipient()
		c.inputs()
		c.inForce()
		c.reaches()
		c.part2Grounds()
	}
	for i := range c.Release {
		if !c.broken["release"] {
			c.dataset(&c.Release[i])
		}
	}
	for i := range c.Tables {
		c.table(&c.Tables[i])
	}
	c.dimensions()
	c.ages()
	c.links()
	c.changes()
	c.laidOut()
	if !c.env.Alone && !slices.ContainsFunc(c.errs.List, wrong) {
		contradictions(c.Policy, c.env, c.add)
	}
}

// wrong tells whether a mistake is one on every day and in every version.
func wrong(m strictyaml.Mistake) bool {
	return m.Cause != ErrNotInForce && m.Cause != ErrNotInThisVersion
}

func (c *checking) recipient() {
	if _, ok := c.env.Recipients[c.Recipient]; !ok {
		c.add("recipient", strictyaml.DidYouMean(c.Recipient, sortedNames(c.env.Recipients)), "%q is no recipient of postern.yaml", c.Recipient)
	}
}

func (c *checking) inputs() {
	kinds := map[string]bool{}
	for _, name := range sortedNames(c.Inputs) {
		info, ok := c.env.Inputs[name]
		if !ok {
			c.add(strictyaml.Join("inputs", name), strictyaml.DidYouMean(name, sortedNames(c.env.Inputs)), "%q is no protective input of postern.yaml", name)
			continue
		}
		kinds[info.Kind] = true
	}
	c.needed(kinds)
	if info, ok := c.env.Inputs[c.People.Roster]; ok && info.Kind != "roster" {
		c.add("people.relationship.roster", "name an input of kind roster", "%q is of kind %s", c.People.Roster, info.Kind)
	}
}

func (c *checking) dataset(rel *Release) {
	path := strictyaml.Join("release", rel.Dataset)
	schema, delimited := c.env.Schemas[rel.Dataset]
	typ := resourceType(rel.Dataset)
	switch {
	case delimited && typ != nil:
		c.add(path, "give the delimited dataset another name", "%s is a FHIR resource type and a delimited dataset", rel.Dataset)
		return
	case delimited:
		c.delimited(path, rel, schema)
	case typ == nil && c.env.Alone:
		return
	case typ != nil:
		for i := range rel.Fields {
			if f := &rel.Fields[i]; f.OfPerson() {
				c.field(strictyaml.Join(path+".fields", f.Name), f, &extract.Schema{})
			}
		}
	default:
		known := append(sortedNames(c.env.Schemas), extract.ResourceTypes()...)
		c.add(path, strictyaml.DidYouMean(rel.Dataset, known), "%q is neither a delimited dataset nor a FHIR R4 resource type", rel.Dataset)
		return
	}
	for i, t := range c.Totals {
		if f := rel.Field(t.Column); f != nil {
			c.total(fmt.Sprintf("totals[%d]", i), t, f)
		}
	}
	c.dates(path, rel, typ, schema)
}

func find(schema *extract.Schema, fits func(*extract.Field) bool) *extract.Field {
	if i := slices.IndexFunc(schema.Fields, func(f extract.Field) bool { return fits(&f) }); i >= 0 {
		return &schema.Fields[i]
	}
	return nil
}

func named(name string) func(*extract.Field) bool {
	return func(c *extract.Field) bool { return c.Name == name }
}

func withRole(role extract.Role) func(*extract.Field) bool {
	return func(c *extract.Field) bool { return c.Role == role }
}

func withClass(class extract.Class) func(*extract.Field) bool {
	return func(c *extract.Field) bool { return c.Class == class }
}

func (c *checking) delimited(path string, rel *Release, schema *extract.Schema) {
	if c.Output.Layout == "ndjson" {
		c.add("output.layout", "write layout: csv", "a delimited dataset (%s) leaves as csv", rel.Dataset)
	}
	for i := range rel.Fields {
		f := &rel.Fields[i]
		c.field(strictyaml.Join(path+".fields", f.Name), f, schema)
	}
	for i := range rel.Only {
		c.condition(strictyaml.Join(path+".only", rel.Only[i].Path), &rel.Only[i], schema)
	}
	if c.Cohort != nil && c.Cohort.Dataset == rel.Dataset && find(schema, withRole(extract.RoleDate)) == nil {
		c.add("cohort.index", "give the date column the role date in its schema", "%s has no date, so nobody has an index date", rel.Dataset)
	}
	c.providers(path, schema)
}

// providers refuses rows of which a column names a provider without the role,
// where the clinic has declared Part 2 programs: whether one of them made a row is
// told by the columns of that role (42 CFR 2.11), and this one might name it.
func (c *checking) providers(path string, schema *extract.Schema) {
	declared := false // and asked about
	for _, in := range c.env.Inputs {
		declared = declared || in.Kind == "programs" && (c.StaysProtected() || c.People.Part2LeaveOut)
	}
	unseen := find(schema, func(f *extract.Field) bool { return f.Class == extract.ProviderKey && f.Role != extract.RoleProvider })
	if declared && unseen != nil {
		c.add(path, "give it the role provider in the schema", "the column %s names a provider without the role, so rows of a Part 2 program would not be known as such", unseen.Name)
	}
}

// total refuses sums of what is no number, and counts by what differs from
// person to person: the book would list them.
func (c *checking) total(path string, t Total, f *Field) {
	switch {
	case t.Kind == "sum" && (f.Class != extract.Number || f.Do != Keep):
		c.add(path, "take the rows", "%s holds no numbers, so it has no sum", t.Column)
	case f.Class == extract.Unclassed && f.Leaves != nil:
		c.add(path, "release one value of it by its path, and name that", "%s is an element, and a total is over one value", t.Column)
	case t.Kind == "rows-by" && (identifies(f.Class) || f.Class == extract.Link) && slices.Contains([]Transform{Keep, CodePerson, Token, Ordinal}, f.Do):
		c.add(path, "count rows by a code, a year or a band", "%s is a %s: counting by it would list people", t.Column, f.Class)
	}
}

// field finds the column of a field and holds its class against the standard.
func (c *checking) field(path string, f *Field, schema *extract.Schema) {
	if f.Do == Constant {
		f.Class = extract.Code // the policy's own word, the same in every row
		return
	}
	if f.From == FromIndex {
		f.Class = extract.Date
		if find(schema, named(FromIndex)) != nil {
			c.add(path+".from", "rename the column in the schema", "a column is called index, which here means the cohort's index date")
		}
		return
	}
	input, looked, dotted := strings.Cut(f.From, ".")
	if _, isInput := c.Inputs[input]; dotted && isInput && f.By != "" {
		c.lookUpBy(path, f, c.env.Inputs[input], looked, schema)
		return
	}
	if dotted && input == c.People.Roster {
		if find(schema, named(f.From)) != nil {
			c.add(path+".from", "rename the column in the schema", "a column is called %s, which here means the roster's", f.From)
		}
		c.lookUp(path, f, c.env.Inputs[input], looked)
		return
	}
	col := find(schema, named(f.From))
	if col == nil && f.From == f.Name {
		col = impliedColumn(f, schema)
	}
	if col == nil && f.From == f.Name && (f.Do == AgeBand || f.Do == Age) {
		f.Class = extract.BirthDate // the person's own, from the index pass
		return
	}
	if col == nil && f.From == f.Name && c.said(path+".do") {
		return // which column it implies, nobody knows yet
	}
	if col == nil {
		if f.From != f.Name {
			path += ".from"
		}
		hint := strictyaml.DidYouMean(f.From, schema.Names())
		if strictyaml.Nearest(f.From, schema.Names()) == "" && f.From == f.Name {
			hint += "; name the source with from:"
		}
		c.add(path, hint, "there is no column %q", f.From)
		return
	}
	f.From, f.Class = col.Name, col.Class
	if c.Standard == "" {
		return // nor what may leave
	}
	why, instead := refusal(c.Standard, col.Class, f.Do)
	if why == "" && f.Do == CodePerson && col.Role != extract.RoleSubject {
		why, instead = "do: code stands for the patient, and this does not name the patient", "take it from the column of role subject"
	}
	if why != "" {
		c.add(path+".do", instead, "%s", why)
	}
}

// impliedColumn is the one that a transform speaks of by itself: a code is the
// patient's, an age is taken from the birth date.
func impliedColumn(f *Field, schema *extract.Schema) *extract.Field {
	switch f.Do {
	case CodePerson:
		return find(schema, withRole(extract.RoleSubject))
	case AgeBand, Age:
		return find(schema, withClass(extract.BirthDate))
	}
	return nil
}

func (c *checking) lookUp(path string, f *Field, roster InputInfo, name string) {
	f.Class = extract.OtherUnique
	if name == memberNumber {
		f.Class = extract.MemberNumber
	}
	if !c.env.Alone && !slices.Contains(roster.Columns, name) {
		c.add(path+".from", strictyaml.DidYouMean(name, roster.Columns), "the roster %s has no column %q", c.People.Roster, name)
	}
}

// linking are the classes of numbers that only say which person, record or
// provider a row is about: what a table holds of those has a class of its own.
var linking = []extract.Class{extract.SubjectKey, extract.RecordKey, extract.Link, extract.ProviderKey}

// lookUpBy finds the column of a table, and that of the row which is looked up in
// its first.
func (c *checking) lookUpBy(path string, f *Field, table InputInfo, name string, schema *extract.Schema) {
	if by := find(schema, named(f.By)); by == nil {
		c.add(path+".by", strictyaml.DidYouMean(f.By, schema.Names()), "there is no column %q", f.By)
	} else if letter := letterOf(forms[c.Standard].names, by.Class); letter != "" && !slices.Contains(linking, by.Class) {
		c.add(path+".by", "look it up by a code or by the number of a record or provider", "what is looked up by %s tells of it (%s%s)", a(by.Class), forms[c.Standard].law, letter)
	}
	if f.Class = extract.OtherUnique; c.env.Alone {
		return // which columns it has, nobody can tell; the strictest class holds
	}
	if table.Schema == nil {
		c.add(path+".from", "name an input of kind table, or remove by:", "%s is no table", f.From)
		return
	}
	columns := table.Schema.Fields[1:]
	i := slices.IndexFunc(columns, func(col extract.Field) bool { return col.Name == name })
	if i < 0 {
		c.add(path+".from", strictyaml.DidYouMean(name, table.Schema.Names()[1:]), "the table has no column %q beside its key", name)
		return
	}
	f.Class = columns[i].Class
	if why, instead := refusal(c.Standard, f.Class, f.Do); why != "" && c.Standard != "" {
		c.add(path+".from", instead, "%s", why)
	}
}

func (c *checking) condition(path string, only *Condition, schema *extract.Schema) {
	col := find(schema, named(only.Path))
	if col == nil && only.Path == "date" {
		col = find(schema, withRole(extract.RoleDate))
	}
	if col == nil {
		c.add(path, strictyaml.DidYouMean(only.Path, schema.Names()), "there is no column %q", only.Path)
		return
	}
	only.Path = col.Name
	if why, hint := only.settled(c.judgedBy(), col.Class); why != "" {
		c.add(path, hint, "%s", why)
	}
}

func sortedNames[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
