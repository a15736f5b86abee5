package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// HandAnswer is a recipient's answer that came by letter or telephone, or that
// no configuration can read.
type HandAnswer struct {
	All      bool     // the whole drop was rejected
	Rejected []string // row keys
	By       string   // whose word it is at the clinic
	Report   string   // the file that shows it
}

// Answer takes an answer by hand. It counts for more than all that came before.
// The report is kept, encrypted to the archive key; the ledger has its SHA-256.
func (a *Agent) Answer(ctx context.Context, name string, number int64, h HandAnswer) (*Reconciled, error) {
	x, err := a.answering(name)
	if err != nil {
		return nil, err
	}
	expect, state, err := a.expectation(ctx, name, number)
	if err != nil {
		return nil, noSuchDrop(name, number)
	}
	if state == stateSealed || state == stateUploading {
		return nil, fail(AnsweredNo, nil, "`postern drops show` tells where it stands", "drop %d of %s has not been delivered, so nobody can have answered it", number, name)
	}
	rows, err := a.sentRows(ctx, name, h.Rejected)
	if err == nil {
		err = rows.told(ctx, a.db, name, number)
	}
	if err != nil {
		return nil, err
	}
	if _, others := rows.count(); others > 0 {
		return nil, fail(AnsweredNo, nil, "answer the drop that told them", "%d of these rows are none of drop %d of %s", others, number, name)
	}
	dir, release, err := a.openReceipts(ctx, x)
	if err != nil {
		return nil, err
	}
	defer release()
	report, err := os.Open(h.Report)
	if err != nil {
		return nil, fail(Usage, err, "name the file of the recipient's letter, mail or report", "report")
	}
	defer report.Close() // it was only read
	if info, err := report.Stat(); err != nil || info.Size() > transfer.MaxResponse {
		return nil, fail(Usage, err, fmt.Sprintf("attach one of at most %d bytes", transfer.MaxResponse), "report: it is too long to be kept")
	}
	kept, err := a.keepAnswer(dir, report)
	if err != nil {
		return nil, err
	}
	s := &reply{number: number, rule: ruleByHand, name: filepath.Base(h.Report), sha256: kept.sha256, by: h.By, rows: expect.Rows, outcome: stateAcknowledged}
	if h.All {
		s.rejectAll(s.name, expect.Rows)
	}
	if s.refused += int64(len(rows.rows)); !h.All {
		s.rows -= s.refused
		s.judgeRefused(s.name, expect.Rows)
	}
	err = inTx(ctx, a.db, func(tx *sql.Tx) error {
		if err := rows.store(ctx, tx, name, s); err != nil {
			return err
		}
		return a.takeReply(ctx, tx, x, s)
	})
	return s.reconciled(x), err
}

// Void gives up a drop that the recipient does not hold: one that was not
// delivered, or that it has rejected as a whole. Later ones fall with it, sent or
// not: they follow it, and a recipient that keeps the order takes none of them. The
// next run's manifest explains their numbers.
func (a *Agent) Void(ctx context.Context, name string, number int64, by, because string) (*DropPage, error) {
	x, err := a.answering(name)
	if err != nil {
		return nil, err
	}
	lease, err := takeLease(ctx, a.db, name+"/delivery", leaseOwner(), a.Now)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	page, err := a.Drop(ctx, name, number)
	if err != nil {
		return nil, err
	}
	if err := a.mayVoid(ctx, page); err != nil {
		return nil, err
	}
	drop, err := a.dropToVoid(ctx, page)
	if err != nil {
		return nil, err
	}
	files := transfer.Deliverables(filepath.Join(a.dropsDir(), drop.dir), page.Files)
	disclosure := ""
	switch {
	case drop.state == stateRejected:
		disclosure = "; it was sent, and the recipient rejected it"
	case drop.exposed:
		if disclosure, err = a.withdraw(ctx, x, drop, files); err != nil {
			return nil, fail(AnsweredNo, err, "`postern drops deliver "+name+"` settles it", "drop %d of %s cannot be given up", number, name)
		}
	}
	if err := a.void(ctx, x, drop, files, new(judgement), fmt.Sprintf("given up by %s: %s", by, because)+disclosure, by); err != nil {
		return nil, err
	}
	return a.Drop(ctx, name, number)
}

func (a *Agent) dropToVoid(ctx context.Context, page *DropPage) (*pendingDrop, error) {
	d := &pendingDrop{number: page.Number, state: page.State}
	return d, a.db.QueryRowContext(ctx, `SELECT dir, manifest, exposed FROM delivery WHERE exchange = ? AND number = ?`, page.Exchange, page.Number).Scan(&d.dir, &d.manifest, &d.exposed)
}

