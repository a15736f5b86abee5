package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// A clock that was wrong when a list was written, or is wrong now, must not make
// the list young for ever.
func TestInputFromTheFuture(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 5})
	h.must(os.Chtimes(filepath.Join(h.dir, consentsCSV), noon, noon.Add(48*time.Hour)))
	_, err := h.agent.Run(context.Background(), treatment, agent.RunOptions{AsOf: day(wholeYear)})
	if classOf(err) != agent.StaleInput {
		t.Errorf("a list of the day after tomorrow is taken: %v", err)
	}
	h.must(os.Chtimes(filepath.Join(h.dir, consentsCSV), noon, noon.Add(time.Minute))) // two machines' clocks
	if _, err := h.agent.Run(context.Background(), treatment, agent.RunOptions{AsOf: day(wholeYear)}); err != nil {
		t.Error(err)
	}
}

// What was sealed under one policy, or to one key, does not leave under another.
func TestPolicyChangedBeforeDelivery(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h *house){
		"policy": func(h *house) {
			file := "policies/acme-scores.yaml"
			h.write(file, strings.Replace(h.read(file), "44261-6, 70274-6", "44261-6", 1))
		},
		"key": func(h *house) {
			h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), h.world.Recipient(synthetic.HealthPlan).EncryptTo, h.world.Recipient(synthetic.Registry).EncryptTo, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := build(t, synthetic.Options{Patients: 20})
			h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
			before := h.read("postern.yaml") + h.read("policies/acme-scores.yaml")
			change(h)
			if before == h.read("postern.yaml")+h.read("policies/acme-scores.yaml") {
				t.Fatal("nothing was changed")
			}
			c := h.copied()
			if done, err := c.agent.Deliver(context.Background(), scores); classOf(err) != agent.PolicyRefused || len(done) != 0 {
				t.Fatalf("nobody has approved the change: %v, %v", done, err)
			}
			c.approve(scores)
			done, err := c.agent.Deliver(context.Background(), scores)
			if err != nil || len(done) != 1 || done[0].State != "voided" {
				t.Errorf("it was delivered: %v, %v", done, err)
			}
			if names := h.inbox(scores, 1); len(names) != 0 {
				t.Errorf("the recipient has %v", names)
			}
			c.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
			if done, err := c.agent.Deliver(context.Background(), scores); err != nil || len(done) != 1 || done[0].Number != 2 || done[0].State == "voided" {
				t.Errorf("the next one does not go out: %v, %v", done, err)
			}
		})
	}
}

// A hold acts at once: no drop begins after it, whatever was queued before.
func TestHoldDuringDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	held := false
	h.agent.Now = func() time.Time { // asked while the drop is judged again
		if !held {
			held = true
			h.must(h.agent.Hold(context.Background(), scores, "the officer"))
		}
		return noon
	}
	_, err := h.agent.Deliver(context.Background(), scores)
	if classOf(err) != agent.PolicyRefused {
		t.Errorf("delivered under a hold: %v", err)
	}
	if names := h.inbox(scores, 1); len(names) != 0 {
		t.Errorf("the recipient has %v", names)
	}
}

func classOf(err error) agent.Class {
	var failure *agent.Failure
	if !errors.As(err, &failure) {
		return agent.Unexpected
	}
	return failure.Class
}
