package consent

import (
	"errors"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// The five wrong answers that other engines are known to give (LAW.md, last
// section), and must be right here.
func TestKnownWrongAnswers(t *testing.T) {
	const unreachable = `"actor":[{"role":{"coding":[{"code":"IRCP"}]},"reference":{"reference":"Organization/404"}}]`
	t.Run("the newest deny is dropped because an actor cannot be fetched, so an old permit wins", func(t *testing.T) {
		w := newWorld(t).general(policies.DenyWithout).consents(
			fhir("old", "active", "OPTIN", ""),
			fhir("new", "active", "OPTOUT", `"provision":{`+unreachable+`}`))
		w.expect(score("p1", "2026-03-02"), "consent-denied,consent-indeterminate")
	})
	for criterion, c := range map[string]struct{ provision, reasons string }{
		"dataPeriod":       {`"dataPeriod":{"start":"2025-01-01","end":"2025-12-31"}`, "consent-missing"},
		"inner period":     {`"provision":[{"type":"deny","period":{"start":"2026-07-01","end":"2026-07-31"}}]`, "consent-denied"},
		"inner period two": {`"provision":[{"type":"deny","period":{"start":"2026-08-01"}}]`, ""},
		"action":           {`"action":[{"coding":[{"code":"collect"}]}]`, "consent-missing"},
	} {
		t.Run(strings.TrimSuffix(criterion, " two")+" is ignored", func(t *testing.T) {
			newWorld(t).general(policies.DenyWithout).consents(fhir("c", "active", "OPTIN", `"provision":{`+c.provision+`}`)).
				expect(score("p1", "2026-03-02"), c.reasons)
		})
	}
	t.Run("a permit nested in a permit is flipped to deny", func(t *testing.T) {
		newWorld(t).general(policies.DenyWithout).consents(fhir("c", "active", "OPTIN",
			`"provision":{"provision":[{"type":"permit","class":[{"system":"http://hl7.org/fhir/resource-types","code":"Observation"}]}]}`)).
			expect(score("p1", "2026-03-02"), "")
	})
	t.Run("patient references [A, A, B] are judged on the wrong patient's consent", func(t *testing.T) {
		w := newWorld(t).registry("p2,general,deny,active")
		f := score("p1", "2026-03-02")
		f.Subjects = list([]string{"p1", "p1", "p2"})
		w.expect(f, "consent-denied")
		f.Subjects = list([]string{"p2", "p1", "p1"})
		w.expect(f, "consent-denied")
		f.Subjects = list([]string{"p1", "p3"})
		w.expect(f, "")
	})
	t.Run("a lookup error approves", func(t *testing.T) {
		w := newWorld(t).general(policies.PermitWithout).treatment()
		w.expect(score("nobody-knows", "2026-03-02"), "consent-indeterminate")
		if _, err := w.loadConsents(`{"resourceType":"Consent","status":"active"}`); err == nil {
			t.Error("a Consent without a patient passes")
		}
	})
}

func TestFHIRConsent(t *testing.T) {
	actor := func(role, ref string) string {
		return `"actor":[{"role":{"coding":[{"code":"` + role + `"}]},"reference":` + ref + `}]`
	}
	provision := func(s string) string { return `"provision":{` + s + `}` }
	o := score("p1", "2026-03-02")
	for _, c := range []struct {
		name, status, base, more string
		facts                    extract.Facts
		reasons                  string // where without a directive nothing leaves
	}{
		{"opt-in", "active", "OPTIN", "", o, ""},
		{"opt-in with restrictions", "active", "OPTINR", "", o, ""},
		{"opt-out", "active", "OPTOUT", "", o, "consent-denied"},
		{"opt-out with exceptions", "active", "OPTOUTE", provision(`"provision":[{"type":"permit"}]`), o, ""},
		{"base cannot be told", "active", "OPT", "", o, "consent-indeterminate"},
		{"PCF: type on the root", "active", "hipaa-auth", provision(`"type":"permit"`), o, ""},
		{"PCF: deny on the root", "active", "hipaa-auth", provision(`"type":"deny"`), o, "consent-denied"},
		{"both dialects agree", "active", "OPTIN", provision(`"type":"permit"`), o, ""},
		{"both dialects disagree", "active", "OPTIN", provision(`"type":"deny"`), o, "consent-indeterminate"},
		{"type that is none", "active", "hipaa-auth", provision(`"type":"maybe"`), o, "consent-indeterminate"},
		{"nested without type", "active", "OPTIN", provision(`"provision":[{"class":[{"code":"Patient"}]}]`), o, "consent-indeterminate"},

		{"draft permit", "draft", "OPTIN", "", o, "consent-missing"},
		{"proposed denial", "proposed", "OPTOUT", "", o, "consent-indeterminate"},
		{"rejected permit", "rejected", "OPTIN", "", o, "consent-denied"},
		{"rejected denial", "rejected", "OPTOUT", "", o, "consent-missing"},
		{"inactive permit", "inactive", "OPTIN", "", o, "consent-revoked"},
		{"inactive permit whose period had ended", "inactive", "OPTIN", provision(`"period":{"end":"2026-01-31"}`), o, "consent-expired"},
		{"inactive permit taken back before its end", "inactive", "OPTIN", provision(`"period":{"end":"2026-02-28"}`), o, "consent-revoked"},
		{"inactive denial", "inactive", "OPTOUT", "", o, "consent-denied"},
		{"inactive denial whose period is over", "inactive", "OPTOUT", provision(`"period":{"end":"2026-06-30"}`), o, "consent-missing"},
		{"inactive permit about others", "inactive", "OPTIN", provision(`"class":[{"code":"Patient"}]`), o, "consent-missing"},
		{"inactive permit perhaps about us", "inactive", "OPTIN", provision(actor("IRCP", `{"reference":"Organization/404"}`)), o, "consent-revoked"},
		{"denial entered in error", "entered-in-error", "OPTOUT", "", o, "consent-denied"},
		{"permit entered in error", "entered-in-error", "OPTIN", "", o, "consent-missing"},
		{"verified", "active", "OPTIN", `"verification":[{"verified":true}]`, o, ""},
		{"verification failed", "active", "OPTIN", `"verification":[{"verified":true},{"verified":false}]`, o, "consent-indeterminate"},
		{"status that is none", "on", "OPTIN", "", o, "consent-indeterminate"},

		{"period ran out", "active", "OPTIN", provision(`"period":{"end":"2026-07-04"}`), o, "consent-expired"},
		{"period ran out, of a permit perhaps for others", "active", "OPTIN", provision(actor("IRCP", `{"reference":"Organization/404"}`) + `,"period":{"end":"2026-07-04"}`), o, "consent-missing"},
		{"period ends this month", "active", "OPTIN", provision(`"period":{"start":"2025","end":"2026-07"}`), o, ""},
		{"period begins tomorrow", "active", "OPTIN", provision(`"period":{"start":"2026-07-06"}`), o, "consent-missing"},
		{"period ended a second ago", "active", "OPTIN", provision(`"period":{"end":"2026-07-05T16:59:59Z"}`), o, "consent-expired"},
		{"period ends this second", "active", "OPTIN", provision(`"period":{"end":"2026-07-05T17:00:00Z"}`), o, ""},
		{"period began this second", "active", "OPTIN", provision(`"period":{"start":"2026-07-05T12:00:00-05:00"}`), o, ""},
		{"period begins in a second", "active", "OPTIN", provision(`"period":{"start":"2026-07-05T12:00:01-05:00"}`), o, "consent-missing"},
		{"unreadable period of a permit", "active", "OPTIN", provision(`"period":{"end":"2026-07-05T25:00"}`), o, "consent-indeterminate"},
		{"unreadable period of a denial", "active", "OPTOUT", provision(`"period":{"end":"soon"}`), o, "consent-denied,consent-indeterminate"},

		{"dataPeriod", "active", "OPTIN", provision(`"dataPeriod":{"start":"2026-03-02","end":"2026-03-02"}`), o, ""},
		{"dataPeriod, record partly in it", "active", "OPTIN", provision(`"dataPeriod":{"start":"2026-03-02"}`), score("p1", "2026-03"), "consent-indeterminate"},
		{"dataPeriod with a time of day", "active", "OPTIN", provision(`"dataPeriod":{"start":"2026-03-02T08:00:00Z"}`), o, "consent-indeterminate"},
		{"dataPeriod with a time, record later", "active", "OPTIN", provision(`"dataPeriod":{"start":"2026-03-01T08:00:00Z","end":"2026-03-03T08:00:00Z"}`), o, "consent-indeterminate"},
		{"dataPeriod with a time, record well within", "active", "OPTIN", provision(`"dataPeriod":{"start":"2026-02-01T08:00:00Z","end":"2026-04-01T08:00:00Z"}`), o, ""},
		{"unreadable dataPeriod of a denial", "active", "OPTOUT", provision(`"dataPeriod":{"start":"always"}`), o, "consent-denied,consent-indeterminate"},

		{"actor is the recipient", "active", "OPTIN", provision(actor("IRCP", `{"reference":"Organization/acme"}`)), o, ""},
		{"actor is the recipient, absolute", "active", "OPTIN", provision(actor("PRCP", `{"reference":"https://x/fhir/Organization/acme/_history/2"}`)), o, ""},
		{"actor by identifier", "active", "OPTIN", provision(actor("IRCP", `{"identifier":{"system":"http://npi","value":"1234567893"}}`)), o, ""},
		{"actor by number", "active", "OPTIN", provision(actor("IRCP", `{"identifier":{"value":"acme"}}`)), o, ""},
		{"actor cannot be told", "active", "OPTIN", provision(actor("IRCP", `{"display":"Acme"}`)), o, "consent-indeterminate"},
		{"actor is known to be another", "active", "OPTOUT", provision(actor("IRCP", `{"reference":"Organization/other"}`)), o, "consent-missing"},
		{"actor is a relative", "active", "OPTOUT", provision(actor("IRCP", `{"reference":"RelatedPerson/1"}`)), o, "consent-missing"},
		{"role is not understood", "active", "OPTIN", provision(actor("AUT", `{"reference":"Organization/acme"}`)), o, "consent-indeterminate"},
		{"custodian is the clinic", "active", "OPTIN", provision(actor("CST", `{"reference":"Organization/clinic"}`)), o, ""},
		{"custodian cannot be told", "active", "OPTIN", provision(actor("CST", `{"reference":"Organization/x"}`)), o, "consent-indeterminate"},
		{"custodian does not stand for a recipient", "active", "OPTIN", provision(`"actor":[{"role":{"coding":[{"code":"CST"}]},"reference":{"reference":"Organization/clinic"}},` +
			`{"role":{"coding":[{"code":"IRCP"}]},"reference":{"reference":"Organization/other"}}]`), o, "consent-missing"},

		{"disclosure", "active", "OPTIN", provision(`"action":[{"coding":[{"code":"collect"},{"code":"disclose"}]}]`), o, ""},
		{"denial of access", "active", "OPTOUT", provision(`"action":[{"coding":[{"code":"access"}]}]`), o, "consent-denied,consent-indeterminate"},
		{"action in words", "active", "OPTIN", provision(`"action":[{"text":"send it"}]`), o, "consent-indeterminate"},
		{"purpose", "active", "OPTIN", provision(`"purpose":[{"code":"TREAT"},{"code":"HOPERAT"}]`), o, ""},
		{"other purpose", "active", "OPTIN", provision(`"purpose":[{"code":"TREAT"}]`), o, "consent-missing"},
		{"purpose without code", "active", "OPTOUT", provision(`"purpose":[{"display":"x"}]`), o, "consent-denied,consent-indeterminate"},
		{"label without code", "active", "OPTOUT", provision(`"securityLabel":[{"display":"x"}]`), labelled(o, "PSY"), "consent-denied,consent-indeterminate"},
		{"label of a system that nobody knows", "active", "OPTOUT", provision(`"securityLabel":[{"system":"urn:x","code":"PSY"}]`), o, "consent-denied,consent-indeterminate"},
		{"label of no system that nobody knows", "active", "OPTOUT", provision(`"securityLabel":[{"code":"zz"}]`), o, "consent-denied,consent-indeterminate"},
		{"label of a known system", "active", "OPTOUT", provision(`"securityLabel":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"PSY"}]`), labelled(o, "PSY"), "consent-denied"},
		{"class of a system that nobody knows", "active", "OPTOUT", provision(`"class":[{"system":"urn:x","code":"Condition"}]`), o, "consent-denied,consent-indeterminate"},
		{"class of documents", "active", "OPTOUT", provision(`"class":[{"system":"urn:ietf:bcp:13","code":"application/pdf"}]`), o, "consent-denied,consent-indeterminate"},
		{"class, row of a file", "active", "OPTOUT", provision(`"class":[{"code":"Condition"}]`), func() extract.Facts { f := o; f.Dataset = "scores"; return f }(), "consent-denied,consent-indeterminate"},
		{"code in words", "active", "OPTOUT", provision(`"code":[{"text":"depression"}]`), o, "consent-denied,consent-indeterminate"},
		{"code above", "active", "OPTOUT", provision(`"code":[{"coding":[{"code":"F32"}]}]`), func() extract.Facts { f := o; f.Codes = list([]string{"F32.1"}); return f }(), "consent-denied"},
		{"code, record without", "active", "OPTOUT", provision(`"code":[{"coding":[{"code":"F32"}]}]`), func() extract.Facts { f := o; f.Codes = nil; return f }(), "consent-denied,consent-indeterminate"},
		{"other code", "active", "OPTOUT", provision(`"code":[{"coding":[{"code":"F32"}]}]`), o, "consent-missing"},
		{"data: this instance", "active", "OPTOUT", provision(`"data":[{"meaning":"instance","reference":{"reference":"Observation/o1"}}]`), o, "consent-denied"},
		{"data: another instance", "active", "OPTOUT", provision(`"data":[{"meaning":"instance","reference":{"reference":"Observation/o2"}}]`), o, "consent-missing"},
		{"data: what belongs to another", "active", "OPTOUT", provision(`"data":[{"meaning":"dependents","reference":{"reference":"Observation/o2"}}]`), o, "consent-denied,consent-indeterminate"},
		{"data: what an encounter refers to", "active", "OPTOUT", provision(`"data":[{"meaning":"related","reference":{"reference":"Encounter/e9"}}]`), func() extract.Facts { f := o; f.Encounter = []byte("e9"); return f }(), "consent-denied,consent-indeterminate"},
		{"data: what somebody wrote", "active", "OPTOUT", provision(`"data":[{"meaning":"authoredby","reference":{"reference":"Practitioner/1"}}]`), o, "consent-denied,consent-indeterminate"},
		{"data: of the encounter", "active", "OPTOUT", provision(`"data":[{"meaning":"dependents","reference":{"reference":"Encounter/e9"}}]`), func() extract.Facts { f := o; f.Encounter = []byte("e9"); return f }(), "consent-denied"},
		{"data: nothing to follow", "active", "OPTOUT", provision(`"data":[{"meaning":"instance","reference":{"display":"x"}}]`), o, "consent-denied,consent-indeterminate"},
		{"criteria are ANDed", "active", "OPTOUT", provision(`"class":[{"code":"Observation"}],"code":[{"coding":[{"code":"x"}]}]`), o, "consent-missing"},

		{"three deep", "active", "OPTIN", provision(`"provision":[{"type":"deny","provision":[{"type":"permit","provision":[{"type":"deny"}]}]}]`), o, "consent-denied"},
		{"exception of an exception", "active", "OPTIN", provision(`"provision":[{"type":"deny","provision":[{"type":"permit"}]}]`), o, ""},
		{"exceptions: deny beats permit", "active", "OPTIN", provision(`"provision":[{"type":"deny"},{"type":"permit"}]`), o, "consent-denied"},
		{"exceptions: a sure denial beats a possible one", "active", "OPTIN", provision(`"provision":[{"type":"deny"},{"type":"deny",` + actor("IRCP", `{"reference":"Organization/404"}`) + `}]`), o, "consent-denied"},
		{"exception that may match a denial's", "active", "OPTOUT", provision(`"provision":[{"type":"permit","class":[{"code":"x"}]}]`), o, "consent-denied"},
		{"denial in a permit that may match", "active", "OPTIN", provision(actor("IRCP", `{"reference":"Organization/404"}`) + `,"provision":[{"type":"deny"}]`), o, "consent-denied,consent-indeterminate"},

		{"modifier", "active", "OPTIN", `"modifierExtension":[{"url":"http://x","valueBoolean":true}]`, o, "consent-indeterminate"},
		{"modifier within", "active", "OPTIN", provision(`"provision":[{"type":"permit","modifierExtension":[{"url":"http://x","valueBoolean":true}]}]`), o, "consent-indeterminate"},
		{"implicit rules", "active", "OPTIN", `"implicitRules":"http://x"`, o, "consent-indeterminate"},
		{"harmless extension", "active", "OPTIN", `"extension":[{"url":"http://x","valueBoolean":true}]`, o, ""},
		{"unknown element", "active", "OPTIN", provision(`"period_":{}`), o, "consent-indeterminate"},
		{"extension instead of a value", "active", "OPTIN", provision(`"_type":{"extension":[{"url":"http://x","valueCode":"unknown"}]}`), o, "consent-indeterminate"},
		{"provision that is no object", "active", "OPTIN", `"provision":"deny"`, o, "consent-indeterminate"},
		{"provisions as a list", "active", "OPTIN", `"provision":[{"type":"deny"}]`, o, "consent-indeterminate"},
		{"empty criterion", "active", "OPTIN", provision(`"actor":[]`), o, "consent-indeterminate"},
		{"criterion that is no list", "active", "OPTIN", provision(`"class":{"code":"Observation"}`), o, "consent-indeterminate"},
		{"null in a list", "active", "OPTIN", provision(`"class":[null]`), o, "consent-indeterminate"},
		{"R4 with the decision of R5", "active", "OPTIN", `"decision":"permit"`, o, "consent-indeterminate"},
		{"R4 with the subject of R5", "active", "OPTIN", `"subject":{"reference":"Patient/p1"}`, o, "consent-indeterminate"},
		{"escaped text", "active", "OPT\\u0049N", "", o, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t).general(policies.DenyWithout)
			w.req.Others, w.req.Self = []string{"Organization/other"}, []string{"Organization/clinic"}
			w.consents(fhir("c", c.status, c.base, c.more)).expect(c.facts, c.reasons)
		})
	}
}

