package consent

import (
	"cmp"
	"path"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// Values of criteria carry their kind in the first byte, so that one that
// cannot be compared is never mistaken for one that differs.
const (
	byName      = '=' // recipient by the name or number that the clinic uses: another one differs
	byReference = '@' // by a reference or identifier that we cannot follow: another one may still be the same
	byKind      = '~' // a kind of recipients
	unclear     = "?" // cannot be evaluated
)

// readWho reads the criteria of a provision that do not depend on a record.
func readWho(p node) who {
	w := who{action: action(p)}
	for actor := range p.member("actor").elements {
		value := referenceValue(actor.member("reference"))
		switch role(actor) {
		case recipientRole:
			w.recipients = append(w.recipients, value)
		case custodianRole:
			w.custodians = append(w.custodians, value)
		default:
			w.recipients = append(w.recipients, unclear)
		}
	}
	for purpose := range p.member("purpose").elements {
		w.purposes = append(w.purposes, cmp.Or(purpose.member("code").text(), unclear))
	}
	return w
}

// referenceValue is whom a Reference means, as a criterion.
func referenceValue(ref node) string {
	if r := ref.member("reference").text(); r != "" {
		return string(byReference) + r
	}
	if v := ref.member("identifier").member("value").text(); v != "" {
		return string(byReference) + ref.member("identifier").member("system").text() + "|" + v
	}
	return unclear
}

type actorRole uint8

const (
	unknownRole actorRole = iota
	recipientRole
	custodianRole
)

// role says what an actor has to do with a disclosure: receives it, makes it,
// or something that this version does not understand.
func role(actor node) actorRole {
	found := unknownRole
	for code := range actor.member("role").codes {
		switch code {
		case "IRCP", "PRCP", "GRANTEE":
			return recipientRole
		case "CST":
			found = custodianRole
		}
	}
	return found
}

// action tells whether a provision is about disclosing. A rule about access or
// use may or may not be meant for it; collecting and correcting are not.
func action(p node) match {
	list := p.member("action")
	if list.absent() {
		return yes
	}
	found := no
	for concept := range list.elements {
		coded := false
		for code := range concept.codes {
			coded = true
			switch code {
			case "disclose":
				found = yes
			case "collect", "correct":
			default:
				found = max(found, unsure)
			}
		}
		if !coded {
			found = max(found, unsure)
		}
	}
	return found
}

// readWhat reads the criteria of a provision that each record settles.
func readWhat(p node) (w what) {
	for label := range p.member("securityLabel").elements {
		w.labels = append(w.labels, labelValue(label))
	}
	for _, name := range []string{"class", "resourceType"} { // of R4, of R5
		for class := range p.member(name).elements {
			w.classes = append(w.classes, classValue(class))
		}
	}
	for _, name := range []string{"documentType", "expression"} { // R5; no record tells either
		for range p.member(name).elements {
			w.data = append(w.data, unclear)
		}
	}
	for concept := range p.member("code").elements {
		coded := false
		for code := range concept.codes {
			w.codes, coded = append(w.codes, code), true
		}
		if !coded {
			w.codes = append(w.codes, unclear)
		}
	}
	for data := range p.member("data").elements {
		w.data = append(w.data, dataValue(data))
	}
	return w
}

// labelValue is the code of a security label. Records are compared by code
// alone, so one of a code system that is not known cannot be compared.
func labelValue(label node) string {
	code, system := label.member("code").text(), label.member("system").text()
	known := isSensitivity(code) || confidentialityRank(code) > 0
	if system == "" && known || labelSystems[system] {
		return cmp.Or(code, unclear)
	}
	return unclear
}

// labelSystems are the code systems of security labels, by their addresses in
// R4 and R5, in STU3, and by OID.
var labelSystems = map[string]bool{
	"http://terminology.hl7.org/CodeSystem/v3-ActCode": true, "http://hl7.org/fhir/v3/ActCode": true, "urn:oid:2.16.840.1.113883.5.4": true,
	"http://terminology.hl7.org/CodeSystem/v3-Confidentiality": true, "http://hl7.org/fhir/v3/Confidentiality": true, "urn:oid:2.16.840.1.113883.5.25": true,
	"http://terminology.hl7.org/CodeSystem/v3-ActReason": true, "http://terminology.hl7.org/CodeSystem/v3-ObservationValue": true,
}

// classValue is the resource type that a class names; profiles and kinds of
// documents cannot be compared with a record.
func classValue(class node) string {
	code := class.member("code").text()
	switch class.member("system").text() {
	case "", "http://hl7.org/fhir/resource-types", "http://hl7.org/fhir/fhir-types":
		if extract.TypeOf(code) != nil {
			return code
		}
	}
	return unclear + code
}

// dataValue is i:Type/id for the very resource, r:Type/id for it and what it
// refers to, d:Type/id for it and what refers to it. What somebody wrote
// (authoredby) cannot be told.
func dataValue(data node) string {
	kind, id := splitReference(data.member("reference").member("reference").text())
	sort := map[string]string{"instance": "i:", "related": "r:", "dependents": "d:"}[data.member("meaning").text()]
	if kind == "" || id == "" || sort == "" {
		return unclear
	}
	return sort + kind + "/" + id
}

// splitReference takes type and id from a literal reference: relative,
// absolute, or of a version; urn:uuid has an id only. Others give neither.
func splitReference(ref string) (kind, id string) {
	if uuid, ok := strings.CutPrefix(ref, "urn:uuid:"); ok {
		return "", uuid
	}
	ref, _, _ = strings.Cut(ref, "/_history/")
	if strings.ContainsAny(ref, "?#") {
		return "", ""
	}
	rest, id := path.Split(ref)
	if rest == "" {
		return "", ""
	}
	_, kind = path.Split(strings.TrimSuffix(rest, "/"))
	return kind, id
}
