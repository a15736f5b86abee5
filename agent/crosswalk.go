package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"database/sql"
	"fmt"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
)

// Secret of one (recipient, purpose, epoch). Everything random in a drop comes
// from it: codes, row keys and shuffles are drawn from a stream keyed by the
// secret, the exchange and the drop's number, in the order in which people and rows are
// released, so the same run from the same state gives the same bytes and
// nothing is derived from a patient (45 CFR 164.514(c)).
type epoch struct {
	name   string
	secret keyring.Secret
	isNew  bool
}

// openEpoch unwraps the secret of an exchange's epoch, or makes a new one that
// the commit will store.
func openEpoch(ctx context.Context, db *sql.DB, master *keyring.Master, name string) (*epoch, error) {
	var wrapped []byte
	err := db.QueryRowContext(ctx, `SELECT wrapped FROM epoch WHERE name = ?`, name).Scan(&wrapped)
	if err == sql.ErrNoRows {
		return &epoch{name: name, secret: keyring.NewSecret(), isNew: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("secret of %s: %w", name, err)
	}
	plain, err := master.Unwrap("epoch/"+name, wrapped)
	if err != nil || len(plain) != len(keyring.Secret{}) {
		return nil, fail(KeyTrouble, err, "restore the master key that this state was made with", "secret of %s cannot be unwrapped", name)
	}
	return &epoch{name: name, secret: keyring.Secret(plain)}, nil
}

func (e *epoch) store(ctx context.Context, tx *sql.Tx, master *keyring.Master) error {
	if !e.isNew {
		return nil
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO epoch (name, wrapped) VALUES (?, ?)`, e.name, master.Wrap("epoch/"+e.name, e.secret[:]))
	return err
}

// stream is what a drop draws its new values of one use from. Drops are
// numbered within their exchange, so it takes both to name one: exchanges that
// share an epoch must never draw alike.
func (e *epoch) stream(use, exchange string, number int64) *keyring.Stream {
	return keyring.NewStream(e.secret, use, exchange, fmt.Sprint(number))
}

// keyed is a keyed hash of an id: 16 bytes to find it again, and as many
// bytes as a code has to hide what is stored under it. Each (epoch, id) has
// its own pad, used for one value only.
func (e *epoch) keyed(domain string, id []byte) (find [16]byte, pad [deid.CodeLen]byte) {
	mac := hmac.New(sha512.New, e.secret[:])
	mac.Write([]byte(domain))
	mac.Write([]byte{0})
	mac.Write(id)
	sum := mac.Sum(nil)
	copy(find[:], sum)
	copy(pad[:], sum[16:])
	return find, pad
}

// crosswalk gives people their codes. What was given in earlier drops is read
// once; what is new waits for the commit.
type crosswalk struct {
	epoch  *epoch
	known  map[[16]byte][deid.CodeLen]byte // sealed
	used   map[[deid.CodeLen]byte]struct{}
	codes  map[consent.Subject][deid.CodeLen]byte // of this run
	added  []addedCode
	stream *keyring.Stream
}

type addedCode struct {
	person [16]byte
	sealed [deid.CodeLen]byte
}

func openCrosswalk(ctx context.Context, db *sql.DB, e *epoch, exchange string, number int64) (*crosswalk, error) {
	c := &crosswalk{
		epoch: e, known: map[[16]byte][deid.CodeLen]byte{},
		used:   map[[deid.CodeLen]byte]struct{}{},
		codes:  map[consent.Subject][deid.CodeLen]byte{},
		stream: e.stream("person-code", exchange, number),
	}
	rows, err := db.QueryContext(ctx, `SELECT person, sealed FROM code WHERE epoch = ?`, e.name)
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
			return nil, fail(Altered, nil, "restore the state from its backup", "crosswalk of %s holds an entry of the wrong length", e.name)
		}
		c.known[[16]byte(person)] = [deid.CodeLen]byte(sealed)
	}
	return c, rows.Err()
}

// code is the person's code: the one of earlier drops, or a new one. New codes
// are drawn in the order in which people are first asked for.
func (c *crosswalk) code(s consent.Subject, id []byte) [deid.CodeLen]byte {
	if code, ok := c.codes[s]; ok {
		return code
	}
	person, pad := c.epoch.keyed("person", id)
	var code [deid.CodeLen]byte
	if sealed, ok := c.known[person]; ok {
		for i := range code {
			code[i] = sealed[i] ^ pad[i]
		}
	} else {
		copy(code[:], c.stream.Code(deid.CodeLen)) // 80 random bits: a repeat among 10^8 people has odds of 10^-8, and is refused at the commit
		var sealed [deid.CodeLen]byte
		for i := range code {
			sealed[i] = code[i] ^ pad[i]
		}
		c.added = append(c.added, addedCode{person, sealed})
	}
	c.codes[s] = code
	return code
}

func (c *crosswalk) store(ctx context.Context, tx *sql.Tx) error {
	insert, err := tx.PrepareContext(ctx, `INSERT INTO code (epoch, person, sealed) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, a := range c.added {
		if _, err := insert.ExecContext(ctx, c.epoch.name, a.person[:], a.sealed[:]); err != nil {
			return fmt.Errorf("crosswalk: %w", err)
		}
	}
	return nil
}

// rowKeys gives released rows their keys, stable per exchange, for the
// recipient to name a row by. A record without an id gets a new key each time.
type rowKeys struct {
	exchange string
	epoch    *epoch
	find     *sql.Stmt
	added    []addedKey
	stream   *keyring.Stream
}

type addedKey struct {
	record [16]byte
	key    string
}

func openRowKeys(ctx context.Context, db *sql.DB, e *epoch, exchange string, number int64) (*rowKeys, error) {
	find, err := db.PrepareContext(ctx, `SELECT key FROM row_key WHERE exchange = ? AND record = ?`)
	if err != nil {
		return nil, fmt.Errorf("row keys: %w", err)
	}
	return &rowKeys{exchange: exchange, epoch: e, find: find,
		stream: e.stream("row-key", exchange, number)}, nil
}

func (k *rowKeys) key(ctx context.Context, record [16]byte, hasID bool) (string, error) {
	if hasID {
		var key string
		err := k.find.QueryRowContext(ctx, k.exchange, record[:]).Scan(&key)
		if err == nil {
			return key, nil
		}
		if err != sql.ErrNoRows {
			return "", fmt.Errorf("row keys: %w", err)
		}
	}
	key := k.stream.Code(deid.CodeLen)
	if hasID {
		k.added = append(k.added, addedKey{record, key})
	}
	return key, nil
}

func (k *rowKeys) store(ctx context.Context, tx *sql.Tx) error {
	insert, err := tx.PrepareContext(ctx, `INSERT INTO row_key (exchange, record, key) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, a := range k.added {
		if _, err := insert.ExecContext(ctx, k.exchange, a.record[:], a.key); err != nil {
			return fmt.Errorf("row keys: %w", err)
		}
	}
	return nil
}

func (k *rowKeys) close() { _ = k.find.Close() }
