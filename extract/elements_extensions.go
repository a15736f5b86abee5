package extract

// Extension is an extension whose meaning is known and whose values identify
// nobody by themselves. All others are unknown, and what is in them never leaves.
type Extension struct {
	Name  string // by which a policy names it
	URL   string
	Class Class // of its value; a leaf called system is of class CodeSystem

	// Leaves are the only leaves of it that may leave: paths of member names
	// from the extension down, where an inner extension is written
	// "extension:" and its url. Text and display are not among them: they are
	// open strings.
	Leaves [][]string
}

const usCore = "http://hl7.org/fhir/us/core/StructureDefinition/"

var knownExtensions = []Extension{
	{Name: "us-core-birthsex", URL: usCore + "us-core-birthsex", Class: Sex, Leaves: [][]string{{"valueCode"}}},
	{Name: "us-core-ethnicity", URL: usCore + "us-core-ethnicity", Class: Ethnicity, Leaves: ombLeaves},
	{Name: "us-core-genderIdentity", URL: usCore + "us-core-genderIdentity", Class: Code, Leaves: [][]string{
		{"valueCodeableConcept", "coding", "system"},
		{"valueCodeableConcept", "coding", "code"},
	}},
	{Name: "us-core-race", URL: usCore + "us-core-race", Class: Race, Leaves: ombLeaves},
	{Name: "us-core-sex", URL: usCore + "us-core-sex", Class: Sex, Leaves: [][]string{{"valueCode"}}},
}

// ombLeaves are the OMB category and the finer CDC code of race and ethnicity.
var ombLeaves = [][]string{
	{"extension:ombCategory", "valueCoding", "system"},
	{"extension:ombCategory", "valueCoding", "code"},
	{"extension:detailed", "valueCoding", "system"},
	{"extension:detailed", "valueCoding", "code"},
}

// KnownExtensions lists the known extensions by name. The list is shared and
// must not be changed.
func KnownExtensions() []Extension { return knownExtensions }
