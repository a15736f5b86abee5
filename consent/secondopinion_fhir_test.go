package consent_test

import (
	"slices"
	"strings"
)

// hearConsent asks a FHIR Consent, R4 in either dialect or R5.
func (s *situation) hearConsent(c map[string]any, r *record) said {
	heard := said{scope: "general"}
	if written := text(c["dateTime"]) + text(c["date"]); written != "" {
		heard.on = earliest(written)
		heard.signed = heard.on <= s.today()
	}
	for _, policy := range append(listOf(c["policy"]), listOf(c["policyBasis"])...) {
		uri := text(policy.(map[string]any)["uri"]) + text(policy.(map[string]any)["url"])
		heard.form = uri[strings.LastIndex(uri, "/")+1:]
	}
	base, root, clear := baseOf(c)
	if !clear || !s.understood(c) || text(c["status"]) == "unknown" {
		return unreadable()
	}
	if s.outgrownBy(s.signersOf(c), s.person(whose(c))) {
		root = unpermitted(root, base)
	}
	switch scopeOf(c) {
	case "patient-privacy":
	case "research":
		heard.scope = "research"
	case "treatment", "adr":
		return heard
	default:
		return unreadable()
	}
	return s.standing(c, heard, base, root, r)
}

// scopeOf is the scope, or in R5 the category that says the same.
func scopeOf(c map[string]any) string {
	if !isR5(c) {
		return codeIn(c["scope"])
	}
	for _, category := range listOf(c["category"]) {
		code := codeIn(category)
		if code == "59284-0" {
			return "patient-privacy"
		}
		if slices.Contains([]string{"patient-privacy", "research", "treatment", "adr"}, code) {
			return code
		}
	}
	return ""
}

func unreadable() said { return said{scope: "general", answer: unsure, lapsed: "unreadable"} }

// whose is the patient of a consent or of a row of the registry.
func whose(c map[string]any) string {
	if c["resourceType"] == nil {
		return text(c["patient"])
	}
	ref, _ := c["patient"].(map[string]any)
	if ref == nil {
		ref, _ = c["subject"].(map[string]any)
	}
	written := text(ref["reference"])
	return written[strings.LastIndex(written, "/")+1:]
}

// Elements of Consent in each version, those left out that none of our cases has.
var (
	elementsR4 = strings.Fields(`resourceType id meta text language identifier extension status scope category patient dateTime performer organization
		sourceReference sourceAttachment policy policyRule verification provision`)
	elementsR5 = strings.Fields(`resourceType id meta text language identifier extension status category subject date period grantor grantee manager controller
		sourceReference sourceAttachment regulatoryBasis policyBasis verification decision provision`)
)

// understood: a modifier changes what all the rest means, an element that no
// version has may; somebody has found out that an unverified consent is none.
func (s *situation) understood(c map[string]any) bool {
	elements, typed, roots := elementsR4, true, []any{c["provision"]}
	if isR5(c) {
		elements, typed, roots = elementsR5, false, listOf(c["provision"])
	}
	for key := range c {
		if !slices.Contains(elements, key) {
			return false
		}
	}
	for _, item := range roots {
		root, _ := item.(map[string]any)
		if isR5(c) && root["type"] != nil || !allTyped(root, typed) {
			return false
		}
	}
	return !slices.ContainsFunc(listOf(c["verification"]), func(v any) bool { return v.(map[string]any)["verified"] == false })
}

// allTyped: in R4 a nested provision says what it does, in R5 none does.
func allTyped(p map[string]any, typed bool) bool {
	for _, item := range listOf(p["provision"]) {
		inner := item.(map[string]any)
		if says := slices.Contains([]string{"permit", "deny"}, text(inner["type"])); says != typed || !typed && inner["type"] != nil || !allTyped(inner, typed) {
			return false
		}
	}
	return true
}

func isR5(c map[string]any) bool { return c["decision"] != nil || c["subject"] != nil }

// baseOf finds what holds where no exception does: R4's policyRule, the type of
// PCF's root provision, R5's decision. Where two of them differ, or none is
// there, nobody can tell.
func baseOf(c map[string]any) (base answer, root map[string]any, clear bool) {
	word := map[string]answer{"OPTIN": permits, "OPTOUT": denies, "permit": permits, "deny": denies}
	if isR5(c) {
		base, clear = word[text(c["decision"])]
		return base, map[string]any{"period": c["period"], "provision": c["provision"], "grantee": c["grantee"], "controller": c["controller"]}, clear
	}
	root, _ = c["provision"].(map[string]any)
	rule, typed := word[codeIn(c["policyRule"])], word[text(root["type"])]
	if c["policyRule"] != nil && rule == silent || rule != silent && typed != silent && rule != typed {
		return silent, root, false
	}
	base = max(rule, typed)
	return base, root, base != silent
}

