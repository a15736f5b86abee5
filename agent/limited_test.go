package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

// ageBand is the age in groups of five years as of a day, 90 and more as one.
func ageBand(birth, day string) string {
	from, _ := strconv.Atoi(birth[:4])
	to, _ := strconv.Atoi(day[:4])
	years := to - from
	if day[5:] < birth[5:] {
		years--
	}
	if years >= 90 {
		return "90+"
	}
	return fmt.Sprintf("%d-%d", years/5*5, years/5*5+4)
}

// identities are what the extract says of who people are; towns and ZIP codes,
// which a limited data set may hold, are none of it.
func (h *house) identities() (values map[string]bool, died map[string]string) {
	h.t.Helper()
	values, died = map[string]bool{}, map[string]string{}
	for line := range strings.Lines(h.read("extract/fhir/Patient.ndjson")) {
		var p struct {
			ID         string
			Deceased   string `json:"deceasedDateTime"`
			Identifier []struct{ Value string }
			Name       []struct{ Text string }
			Telecom    []struct{ Value string }
			Address    []struct{ Line []string }
		}
		h.must(json.Unmarshal([]byte(line), &p))
		if p.Deceased != "" {
			died[p.ID] = p.Deceased[:10]
		}
		values[p.ID], values[p.Name[0].Text], values[p.Address[0].Line[0]] = true, true, true
		for _, v := range append(p.Identifier, p.Telecom...) {
			values[v.Value] = true
		}
	}
	for _, file := range []string{"inputs/acme-roster.csv", "extract/visits/visits.csv", "extract/scores/scores.csv"} {
		for _, row := range h.table(file) {
			for _, column := range []string{"member_id", "visit_id", "record_id", "phone", "birth_date"} {
				if row[column] != "" {
					values[row[column]] = true
				}
			}
		}
	}
	return values, died
}

// A limited data set, end to end: what leaves is what the extract says of the
// month's visits, with town, ZIP code and day; one code stands for one person;
// and nothing in it, in its book or in what lies open says who anybody is.
func TestLimitedDataSet(t *testing.T) {
	h := libraryHouse(t, synthetic.Options{Patients: 400})
	values, died := h.identities()
	undecided, program := h.undecided()
	outcome := h.run("public-health", agent.RunOptions{})
	d := h.drop("public-health", outcome.Number)

	may, must := map[string][]string{}, map[string]int{} // the people of each line
	for _, row := range h.table("extract/visits/visits.csv") {
		if row["outcome"] != "kept" || row["kind"] == "telephone" || row["visit_date"][:7] != "2026-05" || program[row["person_id"]] {
			continue
		}
		day := synthetic.AsOf
		if dead := died[row["person_id"]]; dead != "" {
			day = min(day, dead)
		}
		cells := pickCells(row, []string{"visit_date", "kind", "days_after_crisis", "", "sex", "race", "ethnicity", "town", "state", "zip"})
		cells[3] = ageBand(row["birth_date"], day)
		text := strings.Join(cells, ",")
		may[text] = append(may[text], row["person_id"])
		if undecided[row["person_id"]] {
			must[text]++
		}
	}
	codes := map[string]string{}
	for _, line := range d.rows() {
		code, text, _ := strings.Cut(line, ",")
		if len(may[text]) == 0 {
			t.Fatalf("a row leaves that is none of the month's visits, or twice: %s", text)
		}
		if len(may[text]) == 1 {
			if other, taken := codes[code]; taken && other != may[text][0] {
				t.Errorf("one code stands for two people")
			}
			codes[code] = may[text][0]
		}
		may[text] = may[text][1:]
		must[text]--
	}
	for text, n := range must {
		if n > 0 {
			t.Errorf("%d visits of somebody who has decided nothing do not leave: %s", n, text)
		}
	}
	if len(codes) < 20 || len(must) < 20 {
		t.Errorf("only %d people and %d lines to look for", len(codes), len(must))
	}

	search := newSearch(values)
	if found := search.in([]byte(h.read("extract/visits/visits.csv")+h.read("extract/scores/scores.csv")+h.read("extract/fhir/Patient.ndjson")+h.read("inputs/acme-roster.csv")), false); len(found) < len(values) {
		t.Errorf("the search finds %d of %d values in the source", len(found), len(values))
	}
	book, err := json.Marshal(d.book)
	h.must(err)
	opened := map[string][]byte{"the book": book}
	for name, part := range d.parts {
		opened[name] = part
	}
	for name, raw := range d.raw {
		if !strings.HasSuffix(name, ".age") {
			opened[name] = raw
		}
	}
	for name, text := range opened {
		for value := range search.in(text, false) {
			t.Errorf("%s holds an identifier of %d characters (%s)", name, len(value), shape(value))
		}
	}
}

