package consent_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// dice makes random worlds; the same seed makes the same world.
type dice struct{ *rand.Rand }

func (d dice) one(of ...string) string { return of[d.IntN(len(of))] }

func (d dice) chance(percent int) bool { return d.IntN(100) < percent }

// some gives text with a chance, else none.
func (d dice) some(percent int, of ...string) string {
	if d.chance(percent) {
		return d.one(of...)
	}
	return ""
}

// day is one of few days, so that bounds are met exactly, around the day of
// the decision (2026-07-05) and the services of the year.
func (d dice) day() string {
	return d.one("2025-01-10", "2026-01-01", "2026-03-01", "2026-03-02", "2026-03-15", "2026-07-04", "2026-07-05", "2026-07-06", "2026-12-31")
}

const (
	worlds          = 350
	recordsInAWorld = 315
	peopleInAWorld  = 40
)

func (d dice) world(n, people, records int) *situation {
	s := &situation{name: fmt.Sprintf("world %d", n), asOf: "2026-06-30", decidedAt: "2026-07-05T02:00:00-05:00",
		request: d.request(), consentRule: map[string]any{"general": d.one("permit", "permit", "deny"), "accept_forms": []any{"tpo-2026"}},
		choice: map[string]any{}, clinic: map[string]any{"identifiers": []any{"Organization/clearview"}, "others": []any{"Organization/other-plan", "other-plan"},
			"labels": d.one("complete", "complete", "partial"), "psychotherapy_notes": []any{"N-1"}, "sud_counseling_notes": []any{"N-2"}}}
	if d.chance(20) {
		s.choice["part2_program"] = "leave-out"
	}
	if d.chance(20) {
		s.choice["registry_opt_out"] = "leave-out"
	}
	s.agreement = d.agreement()
	if d.chance(70) {
		s.programs = []row{{"kind": "organization", "id": "o1", "from": "2020-01-01", "to": d.some(30, "2026-03-01")}}
	}
	if s.oneByOne = d.chance(20); d.chance(35) {
		s.consentRule["conflict"] = "most-recent"
	}
	if d.chance(35) {
		d.classifier(s)
	}
	d.minors(s)
	if d.chance(25) {
		s.grounds = []row{d.ground()}
	}
	for p := range people {
		d.person(s, fmt.Sprintf("p%d", p))
		if d.chance(12) {
			d.merge(s, fmt.Sprintf("p%d", p), fmt.Sprintf("p%d", d.IntN(people)), fmt.Sprintf("p%d", d.IntN(people)))
		}
	}
	if text(s.request["purpose"]) == "HLEGAL" {
		d.nameProceedings(s)
	}
	s.members = ownMembers(s)
	switch d.IntN(6) {
	case 0:
		s.rosterKind = "attribution"
	case 1, 2:
		s.rosterKind = "fhir-coverage"
	}
	for _, m := range s.members {
		m["status"] = d.one("active", "active", "active", "active", "draft", "cancelled", "entered-in-error")
		m["payor"] = d.one("Organization/acme", "Organization/acme", "Organization/acme", "Organization/acme", "Organization/other-plan", "Organization/nobody-known")
		m["modified"] = d.some(3, "yes")
		if s.rosterKind == "attribution" && d.chance(50) {
			m["member_id"] = ""
		}
	}
	for r := range records {
		s.records = append(s.records, d.record(s, r, people))
	}
	return s
}

func (d dice) agreement() row {
	switch d.IntN(12) {
	case 0:
		return row{"kind": "dua", "id": "A", "from": "2026-01-01", "to": d.one("2026-07-04", "2026-07-05", "2027-01-01")}
	case 1:
		return row{"kind": "participation", "id": "A", "from": "2026-01-01", "to": "open", "review_by": d.one("2026-07-04", "2026-07-05")}
	case 2:
		return row{}
	case 3:
		return row{"kind": "dua", "id": "A", "from": "2026-07-06", "to": "2027-01-01"}
	}
	return row{"kind": "dua", "id": "A", "from": "2020-01-01", "to": "2030-01-01"}
}

