package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// notePickedUp looks, as long as an answer is to be expected, which delivered drops
// the recipient has taken away. A server that did not let us see a file is not asked,
// and one that cannot be reached now is asked the next time.
func (a *Agent) notePickedUp(ctx context.Context, x *exchange) error {
	lying := map[int64][]transfer.File{}
	var number int64
	var dir, text string
	err := each(ctx, a.db, row{&number, &dir, &text}, func() error {
		var sealed []transfer.SealedFile
		err := json.Unmarshal([]byte(text), &sealed)
		files := transfer.Deliverables(filepath.Join(a.dropsDir(), dir), sealed)
		if x.recipient.Bare != nil {
			files, _ = transfer.SplitBare(files)
			files = slices.DeleteFunc(files, func(f transfer.File) bool { return f.Marker() })
		}
		lying[number] = files
		return err
	}, `SELECT number, dir, files FROM delivery WHERE exchange = ? AND state IN (?, ?) AND delivered > ?`,
		x.name, stateSizeVerified, stateHashVerified, a.Now().Add(-x.recipient.Receipt.wait()).UnixMilli())
	if err != nil || len(lying) == 0 {
		return err
	}
	destination, err := a.destination(ctx, x.recipient)
	if err != nil {
		a.Log.Info("the recipient's folder was not looked at", "exchange", x.name, "error", err)
		return ctx.Err()
	}
	defer destination.Close()
	for number, files := range lying {
		gone, failed := destination.Gone(ctx, files)
		if failed != nil {
			a.Log.Info("the recipient's folder was not looked at", "exchange", x.name, "number", number, "error", failed)
		}
		if gone {
			err = errors.Join(err, inTx(ctx, a.db, func(tx *sql.Tx) error { return a.pickedUp(ctx, tx, x, number) }))
		}
	}
	return errors.Join(err, ctx.Err())
}

func (a *Agent) pickedUp(ctx context.Context, tx *sql.Tx, x *exchange, number int64) error {
	result, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ? WHERE exchange = ? AND number = ? AND state IN (?, ?)`,
		statePickedUp, x.name, number, stateSizeVerified, stateHashVerified)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err // an answer has come meanwhile
	}
	return a.record(ctx, tx, ledger.PickedUp, x, number, map[string]any{})
}

// wait is how long after its delivery a drop is to be answered.
func (r *ReceiptConfig) wait() time.Duration {
	if r.Due == 0 {
		return defaultReceiptDue
	}
	return time.Duration(r.Due)
}
