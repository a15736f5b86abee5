package agent_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// A year of a clinic and a plan. What the plan's table must be is told by a model
// that knows DESIGN, "The second run", and nothing of the agent: what was lawfully
// sent stays until it is corrected, deleted or entered in error at the source, and
// nothing further is said of whom something keeps back.

type yearPerson struct {
	id, member string
	from, to   string // of the coverage; to is "" while it goes on
	denied     string // the day; "" of nobody who denied
	ended      string // of the denial
	permitted  bool   // under Part 2
	into       string // whose id stands now
}

type yearRecord struct {
	id, person, encounter, date, instrument string
	total                                   int
	status, npi                             string
}

// yearRestriction is what a person who paid for a visit asked for, until it ended.
type yearRestriction struct{ person, ended string }

// yearTable is what the plan holds, by record: the row without its key.
type yearTable map[string]yearHeld

type yearHeld struct {
	row  string
	sent yearRecord // as it was when it was sent
}

const (
	ordinaryNPI = "1999000015"
	programNPI  = "1999000197"
	birthDay    = "1980-01-02"
)

type yearClinic struct {
	random     *rand.Rand
	people     map[string]*yearPerson
	records    map[string]*yearRecord
	restricted map[string]*yearRestriction // by encounter
	order      []string                    // of the records in the file
	n          int
}

func newYear() *yearClinic {
	c := &yearClinic{random: rand.New(rand.NewPCG(6, 2026)), people: map[string]*yearPerson{}, records: map[string]*yearRecord{}, restricted: map[string]*yearRestriction{}}
	for i := range 48 {
		p := &yearPerson{id: fmt.Sprintf("P-%02d", i), from: "2025-06-01"}
		p.member = "ACM90" + p.id[2:]
		if i%16 == 15 { // not yet known to the plan: somebody's second id
			p.member = ""
		}
		p.permitted = i%5 == 0
		c.people[p.id] = p
	}
	for range 400 {
		c.add(1)
	}
	return c
}

func (c *yearClinic) pick(fits func(*yearRecord) bool) *yearRecord {
	var among []*yearRecord
	for _, id := range c.order {
		if r := c.records[id]; r != nil && fits(r) {
			among = append(among, r)
		}
	}
	if len(among) == 0 {
		return nil
	}
	return among[c.random.IntN(len(among))]
}

func (c *yearClinic) anybody() *yearPerson {
	return c.people[slices.Sorted(maps.Keys(c.people))[c.random.IntN(len(c.people))]]
}

func (c *yearClinic) add(month int) *yearRecord {
	c.n++
	p := c.anybody()
	r := &yearRecord{
		id: fmt.Sprintf("R-%04d", c.n), person: p.id, encounter: fmt.Sprintf("E-%04d", c.n), date: fmt.Sprintf("2026-%02d-%02d", month, 1+c.random.IntN(27)),
		instrument: []string{"44261-6", "70274-6"}[c.random.IntN(2)], total: c.random.IntN(22), status: "final", npi: ordinaryNPI,
	}
	if c.random.IntN(6) == 0 {
		r.npi = programNPI
	}
	c.records[r.id] = r
	c.order = append(c.order, r.id)
	return r
}

// month lets a month of ordinary life pass.
func (c *yearClinic) month(m int) {
	today := fmt.Sprintf("2026-%02d-20", m)
	any := func(*yearRecord) bool { return true }
	for range 30 {
		c.add(m)
	}
	for range 6 {
		r := c.pick(any)
		r.total = (r.total + 1 + c.random.IntN(5)) % 22
	}
	for range 3 {
		c.pick(any).status = []string{"entered-in-error", "cancelled"}[c.random.IntN(2)]
	}
	if r := c.pick(func(r *yearRecord) bool { return r.status != "final" }); r != nil && m%3 == 0 { // it was no error after all
		r.status = "amended"
	}
	for range 4 {
		delete(c.records, c.pick(any).id)
	}
	c.pick(any).date = fmt.Sprintf("2026-%02d-28", m)
	if m%4 == 0 {
		c.pick(any).date = "2025-12-30" // it belongs to the year before
	}
	if m%2 == 0 {
		c.pick(any).person = c.anybody().id // it had been filed under somebody else
	}
	if p := c.anybody(); p.denied == "" || p.ended != "" {
		p.denied, p.ended = today, ""
	}
	for _, id := range slices.Sorted(maps.Keys(c.people)) {
		if p := c.people[id]; p.denied != "" && p.ended == "" && p.denied != today && c.random.IntN(4) == 0 {
			p.ended = today
		}
	}
	c.anybody().permitted = true
	if p := c.anybody(); p.to == "" {
		p.to = fmt.Sprintf("2026-%02d-15", max(1, m-1)) // told late
	}
	if m%3 == 0 {
		for _, id := range slices.Sorted(maps.Keys(c.people)) {
			if p := c.people[id]; p.to != "" {
				p.to = "" // enrolled again, as if there had been no gap
				break
			}
		}
	}
	if r := c.pick(any); c.restricted[r.encounter] == nil {
		c.restricted[r.encounter] = &yearRestriction{person: r.person}
	}
	for _, e := range slices.Sorted(maps.Keys(c.restricted)) {
		if c.restricted[e].ended == "" && c.random.IntN(5) == 0 {
			c.restricted[e].ended = today
		}
	}
	if m == 4 || m == 7 || m == 10 { // a second id is found out; its plan knew nothing of it, or had another number for it
		from := c.people[map[int]string{4: "P-15", 7: "P-31", 10: "P-20"}[m]]
		from.into, from.member = "P-02", ""
	}
}

