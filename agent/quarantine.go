package agent

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
)

// quarantineSchema is what is kept of drops that the gate stopped. A row is
// there only with its file. An exception is in force when two approvers have
// signed its statement, which is written anew from these columns each time.
const quarantineSchema = `
CREATE TABLE IF NOT EXISTS quarantine (
	id       TEXT PRIMARY KEY,               -- the exchange's id and the beginning of what identifies the run
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- that the drop would have had
	run      TEXT NOT NULL,                  -- SHA-256 of what identifies the run
	closure  TEXT NOT NULL,
	as_of    TEXT NOT NULL,
	seen     TEXT NOT NULL,                  -- of the files that were read: names, sizes, when written
	stopped  INTEGER NOT NULL,               -- Unix milliseconds
	file     TEXT NOT NULL,                  -- in the folder state/quarantine
	sha256   TEXT NOT NULL,                  -- of the file
	rows     INTEGER NOT NULL,
	hits     TEXT NOT NULL                   -- JSON: dataset, position, rule, rows, places_sha256
) STRICT;
CREATE TABLE IF NOT EXISTS exception (
	exchange TEXT NOT NULL,
	run      TEXT NOT NULL,
	dataset  TEXT NOT NULL,
	position TEXT NOT NULL,
	rule     TEXT NOT NULL,
	rows     INTEGER NOT NULL,               -- that were looked at
	places   TEXT NOT NULL,                  -- SHA-256 of where they stand in the extract
	because  TEXT NOT NULL,
	PRIMARY KEY (exchange, run, dataset, position, rule, rows, places, because)
) STRICT;
`

// Quarantine is a drop that the gate stopped. Nothing of it was sent.
type Quarantine struct {
	ID       string        `json:"id"`
	Exchange string        `json:"exchange"`
	Number   int64         `json:"number"` // that the drop would have had
	AsOf     string        `json:"as_of"`
	Stopped  time.Time     `json:"stopped"`
	Run      string        `json:"run_sha256"` // of what identifies the run
	Closure  string        `json:"closure_sha256"`
	File     string        `json:"file"` // the rows, encrypted to the review key
	SHA256   string        `json:"file_sha256"`
	Rows     int64         `json:"rows"`
	Hits     []Questioned  `json:"hits"`
	State    QuarantineNow `json:"state"`

	seen string
}

// QuarantineNow is where a quarantine stands.
type QuarantineNow string

// The states of a quarantine.
const (
	Stopped  QuarantineNow = "stopped"  // people are to look at it
	RunAgain QuarantineNow = "excepted" // all hits are excepted: the next run of the same passes
	Settled  QuarantineNow = "settled"  // a drop of that number was built, or the exchange stands on something else now
)

// Questioned is a hit with what people have said of it.
type Questioned struct {
	build.Hits
	MayBeFalse bool        `json:"may_be_excepted"`
	Exceptions []Exception `json:"exceptions,omitempty"`
}

func (a *Agent) quarantineDir() string { return filepath.Join(a.Config.StateDir(), "quarantine") }

// reviewFile takes the rows that the gate stops, encrypted while they are
// written.
type reviewFile struct {
	*durable.File
	age io.WriteCloser
	sum hash.Hash
}

// openReview begins the file for people to look at; docs/quarantine.md has its form.
func (r *run) openReview() (io.Writer, error) {
	dir := r.agent.quarantineDir()
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file, err := durable.Create(filepath.Join(dir, r.dropDir+".txt.age"), 0o600)
	if err != nil {
		return nil, err
	}
	r.review = &reviewFile{File: file, sum: sha256.New()}
	if r.review.age, err = age.Encrypt(io.MultiWriter(file, r.review.sum), r.agent.review); err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(r.review.age, "postern quarantine/v1\nexchange %s, as of %s\nrun %s\n", r.x.name, r.opt.AsOf, r.identity)
	return r.review.age, err
}

