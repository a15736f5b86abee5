package main_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Rounds of a commit's lane; POSTERN_KILLS=1000 is the long lane's.
const usualKills = 50

// moment is when a round kills: so long after something was seen to happen.
type moment struct {
	name   string
	seen   func(*killing, flow) bool // nil: the start of the process
	within time.Duration             // 0: as long as the command usually takes
	aim    string                    // where the kill must find the clinic; else the instant is random
}

// moments spread the kills over a run, and crowd them where the state of the
// world changes: the drop's folder, the commit, the upload, its end.
var moments = []moment{
	{name: "while deciding"},
	{name: "while sealing", seen: (*killing).building, within: 40 * time.Millisecond},
	{name: "around the commit", seen: (*killing).sealed, within: 12 * time.Millisecond},
	{name: "while uploading", seen: (*killing).uploading, within: 60 * time.Millisecond},
	{name: "after the last file", seen: (*killing).uploaded, within: 8 * time.Millisecond},
}

// wanted are the moments that a kill must have found. Where chance has met one
// of them in no round, more rounds aim at it.
var wanted = []moment{
	{name: inDrop, aim: inDrop, seen: (*killing).building},
	{name: committed, aim: committed, seen: (*killing).sealed},
	{name: exposed, aim: exposed, seen: (*killing).uploading},
}

// story is what one round kills, with how it is ended well.
type story struct {
	name string
	play func(*killing, flow, moment)
}

var (
	running     = story{name: "run", play: (*killing).killRun}
	serving     = story{name: "serve", play: (*killing).killServe}
	receiving   = story{name: "receive", play: (*killing).killReceive}
	reconciling = story{name: "reconcile", play: (*killing).killReconcile}
	planning    = story{name: "plan", play: (*killing).killPlan}
)

// stories of ten rounds: mostly runs, which hold the commit.
var stories = []story{running, running, serving, running, receiving, running, planning, running, running, reconciling}

// TestKilledAtAnyMoment is the promise of DESIGN, "Durable state": kill -9 at
// any instant loses nothing, sends nothing twice under two contents, leaves no
// plaintext on the clinic's side. Every round starts the real binary, kills
// it, looks at every file on both sides, and starts it again, which must
// complete.
func TestKilledAtAnyMoment(t *testing.T) {
	if testing.Short() {
		t.Skip("not in short mode; no peer is missing")
	}
	kills, seed := usualKills, uint64(1)
	for name, set := range map[string]func(uint64){
		"POSTERN_KILLS": func(n uint64) { kills = int(n) }, "POSTERN_KILLS_SEED": func(n uint64) { seed = n },
	} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil {
				t.Fatalf("%s is no number", name)
			}
			set(n)
		}
	}
	k := newKilling(t, rand.New(rand.NewPCG(seed, 7)))
	k.warmUp()
	round := 0
	for ; round < kills || kills >= usualKills && round < 2*kills && k.missed() != nil; round++ {
		s, f := stories[round%len(stories)], k.flows[k.random.IntN(len(k.flows))]
		m := moments[k.random.IntN(len(moments))]
		if round >= kills {
			s, m = running, *k.missed()
		}
		k.where = "round " + strconv.Itoa(round) + ", " + s.name + " of " + f.exchange + " killed " + m.name
		s.play(k, f, m)
		k.checkEverything()
		k.checkSettled()
		if t.Failed() {
			t.FailNow()
		}
		k.recipientTidiesUp()
	}
	k.finish(round)
}

// missed is a moment that a kill must have found and none has.
func (k *killing) missed() *moment {
	for i, m := range wanted {
		if k.landed[m.aim] == 0 {
			return &wanted[i]
		}
	}
	return nil
}

// killRun kills a run. Half the time the recipient and the clerk look before
// the agent is started again: what is there by then must do.
func (k *killing) killRun(f flow, m moment) {
	k.kill(m, f, k.usual["run"], "run", f.exchange, "--as-of", asOf)
	k.checkEverything()
	if k.random.IntN(2) == 0 {
		k.look(f)
		k.must("reconcile", f.exchange)
		k.checkEverything()
	}
	k.must("run", f.exchange, "--as-of", asOf)
}

// killServe kills the daemon while it works on an occurrence, and expects the
// next one to commit it once and to deliver.
func (k *killing) killServe(f flow, m moment) {
	civil := k.dueOccurrence(f)
	within := k.usual["run"]
	if m.seen == nil {
		within += 300 * time.Millisecond // the queue looks every so often
	}
	k.kill(m, f, within, "serve", "--log", "warn")
	k.checkEverything()
	k.serveUntilSettled()
	if n := k.number(`SELECT count(*) FROM occurrence WHERE civil = ? AND state = 'committed' AND number > 0`, civil); n != 1 {
		k.t.Errorf("%s: the occurrence %s is not committed", k.where, civil)
	}
}

func (k *killing) killReceive(f flow, _ moment) {
	k.kill(moment{}, f, k.usual["receive"], k.receive(f)...)
	k.checkEverything()
	k.must(k.receive(f)...)
}

func (k *killing) killReconcile(f flow, _ moment) {
	k.must(k.receive(f)...)
	k.kill(moment{}, f, k.usual["reconcile"], "reconcile", f.exchange)
	k.checkEverything()
	k.must("reconcile", f.exchange)
}

// killPlan: a dry run leaves nothing either, once a run has swept.
func (k *killing) killPlan(f flow, _ moment) {
	k.kill(moment{}, f, k.usual["plan"], "plan", f.exchange, "--as-of", asOf)
	k.checkEverything()
	k.must("run", f.exchange, "--as-of", asOf)
}

// warmUp plays one whole round of each command, to learn how long it takes
// here, and shows that the searches find what they search for.
func (k *killing) warmUp() {
	k.checkSearches()
	f := k.flows[0]
	k.usual["plan"] = k.timed("plan", f.exchange, "--as-of", asOf)
	k.usual["run"] = k.timed("run", f.exchange, "--as-of", asOf)
	k.usual["receive"] = k.timed(k.receive(f)...)
	k.usual["reconcile"] = k.timed("reconcile", f.exchange)
	k.where = "before the first kill"
	k.checkEverything()
	k.checkSettled()
}

func (k *killing) timed(args ...string) time.Duration {
	start := time.Now()
	k.must(args...)
	return time.Since(start)
}

// finish receives and reconciles all that is left, and counts.
func (k *killing) finish(kills int) {
	k.where = "at the end"
	for _, f := range k.flows {
		k.must(k.receive(f)...)
		k.must("reconcile", f.exchange)
	}
	k.must("ledger", "verify")
	k.checkEverything()
	k.checkSettled()
	var drops, rows int64
	for _, f := range k.flows {
		d, r := k.checkComplete(f)
		drops, rows = drops+d, rows+r
	}
	k.checkLedger()
	var total int
	for where, n := range k.landed {
		k.t.Logf("%4d kills found the clinic %s", n, where)
		total += n
	}
	if total != kills {
		k.t.Errorf("%d kills were counted, %d were due", total, kills)
	}
	if kills >= usualKills {
		if m := k.missed(); m != nil {
			k.t.Errorf("no kill found the clinic %s: the moments are badly chosen", m.name)
		}
	}
	k.t.Logf("%d kills: %d drops, %d rows, each received once", kills, drops, rows)
}
