package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// recallSchema is what was asked back, until the recipient has confirmed and after.
const recallSchema = `
CREATE TABLE IF NOT EXISTS recall (
	exchange  TEXT NOT NULL,
	number    INTEGER NOT NULL,              -- of the drop
	recall    INTEGER NOT NULL,              -- counts the recalls of the drop
	recipient TEXT NOT NULL,                 -- that the drop went to
	rows      INTEGER NOT NULL,              -- 0: the whole drop
	by        TEXT NOT NULL,
	because   TEXT NOT NULL,                 -- stays at the clinic
	made      INTEGER NOT NULL,              -- Unix milliseconds
	digest    TEXT NOT NULL,                 -- SHA-256 of the document
	dir       TEXT NOT NULL,                 -- below the folder of drops
	files     TEXT NOT NULL,
	state     TEXT NOT NULL,                 -- of its delivery: sealed, then as a drop's, or by-hand; confirmed
	problem   TEXT NOT NULL DEFAULT '',
	confirmed INTEGER NOT NULL DEFAULT 0,    -- Unix milliseconds
	answer    TEXT NOT NULL DEFAULT '',      -- SHA-256 of the recipient's; else who confirmed it by hand, and why
	PRIMARY KEY (exchange, number, recall)
) STRICT;
`

// States of a recall beside those of a delivery: people hand it over; the
// recipient has said, or a person for it, that all is deleted.
const (
	stateByHand    = "by-hand"
	stateConfirmed = "confirmed"
)

// RecallStatus is where a recall stands.
type RecallStatus struct {
	Exchange  string    `json:"exchange"`
	Number    int64     `json:"number"`
	Recall    int64     `json:"recall"`
	Recipient string    `json:"recipient"`
	Rows      int64     `json:"rows"` // 0: the whole drop
	By        string    `json:"by"`
	Because   string    `json:"because"`
	Made      time.Time `json:"made"`
	State     string    `json:"state"`
	Problem   string    `json:"problem,omitempty"` // why it is not delivered
	Confirmed time.Time `json:"confirmed,omitzero"`
	Answer    string    `json:"answer,omitempty"` // SHA-256 of the recipient's, or who confirmed by hand and why
	Files     string    `json:"files"`            // folder in which its files lie

	digest string
	sealed []transfer.SealedFile
}

// Recall asks the recipient of a delivered drop to delete the rows of the given
// keys, or without any the whole drop. The document is sealed and kept before it
// is sent, so it goes out even if this call does not see the end of it. It is no
// disclosure: neither a hold nor a missing approval keeps it back.
func (a *Agent) Recall(ctx context.Context, name string, number int64, keys []string, by, because string) (*RecallStatus, error) {
	lease, err := takeLease(ctx, a.db, name+"/delivery", leaseOwner(), a.Now)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	x, err := a.answering(name)
	if err != nil {
		return nil, err
	}
	var dir, manifest, state string
	var exposed bool
	r := &RecallStatus{Exchange: name, Number: number, Rows: int64(len(keys)), By: by, Because: because, Made: a.Now().UTC(), State: stateSealed}
	err = a.db.QueryRowContext(ctx, `SELECT dir, manifest, state, exposed, 1 + (SELECT count(*) FROM recall AS r WHERE r.exchange = d.exchange AND r.number = d.number)
		FROM delivery AS d WHERE exchange = ? AND number = ?`, name, number).Scan(&dir, &manifest, &state, &exposed, &r.Recall)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, noSuchDrop(name, number)
	case err != nil:
		return nil, err
	case !exposed, state == stateSealed, state == stateUploading:
		remedy := fmt.Sprintf("`postern hold %s`, then `postern drops void %[1]s %d`", name, number)
		if state == stateVoided {
			remedy = "it is void, and nothing of it was sent"
		}
		return nil, fail(AnsweredNo, nil, remedy, "drop %d of %s has not been delivered: there is nothing to recall", number, name)
	}
	commits, err := a.committedDrops(ctx)
	if err != nil {
		return nil, err
	}
	r.Recipient = commits[manifest].Recipient
	if x, err = a.recalling(x, r.Recipient); err != nil {
		return nil, err
	}
	if _, err := a.sentRows(ctx, x.name, keys); err != nil {
		return nil, err
	}
	r.Files = filepath.Join(dir, fmt.Sprintf("recall-%d", r.Recall))
	path := filepath.Join(a.dropsDir(), r.Files)
	if err := errors.Join(durable.RemoveAll(path), durable.MkdirAll(path, 0o700)); err != nil { // of a call that died here
		return nil, err
	}
	signer, _, err := a.signers(ctx, x)
	if err != nil {
		return nil, err
	}
	r.sealed, r.digest, err = transfer.SealRecall(path, a.Config.Organization.Code, &transfer.Recall{
		Sender: a.Config.Organization.ID, Recipient: r.Recipient, Exchange: x.config.ID, Sequence: number, ManifestSHA256: manifest,
		Number: r.Recall, Rows: append([]string{}, keys...), RecalledAt: r.Made.Format(time.RFC3339),
	}, x.envelope, signer)
	if err == nil {
		err = errors.Join(durable.SyncTree(path), durable.SyncDir(filepath.Dir(path)))
	}
	if err != nil {
		return nil, err
	}
	if err := inTx(ctx, a.db, func(tx *sql.Tx) error { return a.keepRecall(ctx, tx, x, r, keys) }); err != nil {
		return nil, err
	}
	err = a.deliverRecall(lease.Context, x, r)
	return r, err
}

