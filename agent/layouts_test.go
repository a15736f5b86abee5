package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

// layoutHouse is the demo's clinic with the small extract of testdata/layouts as
// a second source, and an exchange for each of its layouts.
func layoutHouse(t *testing.T) *house {
	t.Helper()
	h := build(t, synthetic.Options{Patients: 20})
	h.must(os.CopyFS(filepath.Join(h.dir, "typed"), os.DirFS(filepath.Join("..", "testdata", "layouts"))))
	h.write("typed/extract/_COMPLETE", "")
	h.write("typed/fhir/_COMPLETE", "")
	h.must(os.Mkdir(filepath.Join(h.dir, "typed", "policies", "texts"), 0o700))
	h.write("typed/policies/texts/part2-notice.txt", h.read("policies/texts/part2-notice.txt"))
	config := strings.Replace(h.read("postern.yaml"), "inputs:\n", `  typed:
    folder: typed/extract
    complete: {marker: _COMPLETE}
    files:
      - {match: "scores.csv", format: delimited, dataset: scores, schema: typed/schemas/scores.json}
      - {match: "members.csv", format: delimited, dataset: members, schema: typed/schemas/members.json}
  typed-fhir:
    folder: typed/fhir
    complete: {marker: _COMPLETE}
    files:
      - {match: "*.ndjson", format: fhir-ndjson}
inputs:
  typed-roster: {kind: roster, file: typed/inputs/roster.csv, max_age: 35 days, shrink_limit: 10%}
  practices:    {kind: table, file: typed/inputs/practices.csv, schema: typed/schemas/practices.json, max_age: 90 days, shrink_limit: 10%}
`, 1)
	config = config[:strings.Index(config, "\nexchanges:")] + "\nexchanges:\n"
	for i, name := range []string{"hedis-supplemental", "ny-member", "pro-cm", "fhir-scores", "fhir-items", "fhir-panel", "scores-wide", "fhir-members"} {
		source := "typed"
		if strings.HasPrefix(name, "fhir") {
			source = "typed-fhir"
		}
		config += fmt.Sprintf("  %s: {id: y%d, source: %s, policy: typed/policies/%s.yaml, recipient: acme-health-plan}\n", name, i+1, source, name)
	}
	h.write("postern.yaml", config)
	loaded, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml"))
	h.must(err)
	h.agent.Config = loaded
	h.age()
	return h
}

// One extract leaves as three recipients want it, byte by byte as it was typed
// by hand before there was code for it.
func TestLayoutsToTheByte(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	for _, c := range []struct {
		exchange, file, part2, format string
		totals                        string
	}{
		{"hedis-supplemental", "hedis-supplemental.csv", "TRAILER,0,0\r\n", "lines+header+trailer", "people 4; rows 5; sum of total_score 46; rows by sex: F 2; rows by sex: M 1; rows by sex: U 2"},
		{"ny-member", "ny-member.txt", "", "lines", "people 4; rows 4; rows by screened_numerator: 0 2; rows by screened_numerator: 1 2"},
		{"pro-cm", "pro_cm.txt", "", "lines+header", "sum of total_score 46; rows by instrument: 44261-6 2; rows by instrument: 55758-7 1; rows by instrument: 70274-6 1; rows by instrument: 75626-2 1"},
		{"fhir-items", "fhir-items.txt", "TRL00000       0\r\n", "lines+trailer", "people 2; rows 7"},
		{"fhir-panel", "fhir-panel.txt", "", "lines+header", "people 2; rows 2"},
		{"fhir-members", "fhir-members.csv", "", "lines+header", "people 4; rows 4"},
		{"scores-wide", "scores-wide.txt", "", "lines+header", "people 4; rows 5; rows by instrument: 44261-6 2; rows by instrument: 55758-7 1; rows by instrument: 70274-6 1; rows by instrument: 75626-2 1"},
	} {
		outcome := h.run(c.exchange, agent.RunOptions{Workers: 3})
		d := h.drop(c.exchange, outcome.Number)
		want, err := os.ReadFile(filepath.Join("..", "testdata", "layouts", c.file))
		h.must(err)
		parts := d.book["parts"].([]any)
		if len(parts) != 3 && c.exchange != "fhir-items" || len(parts) != 5 && c.exchange == "fhir-items" { // the last tells the scope of consents
			t.Fatalf("%s: %d parts", c.exchange, len(parts))
		}
		for i, want := range []string{string(want), ""} {
			part := parts[i].(map[string]any)
			got := string(d.parts[part["name"].(string)])
			if i == 1 {
				if _, rest, ok := strings.Cut(got, "\n"); ok && strings.Contains(c.format, "header") {
					got = rest
				}
				want = c.part2
			}
			if got != want {
				t.Errorf("%s, part %d: got\n%s\nwant\n%s", c.exchange, i+1, got, want)
			}
			if part["format"] != c.format {
				t.Errorf("%s: the book calls the part %v", c.exchange, part["format"])
			}
		}
		var totals []string
		for _, total := range d.book["totals"].([]any) {
			one := total.(map[string]any)
			totals = append(totals, fmt.Sprintf("%v %v", one["name"], one["value"]))
		}
		if got := strings.Join(totals, "; "); got != c.totals {
			t.Errorf("%s: totals %s", c.exchange, got)
		}
	}
}

