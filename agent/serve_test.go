package agent_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer/sftptest"
)

// soon bounds the wait for what a serving agent does on real time: River looks
// for work every second, and the first retry comes after five.
const soon = 60 * time.Second

// journal is the log of an agent, for many goroutines.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// serving is an agent that serves until stop, which fails the test when it
// does not end well.
type serving struct {
	log  *journal
	stop func()
}

// serve opens an agent of its own on the clinic, at a time, and lets it serve.
func (h *house) serve(now time.Time) *serving {
	h.t.Helper()
	return h.serveBy(func() time.Time { return now })
}

func (h *house) serveBy(clock func() time.Time) *serving {
	h.t.Helper()
	s := &serving{log: new(journal)}
	logger := hclog.New(&hclog.LoggerOptions{Output: s.log, JSONFormat: true, Level: hclog.Trace})
	a, err := agent.Open(context.Background(), filepath.Join(h.dir, "postern.yaml"), logger)
	h.must(err)
	a.Now = clock
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err = errors.Join(a.Serve(ctx), a.Close())
	}()
	s.stop = sync.OnceFunc(func() {
		h.t.Helper()
		cancel()
		within(h.t, soon, "stopping", ended)
		if err != nil {
			h.t.Errorf("serve: %v", err)
		}
		h.holdsNoValue(s.log.String())
	})
	h.t.Cleanup(s.stop)
	return s
}

// values are what the extract says about people, as a stranger would find it:
// names, numbers, dates of birth, and ids.
func (h *house) values() (values []string) {
	h.t.Helper()
	for line := range strings.Lines(h.read(patientsND)) {
		var p struct {
			ID         string
			BirthDate  string
			Name       []struct{ Text string }
			Identifier []struct{ Value string }
			Telecom    []struct{ Value string }
			Address    []struct{ Line []string }
		}
		h.must(json.Unmarshal([]byte(line), &p))
		values = append(values, p.ID, p.BirthDate, p.Name[0].Text, p.Address[0].Line[0])
		for _, of := range [][]struct{ Value string }{p.Identifier, p.Telecom} {
			for _, value := range of {
				values = append(values, value.Value)
			}
		}
	}
	for _, row := range h.rows(rosterCSV) {
		values = append(values, row[1])
	}
	return values
}

func (h *house) holdsNoValue(text string) {
	h.t.Helper()
	for _, value := range h.values() {
		if len(value) < 4 {
			h.t.Fatalf("a value of %d bytes proves nothing", len(value))
		}
		if strings.Contains(text, value) {
			h.t.Errorf("a value from a record is in the log:\n%s", text)
			return
		}
	}
}

// exec changes the state behind the agent's back.
func (h *house) exec(text string, args ...any) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(h.dir, "state", "postern.db")+"?_pragma=busy_timeout(20000)")
	h.must(err)
	defer db.Close()
	_, err = db.Exec(text, args...)
	h.must(err)
}

// dueAtNoon makes the monthly occurrence of scores due at noon: it counts from
// the night before.
func (h *house) dueAtNoon() {
	h.t.Helper()
	h.exec(`INSERT INTO exchange (name, since) VALUES (?, '2026-07-05T00:00')`, scores)
}

func (h *house) delivered(exchange string, number int64) func() bool {
	return func() bool { return h.state(exchange, number) == "hash-verified" }
}

func (h *house) onlyDrop(exchange string) {
	h.t.Helper()
	if n := h.query(`SELECT count(*) FROM delivery WHERE exchange = ?`, exchange); n != "1" {
		h.t.Errorf("%s has %s drops", exchange, n)
	}
	done, err := filepath.Glob(filepath.Join(h.recipient(exchange).Inbox(), "*.done"))
	h.must(err)
	if len(done) != 1 {
		h.t.Errorf("the recipient of %s has %d drops", exchange, len(done))
	}
}

const theOccurrence = `SELECT state || ' ' || number FROM occurrence WHERE exchange = 'acme-scores' AND civil = '2026-07-05T02:30'`

// TestServeRunsAndDeliversOnce: what came due is run and delivered, and a
// restart does not do it again.
func TestServeRunsAndDeliversOnce(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.dueAtNoon()
	s := h.serve(noon)
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
	if got := h.query(theOccurrence); got != "committed 1" {
		t.Errorf("occurrence: %s", got)
	}
	if got := h.query(`SELECT as_of FROM delivery`); got != "2026-07-05" {
		t.Errorf("as of %s", got)
	}
	for _, line := range []string{"occurrence due", "run committed", "hash-verified", "stopped"} {
		if !strings.Contains(s.log.String(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}

	// The next day another exchange is due: when it is through, the first had
	// its chance to be run again.
	monday := noon.Add(24 * time.Hour)
	h.must(filepath.WalkDir(filepath.Join(h.dir, "inputs"), func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, monday, monday))
	}))
	s = h.serve(monday)
	eventually(t, soon, "the other delivery", h.delivered(treatment, 1))
	s.stop()
	h.onlyDrop(scores)
	h.onlyDrop(treatment)
}

