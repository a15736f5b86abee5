package agent

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/transfer"
)

// arrived is a response file that is to be taken.
type arrived struct {
	file    *transfer.ResponseFile
	name    string
	stamp   string // size and time as listed, and the definition
	written time.Time
	transfer.Answered
	that int                    // how many drops were made on its day
	part *transfer.ExpectedPart // that it is about, where its name has a file's

	definition string // hash of how it is read
}

// takeResponses takes the files by which the recipient answers drops of the
// exchange. Whatever is wrong with one of them keeps back none of the others.
func (a *Agent) takeResponses(ctx context.Context, x *exchange, destination transfer.Destination, dir string) (done []Reconciled, err error) {
	var failures []error
	var file *arrived
	err = destination.Responses(ctx, func(info fs.FileInfo) bool {
		if file = a.awaited(x, info); file == nil {
			return false
		}
		waits, err := a.answerWaits(ctx, x, file)
		failures = append(failures, err)
		return err == nil && !waits
	}, func(_ string, from io.Reader) error {
		kept, err := a.keepAnswer(dir, from)
		if cut := new(transfer.ReceiptError); errors.As(err, &cut) {
			done, err = a.unfinished(done, x, file.Sequence, cut)
			failures = append(failures, err)
			return ctx.Err()
		} else if err != nil {
			return err // of the connection, or of our disk: the next time it is fetched again
		}
		r, err := a.takeResponse(ctx, x, file, kept)
		if failures = append(failures, err); r != nil {
			done = append(done, *r)
		}
		return ctx.Err()
	})
	if err != nil {
		failures = append(failures, deliveryFailure(ctx, err, x, &pendingDrop{}))
	}
	return done, errors.Join(failures...)
}

// awaited tells what a file is, by its name; nil when it is none that answers
// the exchange. A file that is read by a changed configuration is another.
func (a *Agent) awaited(x *exchange, info fs.FileInfo) *arrived {
	for i := range x.recipient.Receipt.Files {
		f := &x.recipient.Receipt.Files[i]
		if told, ok := f.Answers(info.Name(), a.Config.Organization.Code, x.config.ID); ok {
			definition, _ := json.Marshal(f) // of strings and numbers
			r := &arrived{file: f, name: info.Name(), written: info.ModTime(), Answered: told, definition: hexSum(definition)}
			r.stamp = fmt.Sprintf("%d %d %s", info.Size(), info.ModTime().Unix(), r.definition)
			return r
		}
	}
	return nil
}

