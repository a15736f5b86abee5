package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite" // the database driver

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
)

// schema is the durable state beside River's own tables and the ledger's.
// Nothing in it is derived from a person except keyed hashes (code, row_key,
// held, closing, revocation), whose keys are wrapped by the clinic's master key.
const schema = `
CREATE TABLE IF NOT EXISTS exchange (
	name        TEXT PRIMARY KEY,
	head        INTEGER NOT NULL DEFAULT 0,  -- number of the newest committed drop
	manifest    TEXT NOT NULL DEFAULT '',    -- SHA-256 of its manifest
	held_by     TEXT NOT NULL DEFAULT '',    -- who put it on hold; empty when it is not
	since       TEXT NOT NULL DEFAULT '',    -- civil time from which its schedule counts
	fence       INTEGER NOT NULL DEFAULT 0,  -- grows with each lease; a commit checks it
	lease_owner TEXT NOT NULL DEFAULT '',
	lease_until INTEGER NOT NULL DEFAULT 0,  -- Unix milliseconds
	memory      INTEGER NOT NULL DEFAULT 0   -- grows when a drop is voided, or rows were not taken; a commit checks it
) STRICT;
CREATE TABLE IF NOT EXISTS delivery (
	exchange  TEXT NOT NULL,
	number    INTEGER NOT NULL,
	state     TEXT NOT NULL,
	dir       TEXT NOT NULL,                 -- relative to the state folder
	manifest  TEXT NOT NULL,
	released  INTEGER NOT NULL,
	people    INTEGER NOT NULL,
	committed INTEGER NOT NULL,              -- Unix milliseconds
	delivered INTEGER NOT NULL DEFAULT 0,    -- Unix milliseconds
	as_of     TEXT NOT NULL,
	ledger    INTEGER NOT NULL,              -- size of the checkpoint in its book
	attempts  INTEGER NOT NULL DEFAULT 0,
	exposed   INTEGER NOT NULL DEFAULT 0,    -- 1 once a payload byte may have left
	evidence  TEXT NOT NULL DEFAULT '',
	note      TEXT NOT NULL DEFAULT '',
	problem   TEXT NOT NULL DEFAULT '',      -- why the last attempt to deliver failed
	source    INTEGER NOT NULL DEFAULT 0,    -- records that the run read
	expect    TEXT NOT NULL,                 -- what the receipt must say
	files     TEXT NOT NULL,                 -- sealed files in the order of upload
	index_key BLOB,                          -- wrapped key of the decision index; gone when delivery ends
	explained INTEGER NOT NULL DEFAULT 0,    -- the number of the manifest that lists it as voided
	arrived   TEXT NOT NULL DEFAULT '[]',    -- files of profile bare that were delivered, so that none is sent twice
	cut_off   TEXT NOT NULL DEFAULT '',      -- civil time by which it was to be there
	PRIMARY KEY (exchange, number)
) STRICT;
CREATE TABLE IF NOT EXISTS file_name (
	recipient TEXT NOT NULL,
	name      TEXT NOT NULL,                 -- of a file of profile bare
	exchange  TEXT NOT NULL,
	number    INTEGER NOT NULL,
	PRIMARY KEY (recipient, name, exchange, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS occurrence (
	exchange TEXT NOT NULL,
	civil    TEXT NOT NULL,                  -- local civil time, 2006-01-02T15:04
	state    TEXT NOT NULL,                  -- due, committed, missed
	number   INTEGER NOT NULL DEFAULT 0,
	reason   TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (exchange, civil)
) STRICT;
CREATE TABLE IF NOT EXISTS master (
	fingerprint TEXT PRIMARY KEY             -- of the key that the state was made with
) STRICT;
CREATE TABLE IF NOT EXISTS epoch (
	id        INTEGER PRIMARY KEY,
	family    TEXT NOT NULL,                 -- recipient/purpose, and the exchange of a de-identified one
	number    INTEGER NOT NULL,              -- from 1; runs draw from the highest
	wrapped   BLOB,                          -- its secret; NULL once destroyed
	form      TEXT NOT NULL DEFAULT '',      -- what of the policy it was used with, see exchange.form
	overlap   INTEGER NOT NULL DEFAULT 0,    -- 1: its drops map codes of the one before
	made      INTEGER NOT NULL,              -- Unix milliseconds
	made_by   TEXT NOT NULL DEFAULT '',      -- empty: the first run that needed it
	because   TEXT NOT NULL DEFAULT '',
	destroyed INTEGER NOT NULL DEFAULT 0,    -- Unix milliseconds
	UNIQUE (family, number)
) STRICT;
CREATE TABLE IF NOT EXISTS drawn (
	id       INTEGER PRIMARY KEY,
	epoch    INTEGER NOT NULL,
	exchange TEXT NOT NULL,                  -- of a drop that drew from the epoch
	number   INTEGER NOT NULL,
	UNIQUE (exchange, number)
) STRICT;
CREATE TABLE IF NOT EXISTS code (
	epoch  INTEGER NOT NULL,
	person BLOB NOT NULL,                    -- keyed hash of the person's id
	sealed BLOB NOT NULL,
	drawn  INTEGER NOT NULL,                 -- the first drop that gave it and was not voided
	PRIMARY KEY (epoch, person)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS row_key (
	epoch    INTEGER NOT NULL,
	exchange TEXT NOT NULL,
	record   BLOB NOT NULL,                  -- keyed hash of dataset and record id
	key      TEXT NOT NULL,
	PRIMARY KEY (epoch, exchange, record)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS input (
	name   TEXT PRIMARY KEY,
	rows   INTEGER NOT NULL,                 -- at the last accepted reading
	sha256 TEXT NOT NULL,
	read   INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS closing (
	input  TEXT NOT NULL,
	entry  BLOB NOT NULL,                    -- keyed hash of what the row denies or restricts
	sealed BLOB NOT NULL,
	PRIMARY KEY (input, entry)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS probe (
	recipient TEXT PRIMARY KEY,
	plan      TEXT NOT NULL                  -- what its server was seen to allow
) STRICT;
`

