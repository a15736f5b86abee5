package build

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// gateSpec tells the gate, from the policy alone and not from the engine's
// plan, what may stand at each position of a dataset's part.
func (r *Run) gateSpec(release *policies.Release) (gate.Spec, error) {
	spec := gate.Spec{Format: gate.NDJSON, ExactDates: r.showsDates(), RecordNumbers: r.Numbers}
	schema := r.Schemas[release.Dataset]
	switch {
	case r.Policy.Layout != nil:
		return spec, r.laidPositions(release, schema, &spec)
	case schema == nil:
		return spec, r.fhirPositions(release, &spec)
	}
	spec.Format = gate.CSV
	for i := range release.Fields {
		f := &release.Fields[i]
		g, err := r.cellGrammar(release, f, schema)
		if err != nil {
			return spec, fmt.Errorf("field %s: %w", f.Name, err)
		}
		spec.Positions = append(spec.Positions, gate.Position{Path: f.Name, Grammar: g})
	}
	if r.Policy.Output.RowKey {
		spec.Positions = append(spec.Positions, gate.Position{Path: "row_key", Grammar: gate.RowKey(deid.CodeLen)})
	}
	return spec, nil
}

// showsDates tells whether dates finer than a year may leave.
func (r *Run) showsDates() bool {
	return r.Policy.Standard == policies.Identified || r.Policy.Standard == policies.LimitedDataSet
}

func (r *Run) cellGrammar(release *policies.Release, f *policies.Field, schema *extract.Schema) (gate.Grammar, error) {
	if f.Do == policies.Keep {
		for i := 0; schema != nil && i < len(schema.Fields); i++ { // a person's field of a resource has none
			column := &schema.Fields[i]
			if column.Name != f.From {
				continue
			}
			if values := wanted(release, column.Name); len(values) > 0 {
				return gate.Closed(values...), nil
			}
			if values := column.Enum(); len(values) > 0 {
				return gate.Closed(values...), nil
			}
			if column.Class == extract.Boolean && column.Type == extract.TypeBoolean { // by the words of the schema
				return gate.Closed(slices.Concat(column.True, column.False)...), nil
			}
			if column.Class == extract.Date && column.Type == extract.TypeDate && r.showsDates() {
				return gate.Date(), nil
			}
			return r.keptGrammar(column.Class, column.Type == extract.TypeInteger)
		}
		input, column, ok := strings.Cut(f.From, ".")
		if table := r.LookUps[input]; f.By != "" && table != nil {
			if r.Policy.Standard != policies.Identified && f.Class != extract.ProviderKey {
				return r.keptGrammar(f.Class, false)
			}
			return gate.Listed(table.values(column)...), nil
		}
		if r.Policy.Standard != policies.Identified {
			return gate.Grammar{}, fmt.Errorf("a look-up cannot leave under %s", r.Policy.Standard)
		}
		if ok && column != "member_id" {
			return gate.Any(), nil // whatever else the roster tells of a member: all of it is scanned
		}
		return gate.OwnIdentifier(gate.MemberNumber), nil
	}
	return r.transformed(f)
}

// wanted is the closed set of values that `only` lets a field have.
func wanted(release *policies.Release, path string) []string {
	for _, c := range release.Only {
		if c.Path == path && c.Period == "" {
			codes, _ := c.Codes.Single()
			return codes
		}
	}
	return nil
}

