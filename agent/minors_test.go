package agent_test

import (
	"encoding/csv"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/policies"
)

// ageOn counts birthdays, from the dates as they are written.
func ageOn(t *testing.T, born, on string) int {
	t.Helper()
	from, err := time.Parse(time.DateOnly, born)
	if err != nil {
		t.Fatal(err)
	}
	to, err := time.Parse(time.DateOnly, on)
	if err != nil {
		t.Fatal(err)
	}
	years := 0
	for !from.AddDate(years+1, 0, 0).After(to) {
		years++
	}
	return years
}

// namesMinors has the policy of scores name the shipped rules of California; the
// officer has filled them in.
func (h *house) namesMinors() {
	h.t.Helper()
	text, err := fs.ReadFile(policies.Library(), "minors/us-ca.yaml")
	h.must(err)
	h.must(os.MkdirAll(filepath.Join(h.dir, "policies", "minors"), 0o700))
	h.write("policies/minors/us-ca.yaml", string(text))
	h.edit(scoresPolicy, "    part2: {without", "    minors: {rules: us-ca, if_unsure: withhold}\n    part2: {without")
	if _, err := h.agent.Check(); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "us-ca.yaml:18") {
		h.t.Errorf("rules that nobody has checked: %v", err)
	}
	filled := strings.NewReplacer("FILL IN who has checked the rule", "E. Ortiz", "FILL IN the day, such as 2026-01-31", "2026-01-31").Replace(string(text))
	h.write("policies/minors/us-ca.yaml", filled)
	h.open(h.agent.Log)
}

// signs adds a row to the registry, in which a column tells who has signed.
func (h *house) signs(row, by string) {
	h.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(h.read(consentsCSV))).ReadAll()
	h.must(err)
	added, err := csv.NewReader(strings.NewReader(row)).Read()
	h.must(err)
	if rows[0][len(rows[0])-1] != "signed_by" {
		for i := range rows {
			rows[i] = append(rows[i], map[bool]string{true: "signed_by"}[i == 0])
		}
	}
	var out strings.Builder
	w := csv.NewWriter(&out)
	h.must(w.WriteAll(append(rows, append(added, by))))
	h.write(consentsCSV, out.String())
}

