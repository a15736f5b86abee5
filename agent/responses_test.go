package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// The examples of the page are configurations that can be loaded, and what is
// wrong with one is said where it stands.
func TestExamplesOfResponseFiles(t *testing.T) {
	page, err := os.ReadFile("../docs/receipts.md")
	if err != nil {
		t.Fatal(err)
	}
	h := build(t, synthetic.Options{Patients: 1})
	config := h.read("postern.yaml")
	signed := regexp.MustCompile(`(?m)^    receipt: .*\n`).FindString(config[strings.Index(config, "  acme-health-plan:"):])
	load := func(receipt string) error {
		h.write("postern.yaml", strings.Replace(config, signed, "    "+strings.ReplaceAll(strings.TrimSpace(receipt), "\n", "\n    ")+"\n", 1))
		_, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml"))
		return err
	}
	examples := regexp.MustCompile("(?ms)^```yaml [^\n]*\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(examples) != 4 {
		t.Fatalf("the page has %d examples", len(examples))
	}
	for _, example := range examples {
		if err := load(example[1]); err != nil {
			t.Errorf("%v in\n%s", err, example[1])
		}
	}
	first := examples[0][1]
	for want, receipt := range map[string]string{
		"receipt.files: it is not told how":                          "receipt: {mode: response-file}",
		"receipt.files: only a recipient that answers with files":    strings.Replace(first, "response-file", "manual", 1),
		"receipt.files[0].match: the name does not tell":             strings.Replace(first, "{sequence}_", "", 1),
		"receipt.files[1].format: unknown format of a response file": strings.Replace(first, "format: delimited", "format: xlsx", 1),
		"receipt.files[0].codes: unknown meaning of a code":          strings.Replace(first, `"00": accepted`, `"00": fine`, 1),
		"receipt.files[1]: it does not tell where the answer stands": strings.Replace(first, `      rejected: "3"`, "", 1),
		"receipt.mode: unknown way of answering":                     "receipt: {mode: fax}",
	} {
		if err := load(receipt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	several := strings.Replace(config, "recipient: valley-hie,", "recipient: acme-health-plan,", 1)
	config = several
	if err := load(strings.ReplaceAll(first, "{exchange}_", "")); err == nil || !strings.Contains(err.Error(), "files[0].match: 2 exchanges go to acme-health-plan") {
		t.Errorf("two exchanges: %v", err)
	}
}

// answering makes the health plan one that answers with files, once a drop of
// the clinic was delivered to it, and gives the keys of its rows.
func (h *house) answering() (keys []string) {
	h.t.Helper()
	h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	h.deliver(scores)
	for _, row := range h.drop(scores, 1).rows() {
		keys = append(keys, row[strings.LastIndexByte(row, ',')+1:])
	}
	r := h.agent.Config.Recipients[synthetic.HealthPlan]
	r.Receipt = agent.ReceiptConfig{Mode: "response-file", Files: []transfer.ResponseFile{
		{Match: "{sequence}.rsp", Format: "csv", Key: "1", Code: "2", Codes: map[string]string{"00": "accepted", "20": "rejected"}},
	}}
	h.agent.Config.Recipients[synthetic.HealthPlan] = r
	return keys
}

// respond lays an answer that refuses so many rows, written at a second of its own.
func (h *house) respond(keys []string, refused int, second int) {
	h.t.Helper()
	h.respondTo(1, keys, refused, second)
}

func (h *house) respondTo(number int, keys []string, refused, second int) {
	h.t.Helper()
	var text strings.Builder
	for i, key := range keys {
		code := "00"
		if i < refused {
			code = "20"
		}
		fmt.Fprintf(&text, "%s,%s\n", key, code)
	}
	path := filepath.Join(h.world.Recipient(synthetic.HealthPlan).Dir, "receipts", fmt.Sprintf("%d.rsp", number))
	h.must(os.WriteFile(path, []byte(text.String()), 0o600))
	at := noon.Add(-time.Hour + time.Duration(second)*time.Second)
	h.must(os.Chtimes(path, at, at))
}

// Each durable step of taking an answer, broken in both ways: the next time
// the answer is taken, once, and nothing of it lies in the clear.
func TestEveryStepOfAnAnswerBroken(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 20})
	keys := h.answering()
	clock := noon
	h.agent.Now = func() time.Time { return clock }
	reconcile := func() error {
		for range 2 {
			_, err := h.agent.Reconcile(context.Background(), scores)
			if agent.ExitCode(err) != int(agent.Locked) {
				return err
			}
			clock = clock.Add(2 * time.Minute)
		}
		return errors.New("the lease does not end")
	}
	h.respond(keys, 0, -2)
	h.must(reconcile()) // makes the folder
	h.respond(keys, 1, -1)
	var kinds []string
	commits := 0
	known := map[string]bool{}
	hashed := regexp.MustCompile(`[0-9a-f]{64}\.[a-z0-9]{8}`)
	named := func(step string) string { return hashed.ReplaceAllString(kindOf(step, &commits), "N") }
	restore := durable.SetFault(func(step string) error {
		if !strings.HasPrefix(step, "after ") {
			if kind := named(step); !known[kind] {
				known[kind] = true
				kinds = append(kinds, kind)
			}
		}
		return nil
	})
	h.must(reconcile())
	restore()
	round := 0
	for _, kind := range kinds {
		for _, after := range []bool{false, true} {
			round++ // each lays another answer than the one before
			refused := round%(len(keys)-2) + 2
			h.respond(keys, refused, round)
			commits = 0
			hit, wait := false, false
			restore := durable.SetFault(func(step string) error {
				isAfter := strings.HasPrefix(step, "after ")
				switch {
				case hit:
					return nil
				case isAfter && wait:
					hit = true
					return errFault
				case isAfter || named(step) != kind:
					return nil
				case !after:
					hit = true
					return errFault
				}
				wait = true
				return nil
			})
			err := reconcile()
			restore()
			if !hit || err != nil && !errors.Is(err, errFault) {
				t.Errorf("%s, after=%v: met=%v, %v", kind, after, hit, err)
			}
			if err := reconcile(); err != nil {
				t.Fatalf("%s, after=%v: the next time: %v", kind, after, err)
			}
			if n := h.query(`SELECT count(*) FROM receipt`); n != fmt.Sprint(round+2) {
				t.Errorf("%s, after=%v: %s answers were taken, %d were laid", kind, after, n, round+2)
			}
			differences, err := h.agent.Differences(context.Background(), scores, 0)
			h.must(err)
			if len(differences) != 1 || differences[0].Received != fmt.Sprint(refused) || h.query(`SELECT count(*) FROM row_answer`) != fmt.Sprint(refused) {
				t.Errorf("%s, after=%v: %d were refused, the clinic knows %+v", kind, after, refused, differences)
			}
		}
	}
	if round < 10 {
		t.Errorf("only %d rounds", round)
	}
	_, err := h.agent.VerifyLedger(context.Background())
	h.must(err)
	h.must(filepath.WalkDir(filepath.Join(h.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(path, "receipts") {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(keys[0])) {
			t.Errorf("%s holds a row key in the clear", path)
		}
		return err
	}))
}

