package agent_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
)

// totalScores are the LOINC codes of the total scores of PHQ-9, PHQ-2, GAD-7,
// AUDIT-C and DAST-10.
const totalScores = "44261-6, 55758-7, 70274-6, 75626-2, 82667-7"

// taken is a total score as this test reads it: who took which questionnaire
// when, and the number as it is written.
type taken struct{ person, instrument, at, value string }

// totalScore reads a score from an Observation, before or after.
func totalScore(t testing.TB, raw string) (s taken, status string, ok bool) {
	t.Helper()
	var o struct {
		Status            string
		Code              struct{ Coding []struct{ Code string } }
		Subject           struct{ Reference string }
		EffectiveDateTime string
		ValueInteger      json.Number
		ValueQuantity     struct{ Value json.Number }
	}
	must(t, json.Unmarshal([]byte(raw), &o))
	for _, c := range o.Code.Coding {
		if c.Code != "" && strings.Contains(totalScores, c.Code) {
			s.instrument = c.Code
		}
	}
	s.person = strings.TrimPrefix(o.Subject.Reference, "Patient/")
	s.at, s.value = o.EffectiveDateTime, string(o.ValueInteger+o.ValueQuantity.Value)
	return s, o.Status, s.instrument != ""
}

// courses tells of each person in order what was scored when, in the words of
// when; two that are equal have the same scores, order, changes and intervals.
func courses(scores []taken, when func(taken) (string, bool)) map[string][]string {
	all := map[string][]string{}
	for _, s := range scores {
		if at, within := when(s); within {
			all[s.person] = append(all[s.person], at+" "+s.instrument+" "+s.value)
		}
	}
	for _, course := range all {
		slices.Sort(course)
	}
	return all
}

func sameCourses(t *testing.T, got, want map[string][]string, least int) {
	t.Helper()
	scores, wrong := 0, 0
	for person, course := range want {
		if scores += len(course); !slices.Equal(got[person], course) {
			wrong++
		}
	}
	if wrong > 0 || len(got) != len(want) {
		t.Errorf("%d of %d people have another course than before; %d people were received", wrong, len(want), len(got))
	}
	if scores < least {
		t.Errorf("only %d scores to look for, want %d", scores, least)
	}
	t.Logf("%d scores of %d people", scores, len(want))
}

// standards under which the scores are sent, with what their policies need.
var scoreStandards = map[string]string{
	"identified": `standard: identified
purpose: TREAT
basis: 45 CFR 164.506(c)(2)
agreement: {kind: participation, id: VHIE-9, from: 2020-01-01, to: 2099-12-31}
people: {consent: {general: {without_directive: permit}, part2: {without_directive: deny, if_unsure: withhold}}}
output: {layout: LAYOUT, mode: full, part2_rows: leave-out}
`,
	"limited": `standard: limited-data-set
purpose: HRESCH
basis: 45 CFR 164.514(e)
agreement: {kind: dua, id: DUA-1, from: 2020-01-01, to: 2099-12-31}
people: {consent: {general: {without_directive: permit}, part2: {without_directive: deny, if_unsure: withhold}}}
output: {layout: LAYOUT, mode: full, shuffle: people, part2_rows: leave-out}
`,
	"safe-harbor": `standard: safe-harbor
purpose: HRESCH
basis: 45 CFR 164.502(d)
agreement: {kind: participation, id: NOR-77, from: 2020-01-01, to: 2099-12-31}
people: {clinic_choice: {registry_opt_out: leave-out, because: promised in our privacy notice}}
attest: {actual_knowledge: {none_known: true, by: the privacy officer, on: 2026-06-20, review_by: 2099-12-31}}
output: {layout: LAYOUT, mode: full, shuffle: people}
`}

