package agent_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/ledger"
)

// overtaken is a clinic whose agent has begun a delivery when its clock jumps, as
// after a suspended machine's waking, so that another one takes the lease and does
// something about the drop. When tells at which instant that is.
func overtaken(t *testing.T, when string, other func(h *house, b *agent.Agent)) (*house, error) {
	h := build(t, synthetic.Options{Patients: 10})
	var once sync.Once
	a := h.agent
	act := func() {
		once.Do(func() {
			b, err := agent.Open(context.Background(), filepath.Join(h.dir, "postern.yaml"), hclog.NewNullLogger())
			h.must(err)
			defer b.Close()
			b.Now = func() time.Time { return noon.Add(2 * time.Minute) }
			other(h, b)
		})
	}
	if when == "connects" {
		port := h.recipient(scores).Port
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		h.must(err)
		t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				act()
				real, err := net.Dial("tcp", "127.0.0.1:"+port)
				if err != nil {
					_ = conn.Close()
					return
				}
				go func() { _, _ = io.Copy(real, conn); _ = real.Close() }()
				go func() { _, _ = io.Copy(conn, real); _ = conn.Close() }()
			}
		}()
		_, mine, _ := net.SplitHostPort(listener.Addr().String())
		h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "port: "+port, "port: "+mine, 1))
		a = h.open(hclog.NewNullLogger())
	}
	h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	a.Now = func() time.Time {
		if when == "settles" && h.state(scores, 1) == "uploading" {
			act()
		}
		return noon
	}
	_, err := a.Deliver(context.Background(), scores)
	return h, err
}

// What another has settled about a drop stays so: the slower one of two deliveries
// does not take an acknowledged drop for a delivered one, nor send one that is void.
func TestOvertakenDelivery(t *testing.T) {
	t.Parallel()
	t.Run("acknowledged", func(t *testing.T) {
		h, err := overtaken(t, "settles", func(h *house, b *agent.Agent) {
			_, err := b.Deliver(context.Background(), scores)
			h.must(err)
			h.receive(scores)
			_, err = b.Reconcile(context.Background(), scores)
			h.must(err)
		})
		if agent.ExitCode(err) != int(agent.Locked) || h.state(scores, 1) != "acknowledged" || strings.Count(h.ledger(), `"`+string(ledger.Delivered)+`"`) != 1 {
			t.Errorf("the drop is %s: %v", h.state(scores, 1), err)
		}
	})
	t.Run("void", func(t *testing.T) {
		h, err := overtaken(t, "connects", func(h *house, b *agent.Agent) {
			_, err := b.Void(context.Background(), scores, 1, "Rosa Diaz", "wrong extract")
			h.must(err)
		})
		if agent.ExitCode(err) != int(agent.Locked) || h.state(scores, 1) != "voided" {
			t.Errorf("the drop is %s: %v", h.state(scores, 1), err)
		}
	})
}
