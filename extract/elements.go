package extract

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"strings"
	"sync"
)

//go:generate go run ./internal/elementgen

// elementsText is the table of FHIR R4 elements. Its header says where it
// comes from and how a line reads; internal/elementgen/classes.go holds the
// rules by which leaves get their classes.
//
//go:embed elements.txt
var elementsText string

// ElementsSHA256 names the table of FHIR R4 elements: hex, of its bytes.
func ElementsSHA256() string {
	sum := sha256.Sum256([]byte(elementsText))
	return hex.EncodeToString(sum[:])
}

// TypeDef is a resource type, a data type, or what stands at a backbone
// element, which has a type of its own, named by its path:
// "Observation.component". Where its place gives the leaves of a common data
// type another class, an element has a narrowed type that is named after both:
// "CodeableConcept(language)". So a walk down the types meets every leaf with
// its right class and needs to remember nothing.
//
// Primitive types have no TypeDef, nor has Resource: what stands there is of
// the type that its own resourceType member names. The member resourceType,
// and the members with a leading underscore that extend primitives, are part
// of the JSON format and are no elements.
type TypeDef struct {
	Name     string
	Resource bool
	Elements []Element // sorted by Name
}

// Element is an element as it is named in JSON.
//
// Its class follows from the place first, then from the primitive type, and
// where two could be meant it is the stricter one:
//
//	string, markdown, xhtml, base64Binary   FreeText, and so is all of Attachment and Annotation,
//	                                        Coding.version and display, Quantity.unit, codes of meta.tag,
//	                                        and the values of Extension and other choices of any type
//	date, dateTime, instant, time, Timing   Date; birthDate BirthDate, Patient.deceasedDateTime DeathDate
//	decimal, integer, …                     Number; of an Age, or a range of ages, AgeYears
//	uri, url, canonical                     WebAddress; the system of a Coding or Quantity CodeSystem
//	id, oid, uuid, Identifier.value         OtherUnique; id of a resource RecordKey, of a Patient SubjectKey
//	code                                    Code; gender Sex, languages Language, Quantity.code Unit
//	HumanName Name; Address Geography, but Town, Postcode and State (country too); Reference.reference Link
//	ContactPoint.value                      Phone, whichever of phone, fax, e-mail and URL it holds
//
// A code, number or link can still tell what its class does not say: the value
// of an Observation of age is a Number here, and a local code may be anything.
type Element struct {
	Name    string   // a choice has one element for each of its types: valueQuantity, valueString, …
	Type    string   // of a primitive, the FHIR name of it; else the name of a TypeDef, or Resource
	Many    bool     // a JSON array
	Class   Class    // of a leaf; Unclassed when the type is no primitive
	Targets []string // resource types that a Reference may point to; Resource stands for any
}

// TypeOf finds a type; nil when FHIR R4 has none of that name. What it gives
// is shared and must not be changed.
func TypeOf(name string) *TypeDef { return elementTable().types[name] }

// Element finds an element; nil when the type has none of that name. The
// search is written out so that name does not escape: a caller may convert
// bytes for the call without allocating.
func (t *TypeDef) Element(name string) *Element {
	low, high := 0, len(t.Elements)
	for low < high {
		middle := (low + high) / 2
		switch e := &t.Elements[middle]; {
		case e.Name == name:
			return e
		case e.Name < name:
			low = middle + 1
		default:
			high = middle
		}
	}
	return nil
}

// ElementNames lists the names of the elements, for diagnostics.
func (t *TypeDef) ElementNames() []string {
	names := make([]string, len(t.Elements))
	for i := range t.Elements {
		names[i] = t.Elements[i].Name
	}
	return names
}

// ResourceTypes lists the names of all resource types that have instances,
// sorted. The list is shared and must not be changed.
func ResourceTypes() []string { return elementTable().resources }

// Compartment lists the elements by which a resource belongs to a patient, as
// paths from the resource down, such as "subject" or "participant.actor": those
// of the patient compartment (FHIR R4, CompartmentDefinition/patient), and
// where the standard puts a resource in none, the element that names the
// patient it is about (Contract, Device, GuidanceResponse, Task). Most of them
// may point to others than patients, and not all name the subject: the
// performer of an Observation is among them. For a Patient it is other
// Patients that the list tells of; its own id is not in it.
// It is empty for a resource about no patient.
func Compartment(resource string) []string { return elementTable().compartments[resource] }

type elements struct {
	types        map[string]*TypeDef
	resources    []string
	compartments map[string][]string
}

// elementTable reads the table on first use. Names stay slices of the
// embedded text.
var elementTable = sync.OnceValue(func() *elements {
	table := &elements{types: map[string]*TypeDef{}, compartments: map[string][]string{}}
	primitives := map[string]Class{}
	targets := map[string][]string{}
	for line := range strings.Lines(elementsText) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, rest, _ := strings.Cut(rest, " ")
		switch kind {
		case "primitive":
			primitives[name], _ = ParseClass(rest)
		case "compartment":
			table.compartments[name] = strings.Fields(rest)
		case "resource":
			table.resources = append(table.resources, name)
			fallthrough
		case "type":
			fields := strings.Fields(rest)
			t := &TypeDef{Name: name, Resource: kind == "resource", Elements: make([]Element, len(fields))}
			for i, field := range fields {
				t.Elements[i] = parseElement(field, primitives, targets)
			}
			table.types[name] = t
		}
	}
	return table
})

// parseElement reads name:type, then * when it repeats, =class, >targets. A
// class that it does not know is Unclassed, which never leaves.
func parseElement(field string, primitives map[string]Class, targets map[string][]string) Element {
	var e Element
	field, to, _ := strings.Cut(field, ">")
	if to != "" {
		if targets[to] == nil {
			targets[to] = strings.Split(to, "|")
		}
		e.Targets = targets[to]
	}
	field, class, ownClass := strings.Cut(field, "=")
	field, e.Many = strings.CutSuffix(field, "*")
	e.Name, e.Type, _ = strings.Cut(field, ":")
	e.Class = primitives[e.Type]
	if ownClass {
		e.Class, _ = ParseClass(class)
	}
	return e
}
