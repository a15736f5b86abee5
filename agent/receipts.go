package agent

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/transfer"
)

// Reconciled is an answer held against the drop it is about.
type Reconciled struct {
	Exchange    string                `json:"exchange"`
	Number      int64                 `json:"number"`
	Outcome     string                `json:"outcome"` // noted, unfinished: more is to come
	Rows        int64                 `json:"rows"`    // taken; -1: it does not tell
	Fault       string                `json:"fault,omitempty"`
	File        string                `json:"file,omitempty"`
	Differences []transfer.Difference `json:"differences,omitempty"`
}

// Ways in which recipients answer.
const (
	receiptSigned = "signed"
	receiptFile   = "response-file"
	receiptManual = "manual"
	receiptNone   = "none"
)

// fetched tells whether the answers lie in a folder of the recipient's.
func (r ReceiptConfig) fetched() bool { return r.Mode == receiptSigned || r.Mode == receiptFile }

// Reconcile fetches what the recipient answered, matches it to its drops and
// compares. An answer that is not provably the recipient's, or that cannot be
// read, changes no drop and is reported. Silence beyond what is due becomes an
// open difference.
func (a *Agent) Reconcile(ctx context.Context, name string) ([]Reconciled, error) {
	x, err := a.answering(name)
	if err != nil {
		return nil, err
	}
	recalls := errors.Join(a.deliverRecalls(ctx, x), a.notePickedUp(ctx, x))
	if x.recipient.Receipt.Mode == receiptNone {
		return nil, recalls
	}
	dir, release, err := a.openReceipts(ctx, x)
	if err != nil {
		return nil, err
	}
	defer release()
	var done []Reconciled
	if x.recipient.Receipt.fetched() {
		done, err = a.fetchAnswers(ctx, x, dir)
	}
	return done, errors.Join(recalls, err, a.noteSilence(ctx, x))
}

// answering is as much of an exchange as its answers need.
func (a *Agent) answering(name string) (*exchange, error) {
	config, err := a.Config.Exchange(name)
	return &exchange{name: name, config: config, recipient: a.Config.Recipients[config.Recipient]}, err
}

// openReceipts gives the folder of a recipient's answers to one process.
func (a *Agent) openReceipts(ctx context.Context, x *exchange) (dir string, release func(), err error) {
	dir = filepath.Join(a.Config.StateDir(), "receipts", x.config.Recipient)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return "", nil, err
	}
	lease, err := takeLease(ctx, a.db, x.config.Recipient+"/receipts", leaseOwner(), a.Now)
	if err != nil {
		return "", nil, err
	}
	if err := durable.Sweep(dir); err != nil {
		lease.Release()
		return "", nil, err
	}
	return dir, lease.Release, nil
}

func (a *Agent) fetchAnswers(ctx context.Context, x *exchange, dir string) ([]Reconciled, error) {
	destination, err := a.destination(ctx, x.recipient)
	if err != nil {
		return nil, deliveryFailure(ctx, err, x, &pendingDrop{})
	}
	defer destination.Close()
	if x.recipient.Receipt.Mode == receiptFile {
		return a.takeResponses(ctx, x, destination, dir)
	}
	prefix := a.Config.Organization.Code + "." + x.config.ID + "."
	names, err := destination.Receipts(ctx, dir, func(name string) bool {
		return !strings.HasPrefix(name, prefix) || a.settled(ctx, dir, name)
	})
	var failures []error
	var wrong transfer.ReceiptErrors
	if err != nil && !errors.As(err, &wrong) {
		return nil, deliveryFailure(ctx, err, x, &pendingDrop{})
	}
	var done []Reconciled
	for _, e := range wrong {
		base, _ := transfer.ParseBase(strings.Join(strings.SplitN(e.Name, ".", 4)[:3], ".")) // which its name begins with
		done, err = a.unfinished(done, x, base.Sequence, e)
		failures = append(failures, err)
	}
	for _, receipt := range names {
		take := a.takeReceipt
		if transfer.IsRecallReceipt(receipt) {
			take = a.takeRecallReceipt
		}
		r, err := take(ctx, x, filepath.Join(dir, receipt))
		if err != nil {
			failures = append(failures, err)
		} else if r != nil {
			done = append(done, *r)
		}
	}
	return done, errors.Join(failures...)
}

// stillWritten is how long after it was last written a file that ends in the middle
// is left to its writer. A clock that is further off than that is none to wait by.
const stillWritten = 10 * time.Minute

func (a *Agent) isWritten(last time.Time) bool { return a.Now().Sub(last).Abs() < stillWritten }

// unfinished notes a file that may still be written, which waits; any other is a failure.
func (a *Agent) unfinished(done []Reconciled, x *exchange, number int64, e *transfer.ReceiptError) ([]Reconciled, error) {
	if e.Cut && a.isWritten(e.Written) {
		return append(done, Reconciled{Exchange: x.name, Number: number, Outcome: answerUnfinished, Rows: -1, File: e.Name}), nil
	}
	return done, fail(AnsweredNo, e, "all others were taken; have the recipient remove it from its folder of receipts, or write it again", "receipts of %s", x.name)
}

