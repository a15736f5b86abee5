package agent_test

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/agent/policytest"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/librarytest"
)

const publicHealth = "state-public-health"

// libraryHouse is the demo's clinic with the library, filled in with sample
// values, in place of its own policies: an exchange for each.
func libraryHouse(t *testing.T, opt synthetic.Options) *house {
	t.Helper()
	opt.Visits = true
	h := build(t, opt)
	h.must(librarytest.Fill(filepath.Join(h.dir, "policies", "library")))
	config := h.read("postern.yaml")
	registry := regexp.MustCompile(`(?m)^  national-outcomes-registry:\n(?:    .*\n)+`).FindString(config)
	authority := strings.NewReplacer(synthetic.Registry+":", publicHealth+":", "kind: registry", "kind: public-health", "Organization/"+synthetic.Registry, "Organization/"+publicHealth).Replace(registry)
	config = strings.Replace(config, registry, registry+authority, 1)
	config = strings.Replace(config, "  acme-roster: ", "  payer-roster: ", 1)
	scores := regexp.MustCompile(`(?m)^ *- \{match: "scores/.*\n`).FindString(config)
	config = strings.Replace(config, scores, scores+strings.NewReplacer("scores", "visits", "schemas/", "policies/library/schemas/").Replace(scores), 1)
	config = config[:strings.Index(config, "\nexchanges:")] + `
exchanges:
  members-scores:     {id: l1, source: ehr, policy: policies/library/members-scores.yaml, recipient: acme-health-plan}
  program-screening:  {id: l2, source: ehr, policy: policies/library/program-screening.yaml, recipient: acme-health-plan}
  access-utilization: {id: l3, source: ehr, policy: policies/library/access-utilization.yaml, recipient: acme-health-plan}
  treatment-fhir:     {id: l4, source: ehr, policy: policies/library/treatment-fhir.yaml, recipient: valley-hie}
  registry-outcomes:  {id: l5, source: ehr, policy: policies/library/registry-outcomes.yaml, recipient: national-outcomes-registry}
  public-health:      {id: l6, source: ehr, policy: policies/library/public-health.yaml, recipient: state-public-health}
`
	h.write("postern.yaml", config)
	loaded, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml"))
	h.must(err)
	h.agent.Config = loaded
	h.world.Recipients = append(h.world.Recipients, &demo.Recipient{Name: publicHealth, Dir: h.world.Recipient(synthetic.Registry).Dir})
	h.age()
	return h
}

