package consent

import (
	"cmp"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// r5Only are the elements by which a Consent of FHIR R5 (hl7.org/fhir/R5/consent.html)
// is recognized. R4 and R4B have none of them; a Consent that mixes the two is
// understood by neither.
var r5Only = strings.Fields("decision subject date period grantor grantee manager controller regulatoryBasis policyBasis policyText")

// r5Types are the types that R5 has and R4 has not, or has otherwise. Data
// types are those of R4.
var r5Types = func() map[string]*extract.TypeDef {
	types := map[string]*extract.TypeDef{}
	for name, elements := range map[string]string{
		"Consent": "id:id meta:Meta language:code identifier:Identifier* status:code category:CodeableConcept* subject:Reference date:date period:Period " +
			"grantor:Reference* grantee:Reference* manager:Reference* controller:Reference* sourceAttachment:Attachment* sourceReference:Reference* " +
			"regulatoryBasis:CodeableConcept* policyBasis:Consent.policyBasis policyText:Reference* verification:Consent.verification* " +
			"decision:code provision:Consent.provision*",
		"Consent.policyBasis":  "id:string reference:Reference url:url",
		"Consent.verification": "id:string verified:boolean verificationType:CodeableConcept verifiedBy:Reference verifiedWith:Reference verificationDate:dateTime*",
		"Consent.provision": "id:string period:Period actor:Consent.provision.actor* action:CodeableConcept* securityLabel:Coding* purpose:Coding* " +
			"documentType:Coding* resourceType:Coding* code:CodeableConcept* dataPeriod:Period data:Consent.provision.data* expression:Expression provision:Consent.provision*",
		"Consent.provision.actor": "id:string role:CodeableConcept reference:Reference",
		"Consent.provision.data":  "id:string meaning:code reference:Reference",
	} {
		def := &extract.TypeDef{Name: name, Resource: name == "Consent"}
		for _, e := range strings.Fields(elements) {
			element, typ, _ := strings.Cut(e, ":")
			single := strings.TrimSuffix(typ, "*")
			def.Elements = append(def.Elements, extract.Element{Name: element, Type: single, Many: single != typ})
		}
		slices.SortFunc(def.Elements, func(a, b extract.Element) int { return cmp.Compare(a.Name, b.Name) })
		types[name] = def
	}
	return types
}()

// typeOf finds a type of the version that the Consent is of; nil of a primitive.
func (c *consentReader) typeOf(name string) *extract.TypeDef {
	if def := r5Types[name]; c.r5 && def != nil {
		return def
	}
	return extract.TypeOf(name)
}

// r5Scopes are the codes of categories (HL7 consentcategorycodes and v3-ActCode,
// LOINC): R5 has no scope.
var r5Scopes = map[string]scope{
	"59284-0": general, "57016-8": general, "64292-6": general, "INFA": general, "INFAO": general, "INFASO": general,
	"IDSCL": general, "IRDSCL": general, "ICOL": general, "npp": general, "42CFRPart2": general, "patient-privacy": general,
	"research": research, "rsdid": research, "rsreid": research, "RESEARCH": research,
	"acd": otherMatters, "dnr": otherMatters, "emrgonly": otherMatters, "hcd": otherMatters, "polst": otherMatters, "treatment": otherMatters, "adr": otherMatters,
}

// r5Rule reads the base decision and its exceptions. The base is for those who
// are granted it, to be carried out by those who control it, in the period of
// the whole.
func (c *consentReader) r5Rule(n *draft, base effect) {
	p := unlimited(base)
	readPeriod(&p, c.root.member("period"))
	n.provisions = []provision{p}
	n.whos, n.whats = []who{{recipients: references(c.root.member("grantee")), custodians: references(c.root.member("controller")), action: yes}}, []what{{}}
	for child := range c.root.member("provision").elements {
		c.provision(n, child, 1-base)
	}
	n.provisions[0].next = uint16(len(n.provisions))
}

func references(list node) (values []string) {
	for ref := range list.elements {
		values = append(values, referenceValue(ref))
	}
	return values
}
