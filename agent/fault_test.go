package agent_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

const faulty = "acme-scores"

var errFault = errors.New("broken on purpose")

// numbered is what differs between two drops in the names of their steps.
var numbered = regexp.MustCompile(`(cv\.)?x7\.[0-9]{6}(\.[0-9]+)?(\.[0-9]{3}\b)?`)

// kindOf names a step by its kind of file; every commit of the database is a
// step of its own.
func kindOf(step string, commits *int) string {
	if strings.HasPrefix(step, "commit ") {
		*commits++
		return fmt.Sprintf("%s #%d", step, *commits)
	}
	return numbered.ReplaceAllString(step, "N")
}

// The ways in which a step is broken. The last is as of a process that is killed
// right after it: no later step happens.
var breakages = []string{"not done", "done, reported as failed", "done, and nothing after it"}

// faultAt breaks the first step of a kind, once.
func faultAt(kind, breakage string) (restore func(), hit *bool) {
	commits, wait := 0, false
	hit = new(bool)
	return durable.SetFault(func(step string) error {
		after := strings.HasPrefix(step, "after ")
		switch {
		case *hit && !after && breakage == breakages[2], after && wait && !*hit:
			*hit = true
			return errFault
		case after || *hit || kindOf(step, &commits) != kind:
			return nil
		case breakage != breakages[0]:
			wait = true
			return nil
		}
		*hit = true
		return errFault
	}), hit
}

type faultWorld struct {
	*demo.World
	t     *testing.T
	ahead time.Duration
}

// attempt runs and delivers; a lease whose taking was reported as failed ends
// by itself, so then the clock moves on.
func (w *faultWorld) attempt() error {
	for range 2 {
		_, err := w.Agent.Run(context.Background(), faulty, agent.RunOptions{AsOf: demo.AsOf()})
		if err == nil {
			_, err = w.Agent.Deliver(context.Background(), faulty)
		}
		if agent.ExitCode(err) != int(agent.Locked) {
			return err
		}
		w.ahead += 2 * time.Minute
	}
	return errors.New("the lease does not end")
}

// steps lists every kind of durable step of a run and its delivery.
func (w *faultWorld) steps() (kinds []string) {
	commits, known := 0, map[string]bool{}
	restore := durable.SetFault(func(step string) error {
		if strings.HasPrefix(step, "after ") {
			return nil
		}
		if kind := kindOf(step, &commits); !known[kind] {
			known[kind] = true
			kinds = append(kinds, kind)
		}
		return nil
	})
	defer restore()
	if err := w.attempt(); err != nil {
		w.t.Fatal(err)
	}
	return kinds
}

func (w *faultWorld) drops() []agent.DropStatus {
	w.t.Helper()
	list, err := w.Agent.Drops(context.Background(), faulty)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// TestEveryDurableStepBroken breaks each durable step of run and delivery in
// three ways: not done, done but reported as failed, done and then killed. The next attempt must
// end well, and in the end the recipient has every committed number once.
// POSTERN_FAULTS chooses the steps by a regular expression; the long lane's
// is ".", for all.
func TestEveryDurableStepBroken(t *testing.T) {
	chosen := regexp.MustCompile(cmp.Or(os.Getenv("POSTERN_FAULTS"), "^(commit|rename|remove|sync-dir) "))
	w := smallWorld(t)
	w.Agent.Now = func() time.Time { return time.Now().Add(w.ahead) }
	if err := w.attempt(); err != nil {
		t.Fatal(err)
	}
	kinds := slices.DeleteFunc(w.steps(), func(kind string) bool { return !chosen.MatchString(kind) })
	afterAll := 0 // drops that were reported as failed
	for _, kind := range kinds {
		for _, breakage := range breakages {
			before := len(w.drops())
			restore, hit := faultAt(kind, breakage)
			err := w.attempt()
			restore()
			if !*hit {
				t.Errorf("%s: the fault was not met", kind)
			}
			if err != nil && !errors.Is(err, errFault) {
				t.Errorf("%s, %s: %v", kind, breakage, err)
			}
			drops := w.drops()
			if err != nil && len(drops) > before && drops[before].State == "sealed" {
				afterAll++
			}
			if err := w.attempt(); err != nil {
				t.Fatalf("%s, %s: the next attempt failed: %v", kind, breakage, err)
			}
		}
	}
	if afterAll == 0 {
		t.Error("no commit was done but reported as failed")
	}
	w.receiveAll()
	t.Logf("%d kinds of steps, each broken in three ways; %d drops, %d of them committed by a step reported as failed", len(kinds), len(w.drops()), afterAll)
}

// receiveAll: every committed number arrives, in order, whole, once.
func (w *faultWorld) receiveAll() {
	r := w.Recipient(synthetic.HealthPlan)
	receiver, err := w.Receiver(r)
	if err != nil {
		w.t.Fatal(err)
	}
	results, err := receiver.Receive(context.Background(), r.Inbox())
	if err != nil {
		w.t.Fatal(err)
	}
	drops := w.drops()
	if len(results) != len(drops) {
		w.t.Fatalf("%d drops were received, %d are committed", len(results), len(drops))
	}
	for i, result := range results {
		d := drops[i]
		if result.Status != transfer.Accepted || result.Sequence != int64(i)+1 || d.Number != result.Sequence || result.Rows != d.Released || !strings.HasSuffix(d.State, "-verified") {
			w.t.Errorf("drop %d: %s with %d rows (%v); the clinic has %d as %s with %d", result.Sequence, result.Status, result.Rows, result.Fault, d.Number, d.State, d.Released)
		}
	}
	if _, err := w.Agent.VerifyLedger(context.Background()); err != nil {
		w.t.Error(err)
	}
}
