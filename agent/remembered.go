package agent

import (
	"bytes"
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
)

// memory is what earlier drops gave out, as the state holds it (build.Memory):
// people's codes by epoch, row keys by epoch and exchange.
type memory struct {
	agent *Agent
	x     *exchange
	epoch build.Epoch
	seen  epoch // of the family, when the run began; the commit must find the same
	moved int64 // exchange.memory, likewise

	heldKeys map[int64]cipher.AEAD // by epoch
}

// epoch is one secret of a family, as the state holds it; number 0: there is none.
type epoch struct {
	id, number int64
	overlap    bool
	destroyed  bool
	form       string
}

// family names whose secrets the exchange draws from: those of its recipient and
// purpose. A de-identified exchange has its own: a common code would join its
// rows to the days and towns of a limited data set, or to the intervals of
// another cohort (45 CFR 164.514(b)(2)(i)(C), (c)).
func (x *exchange) family() string {
	name := x.config.Recipient + "/" + x.policy.Purpose
	if !x.policy.StaysProtected() {
		name += "/" + x.name
	}
	return name
}

// form is what of a de-identified release one epoch is used with: under another
// standard the same codes would join what neither lets out alone; by another
// range dates would move anew.
func (x *exchange) form() string {
	if x.policy.StaysProtected() {
		return ""
	}
	form := string(x.policy.Standard)
	for _, f := range x.fieldsThat(policies.ShiftDate) {
		return fmt.Sprintf("%s, dates moved by up to %d days", form, f.Days)
	}
	return form
}

// fieldsThat are the released fields of a transform.
func (x *exchange) fieldsThat(do policies.Transform) (fields []policies.Field) {
	for _, release := range x.policy.Release {
		for _, f := range release.Fields {
			if f.Do == do {
				fields = append(fields, f)
			}
		}
	}
	return fields
}

func epochName(family string, number int64) string { return fmt.Sprintf("%s/%d", family, number) }

// currentEpoch is the newest of a family.
func currentEpoch(ctx context.Context, db query, family string) (e epoch, err error) {
	err = db.QueryRowContext(ctx, `SELECT id, number, overlap, wrapped IS NULL, form FROM epoch WHERE family = ? ORDER BY number DESC LIMIT 1`, family).
		Scan(&e.id, &e.number, &e.overlap, &e.destroyed, &e.form)
	if errors.Is(err, sql.ErrNoRows) {
		return epoch{}, nil
	}
	return e, err
}

// openMemory unwraps the secret of the exchange's epoch, or makes a new one that
// the commit will store. A plan may look at a policy of another form.
func (a *Agent) openMemory(ctx context.Context, x *exchange, plan bool) (*memory, error) {
	m := &memory{agent: a, x: x}
	var err error
	if m.seen, err = currentEpoch(ctx, a.db, x.family()); err != nil {
		return nil, err
	}
	if m.moved, err = memoryMoved(ctx, a.db, x.name); err != nil {
		return nil, err
	}
	if m.makes() {
		m.epoch = build.Epoch{Name: epochName(x.family(), m.seen.number+1), Secret: keyring.NewSecret()}
		return m, nil
	}
	if m.seen.form != "" && m.seen.form != x.form() && !plan {
		return nil, fail(PolicyRefused, nil, "`postern keys rotate "+x.name+"` begins a new epoch; docs/keys.md says what that changes for the recipient",
			"codes and shifts of %s were given out for: %s; the policy now says: %s", epochName(x.family(), m.seen.number), m.seen.form, x.form())
	}
	if m.epoch, err = a.epochSecret(ctx, x.family(), m.seen.number); err == nil && m.seen.overlap {
		m.epoch.Before = new(build.Epoch)
		*m.epoch.Before, err = a.epochSecret(ctx, x.family(), m.seen.number-1)
	}
	return m, err
}