func TestConsentHeader(t *testing.T) {
	consent := fhir("c", "active", "OPTIN", "")
	swap := func(old, now string) string {
		if !strings.Contains(consent, old) {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(consent, old, now, 1)
	}
	part2Record := labelled(score("p1", "2026-03-02"), "42CFRPart2")
	for _, c := range []struct {
		name, consent string
		facts         extract.Facts
		reasons       string
	}{
		{"other matters", swap("patient-privacy", "treatment"), score("p1", "2026-03-02"), "consent-missing"},
		{"research, asked for operations", swap("patient-privacy", "research"), score("p1", "2026-03-02"), "consent-missing"},
		{"unknown scope", swap("patient-privacy", "x"), score("p1", "2026-03-02"), "consent-indeterminate"},
		{"not yet dated", swap("2026-02-01", "2026-07-06"), score("p1", "2026-03-02"), "consent-indeterminate"},
		{"no base", swap(`"code":"OPTIN"`, `"display":"x"`), score("p1", "2026-03-02"), "consent-indeterminate"},
		{"two bases", swap(`{"code":"OPTIN"}`, `{"code":"OPTIN"},{"code":"OPTOUT"}`), score("p1", "2026-03-02"), "consent-indeterminate"},
		{"Part 2 by category, form attested", strings.Replace(swap("59284-0", "42CFRPart2"), `"policyRule"`, `"policy":[{"uri":"https://clinic/tpo-2026"}],"policyRule"`, 1), part2Record, ""},
		{"Part 2 by policy rule, attested address of the paper", strings.Replace(swap(`{"code":"OPTIN"}`, `{"code":"OPTIN"},{"code":"42CFRPart2"}`), `"policyRule"`, `"sourceAttachment":{"url":"tpo-2026"},"policyRule"`, 1), part2Record, ""},
		{"Part 2, form not attested", swap("59284-0", "42CFRPart2"), part2Record, "part2-no-consent"},
		{"general, form attested", swap(`"policyRule"`, `"policy":[{"uri":"tpo-2026"}],"policyRule"`), part2Record, ""},
		{"Part 2 consent grounds nothing else", swap("59284-0", "42CFRPart2"), score("p1", "2026-03-02"), "consent-missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			newWorld(t).general(policies.DenyWithout).consents(c.consent).expect(c.facts, c.reasons)
		})
	}
}

