package consent_test

import "fmt"

const terminology = "http://terminology.hl7.org/CodeSystem/"

func concept(system, code string) map[string]any {
	return map[string]any{"coding": []any{coding(system, code)}}
}

func coding(system, code string) map[string]any {
	return map[string]any{"system": system, "code": code}
}

// consent is a random FHIR R4 Consent, in R4's own dialect or in that of PCF.
func (d dice) consent(patient string, n int) map[string]any {
	c := map[string]any{"resourceType": "Consent", "id": fmt.Sprintf("k%d", n), "status": d.status(),
		"scope":    concept(terminology+"consentscope", d.one("patient-privacy", "patient-privacy", "patient-privacy", "patient-privacy", "research", "treatment")),
		"category": []any{concept("http://loinc.org", "59284-0")}, "patient": map[string]any{"reference": "Patient/" + patient},
		"dateTime": d.one("2025-01-10", "2025-01-10", "2025-01-10T10:00:00Z", "2026-03-01", "2026-07-05")}
	if d.chance(50) {
		c["performer"] = d.signers(patient)
	}
	root := d.provision(0)
	switch d.IntN(20) {
	case 0: // no base
	case 1:
		c["policyRule"], root["type"] = concept(terminology+"v3-ActCode", "OPTIN"), "deny"
	case 2, 3, 4, 5, 6, 7:
		c["policyRule"] = concept(terminology+"v3-ActCode", d.one("OPTIN", "OPTIN", "OPTOUT"))
	default:
		c["policy"], root["type"] = []any{map[string]any{"uri": "https://clearview.example/forms/" + d.one("tpo-2026", "tpo-2026", "tpo-2019")}}, d.one("permit", "permit", "deny")
	}
	if d.chance(3) {
		c["modifierExtension"] = []any{map[string]any{"url": "urn:x", "valueBoolean": true}}
	}
	if len(root) > 0 {
		c["provision"] = root
	}
	if c["status"] != "active" { // no rule says what exceptions of a consent that never held would be worth
		delete(root, "provision")
		delete(root, "period")
		if len(root) == 0 {
			delete(c, "provision")
		}
	}
	return c
}

// consentR5 is a random Consent of R5: its decision, and exceptions without a
// type.
func (d dice) consentR5(patient string, n int) map[string]any {
	c := map[string]any{"resourceType": "Consent", "id": fmt.Sprintf("k%d", n), "status": d.status(), "decision": d.one("permit", "permit", "deny"),
		"category": []any{d.category()}, "subject": map[string]any{"reference": "Patient/" + patient}, "date": d.one("2025-01-10", "2026-03-01", "2026-07-05")}
	if c["status"] == "proposed" || c["status"] == "rejected" {
		c["status"] = d.one("not-done", "unknown")
	}
	if c["status"] == "active" {
		if inner := untyped(d.provision(1)); d.chance(50) {
			c["provision"] = []any{inner}
		}
		root := map[string]any{}
		if d.times(root, 15); root["period"] != nil {
			c["period"] = root["period"]
		}
	}
	if d.chance(50) {
		c["grantor"] = d.signers(patient)
	}
	if d.chance(20) {
		c["grantee"] = []any{d.actor()["reference"]}
	}
	if d.chance(10) {
		c["controller"] = []any{map[string]any{"reference": d.one("Organization/clearview", "Organization/clearview", "Organization/other-plan", "Organization/nobody-known")}}
	}
	switch d.IntN(40) {
	case 0:
		c["modifierExtension"] = []any{map[string]any{"url": "urn:x", "valueBoolean": true}}
	case 1:
		delete(c, "decision")
	case 2:
		c["scope"] = concept(terminology+"consentscope", "patient-privacy")
	case 3:
		c["provision"] = []any{map[string]any{"type": "deny"}}
	}
	return c
}

func (d dice) signers(patient string) []any {
	signer := func() any {
		return map[string]any{"reference": d.one("Patient/"+patient, "Patient/"+patient, "RelatedPerson/mother", "RelatedPerson/mother", "Practitioner/p7", "Patient/p-other")}
	}
	if d.chance(20) {
		return []any{signer(), signer()}
	}
	return []any{signer()}
}

