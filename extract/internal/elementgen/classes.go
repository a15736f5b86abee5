package main

import (
	"fmt"
	"strings"
)

// The class of a leaf follows from, in this order: the place it has (places),
// the data type it belongs to (wholeTypes), its name (names), whether it is a
// choice of any type, and its primitive type (primitiveClasses). Where two
// classes could be meant, the one that the law treats more strictly is taken.
// Class names are those of extract.Class; the letters are the paragraphs of
// 45 CFR 164.514(b)(2)(i).

// primitiveClasses: a string may carry anything, so it is free text unless
// its place says otherwise. Every date is (C), a time of day with it. A URI is
// (N), an OID, UUID or id (R), unless it is known to name a code system.
var primitiveClasses = map[string]string{
	"base64Binary": "free-text", "markdown": "free-text", "string": "free-text", "xhtml": "free-text",
	"boolean": "boolean", "code": "code",
	"date": "date", "dateTime": "date", "instant": "date", "time": "date",
	"decimal": "number", "integer": "number", "positiveInt": "number", "unsignedInt": "number",
	"canonical": "web-address", "uri": "web-address", "url": "web-address",
	"id": "other-unique", "oid": "other-unique", "uuid": "other-unique",
}

var places = map[string]string{
	"HumanName.text": "name", "HumanName.family": "name", "HumanName.given": "name", "HumanName.prefix": "name", "HumanName.suffix": "name",
	"ContactDetail.name": "name", "Contributor.name": "name", "FamilyMemberHistory.name": "name", "AuditEvent.agent.name": "name",

	"Address.text": "geography", "Address.line": "geography", "Address.city": "town", "Address.district": "geography",
	"Address.state": "state", "Address.country": "state", "Address.postalCode": "postcode",
	"Location.position.longitude": "geography", "Location.position.latitude": "geography", "Location.position.altitude": "geography",

	// A ContactPoint is a telephone or fax number, an e-mail address or a URL.
	// All four are identifiers under every standard, which (R) is not: it is
	// missing from the sixteen of a limited data set, 164.514(e)(2).
	"ContactPoint.value":               "phone",
	"AuditEvent.agent.network.address": "network-address",

	// What an Identifier identifies is known only from its system.
	"Identifier.value":       "other-unique",
	"AuditEvent.agent.altId": "other-unique", "Coverage.class.value": "other-unique",
	"Coverage.subscriberId": "member-number", "Coverage.dependent": "member-number",

	"Device.udiCarrier.deviceIdentifier": "device-serial", "Device.udiCarrier.carrierAIDC": "device-serial", "Device.udiCarrier.carrierHRF": "device-serial",
	"DeviceDefinition.udiDeviceIdentifier.deviceIdentifier": "device-serial",
	"Device.distinctIdentifier":                             "device-serial", "Device.modelNumber": "device-serial", "Device.partNumber": "device-serial",

	"FamilyMemberHistory.bornDate": "birth-date", "FamilyMemberHistory.deceasedDate": "death-date",
	"Patient.deceasedDateTime": "death-date",
	"Age.value":                "age",

	"MolecularSequence.observedSeq": "biometric", "MolecularSequence.referenceSeq.referenceSeqString": "biometric",
	"MolecularSequence.variant.observedAllele": "biometric", "MolecularSequence.variant.referenceAllele": "biometric",

	"Reference.reference": "link",

	// The system and code of a value stay; its printed unit is display text,
	// and so is the version of a code system, an open string.
	"Coding.system": "code-system", "Quantity.system": "code-system", "Age.system": "code-system",
	"Count.system": "code-system", "Distance.system": "code-system", "Duration.system": "code-system",
	"Quantity.code": "unit", "Age.code": "unit", "Count.code": "unit", "Distance.code": "unit", "Duration.code": "unit",

	// The key of a question is its form's, not the patient's.
	"Questionnaire.item.linkId": "code", "QuestionnaireResponse.item.linkId": "code",
}

// wholeTypes are data types all of whose leaves have one class. A Timing tells
// when something happened or will; even its counts are elements of dates.
var wholeTypes = map[string]string{
	"Annotation": "free-text", "Attachment": "free-text", "Timing": "date", "Timing.repeat": "date",
}

// names hold wherever a leaf is so called.
var names = map[string]string{
	"birthDate": "birth-date", "gender": "sex",
	"lotNumber": "device-serial", "serialNumber": "device-serial", "preAuthRef": "other-unique",
}

// classOf is the class of one element; empty when its type is complex.
func classOf(parent, name, typ string, open, resource bool) string {
	byType, leaf := primitiveClasses[typ]
	if !leaf {
		return ""
	}
	isResource := resource && !strings.Contains(parent, ".")
	path := parent + "." + name
	switch {
	case path == "Patient.id":
		return "subject-key"
	case isResource && name == "id":
		return "record-key"
	case isResource && name == "language":
		return "language"
	case name == "id": // Element.id, an open string
		return byType
	}
	for _, class := range []string{places[path], wholeTypes[parent], names[name]} {
		if class != "" {
			return class
		}
	}
	if open {
		return "free-text"
	}
	return byType
}

// narrowed are elements of a common data type whose place gives the leaves
// another class: each gets a type of its own, such as CodeableConcept(language).
// A range of ages shows an age, even where it is that of a reference range; a
// tag in Meta is anything that a system of the clinic likes to write there.
var narrowed = map[string]string{
	"Patient.communication.language": "language", "RelatedPerson.communication.language": "language",
	"Practitioner.communication": "language", "HealthcareService.communication": "language",
	"FamilyMemberHistory.sex":        "sex",
	"FamilyMemberHistory.bornPeriod": "birth-date",
	"FamilyMemberHistory.ageRange":   "age", "FamilyMemberHistory.deceasedRange": "age", "FamilyMemberHistory.condition.onsetRange": "age",
	"AllergyIntolerance.onsetRange": "age", "Condition.onsetRange": "age", "Condition.abatementRange": "age", "Procedure.performedRange": "age", "RiskAssessment.prediction.whenRange": "age",
	"Observation.referenceRange.age": "age", "ObservationDefinition.qualifiedInterval.age": "age",
	"Patient.photo": "photograph", "Person.photo": "photograph", "Practitioner.photo": "photograph", "RelatedPerson.photo": "photograph",
	"BodyStructure.image": "photograph", "Media.content": "photograph",
	"Meta.tag": "free-text",
}

// replaces says which class of leaf a narrowing class takes the place of.
var replaces = map[string]string{
	"language": "code", "sex": "code", "free-text": "code",
	"age": "number", "birth-date": "date", "photograph": "free-text",
}

// narrow gives the element at path a type of its own.
func narrow(types map[string]*typeDef, path, class string) error {
	parent, name := cutLast(path)
	t := types[parent]
	if t == nil || t.elements[name].typ == "" {
		return fmt.Errorf("no element %s to narrow", path)
	}
	e := t.elements[name]
	e.typ = narrowType(types, e.typ, class)
	t.elements[name] = e
	return nil
}

// narrowType adds the narrowed type, and those of its elements that hold
// leaves to replace, and gives its name.
func narrowType(types map[string]*typeDef, name, class string) string {
	narrowName := name + "(" + class + ")"
	if types[narrowName] != nil {
		return narrowName
	}
	own := &typeDef{elements: map[string]element{}}
	types[narrowName] = own
	for member, e := range types[name].elements {
		switch {
		case e.class == replaces[class] && member != "id":
			e.class = class
		case e.typ == "Coding" || e.typ == "Quantity":
			e.typ = narrowType(types, e.typ, class)
		}
		own.elements[member] = e
	}
	return narrowName
}