// recalling is an exchange towards the recipient that a drop went to, with the
// keys that it has now.
func (a *Agent) recalling(x *exchange, recipient string) (*exchange, error) {
	to, known := a.Config.Recipients[recipient]
	if !known {
		return nil, fail(Configuration, nil, "enter it again, with its keys and destination", "the drop went to %s, which is no longer a recipient", recipient)
	}
	then := &exchange{name: x.name, config: x.config, recipient: to}
	then.config.Recipient = recipient
	return then, a.sealTo(then)
}

// keepRecall notes a recall, and what the recipient no longer holds by it.
func (a *Agent) keepRecall(ctx context.Context, tx *sql.Tx, x *exchange, r *RecallStatus, keys []string) error {
	files, err := json.Marshal(r.sealed)
	if err != nil {
		return err
	}
	if len(keys) == 0 {
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ? WHERE exchange = ? AND number = ? AND state != ?`, stateRecalled, x.name, r.Number, stateVoided); err != nil {
			return err
		}
	}
	if err := deleted(ctx, tx, x.name, r.Number, keys); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO recall (exchange, number, recall, recipient, rows, by, because, made, digest, dir, files, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		x.name, r.Number, r.Recall, r.Recipient, r.Rows, r.By, r.Because, r.Made.UnixMilli(), r.digest, r.Files, string(files), r.State); err != nil {
		return err
	}
	return a.record(ctx, tx, ledger.Recalled, x, r.Number, map[string]any{"recall": r.Recall, "rows": r.Rows, "by": r.By, "because": r.Because, "recall_sha256": r.digest})
}

// deliverRecall sends a recall to where its drop went. If the configuration names
// another place since, people hand the files over: a document that lists what was
// wrong belongs nowhere else.
func (a *Agent) deliverRecall(ctx context.Context, x *exchange, r *RecallStatus) error {
	err := a.sendRecall(ctx, x, r)
	if r.Problem = ""; err != nil {
		r.Problem = err.Error()
	}
	if ctx.Err() != nil {
		return err
	}
	_, kept := a.db.ExecContext(ctx, `UPDATE recall SET state = ?, problem = ? WHERE exchange = ? AND number = ? AND recall = ? AND state = ?`,
		r.State, r.Problem, r.Exchange, r.Number, r.Recall, stateSealed)
	return errors.Join(err, kept)
}

func (a *Agent) sendRecall(ctx context.Context, x *exchange, r *RecallStatus) error {
	var digest string
	err := a.db.QueryRowContext(ctx, `SELECT closure FROM sealed_under WHERE exchange = ? AND number = ?`, r.Exchange, r.Number).Scan(&digest)
	if err != nil {
		return err
	}
	was, err := a.approvedClosure(digest)
	if err != nil {
		return err
	}
	now := new(Closure)
	now.recipient(a.Config, x)
	then, _ := was.part("destination")
	is, _ := now.part("destination")
	why := ""
	switch {
	case is.SHA256 != then.SHA256:
		why = "the drop went to another place than is configured now"
	case x.recipient.Bare != nil:
		why = x.config.Recipient + " takes bare files, and nothing else"
	}
	if why != "" {
		r.State = stateByHand
		return fail(DestinationDown, nil, fmt.Sprintf("hand over the files in %s; when all is deleted: postern drops recall %s %d --confirmed", filepath.Join(a.dropsDir(), r.Files), r.Exchange, r.Number),
			"recall of drop %d of %s: %s", r.Number, r.Exchange, why)
	}
	destination, err := a.destination(ctx, x.recipient)
	if err != nil {
		return deliveryFailure(ctx, err, x, &pendingDrop{number: r.Number})
	}
	defer destination.Close()
	if _, err := a.probe(ctx, x.config.Recipient, destination, false); err != nil {
		return deliveryFailure(ctx, err, x, &pendingDrop{number: r.Number})
	}
	evidence, err := destination.Deliver(ctx, transfer.Deliverables(filepath.Join(a.dropsDir(), r.Files), r.sealed), func(transfer.Event) {})
	if err != nil {
		return deliveryFailure(ctx, err, x, &pendingDrop{number: r.Number})
	}
	r.State = evidence.State.String()
	return nil
}

// Recalls are those of an exchange, or of all, in the order of drops.
func (a *Agent) Recalls(ctx context.Context, name string) (list []RecallStatus, err error) {
	var r RecallStatus
	var made, confirmed int64
	var files string
	err = each(ctx, a.db, row{&r.Exchange, &r.Number, &r.Recall, &r.Recipient, &r.Rows, &r.By, &r.Because, &made, &r.digest, &r.Files, &files, &r.State, &r.Problem, &confirmed, &r.Answer}, func() error {
		one := r
		if one.Made = time.UnixMilli(made).UTC(); confirmed > 0 {
			one.Confirmed = time.UnixMilli(confirmed).UTC()
		}
		err := json.Unmarshal([]byte(files), &one.sealed)
		list = append(list, one)
		return err
	}, `SELECT exchange, number, recall, recipient, rows, by, because, made, digest, dir, files, state, problem, confirmed, answer FROM recall
		WHERE ? IN ('', exchange) ORDER BY exchange, number, recall`, name)
	return list, err
}

// deliverRecalls sends those that wait.
func (a *Agent) deliverRecalls(ctx context.Context, x *exchange) error {
	list, err := a.Recalls(ctx, x.name)
	for i := range list {
		if r := &list[i]; r.State == stateSealed {
			to, failed := a.recalling(x, r.Recipient)
			if failed == nil {
				failed = a.deliverRecall(ctx, to, r)
			}
			err = errors.Join(err, failed)
		}
	}
	return err
}

// takeRecallReceipt takes the recipient's word that what a recall names is deleted,
// also after a person's word for it, or where the recipient says it again.
func (a *Agent) takeRecallReceipt(ctx context.Context, x *exchange, path string) (*Reconciled, error) {
	text, err := os.ReadFile(path)
	if err != nil || a.taken(ctx, text, "") {
		return nil, err
	}
	signature, err := os.ReadFile(path + ".sig")
	if err != nil {
		return nil, err
	}
	signers, err := a.receiptSigners(x)
	if err != nil {
		return nil, err
	}
	said, err := transfer.ParseRecallReceipt(text, signature, x.config.Recipient, signers, a.Now())
	if err != nil {
		return nil, fmt.Errorf("answer %s: %w", filepath.Base(path), err)
	}
	n, err := a.confirm(ctx, x, said.Sequence, hexSum(text), `recall = ? AND digest = ?`, said.Number, said.RecallSHA256)
	if err == nil && n == 0 {
		err = fmt.Errorf("answer %s is to no recall of ours; it changes nothing, ask the recipient", filepath.Base(path))
	}
	if err != nil {
		return nil, err
	}
	return &Reconciled{Exchange: x.name, Number: said.Sequence, Outcome: transfer.Deleted}, nil
}

// ConfirmRecall takes the same by hand, of all recalls of a drop that wait.
func (a *Agent) ConfirmRecall(ctx context.Context, name string, number int64, by, because string) error {
	x, err := a.answering(name)
	if err != nil {
		return err
	}
	n, err := a.confirm(ctx, x, number, fmt.Sprintf("by hand, %s: %s", by, because), `confirmed = 0`)
	if err == nil && n == 0 {
		err = fail(AnsweredNo, nil, "`postern drops show` tells of those there were", "no recall of drop %d of %s waits to be confirmed", number, name)
	}
	return err
}

func (a *Agent) confirm(ctx context.Context, x *exchange, number int64, answer, which string, of ...any) (n int64, err error) {
	return n, inTx(ctx, a.db, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE recall SET state = ?, problem = '', confirmed = ?, answer = ? WHERE exchange = ? AND number = ? AND `+which,
			append([]any{stateConfirmed, a.Now().UnixMilli(), answer, x.name, number}, of...)...)
		if err != nil {
			return err
		}
		if n, err = result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		return a.record(ctx, tx, ledger.RecallConfirmed, x, number, map[string]any{"answer": answer})
	})
}

// Words tell where a recall stands.
func (r *RecallStatus) Words() string {
	what, stands := "of the whole drop", r.State+" at the recipient, who has not confirmed it yet"
	if r.Rows > 0 {
		what = fmt.Sprintf("of %d rows", r.Rows)
	}
	switch {
	case !r.Confirmed.IsZero():
		stands = "confirmed " + timeWords(r.Confirmed)
	case r.Problem != "":
		stands = "not delivered: " + r.Problem
	}
	return fmt.Sprintf("recall %d %s, by %s: %s", r.Recall, what, r.By, stands)
}
