package agent_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// byExpert is what a certificate may let out: two closed years, the days shifted.
const byExpert = `postern: policy/v1
policy: by-expert
version: 1
standard: expert-determination
recipient: national-outcomes-registry
purpose: HRESCH
basis: 45 CFR 164.502(d)
agreement: {kind: participation, id: NOR-78, from: 2026-01-01, to: 2099-12-31}
because: research on the course of depression
certificate:
  expert: a statistician of the university
  on: 2026-03-01
  method: report 2026-17
  conditions: [the registry does not link the rows to other data]
  expires: 2099-12-31
include: {groups: groups.yaml}
inputs: {consents: {max_age: 7 days, shrink_limit: 1%}}
people: {clinic_choice: {registry_opt_out: leave-out, because: promised}}
release:
  scores:
    because: research
    only: {service_date: 2024-01-01..2025-12-31}
    fields:
      person:       {from: person_id, do: token}
      row:          {from: record_id, do: ordinal}
      day:          {from: service_date, do: shift-date, range: 300 days}
      instrument:   {do: keep}
      rounded:      {from: total_score, do: round, to: 5}
      sex:          {do: map, to: groups}
      source:       {do: constant, value: clinic}
output: {layout: csv, mode: full, shuffle: people}
`

// What leaves by an expert's determination is, person by person, the course that
// the extract has: the same steps, intervals and rounded scores under one token
// and one shift, which stay in the next drop and are others in another exchange.
func TestExpertDetermination(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 120})
	h.write("policies/by-expert.yaml", byExpert)
	h.write("policies/groups.yaml", "postern: value-set/v1\ntitle: sexes\nsource: the clinic\nlicence: its own\neffective: {from: 2020-01-01, to: open}\nmap: {female: f, F: f, male: m, M: m}\n")
	h.edit("postern.yaml", "exchanges:\n", `exchanges:
  expert: {id: e1, source: ehr, policy: policies/by-expert.yaml, recipient: national-outcomes-registry}
  again:  {id: e2, source: ehr, policy: policies/by-expert.yaml, recipient: national-outcomes-registry}
`)
	courses := map[string][]string{} // by person: DAY instrument rounded sex
	for _, row := range h.table("extract/scores/scores.csv") {
		if row["service_date"] < "2024" || row["service_date"] > "2025-12-31" {
			continue
		}
		score, err := strconv.Atoi(row["total_score"])
		rounded := ""
		if err == nil {
			rounded = fmt.Sprint((score + 2) / 5 * 5)
		}
		sex := map[string]string{"female": "f", "F": "f", "male": "m", "M": "m"}[row["sex"]]
		courses[row["person_id"]] = append(courses[row["person_id"]], strings.Join([]string{row["service_date"], row["instrument"], rounded, sex}, " "))
	}
	known := map[string][]string{} // people by their course from its first day on
	for person, course := range courses {
		known[fromFirst(t, course)] = append(known[fromFirst(t, course)], person)
	}
	read := func(exchange string) (shown map[string][]string) {
		outcome := h.run(exchange, agent.RunOptions{})
		shown = map[string][]string{}
		for i, line := range h.drop(exchange, outcome.Number).rows() {
			cells := strings.Split(line, ",")
			if cells[1] != fmt.Sprintf("%010d", i+1) || cells[6] != "clinic" || len(cells[0]) != 20 {
				t.Fatalf("row %d: %s", i+1, line)
			}
			shown[cells[0]] = append(shown[cells[0]], strings.Join([]string{cells[2], cells[3], cells[4], cells[5]}, " "))
		}
		return shown
	}
	first := read("expert")
	moved := map[int]bool{}
	for token, course := range first {
		slices.Sort(course)
		whose := known[fromFirst(t, course)]
		if len(whose) == 0 {
			t.Fatalf("the course under %s is nobody's: %q", token, course)
		}
		if len(whose) == 1 {
			real := courses[whose[0]]
			slices.Sort(real)
			days := daysApart(t, real[0], course[0])
			if days == 0 || days < -300 || days > 300 {
				t.Errorf("shifted by %d days", days)
			}
			moved[days] = true
		}
	}
	if len(first) < 20 || len(moved) < 15 {
		t.Errorf("only %d people, %d shifts", len(first), len(moved))
	}
	for token, course := range read("expert") {
		if slices.Sort(course); !slices.Equal(course, first[token]) {
			t.Errorf("the next drop has under %s %q, not %q", token, course, first[token])
		}
	}
	for token := range read("again") {
		if first[token] != nil {
			t.Error("two exchanges share a token")
		}
	}
}

// fromFirst is a course with its days counted from the first.
func fromFirst(t *testing.T, course []string) string {
	slices.Sort(course)
	var steps []string
	for _, step := range course {
		steps = append(steps, fmt.Sprint(daysApart(t, course[0], step))+step[10:])
	}
	slices.Sort(steps)
	return strings.Join(steps, "; ")
}

func daysApart(t *testing.T, from, to string) int {
	t.Helper()
	a, err := time.Parse(time.DateOnly, from[:10])
	b, wrong := time.Parse(time.DateOnly, to[:10])
	if err != nil || wrong != nil {
		t.Fatal(err, wrong)
	}
	return int(b.Sub(a).Hours() / 24)
}