// mayVoid refuses for what the recipient holds, and where it went on without
// the drop: then nothing of its later ones need be taken back.
func (a *Agent) mayVoid(ctx context.Context, page *DropPage) error {
	remedy := "`postern drops recall` asks the recipient to delete what it holds"
	if page.State == stateVoided {
		remedy = "it was given up before"
	}
	if !page.Waits() && page.State != stateRejected {
		return fail(AnsweredNo, nil, remedy, "drop %d of %s is %s", page.Number, page.Exchange, page.State)
	}
	later, err := takenAfter(ctx, a.db, page.Exchange, page.Number)
	if err == nil && later > 0 {
		err = fail(AnsweredNo, nil, "what it told counts as not held: `postern run "+page.Exchange+"` tells it again, and `postern reconcile settle` ends what is open",
			"drop %d of %s need not be given up: the recipient has taken drop %d after it", page.Number, page.Exchange, later)
	}
	return err
}

// takenAfter is the first later drop that the recipient has taken, at least in
// part; 0 when there is none.
func takenAfter(ctx context.Context, db query, exchange string, number int64) (later int64, err error) {
	return later, db.QueryRowContext(ctx, `SELECT coalesce(min(number), 0) FROM delivery WHERE exchange = ? AND number > ? AND state IN (?, ?, ?)`,
		exchange, number, stateAcknowledged, statePartly, stateDiffering).Scan(&later)
}

// Resend has rows of a drop decided anew by the next run, and sent anew where
// they may: those of the given keys, or without any all that the recipient has
// rejected. It gives how many there are. In `full` mode every run does so.
func (a *Agent) Resend(ctx context.Context, name string, number int64, keys []string, by, because string) (rows int64, err error) {
	x, err := a.answering(name)
	if err != nil {
		return 0, err
	}
	expect, state, err := a.expectation(ctx, name, number)
	if err != nil {
		return 0, noSuchDrop(name, number)
	}
	whole := false
	if rows = int64(len(keys)); rows == 0 {
		if keys, err = rejectedRows(ctx, a.db, name, number); err != nil {
			return 0, err
		}
		if rows = int64(len(keys)); rows == 0 && state == stateRejected {
			rows, whole = expect.Rows, true
		}
	}
	if rows == 0 {
		return 0, fail(AnsweredNo, nil, "name rows with --rows; `postern drops show` tells what was answered", "no row of drop %d of %s was rejected by its key", number, name)
	}
	if _, err := a.sentRows(ctx, name, keys); err != nil {
		return 0, err
	}
	err = inTx(ctx, a.db, func(tx *sql.Tx) error {
		if whole {
			err = notTaken(ctx, tx, name, number, true)
		} else if err = toldHere(ctx, tx, name, number, keys); err == nil {
			_, err = unhold(ctx, tx, name, number, keys)
		}
		if err != nil {
			return err
		}
		return a.record(ctx, tx, ledger.Resend, x, number, map[string]any{"rows": rows, "by": by, "because": because})
	})
	if err != nil {
		return 0, err
	}
	return rows, nil
}

// toldHere refuses rows that are held by the word of other drops alone: to take the
// word of this one back would send none of them.
func toldHere(ctx context.Context, tx *sql.Tx, exchange string, number int64, keys []string) error {
	text, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	var elsewhere int64
	err = tx.QueryRowContext(ctx, `SELECT count(DISTINCT key) FROM told WHERE exchange = ?1 AND key IN (SELECT value FROM json_each(?3))
		AND key NOT IN (SELECT key FROM told WHERE exchange = ?1 AND number = ?2)`, exchange, number, string(text)).Scan(&elsewhere)
	if err == nil && elsewhere > 0 {
		err = fail(AnsweredNo, nil, "name the drop that told them last; what was rejected is sent again by the next run", "%d of these rows are in the recipient's hands by another drop of %s than %d", elsewhere, exchange, number)
	}
	return err
}

// sentRows are rows that a person names, each of which must have been sent.
func (a *Agent) sentRows(ctx context.Context, exchange string, keys []string) (*answered, error) {
	rows, misshapen := new(answered), int64(0)
	for _, key := range keys {
		if rows.add(transfer.RowAnswer{Key: key, Verdict: transfer.Refused}) != nil {
			misshapen++
		}
	}
	if err := rows.know(ctx, a.db, exchange); err != nil {
		return nil, err
	}
	if _, unknown := rows.count(); unknown+misshapen > 0 {
		return nil, fail(AnsweredNo, nil, "write them as they stand in the drop's column row_key, or name a file that holds them", "%d row keys are of no row that %s has sent", unknown+misshapen, exchange)
	}
	return rows, nil
}
