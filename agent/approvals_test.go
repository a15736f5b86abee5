package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

// Before the first approval nothing leaves, and only people whose fingerprints
// were confirmed by hand can give it.
func TestFirstApproval(t *testing.T) {
	t.Parallel()
	h := approvedClinic(t)
	confirmed := h.query(`SELECT count(*) FROM confirmed`)
	h.exec(`DELETE FROM approval`)
	h.exec(`DELETE FROM signature`)
	h.sendsNothing(scores, "exchange acme-scores was never approved; 0 of 2 approvers have signed")

	// One person with two keys is one person.
	h.edit("postern.yaml", "approvers:", `approvers:
  - {name: "ana ruiz,  PRIVACY officer", key: `+h.newKey("ana-too")+"}")
	too := h.opensshPrint("ana-too")
	h.must(agent.ConfirmApprovers(context.Background(), filepath.Join(h.dir, "postern.yaml"), []string{too, too}))
	if p, err := h.signed(ana, "ana-too"); err != nil || p.Approved || len(p.Signed) != 1 {
		t.Fatalf("two keys of one person: %+v, %v", p, err)
	}

	// Whom nobody confirmed cannot begin, named or not.
	h.edit("postern.yaml", "approvers:", "approvers:\n  - {name: Eve, key: "+h.newKey("eve")+"}")
	for _, key := range []string{"eve", stranger} {
		if _, err := h.signed(ben, key); classOf(err) != agent.PolicyRefused {
			t.Errorf("%s began: %v", key, err)
		}
	}
	if p, err := h.signed(ben); err != nil || p.Approved {
		t.Fatalf("one: %+v, %v", p, err)
	}
	h.exec(`INSERT INTO confirmed (fingerprint, seal) VALUES (?, x'01')`, h.opensshPrint("eve"))
	if _, err := h.agent.Approval(context.Background(), scores); classOf(err) != agent.Altered {
		t.Errorf("a confirmed fingerprint was forged: %v", err)
	}
	h.exec(`DELETE FROM confirmed WHERE seal = x'01'`)
	if p, err := h.signed(ana); err != nil || !p.Approved { // ben has signed already
		t.Fatalf("two of the confirmed: %+v, %v", p, err)
	}
	if n := h.query(`SELECT count(*) FROM confirmed`); confirmed != "2" || n != "3" {
		t.Errorf("%s, then %s fingerprints are confirmed", confirmed, n)
	}
	// From now on approvers approve approvers, of every exchange.
	err := agent.ConfirmApprovers(context.Background(), filepath.Join(h.dir, "postern.yaml"), []string{h.opensshPrint(stranger)})
	if classOf(err) != agent.PolicyRefused {
		t.Errorf("confirmed after an approval: %v", err)
	}
	h.must(demo.Approve(context.Background(), h.agent, h.world.ApproverKeys(), treatment))
}

// opensshPrint is the fingerprint that ssh-keygen -l shows an approver.
func (h *house) opensshPrint(key string) string {
	h.t.Helper()
	fields := strings.Fields(h.openssh("-l", "-f", filepath.Join(h.world.ApproverKeys(), key)))
	if len(fields) < 2 {
		h.t.Fatalf("ssh-keygen -l: %v", fields)
	}
	return fields[1]
}

// What lets nothing more out takes one approver of the previous closure, and
// what is approved by one is sent like any other.
func TestNarrowingTakesOne(t *testing.T) {
	t.Parallel()
	h := approvedClinic(t)
	h.edit(scoresPolicy, "      provider_npi: {do: keep, because: audit back to the source record}\n", "")
	if p := h.approval(); p.Needed != 1 || p.Why != "the policy changed, and nothing newly leaves" {
		t.Fatalf("%d: %s", p.Needed, p.Why)
	}
	h.sendsNothing(scores, "policy: ")
	if p, err := h.signed(ben); err != nil || !p.Approved {
		t.Fatalf("%+v, %v", p, err)
	}
	done, err := h.agent.Deliver(context.Background(), scores)
	if err != nil || len(done) != 1 || done[0].State != "voided" {
		t.Errorf("what was sealed with the column: %v, %v", done, err)
	}
	h.run(scores, agent.RunOptions{})
	if done, err := h.agent.Deliver(context.Background(), scores); err != nil || done[0].State != "hash-verified" {
		t.Errorf("what was sealed without it: %v, %v", done, err)
	}

	// The way back is a widening.
	h.edit(scoresPolicy, "      total_score:", "      provider_npi: {do: keep, because: audit back to the source record}\n      total_score:")
	if p := h.approval(); p.Needed != 2 || !strings.Contains(p.Why, "provider_npi") {
		t.Errorf("%d: %s", p.Needed, p.Why)
	}
	// What was approved is gone or altered, so nobody can say what is new.
	kept, err := filepath.Glob(filepath.Join(h.dir, "state", "approved", "*", "policy", "policy.approved.yaml"))
	h.must(err)
	for _, file := range kept {
		text, err := os.ReadFile(file)
		h.must(err)
		h.must(os.WriteFile(file, append(text, "\n# more"...), 0o600))
	}
	h.edit(scoresPolicy, "version: 1", "version: 2")
	if p := h.approval(); p.Needed != 2 || !strings.Contains(p.Why, "cannot be compared") {
		t.Errorf("%d: %s", p.Needed, p.Why)
	}
}

