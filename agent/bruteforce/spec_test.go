package bruteforce

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// The oracle of compare has its own notion of a policy: a plain tree of texts
// and numbers, which the generator edits, the oracle interprets, and render
// turns into the Policy that Compare gets. So neither the sets of codes nor
// the periods of the package under test take part in the oracle.
type spec struct {
	Name, Standard, Recipient, Purpose, Basis, Because string
	Version                                            int
	Agreement                                          agreement
	Attest, Certificate                                *dated
	FineDates                                          bool
	Sets                                               map[string]set
	Listed                                             map[string][]string // by column of scores: the only values that its schema knows
	People                                             people
	Inputs                                             map[string]guard
	Cohort                                             *cohort
	Release                                            []release
	Tables                                             []table
	Protect                                            *protect
	Layout, Also, Mode, Part2Rows, Shuffle             string
	RowKey                                             bool
	Totals                                             []string
	Rejected                                           int // tenths of a per cent
	KeepYears                                          int
}

type agreement struct{ Kind, ID, From, To, Review string }

type dated struct{ From, To string }

// set is a value set. An item is a code, PREFIX* or FROM..TO.
type set struct {
	From, To string
	Items    []string
	Map      map[string]string
}

type people struct {
	Roster, Covered, Ambiguous, General, Minors string
	Forms                                       []string
	OptOut, LeavePart2                          bool
}

// guard is in hours, and tenths of a per cent.
type guard struct{ Hours, Gone int }

type cohort struct {
	Dataset, Year string
	Follow        int
}

type release struct {
	Dataset string
	Only    []only
	Fields  []field
}

// only is one condition: items, or a value set, or a period, or two numbers.
type only struct {
	Path     string
	Items    []string
	Set      string
	Period   string
	Numbers  bool
	Min, Max float64
}

type field struct {
	Name, From, Do, At, Unit, To string
	Width, Top, Days             int
}

type table struct {
	Name, Dataset string
	In, Met       []only
	Show          []string
	By            []dimension
	Totals        bool
}

type dimension struct {
	Path, Coarsen string
	Bands         []string
}

type protect struct {
	K, Smallest int
	Over        []string
	First       []string
	Then        string
	Against     []string
	Years       int
	Audit       bool
}

func (s *spec) clone() *spec {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	out := &spec{Inputs: map[string]guard{}}
	if err := json.Unmarshal(text, out); err != nil {
		panic(err)
	}
	return out
}

func (s *spec) dataset(name string) *release {
	for i := range s.Release {
		if s.Release[i].Dataset == name {
			return &s.Release[i]
		}
	}
	return nil
}

// ordinal is the day number of a date.
func ordinal(date string) int {
	t, err := time.Parse(time.DateOnly, date)
	if err != nil {
		panic(err)
	}
	return int(t.Unix() / 86400)
}

func ordinalOr(date string, otherwise int) int {
	if date == "" {
		return otherwise
	}
	return ordinal(date)
}

func yearEnd(year int) int { return int(time.Date(year, 12, 31, 0, 0, 0, 0, time.UTC).Unix() / 86400) }

func dayOrNone(date string) extract.Day {
	return extract.Day(ordinalOr(date, int(extract.NoDay)))
}

// columns of the delimited datasets, with their classes; see policies/testdata/schemas.
var columns = map[string]map[string]extract.Class{
	"scores": {
		"score_id": extract.RecordKey, "patient_id": extract.SubjectKey, "birth_date": extract.BirthDate, "service_date": extract.Date,
		"provider_npi": extract.ProviderKey, "instrument": extract.Code, "status": extract.Code, "total_score": extract.Number,
		"sex": extract.Sex, "race": extract.Race, "state": extract.State, "zip": extract.Postcode,
	},
	"visits": {
		"patient_id": extract.SubjectKey, "visited": extract.Date, "instrument": extract.Code, "total_score": extract.Number,
		"sex": extract.Sex, "race": extract.Race, "state": extract.State,
	},
}

// undated datasets have no column of role date, or are Patient: they tell of
// people rather than of events.
var undated = map[string]bool{"visits": true, "Patient": true}