// memoryMoved is how often the exchange's memory became another one beside its commits.
func memoryMoved(ctx context.Context, db query, exchange string) (n int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT coalesce(max(memory), 0) FROM exchange WHERE name = ?`, exchange).Scan(&n)
	return n, err
}

func (a *Agent) epochSecret(ctx context.Context, family string, number int64) (build.Epoch, error) {
	e := build.Epoch{Name: epochName(family, number)}
	var wrapped []byte
	if err := a.db.QueryRowContext(ctx, `SELECT wrapped FROM epoch WHERE family = ? AND number = ?`, family, number).Scan(&wrapped); err != nil {
		return e, fmt.Errorf("secret of %s: %w", e.Name, err)
	}
	plain, err := a.master.Unwrap("epoch/"+e.Name, wrapped)
	if err != nil || len(plain) != len(keyring.Secret{}) {
		return e, fail(KeyTrouble, err, "restore the master key that this state was made with", "secret of %s cannot be unwrapped", e.Name)
	}
	e.Secret = keyring.Secret(plain)
	return e, nil
}

// newEpoch stores a secret of the family.
func (a *Agent) newEpoch(ctx context.Context, tx *sql.Tx, family string, number int64, secret keyring.Secret, form, by, because string, overlap bool) (int64, error) {
	wrapped := a.master.Wrap("epoch/"+epochName(family, number), secret[:])
	result, err := tx.ExecContext(ctx, `INSERT INTO epoch (family, number, wrapped, form, overlap, made, made_by, because) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		family, number, wrapped, form, overlap, a.Now().UnixMilli(), by, because)
	if err != nil {
		return 0, err
	}
	return result.LastInsertId()
}

// makes tells whether the commit stores a new epoch.
func (m *memory) makes() bool { return m.seen.number == 0 || m.seen.destroyed }

