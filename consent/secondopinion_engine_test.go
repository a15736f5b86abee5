package consent_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

var (
	registryColumns    = strings.Fields("patient scope decision status recipient purpose categories from to signed_on form source_document signed_by ended_on ended_by")
	restrictionColumns = strings.Fields("subject kind recipient plan encounter service from to ended_on ended_by")
	rosterColumns      = strings.Fields("subject member_id from to")
	programColumns     = strings.Fields("kind id from to")
	mergeColumns       = strings.Fields("from into status ended_on ended_by")
)

// engine is the product, fed with a situation by nothing but its loaders.
type engine struct {
	tables     *consent.Tables
	classifier *consent.Classifier
	decider    *consent.Decider
	stopped    string // input, request
	why        error
}

func newEngine(t testing.TB, s *situation) *engine {
	t.Helper()
	e := &engine{tables: consent.NewTables()}
	if e.load(t, s, t.TempDir()); e.why != nil {
		e.stopped = "input"
		return e
	}
	e.meet(s)
	request := requestOf(t, s)
	if request.Classifier = e.classifier; e.classifier != nil {
		request.PsychotherapyNotes, request.SUDCounselingNotes = nil, nil // the classifier's file holds them
	}
	if e.decider, e.why = consent.NewDecider(request, e.tables); e.why != nil {
		e.stopped = "request"
	}
	return e
}

// load writes the protective inputs as files, and has them read.
func (e *engine) load(t testing.TB, s *situation, folder string) {
	attempt := func(_ any, err error) {
		if e.why == nil {
			e.why = err
		}
	}
	attempt(nil, e.loadMerges(t, s, folder))
	if s.clinic["classifier"] != nil {
		classifier, err := loadClassifier(t, s, folder)
		attempt(nil, err)
		e.classifier = classifier
	}
	registry, fhir := directiveFiles(t, s)
	if len(registry) > 0 {
		attempt(e.tables.Directives.LoadRegistry(writeTable(t, folder, "registry.csv", registryColumns, registry)))
	}
	if fhir != "" {
		file := writeFile(t, folder, "consents.ndjson", fhir)
		attempt(e.tables.Directives.LoadFHIRConsents(context.Background(), []extract.File{ndjson(file, len(fhir))}))
	}
	attempt(e.tables.Restrictions.Load(writeTable(t, folder, "restrictions.csv", restrictionColumns, s.restrictions)))
	attempt(e.tables.Programs.Load(writeTable(t, folder, "programs.csv", programColumns, s.programs)))
	roster, err := loadMembers(t, s, folder, e.tables.People)
	attempt(roster, err)
	e.tables.Rosters["roster"] = roster
}

// loadMembers writes who is the recipient's in the form of the clinic's input.
func loadMembers(t testing.TB, s *situation, folder string, people *consent.People) (*consent.Roster, error) {
	switch s.rosterKind {
	case "attribution":
		var rows []row
		for _, m := range s.members {
			rows = append(rows, row{"patient": m["subject"], "member_id": m["member_id"], "from": m["from"], "to": m["to"]})
		}
		return consent.LoadAttribution(writeTable(t, folder, "attribution.csv", strings.Fields("patient member_id from to"), rows), people)
	case "fhir-coverage":
		var lines strings.Builder
		for i, m := range s.members {
			c := map[string]any{"resourceType": "Coverage", "id": fmt.Sprintf("c%d", i), "status": m["status"], "subscriberId": m["member_id"],
				"beneficiary": map[string]any{"reference": "Patient/" + m["subject"]}, "payor": []any{map[string]any{"reference": m["payor"]}}, "period": span(m["from"], m["to"])}
			if m["modified"] != "" {
				c["modifierExtension"] = []any{map[string]any{"url": "urn:x", "valueBoolean": true}}
			}
			if err := json.NewEncoder(&lines).Encode(c); err != nil {
				return nil, err
			}
		}
		payor := consent.Payor{Ours: texts(s.request["identifiers"]), Others: texts(s.clinic["others"])}
		return consent.LoadCoverage(context.Background(), []extract.File{ndjson(writeFile(t, folder, "coverage.ndjson", lines.String()), lines.Len())}, payor, people)
	}
	return consent.LoadRoster(writeTable(t, folder, "roster.csv", rosterColumns, s.members), people)
}

// ownMembers are the rows of the recipient's roster, each with a member id.
func ownMembers(s *situation) (rows []row) {
	for _, r := range s.coverage {
		if r["plan"] != "" && r["plan"] != text(s.request["recipient"]) {
			continue
		}
		own := row{"member_id": "M-" + r["subject"]}
		for key, value := range r {
			own[key] = value
		}
		rows = append(rows, own)
	}
	return rows
}

func directiveFiles(t testing.TB, s *situation) (registry []row, fhir string) {
	for _, d := range s.directives {
		switch {
		case d["malformed"] != nil:
			fhir += text(d["malformed"]) + "\n"
		case d["resourceType"] != nil:
			line, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			fhir += string(line) + "\n"
		default:
			registry = append(registry, rowOf(d))
		}
	}
	return registry, fhir
}