// request is one line of the table of steps, and sometimes a purpose beside it.
func (d dice) request() map[string]any {
	lines := [][4]string{
		{"health-plan", "HOPERAT", "164.506(c)(4)", "identified"}, {"health-plan", "HOPERAT", "164.506(c)(4)", "identified"}, {"provider", "HQUALIMP", "164.506(c)(4)", "identified"},
		{"hie", "TREAT", "164.506(c)(2)", "identified"}, {"health-plan", "HPAYMT", "164.506(c)(3)", "identified"}, {"health-plan", "HOPERAT", "164.506(c)(1)", "identified"},
		{"registry", "HRESCH", "164.508", "identified"}, {"registry", "HRESCH", "164.514(e)", "limited-data-set"}, {"health-plan", "HOPERAT", "164.506(c)(5)", "aggregate"},
		{"oversight", "HLEGAL", "164.512(a)", "identified"}, {"oversight", "HOPERAT", "164.512(d)", "identified"}, {"researcher", "HRESCH", "164.508", "identified"},
		{"vendor", "HOPERAT", "164.506(c)(1)", "identified"}, {"public-health", "PUBHLTH", "164.512(b)", "identified"}, {"registry", "HRESCH", "164.502(d)", "safe-harbor"},
	}
	line := lines[d.IntN(len(lines))]
	r := map[string]any{"recipient": "acme", "kind": line[0], "purpose": line[1], "basis": "45 CFR " + line[2], "standard": line[3],
		"identifiers": []any{"Organization/acme", "urn:oid:1.2|77"}}
	if d.chance(5) {
		r["purpose"] = d.one("HRESCH", "TREAT", "HPAYMT")
	}
	if d.chance(15) {
		r["relationship"] = "yes"
	}
	if d.chance(25) {
		r["covered"], r["period"] = "any-day-of-period", map[string]any{"from": "2026-03-01", "to": "2026-03-15"}
	}
	return r
}

// person gives somebody directives, restrictions, coverage and encounters.
func (d dice) person(s *situation, id string) {
	for range d.IntN(3) {
		switch d.IntN(6) {
		case 0, 1, 2:
			s.directives = append(s.directives, d.registryRow(id))
		case 3:
			s.directives = append(s.directives, d.consentR5(id, len(s.directives)))
		default:
			s.directives = append(s.directives, d.consent(id, len(s.directives)))
		}
	}
	for d.chance(25) {
		s.restrictions = append(s.restrictions, d.restriction(id))
	}
	for i := 0; i == 0 || d.chance(25); i++ {
		if d.chance(85) {
			s.coverage = append(s.coverage, row{"subject": id, "member_id": d.one("M-"+id, "M-"+id, "M-"+id, "N-"+id, "M-shared"),
				"from": d.one("2025-01-01", "2026-03-02", "2026-03-10"), "to": d.some(40, "2026-03-15", "2026-03-31", "2026-12-31")})
		}
	}
	for i := range d.IntN(3) {
		e := record{id: fmt.Sprintf("e%d-%s", i, id), dataset: "Encounter", subjects: []string{id}, date: d.one("2026-03-01", "2026-03-02")}
		if provider := d.some(80, "Organization/o1", "Organization/o2", "Organization/o2"); provider != "" {
			e.providers = []string{provider}
		}
		s.encounters = append(s.encounters, e)
	}
	if d.chance(3) {
		s.patients = append(s.patients, row{"id": id, "linked_to": "p-other"})
	}
	for d.chance(55) { // twice is a contradiction
		s.patients = append(s.patients, row{"id": id, "birth_date": d.one("2014-03-01", "2014-03-02", "2014-03", "2013-06-01", "2008-02-29", "2008-03-02", "2008-07-05", "2008-07-06", "2008", "1980-05-05", "2026-04-01")})
	}
}

// merge says that ids stand for one person, that they may, or that they do not
// after all; sometimes it contradicts itself.
func (d dice) merge(s *situation, id, other, third string) {
	if id == other || id == third || other == third {
		return
	}
	m := row{"from": id, "into": other, "status": d.one("merged", "")}
	switch d.IntN(9) {
	case 0:
		m["status"] = "unresolved"
	case 1:
		s.links = append(s.links, row{"from": id, "into": other, "type": d.one("refer", "seealso")})
		return
	case 2, 3:
		s.links = append(s.links, row{"from": id, "into": other, "type": d.one("replaced-by", "replaces")})
		return
	case 4:
		s.merges = append(s.merges, row{"from": id, "into": third, "status": "merged"})
	case 5:
		s.merges = append(s.merges, row{"from": id, "into": other, "status": d.one("merged", "unresolved"), "ended_on": d.one("2026-03-01", "2026-07-05", "2026-07-06"), "ended_by": "privacy officer"})
	}
	s.merges = append(s.merges, m)
}