// ids are those of the person whose id this is.
func (c *yearClinic) ids(id string) (standing *yearPerson, all []*yearPerson) {
	standing = c.people[id]
	if standing.into != "" {
		standing = c.people[standing.into]
	}
	for _, p := range c.people {
		if p == standing || p.into == standing.id {
			all = append(all, p)
		}
	}
	return standing, all
}

// keptBack tells whether the law, or what the patient decided, keeps a record back.
func (c *yearClinic) keptBack(r *yearRecord) bool {
	standing, all := c.ids(r.person)
	permitted := false
	for _, p := range all {
		if p.denied != "" && p.ended == "" {
			return true
		}
		permitted = permitted || p.permitted
	}
	if x := c.restricted[r.encounter]; x != nil && x.ended == "" && slices.Contains(all, c.people[x.person]) {
		return true
	}
	covered := standing.member != "" && standing.from <= r.date && (standing.to == "" || r.date <= standing.to)
	return !covered || r.npi == programNPI && !permitted
}

func (c *yearClinic) row(r *yearRecord) string {
	standing, _ := c.ids(r.person)
	return strings.Join([]string{standing.member, birthDay, r.date, r.instrument, strconv.Itoa(r.total), r.npi}, ",")
}

// next is the plan's table after a drop of which it did not take some records.
func (c *yearClinic) next(table yearTable, year string, refused map[string]bool) yearTable {
	after := maps.Clone(table)
	for id, r := range c.records {
		held, was := table[id]
		switch {
		case refused[id] || c.keptBack(r):
		case was && held.sent.person != r.person && c.keptBack(&held.sent) && held.row != c.row(r):
		case r.status != "final" && r.status != "amended" || r.date[:4] != year && was && held.sent.date != r.date:
			if !was || !c.keptBack(&held.sent) {
				delete(after, id)
			}
		case r.date[:4] == year:
			after[id] = yearHeld{c.row(r), *r}
		}
	}
	for id, held := range table {
		if c.records[id] == nil && !refused[id] && held.sent.date[:4] == year && !c.keptBack(&held.sent) {
			delete(after, id)
		}
	}
	return after
}

