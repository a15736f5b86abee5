package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// sameForRecipient holds two drops against each other: everything that the
// recipient can read must be equal, and so must what anybody can see of it;
// ciphertexts, their hashes and the signature are what differs.
func sameForRecipient(t *testing.T, a, b *drop) {
	t.Helper()
	if !maps.Equal(a.sizes, b.sizes) {
		t.Errorf("names or sizes differ:\n%v\n%v", a.sizes, b.sizes)
	}
	for name, text := range a.parts {
		if !bytes.Equal(text, b.parts[name]) {
			t.Errorf("the plaintext of %s differs: %s", name, firstDifference(text, b.parts[name]))
		}
		if bytes.Equal(a.raw[name], b.raw[name]) {
			t.Errorf("the ciphertext of %s is equal: its key was used twice", name)
		}
	}
	if !bytes.Equal(a.scope, b.scope) {
		t.Errorf("what rows rest on differs: %s", firstDifference(a.scope, b.scope))
	}
	if !reflect.DeepEqual(a.book, b.book) {
		t.Errorf("the books differ:\n%v\n%v", a.book, b.book)
	}
	ma, mb := a.manifest, b.manifest
	ma.Files, mb.Files = slices.Clone(ma.Files), slices.Clone(mb.Files)
	for i := range ma.Files {
		ma.Files[i].SHA256 = ""
	}
	for i := range mb.Files {
		mb.Files[i].SHA256 = ""
	}
	if !reflect.DeepEqual(ma, mb) {
		t.Errorf("the manifests differ by more than hashes:\n%+v\n%+v", ma, mb)
	}
}

// firstDifference says where, for a synthetic clinic only.
func firstDifference(a, b []byte) string {
	la, lb := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range min(len(la), len(lb)) {
		if la[i] != lb[i] {
			return fmt.Sprintf("line %d: %s against %s", i+1, la[i], lb[i])
		}
	}
	return fmt.Sprintf("%d lines against %d", len(la), len(lb))
}

// scatter puts lines into a file of lines at places of its own choosing, the
// first among them right after the header.
func (h *house) scatter(name string, header int, lines []string) {
	h.t.Helper()
	all := strings.SplitAfter(h.read(name), "\n")
	all = all[:len(all)-1] // what follows the last newline is nothing
	random := rand.New(rand.NewPCG(4, uint64(len(all))))
	for i, line := range lines {
		at := header
		switch {
		case i == 1:
			at = len(all)
		case i > 1:
			at = header + random.IntN(len(all)-header+1)
		}
		all = slices.Insert(all, at, line+"\n")
	}
	h.write(name, strings.Join(all, ""))
}

// change replaces the lines that edit changes; an empty answer removes one.
func (h *house) change(name string, edit func(line string) string) (changed int) {
	h.t.Helper()
	var out strings.Builder
	for line := range strings.Lines(h.read(name)) {
		text := strings.TrimSuffix(line, "\n")
		if edited := edit(text); edited != text {
			changed++
			if text = edited; text == "" {
				continue
			}
		}
		out.WriteString(text + "\n")
	}
	h.write(name, out.String())
	return changed
}

const (
	scoresCSV     = "extract/scores/scores.csv"
	rosterCSV     = "inputs/acme-roster.csv"
	consentsCSV   = "inputs/consents.csv"
	consentsFHIR  = "inputs/consents.ndjson"
	restrictCSV   = "inputs/restrictions.csv"
	programsCSV   = "inputs/programs.csv"
	wholeYear     = "2025-12-31" // as-of: the measure year is over
	anonymousBase = `{"resourceType":"Consent","id":"K-%s","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%[1]s"},"dateTime":"2025-01-10","provision":{"provision":[]}}`
)

// registry writes a row of the consent registry.
func registry(patient, scope, decision, status, from, to string) string {
	form := ""
	if scope == "part2" {
		form = synthetic.Part2Form
	}
	return fmt.Sprintf("%s,%s,%s,%s,,,,%s,%s,%s,%s,form.pdf,,", patient, scope, decision, status, from, to, from, form)
}

