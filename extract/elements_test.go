package extract

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// sharedDataFolder is the folder of test data written by others.
func sharedDataFolder(t *testing.T) string {
	t.Helper()
	folder := "../../shared/data"
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer missing: shared data")
		}
		t.Skip("peer missing: shared data")
	}
	return folder
}

// describe writes an element as the tests below do.
func describe(e *Element) string {
	s := e.Name + " " + e.Type
	if e.Many {
		s += "*"
	}
	if e.Class != Unclassed {
		s += " " + e.Class.String()
	}
	if e.Targets != nil {
		s += " >" + strings.Join(e.Targets, "|")
	}
	return s
}

// The lists are written by hand from the pages of FHIR R4.
func TestElementsOfTypesByHand(t *testing.T) {
	resource := []string{"id id record-key", "implicitRules uri web-address", "language code language", "meta Meta"}
	domain := append([]string{"contained Resource*", "extension Extension*", "modifierExtension Extension*", "text Narrative"}, resource...)
	backbone := []string{"extension Extension*", "id string free-text", "modifierExtension Extension*"}
	datatype := []string{"extension Extension*", "id string free-text"}
	cases := []struct {
		name string
		base []string
		own  string
	}{
		{"Patient", append(slices.Clone(domain[:4]), resource[1:]...), `
			id id subject-key
			identifier Identifier*
			active boolean boolean
			name HumanName*
			telecom ContactPoint*
			gender code sex
			birthDate date birth-date
			deceasedBoolean boolean boolean
			deceasedDateTime dateTime death-date
			address Address*
			maritalStatus CodeableConcept
			multipleBirthBoolean boolean boolean
			multipleBirthInteger integer number
			photo Attachment(photograph)*
			contact Patient.contact*
			communication Patient.communication*
			generalPractitioner Reference* >Organization|Practitioner|PractitionerRole
			managingOrganization Reference >Organization
			link Patient.link*`},
		{"Patient.contact", backbone, `
			relationship CodeableConcept*
			name HumanName
			telecom ContactPoint*
			address Address
			gender code sex
			organization Reference >Organization
			period Period`},
		{"Patient.communication", backbone, `
			language CodeableConcept(language)
			preferred boolean boolean`},
		{"Observation.component", backbone, `
			code CodeableConcept
			valueQuantity Quantity
			valueCodeableConcept CodeableConcept
			valueString string free-text
			valueBoolean boolean boolean
			valueInteger integer number
			valueRange Range
			valueRatio Ratio
			valueSampledData SampledData
			valueTime time date
			valueDateTime dateTime date
			valuePeriod Period
			dataAbsentReason CodeableConcept
			interpretation CodeableConcept*
			referenceRange Observation.referenceRange*`},
		{"QuestionnaireResponse", domain, `
			identifier Identifier
			basedOn Reference* >CarePlan|ServiceRequest
			partOf Reference* >Observation|Procedure
			questionnaire canonical web-address
			status code code
			subject Reference >Resource
			encounter Reference >Encounter
			authored dateTime date
			author Reference >Device|Organization|Patient|Practitioner|PractitionerRole|RelatedPerson
			source Reference >Patient|Practitioner|PractitionerRole|RelatedPerson
			item QuestionnaireResponse.item*`},
		{"QuestionnaireResponse.item", backbone, `
			linkId string code
			definition uri web-address
			text string free-text
			answer QuestionnaireResponse.item.answer*
			item QuestionnaireResponse.item*`},
		{"Coverage", domain, `
			identifier Identifier*
			status code code
			type CodeableConcept
			policyHolder Reference >Organization|Patient|RelatedPerson
			subscriber Reference >Patient|RelatedPerson
			subscriberId string member-number
			beneficiary Reference >Patient
			dependent string member-number
			relationship CodeableConcept
			period Period
			payor Reference* >Organization|Patient|RelatedPerson
			class Coverage.class*
			order positiveInt number
			network string free-text
			costToBeneficiary Coverage.costToBeneficiary*
			subrogation boolean boolean
			contract Reference* >Contract`},
		{"Bundle.entry", backbone, `
			link Bundle.link*
			fullUrl uri web-address
			resource Resource
			search Bundle.entry.search
			request Bundle.entry.request
			response Bundle.entry.response`},
		{"Meta", datatype, `
			versionId id other-unique
			lastUpdated instant date
			source uri web-address
			profile canonical* web-address
			security Coding*
			tag Coding(free-text)*`},
		{"Address", datatype, `
			use code code
			type code code
			text string geography
			line string* geography
			city string town
			district string geography
			state string state
			postalCode string postcode
			country string state
			period Period`},
		{"Identifier", datatype, `
			use code code
			type CodeableConcept
			system uri web-address
			value string other-unique
			period Period
			assigner Reference >Organization`},
		{"Coding(language)", datatype, `
			system uri code-system
			version string free-text
			code code language
			display string free-text
			userSelected boolean boolean`},
		{"Quantity(age)", datatype, `
			value decimal age
			comparator code code
			unit string free-text
			system uri code-system
			code code unit`},
	}
	for _, c := range cases {
		def := TypeOf(c.name)
		if def == nil {
			t.Errorf("no type %s", c.name)
			continue
		}
		var got []string
		for i := range def.Elements {
			got = append(got, describe(&def.Elements[i]))
		}
		want := slices.Clone(c.base)
		for line := range strings.Lines(strings.TrimSpace(c.own)) {
			want = append(want, strings.TrimSpace(line))
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestResourceTypesAreThoseOfR4(t *testing.T) {
	// The 148 codes of resource-types, less the abstract Resource and DomainResource.
	names := ResourceTypes()
	if len(names) != 146 || !slices.IsSorted(names) {
		t.Errorf("%d resource types, want 146 in order", len(names))
	}
	for _, name := range names {
		if def := TypeOf(name); def == nil || !def.Resource || def.Element("id") == nil {
			t.Errorf("%s is no resource type with an id", name)
		}
	}
	for _, name := range []string{"Resource", "DomainResource", "Element", "BackboneElement", "string", "patient", "SubscriptionStatus", ""} {
		if TypeOf(name) != nil {
			t.Errorf("%q has a type", name)
		}
	}
}

// Every leaf has a class, every other element a type to walk into.
func TestEveryLeafHasAClass(t *testing.T) {
	for name, def := range elementTable().types {
		if !slices.IsSortedFunc(def.Elements, func(a, b Element) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s is out of order", name)
		}
		for i := range def.Elements {
			e := &def.Elements[i]
			complex := e.Type == "Resource" || TypeOf(e.Type) != nil
			if complex != (e.Class == Unclassed) {
				t.Errorf("%s.%s of type %q has class %s", name, e.Name, e.Type, e.Class)
			}
			if (e.Targets != nil) != (e.Type == "Reference") {
				t.Errorf("%s.%s of type %q has targets %q", name, e.Name, e.Type, e.Targets)
			}
		}
	}
}

// No leaf of these primitives is of a class that identifies nobody, beyond
// the exceptions listed.
func TestOpenPrimitivesStayStrict(t *testing.T) {
	harmless := []string{
		"Address.country", "Address.state", // Safe Harbor ends at the state
		"Questionnaire.item.linkId", "QuestionnaireResponse.item.linkId",
	}
	var met []string
	for name, def := range elementTable().types {
		for i := range def.Elements {
			e := &def.Elements[i]
			switch e.Type {
			case "string", "markdown", "xhtml", "base64Binary", "id", "oid", "uuid", "url", "canonical", "date", "dateTime", "instant", "time":
				if e.Class >= State {
					met = append(met, name+"."+e.Name)
				}
			case "uri":
				if e.Class >= State && e.Class != CodeSystem {
					met = append(met, name+"."+e.Name)
				}
			}
		}
	}
	slices.Sort(met)
	if !slices.Equal(met, harmless) {
		t.Errorf("open primitives with a harmless class: %q", met)
	}
}

func TestCompartment(t *testing.T) {
	cases := map[string]string{
		"Observation":       "subject performer",
		"Condition":         "subject asserter",
		"Coverage":          "policyHolder subscriber beneficiary payor",
		"Appointment":       "participant.actor",
		"EnrollmentRequest": "candidate",
		"Invoice":           "subject recipient",
		"Group":             "member.entity",
		"Patient":           "link.other",
		"Task":              "for",
		"Organization":      "",
		"Practitioner":      "",
		"Nothing":           "",
	}
	for resource, want := range cases {
		if got := strings.Join(Compartment(resource), " "); got != want {
			t.Errorf("Compartment(%s) = %q, want %q", resource, got, want)
		}
	}
	for resource, paths := range elementTable().compartments {
		for _, path := range paths {
			def, e := TypeOf(resource), (*Element)(nil)
			for name := range strings.SplitSeq(path, ".") {
				e = def.Element(name)
				if e == nil {
					t.Fatalf("%s has no element %s", resource, path)
				}
				def = TypeOf(e.Type)
			}
			if e.Type != "Reference" || !slices.Contains(e.Targets, "Patient") && !slices.Contains(e.Targets, "Resource") {
				t.Errorf("%s.%s cannot refer to a patient", resource, path)
			}
		}
	}
}

func TestElementLookupsDoNotAllocate(t *testing.T) {
	resource, known, unknown := []byte("QuestionnaireResponse"), []byte("questionnaire"), []byte("questionaire")
	allocations := testing.AllocsPerRun(100, func() {
		def := TypeOf("QuestionnaireResponse")
		if def != TypeOf(def.Name) || def.Element(string(known)) == nil || def.Element(string(unknown)) != nil || Compartment(string(resource)) == nil {
			t.Error("wrong element")
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations a lookup", allocations)
	}
}

func TestKnownExtensionsEndInLeaves(t *testing.T) {
	for _, x := range KnownExtensions() {
		for _, leaf := range x.Leaves {
			def := TypeOf("Extension")
			var e *Element
			for _, step := range leaf {
				if strings.HasPrefix(step, "extension:") {
					continue
				}
				if e = def.Element(step); e == nil {
					t.Fatalf("%s: no element %s", x.Name, step)
				}
				def = TypeOf(e.Type)
			}
			if def != nil || e == nil {
				t.Errorf("%s: %v is no leaf", x.Name, leaf)
			}
		}
	}
}

// Every member of every resource that others wrote is in the table.
func TestSharedDataHasOnlyKnownElements(t *testing.T) {
	folder := sharedDataFolder(t)
	unknown := map[string]int{}
	resources := 0
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "json") || d.Name() == "log.ndjson" {
			return err
		}
		data, err := readMaybeGzip(path)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, MaxRecord)
		whole := !strings.Contains(path, ".ndjson")
		for lines.Scan() {
			line := lines.Bytes()
			if whole {
				line = data
			}
			var resource map[string]any
			if json.Unmarshal(bytes.TrimPrefix(line, []byte("\ufeff")), &resource) == nil {
				walkResource(resource, unknown)
				resources++
			}
			if whole {
				break
			}
		}
		return lines.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	if resources < 20000 {
		t.Errorf("only %d resources met", resources)
	}
	for member, count := range unknown {
		t.Errorf("%s is in no type (%d times)", member, count)
	}
}

func readMaybeGzip(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if !strings.HasSuffix(path, ".gz") {
		return io.ReadAll(file)
	}
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unzipped)
}

func walkResource(resource map[string]any, unknown map[string]int) {
	name, _ := resource["resourceType"].(string)
	def := TypeOf(name)
	if def == nil {
		unknown["resource "+name]++
		return
	}
	for member, value := range resource {
		if member != "resourceType" || def.Element(member) != nil {
			walkMember(def, member, value, unknown)
		}
	}
}

func walkMember(def *TypeDef, member string, value any, unknown map[string]int) {
	name, primitiveExtension := strings.CutPrefix(member, "_")
	e := def.Element(name)
	if e == nil {
		unknown[def.Name+"."+member]++
		return
	}
	if _, isArray := value.([]any); isArray != e.Many {
		unknown[fmt.Sprintf("%s.%s as array: %v", def.Name, member, isArray)]++
	}
	walkValue(def.Name+"."+member, e, value, primitiveExtension, unknown)
}

func walkValue(path string, e *Element, value any, primitiveExtension bool, unknown map[string]int) {
	switch value := value.(type) {
	case []any:
		for _, one := range value {
			walkValue(path, e, one, primitiveExtension, unknown)
		}
	case map[string]any:
		inner := TypeOf(e.Type)
		switch {
		case e.Type == "Resource":
			walkResource(value, unknown)
			return
		case primitiveExtension && inner == nil:
			inner = TypeOf("Extension") // Element has the members id and extension, and so has Extension
		case inner == nil || primitiveExtension:
			unknown[path+" as object"]++
			return
		}
		for member, below := range value {
			walkMember(inner, member, below, unknown)
		}
	case nil:
		if !primitiveExtension {
			unknown[path+" as null"]++
		}
	default:
		if TypeOf(e.Type) != nil || e.Type == "Resource" || primitiveExtension {
			unknown[path+" as scalar"]++
		}
	}
}