// A control file lists the files of the drop with their rows and sums: those
// with rows under Part 2 in one of its own, which is there whether they have any
// or not.
func TestControlFile(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	outcome := h.run("fhir-scores", agent.RunOptions{Workers: 2})
	d := h.drop("fhir-scores", outcome.Number)
	parts := d.book["parts"].([]any)
	typed := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "testdata", "layouts", name))
		h.must(err)
		return string(text)
	}
	header := "SENDER,FILE,ROWS,PHQ9,AS_OF\n"
	want := []struct {
		dataset, text string
		part2         bool
		rows          float64
	}{
		{"Observation", typed("fhir-scores.csv"), false, 4},
		{"Observation", "ID,PATIENT,ENCOUNTER,SEEN,CODE,NAME,PHQ9,GAD7\n", true, 0},
		{"Encounter", "ID,CLASS\ne11,AMB\ne21,EMER\n", false, 2},
		{"Encounter", "ID,CLASS\n", true, 0},
		{"scope-of-consent", "part,row,scope\n", true, 0},
		{"control-file", typed("fhir-control.csv"), false, 2},
		{"control-file", header + "CLEARVIEW,cv.y4.000001.002.txt,0,0,20260630\nCLEARVIEW,cv.y4.000001.004.txt,0,0,20260630\nCLEARVIEW,cv.y4.000001.005.csv,0,0,20260630\n", true, 3},
	}
	if len(parts) != len(want) {
		t.Fatalf("%d parts, want %d", len(parts), len(want))
	}
	for i, w := range want {
		part := parts[i].(map[string]any)
		if got := string(d.parts[part["name"].(string)]); got != w.text && w.dataset != "scope-of-consent" || part["dataset"] != w.dataset || part["part2"] != w.part2 || part["rows"] != w.rows {
			t.Errorf("part %d, %v of %v rows, Part 2 %v: got\n%s\nwant\n%s", i+1, part["dataset"], part["rows"], part["part2"], got, w.text)
		}
	}
	if len(d.manifest.Files) != len(want)+1 {
		t.Errorf("the manifest lists %d files", len(d.manifest.Files))
	}
}

// keyItems gives the rows of fhir-items, whose cells are told by their width, keys.
func (h *house) keyItems() {
	h.t.Helper()
	h.write("typed/policies/fhir-items.yaml", strings.Replace(h.read("typed/policies/fhir-items.yaml"), "mode: full,", "mode: full, row_key: yes,", 1))
	layout := h.read("typed/policies/layouts/fhir-items.yaml")
	layout = strings.Replace(layout, "width: 2, fill: zeros}\n", "width: 2, fill: zeros}\n      key: {row_key: yes, width: 20}\n", 1) + "      key: {row_key: yes, width: 20}\n"
	h.write("typed/policies/layouts/fhir-items.yaml", layout)
}

// Each component that makes a row has a key of its own, which it keeps in the next
// drop.
func TestRowsOfOneRecordHaveKeys(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	h.keyItems()
	keys := func() (list []string) {
		d := h.drop("fhir-items", h.run("fhir-items", agent.RunOptions{}).Number)
		for _, part := range d.book["parts"].([]any) {
			for line := range strings.Lines(string(d.parts[part.(map[string]any)["name"].(string)])) {
				if line = strings.TrimRight(line, "\r\n"); len(line) == 72 || len(line) == 26 {
					list = append(list, line[len(line)-20:])
				}
			}
		}
		return list
	}
	first := keys()
	if distinct := slices.Compact(slices.Sorted(slices.Values(first))); len(first) != 7 || len(distinct) != 7 || strings.Contains(first[0], "?") {
		t.Errorf("keys %q", first)
	}
	if again := keys(); !slices.Equal(first, again) {
		t.Errorf("in the next drop they are %q, and were %q", again, first)
	}
}

