package agent

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// stateFor opens an empty state.
func stateFor(t *testing.T) *sql.DB {
	t.Helper()
	db, err := openDatabase(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestChainNamesWhatTheRecipientHolds: the next manifest follows the last that
// was not voided and lists every number voided since then, for any history.
func TestChainNamesWhatTheRecipientHolds(t *testing.T) {
	a := &Agent{db: stateFor(t)}
	ctx := context.Background()
	states := []string{stateSealed, stateUploading, stateStored, stateAcknowledged, stateRejected, stateVoided, stateVoided, stateVoided}
	rapid.Check(t, func(t *rapid.T) {
		if _, err := a.db.Exec(`DELETE FROM delivery`); err != nil {
			t.Fatal(err)
		}
		history := rapid.SliceOfN(rapid.SampledFrom(states), 0, 8).Draw(t, "history")
		wantPrevious, wantVoids := "", []int64(nil)
		for i, state := range history {
			number := int64(i + 1)
			manifest := strings.Repeat("0", 63) + string(rune('0'+number))
			for _, exchange := range []string{"x", "another"} {
				s := state
				if exchange == "another" {
					s = stateStored
				}
				if _, err := a.db.Exec(`INSERT INTO delivery (exchange, number, state, dir, manifest, released, people, committed, as_of, ledger, expect, files)
					VALUES (?, ?, ?, '', ?, 0, 0, 0, '', 0, '', '')`, exchange, number, s, manifest); err != nil {
					t.Fatal(err)
				}
			}
			if state == stateVoided {
				wantVoids = append(wantVoids, number)
			} else {
				wantPrevious, wantVoids = manifest, nil
			}
		}
		previous, voids, err := a.chain(ctx, "x")
		if err != nil || previous != wantPrevious || !slices.Equal(voids, wantVoids) {
			t.Fatalf("after %v: previous %q, voids %v (%v); want %q, %v", history, previous, voids, err, wantPrevious, wantVoids)
		}
	})
}

// TestLeaseFences: a lease that ran out may be taken by another owner; from
// then on the first cannot commit, nor free what is no longer its own.
func TestLeaseFences(t *testing.T) {
	ctx := context.Background()
	db := stateFor(t)
	now := time.Date(2026, 7, 5, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	holds := func(l *Lease) error { return inTx(ctx, db, func(tx *sql.Tx) error { return l.holds(ctx, tx) }) }

	first, err := takeLease(ctx, db, "x", "process 1 on another-host", clock)
	if err != nil {
		t.Fatal(err)
	}
	if err := holds(first); err != nil {
		t.Fatal(err)
	}
	if _, err := takeLease(ctx, db, "x", "process 2 on another-host", clock); ExitCode(err) != int(Locked) {
		t.Fatalf("a second lease: %v", err)
	}
	if other, err := takeLease(ctx, db, "y", "process 2 on another-host", clock); err != nil {
		t.Fatal(err)
	} else {
		other.Release()
	}

	now = now.Add(leaseTime - time.Millisecond)
	if _, err := takeLease(ctx, db, "x", "process 2 on another-host", clock); ExitCode(err) != int(Locked) {
		t.Fatalf("a moment before the lease ends: %v", err)
	}
	now = now.Add(time.Millisecond)
	second, err := takeLease(ctx, db, "x", "process 2 on another-host", clock)
	if err != nil || second.Fence <= first.Fence {
		t.Fatalf("after the lease ended: %v", err)
	}
	if err := holds(first); ExitCode(err) != int(Locked) {
		t.Errorf("the first lease commits: %v", err)
	}
	first.Release()
	if err := holds(second); err != nil {
		t.Errorf("the first lease freed the second: %v", err)
	}
	second.Release()
	if second.Context.Err() == nil {
		t.Error("a run goes on after its lease was given back")
	}
	third, err := takeLease(ctx, db, "x", "process 3 on another-host", clock)
	if err != nil || third.Fence <= second.Fence {
		t.Fatalf("after it was given back: %v", err)
	}
	third.Release()
}

// TestLeaseOfADeadProcess: nobody waits for a process of this machine that is
// known to be gone.
func TestLeaseOfADeadProcess(t *testing.T) {
	ctx := context.Background()
	db := stateFor(t)
	dead := strings.Replace(leaseOwner(), "process ", "process 99999", 1) // beyond what Linux numbers
	left, err := takeLease(ctx, db, "x", dead, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Release()
	lease, err := takeLease(ctx, db, "x", leaseOwner(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
}
