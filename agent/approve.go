package agent

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
)

// approvalSchema is what is kept of approvals. Rows are only ever added. A seal
// is made with the master key, so that the right to write into the database is
// not the right to approve.
const approvalSchema = `
CREATE TABLE IF NOT EXISTS confirmed (
	fingerprint TEXT PRIMARY KEY,            -- of an approver's key, compared by hand at init
	seal        BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS approval (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- counts the approvals of the exchange
	closure  TEXT NOT NULL,                  -- SHA-256 of its text
	seal     BLOB NOT NULL,
	UNIQUE (exchange, number)
) STRICT;
CREATE TABLE IF NOT EXISTS signature (
	statement TEXT NOT NULL,
	armored   BLOB NOT NULL,
	taken     INTEGER NOT NULL,              -- Unix milliseconds
	PRIMARY KEY (statement, armored)
) STRICT;
CREATE TABLE IF NOT EXISTS sealed_under (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- of the drop
	closure  TEXT NOT NULL,
	PRIMARY KEY (exchange, number)
) STRICT;
CREATE TABLE IF NOT EXISTS hold (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- counts the holds of the exchange
	since    TEXT NOT NULL,
	PRIMARY KEY (exchange, number)
) STRICT;
`

// Approval is where an exchange stands with its approvers.
type Approval struct {
	Exchange  string   `json:"exchange"`
	Approved  bool     `json:"approved"`
	Number    int64    `json:"number"`              // of the approval that holds, or that is waited for
	Closure   string   `json:"closure_sha256"`      // of what stands in the configuration now
	Statement string   `json:"statement,omitempty"` // the line to sign
	Changes   []Change `json:"changes,omitempty"`   // since the last approval; none of a first one
	Needed    int      `json:"needed,omitempty"`    // how many people must sign
	Why       string   `json:"why,omitempty"`       // so many
	May       []string `json:"may_sign,omitempty"`
	Signed    []string `json:"signed,omitempty"`
	Text      string   `json:"text"` // of the closure

	may []approver
}

// String tells in a few words what is waited for.
func (p *Approval) String() string {
	if p.Approved {
		return "approved"
	}
	text := fmt.Sprintf("awaiting approval: %d of %d", len(p.Signed), p.Needed)
	var parts []string
	for _, c := range p.Changes {
		parts = append(parts, c.Part)
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + " changed)"
	}
	return text
}

// refusal is the failure of an exchange that is not approved as it stands.
func (p *Approval) refusal() error {
	what := fmt.Sprintf("exchange %s was never approved", p.Exchange)
	for i, c := range p.Changes {
		if i == 0 {
			what = fmt.Sprintf("exchange %s is not approved as it stands; since approval %d there changed", p.Exchange, p.Number-1)
		}
		what += "\n  " + c.String()
	}
	if len(p.Changes) > 0 {
		what += "\nnothing leaves"
	}
	return fail(PolicyRefused, nil, "`postern policy approve "+p.Exchange+"` shows what to sign; if postern.yaml was changed, start `postern serve` again",
		"%s; %d of %d approvers have signed", what, len(p.Signed), p.Needed)
}

// approvalRow is one approval that was given.
type approvalRow struct {
	number  int64
	closure string
}

func (r approvalRow) label(exchange string) string {
	return fmt.Sprintf("approval %d of %s", r.number, exchange)
}

// query is a database or a transaction in it.
type query interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// row is where the columns of a row go.
type row []any

// each reads every row that a query finds into the same places and calls take,
// whose first error ends it.
func each(ctx context.Context, db query, into row, take func() error, text string, args ...any) error {
	rows, err := db.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := take(); err != nil {
			return err
		}
	}
	return rows.Err()
}

// lastApproval is the newest approval of an exchange; its number is 0 when it
// was never approved.
func (a *Agent) lastApproval(ctx context.Context, db query, exchange string) (last approvalRow, err error) {
	var seal []byte
	err = db.QueryRowContext(ctx, `SELECT number, closure, seal FROM approval WHERE exchange = ? ORDER BY number DESC LIMIT 1`, exchange).
		Scan(&last.number, &last.closure, &seal)
	if errors.Is(err, sql.ErrNoRows) {
		return last, nil
	}
	if err == nil && !a.opens(last.label(exchange), last.closure, seal) {
		err = fail(Altered, nil, "restore the state from its backup", "approval %d of %s was altered", last.number, exchange)
	}
	return last, err
}

// Approval tells where an exchange stands with its approvers. The exchange is
// loaded as a run would load it.
func (a *Agent) Approval(ctx context.Context, name string) (*Approval, error) {
	x, err := a.loadInForce(name)
	if err != nil {
		return nil, err
	}
	return a.approval(ctx, x)
}

// loadInForce loads an exchange of which every paper is in force: nobody can
// approve what must not run.
func (a *Agent) loadInForce(name string) (*exchange, error) {
	x, err := a.load(name)
	if err != nil {
		return nil, err
	}
	return x, x.lapsed
}