// plain finds a person in the roster throughout of whom no other input knows.
func (h *house) plainMember() (person, ordinaryNPI string) {
	h.t.Helper()
	known := h.read(consentsCSV) + h.read(consentsFHIR) + h.read(restrictCSV)
	rows := map[string]int{}
	for _, row := range h.rows(rosterCSV) {
		rows[row[0]]++
	}
	programs := h.read(programsCSV)
	for _, row := range h.rows(rosterCSV) {
		if rows[row[0]] > 1 || row[2] != "2024-01-01" || row[3] != "" || strings.Contains(known, row[0]) {
			continue
		}
		for _, score := range h.rows(scoresCSV) {
			if score[1] == row[0] && !strings.Contains(programs, score[7]) {
				return row[0], score[7]
			}
		}
	}
	h.t.Fatal("the synthetic clinic has no plain member")
	return "", ""
}

func score(id, person, encounter, date string, total int, npi string) string {
	return fmt.Sprintf("%s,%s,%s,%s,44261-6,%d,final,%s,1980-01-02,female,White,Not Hispanic or Latino,en,MA,02139", id, person, encounter, date, total, npi)
}

// TestTwoBooksCSV: a plan that compares two drops can learn nothing of what
// was withheld from either.
func TestTwoBooksCSV(t *testing.T) {
	t.Parallel()
	opt := agent.RunOptions{AsOf: day(wholeYear)}
	base := build(t, synthetic.Options{Patients: 600, Mess: true})
	person, npi := base.plainMember()
	// The visit that this member paid for is restricted in both worlds.
	base.add(restrictCSV, person+",self-pay,acme-health-plan,,E-paid,,,,,")
	base.add(scoresCSV, score("R-paid", person, "E-paid", "2025-05-05", 11, npi))
	base.run(scores, opt)
	// Rows that are new in both worlds, so that the second drop draws new keys.
	var fresh []string
	for i := range 40 {
		fresh = append(fresh, score(fmt.Sprintf("F-%d", i), person, "E-fresh", "2025-06-06", i%28, npi))
	}
	base.scatter(scoresCSV, 1, fresh)

	one, two := base.copied(), base.copied()
	programNPI := ""
	for _, row := range two.rows(programsCSV) {
		if row[0] == "column" {
			programNPI = row[1]
		}
	}
	two.scatter(scoresCSV, 1, []string{
		score("X-1", "NEW-1", "E-n1", "2025-03-01", 3, npi),
		score("X-2", "NEW-2", "E-n2", "2025-03-02", 4, npi),
		score("X-3", "NEW-3", "E-n3", "2025-03-03", 5, npi),
		score("X-4", "NEW-4", "E-n4", "2025-03-04", 6, programNPI),
		score("X-5", "NEW-5", "E-n5", "2025-03-05", 7, npi),
		score("X-6", "NEW-6", "E-n6", "2025-03-06", 8, npi),
		score("X-7", "NEW-7", "E-n7", "2025-03-07", 9, programNPI),
		score("X-8", "NEW-8", "E-n8", "2025-03-08", 9, programNPI),
		score("X-9", person, "E-paid", "2025-05-05", 9, npi),
		score("X-10", person, "E-paid", "2025-05-05", 27, npi),
	})
	two.scatter(rosterCSV, 1, []string{
		"NEW-2,ACM777000002,2024-01-01,,PPO", "NEW-3,ACM777000003,2024-01-01,,PPO", "NEW-4,ACM777000004,2024-01-01,,PPO",
		"NEW-5,ACM777000005,2024-01-01,,PPO", "NEW-6,ACM777000006,2024-01-01,,PPO", "NEW-6,ACM777000066,2024-01-01,,PPO",
		"NEW-7,ACM777000007,2024-01-01,,PPO", "NEW-8,ACM777000008,2024-01-01,,PPO",
	})
	two.scatter(consentsCSV, 1, []string{
		registry("NEW-2", "general", "deny", "active", "2024-03-15", ""),
		registry("NEW-3", "general", "permit", "revoked", "2024-03-15", ""),
		registry("NEW-7", "part2", "permit", "active", "2024-03-15", "2026-04-30"),
		registry("NEW-8", "part2", "permit", "revoked", "2024-03-15", ""),
	})
	two.add(consentsFHIR, fmt.Sprintf(anonymousBase, "NEW-5"))
	// Withheld rows that were there already say something else now, or are gone.
	known := two.read(rosterCSV) + two.read(consentsCSV) + two.read(consentsFHIR) + two.read(restrictCSV)
	n := 0
	changed := two.change(scoresCSV, func(line string) string {
		cells := strings.Split(line, ",")
		if len(cells) != 15 || cells[0] == "record_id" || strings.HasPrefix(cells[0], "X-") || !strings.HasPrefix(cells[3], "2025") ||
			cells[6] != "final" || strings.Contains(known, cells[1]) {
			return line
		}
		if n++; n%9 == 0 {
			return ""
		}
		cells[5], cells[10], cells[14] = "1", "Other Race", "99999"
		return strings.Join(cells, ",")
	})
	removed := int64(n / 9)
	if changed < 100 || removed < 5 {
		t.Fatalf("only %d withheld rows were changed, %d removed", changed, removed)
	}

	a, b := one.run(scores, opt), two.run(scores, opt)
	if a.Released < 1000 || a.Released != b.Released || a.People != b.People {
		t.Fatalf("released %d of %d people, and %d of %d", a.Released, a.People, b.Released, b.People)
	}
	want := map[string]int64{
		"not-a-member": 1 - removed, "consent-denied": 1, "consent-revoked": 2, "part2-no-consent": 1, "consent-indeterminate": 1,
		"member-ambiguous": 1, "consent-expired": 1, "restriction-self-pay": 2,
	}
	if got := grown(a, b); !maps.Equal(got, want) {
		t.Errorf("the worlds differ by %v, not by %v", got, want)
	}
	da, db := one.drop(scores, 2), two.drop(scores, 2)
	if len(da.rows()) != int(a.Released) {
		t.Fatalf("%d rows in the drop, %d released", len(da.rows()), a.Released)
	}
	sameForRecipient(t, da, db)
	if text := string(bytes.Join(slices.Collect(maps.Values(db.parts)), nil)); strings.Contains(text, "ACM7770000") {
		t.Error("a member number of a withheld person is in the drop")
	}
}