// transformed is the grammar of what a transform gives.
func (r *Run) transformed(f *policies.Field) (gate.Grammar, error) {
	last := r.AsOf.Year()
	switch f.Do {
	case policies.Year:
		first := 1
		if !r.showsDates() {
			first = last - 90
		}
		return gate.Year(first, last+1), nil
	case policies.AgeBand:
		return gate.AgeBand(f.Width, f.Top), nil
	case policies.ZIP3:
		return gate.ZIP3(), nil
	case policies.RelativeTime:
		most := 36525
		if c := r.Policy.Cohort; c != nil {
			most = c.FollowDays
		}
		if f.Unit == "weeks" {
			most /= 7
		}
		if r.Policy.Cohort != nil {
			return gate.Interval(0, most), nil
		}
		return gate.Interval(-most, most), nil
	case policies.CodePerson:
		return gate.OwnCode(deid.CodeLen), nil
	case policies.Token:
		return gate.OwnCode(deid.CodeLen), nil
	case policies.ShiftDate:
		return gate.Day(len(f.Leaves) > 0), nil
	case policies.Age:
		return gate.AgeBand(1, 90), nil
	case policies.Round:
		most := r.mostNumber()
		return gate.Multiple(f.Days, -most, most), nil
	case policies.Map, policies.CodeDisplay, policies.KeepIn:
		return gate.Closed(slices.Collect(maps.Values(r.Policy.Words(f)))...), nil
	case policies.Region:
		return gate.Region(f.To == policies.Division), nil
	case policies.Band:
		return gate.Closed(f.Bands...), nil
	case policies.Constant:
		return gate.Closed(f.To), nil
	case policies.Ordinal:
		return gate.Ordinal(deid.OrdinalLen), nil
	}
	return gate.Grammar{}, fmt.Errorf("the gate knows no transform %s", f.Do)
}

// mostDeidentified is the largest number in data without direct identifiers. A day written
// as a number (YYYYMMDD), a telephone, social security or longer record number
// is larger, and so is a time in seconds.
const mostDeidentified = 9_999_999

func (r *Run) mostNumber() float64 {
	if r.Policy.Standard == policies.Identified {
		return 1e12
	}
	return mostDeidentified
}

// keptGrammar is what a kept value of a class may be. Under Safe Harbor the
// prover lets only classes through that identify nobody, and in a limited data
// set dates and places too.
func (r *Run) keptGrammar(class extract.Class, integer bool) (gate.Grammar, error) {
	switch class {
	case extract.State:
		return gate.State(), nil
	case extract.Code, extract.Unit, extract.Sex:
		return gate.CodeToken(), nil
	case extract.Race, extract.Ethnicity, extract.Language:
		return gate.Term(), nil
	case extract.CodeSystem, extract.WebAddress:
		if r.Policy.Standard == policies.Identified {
			return gate.System(extract.CodeSystems...), nil
		}
		return gate.URI(extract.CodeSystems...), nil
	case extract.Number:
		most := r.mostNumber()
		return gate.Number(-most, most, integer), nil
	case extract.AgeYears:
		return gate.Number(0, 150, integer), nil
	case extract.Boolean:
		return gate.Boolean(), nil
	}
	switch {
	case !r.showsDates():
	case class == extract.Date || class == extract.DeathDate:
		return gate.DateTime(), nil
	case class == extract.BirthDate:
		return gate.OwnIdentifier(gate.BirthDate), nil
	case class == extract.ProviderKey:
		return gate.ProviderNumber(), nil
	case r.Policy.Standard == policies.Identified:
		return identifiedGrammar(class), nil
	case class == extract.Town:
		return gate.OwnTown(), nil
	case class == extract.Postcode:
		return gate.OwnPostcode(), nil
	}
	return gate.Grammar{}, fmt.Errorf("class %s cannot be kept under %s", class, r.Policy.Standard)
}

// identifiedGrammar is what a kept value may be of a class that leaves in
// identified form only.
func identifiedGrammar(class extract.Class) gate.Grammar {
	switch class {
	case extract.SubjectKey, extract.RecordNumber:
		return gate.OwnIdentifier(gate.RecordNumber, gate.Other)
	case extract.RecordKey:
		return gate.CodeToken()
	case extract.Town:
		return gate.OwnIdentifier(gate.City)
	case extract.Geography:
		return gate.OwnIdentifier(gate.StreetAddress, gate.City)
	}
	if kind, ok := rosterKinds[class]; ok {
		return gate.OwnIdentifier(kind, gate.Other)
	}
	return gate.Any()
}

