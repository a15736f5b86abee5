package policies

import (
	"slices"
	"strings"
)

// RecipientKinds are the kinds of recipients, as postern.yaml names them.
var RecipientKinds = []string{"health-plan", "provider", "hie", "clearinghouse", "vendor", "registry", "researcher", "public-health", "oversight"}

// KnownRecipientKind tells whether a kind is one of RecipientKinds.
func KnownRecipientKind(kind string) bool { return slices.Contains(RecipientKinds, kind) }

// Steps says which steps of the decision bind a disclosure. Agreement and
// purpose, and the notes that Postern never sends, always do.
type Steps struct {
	SelfPay          bool     `json:"self_pay"`           // step 3: 164.522(a)(1)(vi)
	Agreed           bool     `json:"agreed"`             // step 3: 164.522(a)(1)(i)-(v)
	Relationship     bool     `json:"relationship"`       // step 4: 164.506(c)(4)
	Consent          bool     `json:"consent"`            // step 5: what patients have decided, and the policy's general rule
	Authorization    bool     `json:"authorization"`      // step 5: without a directive nothing leaves, whatever the policy's rule
	Part2            bool     `json:"part2"`              // step 5: 42 CFR 2.31
	MinimumNecessary bool     `json:"minimum_necessary"`  // step 7: 164.502(b)
	Purposes         []string `json:"purposes,omitempty"` // that the basis covers; none: any
	Source           string   `json:"source"`
}

// Applicability is one line of the table: a disclosure to one of these kinds
// of recipient, on this basis, in one of these forms, is bound by these steps.
// Self-pay is written as it binds a health plan; towards others it does not
// apply. What has no line does not leave.
type Applicability struct {
	Basis      string     `json:"basis"`
	Standards  []Standard `json:"standards"`
	Recipients []string   `json:"recipients,omitempty"` // kinds; nil: any
	Steps      Steps      `json:"steps"`
}

// ApplicabilityTable is the table of steps (DESIGN, Decisions).
func ApplicabilityTable() []Applicability { return slices.Clone(applicability) }

var applicability = []Applicability{
	{"164.502(d)", deidentified, nil, Steps{
		Source: "164.502(d): de-identified information is not protected; consent, restriction and coverage do not bind it"}},
	{"164.506(c)(1)", protected, []string{"health-plan", "provider", "hie", "vendor", "clearinghouse"}, Steps{
		SelfPay: true, Agreed: true, Consent: true, Part2: true, MinimumNecessary: true, Purposes: tpo,
		Source: "164.506(c)(1): own treatment, payment, operations"}},
	{"164.506(c)(2)", identifiedOnly, []string{"provider", "hie"}, Steps{
		Agreed: true, Consent: true, Part2: true, Purposes: []string{"TREAT"},
		Source: "164.506(c)(2), 164.502(b)(2)(i): another's treatment has no minimum necessary"}},
	{"164.506(c)(3)", protected, []string{"health-plan", "provider", "hie", "clearinghouse"}, Steps{
		SelfPay: true, Agreed: true, Consent: true, Part2: true, MinimumNecessary: true, Purposes: []string{"HPAYMT"},
		Source: "164.506(c)(3): the recipient's payment"}},
	{"164.506(c)(4)", protected, []string{"health-plan", "provider", "hie", "clearinghouse"}, Steps{
		SelfPay: true, Agreed: true, Relationship: true, Consent: true, Part2: true, MinimumNecessary: true, Purposes: []string{"HOPERAT"},
		Source: "164.506(c)(4): the recipient's operations, about people of both"}},
	{"164.506(c)(5)", protected, []string{"health-plan", "provider", "hie"}, Steps{
		SelfPay: true, Agreed: true, Consent: true, Part2: true, MinimumNecessary: true, Purposes: []string{"HOPERAT"},
		Source: "164.506(c)(5): operations of an organized arrangement"}},
	{"164.508", protected, nil, Steps{
		SelfPay: true, Agreed: true, Consent: true, Authorization: true, Part2: true,
		Source: "164.508, 164.502(b)(2)(iii): only what the patient has authorized"}},
	{"164.512(a)", protected, nil, Steps{
		Part2:  true,
		Source: "164.512(a), 164.522(a)(1)(v): required by law; Part 2 still binds"}},
	{"164.512(b)", protected, []string{"public-health", "registry"}, Steps{
		Part2: true, MinimumNecessary: true, Purposes: []string{"PUBHLTH"},
		Source: "164.512(b), 164.522(a)(1)(v): public health; Part 2 still binds"}},
	{"164.512(d)", protected, []string{"oversight"}, Steps{
		Part2: true, MinimumNecessary: true,
		Source: "164.512(d), 164.522(a)(1)(v): oversight; Part 2 still binds"}},
	{"164.514(e)", []Standard{LimitedDataSet}, nil, Steps{
		SelfPay: true, Agreed: true, Consent: true, Part2: true, MinimumNecessary: true, Purposes: []string{"HRESCH", "PUBHLTH", "HOPERAT"},
		Source: "164.514(e): a limited data set is still protected"}},
}

var (
	tpo            = []string{"TREAT", "HPAYMT", "HOPERAT"}
	deidentified   = []Standard{SafeHarbor, ExpertDetermination, Aggregate}
	identifiedOnly = []Standard{Identified}
	protected      = []Standard{Identified, LimitedDataSet, Aggregate}
)

// Applies finds the steps that bind a disclosure. The zero value means that
// the combination has no line in the table: nothing may leave on it.
func Applies(kind, basis string, standard Standard) Steps {
	for _, line := range applicability {
		if KnownRecipientKind(kind) && line.Basis == Section(basis) && slices.Contains(line.Standards, standard) && (line.Recipients == nil || slices.Contains(line.Recipients, kind)) {
			steps := line.Steps
			steps.SelfPay = steps.SelfPay && kind == "health-plan"
			return steps
		}
	}
	return Steps{}
}

// Known tells whether the steps come from a line of the table.
func (s Steps) Known() bool { return s.Source != "" }

// Section is the section number of a basis alone: "45 CFR 164.506 (c)(4)" is 164.506(c)(4).
func Section(basis string) string {
	basis = strings.ReplaceAll(basis, " ", "")
	basis = strings.TrimPrefix(basis, "45CFR")
	return strings.TrimPrefix(basis, "§")
}