// classifier declares some labels, one of them under another.
func (d dice) classifier(s *situation) {
	declare := func(label string, codes, perhaps, providers []any) {
		c := map[string]any{"label": label, "codes": codes, "perhaps": perhaps, "otherwise": d.one("not", "not", "cannot tell")}
		if d.chance(30) {
			c["providers"] = providers
		}
		list, _ := s.clinic["classifier"].([]any)
		s.clinic["classifier"] = append(list, c)
	}
	declare("SUD", []any{"F11..F19", "H0015", "Z71.41", "Z7142"}, []any{"75626-2", "K70*"}, []any{"Organization/recovery"})
	if d.chance(60) {
		declare("ETHUD", []any{"F10*"}, []any{"75626-2"}, []any{"Practitioner/p7"})
	}
	if d.chance(60) {
		declare("HIV", []any{"B20", "Z21"}, nil, []any{"Organization/o2"})
	}
	s.clinic["labels"] = "partial"
	if d.chance(50) {
		s.clinic["psychotherapy_notes_authors"] = []any{"Practitioner/p8"}
	}
}

func (d dice) restriction(id string) row {
	r := row{"subject": id, "kind": d.one("self-pay", "agreed"), "recipient": d.some(40, "acme", "other-plan", "nobody-known"),
		"plan": d.some(15, "acme", "other-plan"), "encounter": d.some(40, "e0-"+id, "e1-"+id), "service": d.some(30, "44261-6", "69737-5")}
	if r["recipient"] != "" {
		r["plan"] = ""
	}
	if d.chance(30) {
		r["from"] = d.one("2026-03-01", "2026-03-02")
		r["to"] = d.some(50, "2026-03-02", "2026-03-15")
	}
	if d.chance(15) {
		r["ended_on"], r["ended_by"] = d.one("2026-07-04", "2026-07-05", "2026-07-06"), "privacy officer"
	}
	if d.chance(3) {
		r[d.one("kind", "from", "ended_by")] = "2026-02-30"
	}
	return r
}

func (d dice) registryRow(id string) map[string]any {
	r := map[string]any{"patient": id, "scope": d.one("general", "general", "general", "part2", "part2", "research", "registry-opt-out", "state", "state", "treatment"),
		"decision": d.one("permit", "permit", "permit", "deny"), "status": d.one("active", "active", "active", "active", "revoked", "expired", "entered-in-error"),
		"recipient": d.some(25, "acme", "other-plan", "nobody-known", "other-plan;acme"), "purpose": d.some(40, "TPO", "HOPERAT", "HQUALIMP", "HRESCH", "TREAT", "TREAT;HPAYMT", "HLEGAL", "HLEGAL;TREAT"),
		"categories": d.some(25, "PSY", "HIV", "PSY;SUD", "SUD", "ETHUD", "BH"), "from": d.some(60, "2025-01-10", "2025-01-10", "2026-07-05", "2026-07-06"), "to": d.some(25, "2026-07-04", "2026-07-05", "2026-12-31"),
		"signed_on": d.some(85, "2025-01-10", "2026-03-01", "2026-07-05"), "form": d.some(85, "tpo-2026", "tpo-2026", "tpo-2019")}
	if from, to := text(r["from"]), text(r["to"]); from != "" && to != "" && from > to {
		r["to"] = ""
	}
	r["signed_by"] = d.some(60, "patient", "guardian")
	if r["scope"] == "registry-opt-out" {
		r["decision"], r["recipient"], r["purpose"], r["categories"] = "deny", "", "", ""
	}
	if r["decision"] == "deny" {
		d.endDenial(r)
	}
	if d.chance(3) {
		r[d.one("scope", "decision", "status", "from", "signed_on", "ended_on")] = d.one("dney", "2026-02-30")
	}
	return r
}