const databaseName = "postern.db"

// openDatabase opens the state database and brings its tables up to date.
// One connection only: SQLite has one writer, and River's driver wants it so.
func openDatabase(ctx context.Context, stateDir string) (*sql.DB, error) {
	if err := os.MkdirAll(stateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	path := filepath.Join(stateDir, databaseName)
	query := url.Values{}
	query.Add("_pragma", "journal_mode(WAL)")
	query.Add("_pragma", "synchronous(FULL)")
	query.Add("_pragma", "busy_timeout(30000)")
	query.Add("_pragma", "secure_delete(on)")
	query.Set("_txlock", "immediate")
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+query.Encode())
	if err != nil {
		return nil, fmt.Errorf("state database: %w", err)
	}
	db.SetMaxOpenConns(1)
	if err := migrate(ctx, db); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("state database %s: %w", path, err)
	}
	return db, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	migrator, err := rivermigrate.New(riversqlite.New(db), nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	return inTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, schema+heldSchema+approvalSchema+quarantineSchema+recallSchema+revocationSchema+receiptSchema+signingSchema); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, ledger.Schema)
		return err
	})
}

// inTx runs work in one transaction: all of it holds, or nothing. Which of the
// two is unknown when the commit itself fails: the disk may have it all the
// same, and the next start finds it there.
func inTx(ctx context.Context, db *sql.DB, work func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return errors.Join(err, rollback(tx))
	}
	if err := durable.Step("commit", databaseName, tx.Commit); err != nil {
		return errors.Join(err, rollback(tx))
	}
	return nil
}

func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return err
	}
	return nil
}

// leaseTime is how long a run may be silent before another may take over.
const leaseTime = 60 * time.Second

// Lease is the right to build the next drop of an exchange. It is renewed in
// the background; when renewal fails, Context ends and the run with it. The
// commit transaction checks the fence once more, so a run that lost its lease
// unknowingly cannot commit.
type Lease struct {
	Exchange string
	Fence    int64
	Head     int64  // newest committed number when the lease was taken
	Manifest string // SHA-256 of its manifest
	Context  context.Context

	db     *sql.DB
	owner  string
	cancel context.CancelFunc
	done   chan struct{}
}

