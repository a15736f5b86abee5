package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// A record that was filed under somebody else changes its row only while something
// may be said of both, up to its delivery.
func TestChangeFallsWithWhomTheRowWasAbout(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	r := c.plainRecord()
	whose := c.people[r.person]
	r.person = c.plainRecord(r).person
	c.lay(h, "2026-02-28")
	if o := h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")}); o.Changes.Change != 1 {
		t.Fatalf("%+v", *o.Changes)
	}
	whose.denied, whose.ended = "2026-02-28", ""
	c.lay(h, "2026-02-28")
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "voided" || done[0].Reason != "consent-denied" {
		t.Errorf("delivery: %+v", done)
	}
}

// After new keys, too, nothing is said of a row whose record something keeps back
// today, whatever it was when the row was sent.
func TestNewKeysTellNothingOfWhatIsKeptBackNow(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	moved := c.plainRecord()
	broken := c.plainRecord(moved)
	moved.encounter = "E-later"
	c.restricted["E-later"] = &yearRestriction{person: moved.person}
	broken.date = "2026-13-40"
	c.lay(h, "2026-02-28")
	h.rotate(false, scores)
	o := h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")})
	if o.Changes.Add != o.Changes.Void || o.Changes.Add < 100 {
		t.Errorf("rows that were void have no new key: %+v", *o.Changes)
	}
}

// A row that was recalled is deleted at the recipient, so it is added again, and not
// changed, by whichever drop it was sent last.
func TestRecalledRowIsNotHeldAsBefore(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	r := c.plainRecord()
	other := c.plainRecord(r)
	r.total, other.total = r.total+1, other.total+1
	c.lay(h, "2026-02-28")
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	if o := h.run(scores, opt); o.Changes.Change != 2 {
		t.Fatalf("%+v", *o.Changes)
	}
	h.deliver(scores)
	row := h.sent(2)["change"][0]
	if _, err := h.agent.Recall(t.Context(), scores, 2, []string{row[strings.LastIndexByte(row, ',')+1:]}, "officer", "wrong score"); err != nil {
		t.Fatal(err)
	}
	if o := h.run(scores, opt); o.Changes.Add != 1 || o.Changes.Change != 0 || h.sent(3)["add"][0] != row {
		t.Errorf("after a recall of one: %+v", *o.Changes)
	}
	h.deliver(scores)
	if _, err := h.agent.Recall(t.Context(), scores, 2, nil, "officer", "wrong file"); err != nil {
		t.Fatal(err)
	}
	if o := h.run(scores, opt); o.Changes.Add != 1 || o.Changes.Change != 0 || h.sent(4)["add"][0] == row {
		t.Errorf("after a recall of the whole drop: %+v", *o.Changes)
	}
}

// byFiles has the health plan answer with a file about each drop.
func (h *house) byFiles() {
	r := h.agent.Config.Recipients[synthetic.HealthPlan]
	r.Receipt = agent.ReceiptConfig{Mode: "response-file", Files: []transfer.ResponseFile{
		{Match: "{sequence}.rsp", Format: "csv", Key: "1", Code: "2", Codes: map[string]string{"00": "accepted", "20": "rejected"}},
	}}
	h.agent.Config.Recipients[synthetic.HealthPlan] = r
}

// A recipient may take a void, and refuse it later: then it is told again.
func TestVoidThatIsRefusedLateIsNotLost(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	h.byFiles()
	delete(c.records, c.plainRecord().id)
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	c.lay(h, "2026-02-28")
	if o := h.run(scores, opt); o.Changes.Void != 1 {
		t.Fatal(*o.Changes)
	}
	h.deliver(scores)
	void := h.sent(2)["void"]
	h.respondTo(2, void, 0, 1)
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil {
		t.Fatal(err)
	}
	if h.state(scores, 2) != "acknowledged" {
		t.Error(h.state(scores, 2))
	}
	h.run(scores, opt)
	h.deliver(scores)
	h.respondTo(2, void, 1, 2)
	now := h.agent.Now().Add(time.Minute)
	h.agent.Now = func() time.Time { return now }
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil {
		t.Fatal(err)
	}
	if o := h.run(scores, opt); o.Changes.Void != 1 {
		t.Errorf("the void is lost: %+v", *o.Changes)
	}
}

// A late answer says that a row was not taken which a later drop has changed since. It
// is told once more, as it is now, to be added: who does not have it may have passed
// over the change.
func TestRowThatIsRefusedLateIsToldAnew(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	h.byFiles()
	r := c.plainRecord()
	r.total = (r.total + 1) % 22
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	c.lay(h, "2026-02-28")
	if o := h.run(scores, opt); o.Changes.Change != 1 {
		t.Fatal(*o.Changes)
	}
	h.deliver(scores)
	row := h.sent(2)["change"][0]
	h.respondTo(1, []string{row[strings.LastIndexByte(row, ',')+1:]}, 1, 1)
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil {
		t.Fatal(err)
	}
	if o := h.run(scores, opt); *o.Changes != (agent.Changes{Add: 1, Unchanged: o.Changes.Unchanged}) || h.sent(3)["add"][0] != row {
		t.Errorf("told anew: %+v", *o.Changes)
	}
	if o := h.run(scores, opt); *o.Changes != (agent.Changes{Unchanged: o.Changes.Unchanged}) {
		t.Errorf("told twice: %+v", *o.Changes)
	}
}

