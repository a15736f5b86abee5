package consent_test

import "testing"

// Wrong answers that other engines are known to give, each as a test. What is
// on file always holds a permit that such an engine would find.

// base is a release for treatment where a permit is needed.
func wrongAnswerBase(directives ...map[string]any) *situation {
	s := &situation{name: "wrong answer", asOf: "2026-06-30", decidedAt: "2026-07-05T02:00:00-05:00",
		request: map[string]any{"recipient": "valley-hie", "kind": "hie", "purpose": "TREAT", "basis": "45 CFR 164.506(c)(2)", "standard": "identified",
			"identifiers": []any{"Organization/valley-hie"}},
		consentRule: map[string]any{"general": "deny"}, choice: map[string]any{}, clinic: map[string]any{"others": []any{"Organization/other"}},
		directives: directives, records: []record{{id: "r1", dataset: "Observation", subjects: []string{"p1"}, date: "2026-03-02", codes: []string{"44261-6"}}}}
	return s
}

func consentOf(patient, date, base string, provision map[string]any) map[string]any {
	c := map[string]any{"resourceType": "Consent", "id": "k-" + patient + date, "status": "active", "scope": concept(terminology+"consentscope", "patient-privacy"),
		"category": []any{concept("http://loinc.org", "59284-0")}, "patient": map[string]any{"reference": "Patient/" + patient}, "dateTime": date,
		"policyRule": concept(terminology+"v3-ActCode", base)}
	if provision != nil {
		c["provision"] = provision
	}
	return c
}

func recipientNamed(organization string) []any {
	return []any{map[string]any{"role": concept(terminology+"v3-ParticipationType", "IRCP"), "reference": map[string]any{"reference": organization}}}
}

// mustKeepBack and mustRelease ask the engine, and the second opinion beside it.
func mustKeepBack(t *testing.T, s *situation) {
	t.Helper()
	for i := range s.records {
		got, o := newEngine(t, s).decide(t, &s.records[i]), s.opinionOn(&s.records[i])
		if got.Reasons == 0 || len(o.reasons) == 0 {
			t.Errorf("record %s may leave: engine [%s], second opinion %v", s.records[i].id, got.Reasons.Names(), o.names())
		}
	}
}

func mustRelease(t *testing.T, s *situation) {
	t.Helper()
	for i := range s.records {
		got, o := newEngine(t, s).decide(t, &s.records[i]), s.opinionOn(&s.records[i])
		if got.Reasons != 0 || len(o.reasons) != 0 {
			t.Errorf("record %s stays: engine [%s], second opinion %v", s.records[i].id, got.Reasons.Names(), o.names())
		}
	}
}

// The newest denial is dropped because its actor cannot be fetched, and so an
// old permit wins.
func TestWrongAnswerDenyWithUnreachableActorIsDropped(t *testing.T) {
	permit := consentOf("p1", "2025-01-10", "OPTIN", nil)
	mustRelease(t, wrongAnswerBase(permit))
	newest := consentOf("p1", "2026-06-01", "OPTIN", map[string]any{"provision": []any{map[string]any{"type": "deny", "actor": recipientNamed("Organization/cannot-be-fetched")}}})
	mustKeepBack(t, wrongAnswerBase(permit, newest))
}

func TestWrongAnswerDataPeriodIsIgnored(t *testing.T) {
	exception := func(from string) map[string]any {
		return consentOf("p1", "2025-01-10", "OPTIN", map[string]any{"provision": []any{map[string]any{"type": "deny", "dataPeriod": span(from, "")}}})
	}
	mustKeepBack(t, wrongAnswerBase(exception("2026-03-02")))
	mustRelease(t, wrongAnswerBase(exception("2026-03-03")))
	mustKeepBack(t, wrongAnswerBase(consentOf("p1", "2025-01-10", "OPTIN", map[string]any{"dataPeriod": span("2026-03-03", "")})))
}