// write lays the clinic's files down.
func (c *yearClinic) write(h *house) {
	var scores, roster, consents, restricted, merges strings.Builder
	for i, text := range []string{"record_id,person_id,encounter_id,service_date,instrument,total_score,status,provider_npi,birth_date,sex,race,ethnicity,language,state,zip",
		"subject,member_id,from,to,plan", "patient,scope,decision,status,recipient,purpose,categories,from,to,signed_on,form,source_document,ended_on,ended_by",
		"subject,kind,recipient,plan,encounter,service,from,to,ended_on,ended_by", "from,into,status,ended_on,ended_by"} {
		[]*strings.Builder{&scores, &roster, &consents, &restricted, &merges}[i].WriteString(text + "\n")
	}
	for _, id := range c.order {
		if r := c.records[id]; r != nil {
			fmt.Fprintf(&scores, "%s,%s,%s,%s,%s,%d,%s,%s,%s,female,White,Not Hispanic or Latino,en,MA,02139\n", r.id, r.person, r.encounter, r.date, r.instrument, r.total, r.status, r.npi, birthDay)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(c.people)) {
		p := c.people[id]
		if p.member != "" {
			fmt.Fprintf(&roster, "%s,%s,%s,%s,PPO\n", p.id, p.member, p.from, p.to)
		}
		if p.denied != "" {
			by := ""
			if p.ended != "" {
				by = "desk"
			}
			fmt.Fprintf(&consents, "%s,general,deny,active,,,,%s,,%[2]s,,form.pdf,%s,%s\n", p.id, p.denied, p.ended, by)
		}
		if p.permitted {
			fmt.Fprintf(&consents, "%s,part2,permit,active,,,,2026-01-01,,2026-01-01,%s,form.pdf,,\n", p.id, synthetic.Part2Form)
		}
		if p.into != "" {
			fmt.Fprintf(&merges, "%s,%s,merged,,\n", p.id, p.into)
		}
	}
	for _, e := range slices.Sorted(maps.Keys(c.restricted)) {
		x, by := c.restricted[e], ""
		if x.ended != "" {
			by = "desk"
		}
		fmt.Fprintf(&restricted, "%s,self-pay,acme-health-plan,,%s,,,,%s,%s\n", x.person, e, x.ended, by)
	}
	for name, text := range map[string]string{scoresCSV: scores.String(), rosterCSV: roster.String(), consentsCSV: consents.String(), restrictCSV: restricted.String(),
		"inputs/merges.csv": merges.String(), programsCSV: "kind,id,from,to\ncolumn," + programNPI + ",2020-01-01,\n"} {
		h.write(name, text)
	}
}

// runMonth lives through a month of the year and makes a drop of it, which adds, changes and voids rows.
func (c *yearClinic) runMonth(h *house, m int) {
	h.t.Helper()
	today := fmt.Sprintf("2026-%02d-28", m)
	c.month(m)
	c.lay(h, today)
	if o := h.run(scores, agent.RunOptions{AsOf: day(today)}); o.Changes.Add == 0 || o.Changes.Change == 0 || o.Changes.Void == 0 {
		h.t.Fatalf("%+v", *o.Changes)
	}
}

// lay writes the clinic's files, an hour before the agent's clock, which stands
// at noon of a day.
func (c *yearClinic) lay(h *house, today string) {
	now := day(today).Time().Add(12 * time.Hour)
	h.agent.Now = func() time.Time { return now }
	c.write(h)
	for _, dir := range []string{"inputs", "extract"} {
		h.must(filepath.WalkDir(filepath.Join(h.dir, dir), func(path string, _ os.DirEntry, err error) error {
			return cmp.Or(err, os.Chtimes(path, now, now.Add(-time.Hour)))
		}))
	}
}

// yearHouse is the demo's clinic, with the people of the year in it, and with
// changes instead of whole drops.
func yearHouse(t *testing.T) *house {
	h := build(t, synthetic.Options{Patients: 12})
	const policy = "policies/acme-scores.yaml"
	h.write(policy, strings.Replace(h.read(policy), "mode: full", "mode: delta", 1))
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "\ninputs:\n", "\ninputs:\n  merges: {kind: merges, file: inputs/merges.csv, max_age: 1 day, shrink_limit: 0%}\n", 1))
	h.must(os.RemoveAll(filepath.Join(h.dir, "extract", "fhir")))
	h.write("inputs/merges.csv", "from,into,status,ended_on,ended_by\n")
	h.open(hclog.NewNullLogger())
	return h
}

// plan is the payer: its table by row key, fed with drops alone.
type plan struct {
	rows    map[string]string
	records map[string]string // by row key, as the clinic traced it
	odd     int               // rows to add that it holds, to change or void that it does not: allowed, and of a clinic that is answered in time there are none
}

// take applies the parts of a received drop. Rows that refuse says yes to are not
// taken: their keys are given back.
func (p *plan) take(t *testing.T, result transfer.Result, refuse func(key string) bool) (refused []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, part := range result.Book.Parts {
		if part.Action == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(result.Folder, strings.TrimSuffix(part.Name, ".zst.age")+".csv"))
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[1:]
		for _, line := range lines {
			key := line[strings.LastIndexByte(line, ',')+1:]
			row := strings.TrimSuffix(line, ","+key)
			if _, held := p.rows[key]; held != (part.Action != transfer.Add) {
				p.odd++
			}
			if seen[key] {
				t.Errorf("drop %d: a key to %s is met twice", result.Sequence, part.Action)
			}
			seen[key] = true
			switch {
			case refuse(key):
				refused = append(refused, key)
			case part.Action == transfer.Void:
				delete(p.rows, key)
			default:
				p.rows[key] = row
			}
		}
	}
	return refused
}