// meet is the index pass: people and encounters.
func (e *engine) meet(s *situation) {
	for _, r := range s.records {
		for _, id := range r.facts().subjects {
			e.tables.People.Intern([]byte(id))
		}
	}
	for _, p := range s.patients {
		subject := e.tables.People.Intern([]byte(p["id"]))
		if p["linked_to"] != "" {
			e.tables.People.Link(subject)
		}
	}
	e.noteBirths(s)
	e.tables.Encounters = consent.NewEncounters(e.tables.Programs, e.tables.People)
	for _, r := range s.encounters {
		f := factsOf(&r)
		if met, ok := e.tables.Encounters.Weigh(f); ok {
			e.tables.Encounters.Add(f.ID, met, f.Subjects...)
		}
	}
}

func requestOf(t testing.TB, s *situation) consent.Request {
	at, err := time.Parse(time.RFC3339, s.decidedAt)
	if err != nil {
		t.Fatalf("%s: decided_at: %v", s.name, err)
	}
	p := &policies.Policy{Name: "case", Recipient: text(s.request["recipient"]), Purpose: text(s.request["purpose"]), Basis: text(s.request["basis"]),
		Standard: policies.Standard(text(s.request["standard"])), Agreement: agreementOf(s)}
	p.People = policies.People{Covered: text(s.request["covered"]), IfAmbiguous: "withhold",
		General: policies.ConsentRule(text(s.consentRule["general"])), MostRecent: text(s.consentRule["conflict"]) == "most-recent", Part2: "deny", AcceptForms: texts(s.consentRule["accept_forms"]),
		RegistryOptOut: text(s.choice["registry_opt_out"]) == "leave-out", Part2LeaveOut: text(s.choice["part2_program"]) == "leave-out"}
	p.People.Grounds = groundsOf(s)
	if p.People.MinorRules = minorRulesOf(s); p.People.MinorRules != nil {
		p.People.Minors = "us-xx"
	}
	if p.People.Covered == "" {
		p.People.Covered = "at-service"
	}
	if asksRelationship(s) {
		p.People.Roster = "roster"
	}
	req := consent.Request{Policy: p, RecipientKind: text(s.request["kind"]), DecidedAt: at, AsOf: dayOf(s.asOf).From,
		Organizations: texts(s.request["identifiers"]), Others: texts(s.clinic["others"]), Self: texts(s.clinic["identifiers"]),
		Period: extract.Span{From: extract.NoDay, To: extract.NoDay}, LabelsComplete: text(s.clinic["labels"]) != "partial",
		PsychotherapyNotes: texts(s.clinic["psychotherapy_notes"]), SUDCounselingNotes: texts(s.clinic["sud_counseling_notes"])}
	if period := rowOf(s.request["period"]); period != nil && p.People.Covered == "any-day-of-period" {
		req.Period = extract.Span{From: dayOf(period["from"]).From, To: dayOf(period["to"]).To}
	}
	return req
}

func asksRelationship(s *situation) bool {
	return text(s.request["basis"]) == "45 CFR 164.506(c)(4)" || text(s.request["relationship"]) == "yes"
}

func agreementOf(s *situation) policies.Agreement {
	a := policies.Agreement{Kind: "provider-contract", ID: "A-1", From: dayOf("2020-01-01").From, To: dayOf("2039-12-31").From, ReviewBy: extract.NoDay}
	if text(s.request["standard"]) == "limited-data-set" {
		a.Kind = "dua"
	}
	if s.agreement != nil {
		a = policies.Agreement{Kind: s.agreement["kind"], ID: s.agreement["id"], From: dayOf(s.agreement["from"]).From,
			To: dayOf(s.agreement["to"]).From, ReviewBy: dayOf(s.agreement["review_by"]).From}
	}
	return a
}

// dayOf reads a day; what is none is NoDay.
func dayOf(written string) extract.Span {
	if span, ok := extract.ParseSpan([]byte(written)); ok {
		return span
	}
	return extract.Span{From: extract.NoDay, To: extract.NoDay}
}

func factsOf(r *record) *extract.Facts {
	f := &extract.Facts{Dataset: r.dataset, ID: phi.Bytes(r.id), Date: dayOf(r.date), Encounter: phi.Bytes(r.encounter), Status: phi.Bytes(r.status)}
	for to, from := range map[*[]phi.Bytes][]string{&f.Subjects: r.subjects, &f.Providers: r.providers, &f.Codes: r.codes, &f.Labels: r.labels} {
		for _, item := range from {
			*to = append(*to, phi.Bytes(item))
		}
	}
	return f
}

// decide asks about one record.
func (e *engine) decide(t testing.TB, r *record) consent.Decision {
	return e.decider.Decide(e.factsOf(t, r))
}

// factsOf are those of one record; one that is a whole resource is read by the
// product's own scanner.
func (e *engine) factsOf(t testing.TB, r *record) *extract.Facts {
	if r.data == nil {
		return factsOf(r)
	}
	raw, err := json.Marshal(r.data)
	if err != nil {
		t.Fatal(err)
	}
	var rec extract.Record
	extract.NewScanner().Resource(raw, &rec)
	return &rec.Facts
}

func writeTable(t testing.TB, folder, name string, columns []string, rows []row) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	lines := [][]string{columns}
	for _, r := range rows {
		cells := make([]string, len(columns))
		for i, column := range columns {
			cells[i] = r[column]
		}
		lines = append(lines, cells)
	}
	if err := w.WriteAll(lines); err != nil {
		t.Fatal(err)
	}
	return writeFile(t, folder, name, b.String())
}

func writeFile(t testing.TB, folder, name, content string) string {
	path := filepath.Join(folder, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(fmt.Errorf("writing an input: %w", err))
	}
	return path
}