// settled tells whether a receipt of this name has acknowledged its drop. Any
// other answer may be followed by a better one under the same name.
func (a *Agent) settled(ctx context.Context, dir, name string) bool {
	text, err := os.ReadFile(filepath.Join(dir, name))
	return err == nil && a.taken(ctx, text, stateAcknowledged)
}

// taken tells whether this very receipt was compared before; with an outcome,
// whether that came of it.
func (a *Agent) taken(ctx context.Context, text []byte, outcome string) bool {
	var n int
	err := a.db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM receipt WHERE sha256 = ?1 AND ?2 IN ('', status)) + (SELECT count(*) FROM recall WHERE answer = ?1)`,
		hexSum(text), outcome).Scan(&n)
	return err == nil && n > 0
}

// takeReceipt compares one receipt; it gives nil for one that was taken before
// and for one that has to wait.
func (a *Agent) takeReceipt(ctx context.Context, x *exchange, path string) (*Reconciled, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if a.taken(ctx, text, "") {
		return nil, nil
	}
	signature, err := os.ReadFile(path + ".sig")
	if err != nil {
		return nil, fmt.Errorf("receipt %s has no signature beside it: %w", filepath.Base(path), err)
	}
	receipt, err := transfer.ParseReceipt(text)
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", filepath.Base(path), err)
	}
	base := transfer.Base{Code: a.Config.Organization.Code, Exchange: receipt.Exchange, Sequence: receipt.Sequence}
	if receipt.Exchange != x.config.ID || filepath.Base(path) != base.ReceiptName() {
		// Names of files are not signed: what it says is about another drop.
		return nil, fmt.Errorf("receipt %s answers another drop than its name says; it changes nothing, ask the recipient", filepath.Base(path))
	}
	expect, state, err := a.expectation(ctx, x.name, receipt.Sequence)
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", filepath.Base(path), err)
	}
	if state == stateSealed || state == stateUploading {
		return nil, nil // the answer came before we knew that the drop is there; it is taken when its delivery has ended
	}
	signers, err := a.receiptSigners(x)
	if err != nil {
		return nil, err
	}
	compared, err := transfer.Compare(*expect, text, signature, signers, a.Now())
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", filepath.Base(path), err)
	}
	s := &reply{number: receipt.Sequence, rule: receiptSigned, sha256: hexSum(text), text: text, outcome: string(compared.Outcome),
		rows: compared.Rows, refused: compared.Refused, differences: compared.Differences}
	switch {
	case compared.Outcome == transfer.WhollyRejected:
		s.refused = expect.Rows
		s.differ(base.String(), "the drop", "accepted", "rejected: "+string(compared.Fault)+" "+compared.File)
	case compared.Refused > 0:
		s.differ(base.String(), refusedRows, "0", fmt.Sprint(compared.Refused))
	}
	r := s.reconciled(x)
	r.Fault, r.File = string(compared.Fault), compared.File
	return r, inTx(ctx, a.db, func(tx *sql.Tx) error {
		return errors.Join(a.takeReply(ctx, tx, x, s), a.learned(ctx, tx, x, expect, compared.Receipt))
	})
}

func (a *Agent) expectation(ctx context.Context, exchange string, number int64) (*transfer.Expectation, string, error) {
	var text, state string
	err := a.db.QueryRowContext(ctx, `SELECT expect, state FROM delivery WHERE exchange = ? AND number = ?`, exchange, number).Scan(&text, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, "", fmt.Errorf("it answers drop %d, which was never committed", number)
	}
	if err != nil {
		return nil, "", err
	}
	expect := new(transfer.Expectation)
	return expect, state, json.Unmarshal([]byte(text), expect)
}

// receiptSigners trusts the recipient's configured receipt keys, for receipts,
// each to the end of its last day.
func (a *Agent) receiptSigners(x *exchange) (*sshsig.AllowedSigners, error) {
	var lines strings.Builder
	for _, k := range x.recipient.Receipt.Key {
		valid := ""
		if end := k.end(a.Config.Zone); !end.IsZero() {
			valid = fmt.Sprintf(",valid-before=%q", end.Add(-time.Second).UTC().Format("20060102150405Z"))
		}
		fmt.Fprintf(&lines, "%s namespaces=%q%s %s\n", x.config.Recipient, transfer.ReceiptNamespace, valid, strings.TrimSpace(k.Line))
	}
	signers, err := sshsig.ParseAllowedSigners("receipt key of "+x.config.Recipient, []byte(lines.String()))
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "receipt key of %s", x.config.Recipient)
	}
	return signers, nil
}

func hexSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