// What was said last counts, also when it was said before; what is only laid
// there again, or touched, says nothing new, and not more than a person.
func TestLastWordOfARecipient(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 20})
	keys, ctx := h.answering(), context.Background()
	letter := filepath.Join(t.TempDir(), "letter.txt")
	h.must(os.WriteFile(letter, []byte("as agreed by telephone"), 0o600))
	for i, step := range []struct {
		refused int // rows of the file that is laid; -1: a person says that all was taken
		taken   int
		state   string
	}{
		{1, 1, "partly-rejected"}, {0, 1, "acknowledged"}, {1, 1, "partly-rejected"}, {1, 0, "partly-rejected"},
		{-1, 0, "acknowledged"}, {1, 0, "acknowledged"}, {2, 1, "partly-rejected"}, {len(keys), 1, "rejected"},
	} {
		h.agent.Now = func() time.Time { return noon.Add(time.Duration(i) * time.Minute) }
		if step.refused < 0 {
			_, err := h.agent.Answer(ctx, scores, 1, agent.HandAnswer{By: "Rosa Diaz", Report: letter})
			h.must(err)
		} else {
			h.respond(keys, step.refused, i)
		}
		done, err := h.agent.Reconcile(ctx, scores)
		h.must(err)
		if state := h.state(scores, 1); len(done) != step.taken || state != step.state {
			t.Errorf("step %d: %d were taken, the drop is %s; want %d, %s", i, len(done), state, step.taken, step.state)
		}
	}
}