// minors are the rules of a jurisdiction, in a third of the worlds.
func (d dice) minors(s *situation) {
	if !d.chance(35) {
		return
	}
	rules := []any{map[string]any{"from_age": "12", "to_age": "17", "labels": d.one("PSY", "BH"), "control": d.one("minor", "minor", "both"), "source": "invented"}}
	if d.chance(40) {
		rules = append(rules, map[string]any{"from_age": d.one("0", "14"), "to_age": d.one("15", "17"), "labels": "HIV;SUD", "control": d.one("minor", "both"), "source": "invented",
			"from": d.some(50, "2026-03-02"), "to": d.some(50, "2026-03-02", "2026-12-31")})
	}
	s.consentRule["minors"] = map[string]any{"majority": d.one("18", "18", "19"), "rules": rules}
}

// nameProceedings: where they are the purpose, more papers than elsewhere name
// them.
func (d dice) nameProceedings(s *situation) {
	purpose := []any{coding(terminology+"v3-ActReason", "HLEGAL")}
	for _, paper := range s.directives {
		if !d.chance(40) || text(paper["scope"]) == "registry-opt-out" {
			continue
		}
		if paper["resourceType"] == nil {
			paper["purpose"] = "HLEGAL"
		} else if root, ok := paper["provision"].(map[string]any); ok && root["type"] == "permit" {
			root["purpose"] = purpose
		} else if list := listOf(paper["provision"]); paper["decision"] == "deny" && len(list) > 0 {
			list[0].(map[string]any)["purpose"] = purpose
		}
	}
}

func (d dice) ground() row {
	to, review := d.one("2026-07-04", "2026-07-05", "2026-12-31", "2026-12-31"), ""
	if d.chance(30) {
		to, review = "", to
	}
	return row{"section": d.one("2.12(c)(4)", "2.52", "2.53", "2.53"), "recipient": "acme", "paper": "G-1", "from": d.one("2026-01-01", "2026-07-05", "2026-07-06"),
		"to": to, "review_by": review}
}

// endDenial: a denial that is over says when and by whom.
func (d dice) endDenial(r map[string]any) {
	if r["status"] == "expired" {
		r["to"], r["from"] = d.one("2026-07-04", "2026-03-01"), "2025-01-10"
	}
	if r["status"] == "revoked" || r["status"] == "entered-in-error" {
		r["ended_on"], r["ended_by"] = d.one("2026-07-04", "2026-07-05", "2026-07-06"), "privacy officer"
	}
}

func (d dice) record(s *situation, n, people int) record {
	who := fmt.Sprintf("p%d", d.IntN(people))
	r := record{id: fmt.Sprintf("r%d", n), dataset: d.one("Observation", "Observation", "Condition"), subjects: []string{who},
		date: d.one("2026-03-01", "2026-03-02", "2026-03-02", "2026-03-15", "2026-03", "2025", "")}
	if r.date == "" && d.chance(60) {
		r.date = "2026-03-02"
	}
	if second := fmt.Sprintf("p%d", d.IntN(people)); d.chance(10) && second != who {
		r.subjects = append(r.subjects, second)
	}
	if d.chance(60) {
		r.encounter = d.one("e0-", "e1-") + who
	}
	if provider := d.some(50, "Organization/o1", "Organization/o2", "Organization/o2"); provider != "" {
		r.providers = []string{provider}
	}
	if name := d.some(6, "Organization/recovery", "Practitioner/p7", "Practitioner/p8"); name != "" {
		r.providers = append(r.providers, name)
	}
	for range 1 + d.IntN(6)/5 {
		if code := d.some(85, "44261-6", "69737-5"); d.chance(30) {
			r.codes = append(r.codes, d.one("F10.20", "F1020", "F11", "F19.99", "F20", "B20", "K70.3", "75626-2", "H0015", "Z7141", "Z71.42"))
		} else if code != "" {
			r.codes = append(r.codes, code)
		}
	}
	for d.chance(6) {
		r.derived = append(r.derived, fmt.Sprintf("r%d", d.IntN(recordsInAWorld+5)))
	}
	if d.chance(3) {
		r.dataset, r.codes = "DocumentReference", []string{d.one("N-1", "N-2", "34108-1")}
	}
	for _, label := range []string{d.some(25, "PSY", "HIV", "OPIOIDUD", "ETHUD", "SUD"), d.some(25, "N", "R", "V"), d.some(4, "42CFRPart2")} {
		if label != "" {
			r.labels = append(r.labels, label)
		}
	}
	return r
}