// fhirPositions declares the leaves that the release names, and nothing else.
func (r *Run) fhirPositions(release *policies.Release, spec *gate.Spec) error {
	dataset := release.Dataset
	spec.Positions = append(spec.Positions, gate.Position{Path: gate.Path(dataset, "resourceType"), Grammar: gate.Closed(dataset)})
	for i := range release.Fields {
		f := &release.Fields[i]
		for _, leaf := range f.Leaves {
			if r.writtenByEngine(release, f, &leaf) {
				continue
			}
			g, err := r.leafGrammar(release, f, &leaf)
			if err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
			spec.Positions = append(spec.Positions, gate.Position{Path: gate.Path(append([]string{dataset}, leaf.Path...)...), Grammar: g})
		}
	}
	return nil
}

// writtenByEngine tells of leaves that stand in a field but are no position of
// their own: an extension's URL is part of the path, and of a coded field only
// the code leaves.
func (r *Run) writtenByEngine(release *policies.Release, f *policies.Field, leaf *policies.Leaf) bool {
	last := leaf.Path[len(leaf.Path)-1]
	if last == "url" && len(leaf.Path) > 1 {
		return true
	}
	return f.Do == policies.CodePerson && !isLink(leaf) && !isPatientID(release, leaf)
}

func isLink(leaf *policies.Leaf) bool {
	return leaf.Class == extract.Link && leaf.Path[len(leaf.Path)-1] == "reference"
}

func isPatientID(release *policies.Release, leaf *policies.Leaf) bool {
	return release.Dataset == "Patient" && len(leaf.Path) == 1 && leaf.Path[0] == "id"
}

func (r *Run) leafGrammar(release *policies.Release, f *policies.Field, leaf *policies.Leaf) (gate.Grammar, error) {
	switch {
	case f.Do == policies.CodePerson && isLink(leaf):
		return gate.ReferenceTo(gate.OwnCode(deid.CodeLen), "Patient"), nil
	case f.Do == policies.CodePerson:
		return gate.OwnCode(deid.CodeLen), nil
	case isLink(leaf) && f.Do != policies.Keep:
		id, err := r.transformed(f)
		return gate.ReferenceTo(id, extract.ResourceTypes()...), err
	case f.Do != policies.Keep:
		return r.transformed(f)
	case isPatientID(release, leaf):
		return gate.OwnIdentifier(gate.RecordNumber), nil
	case isLink(leaf) && isSubject(release.Dataset, leaf.Path):
		return gate.OwnReference("Patient", gate.RecordNumber), nil
	case isLink(leaf):
		return gate.Reference(extract.ResourceTypes()...), nil
	}
	if values := wanted(release, strings.Join(leaf.Path, ".")); len(values) > 0 {
		return gate.Closed(values...), nil
	}
	switch last := leaf.Path[len(leaf.Path)-1]; {
	case last == "comparator":
		return gate.Closed("<", "<=", ">=", ">"), nil
	case last == "type" && leaf.Class == extract.WebAddress: // what a reference leads to
		return gate.Closed(extract.ResourceTypes()...), nil
	}
	if leaf.Class == extract.Date { // all of a Timing is: the counts and codes in it, too
		switch primitiveOf(release.Dataset, leaf.Path) {
		case "decimal", "positiveInt", "unsignedInt":
			return r.keptGrammar(extract.Number, false)
		case "code":
			return r.keptGrammar(extract.Code, false)
		}
	}
	return r.keptGrammar(leaf.Class, false)
}

// primitiveOf is the FHIR type of the leaf at a path; "" when it is in an
// extension.
func primitiveOf(dataset string, path []string) string {
	if e := elementAt(dataset, path); e != nil {
		return e.Type
	}
	return ""
}

// elementAt is the FHIR element at a path; nil when it is in an extension.
func elementAt(dataset string, path []string) (e *extract.Element) {
	name := dataset
	for _, step := range path {
		typ := extract.TypeOf(name)
		if typ == nil || typ.Element(step) == nil {
			return nil
		}
		e = typ.Element(step)
		name = e.Type
	}
	return e
}

// isSubject tells whether a reference stands where R4's patient compartment
// has the record's own patient.
func isSubject(dataset string, path []string) bool {
	element := strings.Join(path[:len(path)-1], ".")
	if element != "subject" && element != "patient" && element != "beneficiary" {
		return false
	}
	return slices.Contains(extract.Compartment(dataset), element)
}
