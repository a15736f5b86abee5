package agent

import (
	"context"
	"crypto/cipher"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/transfer"
)

// heldSchema is the release memory of exchanges that send changes: what their
// recipients hold or will hold. A drop that changes or voids a row leaves what
// was held before it: whatever a recipient has answered, it may answer otherwise later.
const heldSchema = `
CREATE TABLE IF NOT EXISTS held (
	id       INTEGER PRIMARY KEY AUTOINCREMENT, -- no id is used again: held_before names it
	exchange TEXT NOT NULL,
	epoch    INTEGER NOT NULL,
	record   BLOB NOT NULL,                  -- keyed hash of dataset and record id
	line     INTEGER NOT NULL,               -- which of the record's rows, from 0
	key      TEXT NOT NULL,                  -- the row key
	content  BLOB NOT NULL,                  -- keyed hash of what was sent
	number   INTEGER NOT NULL,               -- the drop that sent it last
	basis    BLOB NOT NULL,                  -- keyed hash of what is sealed
	sealed   BLOB NOT NULL,                  -- what is needed to judge it again
	UNIQUE (exchange, epoch, record, line)
) STRICT;
CREATE TABLE IF NOT EXISTS held_before (
	by       INTEGER NOT NULL,               -- the drop that changed or voided it
	id       INTEGER NOT NULL,
	exchange TEXT NOT NULL,
	epoch    INTEGER NOT NULL,
	record   BLOB NOT NULL,
	line     INTEGER NOT NULL,
	key      TEXT NOT NULL,
	content  BLOB NOT NULL,
	number   INTEGER NOT NULL,
	basis    BLOB NOT NULL,
	sealed   BLOB NOT NULL,
	PRIMARY KEY (exchange, by, id)
) STRICT, WITHOUT ROWID;
`

const heldColumns = `id, exchange, epoch, record, line, key, content, number, basis, sealed`

// Held looks up the rows of records that are held.
func (m *memory) Held(ctx context.Context, records [][16]byte, take func(build.Held)) error {
	asked := make([]any, 0, len(records))
	for i := range records {
		asked = append(asked, records[i][:])
	}
	return m.heldAmong(ctx, `key, content, basis, x''`, `exchange = ? AND epoch = ? AND record`, []any{m.x.name, m.seen.id}, asked, take)
}

// HeldWhole looks rows up by their ids.
func (m *memory) HeldWhole(ctx context.Context, ids []int64, take func(build.Held)) error {
	asked := make([]any, 0, len(ids))
	for _, id := range ids {
		asked = append(asked, id)
	}
	return m.heldAmong(ctx, `key, content, basis, sealed`, `id`, nil, asked, take)
}

func (m *memory) heldAmong(ctx context.Context, what, where string, of, among []any, take func(build.Held)) error {
	for some := range slices.Chunk(among, askedTogether) {
		asked := append(append(of[:len(of):len(of)], some...), make([]any, askedTogether-len(some))...)
		if err := m.readHeld(ctx, take, what, where+amongAsked, asked...); err != nil {
			return err
		}
	}
	return nil
}

// heldTogether is how many rows HeldAfter gives at once.
const heldTogether = 4096

// HeldAfter gives the next rows in the order of epoch, record and line.
func (m *memory) HeldAfter(ctx context.Context, last build.Held, older bool) (some []build.Held, err error) {
	text, of := `epoch = ? AND (record, line) > (?, ?) ORDER BY record, line`, []any{m.x.name, m.seen.id}
	if older {
		text, of = `epoch <> ? AND (epoch, record, line) > (?, ?, ?) ORDER BY epoch, record, line`, append(of, last.Epoch)
	}
	record := last.Record[:]
	if last.ID == 0 {
		record = []byte{}
	}
	err = m.readHeld(ctx, func(h build.Held) { some = append(some, h) }, `'', x'', x'', x''`,
		`exchange = ? AND `+text+` LIMIT ?`, append(of, record, last.Line, heldTogether)...)
	return some, err
}

func (m *memory) readHeld(ctx context.Context, take func(build.Held), what, where string, of ...any) error {
	var h build.Held
	var record, content, basis sql.RawBytes
	var sealed []byte
	err := each(ctx, m.agent.db, row{&h.ID, &h.Epoch, &record, &h.Line, &h.Key, &content, &basis, &sealed}, func() error {
		if len(record) != 16 || len(content)%16 != 0 || len(basis)%16 != 0 {
			return fail(Altered, nil, "restore the state from its backup", "the release memory of %s holds an entry of the wrong length", m.x.name)
		}
		copy(h.Record[:], record)
		copy(h.Content[:], content)
		copy(h.Basis[:], basis)
		h.Sealed = sealed
		take(h)
		return nil
	}, `SELECT id, epoch, record, line, `+what+` FROM held WHERE `+where, of...)
	if err != nil {
		return fmt.Errorf("release memory: %w", err)
	}
	return nil
}

