package agent

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// Delivered is what became of one drop in a delivery attempt.
type Delivered struct {
	Exchange string           `json:"exchange"`
	Number   int64            `json:"number"`
	State    string           `json:"state"`
	Reason   string           `json:"reason,omitempty"` // of a voided drop: which decision fell, never about whom
	Files    []transfer.Event `json:"files,omitempty"`
}

// pendingDrop is a committed drop whose delivery has not ended.
type pendingDrop struct {
	number   int64
	state    string // as it is known here, see still
	dir      string
	manifest string
	asOf     extract.Day
	exposed  bool
	files    []transfer.SealedFile
	key      []byte
}

// Deliver sends the committed drops of an exchange in number order, each from
// the same sealed bytes as before, after everything in it was judged again. It
// stops at the first that cannot be delivered now.
func (a *Agent) Deliver(ctx context.Context, name string) ([]Delivered, error) {
	x, err := a.load(name)
	if err != nil {
		return nil, err
	}
	if err := a.mayLeave(ctx, x); err != nil {
		return nil, err
	}
	lease, err := takeLease(ctx, a.db, name+"/delivery", leaseOwner(), a.Now)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	if err := a.sweepSettled(ctx, name); err != nil {
		return nil, fmt.Errorf("clear what an earlier delivery left: %w", err)
	}
	var done []Delivered
	for {
		drop, err := a.nextPending(ctx, name)
		if err != nil || drop == nil {
			return done, err
		}
		var result *Delivered
		if err = a.mayGo(ctx, x, drop); err == nil {
			result, err = a.deliverOne(lease.Context, x, drop)
		}
		err = errors.Join(err, a.noteProblem(ctx, name, drop.number, err))
		if result != nil {
			done = append(done, *result)
		}
		if err != nil {
			return done, err
		}
	}
}

func (a *Agent) nextPending(ctx context.Context, exchange string) (*pendingDrop, error) {
	var d pendingDrop
	var asOf, files string
	err := a.db.QueryRowContext(ctx, `SELECT number, state, dir, manifest, as_of, exposed, files, index_key FROM delivery
		WHERE exchange = ? AND state IN (?, ?) ORDER BY number LIMIT 1`, exchange, stateSealed, stateUploading).
		Scan(&d.number, &d.state, &d.dir, &d.manifest, &asOf, &d.exposed, &files, &d.key)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	span, ok := extract.ParseSpan([]byte(asOf))
	if err := json.Unmarshal([]byte(files), &d.files); err != nil || !ok {
		return nil, fail(Altered, err, "restore the state from its backup", "drop %d of %s", d.number, exchange)
	}
	d.asOf = span.From
	return &d, nil
}