// An answer that is still written waits, and keeps back no other; one that stays cut
// short is told by its name.
func TestUnfinishedAnswersWait(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 20})
	keys := h.answering()
	for range 2 {
		h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
		h.deliver(scores)
	}
	folder := filepath.Join(h.world.Recipient(synthetic.HealthPlan).Dir, "receipts")
	lay := func(number int, text string, ago time.Duration) {
		path := filepath.Join(folder, fmt.Sprintf("%d.rsp", number))
		h.must(os.WriteFile(path, []byte(text), 0o600))
		h.must(os.Chtimes(path, noon, noon.Add(-ago)))
	}
	whole := strings.Join(keys, ",00\n") + ",00\n"
	reconcile := func(now time.Time, want string, failing ...string) {
		t.Helper()
		h.agent.Now = func() time.Time { return now }
		done, err := h.agent.Reconcile(t.Context(), scores)
		got := ""
		for _, r := range done {
			got += fmt.Sprintf("%d %s %s;", r.Number, r.Outcome, r.File)
		}
		if got != want || (agent.ExitCode(err) == int(agent.AnsweredNo)) != (len(failing) > 0) || (err == nil) != (len(failing) == 0) {
			t.Errorf("came %q, want %q: %v", got, want, err)
		}
		for _, name := range failing {
			if !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("%s is not named: %v", name, err)
			}
		}
	}
	open := func(want int) {
		t.Helper()
		if list, err := h.agent.Differences(t.Context(), scores, 0); err != nil || len(list) != want {
			t.Errorf("%d are different, want %d: %+v %v", len(list), want, list, err)
		}
	}

	lay(1, whole[:len(whole)/2-3], 3*time.Minute) // in mid-line
	lay(2, whole, 2*time.Minute)
	lay(3, whole, time.Minute)
	grows := func(nth int) (restore func()) { // the third, while it is read as the nth
		return durable.SetFault(func(step string) error {
			if step == "create arriving" {
				if nth--; nth == 0 {
					lay(3, whole+whole, time.Minute)
				}
			}
			return nil
		})
	}
	restore := grows(3)
	reconcile(noon, "1 unfinished 1.rsp;2 acknowledged ;3 unfinished 3.rsp;")
	restore()
	open(0)
	lay(3, whole, time.Minute)
	late := noon.Add(time.Hour)
	restore = grows(2)
	reconcile(late, "", "1.rsp", "3.rsp")
	restore()
	open(1)
	lay(1, whole, 0)
	lay(3, whole, 0)
	reconcile(late, "1 acknowledged ;3 acknowledged ;")
	open(0)
}

// Where drops tell changes, a row that the recipient has rejected is not held,
// and the next drop adds it again: once, however often the answer is laid. So
// does a drop that was rejected as a whole, and a row that a person names.
func TestRejectedRowsAreSentAgain(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 20})
	const policy = "policies/acme-scores.yaml"
	h.write(policy, strings.Replace(h.read(policy), "mode: full", "mode: delta", 1))
	keys, ctx := h.answering(), context.Background()
	added := func(want ...string) {
		t.Helper()
		outcome := h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
		h.deliver(scores)
		var got []string
		for _, row := range h.drop(scores, outcome.Number).rows() {
			if at := strings.LastIndexByte(row, ','); at > 0 {
				got = append(got, row[at+1:])
			}
		}
		slices.Sort(got)
		want = slices.Sorted(slices.Values(want))
		if !slices.Equal(got, want) || outcome.Changes.Add != int64(len(want)) {
			t.Errorf("drop %d has %d rows, want %d: %+v", outcome.Number, len(got), len(want), outcome.Changes)
		}
	}
	take := func(number, refused int, rows []string) {
		t.Helper()
		h.respondTo(number, rows, refused, number)
		_, err := h.agent.Reconcile(ctx, scores)
		h.must(err)
	}
	take(1, 2, keys)
	added(keys[:2]...) // drop 2
	added()            // drop 3: drop 2 may still be taken
	take(2, 0, keys[:2])
	h.respondTo(1, append([]string{keys[1], keys[0]}, keys[2:]...), 2, 9) // the old answer again, in another order
	_, err := h.agent.Reconcile(ctx, scores)
	h.must(err)
	added() // drop 4
	if _, err := h.agent.Resend(ctx, scores, 1, keys[4:5], "Rosa Diaz", "lost at the plan"); err != nil {
		t.Error(err)
	}
	added(keys[4]) // drop 5
	letter := filepath.Join(t.TempDir(), "letter.txt")
	h.must(os.WriteFile(letter, []byte("not one of them"), 0o600))
	if _, err := h.agent.Answer(ctx, scores, 5, agent.HandAnswer{All: true, By: "Rosa Diaz", Report: letter}); err != nil {
		t.Error(err)
	}
	added(keys[4]) // drop 6
}