// table reads a CSV file, each row by the names of its columns.
func (h *house) table(name string) (rows []map[string]string) {
	h.t.Helper()
	header, _, _ := strings.Cut(h.read(name), "\n")
	names := strings.Split(header, ",")
	for _, cells := range h.rows(name) {
		row := map[string]string{}
		for i := range min(len(cells), len(names)) {
			row[names[i]] = cells[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// undecided are the people about whom no input says anything: what the policy
// asks for of them leaves whole. In a Part 2 program is who is treated by one
// of its clinicians.
func (h *house) undecided() (people, program map[string]bool) {
	h.t.Helper()
	numbers := map[string]bool{}
	for _, row := range h.table("inputs/programs.csv") {
		numbers[row["id"]] = true
	}
	people, program = map[string]bool{}, map[string]bool{}
	for _, row := range append(h.table("extract/visits/visits.csv"), h.table("extract/scores/scores.csv")...) {
		people[row["person_id"]] = true
		if numbers[row["provider_npi"]] {
			program[row["person_id"]] = true
		}
	}
	said := h.read("inputs/consents.csv") + h.read("inputs/consents.ndjson") + h.read("inputs/restrictions.csv")
	for _, id := range regexp.MustCompile(`CV-\d+`).FindAllString(said, -1) {
		delete(people, id)
	}
	return people, program
}

// covered gives the member number of a person on a day, when there is one only.
func (h *house) covered() func(person, day string) (number string, ambiguous bool) {
	roster := h.table("inputs/acme-roster.csv")
	return func(person, day string) (number string, ambiguous bool) {
		for _, row := range roster {
			if row["subject"] == person && row["from"] <= day && (row["to"] == "" || day <= row["to"]) {
				ambiguous = ambiguous || number != "" && number != row["member_id"]
				number = row["member_id"]
			}
		}
		return number, ambiguous
	}
}

// Each policy of the library runs on the synthetic clinic and sends what its
// file says, in the columns that it says. What leaves is held against the
// extract, line by line: nothing that the policy does not ask for, and of
// people who have decided nothing all that it does.
func TestLibraryRuns(t *testing.T) {
	h := libraryHouse(t, synthetic.Options{Patients: 300})
	undecided, program := h.undecided()
	member := h.covered()
	oracle := func(file string, line func(row map[string]string) string) func(t *testing.T, d *drop) {
		return func(t *testing.T, d *drop) {
			may, must := map[string]int{}, map[string]int{}
			for _, row := range h.table(file) {
				if text := line(row); text != "" {
					may[text]++
					if undecided[row["person_id"]] && !program[row["person_id"]] {
						must[text]++
					}
				}
			}
			for _, row := range d.rows() {
				text := row[:strings.LastIndexByte(row, ',')] // without the row key
				if may[text]--; may[text] < 0 {
					t.Errorf("a row leaves that the policy does not ask for, or twice: %s", text)
				}
				must[text]--
			}
			for text, n := range must {
				if n > 0 {
					t.Errorf("%d rows of somebody who has decided nothing do not leave: %s", n, text)
				}
			}
			if len(must) < 10 {
				t.Errorf("only %d rows to look for", len(must))
			}
		}
	}
	scored := func(codes string, columns ...string) func(map[string]string) string {
		return func(row map[string]string) string {
			number, ambiguous := member(row["person_id"], row["service_date"])
			if number == "" || ambiguous || !strings.Contains(codes, row["instrument"]) || row["status"] != "final" && row["status"] != "amended" || row["service_date"][:4] != "2026" {
				return ""
			}
			return number + "," + strings.Join(pickCells(row, columns), ",")
		}
	}
	for _, c := range []struct {
		name, header string
		holds        func(t *testing.T, d *drop)
	}{
		{"members-scores", "member_id,birth_date,service_date,instrument,total_score,provider_npi,row_key",
			oracle("extract/scores/scores.csv", scored("44261-6 55758-7 70274-6", "birth_date", "service_date", "instrument", "total_score", "provider_npi"))},
		{"program-screening", "member_id,birth_date,service_date,instrument,total_score,row_key",
			func(t *testing.T, d *drop) {
				oracle("extract/scores/scores.csv", scored("75626-2 82667-7", "birth_date", "service_date", "instrument", "total_score"))(t, d)
				h.programRowsApart(t, d)
			}},
		{"access-utilization", "member_id,birth_date,visit_date,kind,outcome,discharge_date,days_after_crisis,provider_npi,row_key",
			oracle("extract/visits/visits.csv", func(row map[string]string) string {
				number, ambiguous := member(row["person_id"], row["visit_date"])
				if number == "" || ambiguous || program[row["person_id"]] || row["outcome"] == "cancelled" || row["kind"] == "telephone" || row["visit_date"][:4] != "2026" {
					return ""
				}
				return number + "," + strings.Join(pickCells(row, []string{"birth_date", "visit_date", "kind", "outcome", "discharge_date", "days_after_crisis", "provider_npi"}), ",")
			})},
		{"treatment-fhir", "", h.scoresOfThoseWhoOptedIn},
		{"registry-outcomes", "person,index_year,week,instrument,total_score,age,sex,race,state", nil},
		{"public-health", "person,visit_date,kind,days_after_crisis,age,sex,race,ethnicity,town,state,zip", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcome := h.run(c.name, agent.RunOptions{})
			d := h.drop(c.name, outcome.Number)
			if outcome.Released == 0 || int64(len(d.rows())) != outcome.Released {
				t.Fatalf("%d rows released, %d in the drop", outcome.Released, len(d.rows()))
			}
			for name, part := range d.parts {
				if header, _, _ := strings.Cut(string(part), "\n"); c.header != "" && header != c.header {
					t.Errorf("%s has the columns %s", name, header)
				}
			}
			if c.holds != nil {
				c.holds(t, d)
			}
		})
	}
}

// As shipped, with what only an officer can say still open, nothing runs.
func TestLibraryAsShippedRunsNothing(t *testing.T) {
	h := libraryHouse(t, synthetic.Options{Patients: 5})
	for _, shipped := range policies.ShippedPolicies() {
		text, err := fs.ReadFile(policies.Library(), shipped.Name+".yaml")
		h.must(err)
		h.write("policies/library/"+shipped.Name+".yaml", string(text))
		for _, dry := range []bool{false, true} {
			_, err = h.agent.Run(t.Context(), shipped.Name, agent.RunOptions{AsOf: demo.AsOf(), DryRun: dry})
			if agent.ExitCode(err) != int(agent.PolicyRefused) || !strings.Contains(err.Error(), "FILL IN") {
				t.Errorf("%s, dry run %v: %v", shipped.Name, dry, err)
			}
		}
	}
	if n := h.query(`SELECT count(*) FROM delivery`); n != "0" {
		t.Errorf("%s drops", n)
	}
}

// The cases of the library pass, and leave no clause of a policy unmet.
func TestLibraryCases(t *testing.T) {
	files, err := policytest.Files(filepath.Join("..", "policies", "library", "cases"))
	must(t, err)
	var results []*policytest.Result
	for _, file := range files {
		r := policytest.Run(t.Context(), file)
		if results = append(results, r); !r.Passed {
			t.Errorf("%s: %s %+v; `postern policy test` says more", file, r.Failed, r.Diffs)
		}
	}
	covered := policytest.Covered(results)
	for _, c := range covered {
		if c.Share() < 1 {
			t.Errorf("%s: no case meets %q", c.Policy, c.Missing)
		}
	}
	if len(files) < 48 || len(covered) != 6 {
		t.Errorf("%d cases of %d policies", len(files), len(covered))
	}
}

func pickCells(row map[string]string, columns []string) (cells []string) {
	for _, c := range columns {
		cells = append(cells, row[c])
	}
	return cells
}

// programRowsApart: the second part holds rows of the Part 2 program, each of
// somebody who has consented on the attested form, and the first part none.
func (h *house) programRowsApart(t *testing.T, d *drop) {
	_, program := h.undecided()
	people := map[string]string{} // by member number
	for _, row := range h.table("inputs/acme-roster.csv") {
		people[row["member_id"]] = row["subject"]
	}
	consents, names := h.read("inputs/consents.csv"), sortedKeys(d.parts)
	if len(names) != 2 {
		t.Fatalf("the drop has %d parts", len(names))
	}
	for i, name := range names {
		lines := strings.Split(strings.TrimSpace(string(d.parts[name])), "\n")[1:]
		if len(lines) < 5 {
			t.Errorf("part %d has %d rows", i+1, len(lines))
		}
		for _, line := range lines {
			number, _, _ := strings.Cut(line, ",")
			person := people[number]
			if program[person] != (i == 1) {
				t.Errorf("a row of %s lies in part %d", person, i+1)
			}
			if i == 1 && !regexp.MustCompile(`(?m)^`+person+`,part2,permit,active,,TPO,,2026-02-20,,2026-02-20,tpo-2026,`).MatchString(consents) {
				t.Errorf("a row of %s leaves, who has not consented under Part 2", person)
			}
		}
	}
}

// scoresOfThoseWhoOptedIn: no Observation but the three total scores, and only
// of people with a permit on file, those of the program with one on the form
// that was attested, which may be the only one.
func (h *house) scoresOfThoseWhoOptedIn(t *testing.T, d *drop) {
	_, program := h.undecided()
	said, seen := h.read("inputs/consents.csv")+h.read("inputs/consents.ndjson"), 0
	for _, line := range d.rows() {
		if !strings.HasPrefix(line, `{"resourceType":"Observation"`) {
			continue
		}
		seen++
		person := regexp.MustCompile(`"Patient/(CV-\d+)"`).FindStringSubmatch(line)[1]
		if !regexp.MustCompile(`"code":"(44261-6|55758-7|70274-6)"`).MatchString(line) || strings.Contains(line, "component") {
			t.Errorf("an observation leaves that the policy does not ask for")
		}
		permit := `(,general,permit,|.*OPTIN|.*"permit")`
		if program[person] {
			permit = `,part2,permit,active,.*,tpo-2026,`
		}
		if !regexp.MustCompile(person + permit).MatchString(said) {
			t.Errorf("a score of %s leaves, who has not consented to it", person)
		}
	}
	if seen < 20 {
		t.Errorf("only %d observations", seen)
	}
}
