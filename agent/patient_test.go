package agent_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/policies/explain"
)

// linesAbout counts the records of the extract about a person without reading
// them as Postern does: a line of a table by its cell, a resource by its text.
func (h *house) linesAbout(id string) (n int) {
	for _, row := range h.rows("extract/scores/scores.csv") {
		if slices.Contains(row, id) {
			n++
		}
	}
	for _, kind := range []string{"Patient", "Condition", "Coverage", "DocumentReference", "Encounter", "Observation"} {
		for line := range strings.Lines(h.read("extract/fhir/" + kind + ".ndjson")) {
			if strings.Contains(line, `"Patient/`+id+`"`) || strings.Contains(line, `"resourceType":"Patient"`) && strings.Contains(line, `"id":"`+id+`"`) {
				n++
			}
		}
	}
	return n
}

func (h *house) explain(exchange, id string) *agent.PatientAnswer {
	h.t.Helper()
	a, err := h.agent.ExplainPatient(context.Background(), exchange, id, agent.RunOptions{AsOf: day(wholeYear)})
	h.must(err)
	return a
}

// flat is the text of a page without its line breaks.
func flat(p *explain.Page) string { return strings.Join(strings.Fields(p.Text()), " ") }

func sum[K comparable](m map[K]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// The answer accounts for each record of the person, says which line of the
// clinic's lists did what, and shows nothing of what the records hold.
func TestExplainPatient(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	id := h.optedIn()[0]
	before := h.explain(treatment, id)
	if !before.Known || before.IDs != 1 || sum(before.Records) != h.linesAbout(id) || before.Records["released"] == 0 || before.Records["withheld"] != 0 {
		t.Fatalf("%+v", before.Records)
	}
	permits := before.Papers[0].Says[consent.Permits] + before.Papers[0].Says[consent.PermitsPart2]
	if permits != before.Records["released"] || !strings.HasPrefix(before.Papers[0].Source, "inputs/consents.csv:") {
		t.Errorf("%+v", before.Papers)
	}

	h.add("inputs/consents.csv", id+",general,deny,active,valley-hie,,,,,2026-06-01,,,,")
	h.add("inputs/restrictions.csv", id+",agreed,valley-hie,,E-nowhere,,,,,")
	after := h.explain(treatment, id)
	denial := after.Papers[slices.IndexFunc(after.Papers, func(p agent.PaperAnswer) bool { return p.Decision == "deny" && p.Signed == "2026-06-01" })]
	if after.Records["withheld"] != before.Records["released"] || after.Records["released"] != 0 || denial.Says[consent.Denies] != after.Records["withheld"] {
		t.Errorf("%+v, denied by %+v", after.Records, denial)
	}
	at := slices.IndexFunc(after.Papers, func(p agent.PaperAnswer) bool { return p.Restriction && len(p.Limits) > 0 && p.Source != "" })
	if at < 0 || after.Papers[at].Limits[0] != "one visit" || after.Papers[at].Says[consent.Denies] != 0 {
		t.Errorf("%+v", after.Papers)
	}
	if len(after.Reasons) == 0 || after.Reasons[len(after.Reasons)-1].Law == "" || after.Closure == "" || after.Closure == before.Closure && !after.Approved {
		t.Errorf("%+v", after)
	}
	h.holdsNothingOf(id, after)
	if text := flat(after.Page()); !strings.Contains(text, "The patient said no") || !strings.Contains(text, "It keeps back") || !strings.Contains(text, after.Closure) {
		t.Error(text)
	}
}

// holdsNothingOf looks in every form of an answer for what the person's records
// hold: every cell, and every string of the resources that is long enough to be
// no word of ours.
func (h *house) holdsNothingOf(id string, a *agent.PatientAnswer) {
	h.t.Helper()
	encoded, err := json.Marshal(a)
	h.must(err)
	answer := string(encoded) + flat(a.Page()) + a.Page().HTML()
	looked := 0
	look := func(value string) {
		if len(value) >= 5 && value != id && value != "final" {
			if looked++; strings.Contains(answer, value) {
				h.t.Errorf("the answer shows a value of a record (%d letters)", len(value))
			}
		}
	}
	for _, row := range h.rows("extract/scores/scores.csv") {
		if row[1] == id {
			for _, cell := range row {
				look(cell)
			}
		}
	}
	for line := range strings.Lines(h.read("extract/fhir/Patient.ndjson")) {
		var patient struct {
			ID        string
			BirthDate string
			Name      []struct {
				Family string
				Given  []string
			}
		}
		if h.must(json.Unmarshal([]byte(line), &patient)); patient.ID == id {
			look(patient.BirthDate)
			for _, n := range patient.Name {
				look(n.Family)
				look(strings.Join(n.Given, " "))
			}
		}
	}
	for _, row := range h.rows("inputs/acme-roster.csv") {
		if row[0] == id {
			look(row[1])
		}
	}
	if looked < 10 {
		h.t.Errorf("only %d values were looked for", looked)
	}
}

// Whoever is merged is answered for under every id.
func TestExplainMergedPatient(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	people := h.optedIn()
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "inputs:\n", "inputs:\n  merges: {kind: merges, file: inputs/merges.csv, max_age: 1 day, shrink_limit: 0%}\n", 1))
	h.write("inputs/merges.csv", "from,into,status,ended_on,ended_by\n"+people[0]+","+people[1]+",,,\n")
	h.open(nil)
	want := h.linesAbout(people[0]) + h.linesAbout(people[1])
	for _, id := range []string{people[0], people[1], "Patient/" + people[0]} {
		a := h.explain(treatment, id)
		if a.IDs != 2 || sum(a.Records) != want || a.Subject != id {
			t.Errorf("under %d ids %v, want %d records", a.IDs, a.Records, want)
		}
		if text := flat(a.Page()); !strings.Contains(text, "2 ids, which were merged") || !strings.Contains(text, "is not approved as it stands") {
			t.Error(text)
		}
	}
}

