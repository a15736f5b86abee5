package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/posternhealth/postern/ledger"
)

// Held tells whether an exchange is on hold, and by whom.
func (a *Agent) Held(ctx context.Context, name string) (held bool, by string, err error) {
	err = a.db.QueryRowContext(ctx, `SELECT held_by FROM exchange WHERE name = ?`, name).Scan(&by)
	if errors.Is(err, sql.ErrNoRows) {
		return false, "", nil
	}
	return by != "", by, err
}

// notHeld is the failure of an exchange on hold.
func (a *Agent) notHeld(ctx context.Context, name string) error {
	held, by, err := a.Held(ctx, name)
	if err == nil && held {
		err = fail(PolicyRefused, nil, "`postern release "+name+"` shows what an approver signs to lift it", "exchange %s is on hold (%s)", name, by)
	}
	return err
}

// Hold stops an exchange at once: no run, no delivery. Anyone on the machine
// may do it.
func (a *Agent) Hold(ctx context.Context, name, by string) error {
	config, err := a.Config.Exchange(name)
	if err != nil {
		return err
	}
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO exchange (name, held_by) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET held_by = excluded.held_by`, name, by); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO hold (exchange, number, since) SELECT ?, 1 + coalesce(max(number), 0), ? FROM hold WHERE exchange = ?`,
			name, a.Now().UTC().Format(time.RFC3339), name); err != nil {
			return err
		}
		return a.record(ctx, tx, ledger.Hold, &exchange{name: name, config: config}, 0, map[string]any{"by": by})
	})
}

// ReleaseStatement is the line that an approver signs to lift the hold; "" when
// the exchange is not on hold. It names the hold: an old signature lifts no new one.
func (a *Agent) ReleaseStatement(ctx context.Context, name string) (string, error) {
	if _, err := a.Config.Exchange(name); err != nil {
		return "", err
	}
	return releaseStatement(ctx, a.db, name)
}

func releaseStatement(ctx context.Context, db query, name string) (string, error) {
	var number int64
	var since string
	err := db.QueryRowContext(ctx, `SELECT hold.number, hold.since FROM hold JOIN exchange ON name = exchange WHERE name = ? AND held_by <> '' ORDER BY hold.number DESC LIMIT 1`, name).
		Scan(&number, &since)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return fmt.Sprintf("postern-policy %s release of hold %d since %s", name, number, since), err
}

// Release lifts a hold by the signature of one approver: of the approved
// closure or, when nothing was approved yet, of those who may begin.
func (a *Agent) Release(ctx context.Context, name string, signature []byte) (by string, err error) {
	config, err := a.Config.Exchange(name)
	if err != nil {
		return "", err
	}
	may, err := a.mayRelease(ctx, name)
	if err != nil {
		return "", err
	}
	err = inTx(ctx, a.db, func(tx *sql.Tx) error {
		statement, err := releaseStatement(ctx, tx, name)
		if err != nil || statement == "" {
			return err
		}
		who, err := signedBy(statement, signature, may, a.today())
		if err != nil {
			return err
		}
		by = who.name
		if _, err := tx.ExecContext(ctx, `UPDATE exchange SET held_by = '' WHERE name = ?`, name); err != nil {
			return err
		}
		if err := a.record(ctx, tx, ledger.Release, &exchange{name: name, config: config}, 0, map[string]any{"by": by, "statement": statement}); err != nil {
			return err
		}
		return a.wake(ctx, tx, name)
	})
	return by, err
}

func (a *Agent) mayRelease(ctx context.Context, name string) ([]approver, error) {
	last, err := a.lastApproval(ctx, a.db, name)
	if err != nil {
		return nil, err
	}
	if last.number == 0 {
		configured := &Closure{Parts: []Part{{Name: approversPart, Lines: approverLines(a.Config.Approvers)}}}
		return a.mayBegin(ctx, configured)
	}
	closure, err := a.approvedClosure(last.closure)
	if err != nil {
		return nil, err
	}
	return closure.approvers(), nil
}
