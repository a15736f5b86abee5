package agent_test

import (
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// TestProgramDeclaredBeforeDelivery: what was sealed before a program was
// declared may be that program's where a record does not tell otherwise, and its
// encounters are not at hand any more. The next run has them.
func TestProgramDeclaredBeforeDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	before := h.run(treatment, agent.RunOptions{})
	untouched := h.copied()
	if done := untouched.deliver(treatment); len(done) != 1 || done[0].State == "voided" {
		t.Fatalf("delivery under the same programs: %+v", done)
	}
	h.add(programsCSV, "practitioner,met-by-nobody,2026-01-01,")
	if done := h.deliver(treatment); len(done) != 1 || done[0].State != "voided" || done[0].Reason != "part2-no-consent" {
		t.Fatalf("delivery: %+v", done)
	}
	if after := h.run(treatment, agent.RunOptions{}); after.Released == 0 || after.Released > before.Released {
		t.Errorf("released %d, then %d", before.Released, after.Released)
	}
}

// TestScopeOfConsentPerRow reads a delivered drop as its recipient does: each
// row under Part 2, by part, number and key, leads to one explanation in the
// book, and nothing else does.
func TestScopeOfConsentPerRow(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 200})
	// One of the program's patients has limited the consent, and renewed it since.
	limited := ""
	for _, row := range h.rows(consentsCSV) {
		if row[1] == "part2" && row[2] == "permit" && row[3] == "active" && row[10] == synthetic.Part2Form {
			limited = row[0]
		}
	}
	h.add(consentsCSV, strings.Replace(registry(limited, "part2", "permit", "active", "2026-03-01", "2027-02-28"), ",,,,2026", ",,HOPERAT,,2026", 1))
	out := h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	d := h.drop(scores, 1)
	told, err := csv.NewReader(strings.NewReader(string(d.scope))).ReadAll()
	h.must(err)
	if !slices.Equal(told[0], []string{"part", "row", "scope", "row_key"}) {
		t.Fatalf("the part begins %v", told[0])
	}
	explained := map[string]string{}
	for _, n := range d.book["notices"].([]any)[1:] {
		notice := n.(map[string]any)
		number, ok := strings.CutPrefix(notice["kind"].(string), "scope-of-consent ")
		if !ok || number != fmt.Sprint(len(explained)+1) {
			t.Errorf("notice %v", notice["kind"])
		}
		explained[number] = notice["text"].(string)
	}
	var want []string // part, row, key
	for i, p := range d.book["parts"].([]any) {
		part := p.(map[string]any)
		if part["part2"] != true || part["dataset"] == "scope-of-consent" {
			continue
		}
		for n, line := range strings.Split(strings.TrimSpace(string(d.parts[part["name"].(string)])), "\n")[1:] {
			want = append(want, fmt.Sprintf("%d %d %s", i+1, n+1, line[strings.LastIndexByte(line, ',')+1:]))
		}
	}
	var got []string
	used := map[string]int{}
	for _, line := range told[1:] {
		got = append(got, line[0]+" "+line[1]+" "+line[3])
		if used[line[2]]++; explained[line[2]] == "" {
			t.Errorf("scope %s is not explained", line[2])
		}
	}
	if len(want) < 5 || int64(len(want)) >= out.Released || !slices.Equal(got, want) {
		t.Errorf("rows %v, and told of %v", want, got)
	}
	tpo := "consent: 42 CFR 2.31\nfrom whom: clearview\nwhat: all records\nto whom: acme-health-plan\nfor what: TREAT, HPAYMT, HOPERAT\nin force from: 2026-02-20\nform: tpo-2026\nsigned: 2026-02-20"
	renewed := "consent: 42 CFR 2.31\nfrom whom: clearview\nwhat: all records\nto whom: acme-health-plan\nfor what: HOPERAT\nin force from: 2026-03-01\nin force until: 2027-02-28\nform: tpo-2026\nsigned: 2026-03-01"
	texts := map[string]bool{}
	for number, text := range explained {
		texts[text] = used[number] > 0
	}
	if len(texts) != 2 || !texts[tpo] || !texts[renewed] {
		t.Errorf("explained: %q, used %v", explained, used)
	}
	h.deliver(scores)
	if r := h.receive(scores); len(r) != 1 || r[0].Rows != out.Released {
		t.Errorf("received %+v", r)
	}
}

// Rows of Part 2 programs have a part of their own, which is there when it is
// empty too, where the policy lets them leave; elsewhere there is none.
func TestPart2PartsWhereTheyCanBe(t *testing.T) {
	t.Parallel()
	for from, parts := range map[string]int{"part2_rows: own-file": 2, "part2_rows: leave-out": 1} {
		h := build(t, synthetic.Options{Patients: 20})
		h.edit("policies/acme-scores.yaml", "part2_rows: own-file", from)
		out, found := h.run(scores, agent.RunOptions{AsOf: day(wholeYear)}), 0
		for _, p := range h.drop(scores, out.Number).book["parts"].([]any) {
			if p.(map[string]any)["dataset"] == "scores" {
				found++
			}
		}
		if found != parts {
			t.Errorf("%s: %d parts of scores", from, found)
		}
	}
}
