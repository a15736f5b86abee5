package agent_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// heldNow is all that the release memory says, as text.
func (h *house) heldNow() string {
	h.t.Helper()
	return h.query(`SELECT coalesce(group_concat(hex(record) || line || key || hex(content) || number || hex(basis) || hex(sealed), ';'), '') FROM (SELECT * FROM held ORDER BY record, line)`)
}

// sent is what the recipient can read of a drop of changes: rows by action.
func (h *house) sent(number int64) map[string][]string {
	h.t.Helper()
	d, by := h.drop(scores, number), map[string][]string{}
	for _, p := range d.book["parts"].([]any) {
		part := p.(map[string]any)
		if text, is := d.parts[part["name"].(string)]; is {
			rows := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[1:]
			action := part["action"].(string)
			by[action] = append(by[action], rows...)
		}
	}
	return by
}

// startYear runs and delivers the first month.
func startYear(t *testing.T) (*house, *yearClinic) {
	t.Helper()
	h, c := yearHouse(t), newYear()
	c.lay(h, "2026-01-28")
	h.run(scores, agent.RunOptions{AsOf: day("2026-01-28")})
	h.deliver(scores)
	return h, c
}

// plainRecord is one that left and that nothing keeps back.
func (c *yearClinic) plainRecord(but ...*yearRecord) *yearRecord {
	return c.pick(func(r *yearRecord) bool {
		return !c.keptBack(r) && r.status == "final" && r.npi == ordinaryNPI && !slices.ContainsFunc(but, func(o *yearRecord) bool { return o.person == r.person })
	})
}

// TestChangesTellNothingOfRevocation: after a person revoked, every drop is, byte
// for byte of what the recipient can read and in all its sizes, that of a clinic
// in which nothing more became of the person's records.
func TestChangesTellNothingOfRevocation(t *testing.T) {
	t.Parallel()
	h, c := yearHouse(t), newYear()
	x := &yearPerson{id: "X-00", member: "ACM90777", from: "2025-06-01", permitted: true}
	records := map[string]*yearRecord{}
	for i := range 12 {
		r := &yearRecord{id: fmt.Sprintf("X-%02d", i), person: x.id, encounter: fmt.Sprintf("EX-%02d", i), date: fmt.Sprintf("2026-01-%02d", i+1), instrument: "44261-6", total: i, status: "final", npi: ordinaryNPI}
		if i%3 == 0 {
			r.npi = programNPI
		}
		records[r.id] = r
	}
	// lay writes the clinic with the person in it, and life goes on without.
	lay := func(h *house, today string, x *yearPerson, records map[string]*yearRecord) {
		order := c.order
		c.people[x.id] = x
		for _, id := range slices.Sorted(maps.Keys(records)) {
			c.records[id], c.order = records[id], append(c.order, id)
		}
		c.lay(h, today)
		delete(c.people, x.id)
		for id := range records {
			delete(c.records, id)
		}
		c.order = order
	}
	opt := agent.RunOptions{AsOf: day("2026-01-28")}
	lay(h, "2026-01-28", x, records)
	if h.run(scores, opt); len(h.sent(1)["add"]) < 100 {
		t.Fatal("too little left")
	}
	revoked, quiet := h.copied(), h.copied()
	y, later := *x, map[string]*yearRecord{}
	for id, r := range records {
		other := *r
		later[id] = &other
	}
	for m := 2; m <= 4; m++ {
		today := fmt.Sprintf("2026-%02d-28", m)
		c.month(m)
		y.denied = "2026-02-10"
		switch m {
		case 2:
			later["X-01"].total++
			delete(later, "X-02")
			later["X-03"].status = "entered-in-error"
			later["X-04"].date = "2025-12-01"
			for i, npi := range []string{ordinaryNPI, programNPI} { // and of others who never could leave
				id := fmt.Sprintf("S-%02d", i)
				later[id] = &yearRecord{id: id, person: "STRANGER", encounter: "E-" + id, date: "2026-02-02", instrument: "44261-6", total: i, status: "final", npi: npi}
			}
		case 3:
			y.permitted, later["X-05"].status = false, "cancelled"
			later["X-06"].person = "P-00"
			delete(later, "X-09")
		case 4:
			y.to = "2026-01-02" // and was no member any more
			later["X-20"] = &yearRecord{id: "X-20", person: x.id, encounter: "EX-20", date: "2026-04-01", instrument: "44261-6", total: 3, status: "final", npi: ordinaryNPI}
		}
		lay(revoked, today, &y, later)
		lay(quiet, today, x, records)
		opt.AsOf = day(today)
		a, b := revoked.run(scores, opt), quiet.run(scores, opt)
		if a.Changes.Void == 0 || a.Changes.Change == 0 || a.Changes.Unchanged >= b.Changes.Unchanged {
			t.Errorf("month %d: %+v, %+v", m, *a.Changes, *b.Changes)
		}
		da, db := revoked.drop(scores, int64(m)), quiet.drop(scores, int64(m))
		for _, d := range []*drop{da, db} { // the hashes of what went before differ with its ciphertexts
			delete(d.book, "ledger")
			delete(d.book, "previous")
			d.manifest.Previous = ""
		}
		sameForRecipient(t, da, db)
	}
}

