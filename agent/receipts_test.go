package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// forge signs a receipt as the recipient would, in place of the one it wrote.
func (h *house) forge(exchange, path string, edit func(text string) string) {
	h.t.Helper()
	text, err := os.ReadFile(path)
	h.must(err)
	receiver, err := h.world.Receiver(h.recipient(exchange))
	h.must(err)
	text = []byte(edit(string(text)))
	signature, err := sshsig.Sign(receiver.ReceiptSigner, transfer.ReceiptNamespace, bytes.NewReader(text))
	h.must(err)
	h.must(os.WriteFile(path+".sig", signature, 0o644))
	h.must(os.WriteFile(path, text, 0o644))
}

func (h *house) answered() (receipt string) {
	h.t.Helper()
	h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	h.deliver(scores)
	results := h.receive(scores)
	if len(results) != 1 || results[0].Receipt == "" {
		h.t.Fatalf("received: %v", results)
	}
	return results[0].Receipt
}

// Whoever can write to the folder of receipts can lay a signed answer about
// another exchange, or another number, under this drop's name. It says nothing
// about this drop.
func TestReceiptAboutAnotherDrop(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(string) string{
		"exchange": func(s string) string { return strings.Replace(s, `"exchange":"x7"`, `"exchange":"q2"`, 1) },
		"number":   func(s string) string { return strings.Replace(s, `"sequence":1`, `"sequence":2`, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, synthetic.Options{Patients: 10})
			path := h.answered()
			h.forge(scores, path, edit)
			before := h.state(scores, 1)
			done, err := h.agent.Reconcile(context.Background(), scores)
			if err == nil || len(done) != 0 {
				t.Errorf("it was taken: %v", done)
			}
			if after := h.state(scores, 1); after != before {
				t.Errorf("the drop was %s and is %s", before, after)
			}
		})
	}
}

// A recipient that refused a drop and then took it writes its answer under the
// same name. The later one must arrive, and the earlier one change nothing when
// it is laid there again.
func TestSecondAnswerToOneDrop(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	path := h.answered()
	good, err := os.ReadFile(path)
	h.must(err)
	refuse := func(s string) string {
		s = strings.Replace(s, `"status":"accepted","fault":""`, `"status":"rejected","fault":"`+string(transfer.MissingFile)+`"`, 1)
		if s == string(good) {
			t.Fatal("the answer was not changed")
		}
		return s
	}
	h.forge(scores, path, refuse)
	steps := []struct {
		lay   func(string) string
		taken int
		state string
	}{
		{nil, 1, "rejected"},
		{func(string) string { return string(good) }, 1, "acknowledged"},
		{func(s string) string { return refuse(s) }, 0, "acknowledged"},
	}
	for i, step := range steps {
		if step.lay != nil {
			h.forge(scores, path, step.lay)
		}
		done, err := h.agent.Reconcile(context.Background(), scores)
		h.must(err)
		if state := h.state(scores, 1); len(done) != step.taken || state != step.state {
			t.Errorf("answer %d: %d were taken, the drop is %s; want %d, %s", i+1, len(done), state, step.taken, step.state)
		}
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, "state", "receipts", "*", "*.receipt.json")); err != nil || len(left) != 1 {
		t.Errorf("receipts kept: %v, %v", left, err)
	}
}

// A file that is too long to be a receipt, or a signature that is, keeps back none
// of the others, and is named with what to do.
func TestOversizedReceiptKeepsBackNoOther(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	for range 3 {
		h.answered()
	}
	receipts := filepath.Join(h.recipient(scores).Dir, "receipts")
	long := []string{"cv.x7.000001.receipt.json", "cv.x7.000002.receipt.json.sig"}
	for _, file := range long {
		h.must(os.Truncate(filepath.Join(receipts, file), 1<<20))
	}
	done, err := h.agent.Reconcile(t.Context(), scores)
	for _, file := range long {
		if agent.ExitCode(err) != int(agent.AnsweredNo) || !strings.Contains(err.Error(), file+": it is longer than") || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s: %v", file, err)
		}
	}
	if len(done) != 1 {
		t.Errorf("%d others were taken", len(done))
	}
	if h.state(scores, 1) == "acknowledged" || h.state(scores, 3) != "acknowledged" {
		t.Errorf("drop 1 is %s, drop 3 %s", h.state(scores, 1), h.state(scores, 3))
	}
}

// A receipt that is still written waits, and keeps back no other; one that stays cut
// short is told by its name.
func TestUnfinishedReceiptWaits(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	path := h.answered()
	h.answered()
	whole, err := os.ReadFile(path)
	h.must(err)
	h.must(os.WriteFile(path, whole[:len(whole)/2], 0o644))
	h.must(os.Chtimes(path, noon, noon))
	for i, step := range []struct {
		after time.Duration
		want  string
		code  agent.Class
	}{
		{9 * time.Minute, "1 unfinished cv.x7.000001.receipt.json;2 acknowledged ;", 0},
		{11 * time.Minute, "", agent.AnsweredNo},
		{12 * time.Minute, "1 acknowledged ;", 0},
	} {
		if i == 2 {
			h.must(os.WriteFile(path, whole, 0o644))
		}
		h.agent.Now = func() time.Time { return noon.Add(step.after) }
		done, err := h.agent.Reconcile(t.Context(), scores)
		got := ""
		for _, r := range done {
			got += fmt.Sprintf("%d %s %s;", r.Number, r.Outcome, r.File)
		}
		if got != step.want || agent.ExitCode(err) != int(step.code) || err != nil && !strings.Contains(err.Error(), "cv.x7.000001.receipt.json: it does not end as it should") {
			t.Errorf("came %q, want %q: %v", got, step.want, err)
		}
	}
}
