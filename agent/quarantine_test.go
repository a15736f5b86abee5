package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/agent"
	building "github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/synthetic"
)

// notation is a code as some systems write it, CODE@SYSTEM: the gate takes it
// for a mailbox.
const notation = "2106-3@CDCREC"

var falseAlarm = building.Stop{Dataset: "scores", Position: "race", Rule: "pattern: e-mail"}

// suspicious is a clinic whose policy releases races, which it writes in the
// notation.
func suspicious(t *testing.T) *house {
	t.Helper()
	h := build(t, synthetic.Options{Patients: 60})
	h.edit("policies/acme-scores.yaml", "      provider_npi:", "      race: {do: keep, because: equity strata}\n      provider_npi:")
	h.write(scoresCSV, strings.ReplaceAll(h.read(scoresCSV), ",White,", ","+notation+","))
	h.approve(scores)
	return h
}

// stopped runs scores, which the gate must stop, and gives the one quarantine.
func (h *house) stopped() *agent.Quarantine {
	h.t.Helper()
	_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()})
	var held *building.Quarantined
	if !errors.As(err, &held) || agent.ExitCode(err) != int(agent.Unbalanced) {
		h.t.Fatalf("the gate did not stop it: %v", err)
	}
	list, err := h.agent.Quarantines(context.Background(), scores)
	h.must(err)
	newest := list[len(list)-1]
	if newest.Rows != held.Rows || newest.State != agent.Stopped {
		h.t.Fatalf("%+v, but %d rows were stopped", newest, held.Rows)
	}
	return newest
}

// excepted lets both approvers sign that a hit is a false alarm.
func (h *house) excepted(id string) {
	h.t.Helper()
	e, err := h.agent.ProposeException(context.Background(), id, falseAlarm, "codes are written CODE@SYSTEM")
	h.must(err)
	for _, name := range []string{"privacy-officer", "medical-director"} {
		key, err := os.ReadFile(filepath.Join(h.world.ApproverKeys(), name))
		h.must(err)
		signature, err := agent.SignStatement([]byte(e.Statement+"\n"), key)
		h.must(err)
		_, err = h.agent.Except(context.Background(), id, [][]byte{signature})
		h.must(err)
	}
}

// reviewed opens what was kept, with the review key.
func (h *house) reviewed(q *agent.Quarantine) string {
	h.t.Helper()
	key, err := os.Open(filepath.Join(h.world.Dir, "review-identity.txt"))
	h.must(err)
	defer key.Close()
	identities, err := age.ParseIdentities(key)
	h.must(err)
	raw, err := os.ReadFile(q.File)
	h.must(err)
	if bytes.Contains(raw, []byte(notation)) || fmt.Sprintf("%x", sha256.Sum256(raw)) != q.SHA256 {
		h.t.Error("the file is not what the state says of it, or not encrypted")
	}
	return string(decrypt(h.t, raw, identities))
}

// An exception is of the rows that were looked at: where the same run meets
// more of them, because a denial has ended meanwhile, they stop it again.
func TestExceptionIsOfSoManyRows(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	all := h.stopped()
	text := h.reviewed(all)
	if n := strings.Count(text, "\n  | "); int64(n) != all.Rows || strings.Count(text, notation) != n {
		t.Fatalf("%d rows are kept, %d were stopped", n, all.Rows)
	}
	line, err := strconv.Atoi(regexp.MustCompile(`scores\.csv:([0-9]+)\n`).FindStringSubmatch(text)[1])
	h.must(err)
	person := strings.Split(strings.Split(h.read(scoresCSV), "\n")[line-1], ",")[1]
	h.add(consentsCSV, registry(person, "general", "deny", "active", "2026-07-01", "2026-07-05"))

	fewer := h.stopped()
	if fewer.Rows >= all.Rows || fewer.Rows == 0 || fewer.ID == all.ID {
		t.Fatalf("%d rows with the denial, %d without", fewer.Rows, all.Rows)
	}
	h.excepted(fewer.ID)
	h.agent.Now = func() time.Time { return noon.Add(22 * time.Hour) }
	again := h.stopped()
	if again.ID != fewer.ID || again.Rows != all.Rows {
		t.Fatalf("%s with %d rows is not the same run with more rows", again.ID, again.Rows)
	}
	h.excepted(again.ID)
	if o := h.run(scores, agent.RunOptions{}); o.Number != 1 {
		t.Errorf("drop %d", o.Number)
	}
	if names := len(h.drop(scores, 1).rows()); names == 0 {
		t.Error("nothing left")
	}
}

