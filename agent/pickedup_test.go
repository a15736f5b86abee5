package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// A drop whose files are all gone from the recipient's folder was picked up, as long
// as an answer is to be expected; not one of which a file is still there, nor where
// the folder itself is away. An answer comes after it as after any other state.
func TestPickedUp(t *testing.T) {
	t.Parallel()
	for _, bare := range []bool{false, true} {
		h := build(t, synthetic.Options{Patients: 30})
		if bare {
			h.bare("{sender}_{dataset}_{sequence}.age", "reuse: never, marker: \"{file}.done\"")
		}
		h.run(scores, agent.RunOptions{})
		h.deliver(scores)
		inbox := h.recipient(scores).Inbox()
		look := func(want string) {
			t.Helper()
			if _, err := h.agent.Reconcile(context.Background(), scores); err != nil && agent.ExitCode(err) != int(agent.DestinationDown) {
				t.Error(err)
			}
			if got := h.state(scores, 1); got != want {
				t.Errorf("bare %v: the drop is %s, not %s", bare, got, want)
			}
		}
		look("hash-verified")
		names := h.mailbox()
		for _, name := range names[1:] {
			h.must(os.Rename(filepath.Join(inbox, name), filepath.Join(h.dir, name)))
		}
		look("hash-verified") // one is still there
		h.must(os.Rename(inbox, inbox+".away"))
		look("hash-verified")
		h.must(os.Rename(inbox+".away", inbox))
		h.must(os.Rename(filepath.Join(inbox, names[0]), filepath.Join(h.dir, names[0])))
		clock := noon.Add(8 * 24 * time.Hour)
		h.agent.Now = func() time.Time { return clock }
		if bare {
			look("hash-verified") // nothing is expected any more
		}
		clock = noon.Add(time.Hour)
		look("picked-up")
		if n := strings.Count(h.ledger(), `"picked-up"`); n != 1 {
			t.Errorf("the ledger says it %d times", n)
		}
		if bare {
			continue
		}
		clock = noon.Add(8 * 24 * time.Hour)
		if drops, err := h.agent.Drops(context.Background(), scores); err != nil || drops[0].State != "overdue" {
			t.Errorf("without an answer: %+v %v", drops, err)
		}
		for _, name := range names {
			h.must(os.Rename(filepath.Join(h.dir, name), filepath.Join(inbox, name)))
		}
		if r := h.receive(scores); len(r) != 1 {
			t.Fatalf("%+v", r)
		}
		look("acknowledged")
	}
}
