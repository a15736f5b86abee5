package transfer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/posternhealth/postern/internal/durable"
)

const (
	memoryFile   = ".postern-receiver.json"
	memoryFormat = "receiver/v1"
	maxMemory    = 64 << 20
)

// memory is what a receiver knows from earlier drops. It is replaced whole,
// after the plaintext and the receipt are on the disk; a crash in between
// means that the drop is received once more, with the same outcome.
type memory struct {
	Format    string           `json:"format"`
	Exchanges []exchangeMemory `json:"exchanges"`
	Refused   []refusedMemory  `json:"refused"` // drops answered with a rejection
	Recalls   []recallMemory   `json:"recalls"` // those that were believed
}

// exchangeMemory is one sender's exchange; its drops ascend by number.
type exchangeMemory struct {
	Sender   string       `json:"sender"`
	Exchange string       `json:"exchange"`
	Code     string       `json:"code"`
	Drops    []dropMemory `json:"drops"`

	// Public keys, as `type base64`: the one of the allowed signers' file on which
	// those known by introduction rest, the one that signed the last accepted drop,
	// the one that drop introduced, and those that others have followed.
	Root    string   `json:"root"`
	Signer  string   `json:"signer"`
	Next    string   `json:"next"`
	Retired []string `json:"retired"`
}

type dropMemory struct {
	Sequence   int64  `json:"sequence"`
	Manifest   string `json:"manifest"`   // SHA-256; empty for a voided number never seen
	Checkpoint string `json:"checkpoint"` // of the sender's ledger, in its book
	Voided     bool   `json:"voided"`
}

type refusedMemory struct {
	Drop     string `json:"drop"`
	Manifest string `json:"manifest"`
	Class    Class  `json:"class"`
	File     string `json:"file"`
}

// recallMemory is a recall whose signer was believed when it came. It stays
// believed when its key has ended since.
type recallMemory struct {
	Recall  string `json:"recall"`  // SHA-256 of the document
	Deleted bool   `json:"deleted"` // we said that all it names is deleted
}

