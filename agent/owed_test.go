package agent_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// TestDoubtOutlivesItsPeriod: a drop was rejected, the one after it was sent, both are
// given up, and the year is over. What they had voided is void; what they had changed
// is outside of the year, and the run says how much of that there is until it is told.
func TestDoubtOutlivesItsPeriod(t *testing.T) {
	t.Parallel()
	h, c := startYear(t)
	h.byFiles()
	r := h.agent.Config.Recipients[synthetic.HealthPlan]
	r.Receipt.Files = append(r.Receipt.Files, transfer.ResponseFile{Match: "{sequence}.no", Says: "rejected"})
	h.agent.Config.Recipients[synthetic.HealthPlan] = r
	var touched []*yearRecord
	touch := func() *yearRecord {
		r := c.plainRecord(touched...)
		touched = append(touched, r)
		return r
	}
	december := agent.RunOptions{AsOf: day("2026-12-28")}
	for range 2 { // each drop changes one row and voids another
		r := touch()
		r.total = (r.total + 1) % 22
		delete(c.records, touch().id)
		c.lay(h, "2026-12-28")
		if o := h.run(scores, december); *o.Changes != (agent.Changes{Change: 1, Void: 1, Unchanged: o.Changes.Unchanged}) {
			t.Fatalf("%+v", *o.Changes)
		}
		h.deliver(scores)
	}
	first := h.sent(2)
	h.must(os.WriteFile(filepath.Join(h.world.Recipient(synthetic.HealthPlan).Dir, "receipts", "2.no"), nil, 0o600))
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil {
		t.Fatal(err)
	}
	if _, err := h.agent.Void(t.Context(), scores, 2, "Rosa Diaz", "they lost it"); err != nil {
		t.Fatal(err)
	}
	unsaid := func(as agent.RunOptions, want agent.Changes) map[string][]string {
		t.Helper()
		o := h.run(scores, as)
		if want.Unchanged = o.Changes.Unchanged; *o.Changes != want {
			t.Errorf("drop %d: %+v, want %+v", o.Number, *o.Changes, want)
		}
		return h.sent(o.Number)
	}
	january := agent.RunOptions{AsOf: day("2027-01-28")}
	c.lay(h, "2027-01-28")
	if got := unsaid(january, agent.Changes{Void: 2, Owed: 2}); !slices.Contains(got["void"], first["void"][0]) {
		t.Errorf("void: %v", got["void"])
	}
	unsaid(january, agent.Changes{Owed: 2})
	if got := unsaid(december, agent.Changes{Change: 2}); !slices.Contains(got["change"], first["change"][0]) {
		t.Errorf("change: %v", got["change"])
	}
	unsaid(january, agent.Changes{})
}