// TestExtractCutShortVoidsNothing: half an extract stops the run, and only who
// says that so much may be gone lets it pass.
func TestExtractCutShortVoidsNothing(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	before, n := h.heldNow(), 0
	for id := range c.records {
		if n++; n%2 == 0 {
			delete(c.records, id)
		}
	}
	c.lay(h, "2026-02-28")
	h.approve(scores)
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	_, err := h.agent.Run(context.Background(), scores, opt)
	if agent.ExitCode(err) != int(agent.Unbalanced) || !strings.Contains(err.Error(), "shrink_limit") || h.heldNow() != before {
		t.Fatalf("%v", err)
	}
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "    folder: extract\n", "    folder: extract\n    shrink_limit: 70%\n", 1))
	now := h.agent.Now
	h.open(hclog.NewNullLogger()).Now = now
	if outcome := h.run(scores, opt); outcome.Changes.Void < 100 || outcome.Changes.Change != 0 {
		t.Errorf("%+v", *outcome.Changes)
	}
}

// TestMarkedRecordsAreNoShrinking: what the source takes back by a mark of its own is
// void, however much of it there is.
func TestMarkedRecordsAreNoShrinking(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	marked := 0
	for _, id := range c.order {
		r := c.records[id]
		if c.keptBack(r) || r.date < "2026-01-10" {
			continue
		}
		switch marked++; marked % 3 {
		case 0:
			r.status = "entered-in-error"
		case 1:
			r.status = "cancelled"
		case 2:
			r.date = "2025-12-30"
		}
	}
	c.lay(h, "2026-02-28")
	if o := h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")}); *o.Changes != (agent.Changes{Void: int64(marked), Unchanged: o.Changes.Unchanged}) || marked < 100 {
		t.Errorf("%d were marked: %+v", marked, *o.Changes)
	}
}

// TestNewRowsHideNoHalfExtract: after new keys every row is added anew, and of
// another month many more: half an extract stops the run all the same.
func TestNewRowsHideNoHalfExtract(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	for i, id := range c.order {
		if i%2 == 0 {
			delete(c.records, id)
		}
	}
	for range 400 {
		c.add(2)
	}
	c.lay(h, "2026-02-28")
	h.rotate(false, scores)
	h.approve(scores)
	_, err := h.agent.Run(t.Context(), scores, agent.RunOptions{AsOf: day("2026-02-28")})
	if agent.ExitCode(err) != int(agent.Unbalanced) || !strings.Contains(err.Error(), "shrink_limit") {
		t.Error(err)
	}
}

