package agent

import (
	"context"
	"database/sql"
)

// NotTaken has rows of a drop count as not taken by the recipient.
func (a *Agent) NotTaken(ctx context.Context, exchange string, number int64, keys []string) (n int64, err error) {
	err = inTx(ctx, a.db, func(tx *sql.Tx) error {
		n, err = unhold(ctx, tx, exchange, number, keys)
		return err
	})
	return n, err
}
