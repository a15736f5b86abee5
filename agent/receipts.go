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
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// defaultReceiptDue is how long a recipient may be silent when its
// configuration does not say.
const defaultReceiptDue = 7 * 24 * time.Hour

// DropStatus is where a drop stands.
type DropStatus struct {
	Exchange  string    `json:"exchange"`
	Recipient string    `json:"recipient"`
	Number    int64     `json:"number"`
	State     string    `json:"state"`
	Released  int64     `json:"released"`
	People    int64     `json:"people"`
	AsOf      string    `json:"as_of"`
	Committed time.Time `json:"committed"`
	Attempts  int64     `json:"attempts"`
	Note      string    `json:"note,omitempty"`
	Explained int64     `json:"explained_by,omitempty"` // of a voided drop: the number whose manifest lists it
	Manifest  string    `json:"manifest_sha256"`
}

// Reconciled is a receipt held against the drop it answers.
type Reconciled struct {
	Exchange    string                `json:"exchange"`
	Number      int64                 `json:"number"`
	Outcome     string                `json:"outcome"`
	Rows        int64                 `json:"rows"`
	Fault       string                `json:"fault,omitempty"`
	File        string                `json:"file,omitempty"`
	Differences []transfer.Difference `json:"differences,omitempty"`
}

// Reconcile fetches receipts, matches each to its drop and compares. A receipt
// that is not provably the recipient's changes nothing and is reported.
func (a *Agent) Reconcile(ctx context.Context, name string) ([]Reconciled, error) {
	config, err := a.Config.Exchange(name)
	if err != nil {
		return nil, err
	}
	x := &exchange{name: name, config: config, recipient: a.Config.Recipients[config.Recipient]}
	if x.recipient.Receipt.Mode != "signed" {
		return nil, nil
	}
	dir := filepath.Join(a.Config.StateDir(), "receipts", config.Recipient)
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lease, err := takeLease(ctx, a.db, config.Recipient+"/receipts", leaseOwner(), a.Now)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	if err := durable.Sweep(dir); err != nil {
		return nil, err
	}
	destination, err := a.destination(ctx, x.recipient)
	if err != nil {
		return nil, deliveryFailure(ctx, err, x, &pendingDrop{})
	}
	defer destination.Close()
	prefix := a.Config.Organization.Code + "." + config.ID + "."
	names, err := destination.Receipts(ctx, dir, func(name string) bool {
		return !strings.HasPrefix(name, prefix) || a.settled(ctx, dir, name)
	})
	if err != nil {
		return nil, deliveryFailure(ctx, err, x, &pendingDrop{})
	}
	var done []Reconciled
	var failures []error
	for _, receipt := range names {
		r, err := a.takeReceipt(ctx, x, filepath.Join(dir, receipt))
		if err != nil {
			failures = append(failures, err)
		} else if r != nil {
			done = append(done, *r)
		}
	}
	return done, errors.Join(failures...)
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
	err := a.db.QueryRowContext(ctx, `SELECT count(*) FROM receipt WHERE sha256 = ? AND ? IN ('', status)`, hexSum(text), outcome).Scan(&n)
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
	signers, err := receiptSigners(x)
	if err != nil {
		return nil, err
	}
	compared, err := transfer.Compare(*expect, text, signature, signers, a.Now())
	if err != nil {
		return nil, fmt.Errorf("receipt %s: %w", filepath.Base(path), err)
	}
	r := &Reconciled{Exchange: x.name, Number: receipt.Sequence, Outcome: string(compared.Outcome), Rows: receipt.Rows,
		Fault: string(compared.Fault), File: compared.File, Differences: compared.Differences}
	return r, inTx(ctx, a.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO receipt (exchange, number, sha256, status, text, taken) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			x.name, receipt.Sequence, hexSum(text), r.Outcome, text, a.Now().UnixMilli()); err != nil {
			return err
		}
		if state != stateVoided { // a voided drop stays voided, whatever the recipient says
			if _, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ? WHERE exchange = ? AND number = ?`, r.Outcome, x.name, receipt.Sequence); err != nil {
				return err
			}
		}
		return a.record(ctx, tx, ledger.Receipt, x, receipt.Sequence, map[string]any{"outcome": r.Outcome, "receipt_sha256": hexSum(text)})
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

// receiptSigners trusts the recipient's configured receipt key, for receipts.
func receiptSigners(x *exchange) (*sshsig.AllowedSigners, error) {
	line := fmt.Sprintf("%s namespaces=%q %s\n", x.config.Recipient, transfer.ReceiptNamespace, strings.TrimSpace(x.recipient.Receipt.Key))
	signers, err := sshsig.ParseAllowedSigners("receipt key of "+x.config.Recipient, []byte(line))
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "receipt key of %s", x.config.Recipient)
	}
	return signers, nil
}

// Drops lists the drops of an exchange, or of all when name is empty.
func (a *Agent) Drops(ctx context.Context, name string) ([]DropStatus, error) {
	if name != "" {
		if _, err := a.Config.Exchange(name); err != nil {
			return nil, err
		}
	}
	var list []DropStatus
	var d DropStatus
	var committed, delivered int64
	err := each(ctx, a.db, row{&d.Exchange, &d.Number, &d.State, &d.Released, &d.People, &d.AsOf, &committed, &d.Attempts, &d.Note, &d.Manifest, &delivered, &d.Explained}, func() error {
		d.Committed = time.UnixMilli(committed).UTC()
		d.Recipient = ""
		if config, err := a.Config.Exchange(d.Exchange); err == nil {
			d.Recipient = config.Recipient
			if a.silent(config.Recipient, d.State, delivered) {
				d.State = stateOverdue
			}
		}
		list = append(list, d)
		return nil
	}, `SELECT exchange, number, state, released, people, as_of, committed, attempts, note, manifest, delivered, explained FROM delivery
		WHERE ? IN ('', exchange) ORDER BY exchange, number`, name)
	return list, err
}

// silent tells whether a delivered drop should have been answered by now.
func (a *Agent) silent(recipient, state string, delivered int64) bool {
	switch state {
	case stateStored, stateSizeVerified, stateHashVerified:
	default:
		return false
	}
	receipt := a.Config.Recipients[recipient].Receipt
	due := time.Duration(receipt.Due)
	if due == 0 {
		due = defaultReceiptDue
	}
	return receipt.Mode == "signed" && a.Now().After(time.UnixMilli(delivered).Add(due))
}

// Attention tells whether a person should look at the drop. A voided one that
// a later drop explains to the recipient is done with.
func (d *DropStatus) Attention() bool {
	return NeedsAttention(d.State) && (d.State != stateVoided || d.Explained == 0)
}

// Waits tells whether the drop is committed and not yet sent whole.
func (d *DropStatus) Waits() bool { return d.State == stateSealed || d.State == stateUploading }

// NeedsAttention gives the states in which a person should look at a drop.
func NeedsAttention(state string) bool {
	switch state {
	case stateVoided, stateOverdue, stateRejected, statePartly, stateDiffering, stateSealed, stateUploading:
		return true
	}
	return false
}

func hexSum(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
