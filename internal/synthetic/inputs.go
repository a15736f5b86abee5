package synthetic

import "fmt"

const (
	rosterFile       = "inputs/acme-roster.csv"
	registryFile     = "inputs/consents.csv"
	fhirConsentsFile = "inputs/consents.ndjson"
	restrictionsFile = "inputs/restrictions.csv"
	programsFile     = "inputs/programs.csv"
)

// writePrograms declares the Part 2 program: the organization, and for the
// delimited file the numbers of those who work in it.
func (c *clinic) writePrograms() {
	c.writef(programsFile, "organization,%s,2019-01-01,\n", programOrganization)
	for _, who := range clinicians[ordinaryClinicians:] {
		c.writef(programsFile, "column,%s,2019-01-01,\n", who.number)
	}
}

func (c *clinic) writeInputs(p *person, first *visit) {
	if p.member != "" {
		c.writeMember(p)
	}
	c.writeRegistry(p)
	c.writeFHIRConsent(p)
	if first != nil {
		c.writeRestriction(p, first)
	}
}

// writeMember writes the health plan's rows: most people throughout, some with
// a gap, some lapsed; the fourth member of all is ambiguous.
func (c *clinic) writeMember(p *person) {
	row := func(member, from, to string) { c.writef(rosterFile, "%s,%s,%s,%s,PPO\n", p.id, member, from, to) }
	switch n := c.random.IntN(100); {
	case c.summary.Records[rosterFile] == 3:
		row(p.member, "2024-01-01", "")
		row(p.member+"9", "2025-01-01", "")
	case n < 6:
		row(p.member, "2024-01-01", date(c.from+c.days/3))
		row(p.member, date(c.from+c.days/2), "")
	case n < 12:
		row(p.member, "2024-01-01", date(c.from+c.days*2/3))
	case n < 15:
		row(p.member, date(c.from+c.days/2), "2026-12-31")
	default:
		row(p.member, "2024-01-01", "")
	}
}

// directive is one row of the consent registry; what is empty stays empty.
type directive struct {
	scope, decision, status, recipient, purpose, categories string
	from, to, signed, form, endedOn, endedBy                string
}

func (c *clinic) writeDirective(p *person, d directive) {
	c.writef(registryFile, "%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s,form-%d-%d.pdf,%s,%s\n", p.id, d.scope, d.decision, d.status, d.recipient,
		d.purpose, d.categories, d.from, d.to, d.signed, d.form, p.number, c.summary.Records[registryFile], d.endedOn, d.endedBy)
}

// writeRegistry writes a person's rows: opting in to the exchange of health
// information is usual, everything else is not.
func (c *clinic) writeRegistry(p *person) {
	before, middle := "2024-03-15", date(c.from+c.days/2)
	optIn := directive{scope: "general", decision: "permit", status: "active", recipient: Exchange, purpose: "TREAT", from: before, signed: before}
	switch n := c.random.IntN(100); {
	case n < 66:
		c.writeDirective(p, optIn)
	case n < 71:
		optIn.status = "revoked"
		c.writeDirective(p, optIn)
	case n < 76:
		optIn.status, optIn.to = "expired", middle
		c.writeDirective(p, optIn)
	case n < 80:
		c.writeDirective(p, directive{scope: "general", decision: "deny", status: "active", from: middle, signed: middle})
	case n < 82:
		c.writeDirective(p, directive{scope: "general", decision: "deny", status: "active", recipient: HealthPlan, purpose: "HOPERAT", from: before, signed: before})
	case n < 83:
		c.writeDirective(p, directive{scope: "general", decision: "deny", status: "revoked", from: before, signed: before, endedOn: middle, endedBy: "privacy officer"})
	case n < 84:
		c.writeDirective(p, directive{scope: "state", decision: "deny", status: "active", categories: "PSY", from: before, signed: before})
	case n < 85:
		c.writeDirective(p, directive{scope: "general", decision: "deny", status: "entered-in-error", from: before, signed: before, endedOn: middle, endedBy: "privacy officer"})
	}
	if c.chance(5) {
		c.writeDirective(p, directive{scope: "registry-opt-out", decision: "deny", status: "active", from: middle, signed: middle})
	}
	if p.inProgram {
		c.writePart2(p)
	}
}

