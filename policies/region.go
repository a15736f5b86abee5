package policies

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Situation is one value for everything that a policy may ask about: a run, a
// person, a record. What it holds of a dimension that neither of two policies
// asks about means nothing (docs/comparing-policies.md).
type Situation struct {
	DecidedOn   extract.Day
	AsOf        extract.Day
	Dataset     string
	Dates       map[string]extract.Day   // by column or element, the record's own as "date" where no column has its role; NoDay: missing
	Index       map[string]extract.Day   // of the person, by cohort definition; NoDay: missing
	Values      map[string]string        // by column or element; "": missing
	Part2       bool                     // the record is under 42 CFR Part 2
	Directive   string                   // of the person: "", permit, deny, unsure; deny, then permit
	Part2Form   string                   // the form of a consent for Part 2; "": none
	OptedOut    bool                     // of registries
	Restriction string                   // towards the recipient: "", self-pay, agreed
	Minor       string                   // how the person's being a minor keeps the record back, in words; "": not at all
	Standing    map[string]string        // in each roster: none, at-service, in-period, ambiguous
	Age         map[string]time.Duration // of each protective input
	Gone        map[string]float64       // share of the rows of each protective input
	Rejected    float64                  // share of the extract's records
	GroupOld    int                      // people in the record's group, as the old policy forms it
	GroupNew    int
	Derivable   string // "", this-table, linked-tables, earlier-drops
	YearsBack   int    // the drop from which it is derivable
	AuditFailed bool

	minor minority // what Minor says
	asked []string // the dimensions that either policy asks about, in their order
}

func (s *Situation) clone() *Situation {
	c := *s
	c.Dates, c.Index, c.Values, c.Standing = maps.Clone(s.Dates), maps.Clone(s.Index), maps.Clone(s.Values), maps.Clone(s.Standing)
	c.Age, c.Gone, c.asked = maps.Clone(s.Age), maps.Clone(s.Gone), slices.Clone(s.asked)
	return &c
}

// dimension is one part of a situation on which policies may differ, apart from
// all others. Each value that they can tell from the others is tried once.
type dimension struct {
	name string
	each func(s *Situation, try func() bool) // until try gives true
}

// find sets the first value of the dimension that is wanted.
func (d *dimension) find(s *Situation, want func(*Situation) bool) (found bool) {
	d.each(s, func() bool {
		found = want(s)
		return found
	})
	return found
}

// over is a dimension with these values.
func over[T any](name string, values []T, set func(*Situation, T)) dimension {
	return dimension{name, func(s *Situation, try func() bool) {
		for _, v := range values {
			if set(s, v); try() {
				return
			}
		}
	}}
}

// view is what a policy says of one dataset, or of one part of a table: it
// admits the situations that it admits in every dimension, and lets its pieces
// out in them.
type view struct {
	*Policy
	name    string // of the dataset or table, for people
	dataset string
	only    []Condition
	pieces  []piece
	places  []string // key paths of the conditions
	about   about
	steps   Steps
	kind    string // of the recipient
	schema  *extract.Schema
	index   string // definition of the cohort's index date; "" without a cohort
	today   extract.Day
}

// about tells whom the records of a dataset concern.
type about uint8

const (
	aPerson about = iota
	nobody
	unsaid // a delimited dataset without a column that names the patient
)

// views are those of all datasets and tables of a policy, in its order.
func views(p *Policy, env Env) (all []*view) {
	for i := range p.Release {
		rel := &p.Release[i]
		v := newView(p, env, rel.Dataset, rel.Only)
		v.name, v.places = rel.Dataset, places(strictyaml.Join("release", rel.Dataset)+".only", rel.Only)
		v.pieces = v.released(rel)
		all = append(all, v)
	}
	for i := range p.Tables {
		t := &p.Tables[i]
		counted := newView(p, env, t.Dataset, t.Denominator)
		met := newView(p, env, t.Dataset, slices.Concat(t.Denominator, t.Numerator))
		counted.name, met.name = "table "+t.Name, "table "+t.Name+", numerator"
		path := strictyaml.Join("tables", t.Name)
		counted.places = places(path+".denominator", t.Denominator)
		met.places = append(counted.places, places(path+".numerator", t.Numerator)...)
		counted.pieces, met.pieces = counted.shown(t, "denominator"), met.shown(t, "numerator")
		for _, v := range []*view{counted, met} {
			if len(v.pieces) > 0 {
				all = append(all, v)
			}
		}
	}
	return all
}

// places are the key paths of conditions.
func places(at string, list []Condition) (paths []string) {
	for _, c := range list {
		paths = append(paths, strictyaml.Join(at, c.Path))
	}
	return paths
}

