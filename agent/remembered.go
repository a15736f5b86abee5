package agent

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
)

// memory is what earlier drops gave out, as the state holds it (build.Memory):
// people's codes by epoch, row keys by exchange.
type memory struct {
	agent    *Agent
	epoch    build.Epoch
	isNew    bool // the epoch: the commit stores its secret
	exchange string
}

// epoch names whose secret the exchange draws from: that of its recipient and
// purpose. A de-identified exchange has one of its own: a common code would join
// its rows to the days and towns of a limited data set, or to the intervals of
// another cohort (45 CFR 164.514(b)(2)(i)(C), (c)).
func (x *exchange) epoch() string {
	name := x.config.Recipient + "/" + x.policy.Purpose
	if !x.policy.StaysProtected() {
		name += "/" + x.name
	}
	return name + "/1"
}

// openMemory unwraps the secret of an epoch, or makes a new one that the commit
// will store.
func (a *Agent) openMemory(ctx context.Context, epoch, exchange string) (*memory, error) {
	m := &memory{agent: a, epoch: build.Epoch{Name: epoch}, exchange: exchange}
	var wrapped []byte
	err := a.db.QueryRowContext(ctx, `SELECT wrapped FROM epoch WHERE name = ?`, epoch).Scan(&wrapped)
	if err == sql.ErrNoRows {
		m.epoch.Secret, m.isNew = keyring.NewSecret(), true
		return m, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret of %s: %w", epoch, err)
	}
	plain, err := a.master.Unwrap("epoch/"+epoch, wrapped)
	if err != nil || len(plain) != len(keyring.Secret{}) {
		return nil, fail(KeyTrouble, err, "restore the master key that this state was made with", "secret of %s cannot be unwrapped", epoch)
	}
	m.epoch.Secret = keyring.Secret(plain)
	return m, nil
}

// Codes reads the crosswalk of the epoch.
func (m *memory) Codes(ctx context.Context) (map[[16]byte][deid.CodeLen]byte, error) {
	known := map[[16]byte][deid.CodeLen]byte{}
	rows, err := m.agent.db.QueryContext(ctx, `SELECT person, sealed FROM code WHERE epoch = ?`, m.epoch.Name)
	if err != nil {
		return nil, fmt.Errorf("crosswalk: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var person, sealed []byte
		if err := rows.Scan(&person, &sealed); err != nil {
			return nil, fmt.Errorf("crosswalk: %w", err)
		}
		if len(person) != 16 || len(sealed) != deid.CodeLen {
			return nil, fail(Altered, nil, "restore the state from its backup", "crosswalk of %s holds an entry of the wrong length", m.epoch.Name)
		}
		known[[16]byte(person)] = [deid.CodeLen]byte(sealed)
	}
	return known, rows.Err()
}

// askedTogether is how many row keys one query looks up.
const askedTogether = 250

var findRowKeys = `SELECT record, key FROM row_key WHERE exchange = ? AND record IN (?` + strings.Repeat(",?", askedTogether-1) + `)`

// RowKeys looks up the keys of records.
func (m *memory) RowKeys(ctx context.Context, records [][16]byte, known map[[16]byte]string) error {
	asked := make([]any, 1+askedTogether)
	asked[0] = m.exchange
	for together := range slices.Chunk(records, askedTogether) {
		clear(asked[1:])
		for i := range together {
			asked[1+i] = together[i][:]
		}
		if err := m.askRowKeys(ctx, asked, known); err != nil {
			return fmt.Errorf("row keys: %w", err)
		}
	}
	return nil
}

func (m *memory) askRowKeys(ctx context.Context, asked []any, known map[[16]byte]string) error {
	rows, err := m.agent.db.QueryContext(ctx, findRowKeys, asked...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var record []byte
		var key string
		if err := rows.Scan(&record, &key); err != nil {
			return err
		}
		if len(record) == 16 {
			known[[16]byte(record)] = key
		}
	}
	return rows.Err()
}

// store keeps, within the commit, what a run was the first to give out.
func (m *memory) store(ctx context.Context, tx *sql.Tx, built *build.Run) error {
	if m.isNew {
		wrapped := m.agent.master.Wrap("epoch/"+m.epoch.Name, m.epoch.Secret[:])
		if _, err := tx.ExecContext(ctx, `INSERT INTO epoch (name, wrapped) VALUES (?, ?)`, m.epoch.Name, wrapped); err != nil {
			return err
		}
	}
	code, err := tx.PrepareContext(ctx, `INSERT INTO code (epoch, person, sealed) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer code.Close()
	for _, c := range built.NewCodes() {
		if _, err := code.ExecContext(ctx, m.epoch.Name, c.Person[:], c.Sealed[:]); err != nil {
			return fmt.Errorf("crosswalk: %w", err)
		}
	}
	row, err := tx.PrepareContext(ctx, `INSERT INTO row_key (exchange, record, key) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer row.Close()
	return built.NewRowKeys(func(record []byte, key string) error {
		if _, err := row.ExecContext(ctx, m.exchange, record, key); err != nil {
			return fmt.Errorf("row keys: %w", err)
		}
		return nil
	})
}