// An exception holds for the policy and the extract that it was made for.
func TestExceptionIsOfOneRun(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	first := h.stopped()
	h.excepted(first.ID)
	h.edit("policies/acme-scores.yaml", "because: equity strata", "because: equity by race")
	h.approve(scores)
	if _, err := h.agent.ProposeException(context.Background(), first.ID, falseAlarm, "x"); agent.ExitCode(err) != int(agent.PolicyRefused) {
		t.Errorf("an exception for a policy of yesterday: %v", err)
	}
	second := h.stopped()
	h.excepted(second.ID)
	h.write(scoresCSV, h.read(scoresCSV)+strings.Split(h.read(scoresCSV), "\n")[1]+"\n") // one row twice
	third := h.stopped()
	if first.ID == second.ID || second.ID == third.ID || third.Rows != second.Rows {
		t.Errorf("%s, %s, %s", first.ID, second.ID, third.ID)
	}
	// Who can write into the database cannot make an exception, nor move one.
	h.exec(`UPDATE exception SET run = ? WHERE run = ?`, third.Run, second.Run)
	h.stopped()
	if entries := h.inbox(scores, 1); len(entries) > 0 {
		t.Errorf("the recipient has %v", entries)
	}
}

// An agent that dies when the file lies there and the database does not know
// of it leaves nothing that confuses: the next run removes it.
func TestQuarantineKilledBeforeItIsRecorded(t *testing.T) {
	h := suspicious(t)
	written := false
	restore := durable.SetFault(func(step string) error {
		written = written || strings.HasPrefix(step, "after rename x7.000001.")
		if written && step == "commit postern.db" {
			return errFault
		}
		return nil
	})
	_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()})
	restore()
	files := func() []string {
		list, err := filepath.Glob(filepath.Join(h.dir, "state", "quarantine", "*"))
		h.must(err)
		return list
	}
	left := files()
	list, _ := h.agent.Quarantines(context.Background(), "")
	if !errors.Is(err, errFault) || len(left) != 1 || len(list) != 0 {
		t.Fatalf("%v: %v, %d", err, left, len(list))
	}
	q := h.stopped()
	if now := files(); len(now) != 1 || now[0] == left[0] || now[0] != q.File {
		t.Errorf("%v, and %s is told", now, q.File)
	}
	if _, err := h.agent.VerifyLedger(context.Background()); err != nil {
		t.Error(err)
	}
}

// serve runs what the gate stops once, says so, and waits; an exception wakes it.
func TestServeWaitsForAnException(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	h.dueAtNoon()
	s := h.serve(noon)
	eventually(t, soon, "the stop", func() bool { return strings.Contains(s.log.String(), "the gate stopped the drop, it waits for people") })
	s.stop()
	s = h.serve(noon) // a new start takes up what is due: it sees that nothing is new
	eventually(t, soon, "the wait", func() bool { return strings.Contains(s.log.String(), "the drop is in quarantine, it waits for people") })
	if list, err := h.agent.Status(context.Background()); err != nil || list[0].Stopped != 1 || list[0].Attention != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if reason := h.query(`SELECT reason FROM occurrence WHERE exchange = ?`, scores); !strings.Contains(reason, "stopped by the gate") {
		t.Errorf("the occurrence says %q", reason)
	}
	list, err := h.agent.Quarantines(context.Background(), scores)
	h.must(err)
	h.excepted(list[0].ID)
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
	var log bytes.Buffer
	h.must(h.agent.ExportLedger(context.Background(), &log))
	if n := strings.Count(log.String(), `"kind":"quarantined"`); n != 1 {
		t.Errorf("it was run and stopped %d times", n)
	}
	if got := h.query(theOccurrence); got != "committed 1" {
		t.Errorf("occurrence: %s", got)
	}
}
