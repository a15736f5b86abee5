// Package casefile reads and runs consent cases: small invented situations, each
// with the decision that the rules ask for. The format is published in
// testdata/consent-cases/README.md, so that any engine can be held against the
// same cases and an officer can write her own.
//
// It promises that a case goes through the loaders and the decider that runs
// use, and that every record of a case is expected to end somewhere. Cases hold
// invented people only, so differences may be shown.
package casefile

import (
	"time"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// Case is one case.
type Case struct {
	Title        string            `yaml:"case"`
	Rule         string            `yaml:"rule"`
	Source       string            `yaml:"source"`
	Needs        []string          `yaml:"needs" words:"minors|merges|derived|other-grounds|most-recent|classifier|fhir-r5"`
	AsOf         strictyaml.Date   `yaml:"as_of"`
	DecidedAt    time.Time         `yaml:"decided_at"`
	Request      request           `yaml:"request"`
	Agreement    *agreement        `yaml:"agreement"`
	ConsentRule  consentRule       `yaml:"consent_rule"`
	ClinicChoice clinicChoice      `yaml:"clinic_choice"`
	Clinic       clinic            `yaml:"clinic"`
	Directives   []strictyaml.Node `yaml:"directives"`
	Restrictions []strictyaml.Node `yaml:"restrictions"`
	Coverage     []coverage        `yaml:"coverage"`
	Programs     []strictyaml.Node `yaml:"programs"`
	Encounters   []encounter       `yaml:"encounters"`
	Patients     []patient         `yaml:"patients"`
	Grounds      []ground          `yaml:"grounds"`
	Records      []record          `yaml:"records"`
	Expect       strictyaml.Node   `yaml:"expect"`
	Stops        string            `yaml:"stops" words:"input|request"` // in place of expect: what stops before a record is decided

	File   string `yaml:"-"`
	Line   int    `yaml:"-"`
	expect []expectation
}

type request struct {
	Recipient    string            `yaml:"recipient"`
	Kind         string            `yaml:"kind"`
	Purpose      string            `yaml:"purpose"`
	Basis        string            `yaml:"basis"`
	Standard     policies.Standard `yaml:"standard" words:"identified|limited-data-set|safe-harbor|expert-determination|aggregate"`
	Identifiers  []string          `yaml:"identifiers"`
	Covered      string            `yaml:"covered" words:"at-service|any-day-of-period"`
	Period       *period           `yaml:"period"`
	Relationship string            `yaml:"relationship" words:"yes|no"`
}

type period struct {
	From strictyaml.Date `yaml:"from,required"`
	To   strictyaml.Date `yaml:"to,required"`
}

type agreement struct {
	Kind     string          `yaml:"kind"`
	ID       string          `yaml:"id"`
	From     strictyaml.Date `yaml:"from"`
	To       strictyaml.Date `yaml:"to"`
	ReviewBy strictyaml.Date `yaml:"review_by"`
}

type consentRule struct {
	General     policies.ConsentRule `yaml:"general" words:"permit|deny"`
	Part2       policies.ConsentRule `yaml:"part2" words:"deny"`
	AcceptForms []string             `yaml:"accept_forms"`
	Conflict    string               `yaml:"conflict" words:"deny-overrides|most-recent"`
	Minors      *minors              `yaml:"minors"`
}

// minors is one rule of a jurisdiction.
type minors struct {
	Jurisdiction string          `yaml:"jurisdiction,required"`
	Majority     string          `yaml:"majority"`
	FromAge      string          `yaml:"from_age,required"`
	ToAge        string          `yaml:"to_age,required"`
	Labels       string          `yaml:"labels,required"`
	From         strictyaml.Date `yaml:"from"`
	To           strictyaml.Date `yaml:"to"`
	Control      string          `yaml:"control,required" words:"minor|both"`
	Source       string          `yaml:"source,required"`
}

type clinicChoice struct {
	RegistryOptOut string `yaml:"registry_opt_out" words:"leave-out"`
	Part2Program   string `yaml:"part2_program" words:"leave-out"`
}

type clinic struct {
	Identifiers        []string        `yaml:"identifiers"`
	Others             []string        `yaml:"others"`
	Labels             string          `yaml:"labels" words:"complete|partial"`
	PsychotherapyNotes []string        `yaml:"psychotherapy_notes"`
	SUDCounselingNotes []string        `yaml:"sud_counseling_notes"`
	Classifier         []declaredLabel `yaml:"classifier"`
}

// declaredLabel is a part of the classifier: what bears a label.
type declaredLabel struct {
	Label     string   `yaml:"label,required"`
	Codes     []string `yaml:"codes"`   // each CODE, FIRST..LAST or PREFIX*
	Perhaps   []string `yaml:"perhaps"` // the same: codes that let a reader guess
	Providers []string `yaml:"providers"`
	Otherwise string   `yaml:"otherwise" words:"not|cannot tell"`
}

type ground struct {
	Section   string          `yaml:"section,required"`
	Recipient string          `yaml:"recipient,required"`
	Paper     string          `yaml:"paper,required"`
	From      strictyaml.Date `yaml:"from,required"`
	To        strictyaml.Date `yaml:"to"`
	ReviewBy  strictyaml.Date `yaml:"review_by"`
}

type coverage struct {
	Subject  string `yaml:"subject,required"`
	MemberID string `yaml:"member_id"`
	Plan     string `yaml:"plan"`
	From     string `yaml:"from"`
	To       string `yaml:"to"`
}

type encounter struct {
	ID        string   `yaml:"id,required"`
	Subject   string   `yaml:"subject"`
	Date      string   `yaml:"date"`
	Providers []string `yaml:"providers"`
}

type patient struct {
	ID         string `yaml:"id,required"`
	BirthDate  string `yaml:"birth_date"`
	LinkedTo   string `yaml:"linked_to"`
	MergedInto string `yaml:"merged_into"`
}

type expectation struct {
	Record  string   `yaml:"record,required"`
	Effect  string   `yaml:"effect,required" words:"permit|deny|indeterminate|not-applicable"`
	Reasons []string `yaml:"reasons,required"`
	Part2   string   `yaml:"part2" words:"yes|no"`
}
