package agent_test

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
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
	moved, broken := c.plainRecord(), c.plainRecord()
	for moved == broken {
		broken = c.plainRecord()
	}
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
	r, other := c.plainRecord(), c.plainRecord()
	for other == r {
		other = c.plainRecord()
	}
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
