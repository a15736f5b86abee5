package agent

import (
	"context"
	"database/sql"
	"errors"

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
		err = fail(PolicyRefused, nil, "`postern release "+name+"` lifts it", "exchange %s is on hold (%s)", name, by)
	}
	return err
}

// Hold stops an exchange at once: no run, no delivery. Anyone on the machine
// may do it.
func (a *Agent) Hold(ctx context.Context, name, by string) error {
	return a.setHold(ctx, name, by, ledger.Hold)
}

// Unhold lets an exchange run again.
func (a *Agent) Unhold(ctx context.Context, name string) error {
	return a.setHold(ctx, name, "", ledger.Release)
}

func (a *Agent) setHold(ctx context.Context, name, by string, kind ledger.Kind) error {
	config, err := a.Config.Exchange(name)
	if err != nil {
		return err
	}
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO exchange (name, held_by) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET held_by = excluded.held_by`, name, by); err != nil {
			return err
		}
		return a.record(ctx, tx, kind, &exchange{name: name, config: config}, 0, map[string]any{"by": by})
	})
}
