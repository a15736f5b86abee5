package deid

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// shapePolicy releases fields of a resource in identified form: whoever keeps
// most shows best what does not leave whatever the policy says.
const shapePolicy = `postern: policy/v1
policy: shapes
version: 1
standard: identified
recipient: a-practice
purpose: TREAT
basis: 45 CFR 164.506(c)(2)
agreement: {kind: participation, id: T-1, from: 2020-01-01, to: 2099-12-31}
because: a test
people: {consent: {general: {without_directive: permit}}}
inputs: {consents: {max_age: 1 day, shrink_limit: 1%%}}
release:
  %s:
    because: a test
    fields:
%soutput: {layout: ndjson, mode: full, part2_rows: leave-out}
`

// Each shape of FHIR's JSON, typed by hand: a file, what the policy keeps of
// one type, and the lines that the engine gives. A ? stands before a reference
// that stays only if its target is in the drop; a patient of the record's own is
// always named, and a record that names two is about both.
var shapes = []struct{ name, dataset, keep, file, want string }{
	{"contained", "Observation", "status, subject, performer, specimen, focus",
		`{"resourceType":"Observation","status":"final","contained":[{"resourceType":"Practitioner","id":"c1","name":[{"family":"Roe"}]},{"resourceType":"Patient","id":"c2"},{"resourceType":"Observation","id":"c3","status":"amended","subject":{"reference":"Patient/p1"}}],
		 "subject":{"reference":"Patient/p1"},"performer":[{"reference":"#c1"},{"reference":"Organization/o1"}],"specimen":{"reference":"#"},"focus":[{"reference":"#c3"}]}`,
		`{"resourceType":"Observation","status":"final","subject":{"reference":"Patient/p1"},"performer":[{"reference":"?Organization/o1"}]}`},
	{"a Bundle and references within it", "Observation", "id, subject, encounter, hasMember, derivedFrom",
		`{"resourceType":"Bundle","type":"collection","id":"b","entry":[
		  {"fullUrl":"urn:uuid:11111111-1111-4111-8111-111111111111","resource":{"resourceType":"Patient","id":"p1"}},
		  {"fullUrl":"urn:uuid:22222222-2222-4222-8222-222222222222","resource":{"resourceType":"Encounter","id":"e1","subject":{"reference":"urn:uuid:11111111-1111-4111-8111-111111111111"}}},
		  {"fullUrl":"https://ehr.example/fhir/Observation/o1","search":{"mode":"match"},"resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"urn:uuid:11111111-1111-4111-8111-111111111111"},"encounter":{"reference":"urn:uuid:22222222-2222-4222-8222-222222222222"}}},
		  {"fullUrl":"urn:uuid:33333333-3333-4333-8333-333333333333","resource":{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"hasMember":[{"reference":"https://ehr.example/fhir/Observation/o1"},{"reference":"urn:uuid:44444444-4444-4444-8444-444444444444"}],"derivedFrom":[{"reference":"urn:uuid:22222222-2222-4222-8222-222222222222"}]}}]}`,
		`{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"},"encounter":{"reference":"?Encounter/e1"}}
{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"hasMember":[{"reference":"?Observation/o1"}],"derivedFrom":[{"reference":"?Encounter/e1"}],"id":"33333333-3333-4333-8333-333333333333"}`},
	{"primitive extensions", "Patient", "id, gender, birthDate, name.given, name.family",
		`{"resourceType":"Patient","id":"p1","_id":{"extension":[{"url":"u","valueString":"x"}]},"gender":"female","_gender":{"id":"g"},"birthDate":"1970-03-02","_birthDate":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/patient-birthTime","valueDateTime":"1970-03-02T14:35:45-05:00"}]},
		 "name":[{"given":["Ann",null,"May"],"_given":[null,{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]},null],"_family":{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/humanname-own-name","valueString":"Roe"}]}}]}`,
		`{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1970-03-02","name":[{"given":["Ann","May"]}]}`},
	{"choice types", "Observation", "value[x], component.value[x], effectivePeriod",
		`{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"effectivePeriod":{"start":"2026-01-02T08:00:00Z","end":"2026-01-02"},"valueQuantity":{"value":17.50,"comparator":"<","unit":"points","system":"http://unitsofmeasure.org","code":"{score}"},
		 "component":[{"valueInteger":3},{"valueBoolean":false},{"valueString":"she said so"},{"valueCodeableConcept":{"coding":[{"system":"http://loinc.org","code":"LA6568-5","display":"Not at all"}],"text":"not at all"}},{"valueQuantity":{"value":"3"}},{"valueDateTime":"2026-01-02"},{"valueTime":"08:30:00"},{"valuePeriod":{"start":"2026"}},{"valueRange":{"low":{"value":1},"high":{"value":2}}},{"valueRatio":{"numerator":{"value":1},"denominator":{"value":10}}},{"valueSampledData":{"origin":{"value":0},"period":10,"dimensions":1,"data":"1 2 3"}},{"value":3},{"valueUnheard":3}]}`,
		`{"resourceType":"Observation","effectivePeriod":{"start":"2026-01-02T08:00:00Z","end":"2026-01-02"},"valueQuantity":{"value":17.50,"comparator":"<","system":"http://unitsofmeasure.org","code":"{score}"},"component":[{"valueInteger":3},{"valueBoolean":false},{"valueCodeableConcept":{"coding":[{"system":"http://loinc.org","code":"LA6568-5"}]}},{"valueDateTime":"2026-01-02"},{"valueTime":"08:30:00"},{"valuePeriod":{"start":"2026"}},{"valueRange":{"low":{"value":1},"high":{"value":2}}},{"valueRatio":{"numerator":{"value":1},"denominator":{"value":10}}},{"valueSampledData":{"origin":{"value":0},"period":10,"dimensions":1}}]}`},
	{"references", "Observation", "subject, performer, basedOn",
		`{"resourceType":"Observation","subject":{"reference":"https://ehr.example/fhir/Patient/p1/_history/4","type":"Patient","identifier":{"system":"urn:oid:1.2.3","value":"MRN-77"},"display":"Ann May"},
		 "performer":[{"reference":"Practitioner/d1","display":"Dr Roe"},{"reference":"http://other.example/base/Organization/o1"},{"reference":"urn:uuid:55555555-5555-4555-8555-555555555555"},{"reference":"#c1"},{"reference":"Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1999000023"},{"identifier":{"system":"http://hl7.org/fhir/sid/us-npi","value":"1999000023"}},{"display":"a neighbor"},{"reference":"Patient\/p1"},{"reference":7},"Practitioner/d2"],
		 "basedOn":[{"reference":"urn:oid:1.2.3"},{"reference":"ServiceRequest/s1/_history/1"},{"reference":"servicerequest/s2"}]}`,
		`{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"performer":[{"reference":"?Practitioner/d1"},{"reference":"?Organization/o1"},{"reference":"Patient/p1"}],"basedOn":[{"reference":"?ServiceRequest/s1"}]}`},
	{"identifier and display of a reference, where the policy names them", "Observation", "subject.identifier.value, subject.display, performer.type",
		`{"resourceType":"Observation","subject":{"reference":"Patient/p1","identifier":{"system":"urn:oid:1.2.3","value":"MRN-77","assigner":{"display":"The Clinic"}},"display":"Ann May"},"performer":[{"type":"Practitioner","display":"Dr Roe"},{"reference":"Practitioner/d1"}]}`,
		`{"resourceType":"Observation","subject":{"identifier":{"value":"MRN-77"},"display":"Ann May"},"performer":[{"type":"Practitioner"}]}`},
	{"narrative and meta", "Condition", "id, code, subject, meta.lastUpdated, meta.security.code",
		`{"resourceType":"Condition","id":"c1","meta":{"versionId":"3","lastUpdated":"2026-01-02T08:00:00.123Z","source":"urn:uuid:1","profile":["http://hl7.org/fhir/us/core/StructureDefinition/us-core-condition"],"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY","display":"psychiatry"}],"tag":[{"code":"Ann May"}]},
		 "text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">Ann May, depressed</div>"},"code":{"coding":[{"code":"F32.1","display":"moderate"}],"text":"depressed since the divorce"},"subject":{"reference":"Patient/p1"},"implicitRules":"http://x","language":"en"}`,
		`{"resourceType":"Condition","id":"c1","meta":{"lastUpdated":"2026-01-02T08:00:00.123Z","security":[{"code":"PSY"}]},"code":{"coding":[{"code":"F32.1"}]},"subject":{"reference":"Patient/p1"}}`},
	{"attachments and annotations", "DiagnosticReport", "status, subject, effectiveDateTime",
		`{"resourceType":"DiagnosticReport","status":"final","subject":{"reference":"Patient/p1"},"effectiveDateTime":"2026-01-02","presentedForm":[{"contentType":"text/plain","data":"QW5uIE1heQ==","title":"Ann May","hash":"eA==","url":"https://ehr.example/Binary/1"}],"conclusion":"Ann is better","media":[{"comment":"x","link":{"reference":"Media/m1"}}],"extension":[{"url":"u","valueAttachment":{"data":"QQ=="}},{"url":"u","valueAnnotation":{"text":"x"}}]}`,
		`{"resourceType":"DiagnosticReport","status":"final","subject":{"reference":"Patient/p1"},"effectiveDateTime":"2026-01-02"}`},
	{"nested extensions", "Patient", "id, us-core-race, us-core-birthsex, maritalStatus",
		`{"resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race","extension":[{"url":"ombCategory","valueCoding":{"system":"urn:oid:2.16.840.1.113883.6.238","code":"2106-3","display":"White"}},{"url":"text","valueString":"White, of Roe Valley"},{"url":"more","extension":[{"url":"ombCategory","valueCoding":{"code":"hidden"}}]}]},
		 {"extension":[{"url":"ombCategory","valueString":"no coding"}],"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"},{"url":"http:\/\/hl7.org\/fhir\/us\/core\/StructureDefinition\/us-core-birthsex","valueCode":"F"},{"url":"http://ehr.example/vip","valueBoolean":true},{"valueString":"no url"},{"url":7,"valueString":"url of another kind"}],"id":"p1","maritalStatus":{"extension":[{"url":"u","valueString":"divorced twice"}],"coding":[{"extension":[{"url":"u","valueCode":"x"}],"code":"D"}]}}`,
		`{"resourceType":"Patient","extension":[{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race","extension":[{"url":"ombCategory","valueCoding":{"system":"urn:oid:2.16.840.1.113883.6.238","code":"2106-3"}}]},{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex","valueCode":"F"}],"id":"p1","maritalStatus":{"coding":[{"code":"D"}]}}`},
	{"answers of a Questionnaire", "QuestionnaireResponse", "status, subject, authored, item.linkId, item.answer.value[x], item.item.linkId, item.item.answer.valueInteger, item.answer.item.linkId",
		`{"resourceType":"QuestionnaireResponse","status":"completed","questionnaire":"Questionnaire/phq9|2","subject":{"reference":"Patient/p1"},"authored":"2026-01-02T08:00:00Z","source":{"reference":"Patient/p1"},"item":[{"linkId":"1","text":"Little interest?","answer":[{"valueCoding":{"system":"http://loinc.org","code":"LA6568-5","display":"Not at all"}}]},{"linkId":"2","answer":[{"valueString":"since my son died"},{"valueInteger":2,"item":[{"linkId":"2.1","answer":[{"valueInteger":9}]}]},{"valueAttachment":{"data":"QQ=="}},{"valueReference":{"reference":"Observation/o1","display":"x"}},{"valueDecimal":1.0E1},{"valueUri":"http://ehr.example/ann"}]},{"text":"only text"},{"linkId":"3","item":[{"linkId":"3.1","answer":[{"valueInteger":1},{"valueInteger":"1"},{"valueDecimal":2}]}]}]}`,
		`{"resourceType":"QuestionnaireResponse","status":"completed","subject":{"reference":"Patient/p1"},"authored":"2026-01-02T08:00:00Z","item":[{"linkId":"1","answer":[{"valueCoding":{"system":"http://loinc.org","code":"LA6568-5"}}]},{"linkId":"2","answer":[{"valueInteger":2,"item":[{"linkId":"2.1"}]},{"valueReference":{"reference":"?Observation/o1"}},{"valueDecimal":1.0E1}]},{"linkId":"3","item":[{"linkId":"3.1","answer":[{"valueInteger":1}]}]}]}`},
	{"a MeasureReport of one person", "MeasureReport", "id, status, type, subject, period, evaluatedResource, group.population.code, group.population.count, group.measureScore",
		`{"resourceType":"MeasureReport","id":"m1","meta":{"profile":["http://hl7.org/fhir/us/davinci-deqm/StructureDefinition/indv-measurereport-deqm"]},"contained":[{"resourceType":"Observation","id":"c1","subject":{"reference":"Patient/p1"}},{"resourceType":"Patient","id":"c2","name":[{"family":"May"}]}],"status":"complete","type":"individual","measure":"http://ehr.example/Measure/dep-rem|1","subject":{"reference":"Patient/p1","display":"Ann May"},"date":"2026-02-01","reporter":{"reference":"Organization/o1"},"period":{"start":"2025-01-01","end":"2025-12-31"},
		 "group":[{"population":[{"code":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/measure-population","code":"numerator","display":"Numerator"}]},"count":1,"subjectResults":{"reference":"List/l1"}},{"count":"1"}],"measureScore":{"value":1},"stratifier":[{"stratum":[{"value":{"text":"Roe Valley"}}]}]}],
		 "evaluatedResource":[{"extension":[{"url":"http://hl7.org/fhir/us/davinci-deqm/StructureDefinition/extension-populationReference","valueString":"numerator"}],"reference":"#c1"},{"reference":"Observation/o1"},{"reference":"Patient/p1"},{"reference":"Patient/p2"},{"reference":"Encounter/e1","identifier":{"value":"V-9"}}]}`,
		`{"resourceType":"MeasureReport","id":"m1","status":"complete","type":"individual","subject":{"reference":"Patient/p1"},"period":{"start":"2025-01-01","end":"2025-12-31"},"group":[{"population":[{"code":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/measure-population","code":"numerator"}]},"count":1}],"measureScore":{"value":1}}],"evaluatedResource":[{"reference":"?Observation/o1"},{"reference":"Patient/p1"},{"reference":"Patient/p2"},{"reference":"?Encounter/e1"}]}`},
	{"a modifier in a contained resource of a MeasureReport", "MeasureReport", "status, subject",
		`{"resourceType":"MeasureReport","status":"complete","type":"individual","subject":{"reference":"Patient/p1"},"contained":[{"resourceType":"Observation","id":"c1","component":[{"modifierExtension":[{"url":"u","valueBoolean":true}]}]}]}`,
		"unsafe"},
}