// standing: only active grounds a permit; a denial ends with a date and an
// author, which no other status gives.
func (s *situation) standing(c map[string]any, heard said, base answer, root map[string]any, r *record) said {
	status := text(c["status"])
	if status == "active" {
		return s.active(c, heard, base, root, r)
	}
	untimed := merged(root, map[string]any{"period": nil})
	outcome, doubted := s.weighProvision(untimed, base, r)
	if outcome == silent {
		return heard
	}
	switch {
	case status == "rejected" && outcome == permits:
		heard.answer = denies
	case status == "inactive" && outcome == permits:
		heard.lapsed = "revoked"
	case outcome == denies && (status == "inactive" || status == "entered-in-error"):
		heard.answer, heard.doubted = denies, doubted
	case outcome == denies && slices.Contains([]string{"draft", "proposed", "not-done"}, status):
		heard.answer, heard.lapsed = unsure, "proposed" // a denial in the making may be one
	case !slices.Contains([]string{"rejected", "inactive", "entered-in-error", "draft", "proposed", "not-done"}, status):
		return unreadable()
	}
	return heard
}

func (s *situation) active(c map[string]any, heard said, base answer, root map[string]any, r *record) said {
	written := text(c["dateTime"]) + text(c["date"])
	future := written != "" && earliest(written) > s.today()
	switch s.inForce(root) {
	case no:
		if base == permits && s.reach(root, base, r, false) == yes && latest(text(periodOf(root)["end"])+"9999") < s.today() {
			heard.lapsed = "expired"
		}
		return heard
	}
	outcome, doubted := s.weighProvision(root, base, r)
	switch {
	case outcome == permits && (doubted || future):
		heard.answer = unsure
		if slices.ContainsFunc(listOf(root["provision"]), func(p any) bool { return s.ranOut(p.(map[string]any), base, r) }) {
			heard.lapsed = "expired"
		}
	case outcome == denies:
		heard.answer, heard.doubted = denies, doubted
	default:
		heard.answer = outcome
	}
	return heard
}

// ranOut: a permit inside that would have settled the doubt, and has ended.
func (s *situation) ranOut(p map[string]any, outer answer, r *record) bool {
	end := text(periodOf(p)["end"])
	return kindOf(p, outer) == permits && end != "" && latest(end) < s.today() && s.reach(p, permits, r, false) == yes
}

func periodOf(p map[string]any) map[string]any {
	period, _ := p["period"].(map[string]any)
	return period
}

// inForce judges a provision's period by the day of the decision.
func (s *situation) inForce(p map[string]any) truth {
	period := periodOf(p)
	return within(s.today(), text(period["start"]), text(period["end"]))
}

// weighProvision is what a provision says about a record: the deepest of its
// exceptions that is met, deny before permit; else itself, where it is met.
// A deny that cannot be evaluated is met, a permit that cannot is not.
func (s *situation) weighProvision(p map[string]any, kind answer, r *record) (outcome answer, doubted bool) {
	met := s.reach(p, kind, r, true)
	if met == no {
		return silent, false
	}
	if met == doubt && kind == permits {
		return s.perhaps(p, r)
	}
	var exceptions [4]int
	sure := false
	for _, item := range listOf(p["provision"]) {
		inner := item.(map[string]any)
		said, unclear := s.weighProvision(inner, kindOf(inner, kind), r)
		if said == permits && unclear {
			continue
		}
		exceptions[said]++
		sure = sure || said == denies && !unclear
	}
	switch {
	case exceptions[denies] > 0:
		anyway := kind == denies && exceptions[permits] == 0
		return denies, !sure && !anyway || met == doubt
	case exceptions[permits] > 0:
		return permits, met == doubt
	}
	return kind, met == doubt
}

// kindOf is the type as it is written, in R4; in R5 an exception is the
// opposite of what it is an exception to.
func kindOf(inner map[string]any, outer answer) answer {
	switch {
	case text(inner["type"]) == "permit":
		return permits
	case text(inner["type"]) == "deny" || outer == permits:
		return denies
	}
	return permits
}

// perhaps is a permit that may or may not hold: what it forbids inside is
// forbidden, what it allows is not allowed.
func (s *situation) perhaps(p map[string]any, r *record) (answer, bool) {
	for _, item := range listOf(p["provision"]) {
		inner := item.(map[string]any)
		if outcome, _ := s.weighProvision(inner, kindOf(inner, permits), r); outcome == denies {
			return denies, true
		}
	}
	return permits, true
}

// reach asks whether a provision is about this disclosure of this record: all
// criteria together, any repetition of one.
func (s *situation) reach(p map[string]any, kind answer, r *record, timed bool) truth {
	met := yes
	if timed {
		met = s.inForce(p)
	}
	for _, key := range []string{"actor", "action", "purpose", "class", "resourceType", "documentType", "code", "securityLabel", "data", "grantee", "controller"} {
		list := listOf(p[key])
		one := certainly(len(list) == 0)
		for _, item := range list {
			one = either(one, s.criterion(key, item.(map[string]any), kind, r))
		}
		met = both(met, one)
	}
	if made, ok := p["dataPeriod"].(map[string]any); ok {
		met = both(met, within(r.date, text(made["start"]), text(made["end"])))
	}
	return met
}