// TestUnreadableRecordVoidsNothing: a record that cannot be read may be the one
// that is missed.
func TestUnreadableRecordVoidsNothing(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	delete(c.records, c.plainRecord().id)
	c.lay(h, "2026-02-28")
	whole := h.read(scoresCSV)
	h.write(scoresCSV, whole+"R-what,is this\n")
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	if outcome := h.run(scores, opt); *outcome.Changes != (agent.Changes{Unsure: 1, Unchanged: outcome.Changes.Unchanged}) {
		t.Errorf("with a broken line: %+v", *outcome.Changes)
	}
	h.write(scoresCSV, whole)
	opt.DryRun = true
	before := h.heldNow()
	plan := h.run(scores, opt)
	if *plan.Changes != (agent.Changes{Void: 1, Unchanged: plan.Changes.Unchanged}) || h.heldNow() != before {
		t.Errorf("planned: %+v", *plan.Changes)
	}
	opt.DryRun = false
	if outcome := h.run(scores, opt); *outcome.Changes != *plan.Changes {
		t.Errorf("once it is mended: %+v", *outcome.Changes)
	}
}

// TestVoidedDropUndoesItsChanges: what a drop that was never delivered did to the
// memory, and what was built upon it, is undone; the next one tells all of it anew.
func TestVoidedDropUndoesItsChanges(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	want := c.next(yearTable{}, "2026", nil)
	p := &plan{rows: map[string]string{}, records: map[string]string{}}
	never := func(string) bool { return false }
	first := h.receive(scores)
	p.trace(h, scores, first[0])
	p.take(t, first[0], never)
	before := h.heldNow()
	for m := 2; m <= 3; m++ {
		c.runMonth(h, m)
	}
	if h.heldNow() == before {
		t.Fatal("nothing was noted")
	}
	for _, id := range slices.Backward(c.order) { // somebody who is in the second drop
		if r := c.records[id]; r != nil && r.date[:7] == "2026-02" && !c.keptBack(r) && r.status == "final" {
			c.people[r.person].denied, c.people[r.person].ended = "2026-03-28", ""
			break
		}
	}
	c.lay(h, "2026-03-28")
	for _, d := range h.deliver(scores) {
		if d.State != "voided" {
			t.Errorf("%+v", d)
		}
	}
	if h.heldNow() != before {
		t.Error("the memory is not what it was before the voided drops")
	}
	outcome := h.run(scores, agent.RunOptions{AsOf: day("2026-03-28")})
	if outcome.Number != 4 {
		t.Fatalf("drop %d", outcome.Number)
	}
	h.deliver(scores)
	again := h.receive(scores)
	p.trace(h, scores, again[0])
	p.take(t, again[0], never)
	want = c.next(want, "2026", nil)
	got := p.table()
	if len(got) != len(want) {
		t.Errorf("%d rows at the plan, must be %d", len(got), len(want))
	}
	for id, held := range want {
		if got[id] != held.row {
			t.Errorf("%s is %q at the plan and must be %q", id, got[id], held.row)
		}
	}
}

// TestRejectedDropFallsWithLaterOnes: a drop that the plan could not read, and the one
// after it, which it therefore did not take, are given up in one step, and the next
// run makes its table right.
func TestRejectedDropFallsWithLaterOnes(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	p := &plan{rows: map[string]string{}, records: map[string]string{}}
	take := func(number int64) {
		t.Helper()
		for _, r := range h.receiveAny(scores) {
			if r.Sequence == number && r.Status == transfer.Accepted {
				p.trace(h, scores, r)
				p.take(t, r, func(string) bool { return false })
				return
			}
		}
		t.Fatalf("drop %d was not taken", number)
	}
	take(1)
	want := c.next(yearTable{}, "2026", nil)
	for m := 2; m <= 3; m++ {
		c.runMonth(h, m)
		h.deliver(scores)
		if m == 2 {
			h.must(os.Truncate(filepath.Join(h.recipient(scores).Inbox(), "cv.x7.000002.001.zst.age"), 100))
		}
		h.receiveAny(scores)
	}
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil || h.state(scores, 2)+h.state(scores, 3) != "rejectedrejected" {
		t.Fatalf("%s, %s: %v", h.state(scores, 2), h.state(scores, 3), err)
	}
	if _, err := h.agent.Void(t.Context(), scores, 2, "Rosa Diaz", "cut on its way"); err != nil {
		t.Fatal(err)
	}
	if h.state(scores, 3) != "voided" {
		t.Errorf("drop 3 is %s", h.state(scores, 3))
	}
	h.run(scores, agent.RunOptions{AsOf: day("2026-03-28")})
	h.deliver(scores)
	take(4)
	want = c.next(want, "2026", nil)
	got := p.table()
	for id, held := range want {
		if got[id] != held.row {
			t.Errorf("%s is %q at the plan and must be %q", id, got[id], held.row)
		}
	}
	if len(got) != len(want) || p.odd > 0 {
		t.Errorf("%d rows at the plan, must be %d; %d are odd", len(got), len(want), p.odd)
	}
	if o := h.run(scores, agent.RunOptions{AsOf: day("2026-03-28")}); *o.Changes != (agent.Changes{Unchanged: o.Changes.Unchanged}) {
		t.Errorf("told once more: %+v", *o.Changes)
	}
}

