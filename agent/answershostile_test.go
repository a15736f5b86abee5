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
)

// What was said last counts, also where the clock of the machine was set back
// between two answers.
func TestLastWordWhenTheClockGoesBack(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	keys := h.answering()
	letter := filepath.Join(t.TempDir(), "letter.txt")
	h.must(os.WriteFile(letter, []byte("as agreed by telephone"), 0o600))
	for i, refused := range []int{1, -1, 2, 1, -1} { // -1: a person says that all was taken
		h.agent.Now = func() time.Time { return noon.Add(-time.Duration(i) * time.Minute) }
		want := "partly-rejected"
		if refused < 0 {
			want = "acknowledged"
			_, err := h.agent.Answer(t.Context(), scores, 1, agent.HandAnswer{By: "Rosa Diaz", Report: letter})
			h.must(err)
		} else {
			h.respond(keys, refused, i)
		}
		_, err := h.agent.Reconcile(t.Context(), scores)
		h.must(err)
		if state := h.state(scores, 1); state != want {
			t.Errorf("answer %d: the drop is %s, not %s", i, state, want)
		}
	}
}

// A person may attach the very file that cannot be read. It is no other answer
// when it is met in its folder once more.
func TestUnreadableFileAttachedByHand(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	h.answering()
	path := filepath.Join(h.recipient(scores).Dir, "receipts", "1.rsp")
	for _, touched := range []time.Duration{-time.Hour, -30 * time.Minute} {
		h.must(os.WriteFile(path, []byte("all is well,thank you\n"), 0o600))
		h.must(os.Chtimes(path, noon, noon.Add(touched)))
		_, err := h.agent.Reconcile(t.Context(), scores)
		if first := touched == -time.Hour; (agent.ExitCode(err) == int(agent.AnsweredNo)) != first {
			t.Errorf("%v", err)
		} else if first {
			_, err = h.agent.Answer(t.Context(), scores, 1, agent.HandAnswer{By: "Rosa Diaz", Report: path})
			h.must(err)
		}
		_, err = h.agent.Reconcile(t.Context(), scores)
		h.must(err)
		open, err := h.agent.Differences(t.Context(), scores, 0)
		h.must(err)
		if by := h.query(`SELECT count(*) FROM receipt WHERE by = 'Rosa Diaz'`); h.state(scores, 1) != "acknowledged" || len(open) != 0 || by != "1" {
			t.Errorf("the drop is %s, by hand %s, open: %+v", h.state(scores, 1), by, open)
		}
	}
}

// Rows that another drop has told cannot be sent again in the name of this one.
func TestResendRowsOfAnotherDrop(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	const policy = "policies/acme-scores.yaml"
	h.write(policy, strings.Replace(h.read(policy), "mode: full", "mode: delta", 1))
	keys := h.answering()
	h.respond(keys, 1, 1)
	_, err := h.agent.Reconcile(t.Context(), scores)
	h.must(err)
	h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	h.deliver(scores)
	n, err := h.agent.Resend(t.Context(), scores, 2, keys[3:5], "Rosa Diaz", "lost at the plan")
	if agent.ExitCode(err) != int(agent.AnsweredNo) || n != 0 {
		t.Errorf("%d rows are to be sent again that drop 2 has not: %v", n, err)
	}
	letter := filepath.Join(t.TempDir(), "letter.txt")
	h.must(os.WriteFile(letter, []byte("these three"), 0o600))
	answer := func(number int64, rejected ...string) error {
		_, err := h.agent.Answer(t.Context(), scores, number, agent.HandAnswer{Rejected: rejected, By: "Rosa Diaz", Report: letter})
		return err
	}
	if err := answer(2, keys[0], keys[3]); agent.ExitCode(err) != int(agent.AnsweredNo) || h.state(scores, 2) != "hash-verified" {
		t.Errorf("a row that drop 2 has not is rejected in it, which is %s: %v", h.state(scores, 2), err)
	}
	if err := answer(1, keys[0], keys[5]); err != nil { // the first was rejected in a file, and told by drop 2 since
		t.Error(err)
	}
	if n, err := h.agent.Resend(t.Context(), scores, 1, keys[3:5], "Rosa Diaz", "lost at the plan"); err != nil || n != 2 {
		t.Errorf("%d %v", n, err)
	}
}

// A file that answers many more rows than were sent is none: it is not held in
// memory to its end.
func TestAnswerOfTooManyRows(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	keys := h.answering()
	for i := range 200_000 {
		keys = append(keys, fmt.Sprintf("%020d", i))
	}
	h.respond(keys, 0, 1)
	_, err := h.agent.Reconcile(t.Context(), scores)
	if agent.ExitCode(err) != int(agent.AnsweredNo) || !strings.Contains(err.Error(), "far more rows than") {
		t.Errorf("%v", err)
	}
}

// What a recipient says of a drop that was given up is kept, and opens nothing.
func TestAnswerToAVoidDrop(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	keys := h.answering()
	h.respond(keys, len(keys), 1)
	_, err := h.agent.Reconcile(t.Context(), scores)
	h.must(err)
	_, err = h.agent.Void(t.Context(), scores, 1, "Rosa Diaz", "wrong extract")
	h.must(err)
	h.respond(keys, 2, 2)
	_, err = h.agent.Reconcile(t.Context(), scores)
	h.must(err)
	open, err := h.agent.Differences(t.Context(), scores, 0)
	h.must(err)
	if len(open) != 0 || h.state(scores, 1) != "voided" || h.query(`SELECT count(*) FROM receipt`) != "2" {
		t.Errorf("the drop is %s, open: %+v", h.state(scores, 1), open)
	}
}

// A report is kept whole or not at all.
func TestReportThatIsTooLong(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	h.answering()
	report := filepath.Join(t.TempDir(), "scan.pdf")
	h.must(os.WriteFile(report, []byte("%PDF"), 0o600))
	h.must(os.Truncate(report, 300<<20))
	if _, err := h.agent.Answer(t.Context(), scores, 1, agent.HandAnswer{By: "Rosa Diaz", Report: report}); agent.ExitCode(err) != int(agent.Usage) || h.state(scores, 1) != "hash-verified" {
		t.Errorf("the drop is %s: %v", h.state(scores, 1), err)
	}
}