func (a *Agent) deliverOne(ctx context.Context, x *exchange, drop *pendingDrop) (*Delivered, error) {
	result := &Delivered{Exchange: x.name, Number: drop.number, State: stateSealed}
	if drop.exposed {
		result.State = stateUploading
	}
	judged, err := a.judgeAgain(ctx, x, drop)
	if err == nil {
		err = a.noteJudged(ctx, a.db, x.name, drop.number, madeByDelivery, judged.reading)
	}
	if err != nil {
		return result, err
	}
	reason := ""
	if judged.reason != extract.NoReason {
		reason = judged.reason.String()
	} else if reason, err = a.sealedOtherwise(ctx, x, drop); err != nil {
		return result, err
	}
	files := transfer.Deliverables(filepath.Join(a.dropsDir(), drop.dir), drop.files)
	if reason != "" {
		disclosure := ""
		if drop.exposed {
			if disclosure, err = a.withdraw(ctx, x, drop, files); errors.Is(err, transfer.ErrDelivered) {
				// An earlier attempt delivered all of it and died before it could
				// say so. It was lawful then; what came since is prospective.
				result.State = stateStored
				return result, a.settleDelivery(ctx, x, drop, stateStored, transfer.Evidence{State: transfer.Stored})
			} else if err != nil {
				return result, err
			}
		}
		result.State, result.Reason = stateVoided, reason
		return result, a.void(ctx, x, drop, files, judged, reason+disclosure, "")
	}
	if err := a.mayLeave(ctx, x); err != nil { // a hold, or another approval, may have come while the drop was judged
		return result, err
	}
	destination, err := a.destination(ctx, x.recipient)
	if err != nil {
		return result, deliveryFailure(ctx, err, x, drop)
	}
	defer destination.Close()
	plan, err := a.probe(ctx, x.config.Recipient, destination, false)
	if err != nil {
		return result, deliveryFailure(ctx, err, x, drop)
	}
	// Exposed from here on, before the first byte can leave, so that accounting
	// never misses a drop that may have been disclosed in part.
	if err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		if err := drop.still(ctx, tx, x); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ?, attempts = attempts + 1, exposed = 1 WHERE exchange = ? AND number = ?`, stateUploading, x.name, drop.number)
		return err
	}); err != nil {
		return result, err
	}
	drop.state = stateUploading
	result.State = stateUploading
	evidence, err := a.deliver(ctx, x, drop, destination, files, func(e transfer.Event) { result.Files = append(result.Files, e) })
	if err != nil {
		return result, errors.Join(deliveryFailure(ctx, err, x, drop), a.forget(ctx, x.config.Recipient, plan))
	}
	result.State = evidence.State.String()
	return result, a.settleDelivery(ctx, x, drop, result.State, evidence)
}

// deliveryFailure gives an error of the destination its class.
func deliveryFailure(ctx context.Context, err error, x *exchange, drop *pendingDrop) error {
	class, remedy := DestinationDown, "it waits; `postern drops deliver "+x.name+"` tries again, and `postern serve` does so by itself"
	switch {
	case ctx.Err() != nil:
		class, err = Interrupted, context.Canceled
	case errors.Is(err, transfer.ErrHostKey), errors.Is(err, transfer.ErrAuth), ExitCode(err) == int(KeyTrouble):
		class = KeyTrouble
	case errors.Is(err, transfer.ErrSealed):
		class, remedy = Altered, "restore the state from its backup"
	}
	if drop.number == 0 {
		return fail(class, err, "`postern reconcile "+x.name+"` tries again", "receipts of %s were not fetched", x.name)
	}
	return fail(class, err, remedy, "drop %d of %s was not delivered", drop.number, x.name)
}

// still fails when another has done something about the drop meanwhile: one that took
// the lease over, as when this machine slept or its clock was set.
func (d *pendingDrop) still(ctx context.Context, q query, x *exchange) error {
	var state string
	err := q.QueryRowContext(ctx, `SELECT state FROM delivery WHERE exchange = ? AND number = ?`, x.name, d.number).Scan(&state)
	if err == nil && state != d.state {
		err = fail(Locked, nil, "`postern drops list` shows it", "drop %d of %s was %s, and by another it is %s now", d.number, x.name, d.state, state)
	}
	return err
}

// settleDelivery ends a delivery: the key of the decision index is destroyed
// with it, because there is nothing left to judge again.
func (a *Agent) settleDelivery(ctx context.Context, x *exchange, drop *pendingDrop, state string, evidence transfer.Evidence) error {
	text, err := json.Marshal(evidence)
	if err != nil {
		return err
	}
	told := map[string]any{"state": state, "manifest_sha256": drop.manifest}
	if cutOff, late, err := a.lateness(ctx, x.name, drop.number); err != nil {
		return err
	} else if cutOff != "" {
		told["cut_off"], told["late"] = cutOff, late
	}
	err = inTx(ctx, a.db, func(tx *sql.Tx) error {
		if err := drop.still(ctx, tx, x); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ?, evidence = ?, delivered = ?, index_key = NULL WHERE exchange = ? AND number = ?`,
			state, string(text), a.Now().UnixMilli(), x.name, drop.number); err != nil {
			return err
		}
		return a.record(ctx, tx, ledger.Delivered, x, drop.number, told)
	})
	if err != nil {
		return err
	}
	return a.removeDecisionIndex(drop)
}

func (a *Agent) removeDecisionIndex(drop *pendingDrop) error {
	path, err := a.decisionIndex(drop)
	if err != nil {
		return nil // removed by an earlier attempt
	}
	return durable.Remove(path)
}

