package ledger

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"golang.org/x/mod/sumdb/tlog"
)

// tree computes hashes anew from entries alone, without what is stored. At
// each level it keeps the last complete node, which is all that is needed to
// go on or to tell the root.
type tree struct {
	size int64
	last []Hash
}

func (t *tree) read(indexes []int64) ([]Hash, error) {
	hashes := make([]Hash, len(indexes))
	for i, index := range indexes {
		level, _ := tlog.SplitStoredHashIndex(index)
		if level >= len(t.last) {
			return nil, fmt.Errorf("no node of level %d yet", level)
		}
		hashes[i] = t.last[level]
	}
	return hashes, nil
}

// add gives the hashes that appending the entry stores.
func (t *tree) add(text []byte) ([]Hash, error) {
	hashes, err := tlog.StoredHashes(t.size, text, tlog.HashReaderFunc(t.read))
	if err != nil {
		return nil, err
	}
	for level, hash := range hashes {
		if level == len(t.last) {
			t.last = append(t.last, hash)
		}
		t.last[level] = hash
	}
	t.size++
	return hashes, nil
}

func (t *tree) root() (Hash, error) { return tlog.TreeHash(t.size, tlog.HashReaderFunc(t.read)) }

// Verify computes every hash anew and compares it with what is stored. Trees
// that were seen before, as signed checkpoints and receipts have them, must
// each be how the ledger begins. It gives an *AlteredError for the first
// entry that is altered, missing or out of its place.
func Verify(ctx context.Context, db DB, seen ...Tree) error {
	if err := verify(ctx, db, seen); err != nil {
		return fmt.Errorf("verify the ledger: %w", err)
	}
	return nil
}

func verify(ctx context.Context, db DB, seen []Tree) error {
	entries := cursor{db: db, query: `SELECT idx, event FROM ledger_entry WHERE idx >= $1 ORDER BY idx LIMIT 256`, from: math.MinInt64}
	hashes := cursor{db: db, query: `SELECT idx, hash FROM ledger_hash WHERE idx >= $1 ORDER BY idx LIMIT 512`, from: math.MinInt64}
	var t tree
	for {
		if err := compare(&t, seen); err != nil {
			return err
		}
		entry, found, err := entries.next(ctx)
		if err != nil {
			return err
		}
		if !found {
			break
		}
		if entry.index != t.size {
			return &AlteredError{min(t.size, max(entry.index, 0)), "the entry is missing"}
		}
		if err := verifyEntry(ctx, &t, entry, &hashes); err != nil {
			return err
		}
	}
	if _, found, err := hashes.next(ctx); err != nil || found {
		return errors.Join(err, &AlteredError{t.size, "the entry is missing, its hash is there"})
	}
	for _, s := range seen {
		if s.Size > t.size {
			return &AlteredError{t.size, fmt.Sprintf("the ledger had %d entries before", s.Size)}
		}
	}
	return nil
}

func verifyEntry(ctx context.Context, t *tree, entry row, stored *cursor) error {
	first := tlog.StoredHashIndex(0, entry.index)
	computed, err := t.add(entry.data)
	if err != nil {
		return err
	}
	for i, hash := range computed {
		r, found, err := stored.next(ctx)
		if err != nil {
			return err
		}
		if !found || r.index != first+int64(i) || !bytes.Equal(r.data, hash[:]) {
			return &AlteredError{entry.index, "entry and stored hash differ"}
		}
	}
	return nil
}

func compare(t *tree, seen []Tree) error {
	for _, s := range seen {
		if s.Size != t.size {
			continue
		}
		root, err := t.root()
		if err != nil {
			return err
		}
		if root != s.Root {
			return &AlteredError{max(0, s.Size-1), "this entry or one before it is not what a checkpoint was signed for"}
		}
	}
	return nil
}

// exportLine is one line of the text form; the last line is an exportHead.
type exportLine struct {
	Index int64           `json:"index"`
	Leaf  Hash            `json:"leaf"`
	Event json.RawMessage `json:"event"`
}

type exportHead struct {
	Size int64 `json:"size"`
	Root Hash  `json:"root"`
}

// Export writes the ledger as text: a line of JSON for each entry with its
// index, leaf hash and event, and a last line with size and root. The event's
// bytes are those that were hashed.
func Export(ctx context.Context, db DB, w io.Writer) error {
	var t tree
	for entry, err := range Entries(ctx, db, 0) {
		if err != nil {
			return fmt.Errorf("export the ledger: %w", err)
		}
		if _, err := t.add(entry.Text); err != nil {
			return fmt.Errorf("export the ledger: %w", err)
		}
		if err := writeLine(w, exportLine{entry.Index, entry.Leaf, entry.Text}); err != nil {
			return fmt.Errorf("export the ledger: entry %d: %w", entry.Index, err)
		}
	}
	root, err := t.root()
	if err == nil {
		err = writeLine(w, exportHead{t.size, root})
	}
	if err != nil {
		return fmt.Errorf("export the ledger: %w", err)
	}
	return nil
}

func writeLine(w io.Writer, line any) error {
	text, err := encodeJSON(line)
	if err != nil {
		return err
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// VerifyExport reads what Export wrote, computes every hash anew, and gives
// the tree, to be held against a signed checkpoint. It gives an *AlteredError
// for the first line that is not as Export writes it.
func VerifyExport(r io.Reader) (Tree, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 2*maxEvent)
	var t tree
	var text []byte
	for in.Scan() {
		if text != nil {
			if err := t.addLine(text); err != nil {
				return Tree{}, fmt.Errorf("verify the ledger's export: %w", err)
			}
		}
		text = append(text[:0:0], in.Bytes()...)
	}
	if err := in.Err(); err != nil {
		return Tree{}, fmt.Errorf("verify the ledger's export: after line %d: %w", t.size, err)
	}
	root, err := t.root()
	if err != nil {
		return Tree{}, fmt.Errorf("verify the ledger's export: %w", err)
	}
	want, err := encodeJSON(exportHead{t.size, root})
	if err != nil || !bytes.Equal(text, want) {
		return Tree{}, fmt.Errorf("verify the ledger's export: %w", &AlteredError{t.size, "the last line with size and root is missing or differs"})
	}
	return Tree{t.size, root}, nil
}

// addLine accepts a line only in the one form that Export gives it, so that
// nothing beside the hashed bytes can say something else.
func (t *tree) addLine(text []byte) error {
	var line exportLine
	index := t.size
	if err := json.Unmarshal(text, &line); err != nil {
		return &AlteredError{index, "its line cannot be read"}
	}
	hashes, err := t.add(line.Event)
	if err != nil {
		return err
	}
	want, err := encodeJSON(exportLine{index, hashes[0], line.Event})
	if err != nil || !bytes.Equal(text, want) {
		return &AlteredError{index, "its line differs from what its hash says"}
	}
	return nil
}