// instance tells this process from an earlier one with the same number, as in
// a container, where each is number 1.
var instance = rand.Uint64()

// leaseOwner names this process, so that another on the same machine can tell
// whether it still lives and need not wait for the lease to end.
func leaseOwner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Sprintf("process %d on %s instance %x", os.Getpid(), host, instance)
}

// ownerAlive is false only when the owner is certainly gone: a process of this
// machine that no longer exists, or whose number is now ours.
func ownerAlive(owner string) bool {
	var pid int
	var host string
	if _, err := fmt.Sscanf(owner, "process %d on %s", &pid, &host); err != nil {
		return true
	}
	if here, err := os.Hostname(); err != nil || here != host {
		return true
	}
	if pid == os.Getpid() {
		return owner == leaseOwner()
	}
	return processAlive(pid)
}

func processAlive(pid int) bool {
	process, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	return !errors.Is(process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// takeLease gives the lease of an exchange, or a Locked failure when another
// run holds it.
func takeLease(ctx context.Context, db *sql.DB, exchange, owner string, now func() time.Time) (*Lease, error) {
	lease := &Lease{Exchange: exchange, db: db, owner: owner, done: make(chan struct{})}
	err := inTx(ctx, db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO exchange (name) VALUES (?) ON CONFLICT DO NOTHING`, exchange); err != nil {
			return err
		}
		var holder string
		var until int64
		row := tx.QueryRowContext(ctx, `SELECT head, manifest, fence, lease_owner, lease_until FROM exchange WHERE name = ?`, exchange)
		if err := row.Scan(&lease.Head, &lease.Manifest, &lease.Fence, &holder, &until); err != nil {
			return err
		}
		if holder != "" && until > now().UnixMilli() && ownerAlive(holder) {
			return fail(Locked, nil, "wait for it to end; a run that died frees the exchange within a minute",
				"exchange %s is being run by %s", exchange, holder)
		}
		lease.Fence++
		_, err := tx.ExecContext(ctx, `UPDATE exchange SET fence = ?, lease_owner = ?, lease_until = ? WHERE name = ?`,
			lease.Fence, owner, now().Add(leaseTime).UnixMilli(), exchange)
		return err
	})
	if err != nil {
		return nil, err
	}
	lease.Context, lease.cancel = context.WithCancel(ctx)
	go lease.renew(now)
	return lease, nil
}

func (l *Lease) renew(now func() time.Time) {
	defer close(l.done)
	ticker := time.NewTicker(leaseTime / 4)
	defer ticker.Stop()
	for {
		select {
		case <-l.Context.Done():
			return
		case <-ticker.C:
			result, err := l.db.ExecContext(l.Context, `UPDATE exchange SET lease_until = ? WHERE name = ? AND fence = ? AND lease_owner = ?`,
				now().Add(leaseTime).UnixMilli(), l.Exchange, l.Fence, l.owner)
			if err != nil {
				continue // the fence decides at the commit
			}
			if n, err := result.RowsAffected(); err == nil && n == 0 {
				l.cancel()
				return
			}
		}
	}
}

// Release gives the lease back. A lease that is not given back ends by itself.
func (l *Lease) Release() {
	l.cancel()
	<-l.done
	_, _ = l.db.Exec(`UPDATE exchange SET lease_owner = '', lease_until = 0 WHERE name = ? AND fence = ?`, l.Exchange, l.Fence)
}

// holds fails unless the lease is still ours, within the caller's transaction.
func (l *Lease) holds(ctx context.Context, tx *sql.Tx) error {
	var fence int64
	var owner string
	if err := tx.QueryRowContext(ctx, `SELECT fence, lease_owner FROM exchange WHERE name = ?`, l.Exchange).Scan(&fence, &owner); err != nil {
		return err
	}
	if fence != l.Fence || owner != l.owner {
		return fail(Locked, nil, "nothing was committed; run again", "exchange %s was taken over by another run", l.Exchange)
	}
	return nil
}