// A change that is made, taken back and made again is approved three times.
func TestOldSignaturesDoNotCountAgain(t *testing.T) {
	t.Parallel()
	h := approvedClinic(t)
	before := h.read(scoresPolicy)
	h.widened()
	after, statement := h.read(scoresPolicy), h.approval().Statement
	old := [][]byte{h.opensshSigns(ana, "postern-policy", statement), h.opensshSigns(ben, "postern-policy", statement+"\r\n")} // as editors leave it
	if p, err := h.agent.Approve(context.Background(), scores, old); err != nil || !p.Approved {
		t.Fatalf("%+v, %v", p, err)
	}
	h.write(scoresPolicy, before)
	h.approve(scores)
	h.write(scoresPolicy, after)
	if _, err := h.agent.Approve(context.Background(), scores, old); classOf(err) != agent.PolicyRefused {
		t.Errorf("old signatures: %v", err)
	}
	h.sendsNothing(scores, "policy: ")
	// Nor does what only the database says.
	h.exec(`INSERT INTO signature SELECT ?, armored, taken FROM signature LIMIT 2`, h.approval().Statement)
	if p := h.approval(); len(p.Signed) != 0 {
		t.Errorf("signatures of another statement count: %v", p.Signed)
	}
	h.exec(`INSERT INTO approval (exchange, number, closure, seal) VALUES (?, 9, ?, x'01')`, scores, h.approval().Closure)
	if _, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()}); classOf(err) != agent.Altered {
		t.Errorf("an approval was forged: %v", err)
	}
}

// After its last day a key signs nothing; the day itself counts.
func TestExpiredApprover(t *testing.T) {
	t.Parallel()
	h := approvedClinic(t)
	h.edit("postern.yaml", " "+ana+"}", " "+ana+", until: 2026-07-31}")
	h.approve(scores)
	h.widened()
	h.on("2026-08-01")
	_, err := h.signed(ben, ana)
	if classOf(err) != agent.PolicyRefused || !strings.Contains(fmt.Sprint(err), "counted until 2026-07-31") {
		t.Errorf("an expired key: %v", err)
	}
	h.sendsNothing(scores, "policy: ")
	h.on("2026-07-31")
	if p, err := h.signed(ana); err != nil || len(p.Signed) != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	h.on("2026-08-01") // in which nothing is left of what ana signed
	if p, err := h.signed(ben); err != nil || p.Approved || len(p.Signed) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
}

// A paper that has lapsed stops its exchange by its place in the policy; a plan
// may still look, and a daemon goes on with the others.
func TestLapsedPaperSendsNothing(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct{ exchange, file, old, new string }{
		"agreement.to: ":                            {scores, scoresPolicy, "to: open, review_by: 2099-12-31", "to: 2026-07-31"},
		"agreement.review_by: ":                     {scores, scoresPolicy, "review_by: 2099-12-31", "review_by: 2026-07-31"},
		"attest.actual_knowledge.review_by: ":       {outcomes, "policies/outcomes-registry.yaml", "on: 2026-06-20, review_by: 2099-12-31", "on: 2026-06-20, review_by: 2026-07-31"},
		"include.instruments: the value set was in": {scores, valueSet, "to: open", "to: 2026-07-31"},
	} {
		t.Run(path, func(t *testing.T) {
			h := approvedClinic(t)
			h.edit(c.file, c.old, c.new)
			h.approve(c.exchange)
			h.on("2026-08-01")
			h.sendsNothing(c.exchange, path)
			if _, err := h.agent.Approval(context.Background(), c.exchange); classOf(err) != agent.PolicyRefused {
				t.Errorf("what has lapsed can be approved: %v", err)
			}
		})
	}
}