// The engine and the second opinion agree on 110,250 random triples of
// directives, request and record, in which every reason that Decide can give
// and every effect occurs at least 500 times.
func TestSecondOpinionOnRandomTriples(t *testing.T) {
	reasons, effects, answers := map[string]int{}, map[string]int{}, map[string]int{}
	triples, differences, kinds := 0, 0, map[string]int{}
	for n := range worlds {
		s := dice{rand.New(rand.NewPCG(uint64(n), 20260705))}.world(n, peopleInAWorld, recordsInAWorld)
		e := newEngine(t, s)
		if e.stopped != "" {
			t.Fatalf("%s: stopped at %s: %v", s.name, e.stopped, e.why)
		}
		decisions := e.decideAll(t, s)
		for i, o := range s.opinions() {
			r, got := &s.records[i], decisions[i]
			triples++
			effects[o.effect]++
			for name := range o.reasons {
				reasons[name]++
			}
			for a, count := range o.answers {
				answers[answerNames[a]] += count
			}
			if want := reasonsOf(o.names()); want != got.Reasons.Names() || o.part2 != got.Part2 || o.effect != string(e.decider.Effect(got)) {
				kind := want + " / " + got.Reasons.Names()
				differences++
				if kinds[kind]++; kinds[kind] == 1 && len(kinds) <= 12 {
					t.Errorf("%s record %s: engine %s [%s] part 2 %v; second opinion %s [%s] part 2 %v\n%s", s.name, r.id, e.decider.Effect(got), got.Reasons.Names(), got.Part2, o.effect, want, o.part2, s.about(r))
				}
			}
		}
	}
	t.Logf("%d triples, %d differences; effects %v; answers of directives %v; reasons %v", triples, differences, effects, answers, reasons)
	enough(t, effects, answerNames)
	enough(t, answers, answerNames)
	enough(t, reasons, strings.Fields(`agreement-missing agreement-lapsed purpose-not-permitted psychotherapy-notes sud-counseling-notes restriction-self-pay
		restriction-agreed restriction-indeterminate not-a-member member-ambiguous consent-missing consent-denied consent-expired consent-revoked
		consent-indeterminate part2-no-consent state-law-consent merge-unresolved clinic-choice
		derived-from-withheld minor-controls`))
}

func enough(t *testing.T, counted map[string]int, names []string) {
	for _, name := range names {
		if counted[name] < 500 {
			t.Errorf("%s occurred %d times", name, counted[name])
		}
	}
}

// about prints what a difference is about, as small as it is.
func (s *situation) about(r *record) string {
	var b strings.Builder
	line := func(kind string, v any) {
		j, err := json.Marshal(v)
		fmt.Fprintf(&b, "  %s: %s %v\n", kind, j, err)
	}
	line("request", []any{s.request, s.consentRule, s.choice, s.clinic, s.agreement, s.programs})
	for _, rows := range [][]row{s.merges, s.links} {
		for _, m := range rows {
			if slices.ContainsFunc(r.subjects, func(id string) bool {
				return slices.Contains([]string{m["from"], m["into"], s.person(m["from"]), s.person(m["into"])}, s.person(id))
			}) {
				line("merge", m)
			}
		}
	}
	fmt.Fprintf(&b, "  record: %+v\n", *r)
	for _, d := range s.directives {
		if slices.Contains(s.personsOf(r), s.person(whose(d))) {
			line("directive", d)
		}
	}
	for _, rows := range [][]row{s.restrictions, s.coverage} {
		for _, paper := range rows {
			if slices.Contains(s.personsOf(r), s.person(paper["subject"])) {
				line("row", paper)
			}
		}
	}
	for _, e := range s.encounters {
		if slices.ContainsFunc(e.subjects, func(p string) bool { return slices.Contains(s.personsOf(r), s.person(p)) }) {
			fmt.Fprintf(&b, "  encounter: %+v\n", e)
		}
	}
	return b.String()
}
