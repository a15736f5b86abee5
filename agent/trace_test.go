package agent_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

func (h *house) trace(exchange, row string) *agent.Trace {
	h.t.Helper()
	t, err := h.agent.TraceRow(h.t.Context(), exchange, 1, row, h.archiveKey())
	h.must(err)
	return t
}

// lines are the lines of a file of the clinic, counted as an editor counts them.
func (h *house) lines(name string) []string {
	h.t.Helper()
	return append([]string{""}, strings.Split(h.read(name), "\n")...)
}

// Each row of a drop leads to the line of the extract that holds its values, by
// its place and by its key, and that line leads back to the row.
func TestTraceOfEachRow(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40, Mess: true})
	h.run(scores, agent.RunOptions{})
	source := h.lines("extract/scores/scores.csv")
	rows, err := csv.NewReader(bytes.NewReader(h.archived(scores, 1)[0])).ReadAll()
	h.must(err)
	if len(rows) < 20 {
		t.Fatalf("%d rows", len(rows))
	}
	met := map[int64]bool{}
	for i, row := range rows[1:] {
		byPlace, byKey := h.trace(scores, fmt.Sprintf("1:%d", i+1)), h.trace(scores, row[6])
		if byKey.Source != byPlace.Source || byKey.SentRow != byPlace.SentRow || byKey.RowKey != row[6] || byKey.People != 1 || met[byKey.Source.Line] {
			t.Fatalf("row %d: %+v by place, %+v by key", i+1, byPlace, byKey)
		}
		met[byKey.Source.Line] = true
		cells, err := csv.NewReader(strings.NewReader(source[byKey.Source.Line])).Read()
		h.must(err)
		for _, value := range []string{row[1], row[2], row[3], row[4], row[5]} { // birth and service date, instrument, score, provider
			if !slices.Contains(cells, value) {
				t.Fatalf("row %d came from a line that holds not all of it", i+1)
			}
		}
	}
	tr := h.trace(scores, "1:1")
	if tr.Policy.Basis != "45 CFR 164.506(c)(4)" || len(tr.Approved) != 2 || tr.Source.Now != "same" || tr.KeptUntil < "2033" || len(tr.Fields) != 6 || tr.Entry == 0 {
		t.Errorf("%+v", tr)
	}
	found, gone, err := h.agent.TraceSource(t.Context(), "", filepath.Join("clinic", "extract", "scores", "scores.csv"), tr.Source.Line, h.archiveKey())
	if err != nil || len(found) != 1 || len(gone) != 0 || len(found[0].Rows) != 1 || found[0].Rows[0] != tr.SentRow || found[0].Disposition != "released" {
		t.Fatalf("%+v %v", found, err)
	}
}

// A record that stayed is told with its reasons and their law.
func TestTraceOfALineThatStayed(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40, Mess: true})
	o := h.run(scores, agent.RunOptions{})
	told := map[string]int64{}
	for line := range h.lines("extract/scores/scores.csv") {
		if line < 2 {
			continue
		}
		if line%5 != 0 { // each is a look at all books
			continue
		}
		found, _, err := h.agent.TraceSource(t.Context(), scores, "scores/scores.csv", int64(line), h.archiveKey())
		h.must(err)
		for _, f := range found {
			if told[f.Disposition]++; f.Disposition == "withheld" && (len(f.Reasons) == 0 || f.Reasons[0].Law == "" || len(f.Rows) > 0) || (f.Disposition == "released") != (len(f.Rows) == 1) {
				t.Errorf("line %d: %+v", line, f)
			}
		}
	}
	if told["withheld"] == 0 || told["out-of-scope"] == 0 || told["released"] == 0 || told["withheld"] > o.Withheld {
		t.Errorf("%v", told)
	}
}

