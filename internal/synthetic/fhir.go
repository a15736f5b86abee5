package synthetic

import (
	"encoding/base64"
	"fmt"
	"strconv"
)

const (
	clinicOrganization  = "org-clearview"
	programOrganization = "org-recovery"
)

type clinician struct{ id, number, name string }

// ordinaryClinicians work in the clinic, those after them in the Part 2 program.
const ordinaryClinicians = 8

var clinicians = func() (all [10]clinician) {
	for n := range all {
		all[n] = clinician{id: fmt.Sprintf("prac-%d", n+1), number: providerNumber(n),
			name: "Dr. " + givenNames[(n*7+3)%len(givenNames)] + " " + familyNames[(n*11+5)%len(familyNames)]}
	}
	return all
}()

func fhirFile(resourceType string) string { return "extract/fhir/" + resourceType + ".ndjson" }

var (
	observations = fhirFile("Observation")
	encounters   = fhirFile("Encounter")
)

func organizationOf(p *person) string {
	if p.inProgram {
		return programOrganization
	}
	return clinicOrganization
}

// providerNumber is the n-th clinician's National Provider Identifier: in the
// invented range 1999…, with the check digit of 45 CFR 162.406.
func providerNumber(n int) string {
	first := fmt.Sprintf("1999%05d", n+1)
	sum := 24
	for i, c := range first {
		d := int(c-'0') << (1 - i%2)
		sum += d/10 + d%10
	}
	return fmt.Sprintf("%s%d", first, (10-sum%10)%10)
}

func (c *clinic) writePlaces() {
	for id, name := range [...]string{"Clearview Behavioral Health", "Clearview Recovery Program"} {
		ids := [...]string{clinicOrganization, programOrganization}
		c.writef(fhirFile("Organization"), `{"resourceType":"Organization","id":"%s","identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":"%s"}],"active":true,"name":"%s","telecom":[{"system":"phone","value":"(413) 555-01%02d"}],"address":[{"line":["1 Nonesuch Lane"],"city":"Clearview","state":"MA","postalCode":"02139"}]}`+"\n",
			ids[id], providerNumber(100+id), name, id)
		c.writef(fhirFile("Location"), `{"resourceType":"Location","id":"loc-%d","status":"active","name":"%s, main floor","address":{"line":["1 Nonesuch Lane"],"city":"Clearview","state":"MA","postalCode":"02139"},"position":{"longitude":-72.5,"latitude":42.3},"managingOrganization":{"reference":"Organization/%s"}}`+"\n",
			id+1, name, ids[id])
	}
	for _, who := range clinicians {
		c.writef(fhirFile("Practitioner"), `{"resourceType":"Practitioner","id":"%s","identifier":[{"system":"http://hl7.org/fhir/sid/us-npi","value":"%s"}],"active":true,"name":[{"text":"%s"}],"telecom":[{"system":"email","value":"%[1]s@clearview.example"}]}`+"\n",
			who.id, who.number, who.name)
	}
}

func (c *clinic) writePatient(i int) {
	p := c.invent(i)
	scores := 3 + c.random.IntN(26)
	if c.Records > 0 {
		scores = c.Records*(i+1)/c.Patients - c.Records*i/c.Patients
	}
	c.writePerson(p)
	c.writeCoverage(p)
	first := c.writeCourse(p, scores)
	c.writeCondition(p, first)
	c.writeInputs(p, first)
	if c.Visits {
		c.writeVisits(p)
		c.writeDrugScreening(p)
	}
}

const profile = "http://hl7.org/fhir/us/core/StructureDefinition/"

func (c *clinic) writePerson(p *person) {
	gender, deceased := "F", ""
	if p.male {
		gender = "M"
	}
	if p.deathDate != "" {
		deceased = fmt.Sprintf(`,"deceasedDateTime":"%sT04:30:00-05:00"`, p.deathDate)
	}
	c.line = fmt.Appendf(c.line[:0], `{"resourceType":"Patient","id":"%s","meta":{"lastUpdated":"2026-06-29T23:10:00Z","versionId":"3"},"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">%s, born %s</div>"}`,
		p.id, p.name(), p.birthDate)
	c.line = fmt.Appendf(c.line, `,"extension":[{"url":"%[1]sus-core-race","extension":[{"url":"ombCategory","valueCoding":{"system":"urn:oid:2.16.840.1.113883.6.238","code":"%[2]s","display":"%[3]s"}},{"url":"text","valueString":"%[3]s"}]},{"extension":[{"url":"ombCategory","valueCoding":{"system":"urn:oid:2.16.840.1.113883.6.238","code":"%[4]s","display":"%[5]s"}},{"url":"text","valueString":"%[5]s"}],"url":"%[1]sus-core-ethnicity"},{"url":"%[1]sus-core-birthsex","valueCode":"%[6]s"},{"url":"http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName","valueString":"%[7]s"}]`,
		profile, p.race.code, p.race.text, p.ethnicity.code, p.ethnicity.text, gender, p.maidenName)
	c.line = fmt.Appendf(c.line, `,"identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"MR"}]},"system":"urn:clearview:mrn","value":"%s"},{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"SS"}]},"system":"http://hl7.org/fhir/sid/us-ssn","value":"%s"}]`,
		p.recordNumber, p.ssn)
	c.line = fmt.Appendf(c.line, `,"active":true,"name":[{"use":"official","text":"%s","family":"%s","given":["%s"]}],"telecom":[{"system":"phone","value":"%s","use":"home"},{"system":"email","value":"%s"}],"gender":"%s","birthDate":"%s"%s`,
		p.name(), p.family, p.given, p.phone, p.email, p.sex(), p.birthDate, deceased)
	c.line = fmt.Appendf(c.line, `,"address":[{"line":["%s"],"city":"%s","state":"%s","postalCode":"%s","country":"US"}],"contact":[{"name":{"text":"%s %s"},"telecom":[{"system":"phone","value":"(508) 555-01%02d"}]}],"communication":[{"language":{"coding":[{"system":"urn:ietf:bcp:47","code":"%s"}]}}],"managingOrganization":{"reference":"Organization/%s"}}`+"\n",
		p.street, p.home.city, p.home.state, p.home.zip, pick(c, givenNames), p.family, c.random.IntN(100), p.language, clinicOrganization)
	c.write(fhirFile("Patient"), c.line)
}