// answerWaits tells whether a file is not to be taken now: it was before, what it
// answers has not been delivered as far as we know, or it is one of those we sent. Servers tell times
// in seconds, so what was taken in the second of its writing is looked at again.
func (a *Agent) answerWaits(ctx context.Context, x *exchange, file *arrived) (waits bool, err error) {
	if file.Day != "" {
		if err := a.madeOn(ctx, x, file); err != nil {
			return false, err
		}
	}
	if sent, err := a.fileOf(ctx, x, file); err != nil || !sent {
		return true, err
	}
	err = a.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM receipt WHERE exchange = ? AND name = ? AND stamp = ? AND taken > ?)
		OR EXISTS (SELECT 1 FROM delivery WHERE exchange = ? AND number = ? AND state IN (?, ?))
		OR EXISTS (SELECT 1 FROM file_name WHERE recipient = ? AND name = ?)`,
		x.name, file.name, file.stamp, file.written.Add(2*time.Second).UnixMilli(), x.name, file.Sequence, stateSealed, stateUploading,
		x.config.Recipient, file.name).Scan(&waits)
	return waits, err
}

// keptAnswer is an answer as it was fetched. What recipients write may repeat
// their rows, so nothing of it lies here in the clear.
type keptAnswer struct {
	path     string
	sha256   string
	identity *age.X25519Identity // of this reading alone
}

// keepAnswer stores an answer, under its SHA-256, encrypted to the archive key
// and to a key that only this process has.
func (a *Agent) keepAnswer(dir string, from io.Reader) (*keptAnswer, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	arriving := filepath.Join(dir, "arriving")
	if err := durable.Remove(arriving); err != nil { // of one who died
		return nil, err
	}
	file, err := durable.Create(arriving, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Abort()
	sealed, err := age.Encrypt(file, a.archive.Key, identity.Recipient())
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(sealed, sum), io.LimitReader(from, transfer.MaxResponse+1)); err != nil {
		return nil, err
	}
	if err := errors.Join(sealed.Close(), file.Commit()); err != nil {
		return nil, err
	}
	kept := &keptAnswer{sha256: hex.EncodeToString(sum.Sum(nil)), identity: identity}
	kept.path = filepath.Join(dir, kept.sha256+"."+strings.ToLower(rand.Text()[:8])+".age") // the same may have come before
	return kept, durable.Rename(arriving, kept.path)
}

func (k *keptAnswer) read(read func(io.Reader) error) error {
	file, err := os.Open(k.path)
	if err != nil {
		return err
	}
	defer file.Close() // it was only read
	plain, err := age.Decrypt(file, k.identity)
	if err != nil {
		return err
	}
	return read(plain)
}

// takenBefore tells whether this is what the newest file of the name said, too:
// one that was only laid there again says nothing new.
func (a *Agent) takenBefore(ctx context.Context, x *exchange, file *arrived, kept *keptAnswer) (before bool, err error) {
	result, err := a.db.ExecContext(ctx, `UPDATE receipt SET stamp = ? WHERE rowid = (SELECT rowid FROM receipt WHERE exchange = ? AND name = ? AND by = '' ORDER BY rowid DESC LIMIT 1)
		AND sha256 = ? AND stamp LIKE '%' || ?`, file.stamp, x.name, file.name, kept.sha256, file.definition)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// takeResponse compares one file; one that cannot be read changes no drop, and
// is an open difference until a better one of its name comes.
func (a *Agent) takeResponse(ctx context.Context, x *exchange, file *arrived, kept *keptAnswer) (*Reconciled, error) {
	if before, err := a.takenBefore(ctx, x, file, kept); err != nil || before {
		return nil, errors.Join(err, durable.Remove(kept.path))
	}
	s := &reply{number: file.Sequence, rule: file.file.Match, name: file.name, stamp: file.stamp, sha256: kept.sha256, rows: -1, refused: -1}
	if file.file.Kind() == transfer.VerdictResponse {
		s.rule = "verdict" // one of several files says it
	}
	if file.part != nil {
		s.rule += fileInRule + file.part.Name
	}
	err := a.readResponse(ctx, x, file, kept, s)
	if s.outcome == answerUnfinished {
		r := s.reconciled(x)
		r.File = file.name
		return r, durable.Remove(kept.path)
	}
	var wrong *transfer.ResponseError
	if !errors.As(err, &wrong) {
		return s.reconciled(x), err
	}
	if _, _, unknown := a.expectation(ctx, x.name, s.number); unknown != nil {
		s.number = 0
	}
	s.rule, s.outcome, s.rows, s.refused, s.differences = ruleUnreadable+file.name, answerUnreadable, -1, -1, nil
	s.differ(file.name, "cannot be read", "as the configuration says", wrong.Error())
	err = inTx(ctx, a.db, func(tx *sql.Tx) error { return a.takeReply(ctx, tx, x, s) })
	return nil, errors.Join(err, fail(AnsweredNo, wrong,
		"it changed nothing; ask the recipient for a right one, mend recipients."+x.config.Recipient+".receipt.files, or attach it by hand with `postern drops answer`", ""))
}

func (a *Agent) readResponse(ctx context.Context, x *exchange, file *arrived, kept *keptAnswer, s *reply) error {
	if file.Day != "" && s.number == 0 {
		return &transfer.ResponseError{File: file.name, Why: fmt.Sprintf("%d drops were made on the day of its name, so it does not tell which it answers", file.that)}
	}
	expect, _, err := a.expectation(ctx, x.name, s.number)
	if err != nil {
		return &transfer.ResponseError{File: file.name, Why: err.Error()}
	}
	sent := expect.Rows
	if file.part != nil {
		sent = file.part.Rows
	} else if file.About != "" {
		return &transfer.ResponseError{File: file.name, Why: fmt.Sprintf("drop %d has no file with rows that its name tells", s.number)}
	}
	rows := &answered{file: file.name, sent: max(sent, 1)}
	var said *transfer.Statement
	if err := kept.read(func(from io.Reader) (err error) {
		said, err = file.file.Read(file.name, from, rows.add)
		return err
	}); said != nil && said.Partial && a.isWritten(file.written) {
		s.outcome = answerUnfinished
		return nil
	} else if err != nil {
		return err
	}
	switch file.file.Kind() {
	case transfer.RowResponse:
		if err := errors.Join(rows.know(ctx, a.db, x.name), rows.told(ctx, a.db, x.name, s.number)); err != nil {
			return err
		}
		s.judgeRows(file, rows, sent)
	case transfer.CountResponse:
		s.judgeCounts(file.name, said, sent)
	default:
		s.judgeVerdict(file.name, said.Verdict, sent)
	}
	if file.part != nil {
		if err := s.ofFile(ctx, a.db, x.name, file.part, expect); err != nil {
			return err
		}
	}
	if s.outcome == stateAcknowledged && file.file.Kind() < mostTelling(x.recipient.Receipt.Files) {
		s.outcome = answerNoted
	}
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		if err := rows.store(ctx, tx, x.name, s); err != nil {
			return err
		}
		return a.takeReply(ctx, tx, x, s)
	})
}

func mostTelling(files []transfer.ResponseFile) (kind int) {
	for i := range files {
		kind = max(kind, files[i].Kind())
	}
	return kind
}

// madeOn finds the one drop that was made on the day of a file's name.
func (a *Agent) madeOn(ctx context.Context, x *exchange, file *arrived) error {
	var number, committed int64
	if err := each(ctx, a.db, row{&number, &committed}, func() error {
		if time.UnixMilli(committed).In(a.Config.Zone).Format("20060102") == file.Day {
			file.Sequence = number
			file.that++
		}
		return nil
	}, `SELECT number, committed FROM delivery WHERE exchange = ? AND state != ?`, x.name, stateVoided); err != nil {
		return err
	}
	if file.that != 1 {
		file.Sequence = 0
	}
	return nil
}

// judgeVerdict takes what a file says of the drop as a whole.
func (s *reply) judgeVerdict(name string, v transfer.Verdict, rows int64) {
	if v == transfer.Refused {
		s.rejectAll(name, rows)
		return
	}
	s.outcome, s.rows, s.refused = stateAcknowledged, rows, 0
}

func (s *reply) rejectAll(name string, rows int64) {
	s.outcome, s.rows, s.refused, s.whole = stateRejected, 0, rows, true
	s.differ(name, "the drop", transfer.Accepted, transfer.Rejected)
}

func (s *reply) judgeCounts(name string, said *transfer.Statement, rows int64) {
	s.rows, s.refused = said.Accepted, said.Rejected
	if said.Accepted+said.Rejected != rows {
		s.differ(name, countedRows, fmt.Sprint(rows), fmt.Sprint(said.Accepted+said.Rejected))
	}
	s.judgeRefused(name, rows)
}

// judgeRefused gives the outcome by how many rows were refused.
func (s *reply) judgeRefused(name string, rows int64) {
	switch {
	case len(s.differences) > 0:
		s.outcome = stateDiffering
	case s.refused == 0:
		s.outcome = stateAcknowledged
	case s.refused == rows:
		s.outcome = stateRejected
	default:
		s.outcome = statePartly
	}
	if s.refused > 0 {
		s.differ(name, refusedRows, "0", fmt.Sprint(s.refused))
	}
}

// judgeRows holds the rows of a file against those that were sent.
func (s *reply) judgeRows(file *arrived, rows *answered, sent int64) {
	counts, unknown := rows.count()
	s.refused = counts[transfer.Refused]
	answered := s.refused + counts[transfer.Taken] + counts[transfer.TakenWithWarning]
	if s.rows = answered - s.refused; file.file.ListsRefused() {
		s.rows = sent - s.refused
	}
	if unknown > 0 {
		s.differ(file.name, unknownRows, "0", fmt.Sprint(unknown))
	}
	if answered > sent || answered < sent && !file.file.ListsRefused() {
		s.differ(file.name, answeredRows, fmt.Sprint(sent), fmt.Sprint(answered))
	}
	s.judgeRefused(file.name, sent)
}
