package consent

import (
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// r5 makes a Consent of FHIR R5 of patient p1, with more members.
func r5(status, decision, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"resourceType":"Consent","id":"c","meta":{"versionId":"1"},"status":"` + status + `","category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],` +
		`"subject":{"reference":"Patient/p1"},"date":"2026-02-01","decision":"` + decision + `"` + more + `}`
}

func TestFHIRR5Consent(t *testing.T) {
	provision := func(s string) string { return `"provision":[{` + s + `}]` }
	refers := func(element, to string) string { return `"` + element + `":[{"reference":"` + to + `"}]` }
	o := score("p1", "2026-03-02")
	for _, c := range []struct {
		name, status, decision, more string
		facts                        extract.Facts
		reasons                      string // where without a directive nothing leaves
	}{
		{"permit", "active", "permit", "", o, ""},
		{"deny", "active", "deny", "", o, "consent-denied"},
		{"decision that is none", "active", "perhaps", "", o, "consent-indeterminate"},
		{"not done", "not-done", "permit", "", o, "consent-missing"},
		{"status unknown", "unknown", "permit", "", o, "consent-indeterminate"},
		{"inactive", "inactive", "permit", "", o, "consent-revoked"},
		{"inactive denial", "inactive", "deny", "", o, "consent-denied"},
		{"period over", "active", "permit", `"period":{"end":"2026-07-04"}`, o, "consent-expired"},
		{"period of a denial over", "active", "deny", `"period":{"end":"2026-07-04"}`, o, "consent-missing"},

		{"a provision is an exception", "active", "permit", provision(`"resourceType":[{"code":"Observation"}]`), o, "consent-denied"},
		{"an exception for others", "active", "permit", provision(`"resourceType":[{"code":"Condition"}]`), o, ""},
		{"an exception of a denial", "active", "deny", provision(`"resourceType":[{"system":"http://hl7.org/fhir/fhir-types","code":"Observation"}]`), o, ""},
		{"an exception of an exception", "active", "permit", provision(`"purpose":[{"code":"HOPERAT"}],"provision":[{"code":[{"coding":[{"code":"44261-6"}]}]}]`), o, ""},
		{"several exceptions", "active", "permit", `"provision":[{"resourceType":[{"code":"Condition"}]},{"purpose":[{"code":"HOPERAT"}]}]`, o, "consent-denied"},
		{"an exception with a type, as in R4", "active", "permit", provision(`"type":"deny"`), o, "consent-indeterminate"},
		{"one provision that is no list, as in R4", "active", "permit", `"provision":{"purpose":[{"code":"HOPERAT"}]}`, o, "consent-indeterminate"},
		{"documents of a type", "active", "permit", provision(`"documentType":[{"code":"34133-9"}]`), o, "consent-denied,consent-indeterminate"},
		{"an expression", "active", "deny", provision(`"expression":{"language":"text/fhirpath","expression":"true"}`), o, "consent-denied"},
		{"an expression in a permit", "active", "permit", provision(`"expression":{"language":"text/fhirpath","expression":"true"}`), o, "consent-denied,consent-indeterminate"},
		{"actor", "active", "deny", provision(`"actor":[{"role":{"coding":[{"code":"IRCP"}]},"reference":{"reference":"Organization/acme"}}]`), o, ""},

		{"granted to the recipient", "active", "permit", refers("grantee", "Organization/acme"), o, ""},
		{"granted to another", "active", "permit", refers("grantee", "Organization/other"), o, "consent-missing"},
		{"granted to somebody unknown", "active", "permit", refers("grantee", "Organization/404"), o, "consent-indeterminate"},
		{"granted to nobody who can be told", "active", "deny", `"grantee":[{"display":"x"}]`, o, "consent-denied,consent-indeterminate"},
		{"controlled by the clinic", "active", "permit", refers("controller", "Organization/clinic"), o, ""},
		{"controlled by somebody unknown", "active", "permit", refers("controller", "Organization/404"), o, "consent-indeterminate"},
		{"managed by another", "active", "permit", refers("manager", "Organization/404") + "," + refers("grantor", "Patient/p1"), o, ""},

		{"with the scope of R4", "active", "permit", `"scope":{"coding":[{"code":"patient-privacy"}]}`, o, "consent-indeterminate"},
		{"verified", "active", "permit", `"verification":[{"verified":true,"verificationDate":["2026-02-01"]}]`, o, ""},
		{"verification failed", "active", "permit", `"verification":[{"verified":false}]`, o, "consent-indeterminate"},
		{"Part 2, form attested", "active", "permit", `"regulatoryBasis":[{"coding":[{"code":"42CFRPart2"}]}],"policyBasis":{"url":"https://clinic/tpo-2026"}`, labelled(o, "42CFRPart2"), ""},
		{"Part 2, attested address of the paper", "active", "permit", `"regulatoryBasis":[{"coding":[{"code":"42CFRPart2"}]}],"sourceAttachment":[{"url":"tpo-2019"},{"url":"tpo-2026"}]`, labelled(o, "42CFRPart2"), ""},
		{"Part 2, for another record", "active", "permit", `"regulatoryBasis":[{"coding":[{"code":"42CFRPart2"}]}]`, o, "consent-missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t).general(policies.DenyWithout)
			w.req.Others, w.req.Self = []string{"Organization/other"}, []string{"Organization/clinic"}
			w.consents(r5(c.status, c.decision, c.more)).expect(c.facts, c.reasons)
		})
	}
}

// R5 has no scope: its categories say what a Consent is about.
func TestFHIRR5ConsentIsAboutItsCategory(t *testing.T) {
	with := func(category string) string {
		return `{"resourceType":"Consent","id":"c","status":"active"` + category + `,"subject":{"reference":"Patient/p1"},"decision":"permit"}`
	}
	coded := func(code string) string { return `,"category":[{"coding":[{"code":"` + code + `"}]}]` }
	for category, reasons := range map[string]string{
		coded("IDSCL"):               "",
		coded("research"):            "consent-missing",
		coded("dnr"):                 "consent-missing",
		coded("nobody-knows"):        "consent-indeterminate",
		"":                           "consent-indeterminate",
		`,"category":[{"text":"x"}]`: "consent-indeterminate",
		`,"category":[{"coding":[{"code":"npp"}]},{"coding":[{"code":"research"}]}]`: "",
	} {
		newWorld(t).general(policies.DenyWithout).consents(with(category)).expect(score("p1", "2026-03-02"), reasons)
	}
	w := newWorld(t).general(policies.DenyWithout).consents(with(coded("research")))
	w.req.Policy.Basis, w.req.Policy.Purpose = "45 CFR 164.508", "HRESCH"
	w.expect(score("p1", "2026-03-02"), "")
}