func (s *situation) criterion(key string, item map[string]any, kind answer, r *record) truth {
	switch key {
	case "actor":
		return s.actorMet(item)
	case "action":
		return actionMet(item)
	case "purpose":
		return s.purposeMet(item)
	case "grantee":
		return s.actorMet(map[string]any{"reference": item})
	case "controller":
		return s.isClinic(text(item["reference"]))
	case "documentType":
		return doubt
	case "class", "resourceType":
		return classMet(item, r)
	case "code":
		return codeMet(item, r)
	case "securityLabel":
		return s.labelMet(item, kind, r)
	}
	return dataMet(item, r)
}

func (s *situation) actorMet(a map[string]any) truth {
	ref, _ := a["reference"].(map[string]any)
	name := text(ref["reference"])
	if id, ok := ref["identifier"].(map[string]any); ok && name == "" {
		name = text(id["system"]) + "|" + text(id["value"])
	}
	if name == "" {
		return doubt
	}
	return s.isRecipient(name)
}

// isClinic asks whether a custodian is the clinic itself. What is filed here and
// names another one may be meant for the clinic all the same.
func (s *situation) isClinic(name string) truth {
	return either(doubt, certainly(slices.Contains(texts(s.clinic["identifiers"]), name)))
}

func actionMet(concept map[string]any) truth {
	switch codeIn(concept) {
	case "disclose":
		return yes
	case "collect", "correct":
		return no
	}
	return doubt
}

func (s *situation) purposeMet(coding map[string]any) truth {
	if !strings.HasSuffix(text(coding["system"]), "v3-ActReason") {
		return doubt
	}
	return s.isPurpose(text(coding["code"]))
}

func classMet(coding map[string]any, r *record) truth {
	if system := text(coding["system"]); !strings.HasSuffix(system, "/resource-types") && !strings.HasSuffix(system, "/fhir-types") {
		return doubt
	}
	return certainly(text(coding["code"]) == r.dataset)
}

func codeMet(concept map[string]any, r *record) truth {
	if len(r.codes) == 0 {
		return doubt
	}
	return certainly(slices.Contains(r.codes, codeIn(concept)))
}

// labelMet: confidentiality is a high-water mark. Who permits R permits what is
// lower, who forbids R forbids what is higher.
func (s *situation) labelMet(coding map[string]any, kind answer, r *record) truth {
	code := text(coding["code"])
	switch system := text(coding["system"]); {
	case strings.HasSuffix(system, "v3-Confidentiality"):
		mark := highWater(r.labels)
		if mark < 0 {
			return doubt
		}
		limit := highWater([]string{code})
		return certainly(kind == permits && mark <= limit || kind == denies && mark >= limit)
	case strings.HasSuffix(system, "v3-ActCode"):
		return s.bears(code, r)
	}
	return doubt
}

// confidentiality rises from left to right.
var confidentiality = []string{"U", "L", "M", "N", "R", "V"}

func highWater(labels []string) (mark int) {
	mark = -1
	for _, label := range labels {
		mark = max(mark, slices.Index(confidentiality, label))
	}
	return mark
}

func dataMet(data map[string]any, r *record) truth {
	ref, _ := data["reference"].(map[string]any)
	if text(data["meaning"]) == "instance" {
		return certainly(text(ref["reference"]) == r.dataset+"/"+r.id)
	}
	return doubt
}

// codeIn is the first code of a CodeableConcept.
func codeIn(concept any) string {
	m, _ := concept.(map[string]any)
	if list := listOf(m["coding"]); len(list) > 0 {
		return text(list[0].(map[string]any)["code"])
	}
	return ""
}

// factsWritten takes from a whole resource what a decision needs of it.
func factsWritten(r *record) *record {
	out := record{id: r.id, dataset: r.dataset, date: text(r.data["effectiveDateTime"]), status: text(r.data["status"]), data: r.data}
	for _, key := range []string{"subject", "patient", "performer", "encounter"} {
		list := listOf(r.data[key])
		if one, ok := r.data[key].(map[string]any); ok {
			list = []any{one}
		}
		for _, item := range list {
			name := text(item.(map[string]any)["reference"])
			switch kind, id, _ := strings.Cut(name, "/"); kind {
			case "Patient":
				if !slices.Contains(out.subjects, id) {
					out.subjects = append(out.subjects, id)
				}
			case "Encounter":
				out.encounter = id
			default:
				out.providers = append(out.providers, name)
			}
		}
	}
	out.codes = append(out.codes, codesIn(r.data["code"])...)
	for _, item := range append(listOf(r.data["derivedFrom"]), listOf(r.data["evaluatedResource"])...) {
		_, id, _ := strings.Cut(text(item.(map[string]any)["reference"]), "/")
		out.derived = append(out.derived, id)
	}
	meta, _ := r.data["meta"].(map[string]any)
	for _, label := range listOf(meta["security"]) {
		out.labels = append(out.labels, text(label.(map[string]any)["code"]))
	}
	return &out
}

func codesIn(concept any) (all []string) {
	m, _ := concept.(map[string]any)
	for _, coding := range listOf(m["coding"]) {
		all = append(all, text(coding.(map[string]any)["code"]))
	}
	return all
}
