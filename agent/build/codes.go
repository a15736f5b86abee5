package build

import (
	"context"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
)

// Epoch is the secret of one (recipient, purpose, epoch). Everything random in
// a drop comes from it: codes, row keys and shuffles are drawn from a stream
// keyed by the secret, the exchange and the drop's number, in the order in
// which people and rows are released, so the same run from the same state gives
// the same bytes and nothing is derived from a patient (45 CFR 164.514(c)).
type Epoch struct {
	Name   string
	Secret keyring.Secret
	Before *Epoch // whose codes the drop maps to those of this one; nil: none are told
}

// stream is what a drop draws its new values of one use from. Drops are
// numbered within their exchange, so it takes both to name one: exchanges that
// share an epoch must never draw alike.
func (e *Epoch) stream(use, exchange string, number int64) *keyring.Stream {
	return keyring.NewStream(e.Secret, use, exchange, fmt.Sprint(number))
}

// keyed is a keyed hash of an id: 16 bytes to find it again, and as many
// bytes as a code has to hide what is stored under it. Each (epoch, id) has
// its own pad, used for one value only.
func (e *Epoch) keyed(domain string, id []byte) (find [16]byte, pad [deid.CodeLen]byte) {
	mac := hmac.New(sha512.New, e.Secret[:])
	mac.Write([]byte(domain))
	mac.Write([]byte{0})
	mac.Write(id)
	sum := mac.Sum(nil)
	copy(find[:], sum)
	copy(pad[:], sum[16:])
	return find, pad
}

// Memory is what earlier drops have given out.
type Memory interface {
	// Codes gives the codes of the epoch by the keyed hash of the person.
	Codes(context.Context) (map[[16]byte]KnownCode, error)
	// CodesBefore puts into known the sealed codes of people in the epoch before
	// this one, as far as the recipient has been sent them.
	CodesBefore(ctx context.Context, people [][16]byte, known map[[16]byte][deid.CodeLen]byte) error
	// RowKeys puts into known the keys that records of the exchange have.
	RowKeys(ctx context.Context, records [][16]byte, known map[[16]byte]string) error
	// Held tells of each row of the records that the recipient holds; without Sealed.
	Held(ctx context.Context, records [][16]byte, take func(Held)) error
	// HeldAfter gives some of what is held, in the order of Place, that of this
	// epoch or that of those before it; without Key, Content and Sealed.
	HeldAfter(ctx context.Context, last Held, older bool) ([]Held, error)
	// HeldWhole tells of rows by their ids.
	HeldWhole(ctx context.Context, ids []int64, take func(Held)) error
	// OpenHeld opens what is sealed of a row.
	OpenHeld(context.Context, *Held) ([]byte, error)
}

// KnownCode is a code that a person has.
type KnownCode struct {
	Sealed [deid.CodeLen]byte
	Unsent bool // the drop that gave it first was voided
}

// NewCode is a code that a run was the first to give a person, to be kept.
type NewCode struct {
	Person [16]byte
	Sealed [deid.CodeLen]byte
}

// NewCodes are the codes that the commit is to keep, as this drop's.
func (r *Run) NewCodes() []NewCode { return r.crosswalk.added }

// crosswalk gives people their codes. What was given in earlier drops is read
// once; what is new waits for the commit.
type crosswalk struct {
	epoch  *Epoch
	known  map[[16]byte]KnownCode
	codes  map[consent.Subject][deid.CodeLen]byte
	added  []NewCode
	stream *keyring.Stream
}

func (r *Run) openCrosswalk(ctx context.Context) (*crosswalk, error) {
	c := &crosswalk{epoch: &r.Epoch, codes: map[consent.Subject][deid.CodeLen]byte{}, stream: r.Epoch.stream("person-code", r.Exchange, r.Number)}
	var err error
	if r.Memory != nil {
		c.known, err = r.Memory.Codes(ctx)
	}
	return c, err
}

// code is the person's code: the one of earlier drops, under whichever id, or a
// new one, of the id that stands. New codes are drawn in the order in which
// people are first asked for.
func (c *crosswalk) code(s consent.Subject, people *consent.People) (code [deid.CodeLen]byte) {
	if code, ok := c.codes[s]; ok {
		return code
	}
	ids := people.IDs(s)
	for _, id := range ids {
		person, pad := c.epoch.keyed("person", id)
		known, ok := c.known[person]
		if !ok {
			continue
		}
		if known.Unsent {
			c.added = append(c.added, NewCode{person, known.Sealed})
		}
		c.codes[s] = flip(known.Sealed, pad)
		return c.codes[s]
	}
	person, pad := c.epoch.keyed("person", ids[0])
	copy(code[:], c.stream.Code(deid.CodeLen)) // 100 random bits: a repeat among 10^8 people has odds of 4 in 10^15
	c.added = append(c.added, NewCode{person, flip(code, pad)})
	c.codes[s] = code
	return code
}

// flip gives the open code of a sealed one, and the other way round.
func flip(code, pad [deid.CodeLen]byte) [deid.CodeLen]byte {
	for i := range code {
		code[i] ^= pad[i]
	}
	return code
}

// rowKeys gives released rows their keys, stable per exchange, for the
// recipient to name a row by. A record without an id gets a new key each time.
// What was given in earlier drops is looked up for many records together; what
// is new waits for the commit in the spill, encrypted.
type rowKeys struct {
	memory Memory
	asked  [][16]byte
	known  map[[16]byte]string // of the records at hand
	stream *keyring.Stream
	spill  *spill
	frames []int
	added  []byte // record and key, one after the other, not yet in the spill
}

const (
	addedKey   = 16 + deid.CodeLen
	addedFrame = addedKey << 10
)

func newRowKeys(memory Memory, stream *keyring.Stream, s *spill) *rowKeys {
	return &rowKeys{memory: memory, stream: stream, spill: s, known: map[[16]byte]string{}}
}

// lookUp finds the keys that released rows of a batch had in earlier drops. Those
// that are held are known.
func (k *rowKeys) lookUp(ctx context.Context, outcomes []outcome, held map[Place]Held) error {
	if k.memory == nil {
		return nil
	}
	clear(k.known)
	k.asked = k.asked[:0]
	for i := range outcomes {
		o := &outcomes[i]
		if o.part < 0 || !o.hasID {
			continue
		}
		for n := range o.keys {
			row := ofRow(o.record, n)
			if h, is := held[Place{o.record, uint32(n)}]; is {
				k.known[row] = h.Key
			} else {
				k.asked = append(k.asked, row)
			}
		}
	}
	return k.memory.RowKeys(ctx, k.asked, k.known)
}

// ofRow stands for the nth row of a record, from 0, as the keyed hash of its id
// does for the record.
func ofRow(record [16]byte, n int) [16]byte {
	binary.LittleEndian.PutUint32(record[:], binary.LittleEndian.Uint32(record[:])^uint32(n))
	return record
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

// NewRowKeys hands over each key that the commit is to keep, with the keyed
// hash of its record.
func (r *Run) NewRowKeys(keep func(record []byte, key string) error) error {
	k := r.rowKeys
	if err := k.flush(); err != nil {
		return err
	}
	for _, frame := range k.frames {
		var err error
		if k.added, err = k.spill.read(frame, k.added); err != nil {
			return err
		}
		for rest := k.added; len(rest) > 0; rest = rest[addedKey:] {
			if err := keep(rest[:16], string(rest[16:addedKey])); err != nil {
				return err
			}
		}
	}
	return nil
}