// aboutNobody are datasets of records that concern no patient.
var aboutNobody = map[string]bool{"Organization": true}

func isFHIR(dataset string) bool { return columns[dataset] == nil }

// leaves are the FHIR leaves of the fields that the pairs release, as Load
// resolves them: what a name stands for is not Compare's to say.
func fhirLeaves(t testing.TB) map[string]map[string][]policies.Leaf {
	p, err := policies.Load("../../policies/testdata/right/care-group-fhir.yaml", policies.Env{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string][]policies.Leaf{}
	for _, rel := range p.Release {
		out[rel.Dataset] = map[string][]policies.Leaf{}
		for _, f := range rel.Fields {
			out[rel.Dataset][f.Name] = f.Leaves
		}
	}
	patient, observation := out["Patient"], out["Observation"]
	for path, class := range map[string]extract.Class{"address.state": extract.State, "address.postalCode": extract.Postcode, "deceasedDateTime": extract.DeathDate} {
		patient[path] = []policies.Leaf{{Path: strings.Split(path, "."), Class: class}}
	}
	out["Organization"] = map[string][]policies.Leaf{"active": {{Path: []string{"active"}, Class: extract.Boolean}}, "name": {{Path: []string{"name"}, Class: extract.FreeText}}}
	observation["code.coding.code"] = []policies.Leaf{{Path: []string{"code", "coding", "code"}, Class: extract.Code}}
	return out
}

// rendering turns a spec into a Policy as Check leaves it.
type rendering struct {
	leaves map[string]map[string][]policies.Leaf
	spec   *spec
}

func (r rendering) policy() *policies.Policy {
	s := r.spec
	p := &policies.Policy{
		File: s.Name + ".yaml", SHA256: strings.Repeat("0", 64), Name: s.Name, Version: s.Version, Standard: policies.Standard(s.Standard),
		Recipient: s.Recipient, Purpose: s.Purpose, Basis: s.Basis, Because: s.Because,
		Agreement: policies.Agreement{Kind: s.Agreement.Kind, ID: s.Agreement.ID, From: dayOrNone(s.Agreement.From), To: dayOrNone(s.Agreement.To), ReviewBy: dayOrNone(s.Agreement.Review)},
		People: policies.People{
			Roster: s.People.Roster, Covered: s.People.Covered, IfAmbiguous: s.People.Ambiguous, General: policies.ConsentRule(s.People.General),
			Part2: policies.DenyWithout, AcceptForms: s.People.Forms, Minors: s.People.Minors, RegistryOptOut: s.People.OptOut, Part2LeaveOut: s.People.LeavePart2,
		},
		Inputs:    map[string]policies.Guard{},
		Output:    policies.Output{Layout: s.Layout, Also: s.Also, Mode: s.Mode, RowKey: s.RowKey, Part2Rows: s.Part2Rows, Shuffle: s.Shuffle},
		Tolerate:  policies.Tolerance{Rejected: float64(s.Rejected) / 1000},
		Keep:      policies.Retention{SealedDrop: time.Duration(s.KeepYears) * 366 * 24 * time.Hour},
		ValueSets: map[string]*policies.ValueSet{},
	}
	if s.Attest != nil {
		p.Attest = &policies.Attestation{By: "the officer", On: dayOrNone(s.Attest.From), ReviewBy: dayOrNone(s.Attest.To)}
	}
	if s.Certificate != nil {
		p.Certificate = &policies.Certificate{Expert: "an expert", On: dayOrNone(s.Certificate.From), Expires: dayOrNone(s.Certificate.To), Method: "k", FineDates: s.FineDates}
	}
	for name, g := range s.Inputs {
		p.Inputs[name] = policies.Guard{MaxAge: time.Duration(g.Hours) * time.Hour, ShrinkLimit: float64(g.Gone) / 1000}
	}
	for name, v := range s.Sets {
		p.ValueSets[name] = &policies.ValueSet{Title: name, System: "http://loinc.org", From: dayOrNone(v.From), To: dayOrNone(v.To), Codes: codeSet(v.Items), Map: v.Map}
	}
	if s.Cohort != nil {
		p.Cohort = &policies.Cohort{Dataset: s.Cohort.Dataset, IndexYear: s.Cohort.Year, FollowDays: s.Cohort.Follow}
	}
	if s.Protect != nil {
		x := *s.Protect
		p.Protect = &policies.Protect{K: x.K, Smallest: x.Smallest, Over: x.Over, First: x.First, Then: x.Then, Against: x.Against, Years: x.Years, Audit: x.Audit}
	}
	for _, total := range s.Totals {
		p.Totals = append(p.Totals, policies.Total{Kind: total})
	}
	for _, rel := range s.Release {
		p.Release = append(p.Release, r.release(rel))
	}
	for _, t := range s.Tables {
		p.Tables = append(p.Tables, r.table(t))
	}
	return p
}

func (r rendering) release(rel release) policies.Release {
	out := policies.Release{Dataset: rel.Dataset, Only: r.conditions(rel.Only)}
	for _, f := range rel.Fields {
		x := policies.Field{Name: f.Name, From: f.From, Do: policies.Transform(f.Do), At: f.At, Width: f.Width, Top: f.Top, Unit: f.Unit, Days: f.Days, To: f.To, Because: "needed"}
		if isFHIR(rel.Dataset) {
			x.Leaves = slices.DeleteFunc(slices.Clone(r.leaves[rel.Dataset][f.Name]), func(l policies.Leaf) bool {
				return !policies.Permits(policies.Standard(r.spec.Standard), l.Class, x.Do)
			})
			if len(x.Leaves) == 1 {
				x.Class = x.Leaves[0].Class
			}
		} else {
			x.Class = classOf(rel.Dataset, f.From)
		}
		out.Fields = append(out.Fields, x)
	}
	return out
}

func classOf(dataset, from string) extract.Class {
	switch input, column, looked := strings.Cut(from, "."); {
	case looked && strings.HasSuffix(input, "roster") && column == "member_id":
		return extract.MemberNumber
	case looked:
		return extract.OtherUnique
	case from == policies.FromIndex:
		return extract.Date
	}
	return columns[dataset][from]
}

func (r rendering) conditions(list []only) (out []policies.Condition) {
	for _, c := range list {
		x := policies.Condition{Path: c.Path, Period: c.Period}
		switch {
		case c.Numbers:
			x.Range = &policies.Range{Min: c.Min, Max: c.Max}
		case c.Period == "":
			x.Codes = codeSet(itemsOf(r.spec, c))
		}
		out = append(out, x)
	}
	return out
}

func itemsOf(s *spec, c only) []string {
	if c.Set != "" {
		return s.Sets[c.Set].Items
	}
	return c.Items
}

func codeSet(items []string) policies.CodeSet {
	var sets []policies.CodeSet
	for _, item := range items {
		prefix, isPrefix := strings.CutSuffix(item, "*")
		from, to, isRange := strings.Cut(item, "..")
		switch {
		case isPrefix:
			sets = append(sets, policies.CodePrefix(prefix))
		case isRange:
			sets = append(sets, policies.CodeRange(from, to))
		default:
			sets = append(sets, policies.Codes(item))
		}
	}
	return policies.Union(sets...)
}

func (r rendering) table(t table) policies.Table {
	out := policies.Table{Name: t.Name, Dataset: t.Dataset, Period: "calendar-year", Denominator: r.conditions(t.In), Numerator: r.conditions(t.Met), Show: t.Show, Totals: t.Totals}
	for _, d := range t.By {
		out.By = append(out.By, policies.Dimension{Path: d.Path, Coarsen: d.Coarsen, Bands: d.Bands, Class: tableColumns[d.Path]})
	}
	return out
}

// tableColumns are those of the dataset that the tables count.
var tableColumns = map[string]extract.Class{
	"race": extract.Race, "language": extract.Language, "age": extract.AgeYears, "sex": extract.Sex, "state": extract.State,
	"in_denominator": extract.Boolean, "in_numerator": extract.Boolean, "patient_id": extract.SubjectKey, "episode_on": extract.Date,
}
