// Package policies is the language in which a compliance officer says who gets
// what, why, under which law and in which form; it loads policy files, checks
// them and proves what their standard promises.
//
// A policy is an allow-list: what it does not name does not leave. Every field
// has a class and every transform maps classes to classes, so Check decides
// exactly, before any record is read, that nothing leaves which the standard
// forbids: the identifiers of 45 CFR 164.514(b)(2)(i) under safe-harbor, and
// under identified whatever has no class. For delimited datasets that holds as
// far as the classes that their schemas declare are true.
//
// All mistakes of a file are reported at once, each with file, line, column
// and key path. Nothing is ignored: values still to be filled in are mistakes
// (ErrPlaceholder), and so are parts of the language that this version can
// explain, prove and compare but not carry out (ErrNotInThisVersion).
package policies

import (
	"slices"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Standard is the form of a release (see LAW: de-identified, or not).
type Standard string

const (
	Identified          Standard = "identified"
	LimitedDataSet      Standard = "limited-data-set"
	SafeHarbor          Standard = "safe-harbor"
	ExpertDetermination Standard = "expert-determination"
	Aggregate           Standard = "aggregate"
)

// Policy is one policy file. Load makes it and Check completes it; after that
// it is immutable.
type Policy struct {
	File      string // path as given, for diagnostics
	SHA256    string // hex, of the file's bytes
	Name      string
	Version   int
	Standard  Standard
	Recipient string
	Purpose   string // HL7 v3 PurposeOfUse code
	Basis     string // the legal ground as written, such as "45 CFR 164.506(c)(4)"
	Agreement Agreement
	Because   string

	Certificate *Certificate // of expert-determination
	Ground      string       // of aggregate: safe-harbor-dimensions, expert-determination, contract
	Attest      *Attestation
	ValueSets   map[string]*ValueSet // the included ones, by the name the policy gives them

	People   People
	Inputs   map[string]Guard // protective inputs, by the name postern.yaml gives them
	Cohort   *Cohort
	Release  []Release // in the order of the file; none of aggregate
	Tables   []Table   // of aggregate, in the order of the file
	Protect  *Protect
	Output   Output
	Layout   *Layout // that Output names; nil of csv and ndjson, and of one whose file is not there
	Totals   []Total
	Notices  Notices
	Tolerate Tolerance
	Keep     Retention

	includes []Include
	source   *strictyaml.Source   // nil when the policy was not made by Load
	unfilled []strictyaml.Mistake // texts that are still to be filled in
	samples  []strictyaml.Mistake // texts that stand for the officer's, in the demo and in tests
}

// Agreement is the paper the release stands on.
type Agreement struct {
	Kind     string // provider-contract, participation, baa, dua, authorization, law
	ID       string
	From, To extract.Day // To is NoDay when open
	ReviewBy extract.Day // NoDay when To is given
}

// Attestation is the officer's dated statement under 164.514(b)(2)(ii) that
// nothing else is known to identify a person.
type Attestation struct {
	By       string
	On       extract.Day
	ReviewBy extract.Day
}

// Certificate is an expert's determination under 45 CFR 164.514(b)(1).
type Certificate struct {
	Expert     string
	On         extract.Day
	Method     string
	Conditions []string
	Expires    extract.Day
	FineDates  bool // the expert allows increments narrower than the shift range
}

// People says about whom records may leave.
type People struct {
	Roster         string // protective input that holds the members; "" when no relationship gate is asked for
	Covered        string // at-service, any-day-of-period
	IfAmbiguous    string // withhold, leave-out
	General        ConsentRule
	MostRecent     bool // of directives of one scope and source, a newer permit overtakes a denial
	Part2          ConsentRule
	AcceptForms    []string // Part 2 form versions that the officer has attested
	Grounds        []Part2Ground
	Minors         string      // the jurisdiction whose rules for minors hold, such as us-ca; "" when none is named
	MinorRules     *MinorRules // of that jurisdiction
	RegistryOptOut bool        // clinic_choice.registry_opt_out: leave-out
	Part2LeaveOut  bool        // clinic_choice.part2_program: leave-out
	ChoiceBecause  string      // clinic_choice.because
}

// ConsentRule is what holds for a person when no directive is on file.
type ConsentRule string

const (
	PermitWithout ConsentRule = "permit"
	DenyWithout   ConsentRule = "deny"
)

// Guard bounds a protective input: older than MaxAge, or with more than
// ShrinkLimit of its rows gone since the last accepted reading, it stops the
// exchange.
type Guard struct {
	MaxAge      time.Duration
	ShrinkLimit float64 // 0.01 is one per cent
}

// Cohort is a closed group followed for a fixed window.
type Cohort struct {
	Dataset    string // whose first record, after its `only`, is the index
	IndexYear  string // last-closed, or a year
	FollowDays int
}

// Release names what may leave of one dataset. What it does not name, does not.
type Release struct {
	Dataset string
	Because string // the reason of fields that have none of their own
	Only    []Condition
	Fields  []Field
}

// ReleaseOf is what leaves of a dataset; nil when nothing does.
func (p *Policy) ReleaseOf(dataset string) *Release {
	if i := slices.IndexFunc(p.Release, func(r Release) bool { return r.Dataset == dataset }); i >= 0 {
		return &p.Release[i]
	}
	return nil
}

// Field is a released field by its name; nil when there is none.
func (r *Release) Field(name string) *Field {
	if i := slices.IndexFunc(r.Fields, func(f Field) bool { return f.Name == name }); i >= 0 {
		return &r.Fields[i]
	}
	return nil
}

// Condition restricts the records of a dataset: the code at Path must be in
// Codes, its number in Range, or its date in Period. Exactly one is there.
type Condition struct {
	Path     string
	Codes    CodeSet
	Range    *Range
	ValueSet string // the included set that Codes came from; "" when they are written out
	Period   string // measure-year, last-closed-year, last-closed-month, or "YYYY-MM-DD..YYYY-MM-DD"

	ends [2]string // of a range as written: of codes or of numbers, as the class of the path tells
}

// Range is a closed range of numbers.
type Range struct{ Min, Max float64 }

// ValueSet is an included file of codes.
type ValueSet struct {
	Title, Source, Licence string
	System                 string // URI of the code system
	From, To               extract.Day
	Codes                  CodeSet
	Map                    map[string]string // from code to code; nil when the file holds no map
	Display                map[string]string // the file's own words for its codes; none for those without
}

// Table is one aggregate table: people counted by one dimension at a time.
type Table struct {
	Name        string
	Dataset     string
	Period      string // calendar-year
	Denominator []Condition
	Numerator   []Condition
	Show        []string // denominator, numerator, rate
	By          []Dimension
	Totals      bool
}

// Dimension is what people are counted by.
type Dimension struct {
	Path    string
	Coarsen string   // name of an included map
	Bands   []string // of ages, such as 18-44
	Class   extract.Class
}

// Protect is disclosure control over a whole release.
type Protect struct {
	K        int      // people who share the same values; 0 when not asked for
	Over     []string // released fields that together must be shared by K people
	Smallest int      // smallest count that shows in a table, but zero; 0 when not asked for
	First    []string // coarsen, or coarsen FIELD, in this order
	Then     string   // suppress, suppress-person
	Against  []string // this-table, linked-tables, earlier-drops
	Years    int      // that earlier drops are held against
	Audit    bool
}

// Field is one released field and what is done to it on the way.
type Field struct {
	Name    string // as the file names it: a FHIR element path or a column; the output column of a row layout
	From    string // source column or element path; "index"; or ROSTER.COLUMN; equals Name unless `from` is written
	Do      Transform
	By      string   // of a look-up in a table: the column of the row that is looked up; "" of one by person
	At      string   // "" or "index": the date at which an age is taken
	Width   int      // years, for age-band
	Top     int      // 90, for age-band
	Unit    string   // days, weeks: for relative-time
	Days    int      // the range, for shift-date; the step, for round
	To      string   // the included file, for map, code-display and keep in:; the value, for constant; region or division
	Bands   []string // of numbers, for band
	Because string
	Class   extract.Class // of the source field; of a FHIR element that is no leaf: Unclassed, see Leaves
	Leaves  []Leaf        // FHIR: the leaves that this field lets out, relative to the resource
}

// Leaf is one FHIR leaf that a field lets out.
type Leaf struct {
	Path  []string // member names from the resource down; an extension step is "extension:URL"
	Class extract.Class
}

// Transform is what is done to a field's value.
type Transform string

const (
	Keep         Transform = "keep"
	CodePerson   Transform = "code"
	Year         Transform = "year"
	AgeBand      Transform = "age-band"
	ZIP3         Transform = "zip3"
	RelativeTime Transform = "relative-time"

	Token     Transform = "token"      // keyed by the epoch's secret, in a limited data set or by an expert's leave
	Ordinal   Transform = "ordinal"    // a number within the drop
	ShiftDate Transform = "shift-date" // by an expert's leave only
	Age       Transform = "age"
	Round     Transform = "round"
	Map       Transform = "map"
	Constant  Transform = "constant"

	Region      Transform = "region" // of the Census Bureau, larger than a state
	Band        Transform = "band"   // of numbers
	CodeDisplay Transform = "code-display"
	KeepIn      Transform = "keep, in: SET" // written do: keep, in: SET
)

// The kinds of Region.
const (
	WholeRegion = "region"
	Division    = "division"
)

// Output is the form of the recipient's files.
type Output struct {
	Layout    string `yaml:"layout,required" about:"csv, ndjson, or the name of a layout"`
	Also      string `yaml:"also" about:"a second layout of the same values"`
	Mode      string `yaml:"mode,required" words:"full|delta" about:"everything each time, or what has changed"`
	RowKey    bool   `yaml:"row_key" about:"yes: each row has a random key, by which it can be traced at the clinic"`
	Part2Rows string `yaml:"part2_rows" words:"own-file|same-file|leave-out" about:"where Part 2 rows lie"`
	Shuffle   string `yaml:"shuffle" words:"people" about:"people: they stand in random order"`
}

// Total is one control total in the recipient's book, or in a line of a layout.
type Total struct {
	Kind   string // people, rows, sum, rows-by; of a layout also FileName, AsOf
	Column string
}

// Notices are legal texts from files; their wording is the officer's.
type Notices struct {
	Part2          string `yaml:"part2" about:"the notice of 42 CFR 2.32: a path beside this file"`
	ScopeOfConsent string `yaml:"scope_of_consent" words:"per-row" about:"the scope of consent, in the recipient's book"`
}

// Tolerance is how many rejected records a run may have.
type Tolerance struct {
	Rejected float64 // share of source records; 0.01 is one per cent
}

// Retention is how long the archive ciphertext stays.
type Retention struct {
	SealedDrop time.Duration
}
