//go:build unix

package agent

import (
	"context"
	"crypto/rand"
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
)

// BenchmarkCrosswalk gives a million people codes, as a first run does, and then
// in a new epoch again; -benchtime 1x. docs/performance.md has its figures.
func BenchmarkCrosswalk(b *testing.B) {
	const people = 1_000_000
	ctx, dir := context.Background(), b.TempDir()
	if err := keyring.NewMasterFile(filepath.Join(dir, "master"), ""); err != nil {
		b.Fatal(err)
	}
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	for range b.N {
		a := &Agent{Now: time.Now}
		var err error
		a.master, err = keyring.LoadMaster("file:master", "", dir)
		must(err)
		state := b.TempDir()
		a.db, err = openDatabase(ctx, state)
		must(err)
		x := &exchange{name: "x", policy: &policies.Policy{Purpose: "HRESCH", Standard: policies.SafeHarbor}, config: ExchangeConfig{Recipient: "registry"}}
		m := &memory{agent: a, x: x}
		timed := func(what string, work func()) {
			start := cpuSeconds()
			work()
			b.ReportMetric(cpuSeconds()-start, what+"-cpu-s")
		}
		size := func() float64 {
			must(a.eraseTraces(ctx))
			info, err := os.Stat(filepath.Join(state, databaseName))
			must(err)
			return float64(info.Size())
		}
		empty := size()
		codes := make([]build.NewCode, people)
		for i := range codes {
			_, _ = rand.Read(codes[i].Person[:])
			_, _ = rand.Read(codes[i].Sealed[:])
		}
		timed("commit", func() {
			must(inTx(ctx, a.db, func(tx *sql.Tx) error {
				epoch, err := a.newEpoch(ctx, tx, x.family(), 1, keyring.NewSecret(), "", "", "", false)
				if err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, `INSERT INTO drawn (epoch, exchange, number) VALUES (?, 'x', 1)`, epoch); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, `INSERT INTO delivery (exchange, number, state, dir, manifest, released, people, committed, as_of, ledger, expect, files)
					VALUES ('x', 1, ?, '', '', 0, 0, 0, '', 0, '', '')`, stateAcknowledged); err != nil {
					return err
				}
				return m.storeCodes(ctx, tx, codes, epoch, 1)
			}))
		})
		b.ReportMetric((size()-empty)/people, "disk-B/person")
		m.seen, err = currentEpoch(ctx, a.db, x.family())
		must(err)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var known map[[16]byte]build.KnownCode
		timed("read", func() {
			known, err = m.Codes(ctx)
			must(err)
		})
		runtime.GC()
		runtime.ReadMemStats(&after)
		if len(known) != people {
			b.Fatalf("%d people", len(known))
		}
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/people, "memory-B/person")
		m.seen.number = 2 // as a run of the next epoch asks
		timed("overlap", func() {
			for some := range slicesOf(codes, 4096) {
				found := map[[16]byte][deid.CodeLen]byte{}
				must(m.CodesBefore(ctx, some, found))
				if len(found) != len(some) {
					b.Fatalf("%d of %d codes", len(found), len(some))
				}
			}
		})
		runtime.KeepAlive(known)
		epochs, err := a.Epochs(ctx)
		must(err)
		timed("destroy", func() { must(a.Destroy(ctx, &epochs[0], "x", "y", true)) })
		must(a.db.Close())
	}
}

// cpuSeconds is what the process has used, whoever else the machine works for.
func cpuSeconds() float64 {
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}

func slicesOf(codes []build.NewCode, n int) func(func([][16]byte) bool) {
	return func(yield func([][16]byte) bool) {
		var some [][16]byte
		for i, c := range codes {
			if some = append(some, c.Person); len(some) == n || i == len(codes)-1 {
				if !yield(some) {
					return
				}
				some = some[:0]
			}
		}
	}
}