// TestDropThatWasPassedOver: a plan that rejects a drop, and takes the next one all
// the same, is told again what the first had told, and the second of the same rows.
func TestDropThatWasPassedOver(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	h.byFiles()
	r := h.agent.Config.Recipients[synthetic.HealthPlan]
	r.Receipt.Files = append(r.Receipt.Files, transfer.ResponseFile{Match: "{sequence}.no", Says: "rejected"})
	h.agent.Config.Recipients[synthetic.HealthPlan] = r
	both, one := c.plainRecord(), (*yearRecord)(nil)
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	for m := 2; m <= 3; m++ {
		both.total = (both.total + 1) % 22
		if m == 2 {
			one = c.plainRecord(both)
			one.total = (one.total + 1) % 22
		}
		c.lay(h, "2026-02-28")
		h.run(scores, opt)
		h.deliver(scores)
	}
	taken := h.sent(3)["change"]
	h.respondTo(3, []string{taken[0][strings.LastIndexByte(taken[0], ',')+1:]}, 0, 1)
	h.must(os.WriteFile(filepath.Join(h.world.Recipient(synthetic.HealthPlan).Dir, "receipts", "2.no"), nil, 0o600))
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil {
		t.Fatal(err)
	}
	if _, err := h.agent.Void(t.Context(), scores, 2, "Rosa Diaz", "they went on"); agent.ExitCode(err) != int(agent.AnsweredNo) || !strings.Contains(err.Error(), "need not be given up") {
		t.Errorf("given up: %v", err)
	}
	if o := h.run(scores, opt); len(taken) != 1 || o.Changes.Change != 2 || !slices.Contains(h.sent(4)["change"], taken[0]) {
		t.Errorf("%+v", *o.Changes)
	}
}

// TestNothingIsSaidOfWhomARowWasAbout: a record that is filed under somebody else
// changes its row only if something may be said of both.
func TestNothingIsSaidOfWhomARowWasAbout(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	r := c.plainRecord()
	whose := c.people[r.person]
	r.person = c.plainRecord(r).person
	whose.denied, whose.ended = "2026-02-01", ""
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	c.lay(h, "2026-02-28")
	if o := h.run(scores, opt); *o.Changes != (agent.Changes{Unchanged: o.Changes.Unchanged}) {
		t.Errorf("while the one denies: %+v", *o.Changes)
	}
	whose.ended = "2026-02-20"
	c.lay(h, "2026-02-28")
	if o := h.run(scores, opt); o.Changes.Change != 1 || o.Changes.Void+o.Changes.Add != 0 || !strings.HasPrefix(h.sent(3)["change"][0], c.people[r.person].member) {
		t.Errorf("once the denial ended: %+v", *o.Changes)
	}
}