// Of a resource, and of a row about several fields and people's references.
func TestTraceOfAResource(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40, Mess: true})
	h.run(treatment, agent.RunOptions{})
	id := func(text string) string {
		var r struct{ ResourceType, ID string }
		h.must(json.Unmarshal([]byte(text), &r))
		return r.ResourceType + "/" + r.ID
	}
	for part, text := range h.archived(treatment, 1) {
		if !bytes.HasPrefix(text, []byte("{")) {
			continue
		}
		sent := strings.Split(strings.TrimSpace(string(text)), "\n")
		for row := 1; row <= len(sent); row += 1 + len(sent)/4 {
			tr := h.trace(treatment, fmt.Sprintf("%d:%d", part+1, row))
			if source := h.lines("extract/" + tr.Source.File); id(source[tr.Source.Line]) != id(sent[row-1]) {
				t.Errorf("row %d of part %d came from another resource", row, part+1)
			}
			if tr.Part2 && tr.RestsOn == "" {
				t.Errorf("row %d of part %d rests on nothing", row, part+1)
			}
		}
	}
}

// What the answer shows, and when it can no longer be given.
func TestTraceOverTheYears(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40})
	h.run(scores, agent.RunOptions{})
	tr := h.trace(scores, "1:3")
	source := h.lines("extract/scores/scores.csv")[tr.Source.Line]
	var shown bytes.Buffer
	h.must(tr.Show(&shown))
	if !strings.Contains(shown.String(), source+"\n") {
		t.Error("the line is not shown when it is asked for")
	}
	answer, err := json.Marshal(tr)
	h.must(err)
	text := string(answer) + tr.Report().Text() + tr.Report().HTML()
	for _, cell := range strings.Split(source, ",") {
		if len(cell) > 4 && cell != "44261-6" && strings.Contains(text, cell) && !strings.Contains(h.read("policies/acme-scores.yaml"), cell) {
			t.Errorf("the answer shows a value of the record (%d letters)", len(cell))
		}
	}

	h.add("extract/scores/scores.csv", "one more")
	if tr = h.trace(scores, "1:3"); tr.Source.Now != "changed" || tr.Source.There != "" {
		t.Errorf("%+v", tr.Source)
	}
	h.must(os.Remove(filepath.Join(h.dir, "extract", "scores", "scores.csv")))
	shown.Reset()
	if tr = h.trace(scores, "1:3"); tr.Source.Now != "gone" || tr.Show(&shown) != nil || strings.Contains(shown.String(), source) {
		t.Errorf("%+v", tr.Source)
	}

	refused := func(class agent.Class, says, exchange string, number int64, row string) {
		t.Helper()
		if _, err := h.agent.TraceRow(t.Context(), exchange, number, row, h.archiveKey()); agent.ExitCode(err) != int(class) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", row, err)
		}
	}
	refused(agent.AnsweredNo, "there is no drop 2", "", 2, "1:3")
	refused(agent.AnsweredNo, "no row of drop 1", scores, 1, "1:100000")
	refused(agent.AnsweredNo, "no row of drop 1", scores, 1, "44261-6")
	refused(agent.Usage, "PART:ROW", scores, 1, "one:two")

	kept, err := filepath.Glob(filepath.Join(h.dir, "state", "drops", "*", "private"))
	h.must(err)
	h.must(os.RemoveAll(kept[0]))
	refused(agent.Altered, "to be kept until 2033-", scores, 1, "1:3")
	h.agent.Now = func() time.Time { return noon.AddDate(8, 0, 0) }
	refused(agent.AnsweredNo, "the policy kept it until 2033-", scores, 1, "1:3")
	if found, gone, err := h.agent.TraceSource(t.Context(), "", "scores/scores.csv", 3, h.archiveKey()); err != nil || len(found) != 0 || len(gone) != 1 {
		t.Errorf("%v %v %v", found, gone, err)
	}
}

// In a layout whose cells are told by their width a key is found by its letters.
func TestTraceByAKeyInALayout(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	h.keyItems()
	h.run("fhir-items", agent.RunOptions{})
	lines := strings.Split(string(h.archived("fhir-items", 1)[0]), "\n")
	for n, line := range lines[:4] {
		line = strings.TrimRight(line, "\r")
		key := line[len(line)-20:]
		if tr := h.trace("fhir-items", key); tr.Row != int64(n+1) || tr.RowKey != key || tr.Source != h.trace("fhir-items", fmt.Sprintf("1:%d", n+1)).Source {
			t.Errorf("row %d: %+v", n+1, tr.SentRow)
		}
	}
}