// The daemon starts with an exchange that nobody has approved, keeps the reason
// with its occurrence, and goes on by itself once it is approved.
func TestServeWaitsForApproval(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	h.edit(scoresPolicy, "[44261-6, 70274-6, 75626-2]", "[44261-6]")
	h.dueAtNoon()
	s := h.serve(noon)
	reason := func() string { return h.query(`SELECT reason FROM occurrence WHERE state = 'due'`) }
	eventually(t, soon, "the refusal", func() bool { return strings.Contains(reason(), "not approved as it stands") })
	if p, err := h.signed(ana); err != nil || !p.Approved {
		t.Fatalf("%+v, %v", p, err)
	}
	eventually(t, soon, "the delivery", h.delivered(scores, 1))
	s.stop()
	if got := h.query(theOccurrence); got != "committed 1" || strings.Contains(s.log.String(), "run failed") {
		t.Errorf("occurrence: %s\n%s", got, s.log.String())
	}
}

// Another approval comes while a run is under way: what it sealed is not
// committed.
func TestApprovalDuringRun(t *testing.T) {
	t.Parallel()
	h := approvedClinic(t)
	other, changed := h.anotherAgent(), false
	_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf(), Progress: func(stage string, _ int64) {
		if stage == "seal" && !changed {
			changed = true
			h.write(scoresPolicy, strings.Replace(h.read(scoresPolicy), "version: 1", "version: 2", 1))
			h.must(demo.Approve(context.Background(), other, h.world.ApproverKeys(), scores))
		}
	}})
	if !changed || classOf(err) != agent.PolicyRefused || h.query(`SELECT count(*) FROM delivery`) != "1" {
		t.Errorf("committed under another approval: %v", err)
	}
}

// An exchange of which another schema was approved voids what waits.
func TestSchemaChangedBeforeDelivery(t *testing.T) {
	t.Parallel()
	h := approvedClinic(t)
	h.write("schemas/scores.json", h.read("schemas/scores.json")+"\n")
	h.open(hclog.NewNullLogger())
	h.approve(scores)
	done, err := h.agent.Deliver(context.Background(), scores)
	if err != nil || len(done) != 1 || done[0].State != "voided" || done[0].Reason != "schema scores was changed after it was sealed" {
		t.Errorf("%+v, %v", done, err)
	}
}

// A hold is lifted by one approver, and by a signature that names it.
func TestLiftingAHold(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	h := approvedClinic(t)
	lift := func(key string) (string, error) {
		statement, err := h.agent.ReleaseStatement(ctx, scores)
		h.must(err)
		signature := h.opensshSigns(key, "postern-policy", statement+"\n")
		_, err = h.agent.Release(ctx, scores, signature)
		return string(signature), err
	}
	h.must(h.agent.Hold(ctx, scores, "front desk"))
	if _, err := lift(stranger); classOf(err) != agent.PolicyRefused {
		t.Errorf("a stranger lifts it: %v", err)
	}
	old, err := lift(ben)
	h.must(err)
	h.agent.Now = func() time.Time { return noon.Add(time.Second) }
	h.must(h.agent.Hold(ctx, scores, "front desk"))
	if _, err := h.agent.Release(ctx, scores, []byte(old)); classOf(err) != agent.PolicyRefused {
		t.Errorf("an old signature lifts a new hold: %v", err)
	}
	if held, by, err := h.agent.Held(ctx, scores); err != nil || !held || by != "front desk" {
		t.Errorf("%v %s %v", held, by, err)
	}
	// The same as an approval's, the statement of a hold approves nothing.
	statement, err := h.agent.ReleaseStatement(ctx, scores)
	h.must(err)
	h.widened()
	if _, err := h.agent.Approve(ctx, scores, [][]byte{h.opensshSigns(ana, "postern-policy", statement+"\n")}); classOf(err) != agent.PolicyRefused {
		t.Errorf("a lifted hold approves: %v", err)
	}
	// Before anything was approved, whoever may begin may lift.
	h.exec(`DELETE FROM approval`)
	if _, err := lift(ana); err != nil {
		t.Error(err)
	}
}