// TestVoidIsJudgedByWhatTheRecordWasLast: a visit that does not leave with the row
// may be restricted all the same.
func TestVoidIsJudgedByWhatTheRecordWasLast(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	r := c.plainRecord()
	other := c.plainRecord(r)
	r.encounter = "E-later"
	c.lay(h, "2026-02-28")
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	if o := h.run(scores, opt); *o.Changes != (agent.Changes{Unchanged: o.Changes.Unchanged}) {
		t.Errorf("another visit: %+v", *o.Changes)
	}
	c.restricted["E-later"] = &yearRestriction{person: r.person}
	delete(c.records, r.id)
	delete(c.records, other.id)
	c.lay(h, "2026-02-28")
	if o := h.run(scores, opt); o.Changes.Void != 1 {
		t.Errorf("a restricted row and another are gone: %+v", *o.Changes)
	}
}

// TestNewKeysOfRows: after `keys rotate` the rows of the period have new keys, and
// those that may be spoken of lose the old ones.
func TestNewKeysOfRows(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	r := c.plainRecord()
	c.people[r.person].denied = "2026-02-01"
	c.lay(h, "2026-02-28")
	h.rotate(false, scores)
	o := h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")})
	if o.Changes.Add != o.Changes.Void || o.Changes.Add < 100 || o.Changes.Change+o.Changes.Unchanged != 0 {
		t.Errorf("%+v", *o.Changes)
	}
	first := map[string]bool{}
	for _, row := range h.sent(1)["add"] {
		first[row[strings.LastIndexByte(row, ',')+1:]] = true
	}
	now := h.sent(2)
	for _, key := range now["void"] {
		if !first[key] {
			t.Error("a key is void that was never sent")
		}
		delete(first, key)
	}
	for _, row := range now["add"] {
		if first[row[strings.LastIndexByte(row, ',')+1:]] {
			t.Error("an old key is sent again")
		}
	}
	if n := h.query(`SELECT count(*) FROM held WHERE number = 1`); n != fmt.Sprint(len(first)) || n == "0" {
		t.Errorf("%s rows are held under old keys, %d were not void", n, len(first))
	}
}

// TestChangedPolicyChangesRows: rows that the policy merely no longer asks for stay,
// unless they were entered in error; rows of another form change.
func TestChangedPolicyChangesRows(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	const policy = "policies/acme-scores.yaml"
	edit := func(from, to string) {
		h.write(policy, strings.Replace(h.read(policy), from, to, 1))
		c.lay(h, "2026-02-28")
	}
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	var other []*yearRecord
	for _, id := range c.order {
		if r := c.records[id]; r.instrument == "70274-6" && !c.keptBack(r) {
			other = append(other, r)
		}
	}
	other[0].status, other[1].status, other[2].total = "entered-in-error", "cancelled", 21
	edit("[44261-6, 70274-6, 75626-2]", "[44261-6]")
	narrow := h.run(scores, opt)
	if *narrow.Changes != (agent.Changes{Void: 1, Unchanged: narrow.Changes.Unchanged}) || narrow.Changes.Unchanged < 50 {
		t.Errorf("asked for less: %+v", *narrow.Changes)
	}
	edit("    fields:\n", "    fields:\n      sex: {do: keep, because: the plan asks for it}\n")
	if o := h.run(scores, opt); *o.Changes != (agent.Changes{Change: narrow.Changes.Unchanged}) || !strings.HasPrefix(h.sent(3)["change"][0], "female,") {
		t.Errorf("asked for more of each: %+v", *o.Changes)
	}
}

// TestMemoryNamesNobody: the database holds no id of a record or visit.
func TestMemoryNamesNobody(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	text := h.read(filepath.Join("state", "postern.db")) + h.read(filepath.Join("state", "postern.db-wal"))
	if held := h.query(`SELECT key FROM held`); !strings.Contains(text, held) {
		t.Fatal("the files of the database are others")
	}
	for _, r := range c.records { // four letters of a person's id may stand in any noise
		if strings.Contains(text, r.id) || strings.Contains(text, r.encounter) {
			t.Fatal("an id stands in the database")
		}
	}
}