// The same of FHIR resources: what is kept stands in the extract beside the
// person's id, which the code hides; every score is in the policy's range.
func TestLimitedDataSetOfFHIR(t *testing.T) {
	h := libraryHouse(t, synthetic.Options{Patients: 200})
	text, err := os.ReadFile("testdata/limited-fhir.yaml")
	h.must(err)
	h.write("policies/library/public-health.yaml", string(text))
	outcome := h.run("public-health", agent.RunOptions{})
	d := h.drop("public-health", outcome.Number)
	values, _ := h.identities()
	for value := range values {
		if regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`).MatchString(value) {
			delete(values, value) // birth dates may stay
		}
	}
	type resource struct {
		ID, BirthDate, Gender string
		Deceased              string `json:"deceasedDateTime"`
		ResourceType, Status  string
		Effective             string `json:"effectiveDateTime"`
		Address               []struct{ City, State, PostalCode string }
		Subject               struct{ Reference string }
		Quantity              struct{ Value float64 } `json:"valueQuantity"`
	}
	known, seen := map[string]int{}, map[string]int{}
	about := func(r *resource) string {
		if r.ResourceType == "Patient" {
			return fmt.Sprint(r.BirthDate, r.Deceased, r.Gender, r.Address)
		}
		return fmt.Sprint(r.Status, r.Effective)
	}
	for line := range strings.Lines(h.read("extract/fhir/Patient.ndjson") + h.read("extract/fhir/Observation.ndjson")) {
		var r resource
		h.must(json.Unmarshal([]byte(line), &r))
		known[about(&r)]++
	}
	people := map[string]bool{}
	for _, line := range d.rows() {
		var r resource
		h.must(json.Unmarshal([]byte(line), &r))
		if known[about(&r)]--; known[about(&r)] < 0 {
			t.Fatalf("a %s says what the extract does not", r.ResourceType)
		}
		switch seen[r.ResourceType]++; r.ResourceType {
		case "Patient":
			people[r.ID] = true
		case "Observation":
			if total := r.Quantity.Value; total < 10 || total > 27 {
				t.Errorf("a score of %v", total)
			}
			if people[strings.TrimPrefix(r.Subject.Reference, "Patient/")] {
				seen["joined"]++
			}
		}
		if strings.Contains(line, "CV-") {
			t.Error("a row holds the beginning of an id")
		}
	}
	search := newSearch(values)
	for name, part := range d.parts {
		for value := range search.in(part, false) {
			t.Errorf("%s holds an identifier of %d characters (%s)", name, len(value), shape(value))
		}
	}
	if len(people) < 100 || seen["joined"] < 400 { // of some people only what is dated may leave
		t.Errorf("%d people, %v", len(people), seen)
	}
}

// A direct identifier that has slipped into a column of another class stops a
// limited data set: the gate knows the people of the extract.
func TestGateOfALimitedDataSet(t *testing.T) {
	base := libraryHouse(t, synthetic.Options{Patients: 60})
	lines := strings.Split(base.read("extract/visits/visits.csv"), "\n")
	undecided, program := base.undecided()
	at := slices.IndexFunc(lines, func(line string) bool {
		cells := strings.Split(line, ",")
		return len(cells) > 5 && strings.HasPrefix(cells[2], "2026-05") && cells[3] != "telephone" && cells[4] == "kept" && undecided[cells[1]] && !program[cells[1]]
	})
	if at < 0 {
		t.Fatal("nobody came in May")
	}
	cells := strings.Split(lines[at], ",")
	values, _ := base.identities()
	street := ""
	for line := range strings.Lines(base.read("extract/fhir/Patient.ndjson")) {
		if strings.Contains(line, `"id":"`+cells[1]+`"`) {
			street = regexp.MustCompile(`"line":\["([^"]*)"`).FindStringSubmatch(line)[1]
		}
	}
	if !values[street] {
		t.Fatal("no street is known")
	}
	phone, person := cells[15], cells[1]
	for name, c := range map[string]struct {
		column int
		value  string
		passes bool // what is no town, ZIP code or state leaves nothing; the rest stops the drop
	}{
		"as it is":                       {12, cells[12], true},
		"the street for the town":        {12, street, true},
		"a telephone for the race":       {10, phone, false},
		"the patient's id for ethnicity": {11, person, false},
		"a ZIP code and a street":        {14, cells[14] + " " + street, true},
		"a telephone for the state":      {13, phone, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := base.copied()
			h.t = t
			changed := slices.Clone(cells)
			changed[c.column] = c.value
			lines := slices.Clone(lines)
			lines[at] = strings.Join(changed, ",")
			h.write("extract/visits/visits.csv", strings.Join(lines, "\n"))
			h.approve("public-health")
			_, err := h.agent.Run(context.Background(), "public-health", agent.RunOptions{AsOf: demo.AsOf()})
			if c.passes {
				h.must(err)
				for part, text := range h.drop("public-health", 1).parts {
					if name != "as it is" && bytes.Contains(text, []byte(c.value)) {
						t.Errorf("%s holds it", part)
					}
				}
			} else if agent.ExitCode(err) != int(agent.Unbalanced) || h.query(`SELECT count(*) FROM delivery`) != "0" {
				t.Errorf("it was not stopped: %v", err)
			}
		})
	}
}
