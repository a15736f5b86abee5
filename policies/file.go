package policies

import (
	"github.com/posternhealth/postern/internal/strictyaml"
)

// file is the shape of a policy file. What it has no key for cannot be said.
type file struct {
	Postern   string                           `yaml:"postern,required"`
	Policy    string                           `yaml:"policy,required"`
	Version   int                              `yaml:"version,required"`
	Standard  string                           `yaml:"standard,required"`
	Recipient string                           `yaml:"recipient,required"`
	Purpose   string                           `yaml:"purpose,required"`
	Basis     string                           `yaml:"basis,required"`
	Agreement agreementFile                    `yaml:"agreement,required"`
	Because   string                           `yaml:"because,required"`
	Attest    attestFile                       `yaml:"attest"`
	People    peopleFile                       `yaml:"people"`
	Inputs    strictyaml.Ordered[guardFile]    `yaml:"inputs"`
	Cohort    cohortFile                       `yaml:"cohort"`
	Release   strictyaml.Ordered[*releaseFile] `yaml:"release,required"`
	Output    outputFile                       `yaml:"output,required"`
	Totals    []string                         `yaml:"totals"`
	Notices   Notices                          `yaml:"notices"`
	Tolerate  struct {
		Rejected strictyaml.Percent `yaml:"rejected"`
	} `yaml:"tolerate"`
	Keep struct {
		SealedDrop strictyaml.Duration `yaml:"sealed_drop"`
	} `yaml:"keep"`

	Protect         later `yaml:"protect"`
	Tables          later `yaml:"tables"`
	AggregateGround later `yaml:"aggregate_ground"`
	Certificate     later `yaml:"certificate"`
	Include         later `yaml:"include"`
}

type agreementFile struct {
	Kind     string          `yaml:"kind,required"`
	ID       string          `yaml:"id,required"`
	From     strictyaml.Date `yaml:"from,required"`
	To       strictyaml.Date `yaml:"to,required"`
	ReviewBy strictyaml.Date `yaml:"review_by"`
}

type attestFile struct {
	ActualKnowledge struct {
		NoneKnown bool            `yaml:"none_known,required"`
		By        string          `yaml:"by,required"`
		On        strictyaml.Date `yaml:"on,required"`
		ReviewBy  strictyaml.Date `yaml:"review_by,required"`
	} `yaml:"actual_knowledge"`
}

type peopleFile struct {
	Relationship struct {
		Roster      string `yaml:"roster,required"`
		Covered     string `yaml:"covered,required"`
		IfAmbiguous string `yaml:"if_ambiguous"`
	} `yaml:"relationship"`
	Consent struct {
		General consentFile `yaml:"general"`
		Part2   part2File   `yaml:"part2"`
		Minors  later       `yaml:"minors"`
		States  later       `yaml:"states"`
	} `yaml:"consent"`
	ClinicChoice struct {
		RegistryOptOut string `yaml:"registry_opt_out"`
		Part2Program   string `yaml:"part2_program"`
		Because        string `yaml:"because,required"`
	} `yaml:"clinic_choice"`
}

type consentFile struct {
	WithoutDirective string `yaml:"without_directive,required"`
	IfUnsure         string `yaml:"if_unsure"`
}

type part2File struct {
	WithoutDirective string   `yaml:"without_directive,required"`
	AcceptForms      []string `yaml:"accept_forms"`
	IfUnsure         string   `yaml:"if_unsure"`
}

type guardFile struct {
	MaxAge      strictyaml.Duration `yaml:"max_age,required"`
	ShrinkLimit strictyaml.Percent  `yaml:"shrink_limit,required"`
}

type cohortFile struct {
	Index        string              `yaml:"index,required"`
	IndexYear    string              `yaml:"index_year,required"`
	Follow       strictyaml.Duration `yaml:"follow,required"`
	ReleaseAfter string              `yaml:"release_after,required"`
}

type releaseFile struct {
	Only    strictyaml.Ordered[values]     `yaml:"only"`
	Because string                         `yaml:"because"`
	Fields  strictyaml.Ordered[*fieldFile] `yaml:"fields,required"`
}

type fieldFile struct {
	From    string `yaml:"from"`
	Do      string `yaml:"do"`
	At      string `yaml:"at"`
	Width   *int   `yaml:"width"`
	Top     string `yaml:"top"`
	Unit    string `yaml:"unit"`
	To      later  `yaml:"to"`
	Because string `yaml:"because"`
}

type outputFile struct {
	Layout    string `yaml:"layout,required"`
	Mode      string `yaml:"mode,required"`
	RowKey    bool   `yaml:"row_key"`
	Part2Rows string `yaml:"part2_rows"`
	Shuffle   string `yaml:"shuffle"`
	Also      later  `yaml:"also"`
}

// values are one value or a list of them.
type values []string

func (v *values) UnmarshalNode(n strictyaml.Node) {
	if n.IsList() {
		n.Decode((*[]string)(v))
		return
	}
	var one string
	n.Decode(&one)
	*v = values{one}
}