// TestServeGoesOnBesideAHangingServer: while one recipient's server does not say
// what it has answered, the others' occurrences come due and are run.
func TestServeGoesOnBesideAHangingServer(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 10})
	h.breaking(treatment, sftptest.Options{Hang: []string{"List"}})
	h.dueAtNoon()
	var clock atomic.Int64
	clock.Store(noon.Add(-12 * time.Hour).UnixMilli())
	s := h.serveBy(func() time.Time { return time.UnixMilli(clock.Load()) })
	eventually(t, soon, "serving", func() bool { return strings.Contains(s.log.String(), `"serving"`) })
	clock.Add((6 * time.Minute).Milliseconds())
	eventually(t, soon, "asking for answers", func() bool {
		return h.query(`SELECT lease_owner FROM exchange WHERE name LIKE '%hie%/receipts'`) != ""
	})
	clock.Store(noon.UnixMilli())
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
}

// TestServeResumes: a killed agent leaves an occurrence that is due, or a
// drop that is committed, and no job that anybody would look at.
func TestServeResumes(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(treatment, agent.RunOptions{})
	h.dueAtNoon()
	h.exec(`INSERT INTO occurrence (exchange, civil, state) VALUES (?, '2026-07-05T02:30', 'due')`, scores)
	h.exec(`DELETE FROM river_job`)
	s := h.serve(noon)
	eventually(t, soon, "the delivery of the occurrence", h.delivered(scores, 1))
	eventually(t, soon, "the delivery of the waiting drop", h.delivered(treatment, 1))
	s.stop()
	if got := h.query(theOccurrence); got != "committed 1" {
		t.Errorf("occurrence: %s", got)
	}
	h.onlyDrop(scores)
	h.onlyDrop(treatment)
}

// TestServeRetriesDelivery: the connection breaks at the first attempt.
func TestServeRetriesDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.breaking(scores, sftptest.Options{CutAfter: 500})
	h.dueAtNoon()
	s := h.serve(noon)
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
	if !strings.Contains(s.log.String(), "delivery failed, it will be tried again") {
		t.Error("the log does not tell of the first attempt")
	}
	if attempts := h.query(`SELECT attempts FROM delivery`); attempts != "2" {
		t.Errorf("%s attempts", attempts)
	}
	h.onlyDrop(scores)
	if got := h.receive(scores); len(got) != 1 || got[0].Status != "accepted" {
		t.Errorf("the recipient: %+v", got)
	}
}

// TestServeSendsWhatHadToWait: a drop that comes too soon after another stays in hand,
// however often it is looked at before its time, and goes when that has come.
func TestServeSendsWhatHadToWait(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 30})
	h.edit("postern.yaml", `schedule: "0 3 * * 1"`, `apart: 2 hours`)
	h.at("2026-07-05T07:00")
	h.run(treatment, agent.RunOptions{})
	h.deliver(treatment)
	h.run(treatment, agent.RunOptions{})
	h.exec(`DELETE FROM river_job`) // one is left, which serve makes at its start
	var clock atomic.Int64
	clock.Store(h.agent.Now().UnixMilli())
	s := h.serveBy(func() time.Time { return time.UnixMilli(clock.Load()) })
	const open = `SELECT count(*) || ' ' || coalesce(min(max_attempts - attempt), 0) || ' ' || group_concat(DISTINCT state) FROM river_job WHERE state != 'completed'`
	inHand := ""
	waited := func(times int) {
		t.Helper()
		eventually(t, soon, "waiting", func() bool {
			inHand = h.query(open)
			return strings.Count(s.log.String(), `"the drop waits"`) >= times && strings.HasSuffix(inHand, " scheduled")
		})
	}
	waited(1)
	first := inHand
	look := func() {
		h.exec(`UPDATE river_job SET scheduled_at = datetime('now', '-1 second') WHERE state = 'scheduled'`)
	} // in place of a quarter of an hour
	clock.Add((119 * time.Minute).Milliseconds())
	look()
	waited(2)
	if inHand != first {
		t.Errorf("job, attempts that are left, state: %s, and were %s", inHand, first)
	}
	if state := h.state(treatment, 2); state != "sealed" {
		t.Errorf("a minute before its time it is %s", state)
	}
	clock.Add(time.Minute.Milliseconds())
	look()
	eventually(t, soon, "the delivery", h.delivered(treatment, 2))
	s.stop()
}

