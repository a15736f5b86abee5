package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/synthetic"
)

func smallWorld(t *testing.T) *faultWorld {
	t.Helper()
	world, err := demo.New(t.Context(), t.TempDir(), synthetic.Options{Patients: 20}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = world.Close() })
	return &faultWorld{World: world, t: t}
}

// An agent dies when the recipient has the last file but the end of the
// delivery is not recorded. The receipt that is there before the next start
// must neither take the drop out of the queue nor be overwritten later.
func TestReceiptBeforeTheDeliveryHasEnded(t *testing.T) {
	w, ctx := smallWorld(t), context.Background()
	if _, err := w.Agent.Run(ctx, faulty, agent.RunOptions{AsOf: demo.AsOf()}); err != nil {
		t.Fatal(err)
	}
	r := w.Recipient(synthetic.HealthPlan)
	restore := durable.SetFault(func(step string) error {
		there, _ := filepath.Glob(filepath.Join(r.Inbox(), "*.done"))
		if strings.HasPrefix(step, "commit ") && len(there) == 1 {
			return errFault
		}
		return nil
	})
	_, err := w.Agent.Deliver(ctx, faulty)
	restore()
	if !errors.Is(err, errFault) {
		t.Fatalf("the end of the delivery was recorded: %v", err)
	}
	receiver, err := w.Receiver(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.Receive(ctx, r.Inbox()); err != nil {
		t.Fatal(err)
	}
	if done, err := w.Agent.Reconcile(ctx, faulty); err != nil || len(done) != 0 {
		t.Fatalf("the receipt was taken before its time: %v, %v", done, err)
	}
	if done, err := w.Agent.Deliver(ctx, faulty); err != nil || len(done) != 1 {
		t.Fatalf("the drop is out of the queue: %v, %v", done, err)
	}
	if done, err := w.Agent.Reconcile(ctx, faulty); err != nil || len(done) != 1 {
		t.Fatalf("the receipt was not taken: %v, %v", done, err)
	}
	if drops := w.drops(); len(drops) != 1 || drops[0].State != "acknowledged" {
		t.Fatalf("%+v", drops)
	}
	var log bytes.Buffer
	if err := w.Agent.ExportLedger(ctx, &log); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), `"kind":"delivered"`); n != 1 {
		t.Errorf("the ledger tells %d ends of delivery", n)
	}
}

// Killed after the end of a delivery was recorded, before its decision index
// was removed: the next delivery removes it.
func TestIndexOfAnEndedDeliveryIsSwept(t *testing.T) {
	w, ctx := smallWorld(t), context.Background()
	if _, err := w.Agent.Run(ctx, faulty, agent.RunOptions{AsOf: demo.AsOf()}); err != nil {
		t.Fatal(err)
	}
	restore := durable.SetFault(func(step string) error {
		if strings.HasPrefix(step, "remove ") {
			return errFault
		}
		return nil
	})
	_, err := w.Agent.Deliver(ctx, faulty)
	restore()
	left := func() int {
		found, _ := filepath.Glob(filepath.Join(w.Clinic, "state", "drops", "*", "private", "*decision-index*"))
		return len(found)
	}
	if !errors.Is(err, errFault) || left() != 1 {
		t.Fatalf("%v, %d indexes", err, left())
	}
	if done, err := w.Agent.Deliver(ctx, faulty); err != nil || len(done) != 0 || left() != 0 {
		t.Fatalf("%v, %v, %d indexes", done, err, left())
	}
}

// A run removes the scratch folders of dry runs whose process is gone, and of
// no other.
func TestDeadDryRunsAreSwept(t *testing.T) {
	w := smallWorld(t)
	dead := exec.Command("go", "version")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	folder := func(pid int) string {
		return filepath.Join(w.Clinic, "state", "scratch", fmt.Sprintf("x7-plan-%d-1", pid))
	}
	for _, pid := range []int{dead.Process.Pid, os.Getpid()} {
		if err := os.Mkdir(folder(pid), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Agent.Run(context.Background(), faulty, agent.RunOptions{AsOf: demo.AsOf()}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder(dead.Process.Pid)); !errors.Is(err, os.ErrNotExist) {
		t.Error("the dead one's folder is left")
	}
	if _, err := os.Stat(folder(os.Getpid())); err != nil {
		t.Error("the living one's folder is gone")
	}
}