// A source that writes a status in another way takes nothing back.
func TestStatusWrittenOtherwiseVoidsNothing(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	for _, r := range c.records {
		r.status = "F"
	}
	c.lay(h, "2026-02-28")
	h.approve(scores)
	_, err := h.agent.Run(t.Context(), scores, agent.RunOptions{AsOf: day("2026-02-28")})
	if agent.ExitCode(err) != int(agent.Unbalanced) || !strings.Contains(err.Error(), "shrink_limit") {
		t.Error(err)
	}
}

// A visit that is part of another is restricted with it, also when neither the
// record nor the visit is in the extract any more: the void is not said, and counted. So
// it is when the restriction comes before the drop is delivered.
func TestVoidOfARestrictedVisitThatIsGone(t *testing.T) {
	t.Parallel()
	h, c := yearHouse(t), newYear()
	var r *yearRecord
	for r = c.plainRecord(); !c.people[r.person].permitted; { // whose visits may be of a program
		r = c.plainRecord()
	}
	visits := filepath.Join("extract", "fhir", "Encounter.ndjson")
	h.must(os.MkdirAll(filepath.Join(h.dir, "extract", "fhir"), 0o700))
	h.write(visits, fmt.Sprintf(`{"resourceType":"Encounter","id":%q,"status":"finished","class":{"code":"AMB"},"subject":{"reference":"Patient/%s"},"partOf":{"reference":"Encounter/E-whole"}}`+"\n", r.encounter, r.person))
	c.lay(h, "2026-01-28")
	h.run(scores, agent.RunOptions{AsOf: day("2026-01-28")})
	h.deliver(scores)
	delete(c.records, r.id)
	h.write(visits, "")
	opt := agent.RunOptions{AsOf: day("2026-02-28")}
	c.lay(h, "2026-02-28")
	open := h.copied()
	c.lay(open, "2026-02-28")
	if o := open.run(scores, opt); *o.Changes != (agent.Changes{Void: 1, Unchanged: o.Changes.Unchanged}) {
		t.Fatalf("unrestricted: %+v", *o.Changes)
	}
	c.restricted["E-whole"] = &yearRestriction{person: r.person}
	c.lay(h, "2026-02-28")
	if o := h.run(scores, opt); *o.Changes != (agent.Changes{KeptBack: 1, Unchanged: o.Changes.Unchanged}) {
		t.Errorf("restricted: %+v", *o.Changes)
	}
	c.lay(open, "2026-02-28")
	if done := open.deliver(scores); len(done) != 1 || done[0].State != "voided" || done[0].Reason != "restriction-self-pay" {
		t.Errorf("restricted before delivery: %+v", done)
	}
}

// What is void is judged again before it is said.
func TestVoidFallsWithARevocationBeforeDelivery(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	r := c.plainRecord()
	delete(c.records, r.id)
	c.lay(h, "2026-02-28")
	if o := h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")}); o.Changes.Void != 1 {
		t.Fatal(*o.Changes)
	}
	c.people[r.person].denied, c.people[r.person].ended = "2026-02-28", ""
	c.lay(h, "2026-02-28")
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "voided" {
		t.Errorf("%+v", done)
	}
}

// An answer that names rows of another drop of changes acknowledges nothing.
func TestKeysOfAnotherDropAnswerNothing(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	h.byFiles()
	c.month(2)
	c.lay(h, "2026-02-28")
	h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")})
	h.deliver(scores)
	two := h.sent(2)
	keys := append(append(append([]string(nil), two["add"]...), two["change"]...), two["void"]...)
	for i, row := range keys {
		keys[i] = row[strings.LastIndexByte(row, ',')+1:]
	}
	for i, step := range []struct {
		keys  []string
		state string
	}{{nil, "differing"}, {keys, "acknowledged"}} {
		if step.keys == nil {
			for _, row := range h.sent(1)["add"][:len(keys)] {
				step.keys = append(step.keys, row[strings.LastIndexByte(row, ',')+1:])
			}
		}
		h.respondTo(2, step.keys, 0, i)
		if _, err := h.agent.Reconcile(t.Context(), scores); err != nil {
			t.Fatal(err)
		}
		if state := h.state(scores, 2); state != step.state {
			t.Errorf("step %d: the drop is %s", i, state)
		}
	}
}