// TestServeRetriesRun: a garbled input stops the run with words that hold
// nothing of it; once it is mended, the same occurrence commits.
func TestServeRetriesRun(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	whole := h.read(consentsCSV)
	person := h.rows(consentsCSV)[0][0]
	h.write(consentsCSV, whole+person+",general,"+person+",active,"+person+"\n")
	h.dueAtNoon()
	s := h.serve(noon)
	eventually(t, soon, "the failure", func() bool { return strings.Contains(s.log.String(), "run failed, it will be tried again") })
	h.write(consentsCSV, whole)
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
	if got := h.query(theOccurrence); got != "committed 1" {
		t.Errorf("occurrence: %s", got)
	}
	h.onlyDrop(scores)
}

// TestServeStopsGracefully: told to stop in the middle of a run, the agent
// lets it commit, and the next one goes on from there.
func TestServeStopsGracefully(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 400})
	h.dueAtNoon()
	s := h.serve(noon)
	eventually(t, soon, "the run", func() bool {
		running, _ := filepath.Glob(filepath.Join(h.dir, "state", "scratch", "x7*"))
		return len(running) > 0
	})
	s.stop()
	if got := h.query(theOccurrence); got != "committed 1" {
		t.Errorf("occurrence after the stop: %s", got)
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "state", "scratch", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	s = h.serve(noon)
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
	h.onlyDrop(scores)
}

// TestTwoAgentsOnOneState: both find the same occurrence due; one commits it.
func TestTwoAgentsOnOneState(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 150})
	h.dueAtNoon()
	h.exec(`INSERT INTO occurrence (exchange, civil, state) VALUES (?, '2026-07-05T02:30', 'due')`, scores)
	one, two := h.serve(noon), h.serve(noon)
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	jobs := `SELECT count(*) FROM river_job WHERE state NOT IN ('completed', 'cancelled')`
	eventually(t, soon, "the end of all jobs", func() bool { return h.query(jobs) == "0" })
	one.stop()
	two.stop()
	h.onlyDrop(scores)
}

// TestOneRunOfAnExchangeAtATime: a second run finds the exchange locked while
// the first is at work, and free after it. Another exchange is free all along.
func TestOneRunOfAnExchangeAtATime(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	second := h.anotherAgent()
	var locked error
	tried := false
	h.run(scores, agent.RunOptions{Progress: func(string, int64) {
		if tried {
			return
		}
		tried = true
		_, locked = second.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()})
		if _, err := second.Run(context.Background(), treatment, agent.RunOptions{AsOf: demo.AsOf()}); err != nil {
			t.Errorf("another exchange: %v", err)
		}
	}})
	if agent.ExitCode(locked) != int(agent.Locked) {
		t.Errorf("the second run: %v", locked)
	}
	if _, err := second.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()}); err != nil {
		t.Errorf("a run after the first: %v", err)
	}
	if n := h.query(`SELECT group_concat(number) FROM delivery WHERE exchange = ?`, scores); n != "1,2" {
		t.Errorf("drops %s", n)
	}
}

// anotherAgent is a second agent on the same folder and state.
func (h *house) anotherAgent() *agent.Agent {
	first := h.agent
	second := h.open(hclog.NewNullLogger())
	h.agent = first
	return second
}

// TestLostLeaseCannotCommit: a run that was taken for dead wakes up and finds
// another in its place.
func TestLostLeaseCannotCommit(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	lost := false
	_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf(), Progress: func(stage string, _ int64) {
		if stage == "seal" && !lost {
			lost = true
			h.exec(`UPDATE exchange SET fence = fence + 1, lease_owner = 'process 1 on elsewhere' WHERE name = ?`, scores)
		}
	}})
	if !lost || agent.ExitCode(err) != int(agent.Locked) {
		t.Fatalf("the run: %v", err)
	}
	for _, table := range []string{"delivery", "code", "row_key", "epoch", "input", "river_job"} {
		if n := h.query(`SELECT count(*) FROM ` + table); n != "0" {
			t.Errorf("%s rows in %s", n, table)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "state", "drops", "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// The other's lease ends by itself; then the number is built again.
	h.exec(`UPDATE exchange SET lease_until = ? WHERE name = ?`, noon.Add(-time.Second).UnixMilli(), scores)
	if outcome := h.run(scores, agent.RunOptions{}); outcome.Number != 1 {
		t.Errorf("number %d", outcome.Number)
	}
}