// heldKey seals what is kept of rows in one epoch.
func heldKey(secret keyring.Secret) (cipher.AEAD, error) {
	key := secret.Key("held facts")
	return chacha20poly1305.NewX(key[:])
}

func (m *memory) heldKeyOf(ctx context.Context, epoch int64) (cipher.AEAD, error) {
	if aead, known := m.heldKeys[epoch]; known {
		return aead, nil
	}
	secret := m.epoch.Secret
	if epoch != m.seen.id {
		var number int64
		if err := m.agent.db.QueryRowContext(ctx, `SELECT number FROM epoch WHERE id = ?`, epoch).Scan(&number); err != nil {
			return nil, fmt.Errorf("release memory: %w", err)
		}
		before, err := m.agent.epochSecret(ctx, m.x.family(), number)
		if err != nil {
			return nil, err
		}
		secret = before.Secret
	}
	aead, err := heldKey(secret)
	if err == nil {
		if m.heldKeys == nil {
			m.heldKeys = map[int64]cipher.AEAD{}
		}
		m.heldKeys[epoch] = aead
	}
	return aead, err
}

// OpenHeld opens what is sealed of a row; it belongs to that row alone.
func (m *memory) OpenHeld(ctx context.Context, h *build.Held) ([]byte, error) {
	aead, err := m.heldKeyOf(ctx, h.Epoch)
	if err != nil {
		return nil, err
	}
	err = errors.New("it is cut short")
	if n := aead.NonceSize(); len(h.Sealed) > n {
		var plain []byte
		if plain, err = aead.Open(nil, h.Sealed[:n], h.Sealed[n:], h.Record[:]); err == nil {
			return plain, nil
		}
	}
	return nil, fail(Altered, err, "restore the state from its backup", "an entry of the release memory of %s cannot be opened", m.x.name)
}

// storeHeld keeps, within the commit, what the drop makes of the recipient's rows.
func (m *memory) storeHeld(ctx context.Context, tx *sql.Tx, built *build.Run, epoch int64) error {
	if m.x.policy.Output.Mode != "delta" {
		return nil
	}
	aead, err := heldKey(m.epoch.Secret)
	if err != nil {
		return err
	}
	s := heldStore{ctx: ctx, number: built.Number, exchange: m.x.name, epoch: epoch, aead: aead}
	defer s.close()
	if err = s.prepare(tx); err == nil {
		err = built.NewHeld(s.keep)
	}
	if err != nil {
		return fmt.Errorf("release memory: %w", err)
	}
	return nil
}

// heldStore carries out what a drop does to the release memory.
type heldStore struct {
	ctx                                   context.Context
	exchange                              string
	number, epoch                         int64
	aead                                  cipher.AEAD
	insert, save, update, refresh, remove *sql.Stmt
}