func TestWrongAnswerInnerPeriodIsIgnored(t *testing.T) {
	inside := func(kind, base, end string) *situation {
		return wrongAnswerBase(consentOf("p1", "2025-01-10", base, map[string]any{"provision": []any{map[string]any{"type": kind, "period": span("2025-01-01", end)}}}))
	}
	mustKeepBack(t, inside("permit", "OPTOUT", "2026-07-04"))
	mustRelease(t, inside("permit", "OPTOUT", "2026-07-05"))
	mustKeepBack(t, inside("deny", "OPTIN", "2026-07-05"))
	mustRelease(t, inside("deny", "OPTIN", "2026-07-04"))
}

func TestWrongAnswerActionIsIgnored(t *testing.T) {
	only := func(action string) *situation {
		return wrongAnswerBase(consentOf("p1", "2025-01-10", "OPTIN", map[string]any{"action": []any{concept(terminology+"consentaction", action)}}))
	}
	mustKeepBack(t, only("collect"))
	mustKeepBack(t, only("correct"))
	mustRelease(t, only("disclose"))
}

// A permit inside of a permit is flipped to a denial, because every exception
// is taken to be the opposite of what it is in.
func TestWrongAnswerPermitInPermitIsFlipped(t *testing.T) {
	purpose := []any{coding(terminology+"v3-ActReason", "TREAT")}
	inner := map[string]any{"type": "permit", "purpose": purpose, "provision": []any{map[string]any{"type": "permit", "actor": recipientNamed("Organization/valley-hie")}}}
	mustRelease(t, wrongAnswerBase(consentOf("p1", "2025-01-10", "OPTIN", map[string]any{"provision": []any{inner}})))
	mustRelease(t, wrongAnswerBase(consentOf("p1", "2025-01-10", "OPTOUT", map[string]any{"provision": []any{inner}})))
}

// Of the references A, A, B the count of two makes an engine look for the
// second consent, which is A's again.
func TestWrongAnswerRepeatedReferencesAreJudgedOnTheWrongConsent(t *testing.T) {
	s := wrongAnswerBase(consentOf("p1", "2025-01-10", "OPTIN", nil), consentOf("p2", "2025-01-10", "OPTOUT", nil))
	patient := func(id string) map[string]any { return map[string]any{"reference": "Patient/" + id} }
	observation := func(performers ...any) []record {
		return []record{{id: "r1", data: map[string]any{"resourceType": "Observation", "id": "r1", "status": "final", "code": concept("http://loinc.org", "44261-6"),
			"subject": patient("p1"), "performer": performers, "effectiveDateTime": "2026-03-02"}}}
	}
	for _, performers := range [][]any{{patient("p1"), patient("p2")}, {patient("p2"), patient("p1")}, {patient("p2")}} {
		s.records = observation(performers...)
		got := newEngine(t, s).decide(t, &s.records[0])
		if got.Reasons.Names() != "consent-denied" || got.Subjects != 2 {
			t.Errorf("reasons [%s] of %d patients", got.Reasons.Names(), got.Subjects)
		}
	}
	s.records = observation(patient("p1"), patient("p1"))
	if got := newEngine(t, s).decide(t, &s.records[0]); got.Reasons != 0 || got.Subjects != 1 {
		t.Errorf("one patient, named three times: reasons [%s] of %d patients", got.Reasons.Names(), got.Subjects)
	}
}

// A look-up that fails approves.
func TestWrongAnswerFailedLookUpApproves(t *testing.T) {
	permit := consentOf("p1", "2025-01-10", "OPTIN", nil)
	broken := wrongAnswerBase(permit, map[string]any{"malformed": `{"resourceType":"Consent","status":`})
	if e := newEngine(t, broken); e.stopped != "input" {
		t.Errorf("a consent file that cannot be read to its end stopped at %q: %v", e.stopped, e.why)
	}
	noRoster := wrongAnswerBase(permit)
	noRoster.request["relationship"] = "yes"
	mustKeepBack(t, noRoster)
	somebody := wrongAnswerBase(permit)
	somebody.records[0].subjects = nil
	mustKeepBack(t, somebody)
	nobodyKnown := wrongAnswerBase()
	mustKeepBack(t, nobodyKnown)
}