func newView(p *Policy, env Env, dataset string, only []Condition) *view {
	v := &view{Policy: p, dataset: dataset, kind: env.Recipients[p.Recipient], schema: env.Schemas[dataset], today: env.Today}
	v.steps = Applies(v.kind, p.Basis, p.Standard)
	if v.today == 0 {
		v.today = max(p.Agreement.From, 0)
	}
	switch {
	case v.schema != nil && find(v.schema, withRole(extract.RoleSubject)) == nil:
		v.about = unsaid
	case v.schema == nil && AboutNobody(dataset):
		v.about = nobody
	}
	for _, c := range only {
		c.Path = v.pathOf(c.Path)
		if col := v.column(c.Path); col != nil {
			c.settle(col.Class)
		}
		v.only = append(v.only, c)
	}
	if p.Cohort != nil {
		v.index = indexDefinition(p, env)
	}
	return v
}

// column is the column of a delimited dataset; nil when there is none.
func (v *view) column(name string) *extract.Field {
	if v.schema == nil {
		return nil
	}
	return find(v.schema, named(name))
}

// recordDate is the path of the date of the record itself.
const recordDate = "date"

// pathOf tells a condition's path in one way: a column by its name, a FHIR
// concept by its codes.
func (v *view) pathOf(path string) string {
	if v.schema != nil {
		if path == recordDate && v.column(path) == nil {
			return v.date()
		}
		return path
	}
	inside, last := resourceType(v.dataset), ""
	for _, step := range strings.Split(path, ".") {
		e := inside.Element(step)
		if e == nil {
			return path
		}
		inside, last = extract.TypeOf(e.Type), plainType(e.Type)
	}
	switch last {
	case "CodeableConcept":
		return path + ".coding.code"
	case "Coding":
		return path + ".code"
	case "Period":
		return path + ".start"
	}
	return path
}

// date is the path of the date of the record: the column with that role.
func (v *view) date() string {
	if v.schema == nil {
		return recordDate
	}
	if col := find(v.schema, withRole(extract.RoleDate)); col != nil {
		return col.Name
	}
	return recordDate
}

// dated tells whether records of the dataset are events rather than people.
func (v *view) dated() bool {
	if v.schema == nil {
		return v.dataset != "Patient"
	}
	return find(v.schema, withRole(extract.RoleDate)) != nil
}

// dimensions are those that either view asks about, the dates of a run first.
func dimensions(a, b *view) []dimension {
	list := []dimension{decidedOn(a, b)}
	if a.asksDates() || b.asksDates() {
		list = append(list, dates(a, b))
	}
	list = append(list, valuesAt(a, b)...)
	if a.asksPeople() || b.asksPeople() {
		list = append(list, people(a, b))
	}
	list = append(list, standings(a, b)...)
	list = append(list, guards(a, b)...)
	return append(list, control(a, b)...)
}

// admits tells whether a view admits a situation in one dimension; what it does
// not ask about it admits.
func (v *view) admits(dimension string, s *Situation) bool {
	what, which, _ := strings.Cut(dimension, ":")
	switch what {
	case dimDay:
		return v.inForce(s.DecidedOn)
	case dimDates:
		return v.inPeriods(s)
	case dimValue:
		return v.inValues(which, s.Values[which])
	case dimPeople:
		return v.permits(s)
	case dimStanding:
		return v.related(which, s.Standing[which])
	case dimAge:
		g, ok := v.Inputs[which]
		return !ok || s.Age[which] <= g.MaxAge
	case dimGone:
		g, ok := v.Inputs[which]
		return !ok || s.Gone[which] <= g.ShrinkLimit
	case dimRejected:
		return s.Rejected <= v.Tolerate.Rejected
	}
	return v.controlled(what, s)
}

// Admits tells whether a policy lets anything out about a record in a situation,
// the sizes of groups apart.
func Admits(p *Policy, env Env, s *Situation) bool {
	return slices.ContainsFunc(views(p, env), func(v *view) bool {
		refuses := func(d dimension) bool { return !v.admits(d.name, s) }
		return v.dataset == s.Dataset && !slices.ContainsFunc(dimensions(v, v), refuses)
	})
}

// Dimensions by name; those of columns, inputs and rosters go on with ":NAME".
const (
	dimDay       = "decided-on"
	dimDates     = "dates"
	dimValue     = "value"
	dimPeople    = "people"
	dimStanding  = "standing"
	dimAge       = "age"
	dimGone      = "gone"
	dimRejected  = "rejected"
	dimGroup     = "group"
	dimDerivable = "derivable"
	dimAudit     = "audit"
)