// trace reads the clinic's row index: every row of the drop leads to the line of
// the extract that it came from.
func (p *plan) trace(h *house, exchange string, result transfer.Result) {
	h.t.Helper()
	source := strings.Split(h.read(scoresCSV), "\n")
	dir := h.query(`SELECT dir FROM delivery WHERE exchange = ? AND number = ?`, exchange, result.Sequence)
	found, err := filepath.Glob(filepath.Join(h.dir, "state", "drops", dir, "private", "*.row-index.*"))
	h.must(err)
	raw, err := os.ReadFile(found[0])
	h.must(err)
	key, err := os.ReadFile(h.archiveKey())
	h.must(err)
	identities, err := age.ParseIdentities(bytes.NewReader(key))
	h.must(err)
	index, err := csv.NewReader(bytes.NewReader(unzip(h.t, decrypt(h.t, raw, identities)))).ReadAll()
	h.must(err)
	traced := map[string][]string{}
	for _, line := range index[1:] {
		traced[line[0]+":"+line[1]] = line
	}
	for n, part := range result.Book.Parts {
		if part.Action == "" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(result.Folder, strings.TrimSuffix(part.Name, ".zst.age")+".csv"))
		h.must(err)
		for i, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[1:] {
			from := traced[fmt.Sprintf("%d:%d", n+1, i+1)]
			key := line[strings.LastIndexByte(line, ',')+1:]
			if from == nil || from[6] == "" {
				h.t.Fatalf("drop %d: row %d of part %d is not in the row index", result.Sequence, i+1, n+1)
			}
			if part.Action == transfer.Void {
				continue // its record may be gone
			}
			at, err := strconv.Atoi(from[3])
			h.must(err)
			was, cells := strings.Split(source[at-1], ","), strings.Split(line, ",")
			if was[1] != from[6] && was[1] != "P-15" && was[1] != "P-31" && was[1] != "P-20" || was[3] != cells[2] || was[4] != cells[3] || was[5] != cells[4] || was[7] != cells[5] {
				h.t.Errorf("drop %d: row %d of part %d leads to another line", result.Sequence, i+1, n+1)
			}
			if p.records[key] != "" && p.records[key] != was[0] {
				h.t.Errorf("drop %d: a row key names two records", result.Sequence)
			}
			p.records[key] = was[0]
		}
	}
}

// table is what the plan holds, by record.
func (p *plan) table() map[string]string {
	by := map[string]string{}
	for key, row := range p.rows {
		by[p.records[key]] = row
	}
	return by
}

// TestYearOfChanges is Show 6 of DESIGN's second run.
func TestYearOfChanges(t *testing.T) {
	t.Parallel()
	h, c := yearHouse(t), newYear()
	p := &plan{rows: map[string]string{}, records: map[string]string{}}
	want, once := yearTable{}, map[string]bool{}
	var sum agent.Changes
	for m := 1; m <= 13; m++ {
		today := fmt.Sprintf("2026-%02d-28", m)
		if m > 1 && m <= 12 {
			c.month(m)
		}
		if m == 13 {
			today = "2027-01-28" // the period went on: nothing of last year is said, whatever becomes of its records
			for range 5 {
				delete(c.records, c.pick(func(r *yearRecord) bool { return !c.keptBack(r) }).id)
			}
		}
		c.lay(h, today)
		outcome := h.run(scores, agent.RunOptions{AsOf: day(today)})
		if d := h.deliver(scores); len(d) != 1 || d[0].State == "voided" {
			t.Fatalf("month %d: %+v", m, d)
		}
		results := h.receive(scores)
		if len(results) != 1 {
			t.Fatalf("month %d: %d drops arrived", m, len(results))
		}
		p.trace(h, scores, results[0])
		random := rand.New(rand.NewPCG(5, uint64(m)))
		keys := p.take(t, results[0], func(key string) bool {
			if once[key] || m > 11 || random.IntN(20) > 0 {
				return false
			}
			once[key] = true
			return true
		})
		refused := map[string]bool{}
		for _, key := range keys {
			refused[p.records[key]] = true
		}
		if n, err := h.agent.NotTaken(context.Background(), scores, results[0].Sequence, keys); err != nil || n != int64(len(keys)) {
			t.Fatalf("month %d: %d of %d refused rows noted, %v", m, n, len(keys), err)
		}
		want = c.next(want, today[:4], refused)
		got := p.table()
		for _, id := range slices.Sorted(maps.Keys(want)) {
			if got[id] != want[id].row {
				t.Errorf("month %d: %s is %q at the plan and must be %q (kept back: %v)", m, id, got[id], want[id].row, c.records[id] != nil && c.keptBack(c.records[id]))
			}
		}
		for id := range got {
			if _, is := want[id]; !is {
				t.Errorf("month %d: %s is at the plan and must not be", m, id)
			}
		}
		if t.Failed() {
			t.FailNow()
		}
		sum.Add, sum.Change, sum.Void, sum.Unchanged = sum.Add+outcome.Changes.Add, sum.Change+outcome.Changes.Change, sum.Void+outcome.Changes.Void, sum.Unchanged+outcome.Changes.Unchanged
		if m == 13 && *outcome.Changes != (agent.Changes{}) {
			t.Errorf("the new year begins with %+v", *outcome.Changes)
		}
	}
	if p.odd > 0 {
		t.Errorf("%d rows were added that were held, or changed or void that were not", p.odd)
	}
	if sum.Add < 400 || sum.Change < 40 || sum.Void < 20 || sum.Unchanged < 2000 || len(once) < 20 {
		t.Errorf("too little happened: %+v, %d refused", sum, len(once))
	}
	text, _ := json.Marshal(sum)
	t.Logf("%s, %d rows refused once, %d held at the end", text, len(once), len(p.rows))
}