func (c *clinic) writeCoverage(p *person) {
	payer, subscriber := "Summit Mutual", fmt.Sprintf("SUM%08d", p.number)
	if p.member != "" {
		payer, subscriber = "Acme Health Plan", p.member
	}
	c.writef(fhirFile("Coverage"), `{"resourceType":"Coverage","id":"V-%d","status":"active","subscriberId":"%s","beneficiary":{"reference":"Patient/%s","display":"%s"},"period":{"start":"2024-01-01"},"payor":[{"display":"%s"}]}`+"\n",
		p.number, subscriber, p.id, p.name(), payer)
}

// join appends parts; the two kinds of record that are many are written with it.
func join(b []byte, parts ...string) []byte {
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

func (c *clinic) writeEncounter(p *person, v *visit) {
	c.line = join(c.line[:0], `{"resourceType":"Encounter","id":"`, v.id,
		`","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"type":[{"coding":[{"system":"http://snomed.info/sct","code":"185347001","display":"Encounter for problem"}],"text":"Visit of `, p.name(),
		`"}],"subject":{"reference":"Patient/`, p.id, `","display":"`, p.name(),
		`"},"participant":[{"individual":{"reference":"Practitioner/`, p.clinician.id, `","display":"`, p.clinician.name,
		`"}}],"period":{"start":"`, v.begin, `","end":"`, v.end,
		`"},"location":[{"location":{"reference":"Location/loc-1"}}],"serviceProvider":{"reference":"Organization/`, organizationOf(p), `"}}`, "\n")
	c.write(encounters, c.line)
}

func (c *clinic) writeObservation(p *person, v *visit, s *score) {
	b := join(c.line[:0], `{"resourceType":"Observation","id":"`, s.id, `","status":"`, s.status,
		`","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"survey","display":"Survey"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"`,
		s.tool.loinc, `","display":"`, s.tool.name, `"}]},"subject":{"reference":"Patient/`, p.id, `","display":"`, p.given, " ", p.family,
		`"},"encounter":{"reference":"Encounter/`, v.id, `"},"effectiveDateTime":"`, v.begin, `","issued":"`, v.begin,
		`","performer":[{"reference":"Practitioner/`, p.clinician.id, `","display":"`, p.clinician.name, `"}]`)
	total := strconv.Itoa(s.total)
	if s.tool.quantity {
		b = join(b, `,"valueQuantity":{"value":`, total, `,"unit":"score","system":"http://unitsofmeasure.org","code":"{score}"}`)
	} else {
		b = join(b, `,"valueInteger":`, total)
	}
	if s.shown {
		before := `,"component":[`
		for i, a := range s.answers {
			b = join(b, before, `{"code":{"coding":[{"system":"http://loinc.org","code":"`, s.tool.items[i], `"}]},"valueInteger":`, strconv.Itoa(a), `}`)
			before = ","
		}
		b = append(b, ']')
	} else if s.total > 20 {
		b = join(b, `,"note":[{"text":"`, p.name(), ` was called at `, p.phone, ` about the result"}]`)
	}
	c.line = append(b, "}\n"...)
	c.write(observations, c.line)
}

func (c *clinic) writeCondition(p *person, first *visit) {
	if first == nil {
		return
	}
	c.writef(fhirFile("Condition"), `{"resourceType":"Condition","id":"C-%d","clinicalStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-clinical","code":"active"}]},"verificationStatus":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/condition-ver-status","code":"confirmed"}]},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"%s","display":"%s"}],"text":"%s of %s"},"subject":{"reference":"Patient/%s","display":"%s"},"encounter":{"reference":"Encounter/%s"},"recordedDate":"%s"}`+"\n",
		p.number, p.diagnosis.code, p.diagnosis.text, p.diagnosis.text, p.given, p.id, p.name(), first.id, first.date)
}

// writeNote writes a session note that names the patient, as exporters do.
func (c *clinic) writeNote(p *person, v *visit) {
	text := fmt.Sprintf("%s\n\n# Progress note\n%s (MRN %s, phone %s) reports better sleep. Lives at %s, %s. Return in %d weeks.\n",
		v.date, p.name(), p.recordNumber, p.phone, p.street, p.home.city, 1+c.random.IntN(6))
	c.writef(fhirFile("DocumentReference"), `{"resourceType":"DocumentReference","id":"D-%d-%03d","status":"current","type":{"coding":[{"system":"http://loinc.org","code":"11506-3","display":"Progress note"}]},"subject":{"reference":"Patient/%s"},"date":"%s","author":[{"reference":"Practitioner/%s"}],"content":[{"attachment":{"contentType":"text/plain","data":"%s"}}],"context":{"encounter":[{"reference":"Encounter/%s"}]}}`+"\n",
		p.number, v.number, p.id, v.late, p.clinician.id, base64.StdEncoding.EncodeToString([]byte(text)), v.id)
}