func (s *heldStore) prepare(tx *sql.Tx) (err error) {
	for into, text := range map[**sql.Stmt]string{
		&s.insert:  `INSERT INTO held (exchange, epoch, record, line, key, content, number, basis, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&s.save:    `INSERT INTO held_before (by, ` + heldColumns + `) SELECT ?, ` + heldColumns + ` FROM held WHERE id = ?`,
		&s.update:  `UPDATE held SET content = ?, number = ?, basis = ?, sealed = ? WHERE id = ?`,
		&s.refresh: `UPDATE held SET basis = ?, sealed = ? WHERE id = ?`,
		&s.remove:  `DELETE FROM held WHERE id = ?`,
	} {
		if *into, err = tx.PrepareContext(s.ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *heldStore) close() {
	for _, statement := range []*sql.Stmt{s.insert, s.save, s.update, s.refresh, s.remove} {
		if statement != nil {
			_ = statement.Close()
		}
	}
}

func (s *heldStore) keep(k *build.Kept) error {
	if k.Action == transfer.Change || k.Action == transfer.Void {
		if _, err := s.save.ExecContext(s.ctx, s.number, k.ID); err != nil {
			return err
		}
	}
	var err error
	switch k.Action {
	case transfer.Add:
		_, err = s.insert.ExecContext(s.ctx, s.exchange, s.epoch, k.Record[:], k.Line, k.Key, k.Content[:], s.number, k.Basis[:], s.seal(k))
	case transfer.Change:
		_, err = s.update.ExecContext(s.ctx, k.Content[:], s.number, k.Basis[:], s.seal(k), k.ID)
	case build.Refresh:
		_, err = s.refresh.ExecContext(s.ctx, k.Basis[:], s.seal(k), k.ID)
	case transfer.Void:
		_, err = s.remove.ExecContext(s.ctx, k.ID)
	}
	return err
}

func (s *heldStore) seal(k *build.Kept) []byte {
	box := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(k.Facts)+s.aead.Overhead())
	_, _ = rand.Read(box) // never fails (crypto/rand)
	return s.aead.Seal(box, box, k.Facts, k.Record[:])
}

// forget undoes what a drop did to the release memory: the recipient never had it.
// Row keys and codes stay. A run that has begun commits nothing.
func forget(ctx context.Context, tx *sql.Tx, exchange string, number int64) error {
	return forgetRows(ctx, tx, exchange, number, ``)
}

// unhold notes within a transaction that the recipient did not take rows of a drop,
// by their keys: what the drop added is not held, and the next run adds it again;
// what it changed or voided is held as before, and the next run changes or voids it
// again. A key that the drop does not have means nothing. It tells how many it
// had. It is for exchanges that send changes: any other sends every row in every drop.
func unhold(ctx context.Context, tx *sql.Tx, exchange string, number int64, keys []string) (n int64, err error) {
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		asked[key] = true
	}
	var ids []int64
	var id int64
	var key string
	if err := each(ctx, tx, row{&id, &key}, func() error {
		if asked[key] {
			ids = append(ids, id)
		}
		return nil
	}, `SELECT id, key FROM held WHERE exchange = ?1 AND number = ?2 UNION
		SELECT id, key FROM held_before WHERE exchange = ?1 AND (by = ?2 OR number = ?2)`, exchange, number); err != nil {
		return 0, err
	}
	text, err := json.Marshal(ids)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	return int64(len(ids)), forgetRows(ctx, tx, exchange, number, ` AND id IN (SELECT value FROM json_each('`+string(text)+`'))`)
}

// deleted notes within a transaction that the recipient deletes rows of the given
// keys, or without any those that a drop sent last: whatever was held of them before,
// they are not held. What the drop had made void stays void.
func deleted(ctx context.Context, tx *sql.Tx, exchange string, number int64, keys []string) error {
	held, before, of := `number = ?2`, `by = ?2`, any(number)
	if len(keys) > 0 {
		text, err := json.Marshal(keys)
		if err != nil {
			return err
		}
		held, of = `key IN (SELECT value FROM json_each(?2))`, string(text)
		before = held
	}
	for _, q := range []string{
		`DELETE FROM held WHERE exchange = ?1 AND ` + held,
		`DELETE FROM held_before WHERE exchange = ?1 AND ` + before,
	} {
		if _, err := tx.ExecContext(ctx, q, exchange, of); err != nil {
			return fmt.Errorf("release memory: %w", err)
		}
	}
	return moveMemory(ctx, tx, exchange)
}

// moveMemory tells runs that have begun that the memory is another now.
func moveMemory(ctx context.Context, tx *sql.Tx, exchange string) error {
	_, err := tx.ExecContext(ctx, `UPDATE exchange SET memory = memory + 1 WHERE name = ?`, exchange)
	return err
}

// forgetRows takes a drop out of the history of rows. What a later drop keeps as
// having stood before it becomes what stood before this one, or nothing.
func forgetRows(ctx context.Context, tx *sql.Tx, exchange string, number int64, which string) error {
	const columns = `key, content, number, basis, sealed`
	for _, q := range []string{
		`UPDATE held_before AS later SET (` + columns + `) = (SELECT ` + columns + ` FROM held_before AS b WHERE b.exchange = ?1 AND b.by = ?2 AND b.id = later.id)
			WHERE exchange = ?1 AND number = ?2 AND EXISTS (SELECT 1 FROM held_before AS b WHERE b.exchange = ?1 AND b.by = ?2 AND b.id = later.id)` + which,
		`DELETE FROM held_before WHERE exchange = ?1 AND number = ?2` + which,
		`DELETE FROM held WHERE exchange = ?1 AND number = ?2` + which,
		`INSERT OR IGNORE INTO held (` + heldColumns + `) SELECT ` + heldColumns + ` FROM held_before AS b WHERE exchange = ?1 AND by = ?2
			AND NOT EXISTS (SELECT 1 FROM held_before AS later WHERE later.exchange = ?1 AND later.by > ?2 AND later.id = b.id)` + which,
		`DELETE FROM held_before WHERE exchange = ?1 AND by = ?2` + which,
	} {
		if _, err := tx.ExecContext(ctx, q, exchange, number); err != nil {
			return fmt.Errorf("release memory: %w", err)
		}
	}
	return moveMemory(ctx, tx, exchange)
}