// A record whose value does not fit is rejected, said by place and column, and
// the file is what it would be without it; over the tolerance nothing is sent.
func TestLayoutsReject(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	h.add("typed/extract/scores.csv", "S-1006,p1,e19,2026-05-02,72109-2,3,final,1234567893,O'Brien,Maeve,1984-11-30,female")
	h.approve("pro-cm")
	_, err := h.agent.Run(context.Background(), "pro-cm", agent.RunOptions{AsOf: demo.AsOf()})
	if classOf(err) != agent.Unbalanced {
		t.Errorf("over the tolerance: %v", err)
	}
	policy := h.read("typed/policies/pro-cm.yaml")
	h.write("typed/policies/pro-cm.yaml", policy+"tolerate: {rejected: 20%}\n")
	outcome := h.run("pro-cm", agent.RunOptions{})
	if len(outcome.Rejected) != 1 || outcome.Rejected[0].Place != "scores.csv:7" || outcome.Rejected[0].Reason != "schema" ||
		outcome.Rejected[0].Detail != "column PRO_MEASURE_NAME of the layout: the value is none of those that the layout maps" {
		t.Errorf("rejected: %+v", outcome.Rejected)
	}
	want, err := os.ReadFile(filepath.Join("..", "testdata", "layouts", "pro_cm.txt"))
	h.must(err)
	d := h.drop("pro-cm", outcome.Number)
	if first := d.book["parts"].([]any)[0].(map[string]any)["name"].(string); string(d.parts[first]) != string(want) {
		t.Errorf("got\n%s", d.parts[first])
	}
}

// A table is a protective input: what is wrong with it stops the exchange, and
// its schema is a part of what approvers sign.
func TestTablesAreGuarded(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	h.approve("ny-member")
	run := func() error {
		_, err := h.agent.Run(context.Background(), "ny-member", agent.RunOptions{AsOf: demo.AsOf(), DryRun: true})
		return err
	}
	h.must(run())
	right := h.read("typed/inputs/practices.csv")
	for name, text := range map[string]string{
		"a key that stands twice": right + "1234567893,111111111\n",
		"no key":                  right + ",111111111\n",
		"another column":          strings.Replace(right, "tin", "ein", 1),
		"cut short":               strings.TrimSuffix(right, "\n"),
	} {
		h.write("typed/inputs/practices.csv", text)
		if err := run(); classOf(err) != agent.StaleInput || strings.Contains(err.Error(), "111111111") {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.write("typed/inputs/practices.csv", right)
	h.write("typed/schemas/practices.json", strings.Replace(h.read("typed/schemas/practices.json"), `"tin", "class": "provider-key"`, `"tin", "class": "code"`, 1))
	if _, err := h.agent.Run(context.Background(), "ny-member", agent.RunOptions{AsOf: demo.AsOf()}); classOf(err) != agent.PolicyRefused {
		t.Errorf("a schema that nobody has approved: %v", err)
	}
	config := h.read("postern.yaml")
	for _, c := range [][2]string{{", schema: typed/schemas/practices.json", ""}, {"{kind: roster, file: typed", "{kind: roster, schema: x.json, file: typed"}} {
		h.write("postern.yaml", strings.Replace(config, c[0], c[1], 1))
		if _, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml")); err == nil || !strings.Contains(err.Error(), "write schema: FILE for an input of kind table, and for no other") {
			t.Errorf("%s: %v", c[1], err)
		}
	}
}

// The engine alone lays out, too, with header and trailer, rows and resources; what
// it would look up stays empty, and a reference that a run cuts, because what it
// leads to is not in the drop, stands.
func TestFilterLaysOut(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	for _, c := range []struct {
		policy, dataset, schema, in, want string
		instead                           []string
	}{
		{"hedis-supplemental", "scores", "typed/schemas/scores.json", "typed/extract/scores.csv", "hedis-supplemental.csv",
			[]string{"\nAC0000417,", "\n,", "\nAC0000988,", "\n,", "\nAC0012345678,", "\n,", "\nAC77,", "\n,", ",061234567,", ",,", ",987654321,", ",,"}},
		{"fhir-items", "Observation", "", "typed/fhir/Observation.ndjson", "fhir-items.txt", []string{"Patient/p2                ", "Patient/p2  Encounter/e98 "}},
		{"fhir-panel", "Observation", "", "typed/fhir/Observation.ndjson", "fhir-panel.txt", nil},
		{"fhir-members", "Observation", "", "typed/fhir/Observation.ndjson", "fhir-members.csv", []string{"AC0000417,40-44,", ",,", "AC0000988,90+,", ",,", "AC0012345678,25-29,", ",,", "AC77,", ","}},
	} {
		want, err := os.ReadFile(filepath.Join("..", "testdata", "layouts", c.want))
		h.must(err)
		f := agent.Filter{Policy: filepath.Join(h.dir, "typed/policies", c.policy+".yaml"), Dataset: c.dataset, In: filepath.Join(h.dir, c.in), AsOf: demo.AsOf(), Workers: 2}
		if c.schema != "" {
			f.Schema = filepath.Join(h.dir, c.schema)
		}
		var got strings.Builder
		_, err = f.Run(context.Background(), &got)
		h.must(err)
		if text := strings.NewReplacer(c.instead...).Replace(string(want)); got.String() != text {
			t.Errorf("%s: got\n%s\nwant\n%s", c.policy, got.String(), text)
		}
	}
}