// TestTwoBooksSafeHarbor: codes, row order and weeks tell as little. Here only
// the clinic's own promise withholds.
func TestTwoBooksSafeHarbor(t *testing.T) {
	t.Parallel()
	base := build(t, synthetic.Options{Patients: 400})
	base.run(outcomes, agent.RunOptions{})
	_, npi := base.plainMember()
	people := func(who string) (rows []string) {
		for i := range 60 {
			rows = append(rows, score(fmt.Sprintf("%s-%d", who, i), fmt.Sprintf("%s-P%d", who, i%30), "", "2024-09-01", i%28, npi))
		}
		return rows
	}
	base.scatter(scoresCSV, 1, people("BOTH"))
	one, two := base.copied(), base.copied()
	two.scatter(scoresCSV, 1, people("HID"))
	for i := range 30 {
		two.add(consentsCSV, registry(fmt.Sprintf("HID-P%d", i), "registry-opt-out", "deny", "active", "2024-03-15", ""))
	}
	a, b := one.run(outcomes, agent.RunOptions{}), two.run(outcomes, agent.RunOptions{})
	if a.Released < 1000 || a.Released != b.Released || a.People != b.People {
		t.Fatalf("released %d of %d people, and %d of %d", a.Released, a.People, b.Released, b.People)
	}
	if got := grown(a, b); !maps.Equal(got, map[string]int64{"clinic-choice": 60}) {
		t.Errorf("the worlds differ by %v", got)
	}
	sameForRecipient(t, one.drop(outcomes, 2), two.drop(outcomes, 2))
}

// fhirPerson are the resources of a person with one visit.
type fhirPerson struct{ id, organization, date string }

func (p fhirPerson) patient() string {
	return fmt.Sprintf(`{"resourceType":"Patient","id":"%s","name":[{"family":"Hidden","given":["Person"]}],"gender":"female","birthDate":"1980-01-02","address":[{"postalCode":"02139"}]}`, p.id)
}