func loadMemory(dir string) (*memory, error) {
	path := filepath.Join(dir, memoryFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &memory{Format: memoryFormat}, nil
	}
	if err != nil {
		return nil, err
	}
	m := new(memory)
	data, err := os.ReadFile(path)
	if err == nil && info.Size() > maxMemory {
		err = errors.New("it is too long")
	}
	if err == nil {
		err = decode(data, m)
	}
	if err == nil && m.Format != memoryFormat {
		err = fmt.Errorf("format is not %s", memoryFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: restore it from a backup; without it gaps and forks go unnoticed", path, err)
	}
	return m, nil
}

func (m *memory) save(dir string) error {
	data, err := encode(m)
	if err != nil {
		return err
	}
	return durable.ReplaceFile(filepath.Join(dir, memoryFile), data, 0o600)
}

// exchange gives what is known of one, a new entry if nothing is; keep enters
// it, so that a refused drop leaves no trace of a new exchange.
func (m *memory) exchange(sender, exchange string) *exchangeMemory {
	for i := range m.Exchanges {
		if e := &m.Exchanges[i]; e.Sender == sender && e.Exchange == exchange {
			return e
		}
	}
	return &exchangeMemory{Sender: sender, Exchange: exchange}
}

func (m *memory) keep(e *exchangeMemory) {
	if len(m.exchange(e.Sender, e.Exchange).Drops) == 0 {
		m.Exchanges = append(m.Exchanges, *e)
	}
}

// accepted says whether a drop of that name was accepted, whoever sent it.
func (m *memory) accepted(base Base) bool {
	return m.find(base, func(d *dropMemory) bool { return d.Manifest != "" })
}

// has says whether this very manifest was accepted, and is not void.
func (m *memory) has(base Base, sum string) bool {
	return m.find(base, func(d *dropMemory) bool { return d.Manifest == sum && !d.Voided })
}

func (m *memory) find(base Base, is func(*dropMemory) bool) bool {
	return slices.ContainsFunc(m.Exchanges, func(e exchangeMemory) bool {
		d := e.drop(base.Sequence)
		return e.Code == base.Code && e.Exchange == base.Exchange && d != nil && is(d)
	})
}

func (m *memory) owner(code string) string {
	for _, e := range m.Exchanges {
		if e.Code == code {
			return e.Sender
		}
	}
	return ""
}

func (e *exchangeMemory) drop(sequence int64) *dropMemory {
	i, found := slices.BinarySearchFunc(e.Drops, sequence, func(d dropMemory, n int64) int { return cmp.Compare(d.Sequence, n) })
	if !found {
		return nil
	}
	return &e.Drops[i]
}

// judge places a drop in the chain. repeat is true for a drop that was
// accepted before; the error is a *Fault.
func (e *exchangeMemory) judge(m *Manifest, sum string, adopt bool) (repeat bool, err error) {
	file := m.Base().String() + manifestSuffix
	if d := e.drop(m.Sequence); d != nil {
		switch {
		case d.Voided:
			return false, fault(Voided, file, "a later drop voids number %d", m.Sequence)
		case d.Manifest == sum:
			return true, nil
		}
		return false, fault(Fork, file, "another manifest with number %d was accepted before", m.Sequence)
	}
	if len(e.Drops) == 0 && adopt {
		return false, nil
	}
	if missing := e.missing(m); missing > 0 {
		return false, fault(SequenceGap, file, "number %d has not been accepted here, and the drop does not void it", missing)
	}
	if m.Previous != e.last(m.Voids).Manifest {
		return false, fault(Fork, file, "the previous manifest that it names is not the last one accepted here")
	}
	return false, nil
}

// missing gives the first number below the drop's own that is neither known
// nor voided, 0 if there is none.
func (e *exchangeMemory) missing(m *Manifest) int64 {
	next := int64(1)
	if n := len(e.Drops); n > 0 {
		next = e.Drops[n-1].Sequence + 1
	}
	if m.Sequence < next { // below what is known, and not among it
		return m.Sequence
	}
	for _, v := range m.Voids {
		if v == next {
			next++
		}
	}
	if next < m.Sequence {
		return next
	}
	return 0
}

// last is the last number that neither an earlier drop nor this one voids: the
// one that the sender, too, takes for the last one received.
func (e *exchangeMemory) last(voids []int64) dropMemory {
	for _, d := range slices.Backward(e.Drops) {
		if _, voided := slices.BinarySearch(voids, d.Sequence); !voided && !d.Voided {
			return d
		}
	}
	return dropMemory{}
}

// accept enters a drop. It gives the numbers that had been accepted here and
// that the drop voids: their data must be withdrawn by the recipient.
func (e *exchangeMemory) accept(m *Manifest, sum, checkpoint string) (withdrawn []int64) {
	if len(e.Drops) == 0 && m.Previous != "" {
		// An adopted exchange begins at what the first drop names as its past.
		before := m.Sequence - 1
		for i := len(m.Voids) - 1; i >= 0 && m.Voids[i] == before; i-- {
			before--
		}
		e.Drops = append(e.Drops, dropMemory{Sequence: before, Manifest: m.Previous})
	}
	for _, v := range m.Voids {
		if d := e.drop(v); d != nil {
			if !d.Voided && d.Manifest != "" {
				withdrawn = append(withdrawn, v)
			}
			d.Voided = true
			continue
		}
		e.Drops = append(e.Drops, dropMemory{Sequence: v, Voided: true})
		slices.SortFunc(e.Drops, func(a, b dropMemory) int { return cmp.Compare(a.Sequence, b.Sequence) })
	}
	e.Drops = append(e.Drops, dropMemory{Sequence: m.Sequence, Manifest: sum, Checkpoint: checkpoint})
	e.Code = m.Base().Code
	return withdrawn
}

// recall gives what is known of one by the SHA-256 of its document, nil if nothing is.
func (m *memory) recall(digest string) *recallMemory {
	i := slices.IndexFunc(m.Recalls, func(r recallMemory) bool { return r.Recall == digest })
	if i < 0 {
		return nil
	}
	return &m.Recalls[i]
}

func (m *memory) refused(r refusedMemory) bool { return slices.Contains(m.Refused, r) }

func (m *memory) refuse(r refusedMemory) {
	m.forget(r.Drop)
	m.Refused = append(m.Refused, r)
}

func (m *memory) forget(drop string) {
	m.Refused = slices.DeleteFunc(m.Refused, func(r refusedMemory) bool { return r.Drop == drop })
}