func TestConsentSources(t *testing.T) {
	o := score("p1", "2026-03-02")
	same, other := fhir("c", "active", "OPTIN", ""), fhir("c", "entered-in-error", "OPTIN", "")
	t.Run("one id, one content", func(t *testing.T) {
		newWorld(t).general(policies.DenyWithout).consents(same, same).expect(o, "")
	})
	t.Run("one id, two contents", func(t *testing.T) {
		newWorld(t).consents(same, other).expect(o, "consent-indeterminate")
	})
	t.Run("another resource", func(t *testing.T) {
		w := newWorld(t).consents(`{"resourceType":"Organization","id":"x"}`, same)
		if w.tables.Directives.Len() != 1 {
			t.Error("it was taken for a directive")
		}
		var defect *InputError
		if _, err := w.loadConsents(`{"resourceType":"Organization","id":"x"}`); !errors.As(err, &defect) {
			t.Errorf("a file without a Consent: %v", err)
		}
	})
	t.Run("nearly a patient", func(t *testing.T) {
		for _, ref := range []string{"Patient/p1 ", "Patient/p%31", "Patient/p1|2", "Patient/\uff501", "patient/p1"} {
			var defect *InputError
			if _, err := newWorld(t).loadConsents(strings.Replace(same, "Patient/p1", ref, 1)); !errors.As(err, &defect) || defect.Line != 1 {
				t.Errorf("%q: %v", ref, err)
			}
		}
	})
	t.Run("no id", func(t *testing.T) {
		newWorld(t).consents(strings.Replace(same, `"id":"c",`, "", 1), strings.Replace(fhir("c", "active", "OPTOUT", ""), `"id":"c",`, "", 1)).expect(o, "consent-denied")
	})
	t.Run("another patient's unreadable directive", func(t *testing.T) {
		newWorld(t).consents(strings.Replace(fhir("c", "on", "OPTIN", ""), "Patient/p1", "Patient/p2", 1)).expect(o, "")
	})
	for name, line := range map[string]string{
		"not JSON":                  `{"resourceType":"Consent","patient":`,
		"no patient":                strings.Replace(same, `"patient":{"reference":"Patient/p1"},`, "", 1),
		"patient in a search":       strings.Replace(same, "Patient/p1", "Patient?identifier=x|1", 1),
		"patient that is none":      strings.Replace(same, "Patient/p1", "Group/p1", 1),
		"patient nothing leads to":  strings.Replace(same, "Patient/p1", "urn:uuid:2b3c7d9e-0000-4000-8000-000000000000", 1),
		"two patients":              strings.Replace(same, `"dateTime"`, `"subject":{"reference":"Patient/p2"},"dateTime"`, 1),
		"patient by another's word": strings.Replace(same, `"patient":{"reference":"Patient/p1"}`, `"performer":[{"reference":"Patient/p1"}]`, 1),
		"patient by display":        strings.Replace(same, `"reference":"Patient/p1"`, `"display":"x"`, 1),
		"unknown type":              `{"resourceType":"Permission"}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newWorld(t).loadConsents(same, line)
			var defect *InputError
			if !errors.As(err, &defect) || defect.Line != 2 || defect.Why == "" || !strings.Contains(err.Error(), "consents.ndjson:2: ") {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("whom else it refers to is not its patient", func(t *testing.T) {
		w := newWorld(t).consents(strings.Replace(fhir("c", "active", "OPTOUT", ""), `"dateTime"`, `"performer":[{"reference":"Patient/p2"}],"dateTime"`, 1))
		w.expect(o, "consent-denied")
		w.expect(score("p2", "2026-03-02"), "")
	})
	t.Run("counted and hashed", func(t *testing.T) {
		in, err := newWorld(t).loadConsents(same, other)
		if err != nil || in.Rows != 2 || len(in.SHA256) != 64 {
			t.Errorf("%v %v", in, err)
		}
	})
}