func (a *Agent) decisionIndex(drop *pendingDrop) (string, error) {
	found, err := filepath.Glob(filepath.Join(a.dropsDir(), drop.dir, transfer.PrivateFolder, "*.decision-index.*"))
	if err != nil || len(found) != 1 {
		return "", fail(Altered, err, "restore the state from its backup", "decision index of drop %d is not there", drop.number)
	}
	return found[0], nil
}

// void takes a drop back before it was delivered, or once the recipient has
// rejected it. Later drops of the exchange were built upon this one and fall with
// it. What they did to the release memory is undone, but what was sent of the later
// ones is in doubt; codes and row keys stay. What is different about them is settled
// by it, for the one who gave it up.
func (a *Agent) void(ctx context.Context, x *exchange, drop *pendingDrop, files []transfer.File, judged *judgement, reason, by string) error {
	err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		if err := drop.still(ctx, tx, x); err != nil {
			return err
		}
		var numbers []int64
		var exposed []bool
		var n int64
		var sent bool
		if err := each(ctx, tx, row{&n, &sent}, func() error {
			numbers, exposed = append(numbers, n), append(exposed, sent)
			return nil
		}, `SELECT number, exposed FROM delivery WHERE exchange = ? AND number >= ? AND state != ? ORDER BY number DESC`,
			x.name, drop.number, stateVoided); err != nil {
			return err
		}
		for i, n := range numbers {
			undo, text := forget, fmt.Sprintf("built upon voided drop %d", drop.number)
			switch {
			case n == drop.number:
				text = reason
			case exposed[i]:
				undo, text = doubt, text+"; it was sent"
			}
			if err := undo(ctx, tx, x.name, n); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ?, note = ?, index_key = NULL WHERE exchange = ? AND number = ?`, stateVoided, text, x.name, n); err != nil {
				return err
			}
			if err := a.record(ctx, tx, ledger.DropVoided, x, n, map[string]any{"reason": text, "possibly_disclosed": exposed[i]}); err != nil {
				return err
			}
			if err := a.settleDifferences(ctx, tx, x, n, by, "the drop is void: "+text); err != nil {
				return err
			}
		}
		return a.noteVoided(ctx, tx, x.name, drop.number, numbers, judged.persons)
	})
	if err != nil {
		return err
	}
	a.Log.Warn("drop voided", "exchange", x.name, "number", drop.number, "reason", reason)
	return errors.Join(a.removeDecisionIndex(drop), removeSealed(files))
}

// withdraw removes what a broken-off delivery left at the destination, and says
// what it could do. Whatever that is, the drop may have been seen in part. The
// error is transfer.ErrDelivered when all of it had arrived; while the
// destination cannot be asked, nobody knows, and the drop waits.
func (a *Agent) withdraw(ctx context.Context, x *exchange, drop *pendingDrop, files []transfer.File) (string, error) {
	arrived, err := a.arrived(ctx, x, drop)
	if err == nil {
		files, err = a.outward(ctx, x, drop.number, files, arrived)
	}
	if err != nil {
		return "", err
	}
	if len(notArrived(files, arrived)) == 0 { // a mailbox may have taken them away
		return "", transfer.ErrDelivered
	}
	destination, err := a.destination(ctx, x.recipient)
	if err != nil {
		return "", deliveryFailure(ctx, err, x, drop)
	}
	defer destination.Close()
	removed, err := destination.Withdraw(ctx, files)
	switch {
	case errors.Is(err, transfer.ErrDelivered):
		return "", err
	case err != nil && !errors.Is(err, transfer.ErrKept):
		return "", deliveryFailure(ctx, err, x, drop)
	case err != nil:
		return "; possibly disclosed in part, and its files could not all be withdrawn", nil
	}
	return fmt.Sprintf("; possibly disclosed in part; %d files withdrawn from the destination", len(removed)), nil
}

// removeSealed deletes the sealed files of a voided drop; its archive stays.
func removeSealed(files []transfer.File) error {
	var err error
	for _, f := range files {
		if e := durable.Remove(f.Path); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// judgeAgain decides every record of a drop once more, by the directives,
// restrictions and rosters of this moment.
func (a *Agent) judgeAgain(ctx context.Context, x *exchange, drop *pendingDrop) (*judgement, error) {
	r := a.newRun(x, RunOptions{AsOf: drop.asOf})
	if err := r.loadInputs(ctx); err != nil {
		return nil, err
	}
	decider, err := consent.NewDecider(r.request(), r.tables)
	if err != nil {
		return nil, fail(PolicyRefused, err, "", "policy %s", x.policy.Name)
	}
	judged, fallen := &judgement{reading: r.reading}, map[consent.Subject]bool{}
	judge := func(decider *consent.Decider) error {
		plain, err := a.openDecisionIndex(drop)
		if err != nil {
			return err
		}
		defer plain.Close()
		return rejudge(ctx, plain, r.tables, decider, func(facts *extract.Facts, reasons extract.ReasonSet) {
			if judged.reason == extract.NoReason {
				judged.reason = reasons.First()
			}
			if reasons&byPatient != 0 {
				for _, s := range facts.Subjects {
					fallen[r.tables.People.Intern(s)] = true
				}
			}
		})
	}
	if err := judge(nil); err != nil {
		return nil, err
	}
	r.tables.People.LinkAlike()
	err = judge(decider)
	hash := a.keyedHash("revocation-person")
	for person := range fallen {
		for _, id := range r.tables.People.IDs(person) { // it may have been met before they were merged
			judged.persons = append(judged.persons, hash(id))
		}
	}
	return judged, err
}

type decisionReader struct {
	*zstd.Decoder
	file *os.File
}

func (d decisionReader) Close() error {
	d.Decoder.Close()
	return d.file.Close()
}

func (a *Agent) openDecisionIndex(drop *pendingDrop) (io.ReadCloser, error) {
	secret, err := a.master.Unwrap("decision-index/"+drop.dir, drop.key)
	if err != nil {
		return nil, fail(KeyTrouble, err, "restore the master key that this state was made with", "decision index of drop %d", drop.number)
	}
	identity, err := age.ParseX25519Identity(string(secret))
	if err != nil {
		return nil, fail(Altered, nil, "restore the state from its backup", "key of the decision index of drop %d cannot be read", drop.number)
	}
	path, err := a.decisionIndex(drop)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	sealed, err := age.Decrypt(file, identity)
	if err == nil {
		var plain *zstd.Decoder
		if plain, err = zstd.NewReader(sealed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)); err == nil {
			return decisionReader{plain, file}, nil
		}
	}
	return nil, errors.Join(fail(Altered, err, "restore the state from its backup", "decision index of drop %d cannot be opened", drop.number), file.Close())
}

// rejudge reads the index to its authenticated end: a cut file is an error,
// never a shorter list. It tells of each record that may no longer leave. Without
// a decider it makes people and births known: where ids were merged since the
// drop was sealed, the birth under one of them may be told after the records
// under the other, and what closes may have come under an id that differs by
// capitals from one in the drop.
func rejudge(ctx context.Context, index io.Reader, tables *consent.Tables, decider *consent.Decider, fell func(*extract.Facts, extract.ReasonSet)) error {
	in := bufio.NewReaderSize(index, 256<<10)
	altered := func(err error) error {
		return fail(Altered, err, "restore the state from its backup", "decision index cannot be read")
	}
	var facts extract.Facts
	var buf []byte
	declared := true // programs, since it was sealed
	for ctx.Err() == nil {
		what, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return altered(err)
		}
		size, err := binary.ReadUvarint(in)
		if err != nil || size > extract.MaxRecord {
			return altered(err)
		}
		buf = slices.Grow(buf[:0], int(size))[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			return altered(err)
		}
		switch what {
		case build.DecisionPrograms:
			declared = tables.Programs.DeclaredSince(buf)
			continue
		}
		if _, err := consent.ReadFacts(buf, &facts, tables.People); err != nil {
			return altered(err)
		}
		if decider == nil {
			continue
		}
		if decision := decider.DecideAgain(&facts, what == build.DecisionPart2, declared); decision.Reasons != 0 {
			fell(&facts, decision.Reasons)
		}
	}
	return ctx.Err()
}
