package agent_test

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/ledger"
)

func (h *house) recallOf(exchange string) agent.RecallStatus {
	h.t.Helper()
	list, err := h.agent.Recalls(h.t.Context(), exchange)
	h.must(err)
	if len(list) != 1 {
		h.t.Fatalf("%+v", list)
	}
	return list[0]
}

// A recall is kept before it is sent: while the server is away it waits, a person
// is told, and the next reconciliation sends it, on hold or not.
func TestRecallWaitsForTheServer(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40})
	h.run(scores, agent.RunOptions{})
	if _, err := h.agent.Recall(t.Context(), scores, 1, nil, "officer", "wrong file"); agent.ExitCode(err) != int(agent.AnsweredNo) || !strings.Contains(err.Error(), "has not been delivered: there is nothing to recall") {
		t.Errorf("of a drop that waits: %v", err)
	}
	h.deliver(scores)
	inbox := h.recipient(scores).Inbox()
	h.must(os.Rename(inbox, inbox+"-away"))
	h.must(h.agent.Hold(t.Context(), scores, "officer"))
	r, err := h.agent.Recall(t.Context(), scores, 1, nil, "officer", "wrong file")
	if err == nil || r == nil || r.Problem == "" {
		t.Fatalf("%+v %v", r, err)
	}
	attention := func() int {
		list, err := h.agent.Status(t.Context())
		h.must(err)
		return list[slices.IndexFunc(list, func(s agent.ExchangeStatus) bool { return s.Exchange == scores })].Attention
	}
	if got := h.recallOf(scores); got.State != "sealed" || got.Problem == "" || attention() != 1 {
		t.Errorf("%+v", got)
	}
	h.must(os.Rename(inbox+"-away", inbox))
	_, err = h.agent.Reconcile(t.Context(), scores)
	h.must(err)
	if got := h.recallOf(scores); got.State != "hash-verified" || got.Problem != "" || attention() != 1 {
		t.Errorf("%+v", got)
	}
	found, err := filepath.Glob(filepath.Join(inbox, "*.recall-1.json.*"))
	h.must(err)
	if len(found) != 2 {
		t.Errorf("at the recipient: %v", found)
	}
	for _, name := range found {
		if text := h.readFile(name); strings.Contains(text, "wrong") || strings.Contains(text, "officer") {
			t.Errorf("%s tells why", filepath.Base(name))
		}
	}
	h.must(h.agent.ConfirmRecall(t.Context(), scores, 1, "officer", "by telephone"))
	if attention() != 0 || strings.Count(h.ledger(), string(ledger.RecallConfirmed)) != 1 {
		t.Error("it is still followed after it was confirmed")
	}
	// The recipient's own answer comes after the telephone call: it is taken, once.
	receiver, err := h.world.Receiver(h.recipient(scores))
	h.must(err)
	receiver.Deleted = []string{"cv.x7.000001"}
	_, err = receiver.Receive(t.Context(), inbox)
	h.must(err)
	for want := range 2 {
		done, err := h.agent.Reconcile(t.Context(), scores)
		h.must(err)
		if got := h.recallOf(scores); len(done) != 2*(1-want) || got.State != "confirmed" || len(got.Answer) != 64 {
			t.Errorf("%+v %+v", done, got)
		}
	}
}

func (h *house) readFile(path string) string {
	h.t.Helper()
	text, err := os.ReadFile(path)
	h.must(err)
	return string(text)
}

// It goes to the place that the drop went to, or to none.
func TestRecallGoesWhereTheDropWent(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40})
	h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	r := h.agent.Config.Recipients[synthetic.HealthPlan]
	to := *r.Destination.SFTP
	to.Folder = "received"
	r.Destination.SFTP = &to
	h.agent.Config.Recipients[synthetic.HealthPlan] = r
	got, err := h.agent.Recall(t.Context(), scores, 1, nil, "officer", "wrong folder")
	if agent.ExitCode(err) != int(agent.DestinationDown) || !strings.Contains(got.Problem, "the drop went to another place than is configured now; hand over the files in ") {
		t.Fatalf("%+v %v", got, err)
	}
	files, err := filepath.Glob(filepath.Join(h.dir, "state", "drops", got.Files, "*.recall-1.json.*"))
	h.must(err)
	elsewhere, err := filepath.Glob(filepath.Join(h.recipient(scores).Dir, "received", "*recall*"))
	h.must(err)
	if len(files) != 2 || len(elsewhere) > 0 {
		t.Errorf("to hand over: %v; sent: %v", files, elsewhere)
	}
	if _, err := h.agent.Reconcile(t.Context(), scores); err != nil || h.recallOf(scores).State != "by-hand" {
		t.Errorf("answers are not fetched while people hand a recall over: %v", err)
	}
}

// What was recalled the recipient no longer holds: of an exchange that sends
// changes, the next drop adds it again if it may still leave.
func TestRecalledRowsAreNotHeld(t *testing.T) {
	t.Parallel()
	h := changesHouse(t)
	first := h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	part := h.drop(scores, 1).book["parts"].([]any)[0].(map[string]any)["name"].(string)
	rows, err := csv.NewReader(strings.NewReader(string(h.drop(scores, 1).parts[part]))).ReadAll()
	h.must(err)
	recall := func(keys ...string) int64 {
		t.Helper()
		number := h.run(scores, agent.RunOptions{}).Number
		h.deliver(scores)
		_, err := h.agent.Recall(t.Context(), scores, 1, keys, "officer", "wrong")
		h.must(err)
		added := h.run(scores, agent.RunOptions{}).Changes.Add
		h.deliver(scores)
		if number < 2 {
			t.Fatal("the drop that was recalled is the newest")
		}
		return added
	}
	if n := recall(rows[1][6], rows[3][6]); n != 2 {
		t.Errorf("%d rows are added after two were recalled", n)
	}
	if n := recall(); n != first.Released-2 { // the two were sent since by another drop
		t.Errorf("%d rows are added after a drop of %d was recalled", n, first.Released)
	}
}

// A recipient of bare files reads no recall of ours: people hand it over. Its rows
// are traced like others.
func TestRecallAndTraceOfBareFiles(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("{sender}_{dataset}_{sequence}.age", "reuse: never")
	h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	before := h.mailbox()
	got, err := h.agent.Recall(t.Context(), scores, 1, nil, "officer", "wrong file")
	if err == nil || !strings.Contains(got.Problem, "acme-health-plan takes bare files, and nothing else; hand over the files in ") || !slices.Equal(h.mailbox(), before) {
		t.Errorf("%+v %v", got, err)
	}
	tr := h.trace(scores, "1:2")
	if again := h.trace(scores, tr.RowKey); again.Source != tr.Source || tr.File != "cv_scores_1.age" || tr.State != "recalled" {
		t.Errorf("%+v %+v", tr, again)
	}
}