func (a *Agent) approval(ctx context.Context, x *exchange) (*Approval, error) {
	now := a.closure(x)
	last, err := a.lastApproval(ctx, a.db, x.name)
	if err != nil {
		return nil, err
	}
	p := &Approval{Exchange: x.name, Number: last.number, Closure: now.SHA256(), Text: now.Text(), Approved: last.closure == now.SHA256()}
	if p.Approved {
		return p, nil
	}
	p.Number++
	p.Statement = statement(x.name, p.Number, p.Closure, last.closure)
	if last.number == 0 {
		p.Needed, p.Why = enough, "it is the first approval of this exchange"
		p.may, err = a.mayBegin(ctx, now)
	} else {
		err = a.compare(p, x, now, last.closure)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range p.may {
		p.May = append(p.May, m.name)
	}
	return p, a.countSignatures(ctx, a.db, p)
}

// statement is the one line that approvers sign. The number keeps a signature
// from counting again when the same change is made a second time.
func statement(exchange string, number int64, closure, previous string) string {
	if previous == "" {
		previous = "none"
	}
	return fmt.Sprintf("postern-policy %s approval %d closure %s after %s", exchange, number, closure, previous)
}

var statementShape = regexp.MustCompile(`^postern-policy [a-z0-9-]+ (approval [0-9]+ closure [0-9a-f]{64} after (none|[0-9a-f]{64})|release of hold [0-9]+ since [0-9TZ:-]+|exception in run [0-9a-f]{64} for [0-9]+ rows \([0-9a-f]{64}\) by rule "[^\r\n]+" at "[^\r\n]+" of "[^\r\n]+", because "[^\r\n]+")\r?\n?$`)

// countSignatures counts people, not signatures, and believes only what it can
// verify: a row of the database is no signature.
func (a *Agent) countSignatures(ctx context.Context, db query, p *Approval) error {
	p.Signed = nil
	people := map[string]bool{}
	var armored []byte
	return each(ctx, db, row{&armored}, func() error {
		by, err := signedBy(p.Statement, armored, p.may, a.today())
		if err == nil && !people[personOf(by.name)] {
			people[personOf(by.name)] = true
			p.Signed = append(p.Signed, by.name)
		}
		return nil
	}, `SELECT armored FROM signature WHERE statement = ? ORDER BY taken`, p.Statement)
}

func (a *Agent) today() extract.Day { return extract.DayOf(a.Now().In(a.Config.Zone)) }

// Approve takes signatures of an exchange's statement in. All must be good, or
// none is taken. With the last one that is needed the closure is approved, and
// what waited for it goes on.
func (a *Agent) Approve(ctx context.Context, name string, signatures [][]byte) (*Approval, error) {
	x, err := a.loadInForce(name)
	if err != nil {
		return nil, err
	}
	p, err := a.approval(ctx, x)
	if err != nil || p.Approved {
		return p, err
	}
	for _, s := range signatures {
		if _, err := signedBy(p.Statement, s, p.may, a.today()); err != nil {
			return nil, err
		}
	}
	if err := a.keepClosure(a.closure(x)); err != nil {
		return nil, fmt.Errorf("keep what is approved: %w", err)
	}
	return p, inTx(ctx, a.db, func(tx *sql.Tx) error {
		for _, s := range signatures {
			if _, err := tx.ExecContext(ctx, `INSERT INTO signature (statement, armored, taken) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
				p.Statement, s, a.Now().UnixMilli()); err != nil {
				return err
			}
		}
		if err := a.countSignatures(ctx, tx, p); err != nil || len(p.Signed) < p.Needed {
			return err
		}
		return a.conclude(ctx, tx, x, p)
	})
}

// conclude records that enough people have signed.
func (a *Agent) conclude(ctx context.Context, tx *sql.Tx, x *exchange, p *Approval) error {
	row := approvalRow{p.Number, p.Closure}
	last, err := a.lastApproval(ctx, tx, x.name)
	if err != nil {
		return err
	}
	if last.number != p.Number-1 {
		return fail(Locked, nil, "look at it again", "another approval of %s came first", x.name)
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO approval (exchange, number, closure, seal) VALUES (?, ?, ?, ?)`,
		x.name, row.number, row.closure, a.master.Wrap(row.label(x.name), []byte(row.closure))); err != nil {
		return err
	}
	p.Approved = true
	var parts []string
	for _, c := range p.Changes {
		parts = append(parts, c.Part)
	}
	if err := a.record(ctx, tx, ledger.Policy, x, 0, map[string]any{
		"approval": p.Number, "closure_sha256": p.Closure, "after": last.closure, "approved_by": p.Signed, "needed": p.Needed, "changed": parts,
	}); err != nil {
		return err
	}
	return a.wake(ctx, tx, x.name)
}

// wake lets what an exchange could not do while it was stopped be tried again.
func (a *Agent) wake(ctx context.Context, tx *sql.Tx, exchange string) error {
	due, err := queryPairs(ctx, tx, `SELECT exchange, civil FROM occurrence WHERE state = ? AND exchange = ?`, occurrenceDue, exchange)
	if err != nil {
		return err
	}
	client, err := river.NewClient(riversqlite.New(a.db), &river.Config{})
	if err != nil {
		return err
	}
	for _, o := range due {
		if _, err := client.InsertTx(ctx, tx, runJob{o[0], o[1]}, &river.InsertOpts{MaxAttempts: jobAttempts}); err != nil {
			return err
		}
	}
	waiting, err := queryPairs(ctx, tx, `SELECT DISTINCT exchange, '' FROM delivery WHERE state IN (?, ?) AND exchange = ?`, stateSealed, stateUploading, exchange)
	if err != nil || len(waiting) == 0 {
		return err
	}
	return a.enqueueDelivery(ctx, tx, exchange)
}

// mayLeave is the gate: nothing of an exchange leaves while it is on hold, while
// a paper of its policy is not in force, or while it stands on anything that
// was not approved.
func (a *Agent) mayLeave(ctx context.Context, x *exchange) error {
	if err := a.notHeld(ctx, x.name); err != nil {
		return err
	}
	if x.lapsed != nil {
		return x.lapsed
	}
	if err := a.ownsID(ctx, x); err != nil {
		return err
	}
	last, err := a.lastApproval(ctx, a.db, x.name)
	if err != nil || last.closure == a.closure(x).SHA256() {
		return err
	}
	p, err := a.approval(ctx, x)
	if err != nil {
		return err
	}
	return p.refusal()
}

// ownsID keeps a number from being given twice: drops are numbered by the name of
// their exchange, and named to the recipient by its id.
func (a *Agent) ownsID(ctx context.Context, x *exchange) error {
	var other string
	err := a.db.QueryRowContext(ctx, `SELECT exchange FROM delivery WHERE exchange <> ? AND dir LIKE ? || '.%' LIMIT 1`, x.name, x.config.ID).Scan(&other)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return cmp.Or(err, fail(Configuration, nil, "give the exchange its name back, or an id that none has had", "exchange %s has the id %s, under which drops of %s are numbered", x.name, x.config.ID, other))
}

// sealUnder notes in the commit transaction under which closure a drop was
// sealed. It fails when that is no longer the approved one.
func (a *Agent) sealUnder(ctx context.Context, tx *sql.Tx, x *exchange, number int64) error {
	closure := a.closure(x).SHA256()
	last, err := a.lastApproval(ctx, tx, x.name)
	if err != nil {
		return err
	}
	if last.closure != closure {
		return fail(PolicyRefused, nil, "run again", "another approval of %s came while this run was under way; nothing was committed", x.name)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO sealed_under (exchange, number, closure) VALUES (?, ?, ?)`, x.name, number, closure)
	return err
}

const closureFile = "closure.txt"

// keepClosure stores a closure with its files, so that the next one can be
// compared with it and the next approver can see what was approved. The folder
// has the closure's digest as its name; what is there already is the same.
func (a *Agent) keepClosure(c *Closure) error {
	dir := a.approvedDir(c.SHA256())
	if _, err := a.approvedClosure(c.SHA256()); err == nil {
		return nil
	}
	for _, p := range c.files() {
		text, err := os.ReadFile(p.file)
		if err != nil {
			return err
		}
		if hexSum(text) != p.SHA256 {
			return fail(Locked, nil, "do it again", "%s was changed meanwhile", p.file)
		}
		path := filepath.Join(dir, p.kept())
		if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := durable.ReplaceFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return durable.ReplaceFile(filepath.Join(dir, closureFile), []byte(c.Text()), 0o600) // last: with it, all is there
}

// kept is where a file lies below its closure's folder: includes lie to the
// policy as they did, so that it can be loaded again.
func (p Part) kept() string {
	if name, is := strings.CutPrefix(p.Name, includePart); is {
		return filepath.Join("policy", filepath.FromSlash(name))
	}
	if name, is := strings.CutPrefix(p.Name, schemaPart); is {
		return filepath.Join("schemas", hexSum([]byte(name))+".json")
	}
	if name, is := strings.CutPrefix(p.Name, classifierPart); is {
		return filepath.Join("classifier", hexSum([]byte(name))+".yaml")
	}
	return filepath.Join("policy", keptPolicy)
}

// keptPolicy is the name of a kept policy. An include of the same name would
// take its place, and the next change could not be compared: it takes two.
const keptPolicy = "policy.approved.yaml"

// approvedClosure reads an approved closure back.
func (a *Agent) approvedClosure(digest string) (*Closure, error) {
	text, err := os.ReadFile(filepath.Join(a.approvedDir(digest), closureFile))
	if err == nil && hexSum(text) != digest {
		err = errors.New("its text was changed")
	}
	if err != nil {
		return nil, fail(Altered, err, "restore the state from its backup", "approved closure %s", digest)
	}
	return parseClosure(string(text))
}