// Codes reads the crosswalk of the epoch.
func (m *memory) Codes(ctx context.Context) (map[[16]byte]build.KnownCode, error) {
	known := map[[16]byte]build.KnownCode{}
	if m.makes() {
		return known, nil
	}
	rows, err := m.agent.db.QueryContext(ctx, `SELECT person, sealed, drawn IN (SELECT id FROM drawn JOIN delivery USING (exchange, number) WHERE epoch = ? AND state = ?)
		FROM code WHERE epoch = ?`, m.seen.id, stateVoided, m.seen.id)
	if err != nil {
		return nil, fmt.Errorf("crosswalk: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var person, sealed sql.RawBytes
		var code build.KnownCode
		if err := rows.Scan(&person, &sealed, &code.Unsent); err != nil {
			return nil, fmt.Errorf("crosswalk: %w", err)
		}
		if len(person) != 16 || len(sealed) != deid.CodeLen {
			return nil, fail(Altered, nil, "restore the state from its backup", "crosswalk of %s holds an entry of the wrong length", m.epoch.Name)
		}
		code.Sealed = [deid.CodeLen]byte(sealed)
		known[[16]byte(person)] = code
	}
	return known, rows.Err()
}

// askedTogether is how many keyed hashes one query looks up.
const askedTogether = 250

var amongAsked = ` IN (?` + strings.Repeat(",?", askedTogether-1) + `)`

// CodesBefore looks up codes of the epoch before. A code that the recipient was
// never sent, because its drop waits or was voided, would tell whom that held.
func (m *memory) CodesBefore(ctx context.Context, people [][16]byte, known map[[16]byte][deid.CodeLen]byte) error {
	of := []any{m.x.family(), m.seen.number - 1, stateSealed, stateUploading, stateVoided}
	return m.lookUp(ctx, `SELECT person, sealed FROM code WHERE epoch = (SELECT id FROM epoch WHERE family = ? AND number = ?)
		AND drawn IN (SELECT id FROM drawn JOIN delivery USING (exchange, number) WHERE state NOT IN (?, ?, ?)) AND person`+amongAsked, of, people, func(person [16]byte, sealed []byte) {
		if len(sealed) == deid.CodeLen {
			known[person] = [deid.CodeLen]byte(sealed)
		}
	})
}

// RowKeys looks up the keys of records.
func (m *memory) RowKeys(ctx context.Context, records [][16]byte, known map[[16]byte]string) error {
	return m.lookUp(ctx, `SELECT record, key FROM row_key WHERE epoch = ? AND exchange = ? AND record`+amongAsked, []any{m.seen.id, m.x.name}, records,
		func(record [16]byte, key []byte) { known[record] = string(key) })
}

// lookUp asks a query for many keyed hashes, after what else it asks for.
func (m *memory) lookUp(ctx context.Context, query string, of []any, hashes [][16]byte, take func(hash [16]byte, value []byte)) error {
	asked := append(of, make([]any, askedTogether)...)
	for together := range slices.Chunk(hashes, askedTogether) {
		clear(asked[len(of):])
		for i := range together {
			asked[len(of)+i] = together[i][:]
		}
		if err := m.ask(ctx, query, asked, take); err != nil {
			return fmt.Errorf("what earlier drops gave out: %w", err)
		}
	}
	return nil
}

func (m *memory) ask(ctx context.Context, query string, asked []any, take func([16]byte, []byte)) error {
	var hash, value sql.RawBytes
	return each(ctx, m.agent.db, row{&hash, &value}, func() error {
		if len(hash) == 16 {
			take([16]byte(hash), value)
		}
		return nil
	}, query, asked...)
}

// store keeps, within the commit, what a run was the first to give out. A run
// whose epoch was rotated or destroyed meanwhile commits nothing.
func (m *memory) store(ctx context.Context, tx *sql.Tx, built *build.Run) error {
	family := m.x.family()
	now, err := currentEpoch(ctx, tx, family)
	if err != nil {
		return err
	}
	if now != m.seen {
		return fail(Locked, nil, "nothing was committed; run again", "the keys of %s were changed while the run went on", family)
	}
	if moved, err := memoryMoved(ctx, tx, m.x.name); err != nil || moved != m.moved {
		return fail(Locked, err, "nothing was committed; run again", "a drop of %s was voided, or rows of one rejected, while the run went on", m.x.name)
	}
	id := m.seen.id
	if m.makes() {
		id, err = m.agent.newEpoch(ctx, tx, family, m.seen.number+1, m.epoch.Secret, m.x.form(), "", "", false)
	} else if m.seen.form == "" {
		_, err = tx.ExecContext(ctx, `UPDATE epoch SET form = ? WHERE id = ?`, m.x.form(), id)
	}
	if err != nil {
		return err
	}
	drawn, err := tx.ExecContext(ctx, `INSERT INTO drawn (epoch, exchange, number) VALUES (?, ?, ?)`, id, m.x.name, built.Number)
	if err != nil {
		return err
	}
	drop, err := drawn.LastInsertId()
	if err != nil {
		return err
	}
	if err := m.storeCodes(ctx, tx, built.NewCodes(), id, drop); err != nil {
		return err
	}
	if err := m.storeHeld(ctx, tx, built, id); err != nil {
		return err
	}
	row, err := tx.PrepareContext(ctx, `INSERT INTO row_key (epoch, exchange, record, key) VALUES (?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer row.Close()
	return built.NewRowKeys(func(record []byte, key string) error {
		if _, err := row.ExecContext(ctx, id, m.x.name, record, key); err != nil {
			return fmt.Errorf("row keys: %w", err)
		}
		return nil
	})
}

// storeCodes keeps new codes, and of those that only a voided drop had given
// that this one gives them. They go in by their hashes, which are the order of
// the table: at random each would touch another page.
func (m *memory) storeCodes(ctx context.Context, tx *sql.Tx, codes []build.NewCode, epoch, drop int64) error {
	slices.SortFunc(codes, func(a, b build.NewCode) int { return bytes.Compare(a.Person[:], b.Person[:]) })
	code, err := tx.PrepareContext(ctx, `INSERT INTO code (epoch, person, sealed, drawn) VALUES (?, ?, ?, ?)
		ON CONFLICT (epoch, person) DO UPDATE SET drawn = excluded.drawn WHERE sealed = excluded.sealed`)
	if err != nil {
		return err
	}
	defer code.Close()
	for _, c := range codes {
		result, err := code.ExecContext(ctx, epoch, c.Person[:], c.Sealed[:], drop)
		if err != nil {
			return fmt.Errorf("crosswalk: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n != 1 {
			return fail(Locked, err, "nothing was committed; run again", "another exchange of %s gave people their codes while the run went on", m.x.config.Recipient)
		}
	}
	return nil
}
