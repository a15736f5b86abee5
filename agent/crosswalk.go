package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"database/sql"
	"fmt"
	"strings"

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
// What was given in earlier drops is looked up for many records together; what
// is new waits for the commit in the spill, encrypted.
type rowKeys struct {
	exchange string
	find     *sql.Stmt
	asked    []any
	known    map[[16]byte]string // of the records at hand
	stream   *keyring.Stream
	spill    *spill
	frames   []int
	added    []byte // record and key, one after the other, not yet in the spill
}

const (
	askedTogether = 250
	addedKey      = 16 + deid.CodeLen
	addedFrame    = addedKey << 10
)

func openRowKeys(ctx context.Context, db *sql.DB, e *epoch, exchange string, number int64, s *spill) (*rowKeys, error) {
	find, err := db.PrepareContext(ctx, `SELECT record, key FROM row_key WHERE exchange = ? AND record IN (?`+strings.Repeat(",?", askedTogether-1)+`)`)
	if err != nil {
		return nil, fmt.Errorf("row keys: %w", err)
	}
	return &rowKeys{exchange: exchange, find: find, asked: []any{exchange}, known: map[[16]byte]string{}, spill: s,
		stream: e.stream("row-key", exchange, number)}, nil
}

// lookUp finds the keys that released rows of a batch had in earlier drops.
func (k *rowKeys) lookUp(ctx context.Context, outcomes []outcome) error {
	clear(k.known)
	for i := range outcomes {
		if o := &outcomes[i]; o.part >= 0 && o.hasID {
			k.asked = append(k.asked, o.record[:])
			if len(k.asked) > askedTogether {
				if err := k.ask(ctx); err != nil {
					return err
				}
			}
		}
	}
	if len(k.asked) == 1 {
		return nil
	}
	for len(k.asked) <= askedTogether {
		k.asked = append(k.asked, nil)
	}
	return k.ask(ctx)
}

func (k *rowKeys) ask(ctx context.Context) error {
	rows, err := k.find.QueryContext(ctx, k.asked...)
	k.asked = k.asked[:1]
	if err != nil {
		return fmt.Errorf("row keys: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var record []byte
		var key string
		if err := rows.Scan(&record, &key); err != nil {
			return fmt.Errorf("row keys: %w", err)
		}
		if len(record) == 16 {
			k.known[[16]byte(record)] = key
		}
	}
	return rows.Err()
}

// key is the key of a row, which lookUp was told of.
func (k *rowKeys) key(record [16]byte, hasID bool) (string, error) {
	if key, ok := k.known[record]; ok && hasID {
		return key, nil
	}
	key := k.stream.Code(deid.CodeLen)
	if !hasID {
		return key, nil
	}
	k.added = append(append(k.added, record[:]...), key...)
	if len(k.added) < addedFrame {
		return key, nil
	}
	return key, k.flush()
}

func (k *rowKeys) flush() error {
	frame, err := k.spill.write(k.added)
	k.frames, k.added = append(k.frames, frame), k.added[:0]
	return err
}

func (k *rowKeys) store(ctx context.Context, tx *sql.Tx) error {
	insert, err := tx.PrepareContext(ctx, `INSERT INTO row_key (exchange, record, key) VALUES (?, ?, ?)`)
	if err != nil {
		return err
	}
	defer insert.Close()
	if err := k.flush(); err != nil {
		return err
	}
	for _, frame := range k.frames {
		if k.added, err = k.spill.read(frame, k.added); err != nil {
			return err
		}
		for rest := k.added; len(rest) > 0; rest = rest[addedKey:] {
			if _, err := insert.ExecContext(ctx, k.exchange, rest[:16], string(rest[16:addedKey])); err != nil {
				return fmt.Errorf("row keys: %w", err)
			}
		}
	}
	return nil
}

func (k *rowKeys) close() { _ = k.find.Close() }