func TestShapes(t *testing.T) {
	for _, c := range shapes {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "shapes.yaml")
			fields := ""
			for name := range strings.SplitSeq(c.keep, ", ") {
				fields += "      " + name + ": {do: keep}\n"
			}
			if err := os.WriteFile(file, fmt.Appendf(nil, shapePolicy, c.dataset, fields), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := policies.Load(file, policies.Env{})
			if err != nil {
				t.Fatal(err)
			}
			engine, got := compile(t, p, c.dataset).Engine(), ""
			for rec := range bundled(t, c.file) {
				if rec.Dataset != c.dataset {
					continue
				}
				var out Output
				if rec.Reject != extract.NoReason {
					t.Fatal(rec.Reject, rec.Detail)
				}
				if err := engine.Apply(rec, nil, &out); errors.Is(err, ErrUnsafe) {
					got += "unsafe\n"
				} else if err != nil {
					t.Fatal(err)
				}
				for i := len(out.Holes) - 1; i >= 0; i-- { // a ? behind the quote
					at := out.Holes[i].Start + 1
					out.Bytes = append(out.Bytes[:at], append([]byte("?"), out.Bytes[at:]...)...)
				}
				got += string(out.Bytes)
			}
			if got != c.want+"\n" {
				t.Errorf("got\n%swant\n%s", got, c.want)
			}
		})
	}
}