// scorePolicy writes a policy and gives its path as newSharedClinic wants it.
func scorePolicy(t testing.TB, standard, layout, release string) string {
	t.Helper()
	text := "postern: policy/v1\npolicy: scores\nversion: 1\nrecipient: partner-hie\nbecause: outcomes\n" +
		strings.ReplaceAll(scoreStandards[standard], "LAYOUT", layout) + release +
		"inputs: {consents: {max_age: 7 days, shrink_limit: 1%}}\ntotals: [people, rows]\ntolerate: {rejected: 100%}\nkeep: {sealed_drop: 7 years}\n"
	path := filepath.Join(t.TempDir(), "policy.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return besideTestdata(t, path)
}

func besideTestdata(t testing.TB, path string) string {
	t.Helper()
	here, err := filepath.Abs("testdata")
	must(t, err)
	path, err = filepath.Rel(here, path)
	must(t, err)
	return path
}

// sendAll runs an exchange, delivers, receives, and tells of whom each received
// row is, by the clinic's own row index: its subject column of part and line.
func (c *sharedClinic) sendAll(t *testing.T, exchange, id, asOf string) (parts [][]byte, people map[[2]int]string) {
	t.Helper()
	_, err := c.agent.Run(t.Context(), exchange, agent.RunOptions{AsOf: sharedDay(t, asOf)})
	must(t, err)
	_, err = c.agent.Deliver(t.Context(), exchange)
	must(t, err)
	parts, _ = c.receive(t, id)
	rows, err := csv.NewReader(bytes.NewReader(c.private(t, id, "row-index"))).ReadAll()
	must(t, err)
	people = map[[2]int]string{}
	for _, r := range rows[1:] {
		part, err := strconv.Atoi(r[0])
		must(t, err)
		line, err := strconv.Atoi(r[1])
		must(t, err)
		people[[2]int{part, line}] = r[6]
	}
	return parts, people
}

// crosswalk holds that one name stands for one person throughout, and hides or
// is the id as the standard has it.
type crosswalk struct{ people, names map[string]string }

func (x *crosswalk) meet(t *testing.T, name, person string, hidden bool) {
	t.Helper()
	if x.people == nil {
		x.people, x.names = map[string]string{}, map[string]string{}
	}
	if name == "" || person == "" || x.people[name] != "" && x.people[name] != person || x.names[person] != "" && x.names[person] != name {
		t.Fatal("a name in the drop stands for two people, or a person for two names, or for none")
	}
	if x.people[name], x.names[person] = person, name; hidden == (name == person) {
		t.Fatalf("a person's id is in the drop: %v", !hidden)
	}
}

// TestScoresSurviveAsFHIR sends the Observations of shared data under three
// standards. Patient by patient every total score is what it was, at the time
// that it was: to the second, or to the year, as the standard has it.
func TestScoresSurviveAsFHIR(t *testing.T) {
	const release = `release:
  Patient:
    because: whose scores they are
    fields: {id: {do: PERSON}}
  Observation:
    only: {code: [` + totalScores + `], status: [final, amended]DATED}
    because: the outcome
    fields: {status: {do: keep}, code: {do: keep}, subject: {do: PERSON}, effectiveDateTime: {do: DATE}, valueQuantity: {do: keep}, valueInteger: {do: keep}}
`
	for _, s := range []struct {
		name, files string
		least       int // scores, fewer when it takes closed years
		closed      int
	}{{"surveys", sharedNDJSON, 103, 103}, {"measures", sharedDeep, 117, 66}} {
		folder := sharedFolder(t, s.name)
		var before []taken
		patients := 0
		for _, w := range walkFolder(t, folder, "") {
			if w.dataset == "Patient" {
				patients++
			}
			if w.dataset != "Observation" {
				continue
			}
			if score, status, ok := totalScore(t, w.raw); ok && (status == "final" || status == "amended") {
				before = append(before, score)
			}
		}
		policies := map[string]string{}
		for standard, words := range map[string][]string{
			"identified": {"keep", "keep", ""}, "limited": {"code", "keep", ""}, "safe-harbor": {"code", "year", ", date: 2000-01-01..2025-12-31"},
		} {
			policies[standard] = scorePolicy(t, standard, "ndjson", strings.NewReplacer("PERSON", words[0], "DATED", words[2], "DATE", words[1]).Replace(release))
		}
		c := newSharedClinic(t, sharedSource(folder, "", s.files), policies, "patient,scope,decision,status\n")
		c.open(t, io.Discard)
		for i, standard := range slices.Sorted(maps.Keys(policies)) {
			t.Run(s.name+" "+standard, func(t *testing.T) {
				parts, people := c.sendAll(t, standard, fmt.Sprintf("e%d", i+1), "2027-06-30")
				var after []taken
				var codes crosswalk
				for part, text := range parts {
					for line, row := range slices.Collect(strings.Lines(string(text))) {
						person := people[[2]int{part + 1, line + 1}]
						var patient struct{ ResourceType, ID string }
						must(t, json.Unmarshal([]byte(row), &patient))
						if patient.ResourceType == "Patient" {
							codes.meet(t, patient.ID, person, standard != "identified")
							continue
						}
						score, _, ok := totalScore(t, row)
						if !ok {
							t.Fatal("a row is no score")
						}
						codes.meet(t, score.person, person, standard != "identified")
						score.person = person
						after = append(after, score)
					}
				}
				as, least := func(s taken) (string, bool) { return s.at, true }, s.least
				if standard == "safe-harbor" {
					as, least = func(s taken) (string, bool) { return s.at[:4], s.at[:4] < "2026" }, s.closed
				}
				sameCourses(t, courses(after, as), courses(before, as), least)
				if len(codes.people) != patients {
					t.Errorf("%d people were received, want %d", len(codes.people), patients)
				}
			})
		}
	}
}

// TestScoresSurviveAsRows is the same of delimited rows. Under Safe Harbor each
// person of a cohort is followed from the first score, to the day.
func TestScoresSurviveAsRows(t *testing.T) {
	schema, err := filepath.Abs("../policies/library/schemas/scores.json")
	must(t, err)
	for _, s := range []struct {
		name  string
		least int
	}{{"surveys", 103}, {"measures", 115}} {
		folder := t.TempDir()
		before, first := scoreRows(t, sharedFolder(t, s.name), filepath.Join(folder, "scores.csv"))
		release := func(cohort, fields string) string {
			return cohort + "release:\n  scores:\n    only: {instrument: [" + totalScores + "], status: [final, amended]}\n    because: the outcome\n    fields: {" + fields + ", instrument: {do: keep}, total_score: {do: keep}}\n"
		}
		policies := map[string]string{
			"identified": scorePolicy(t, "identified", "csv", release("", "person_id: {do: keep}, service_date: {do: keep}")),
			"limited":    scorePolicy(t, "limited", "csv", release("", "person: {do: code}, service_date: {do: keep}")),
		}
		for _, at := range first { // a cohort for each year in which somebody was scored first
			cohort := "cohort: {index: first score of the person, index_year: " + at[:4] + ", follow: 520 weeks, release_after: every window has closed}\n"
			policies["year-"+at[:4]] = scorePolicy(t, "safe-harbor", "csv", release(cohort, "person: {do: code}, day: {from: service_date, do: relative-time, unit: days}"))
		}
		files := "      - {match: \"*.csv\", format: delimited, dataset: scores, schema: " + schema + "}"
		c := newSharedClinic(t, sharedSource(folder, "", files), policies, "patient,scope,decision,status\n")
		c.open(t, io.Discard)
		followed := 0
		for i, name := range slices.Sorted(maps.Keys(policies)) {
			t.Run(s.name+" "+name, func(t *testing.T) {
				year, cohort := strings.CutPrefix(name, "year-")
				as, asOf, least := func(s taken) (string, bool) { return s.at, true }, "2027-06-30", s.least
				want := courses(before, as)
				if cohort {
					opened, err := strconv.Atoi(year)
					must(t, err)
					asOf, least = fmt.Sprintf("%d-06-30", opened+11), 1
					want = courses(before, func(s taken) (string, bool) {
						return daysBetween(t, first[s.person], s.at), first[s.person][:4] == year
					})
				}
				parts, people := c.sendAll(t, name, fmt.Sprintf("e%d", i+1), asOf)
				got := courses(receivedRows(t, parts, people, name != "identified"), as)
				sameCourses(t, got, want, least)
				if cohort {
					followed += len(got)
				}
			})
		}
		if followed != len(first) {
			t.Errorf("%s: %d people in the cohorts, want %d", s.name, followed, len(first))
		}
	}
}

func receivedRows(t *testing.T, parts [][]byte, people map[[2]int]string, hidden bool) (after []taken) {
	t.Helper()
	var codes crosswalk
	for part, text := range parts {
		rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
		must(t, err)
		for i, row := range rows[1:] {
			person := people[[2]int{part + 1, i + 1}]
			codes.meet(t, row[0], person, hidden)
			after = append(after, taken{person: person, at: row[1], instrument: row[2], value: row[3]})
		}
	}
	return after
}

// scoreRows writes the scores of a folder as rows, in an order that tells
// nothing, and gives them with the day of each person's first.
func scoreRows(t *testing.T, folder, file string) (before []taken, first map[string]string) {
	t.Helper()
	first = map[string]string{}
	var lines []string
	for _, w := range walkFolder(t, folder, "") {
		if w.dataset != "Observation" {
			continue
		}
		s, status, ok := totalScore(t, w.raw)
		if !ok {
			continue
		}
		s.at = s.at[:len("2006-01-02")]
		lines = append(lines, strings.Join([]string{w.id, s.person, "", s.at, s.instrument, s.value, status, "", "", "", "", "", "", "", ""}, ","))
		if (status == "final" || status == "amended") && len(s.value) < 3 { // measures has two of 300, which the schema refuses: it ends at 27
			before = append(before, s)
			if first[s.person] == "" || s.at < first[s.person] {
				first[s.person] = s.at
			}
		}
	}
	slices.Sort(lines)
	const header = "record_id,person_id,encounter_id,service_date,instrument,total_score,status,provider_npi,birth_date,sex,race,ethnicity,language,state,zip\n"
	must(t, os.WriteFile(file, []byte(header+strings.Join(lines, "\n")+"\n"), 0o600))
	must(t, os.Chtimes(file, time.Now(), time.Now().Add(-time.Hour)))
	return before, first
}

func daysBetween(t testing.TB, from, to string) string {
	t.Helper()
	a, err := time.Parse(time.DateOnly, from)
	must(t, err)
	b, err := time.Parse(time.DateOnly, to)
	must(t, err)
	return strconv.Itoa(int(b.Sub(a) / (24 * time.Hour)))
}