func (d dice) category() map[string]any {
	if d.chance(60) {
		return concept("http://loinc.org", "59284-0")
	}
	return concept(terminology+"consentscope", d.one("patient-privacy", "patient-privacy", "research", "treatment"))
}

// untyped is a provision as R5 writes it.
func untyped(p map[string]any) map[string]any {
	delete(p, "type")
	if list, ok := p["class"].([]any); ok {
		delete(p, "class")
		p["resourceType"] = []any{coding("http://hl7.org/fhir/fhir-types", text(list[0].(map[string]any)["code"]))}
	}
	for _, inner := range listOf(p["provision"]) {
		untyped(inner.(map[string]any))
	}
	if len(p) == 0 { // an empty object is no FHIR
		p["action"] = []any{concept(terminology+"consentaction", "disclose")}
	}
	return p
}

func (d dice) status() string {
	if d.chance(80) {
		return "active"
	}
	return d.one("draft", "proposed", "rejected", "inactive", "entered-in-error")
}

// provision is a random provision with exceptions up to three deep.
func (d dice) provision(depth int) map[string]any {
	p := map[string]any{}
	if depth > 0 {
		p["type"] = d.one("permit", "deny")
	}
	share := 12 + 6*depth
	if d.chance(share) {
		p["actor"] = []any{d.actor()}
		if d.chance(20) {
			p["actor"] = []any{d.actor(), d.actor()}
		}
	}
	if d.chance(share) {
		p["purpose"] = []any{coding(terminology+"v3-ActReason", d.one("HOPERAT", "HQUALIMP", "TREAT", "HRESCH", "HPAYMT", "HLEGAL"))}
	}
	if d.chance(share / 3) {
		p["action"] = []any{concept(terminology+"consentaction", d.one("disclose", "disclose", "collect", "access", "use", "correct"))}
	}
	if d.chance(share / 2) {
		p["class"] = []any{coding("http://hl7.org/fhir/resource-types", d.one("Observation", "Condition"))}
	}
	if d.chance(share / 2) {
		p["code"] = []any{concept("http://loinc.org", d.one("44261-6", "69737-5"))}
	}
	if d.chance(share / 2) {
		p["securityLabel"] = []any{d.label()}
	}
	d.times(p, share)
	for d.chance(30) && depth < 3 {
		list, _ := p["provision"].([]any)
		p["provision"] = append(list, d.provision(depth+1))
	}
	if p["provision"] == nil && d.chance(2) {
		p["class"] = []any{coding("urn:x", "Condition")}
	}
	return p
}

func (d dice) label() map[string]any {
	if d.chance(60) {
		return coding(terminology+"v3-ActCode", d.one("PSY", "HIV", "SUD"))
	}
	return coding(terminology+"v3-Confidentiality", d.one("N", "R"))
}

func (d dice) times(p map[string]any, share int) {
	if d.chance(share) {
		p["period"] = span(d.some(60, "2025-01-10", "2026-07-05", "2026-07-06"), d.some(50, "2026-07-06", "2026-12-31"))
		if d.chance(40) {
			p["period"] = span("2025-01-10", d.one("2026-07-04", "2026-07-05"))
		}
	}
	if d.chance(share / 2) {
		p["dataPeriod"] = span(d.some(60, "2026-03-01", "2026-03-02"), d.some(60, "2026-03-02", "2026-03-15"))
	}
}

func span(from, to string) map[string]any {
	period := map[string]any{}
	if from != "" {
		period["start"] = from
	}
	if to != "" {
		period["end"] = to
	}
	if len(period) == 0 {
		period["start"] = "2025-01-10"
	}
	return period
}

func (d dice) actor() map[string]any {
	ref := map[string]any{"reference": d.one("Organization/acme", "Organization/acme", "Organization/other-plan", "Organization/nobody-known")}
	if d.chance(15) {
		ref = map[string]any{"identifier": map[string]any{"system": "urn:oid:1.2", "value": d.one("77", "78")}}
	}
	return map[string]any{"role": concept(terminology+"v3-ParticipationType", "IRCP"), "reference": ref}
}
