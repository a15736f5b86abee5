package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a hash of the tree; as JSON it is a base64 string.
type Hash = tlog.Hash

// DB is what the ledger needs of a database; *sql.DB and *sql.Tx are one.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Schema makes the ledger's tables. ledger_hash holds the hashes of the
// tree's complete nodes, in the order in which they become complete.
const Schema = `
CREATE TABLE IF NOT EXISTS ledger_entry (idx INTEGER PRIMARY KEY, event BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS ledger_hash (idx INTEGER PRIMARY KEY, hash BLOB NOT NULL);
`

// AlteredError says that what is stored is not what was appended. Index is
// the first entry that is known to be affected.
type AlteredError struct {
	Index int64
	What  string
}

func (e *AlteredError) Error() string {
	return fmt.Sprintf("ledger was altered at entry %d: %s; restore the state from backup and tell the compliance officer", e.Index, e.What)
}

// Append adds an event at the end. The caller's transaction makes it count:
// when that is rolled back, nothing was appended. Of two transactions that
// append at once, the second to write fails.
func Append(ctx context.Context, db DB, event Event) (Entry, error) {
	text, err := event.encode()
	if err != nil {
		return Entry{}, fmt.Errorf("append to the ledger: %w", err)
	}
	index, err := size(ctx, db)
	if err != nil {
		return Entry{}, fmt.Errorf("append to the ledger: %w", err)
	}
	hashes, err := tlog.StoredHashes(index, text, reader(ctx, db))
	if err != nil {
		return Entry{}, fmt.Errorf("append to the ledger: %w", err)
	}
	if _, err := db.ExecContext(ctx, `INSERT INTO ledger_entry (idx, event) VALUES ($1, $2)`, index, text); err != nil {
		return Entry{}, fmt.Errorf("append to the ledger: %w", err)
	}
	first := tlog.StoredHashIndex(0, index)
	for i, hash := range hashes {
		if _, err := db.ExecContext(ctx, `INSERT INTO ledger_hash (idx, hash) VALUES ($1, $2)`, first+int64(i), hash[:]); err != nil {
			return Entry{}, fmt.Errorf("append to the ledger: %w", err)
		}
	}
	return Entry{Index: index, Text: text, Leaf: hashes[0]}, nil
}

// Head gives the number of entries and the hash of the tree over them.
func Head(ctx context.Context, db DB) (entries int64, root Hash, err error) {
	entries, err = size(ctx, db)
	if err == nil {
		root, err = tlog.TreeHash(entries, reader(ctx, db))
	}
	if err != nil {
		return 0, Hash{}, fmt.Errorf("read the ledger's head: %w", err)
	}
	return entries, root, nil
}

// size counts entries by the last index, and holds the hashes' last index
// against it.
func size(ctx context.Context, db DB) (int64, error) {
	var entries, hashes int64
	err := db.QueryRowContext(ctx, `SELECT
		(SELECT COALESCE(MAX(idx) + 1, 0) FROM ledger_entry),
		(SELECT COALESCE(MAX(idx) + 1, 0) FROM ledger_hash)`).Scan(&entries, &hashes)
	if err != nil {
		return 0, err
	}
	if hashes != tlog.StoredHashCount(entries) {
		return 0, &AlteredError{min(entries, entryOfHash(hashes)), "entries and hashes do not belong together"}
	}
	return entries, nil
}

// entryOfHash is the entry whose appending stored the hash.
func entryOfHash(index int64) int64 {
	level, n := tlog.SplitStoredHashIndex(index)
	return (n+1)<<level - 1
}

func reader(ctx context.Context, db DB) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]Hash, error) {
		hashes := make([]Hash, len(indexes))
		for i, index := range indexes {
			var stored []byte
			err := db.QueryRowContext(ctx, `SELECT hash FROM ledger_hash WHERE idx = $1`, index).Scan(&stored)
			if errors.Is(err, sql.ErrNoRows) || err == nil && len(stored) != tlog.HashSize {
				return nil, &AlteredError{entryOfHash(index), "a hash is missing"}
			}
			if err != nil {
				return nil, err
			}
			hashes[i] = Hash(stored)
		}
		return hashes, nil
	})
}

// Entries reads the entries from an index on, in order. It checks that none
// is missing between them; Verify checks them against the hashes.
func Entries(ctx context.Context, db DB, from int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		rows := cursor{db: db, query: `SELECT idx, event FROM ledger_entry WHERE idx >= $1 ORDER BY idx LIMIT 256`, from: from}
		for index := from; ; index++ {
			r, found, err := rows.next(ctx)
			if err == nil && found && r.index != index {
				err = &AlteredError{index, "the entry is missing"}
			}
			if err != nil {
				yield(Entry{}, fmt.Errorf("read the ledger: %w", err))
				return
			}
			if !found || !yield(Entry{Index: index, Text: r.data, Leaf: tlog.RecordHash(r.data)}, nil) {
				return
			}
		}
	}
}

// cursor reads a table by batches, each closed before another query starts:
// a pool of one connection, or a transaction, has room for one at a time.
type cursor struct {
	db    DB
	query string
	from  int64
	batch []row
	done  bool
}

type row struct {
	index int64
	data  []byte
}

func (c *cursor) next(ctx context.Context) (r row, found bool, err error) {
	if len(c.batch) == 0 && !c.done {
		if err := c.fill(ctx); err != nil {
			return row{}, false, err
		}
	}
	if len(c.batch) == 0 {
		return row{}, false, nil
	}
	r, c.batch = c.batch[0], c.batch[1:]
	return r, true, nil
}

func (c *cursor) fill(ctx context.Context) error {
	rows, err := c.db.QueryContext(ctx, c.query, c.from)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.index, &r.data); err != nil {
			return err
		}
		c.batch = append(c.batch, r)
		c.from = r.index + 1
	}
	c.done = len(c.batch) == 0
	return rows.Err()
}