// An id may hold anything that a table may hold.
func TestExplainPatientWithAnOddID(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	const odd = `O'Brien, <b>"Al" & Söhne`
	h.add("inputs/consents.csv", `"O'Brien, <b>""Al"" & Söhne",general,deny,active,,,,,,,,,,`)
	a := h.explain(scores, odd)
	if !a.Known || len(a.Papers) != 1 || a.Subject != odd || sum(a.Records) != 0 {
		t.Errorf("%+v", a)
	}
	if page := a.Page(); strings.Contains(page.HTML(), "<b>") || !strings.Contains(flat(page), odd) || !strings.Contains(flat(page), "holds 0 records") {
		t.Error(flat(page))
	}
	if a = h.explain(scores, odd+"\x1b[2J"); a.Known || strings.ContainsRune(flat(a.Page()), '\x1b') || !strings.Contains(flat(a.Page()), "Nothing is known under this id") {
		t.Error("somebody else is known, or a terminal is told what to do")
	}
}

// The report counts each withheld record of a plan once, and each line of it
// says by whom, by which law and what is claimed.
func TestWithheldReport(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60, Mess: true})
	for _, exchange := range []string{scores, treatment, outcomes} {
		opt := agent.RunOptions{AsOf: day(wholeYear), DryRun: true, DecidedAt: noon}
		plan, err := h.agent.Run(context.Background(), exchange, opt)
		h.must(err)
		w, err := h.agent.Withheld(context.Background(), exchange, opt)
		h.must(err)
		if w.Withheld != plan.Withheld || w.Released != plan.Released || w.Withheld == 0 || !w.DecidedAt.Equal(noon) || w.DecidedAt.Location() == time.UTC {
			t.Errorf("%s: %d withheld and %d released, planned were %d and %d", exchange, w.Withheld, w.Released, plan.Withheld, plan.Released)
		}
		total, byReason := int64(0), map[string]int64{}
		for i, by := range w.By {
			if i > 0 && w.By[i-1].By >= by.By || by.People == 0 {
				t.Errorf("%s: %s is out of order, or about nobody", exchange, by.By)
			}
			lines := int64(0)
			for _, l := range by.Lines {
				if lines += l.Records; l.By != by.By || l.Law == "" || l.Exception == "" || l.Mend == "" || l.People > by.People || l.People == 0 {
					t.Errorf("%s: %+v", exchange, l)
				}
				byReason[l.Reason] += l.Records
			}
			if total += by.Records; lines != by.Records {
				t.Errorf("%s: %d records by %s, %d in its lines", exchange, by.Records, by.By, lines)
			}
		}
		if total != w.Withheld {
			t.Errorf("%s: %d of %d records have a line", exchange, total, w.Withheld)
		}
		if planned := reasons(plan); exchange == outcomes && byReason["clinic-choice"] != planned["clinic-choice"] {
			t.Errorf("%v, planned %v", byReason, planned)
		}
		if encoded, err := json.Marshal(w); err != nil || strings.Contains(string(encoded), "CV-1") {
			t.Error("the report names a person", err)
		}
	}
}
