package consent

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// world is a clinic with one exchange: scores of Acme's members, identified,
// for Acme's operations, decided at noon of 2026-07-05 in Chicago.
type world struct {
	t       testing.TB
	req     Request
	tables  *Tables
	folder  string
	decider *Decider
}

var chicago = func() *time.Location {
	zone, err := time.LoadLocation("America/Chicago")
	if err != nil {
		return time.FixedZone("CDT", -5*3600)
	}
	return zone
}()

func newWorld(t testing.TB) *world {
	w := &world{t: t, folder: t.TempDir(), tables: NewTables()}
	w.req = Request{
		RecipientKind: "health-plan", DecidedAt: time.Date(2026, 7, 5, 12, 0, 0, 0, chicago), AsOf: day("2026-06-30"), Period: extract.NoSpan,
		Organizations: []string{"acme", "Organization/acme", "http://npi|1234567893"},
		Others:        []string{"other", "other-plan"},
		Policy: &policies.Policy{
			Name: "acme-scores", Standard: policies.Identified, Recipient: "acme-health-plan", Purpose: "HOPERAT", Basis: "45 CFR 164.506(c)(4)",
			Agreement: policies.Agreement{Kind: "provider-contract", ID: "A-1", From: day("2026-01-01"), To: extract.NoDay, ReviewBy: day("2026-12-31")},
			People:    policies.People{Roster: "members", Covered: "at-service", General: policies.PermitWithout, Part2: policies.DenyWithout, AcceptForms: []string{"tpo-2026"}},
		},
	}
	w.roster("p1,M1,2026-01-01,", "p2,M2,2026-01-01,", "p3,M3,2026-01-01,")
	return w
}

// treatment turns the exchange into one for treatment by another provider.
func (w *world) treatment() *world {
	w.req.RecipientKind, w.req.Policy.Basis, w.req.Policy.Purpose = "provider", "45 CFR 164.506(c)(2)", "TREAT"
	w.req.Policy.People.Roster = ""
	return w
}

// safeHarbor turns the exchange into a de-identified one for a registry.
func (w *world) safeHarbor() *world {
	w.req.RecipientKind, w.req.Policy.Basis, w.req.Policy.Purpose = "registry", "45 CFR 164.502(d)", "HRESCH"
	w.req.Policy.Standard, w.req.Policy.People = policies.SafeHarbor, policies.People{}
	return w
}

// general sets what holds without a directive.
func (w *world) general(rule policies.ConsentRule) *world {
	w.req.Policy.People.General = rule
	return w
}

func (w *world) file(name, header string, rows []string) string {
	path := filepath.Join(w.folder, name)
	if err := os.WriteFile(path, []byte(header+"\n"+strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

const registryHeader = "patient,scope,decision,status,recipient,purpose,categories,from,to,signed_on,form,ended_on,ended_by"

func (w *world) registry(rows ...string) *world {
	w.t.Helper()
	for i, row := range rows {
		rows[i] = row + strings.Repeat(",", 12-strings.Count(row, ","))
	}
	_, err := w.tables.Directives.LoadRegistry(w.file("registry.csv", registryHeader, rows))
	w.must(err)
	return w
}

func (w *world) consents(ndjson ...string) *world {
	w.t.Helper()
	_, err := w.loadConsents(ndjson...)
	w.must(err)
	return w
}

func (w *world) loadConsents(ndjson ...string) (Input, error) {
	path := w.file("consents.ndjson", ndjson[0], ndjson[1:])
	info, err := os.Stat(path)
	w.must(err)
	return w.tables.Directives.LoadFHIRConsents(context.Background(), []extract.File{{
		Name: "consents.ndjson", Path: path, Size: info.Size(), Rule: &extract.FileRule{Format: extract.FHIRNDJSON},
	}})
}

func (w *world) restrict(rows ...string) *world {
	w.t.Helper()
	var err error
	w.tables.Restrictions, err = loadRestrictions(w.file("restrictions.csv", "subject,kind,recipient,encounter,service,from,to,plan,ended_on,ended_by", rows), w.tables.People)
	w.must(err)
	return w
}

func (w *world) roster(rows ...string) *world {
	w.t.Helper()
	r, err := LoadRoster(w.file("roster.csv", "subject,member_id,from,to", rows), w.tables.People)
	w.must(err)
	w.tables.Rosters["members"] = r
	return w
}

func (w *world) programs(rows ...string) *world {
	w.t.Helper()
	ps, err := loadPrograms(w.file("programs.csv", "kind,id,from,to", rows))
	w.must(err)
	w.tables.Programs, w.tables.Encounters = ps, NewEncounters(ps, w.tables.People)
	return w
}

// encounter indexes an encounter.
func (w *world) encounter(id, patient string, providers ...string) *world {
	f := score(patient, "2026-03-02")
	f.Dataset, f.ID, f.Providers = "Encounter", phi.Bytes(id), list(providers)
	if met, ok := w.tables.Encounters.Weigh(&f); ok {
		w.tables.Encounters.Add(f.ID, met, f.Subjects...)
	}
	return w
}

func (w *world) decide(f extract.Facts) Decision {
	w.t.Helper()
	d, err := NewDecider(w.req, w.tables)
	w.must(err)
	return d.Decide(&f)
}

// expect decides and compares the reasons, comma separated; "" is a permit.
func (w *world) expect(f extract.Facts, reasons string) {
	w.t.Helper()
	if got := w.decide(f).Reasons.Names(); got != reasons {
		w.t.Errorf("reasons %q, want %q", got, reasons)
	}
}

// score is a PHQ-9 total of a patient.
func score(patient, date string) extract.Facts {
	span, _ := extract.ParseSpan([]byte(date))
	return extract.Facts{Dataset: "Observation", ID: phi.Bytes("o1"), Subjects: list([]string{patient}), Date: span, Codes: list([]string{"44261-6"})}
}

func labelled(f extract.Facts, labels ...string) extract.Facts {
	f.Labels = list(labels)
	return f
}

func list(values []string) (l []phi.Bytes) {
	for _, v := range values {
		l = append(l, phi.Bytes(v))
	}
	return l
}

func day(s string) extract.Day {
	span, ok := extract.ParseSpan([]byte(s))
	if !ok {
		panic(s)
	}
	return span.From
}

// fhir makes a Consent of patient p1 with OPTIN or OPTOUT as its base, and more
// members.
func fhir(id, status, base, more string) string {
	if more != "" {
		more = "," + more
	}
	return `{"resourceType":"Consent","id":"` + id + `","status":"` + status + `",` +
		`"scope":{"coding":[{"code":"patient-privacy"}]},"category":[{"coding":[{"code":"59284-0"}]}],` +
		`"patient":{"reference":"Patient/p1"},"dateTime":"2026-02-01","policyRule":{"coding":[{"code":"` + base + `"}]}` + more + `}`
}

// loadRestrictions reads the only list of restrictions.
func loadRestrictions(path string, people *People) (rs *Restrictions, err error) {
	rs = NewRestrictions(people)
	_, err = rs.Load(path)
	return rs, err
}

// loadPrograms reads the only map of Part 2 programs.
func loadPrograms(path string) (ps *Programs, err error) {
	ps = NewPrograms()
	_, err = ps.Load(path)
	return ps, err
}