// writePart2 writes the consent that 42 CFR 2.31 asks for: signed on the
// attested form by most, on an older form or not at all by others.
func (c *clinic) writePart2(p *person) {
	d := directive{scope: "part2", decision: "permit", status: "active", purpose: "TPO", from: "2026-02-20", signed: "2026-02-20", form: Part2Form}
	switch n := c.random.IntN(100); {
	case n < 55:
	case n < 65:
		d.form, d.from, d.signed = "tpo-2019", "2024-03-01", "2024-03-01"
	case n < 72:
		d.status = "revoked"
	case n < 77:
		d.to = "2026-04-30"
	case n < 81:
		d.signed = ""
	default:
		return
	}
	c.writeDirective(p, d)
}

const consentHead = `{"resourceType":"Consent","id":"K-%d","status":"%s","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%s","display":"%s"},"dateTime":"2025-01-10"`

const actor = `"actor":[{"role":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ParticipationType","code":"IRCP"}]},"reference":{"reference":"Organization/%s"}}]`

// writeFHIRConsent writes one directive as a FHIR R4 Consent for a few people:
// the base in policyRule (R4), or in the type of the root provision (IHE PCF).
func (c *clinic) writeFHIRConsent(p *person) {
	var rest string
	status := "active"
	policy := func(code string) string {
		return `,"policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"` + code + `"}]}`
	}
	switch c.random.IntN(50) {
	case 0:
		rest = policy("OPTOUT") + `}`
	case 1:
		rest = policy("OPTIN") + `,"provision":{"provision":[{"type":"deny",` + fmt.Sprintf(actor, HealthPlan) + `}]}}`
	case 2:
		rest = policy("OPTIN") + `,"provision":{"provision":[{"type":"deny","dataPeriod":{"start":"2025-01-01","end":"2025-06-30"}}]}}`
	case 3:
		rest = `,"policy":[{"uri":"urn:clearview:form:general-2025"}],"provision":{"type":"permit","period":{"start":"2025-01-10","end":"2027-01-10"},` + fmt.Sprintf(actor, Exchange) + `}}`
	case 4:
		rest = `,"policy":[{"uri":"urn:clearview:form:general-2025"}],"provision":{"type":"deny","provision":[{"type":"permit","purpose":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActReason","code":"TREAT"}]}]}}`
	case 5:
		status, rest = "inactive", policy("OPTIN")+`}`
	case 6:
		rest = `,"provision":{"provision":[]}}` // the base cannot be determined
	default:
		return
	}
	c.writef(fhirConsentsFile, consentHead+"%s\n", p.number, status, p.id, p.name(), rest)
}

// writeRestriction writes what a few patients have restricted under 45 CFR
// 164.522(a): a visit they paid for themselves, or more.
func (c *clinic) writeRestriction(p *person, first *visit) {
	row := func(kind, recipient, encounter, from, to, endedOn, endedBy string) {
		c.writef(restrictionsFile, "%s,%s,%s,,%s,,%s,%s,%s,%s\n", p.id, kind, recipient, encounter, from, to, endedOn, endedBy)
	}
	middle, later := date(c.from+c.days/2), date(c.from+c.days*2/3)
	switch c.random.IntN(60) {
	case 0, 1:
		row("self-pay", HealthPlan, first.id, "", "", "", "")
	case 2, 3:
		row("self-pay", HealthPlan, "", middle, later, "", "")
	case 4:
		row("agreed", "", "", middle, "", "", "")
	case 5:
		row("self-pay", "", first.id, "", "", later, "privacy officer")
	}
}
