package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// layoutHouse is the demo's clinic with the small extract of testdata/layouts as
// a second source, and an exchange for each of its layouts.
func layoutHouse(t *testing.T) *house {
	t.Helper()
	h := build(t, synthetic.Options{Patients: 20})
	h.must(os.CopyFS(filepath.Join(h.dir, "typed"), os.DirFS(filepath.Join("..", "testdata", "layouts"))))
	h.write("typed/extract/_COMPLETE", "")
	h.must(os.Mkdir(filepath.Join(h.dir, "typed", "policies", "texts"), 0o700))
	h.write("typed/policies/texts/part2-notice.txt", h.read("policies/texts/part2-notice.txt"))
	config := strings.Replace(h.read("postern.yaml"), "inputs:\n", `  typed:
    folder: typed/extract
    complete: {marker: _COMPLETE}
    files:
      - {match: "scores.csv", format: delimited, dataset: scores, schema: typed/schemas/scores.json}
      - {match: "members.csv", format: delimited, dataset: members, schema: typed/schemas/members.json}
inputs:
  typed-roster: {kind: roster, file: typed/inputs/roster.csv, max_age: 35 days, shrink_limit: 10%}
  practices:    {kind: table, file: typed/inputs/practices.csv, schema: typed/schemas/practices.json, max_age: 90 days, shrink_limit: 10%}
`, 1)
	config = config[:strings.Index(config, "\nexchanges:")] + "\nexchanges:\n"
	for i, name := range []string{"hedis-supplemental", "ny-member", "pro-cm"} {
		config += fmt.Sprintf("  %s: {id: y%d, source: typed, policy: typed/policies/%s.yaml, recipient: acme-health-plan}\n", name, i+1, name)
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
	} {
		outcome := h.run(c.exchange, agent.RunOptions{Workers: 3})
		d := h.drop(c.exchange, outcome.Number)
		want, err := os.ReadFile(filepath.Join("..", "testdata", "layouts", c.file))
		h.must(err)
		parts := d.book["parts"].([]any)
		if len(parts) != 2 || len(d.parts) != 2 {
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
