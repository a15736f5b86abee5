package agent

import (
	"cmp"
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

// heldSchema is the release memory of exchanges that send changes: what each drop
// told of each row. The last word on a row is what its recipient holds or will
// hold. All are kept: whatever a recipient has answered, it may answer otherwise later.
const heldSchema = `
CREATE TABLE IF NOT EXISTS told (
	id       INTEGER PRIMARY KEY,
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- of the drop
	epoch    INTEGER NOT NULL,
	record   BLOB NOT NULL,                  -- keyed hash of dataset and record id
	line     INTEGER NOT NULL,               -- which of the record's rows, from 0
	key      TEXT NOT NULL,                  -- the row key
	void     INTEGER NOT NULL,               -- 1: that the row is void; then the others are empty
	content  BLOB NOT NULL,                  -- keyed hash of what was sent
	basis    BLOB NOT NULL,                  -- keyed hash of what is sealed
	sealed   BLOB NOT NULL,                  -- what is needed to judge it again
	again    TEXT NOT NULL DEFAULT '',       -- the action by which it is told anew: what the recipient made of it is uncertain
	owed     TEXT NOT NULL DEFAULT '',       -- what it was told next, change or void, where that does not count as taken
	UNIQUE (exchange, epoch, record, line, number, void)
) STRICT;
CREATE INDEX IF NOT EXISTS told_drop ON told (exchange, number);
CREATE VIEW IF NOT EXISTS held AS SELECT id, exchange, number, epoch, record, line, key, content, basis, sealed, again, owed FROM told AS t
	WHERE void = 0 AND NOT EXISTS (SELECT 1 FROM told AS later WHERE later.exchange = t.exchange AND later.epoch = t.epoch
		AND later.record = t.record AND later.line = t.line AND later.number > t.number);
`

// Held looks up the rows of records that are held.
func (m *memory) Held(ctx context.Context, records [][16]byte, take func(build.Held)) error {
	asked := make([]any, 0, len(records))
	for i := range records {
		asked = append(asked, records[i][:])
	}
	return m.heldAmong(ctx, `key, again, owed, content, basis, x''`, `exchange = ? AND epoch = ? AND record`, []any{m.x.name, m.seen.id}, asked, take)
}

// HeldWhole looks rows up by their ids.
func (m *memory) HeldWhole(ctx context.Context, ids []int64, take func(build.Held)) error {
	asked := make([]any, 0, len(ids))
	for _, id := range ids {
		asked = append(asked, id)
	}
	return m.heldAmong(ctx, `key, again, owed, content, basis, sealed`, `id`, nil, asked, take)
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
	err = m.readHeld(ctx, func(h build.Held) { some = append(some, h) }, `'', '', '', x'', x'', x''`,
		`exchange = ? AND `+text+` LIMIT ?`, append(of, record, last.Line, heldTogether)...)
	return some, err
}

func (m *memory) readHeld(ctx context.Context, take func(build.Held), what, where string, of ...any) error {
	var h build.Held
	var record, content, basis sql.RawBytes
	var sealed []byte
	err := each(ctx, m.agent.db, row{&h.ID, &h.Epoch, &record, &h.Line, &h.Key, &h.Again, &h.Owed, &content, &basis, &sealed}, func() error {
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

// heldStore keeps what a drop tells.
type heldStore struct {
	ctx           context.Context
	exchange      string
	number, epoch int64
	aead          cipher.AEAD
	put, refresh  *sql.Stmt
}

func (s *heldStore) prepare(tx *sql.Tx) (err error) {
	if s.put, err = tx.PrepareContext(s.ctx, `INSERT INTO told (exchange, number, epoch, record, line, key, void, content, basis, sealed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`); err == nil {
		s.refresh, err = tx.PrepareContext(s.ctx, `UPDATE told SET basis = ?, sealed = ?, owed = '' WHERE id = ?`)
	}
	return err
}

func (s *heldStore) close() {
	for _, statement := range []*sql.Stmt{s.put, s.refresh} {
		if statement != nil {
			_ = statement.Close()
		}
	}
}

func (s *heldStore) keep(k *build.Kept) (err error) {
	content, basis, sealed := []byte{}, []byte{}, []byte{}
	if k.Action != transfer.Void {
		content, basis, sealed = k.Content[:], k.Basis[:], s.seal(k)
	}
	if k.Action == build.Refresh {
		_, err = s.refresh.ExecContext(s.ctx, basis, sealed, k.ID)
	} else {
		_, err = s.put.ExecContext(s.ctx, s.exchange, s.number, cmp.Or(k.Epoch, s.epoch), k.Record[:], k.Line, k.Key, k.Action == transfer.Void, content, basis, sealed)
	}
	return err
}

func (s *heldStore) seal(k *build.Kept) []byte {
	box := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+len(k.Facts)+s.aead.Overhead())
	_, _ = rand.Read(box) // never fails (crypto/rand)
	return s.aead.Seal(box, box, k.Facts, k.Record[:])
}

// forget takes a drop out of the release memory: the recipient never had it.
// Row keys and codes stay. A run that has begun commits nothing.
func forget(ctx context.Context, tx *sql.Tx, exchange string, number int64) error {
	_, err := untell(ctx, tx, exchange, number, nil)
	return errors.Join(err, moveMemory(ctx, tx, exchange))
}

const (
	// ofSome are words of one drop, of all its rows or of some keys.
	ofSome = `exchange = ?1 AND number = ?2 AND (?3 IS NULL OR key IN (SELECT value FROM json_each(?3)))`
	// owing are words before these: what these said of their rows is still to be told.
	// The plus keeps SQLite from going through all that was ever told.
	owing = `UPDATE told AS t SET owed = gone.action FROM (SELECT epoch, record, line, iif(void, 'void', 'change') AS action FROM told WHERE ` + ofSome + `) AS gone
		WHERE t.exchange = ?1 AND +t.number < ?2 AND t.epoch = gone.epoch AND t.record = gone.record AND t.line = gone.line`
	// doubtful are words from a number on about what these were about. What is not
	// there, as far as is known, is added anew, since a recipient may have passed over
	// a change of it; what is there is changed. It is not known to be there after a void.
	doubtful = `UPDATE told AS t SET again = coalesce((SELECT iif(void OR again = 'add' OR EXISTS (SELECT 1 FROM told AS gone WHERE gone.exchange = t.exchange
				AND gone.epoch = t.epoch AND gone.record = t.record AND gone.line = t.line AND gone.void AND gone.number > ?2 AND gone.number < t.number), 'add', 'change') FROM told AS before
			WHERE before.exchange = t.exchange AND before.epoch = t.epoch AND before.record = t.record AND before.line = t.line AND before.number < ?2
			ORDER BY before.number DESC LIMIT 1), 'add')
		WHERE exchange = ?1 AND number >= ?4 AND (epoch, record, line) IN (SELECT epoch, record, line FROM told WHERE ` + ofSome + `)`
)

// unhold notes within a transaction that the recipient did not take rows of a drop,
// by their keys: what the drop added is not held, and the next run adds it again;
// what it changed or voided is held as before, and the next run changes or voids it
// again. What later drops told of these rows may have been taken or not, so the
// next run tells it anew. A key that the drop does not have means nothing. It
// tells how many it had. It is for exchanges that send changes: any other sends
// every row in every drop.
func unhold(ctx context.Context, tx *sql.Tx, exchange string, number int64, keys []string) (int64, error) {
	which, err := json.Marshal(append([]string{}, keys...))
	if err != nil {
		return 0, err
	}
	return untell(ctx, tx, exchange, number, string(which))
}

// untell does so for a JSON list of keys, or for nil of the whole drop.
func untell(ctx context.Context, tx *sql.Tx, exchange string, number int64, which any) (n int64, err error) {
	_, err = tx.ExecContext(ctx, doubtful, exchange, number, which, number+1)
	var result sql.Result
	if err == nil {
		_, err = tx.ExecContext(ctx, owing, exchange, number, which)
	}
	if err == nil {
		result, err = tx.ExecContext(ctx, `DELETE FROM told WHERE `+ofSome, exchange, number, which)
	}
	if err == nil {
		n, err = result.RowsAffected()
	}
	if err != nil {
		return 0, fmt.Errorf("release memory: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	return n, moveMemory(ctx, tx, exchange)
}

// doubt notes within a transaction that a drop that was sent is void. Whatever the
// recipient made of it, and of its being void, the next run tells anew what the
// drop told, and voids anew what it had voided.
func doubt(ctx context.Context, tx *sql.Tx, exchange string, number int64) error {
	const voided = `exchange = ?1 AND number = ?2 AND void`
	for _, q := range []string{
		doubtful,
		owing,
		`UPDATE told SET again = 'add' WHERE exchange = ?1 AND (epoch, record, line) IN (SELECT epoch, record, line FROM told WHERE ` + voided + `)`,
		`DELETE FROM told WHERE ` + voided,
	} {
		if _, err := tx.ExecContext(ctx, q, exchange, number, nil, number); err != nil {
			return fmt.Errorf("release memory: %w", err)
		}
	}
	return moveMemory(ctx, tx, exchange)
}

// deleted notes within a transaction that the recipient deletes rows of the given
// keys, or without any those that a drop sent last: whatever was held of them before,
// they are not held. What the drop had made void stays void.
func deleted(ctx context.Context, tx *sql.Tx, exchange string, number int64, keys []string) error {
	which, of := `number <= ?2 AND (epoch, record, line) IN (SELECT epoch, record, line FROM told WHERE exchange = ?1 AND number = ?2)`, any(number)
	if len(keys) > 0 {
		text, err := json.Marshal(keys)
		if err != nil {
			return err
		}
		which, of = `key IN (SELECT value FROM json_each(?2))`, string(text)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM told WHERE exchange = ?1 AND `+which, exchange, of); err != nil {
		return fmt.Errorf("release memory: %w", err)
	}
	return moveMemory(ctx, tx, exchange)
}

// moveMemory tells runs that have begun that the memory is another now.
func moveMemory(ctx context.Context, tx *sql.Tx, exchange string) error {
	_, err := tx.ExecContext(ctx, `UPDATE exchange SET memory = memory + 1 WHERE name = ?`, exchange)
	return err
}
