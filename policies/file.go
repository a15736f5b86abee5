package policies

import (
	"slices"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// file is the shape of a policy file. What it has no key for cannot be said.
// From these tags come what the loader refuses, its hints, and the JSON Schema.
type file struct {
	Postern         string                           `yaml:"postern,required" words:"policy/v1" why:"this version of Postern reads policy/v1" about:"the language and its version"`
	Policy          string                           `yaml:"policy,required" about:"its name: small letters, digits and hyphens"`
	Version         int                              `yaml:"version,required" about:"counts from 1; goes up with every change"`
	Standard        Standard                         `yaml:"standard,required" words:"identified|limited-data-set|safe-harbor|expert-determination|aggregate" about:"the form of the release: how far people are told apart in it"`
	Recipient       string                           `yaml:"recipient,required" about:"who receives it, by the name in postern.yaml"`
	Purpose         string                           `yaml:"purpose,required" about:"what for: a code of HL7 v3 PurposeOfUse, such as HOPERAT, TREAT, HRESCH"`
	Basis           string                           `yaml:"basis,required" about:"the paragraph that permits it, such as 45 CFR 164.506(c)(4)"`
	AggregateGround string                           `yaml:"aggregate_ground" words:"safe-harbor-dimensions|expert-determination|contract" about:"of aggregate: why the counts may leave"`
	Agreement       agreementFile                    `yaml:"agreement,required" about:"the paper that the release stands on"`
	Because         string                           `yaml:"because,required" about:"why the release is made, in one sentence"`
	Certificate     certificateFile                  `yaml:"certificate" about:"of expert-determination: the determination under 45 CFR 164.514(b)(1)"`
	Attest          attestFile                       `yaml:"attest" about:"of safe-harbor: the officer's statement under 45 CFR 164.514(b)(2)(ii)"`
	Include         strictyaml.Ordered[string]       `yaml:"include" about:"value sets and maps in files of their own: NAME: path beside this file"`
	People          peopleFile                       `yaml:"people" about:"about whom records may leave"`
	Inputs          strictyaml.Ordered[guardFile]    `yaml:"inputs" about:"the protective inputs it stands on, by their names in postern.yaml"`
	Cohort          cohortFile                       `yaml:"cohort" about:"a closed group of people, each followed for the same time"`
	Release         strictyaml.Ordered[*releaseFile] `yaml:"release" about:"what leaves, by dataset; what is not named does not leave"`
	Tables          strictyaml.Ordered[*tableFile]   `yaml:"tables" about:"of aggregate: the tables that leave"`
	Protect         protectFile                      `yaml:"protect" about:"disclosure control over the whole release"`
	Output          Output                           `yaml:"output,required" about:"the form of the recipient's files"`
	Totals          []string                         `yaml:"totals" about:"control totals for the recipient: people, rows, sum of COLUMN, rows by COLUMN"`
	Notices         Notices                          `yaml:"notices" about:"legal texts that go with the release, in files of their own"`
	Tolerate        struct {
		Rejected strictyaml.Percent `yaml:"rejected" about:"the share of source records that may be unreadable, such as 1%"`
	} `yaml:"tolerate" about:"what may be wrong with the extract before the run stops"`
	Keep struct {
		SealedDrop strictyaml.Duration `yaml:"sealed_drop" about:"how long the clinic's own sealed copy stays, such as 7 years"`
	} `yaml:"keep" about:"retention at the clinic"`
}

type agreementFile struct {
	Kind     string          `yaml:"kind,required" words:"provider-contract|participation|baa|dua|authorization|law"`
	ID       string          `yaml:"id,required" about:"its number or name"`
	From     strictyaml.Date `yaml:"from,required" about:"the day it takes effect"`
	To       strictyaml.Date `yaml:"to,required" about:"its last day, or open"`
	ReviewBy strictyaml.Date `yaml:"review_by" about:"of an open one: the day after which nothing leaves until it was reviewed"`
}

type certificateFile struct {
	Expert     string          `yaml:"expert,required" about:"who determined that the risk is very small"`
	On         strictyaml.Date `yaml:"on,required"`
	Method     string          `yaml:"method,required" about:"the method and where its results are documented"`
	Conditions []string        `yaml:"conditions,required" about:"what the determination depends on"`
	Expires    strictyaml.Date `yaml:"expires,required" about:"its last day"`
	FineDates  bool            `yaml:"fine_dates" about:"yes: the expert allows intervals finer than the range by which dates are shifted"`
}

type attestFile struct {
	ActualKnowledge struct {
		NoneKnown bool            `yaml:"none_known,required" about:"yes: nothing is known by which what is left identifies a person"`
		By        string          `yaml:"by,required"`
		On        strictyaml.Date `yaml:"on,required"`
		ReviewBy  strictyaml.Date `yaml:"review_by,required" about:"its last day"`
	} `yaml:"actual_knowledge"`
}

type peopleFile struct {
	Relationship struct {
		Roster      string `yaml:"roster,required" about:"the input that lists the recipient's members"`
		Covered     string `yaml:"covered,required" words:"at-service|any-day-of-period" about:"when a person must have been a member"`
		IfAmbiguous string `yaml:"if_ambiguous" words:"withhold|leave-out" about:"of a person whom the roster does not tell apart: withhold and count, or leave out"`
	} `yaml:"relationship" about:"only the recipient's own members"`
	Consent struct {
		General consentFile `yaml:"general" about:"directives of patients"`
		Part2   part2File   `yaml:"part2" about:"records of a substance use program (42 CFR Part 2)"`
		Minors  minorsFile  `yaml:"minors" about:"minors who control their own records"`
	} `yaml:"consent" about:"what holds where a patient has said nothing"`
	ClinicChoice struct {
		RegistryOptOut string `yaml:"registry_opt_out" words:"leave-out" about:"people who opted out of registries"`
		Part2Program   string `yaml:"part2_program" words:"leave-out" about:"records of a substance use program"`
		Because        string `yaml:"because,required"`
	} `yaml:"clinic_choice" about:"where the clinic is stricter than the law"`
}

type consentFile struct {
	WithoutDirective ConsentRule `yaml:"without_directive,required" words:"permit|deny" about:"of a patient without a directive on file"`
	Conflict         string      `yaml:"conflict" words:"deny-overrides|most-recent" about:"where directives of one scope and source contradict each other: a denial decides (when it is not written), or the most recent one"`
	IfUnsure         string      `yaml:"if_unsure" words:"withhold"`
}

type part2File struct {
	WithoutDirective string       `yaml:"without_directive,required" words:"deny" why:"records of a Part 2 program leave only with consent (42 CFR 2.31)"`
	AcceptForms      []string     `yaml:"accept_forms" about:"the versions of the consent form that the officer has attested"`
	Grounds          []groundFile `yaml:"grounds" about:"grounds other than consent, each with its paper"`
	IfUnsure         string       `yaml:"if_unsure" words:"withhold"`
}

type groundFile struct {
	Section  string          `yaml:"section,required" words:"2.12(c)(4)|2.52|2.53" why:"other sections are no ground for a standing release; 2.54 (public health) is about de-identified data, which Part 2 does not bind here" about:"of 42 CFR: a qualified service organization, research, audit and evaluation"`
	Paper    string          `yaml:"paper,required" about:"the number or name of the agreement or approval"`
	From     strictyaml.Date `yaml:"from,required" about:"the day it takes effect"`
	To       strictyaml.Date `yaml:"to" about:"its last day"`
	ReviewBy strictyaml.Date `yaml:"review_by" about:"the day after which it is none until it was reviewed"`
}

type minorsFile struct {
	Rules    string `yaml:"rules,required" about:"the jurisdiction whose rules hold, such as us-ca"`
	IfUnsure string `yaml:"if_unsure" words:"withhold"`
}

type guardFile struct {
	MaxAge      strictyaml.Duration `yaml:"max_age,required" about:"older than this, it stops the exchange"`
	ShrinkLimit strictyaml.Percent  `yaml:"shrink_limit,required" about:"with more than this of its rows gone, it stops the exchange"`
}

type cohortFile struct {
	Index        string              `yaml:"index,required" about:"the event each person is followed from: first RECORD of the person"`
	IndexYear    string              `yaml:"index_year,required" about:"last-closed, or a year"`
	Follow       strictyaml.Duration `yaml:"follow,required" about:"how long each person is followed, such as 52 weeks"`
	ReleaseAfter string              `yaml:"release_after,required" words:"every window has closed" why:"a cohort leaves when the last person's window has closed"`
}

type releaseFile struct {
	Only    strictyaml.Ordered[conditionFile] `yaml:"only" about:"the records that are asked for; every condition must hold"`
	Because string                            `yaml:"because" about:"the reason of the fields that state none"`
	Fields  strictyaml.Ordered[*fieldFile]    `yaml:"fields,required" about:"what leaves of each record"`
}

type fieldFile struct {
	From    string              `yaml:"from" about:"the source, where the name is not its own: a column, index, or ROSTER.COLUMN, TABLE.COLUMN"`
	By      string              `yaml:"by" about:"of a look-up in a table: the column of the row that is looked up in its first"`
	Do      Transform           `yaml:"do" words:"keep|code|year|age-band|age|zip3|relative-time|token|ordinal|shift-date|round|map|region|band|code-display|constant" about:"what is done to the value on its way"`
	At      string              `yaml:"at" words:"index" about:"of an age: on the index date"`
	Width   *int                `yaml:"width" about:"of age-band: years"`
	Top     string              `yaml:"top" about:"of age-band: 90+, or a lower age"`
	Unit    string              `yaml:"unit" words:"days|weeks" about:"of relative-time"`
	Range   strictyaml.Duration `yaml:"range" about:"of shift-date: dates move by up to so many days, such as 365 days"`
	To      string              `yaml:"to" about:"of map and code-display: the included file; of round: the step, such as 5; of region: region or division"`
	Bands   []string            `yaml:"bands" about:"of band: such as [0-4, 5-9, 10-14, 15-19, 20-27], or 20+ for the last"`
	In      string              `yaml:"in" about:"of keep: the included value set; what is not in it does not leave"`
	Value   string              `yaml:"value" about:"of constant: the text"`
	Because string              `yaml:"because" about:"why the recipient needs it (45 CFR 164.514(d))"`
}

type tableFile struct {
	From        string                            `yaml:"from,required" about:"the delimited dataset that people are counted from"`
	Period      string                            `yaml:"period,required" words:"calendar-year" about:"one table for each"`
	Count       string                            `yaml:"count,required" words:"people" why:"a table counts people, not rows"`
	Denominator strictyaml.Ordered[conditionFile] `yaml:"denominator" about:"who is counted; everyone when it is not written"`
	Numerator   strictyaml.Ordered[conditionFile] `yaml:"numerator" about:"who of them meets the measure"`
	Show        []string                          `yaml:"show,required" words:"denominator|numerator|rate"`
	By          []dimensionFile                   `yaml:"by,required" about:"what people are counted by: one table each, never crossed"`
	Totals      bool                              `yaml:"totals" about:"yes: a line for all people"`
}

type protectFile struct {
	K             int         `yaml:"k" about:"rows: how many people share the same values, at least"`
	Over          []string    `yaml:"over" about:"rows: the released fields that together tell people apart"`
	SmallestCount int         `yaml:"smallest_count" about:"tables: the smallest count that shows, but zero"`
	First         oneOrMany   `yaml:"first" about:"tried before anything is suppressed, in this order: coarsen, or coarsen FIELD"`
	Then          string      `yaml:"then,required" words:"suppress|suppress-person" about:"what becomes of what is still too rare"`
	Against       againstFile `yaml:"against" about:"tables: what may be compared with them: this-table, linked-tables, earlier-drops: 5 years"`
	Audit         string      `yaml:"audit" words:"required" about:"tables: an independent audit before they leave"`
}

// Where people write one word for a group of keys, the hint shows the keys.

func (*fieldFile) Example(do string) string {
	if !slices.Contains(transforms, Transform(do)) {
		do = string(Keep)
	}
	return "{do: " + do + ", because: why it is needed}"
}

// Example implements strictyaml.Exampler.
func (*Output) Example(string) string { return "{layout: csv, mode: full}" }

func (*consentFile) Example(string) string { return "{without_directive: deny}, or permit" }

func (*guardFile) Example(string) string { return "{max_age: 1 day, shrink_limit: 1%}" }

// oneOrMany are one value or a list of them.
type oneOrMany []string

// UnmarshalNode implements strictyaml.Unmarshaler.
func (v *oneOrMany) UnmarshalNode(n strictyaml.Node) {
	if n.IsList() {
		n.Decode((*[]string)(v))
		return
	}
	var one string
	n.Decode(&one)
	*v = oneOrMany{one}
}

// Schema implements strictyaml.Schemer.
func (*oneOrMany) Schema() map[string]any {
	return oneOf(schemaOf[string](), schemaOf[[]string]())
}