func (p fhirPerson) encounter(id string) string {
	return fmt.Sprintf(`{"resourceType":"Encounter","id":"%s","status":"finished","class":{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"AMB"},"subject":{"reference":"Patient/%s"},"period":{"start":"%s","end":"%[3]s"},"serviceProvider":{"reference":"Organization/%s"}}`, id, p.id, p.date, p.organization)
}

func (p fhirPerson) observation(id, encounter string, total int) string {
	return fmt.Sprintf(`{"resourceType":"Observation","id":"%s","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"44261-6"}]},"subject":{"reference":"Patient/%s"},"encounter":{"reference":"Encounter/%s"},"effectiveDateTime":"%s","valueInteger":%d}`, id, p.id, encounter, p.date, total)
}

func (p fhirPerson) condition() string {
	return fmt.Sprintf(`{"resourceType":"Condition","id":"C-%s","code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10-cm","code":"F32.1"}]},"subject":{"reference":"Patient/%[1]s"},"encounter":{"reference":"Encounter/E-%[1]s"},"recordedDate":"%s"}`, p.id, p.date)
}

// optedIn finds two patients of the ordinary clinic who opted in and of whom
// no other input knows anything.
func (h *house) optedIn() (ids []string) {
	h.t.Helper()
	others := h.read(consentsFHIR) + h.read(restrictCSV)
	count := map[string]int{}
	for _, row := range h.rows(consentsCSV) {
		count[row[0]]++
	}
	for _, row := range h.rows(consentsCSV) {
		if row[1] == "general" && row[2] == "permit" && row[3] == "active" && count[row[0]] == 1 && !strings.Contains(others, row[0]) {
			if ids = append(ids, row[0]); len(ids) == 2 {
				return ids
			}
		}
	}
	h.t.Fatal("nobody in the synthetic clinic opted in")
	return nil
}

const (
	patientsND     = "extract/fhir/Patient.ndjson"
	encountersND   = "extract/fhir/Encounter.ndjson"
	observationsND = "extract/fhir/Observation.ndjson"
	conditionsND   = "extract/fhir/Condition.ndjson"
	organizationND = "extract/fhir/Organization.ndjson"
)