// identify names the run by what it has read: the same exchange on the same
// closure, as of the same day, from the same bytes. What people find about its
// hits holds for it alone.
func (r *run) identify(sources []extract.FileSum) string {
	h := sha256.New()
	fmt.Fprintf(h, "postern run/v1\nexchange %s\nclosure %s\nas of %s\n", r.x.name, r.agent.closure(r.x).SHA256(), r.opt.AsOf)
	for _, s := range sources {
		fmt.Fprintf(h, "source %q %s\n", s.Name, s.SHA256)
	}
	for _, in := range r.inputs {
		fmt.Fprintf(h, "input %q %s\n", in.Name, in.SHA256)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// glance names what a run is about to read, as far as can be told without
// reading it.
func (r *run) glance(files []extract.File) (string, error) {
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	for _, name := range r.inputNames() {
		paths = append(paths, r.agent.Config.Path(r.agent.Config.Inputs[name].File))
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", r.agent.closure(r.x).SHA256(), r.opt.AsOf)
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %d %d\n", path, info.Size(), info.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// quarantined keeps what the gate stopped for people to look at; any other
// outcome of a run it passes on. Until the transaction the file is nothing: the
// next sweep removes it. The same run, stopped once more, takes the place of
// what it left before.
func (r *run) quarantined(ctx context.Context, outcome error) error {
	var stopped *build.Quarantined
	if r.review == nil || !errors.As(outcome, &stopped) {
		return outcome
	}
	if err := errors.Join(r.review.age.Close(), r.review.Commit()); err != nil {
		return errors.Join(outcome, fmt.Errorf("keep what the gate stopped: %w", err))
	}
	hits, err := json.Marshal(stopped.Hits)
	if err != nil {
		return err
	}
	id, sum, closure := r.x.config.ID+"."+r.identity[:12], hex.EncodeToString(r.review.sum.Sum(nil)), r.agent.closure(r.x).SHA256()
	err = inTx(ctx, r.agent.db, func(tx *sql.Tx) error {
		if err := r.lease.holds(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO quarantine (id, exchange, number, run, closure, as_of, seen, stopped, file, sha256, rows, hits)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, r.x.name, r.built.Number, r.identity, closure, r.opt.AsOf.String(), r.seen,
			r.agent.Now().UnixMilli(), filepath.Base(r.review.Path()), sum, stopped.Rows, string(hits)); err != nil {
			return err
		}
		return r.agent.record(ctx, tx, ledger.Quarantined, r.x, r.built.Number, map[string]any{
			"quarantine": id, "run_sha256": r.identity, "closure_sha256": closure, "as_of": r.opt.AsOf.String(),
			"rows": stopped.Rows, "hits": stopped.Hits, "file_sha256": sum,
		})
	})
	if err != nil {
		return errors.Join(outcome, fmt.Errorf("keep what the gate stopped: %w", err))
	}
	return errors.Join(fail(Unbalanced, stopped, "`postern quarantine show "+id+"` says how to look at the rows, and what to do", "exchange %s", r.x.name),
		r.agent.sweepQuarantine(ctx, r.x.config.ID))
}

// sweepQuarantine removes files of an exchange that no row names: a run that
// died left them. The caller holds the exchange's lease.
func (a *Agent) sweepQuarantine(ctx context.Context, exchangeID string) error {
	for _, pattern := range []string{exchangeID + ".*", "." + exchangeID + ".*"} {
		found, err := filepath.Glob(filepath.Join(a.quarantineDir(), pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			var known bool
			if err := a.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM quarantine WHERE file = ?)`, filepath.Base(path)).Scan(&known); err != nil {
				return err
			}
			if !known {
				if err := durable.Remove(path); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Quarantines lists what the gate stopped, of one exchange or, for "", of all,
// the oldest first.
func (a *Agent) Quarantines(ctx context.Context, exchange string) ([]*Quarantine, error) {
	if exchange != "" {
		if _, err := a.Config.Exchange(exchange); err != nil {
			return nil, err
		}
	}
	list := []*Quarantine{}
	rows, err := a.db.QueryContext(ctx, `SELECT id, exchange, number, run, closure, as_of, seen, stopped, file, sha256, rows, hits, head >= number
		FROM quarantine JOIN exchange ON name = exchange WHERE ? IN (exchange, '') ORDER BY quarantine.rowid`, exchange)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		q := &Quarantine{State: Stopped}
		var stopped int64
		var hits string
		var built bool
		if err := rows.Scan(&q.ID, &q.Exchange, &q.Number, &q.Run, &q.Closure, &q.AsOf, &q.seen, &stopped, &q.File, &q.SHA256, &q.Rows, &hits, &built); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(hits), &q.Hits); err != nil {
			return nil, fail(Altered, nil, "restore the state from its backup", "the hits of quarantine %s", q.ID)
		}
		if built {
			q.State = Settled
		}
		q.Stopped, q.File = time.UnixMilli(stopped).UTC(), filepath.Join(a.quarantineDir(), q.File)
		list = append(list, q)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil { // the one connection is needed
		return nil, err
	}
	for _, q := range list {
		may, err := a.mayRelease(ctx, q.Exchange)
		if err == nil {
			err = a.question(ctx, a.db, q, may)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Quarantine finds one by its id.
func (a *Agent) Quarantine(ctx context.Context, id string) (*Quarantine, error) {
	list, err := a.Quarantines(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, q := range list {
		if q.ID == id {
			return q, nil
		}
	}
	return nil, fail(AnsweredNo, nil, "`postern quarantine list` shows them", "there is no quarantine %q", id)
}

// Discard removes what was kept of a drop that the gate stopped. What was
// found in it stays in the ledger.
func (a *Agent) Discard(ctx context.Context, id, by string) error {
	q, err := a.Quarantine(ctx, id)
	if err != nil {
		return err
	}
	x := &exchange{name: q.Exchange} // which the configuration may no longer have
	x.config.ID, _, _ = strings.Cut(q.ID, ".")
	if err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM quarantine WHERE id = ?`, id); err != nil {
			return err
		}
		return a.record(ctx, tx, ledger.Discarded, x, q.Number, map[string]any{"quarantine": id, "by": by, "file_sha256": q.SHA256})
	}); err != nil {
		return err
	}
	return durable.Remove(q.File)
}

// awaits tells whether a run would only meet what the gate has stopped before,
// by files that were not written since, and what people have not yet excepted.
func (a *Agent) awaits(ctx context.Context, name string, asOf extract.Day) (bool, error) {
	list, err := a.Quarantines(ctx, name)
	if err != nil || len(list) == 0 {
		return false, err
	}
	x, err := a.load(name)
	if err != nil {
		return false, err
	}
	files, err := x.source.List(ctx)
	if err != nil {
		return false, err
	}
	seen, err := a.newRun(x, RunOptions{AsOf: asOf}).glance(files)
	for _, q := range list {
		if q.seen == seen && q.State == Stopped {
			return err == nil, err
		}
	}
	return false, err
}