// TestMinorsControlTheirRecords: of the rows that were released, those of care
// from 12 to 17 years stay, and no other; one patient's signature sends that
// patient's again; and when it is gone before delivery, so is the drop.
func TestMinorsControlTheirRecords(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 150})
	h.run(scores, agent.RunOptions{})
	all := h.drop(scores, 1).rows()
	h.deliver(scores)
	h.namesMinors()
	if _, err := h.agent.Run(t.Context(), scores, agent.RunOptions{}); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "minors/us-ca.yaml") {
		t.Errorf("rules that nobody has approved: %v", err)
	}
	was := h.run(scores, agent.RunOptions{DryRun: true})

	var adults, minors []string
	for _, line := range all {
		cells := strings.Split(line, ",") // member_id, birth_date, service_date, …
		if age := ageOn(t, cells[1], cells[2]); age >= 12 && age <= 17 {
			minors = append(minors, line)
		} else {
			adults = append(adults, line)
		}
	}
	if len(minors) == 0 || len(adults) == 0 {
		t.Fatalf("%d rows of minors, %d others", len(minors), len(adults))
	}
	if got := reasons(was)[extract.MinorControls.String()]; got < int64(len(minors)) {
		t.Errorf("%d records withheld, of which %d were released before", got, len(minors))
	}
	h.run(scores, agent.RunOptions{})
	content := func(lines []string) (cut []string) { // without the row's key
		for _, line := range lines {
			cut = append(cut, line[:strings.LastIndexByte(line, ',')])
		}
		slices.Sort(cut)
		return cut
	}
	if got, want := content(h.drop(scores, 2).rows()), content(adults); !slices.Equal(got, want) {
		t.Errorf("%d rows without minors, want %d", len(got), len(want))
	}

	if done := h.deliver(scores); len(done) != 1 || done[0].State == "voided" { // births are known where it is judged again
		t.Fatalf("delivery: %+v", done)
	}

	member, _, _ := strings.Cut(minors[0], ",")
	at := slices.IndexFunc(h.rows(rosterCSV), func(row []string) bool { return row[1] == member })
	person := h.rows(rosterCSV)[at][0]
	row := registry(person, "general", "permit", "active", "2026-07-01", "")
	h.signs(row, "guardian")
	if got := h.run(scores, agent.RunOptions{DryRun: true}); got.Released != int64(len(adults)) {
		t.Errorf("with a guardian's permit %d leave, want %d", got.Released, len(adults))
	}
	h.signs(row, "patient")
	h.run(scores, agent.RunOptions{})
	own := slices.DeleteFunc(slices.Clone(minors), func(line string) bool { return !strings.HasPrefix(line, member+",") })
	if got, want := content(h.drop(scores, 3).rows()), content(slices.Concat(adults, own)); !slices.Equal(got, want) {
		t.Errorf("%d rows with one minor's signature, want %d", len(got), len(want))
	}

	h.write(consentsCSV, strings.ReplaceAll(h.read(consentsCSV), ",patient\n", ",\n"))
	h.deliver(scores)
	if state, note := h.state(scores, 3), h.query(`SELECT note FROM delivery WHERE number = 3`); state != "voided" || !strings.Contains(note, "minor-controls") {
		t.Errorf("without the signature the drop is %s: %s", state, note)
	}

	h.edit("policies/minors/us-ca.yaml", "majority: 18", "majority: 19")
	if p := h.approval(); p.Needed != 2 || !strings.Contains(p.Why, "minors/us-ca.yaml") {
		t.Errorf("other rules: %d, %s", p.Needed, p.Why)
	}
	h.approve(scores)
	h.edit(scoresPolicy, "because: the outcome itself", "because: the outcome")
	if p := h.approval(); p.Needed != 1 {
		t.Errorf("the same rules: %d, %s", p.Needed, p.Why)
	}
}

// TestGuardiansPermitsEndWithMajority: up to the day before, a guardian's permit
// is one, though the minor's signature is missing; from the day on it is over.
func TestGuardiansPermitsEndWithMajority(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(scores, agent.RunOptions{})
	person, _, _ := h.released(h.drop(scores, 1))
	at := slices.IndexFunc(h.rows(scoresCSV), func(row []string) bool { return row[1] == person })
	old := h.rows(scoresCSV)[at][8]
	birthday := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	h.must(filepath.WalkDir(filepath.Join(h.dir, "extract"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(h.dir, path)
		var text strings.Builder
		for line := range strings.Lines(h.read(name)) {
			if strings.Contains(line, person) {
				line = strings.ReplaceAll(line, old, birthday.AddDate(-18, 0, 0).Format(time.DateOnly))
			}
			text.WriteString(line)
		}
		h.write(name, text.String())
		return err
	}))
	h.namesMinors()
	h.edit(scoresPolicy, "general: {without_directive: permit}", "general: {without_directive: deny} ")
	h.signs(registry(person, "general", "permit", "active", "2026-01-01", ""), "guardian")
	day := func(at time.Time) *agent.Outcome { return h.run(scores, agent.RunOptions{DryRun: true, DecidedAt: at}) }
	before, on := day(birthday.AddDate(0, 0, -1)), day(birthday)
	change := grown(before, on)
	expired, minor := change[extract.ConsentExpired.String()], change[extract.MinorControls.String()]
	if expired <= 0 || minor >= 0 || before.Released-on.Released != expired+minor || expired+minor <= 0 {
		t.Errorf("at majority: %v, %d released before and %d on the day", change, before.Released, on.Released)
	}
}