// TestTwoBooksFHIR: the same for resources, where a reference could tell that
// something withheld exists.
func TestTwoBooksFHIR(t *testing.T) {
	t.Parallel()
	opt := agent.RunOptions{}
	base := build(t, synthetic.Options{Patients: 300, Mess: true})
	people := base.optedIn()
	// One visit is restricted for a day, and what was found at it is written
	// down three days later: the finding goes out, the visit does not.
	visit := fhirPerson{people[0], "org-clearview", "2026-04-10"}
	later := fhirPerson{people[0], "org-clearview", "2026-04-13"}
	base.add(restrictCSV, people[0]+",agreed,,,,,2026-04-10,2026-04-10,,")
	base.add(encountersND, visit.encounter("E-hidden"))
	base.add(observationsND, visit.observation("O-hidden", "E-hidden", 5), later.observation("O-later", "E-hidden", 6))
	// A finding that names the visit of somebody whose records all stay.
	stays := fhirPerson{"STAYS-1", "org-clearview", "2026-04-20"}
	base.add(patientsND, stays.patient())
	base.add(encountersND, stays.encounter("E-stays"))
	mixed := fhirPerson{people[1], "org-clearview", "2026-04-21"}
	base.add(observationsND, mixed.observation("O-mixed", "E-stays", 7))
	base.run(treatment, opt)

	one, two := base.copied(), base.copied()
	var patients, encounters, observations, conditions []string
	for i := 1; i <= 7; i++ {
		p := fhirPerson{fmt.Sprintf("NEW-%d", i), "org-clearview", "2026-05-01"}
		if i == 5 {
			p.organization = "org-recovery"
		}
		patients = append(patients, p.patient())
		encounters = append(encounters, p.encounter("E-"+p.id))
		observations = append(observations, p.observation("O-"+p.id, "E-"+p.id, i))
		conditions = append(conditions, p.condition())
	}
	// The hidden visits, and what was found at one, say something else; an
	// organization is there for the hidden visits only.
	visit.organization, stays.organization = "org-hidden", "org-hidden"
	hidden := map[string]string{
		`"id":"E-hidden"`: strings.Replace(visit.encounter("E-hidden"), `"AMB"`, `"VR"`, 1), `"id":"E-stays"`: stays.encounter("E-stays"),
		`"id":"O-hidden"`: visit.observation("O-hidden", "E-hidden", 27),
	}
	replace := func(line string) string {
		for id, other := range hidden {
			if strings.Contains(line, id) {
				return other
			}
		}
		return line
	}
	if n := two.change(encountersND, replace) + two.change(observationsND, replace); n != 3 {
		t.Fatalf("%d records were changed", n)
	}
	observations = append(observations, visit.observation("O-hidden-2", "E-hidden", 9))
	two.scatter(patientsND, 0, patients)
	two.scatter(encountersND, 0, encounters)
	two.scatter(observationsND, 0, observations)
	two.scatter(conditionsND, 0, conditions)
	two.scatter(organizationND, 0, []string{`{"resourceType":"Organization","id":"org-hidden","active":true,"name":"Hidden"}`})
	two.scatter(consentsCSV, 1, []string{
		registry("NEW-2", "general", "deny", "active", "2024-03-15", ""),
		registry("NEW-3", "general", "permit", "revoked", "2024-03-15", ""),
		registry("NEW-4", "general", "permit", "expired", "2024-03-15", "2025-01-01"),
		registry("NEW-5", "general", "permit", "active", "2024-03-15", ""),
		registry("NEW-7", "general", "permit", "active", "2024-03-15", ""),
	})
	two.add(consentsFHIR, fmt.Sprintf(anonymousBase, "NEW-6"))
	two.add(restrictCSV, "NEW-7,agreed,,,,,,,,")

	a, b := one.run(treatment, opt), two.run(treatment, opt)
	if a.Released < 1000 || a.Released != b.Released || a.People != b.People {
		t.Fatalf("released %d of %d people, and %d of %d", a.Released, a.People, b.Released, b.People)
	}
	want := map[string]int64{ // four records of each new person
		"consent-missing": 4, "consent-denied": 4, "consent-revoked": 4, "consent-expired": 4, "consent-indeterminate": 4,
		"part2-no-consent": 4, "restriction-agreed": 5, "population": 1,
	}
	if got := grown(a, b); !maps.Equal(got, want) {
		t.Errorf("the worlds differ by %v, not by %v", got, want)
	}
	da, db := one.drop(treatment, 2), two.drop(treatment, 2)
	if bytes.Count(db.scope, []byte("\n")) < 20 {
		t.Errorf("too few rows tell on what they rest: %s", db.scope)
	}
	sameForRecipient(t, da, db)
	noPointerToWithheld(t, db)
}

// noPointerToWithheld reads the lines as a stranger would: every reference in
// them leads to a line of the drop, but for the one to the patient whom the
// line is about, which the policy releases as such.
func noPointerToWithheld(t *testing.T, d *drop) {
	t.Helper()
	inDrop, seen := map[string]bool{}, map[string]int{}
	var found []map[string]any
	for _, line := range d.rows() {
		var resource map[string]any
		if err := json.Unmarshal([]byte(line), &resource); err != nil {
			t.Fatal(err)
		}
		inDrop[fmt.Sprintf("%s/%s", resource["resourceType"], resource["id"])] = true
		found = append(found, resource)
	}
	for _, resource := range found {
		for member, value := range resource {
			reference, _ := value.(map[string]any)
			if to, ok := reference["reference"].(string); ok {
				if seen[member]++; !inDrop[to] && member != "subject" {
					t.Errorf("%s of %s leads out of the drop", member, resource["resourceType"])
				}
			}
		}
	}
	for _, member := range []string{"subject", "encounter", "serviceProvider"} {
		if seen[member] < 100 {
			t.Errorf("only %d references %s were seen", seen[member], member)
		}
	}
	for _, id := range []string{"Observation/O-later", "Observation/O-mixed", "Organization/org-clearview"} {
		if !inDrop[id] {
			t.Errorf("%s is not in the drop", id)
		}
	}
	for _, id := range []string{"Encounter/E-hidden", "Encounter/E-stays", "Observation/O-hidden", "Organization/org-hidden"} {
		if inDrop[id] {
			t.Errorf("%s is in the drop", id)
		}
	}
}
