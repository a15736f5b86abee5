package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/sshsig"
)

// Receiver is the recipient's side. Its Dir holds a folder of plaintext per
// accepted drop, the receipts, and the memory by which gaps, repeats and forks
// are noticed; a second Receive on one Dir waits for the first.
type Receiver struct {
	Name          string // as the manifest's recipient
	Signers       *sshsig.AllowedSigners
	Identities    []age.Identity // open what is encrypted with age
	OpenPGP       *Keyring       // opens what is encrypted with OpenPGP; may be nil
	Dir           string
	Receipts      string     // folder for receipts; Dir/receipts when empty
	ReceiptSigner ssh.Signer // nil: no receipts are written
	Now           func() time.Time
	// Adopt takes the first drop of an exchange that is unknown here at
	// whatever number it has: for a recipient that lost its memory.
	Adopt bool
	// Deleted are drops, CODE.EXCHANGE.NUMBER, of which all that recalls name is
	// deleted here: our copies of whole ones go, and the answers are written.
	Deleted []string
	// CheckLedger judges whether the checkpoint in the book continues the one
	// seen before (empty: none). Nil: the checkpoint is kept, not judged.
	CheckLedger func(seen string, now Ledger) error
}

// Statuses of drops with which nothing is done: one that was accepted before,
// and one whose `.done` is not there, still on its way or lost.
const (
	Repeated   = "repeat"
	Unfinished = "unfinished"
)

// Result is what became of one drop of the inbox.
type Result struct {
	Drop       string // CODE.EXCHANGE.NUMBER
	Sender     string // empty while not proved
	Exchange   string
	Sequence   int64
	Status     string // Accepted, Repeated, Rejected, Unfinished
	Fault      *Fault // of a rejected drop
	Folder     string // of the plaintext
	Book       *Book
	Rows       int64    // of records; what they rest on is not counted
	Withdrawn  []int64  // accepted before, voided by this drop: take their data back
	Receipt    string   // path of the receipt that was written
	Introduces string   // fingerprint of the key that signs the drops after an accepted one, if it introduces one
	Delete     []string // of a recall: row keys of what is to be deleted; none: the whole drop
}

// Receive looks at every drop of the inbox that has its `.done`, in the order
// of their numbers. What is wrong with a drop is in its Result, and leaves no
// plaintext; the error is for what is wrong here, and then the drops after it
// were not looked at.
func (r *Receiver) Receive(ctx context.Context, inbox string) ([]Result, error) {
	unlock, err := r.lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	defer unlock()
	if err := r.prepare(); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	mem, err := loadMemory(r.Dir)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	drops, finished, err := dropsIn(inbox)
	if err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	if err := r.believe(mem, inbox); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	var results []Result
	for _, base := range drops {
		if !finished[base] {
			results = append(results, Result{Drop: base.String(), Exchange: base.Exchange, Sequence: base.Sequence, Status: Unfinished})
			continue
		}
		result, err := r.one(ctx, mem, inbox, base)
		if err != nil {
			return results, fmt.Errorf("receive %s: %w", base, err)
		}
		results = append(results, result)
	}
	recalled, err := r.recalls(mem, inbox, r.recall)
	if err != nil {
		err = fmt.Errorf("receive: %w", err)
	}
	return append(results, recalled...), err
}

const lockFile = ".postern-receiver.lock"

// lock keeps other receivers out of Dir. The operating system lets go of it
// when a receiver is killed; the file stays.
func (r *Receiver) lock(ctx context.Context) (unlock func(), err error) {
	if err := durable.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, err
	}
	var held func()
	locked := make(chan error)
	go func() {
		var failure error
		held, failure = lockedfile.MutexAt(filepath.Join(r.Dir, lockFile)).Lock()
		select {
		case locked <- failure:
		case <-ctx.Done():
			if failure == nil {
				held()
			}
		}
	}()
	select {
	case err := <-locked:
		return held, err
	case <-ctx.Done():
		return nil, fmt.Errorf("another receiver works on %s: %w", r.Dir, ctx.Err())
	}
}

func (r *Receiver) prepare() error {
	if r.Receipts == "" {
		r.Receipts = filepath.Join(r.Dir, "receipts")
	}
	for _, dir := range []string{r.Dir, r.Receipts} {
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return durable.Sweep(r.Dir) // the folder of receipts may be one that others write to as well
}

// dropsIn lists the drops of an inbox in the order of their numbers, and
// whether each has its `.done`; without it a drop is still on its way. An empty
// one is being written, on a server that renames nothing.
func dropsIn(inbox string) (drops []Base, finished map[Base]bool, err error) {
	entries, err := os.ReadDir(inbox)
	if err != nil {
		return nil, nil, fmt.Errorf("list the inbox: %w", err)
	}
	finished = map[Base]bool{}
	for _, e := range entries {
		parts := strings.SplitN(e.Name(), ".", 4)
		if len(parts) < 4 || isReceiptName(strings.TrimSuffix(e.Name(), ".sig")) || ofRecall(e.Name()) { // these may lie here too
			continue
		}
		base, err := ParseBase(strings.Join(parts[:3], "."))
		if err != nil {
			continue
		}
		if _, met := finished[base]; !met {
			drops = append(drops, base)
		}
		info, err := e.Info()
		finished[base] = finished[base] || parts[3] == strings.TrimPrefix(doneSuffix, ".") && err == nil && info.Size() > 0
	}
	slices.SortFunc(drops, func(a, b Base) int {
		return cmp.Or(strings.Compare(a.Code, b.Code), strings.Compare(a.Exchange, b.Exchange), cmp.Compare(a.Sequence, b.Sequence))
	})
	return drops, finished, nil
}

func (r *Receiver) one(ctx context.Context, mem *memory, inbox string, base Base) (Result, error) {
	result := Result{Drop: base.String(), Exchange: base.Exchange, Sequence: base.Sequence}
	manifestSum, err := r.take(ctx, mem, inbox, base, &result)
	if err == nil {
		return result, nil
	}
	if !errors.As(err, &result.Fault) {
		return result, err
	}
	result.Status = Rejected
	return result, r.reject(mem, base, manifestSum, &result)
}

// take does everything for a good drop; a *Fault says why it is not one.
func (r *Receiver) take(ctx context.Context, mem *memory, inbox string, base Base, result *Result) (manifestSum string, err error) {
	s, err := readStatement(inbox, base)
	if err != nil {
		return "", err
	}
	m, err := s.verify(r.signersFor(mem, base), r.now())
	if classOf(err) == SignerUnknown && mem.has(base, s.manifestSum) { // its key ended after we took it
		result.Status = Repeated
		return s.manifestSum, nil
	}
	if err != nil {
		return s.manifestSum, err
	}
	result.Sender = m.Sender
	exchange := mem.exchange(m.Sender, m.Exchange)
	repeat, err := r.admit(mem, exchange, m, s)
	if err != nil || repeat {
		result.Status = Repeated
		return s.manifestSum, err
	}
	if err := verifyFiles(ctx, inbox, m); err != nil {
		return s.manifestSum, err
	}
	opened, err := r.open(ctx, inbox, m, exchange.last(m.Voids).Checkpoint)
	if err != nil {
		return s.manifestSum, err
	}
	return s.manifestSum, r.accept(mem, exchange, m, s, opened, result)
}

// admit decides by what the manifest says and by what came before.
func (r *Receiver) admit(mem *memory, exchange *exchangeMemory, m *Manifest, s *statement) (repeat bool, err error) {
	file := m.Base().String() + manifestSuffix
	if m.Recipient != r.Name {
		return false, fault(NotForUs, file, "it names the recipient %s, here is %s", m.Recipient, r.Name)
	}
	if owner := mem.owner(m.Base().Code); owner != "" && owner != m.Sender {
		return false, fault(NameTaken, file, "the code %s has been used by %s, not by %s", m.Base().Code, owner, m.Sender)
	}
	repeat, err = exchange.judge(m, s.manifestSum, r.Adopt)
	if err == nil && !repeat {
		err = exchange.checkSigner(m, s.signer)
	}
	return repeat, err
}

// accept publishes the plaintext, then the receipt, then the memory. A crash
// in between makes the next Receive do it again, with the same outcome.
func (r *Receiver) accept(mem *memory, exchange *exchangeMemory, m *Manifest, s *statement, o *opened, result *Result) error {
	defer o.discard()
	folder := filepath.Join(r.Dir, m.Base().String())
	if err := durable.RemoveAll(folder); err != nil { // of a receiver killed right here
		return err
	}
	if err := durable.Rename(o.folder, folder); err != nil {
		return err
	}
	result.Status, result.Folder, result.Book = Accepted, folder, o.book
	result.Introduces = m.introduced()
	receipt := r.receipt(m.Base(), s.manifestSum, Accepted)
	receipt.Sender, receipt.Parts, receipt.People = m.Sender, o.parts, o.book.People
	receipt.LedgerCheckpoint = o.book.Ledger.Checkpoint
	for _, p := range o.parts {
		receipt.Rows += p.Rows
	}
	for _, p := range o.book.Parts {
		if p.RowsOfRecords() {
			result.Rows += p.Rows
		}
	}
	if err := r.answer(m.Base(), receipt, result); err != nil {
		return err
	}
	result.Withdrawn = exchange.accept(m, s.manifestSum, o.book.Ledger.Checkpoint)
	exchange.signed(m, s.signer, r.inFile(m.Sender, s.signer))
	mem.keep(exchange)
	mem.forget(m.Base().String())
	return mem.save(r.Dir)
}

// reject answers once for each way in which a drop is wrong. The receipt of a
// drop that was accepted stays: whoever can write to the inbox could
// otherwise take an acceptance back.
func (r *Receiver) reject(mem *memory, base Base, sum string, result *Result) error {
	refusal := refusedMemory{Drop: base.String(), Manifest: sum, Class: result.Fault.Class, File: result.Fault.File}
	if mem.accepted(base) || mem.refused(refusal) {
		return nil
	}
	receipt := r.receipt(base, sum, Rejected)
	receipt.Sender = result.Sender
	receipt.Fault, receipt.File = string(result.Fault.Class), result.Fault.File
	if err := r.answer(base, receipt, result); err != nil {
		return err
	}
	mem.refuse(refusal)
	return mem.save(r.Dir)
}

func (r *Receiver) receipt(base Base, sum, status string) *Receipt {
	return &Receipt{
		Format: ReceiptFormat, Recipient: r.Name, Exchange: base.Exchange, Sequence: base.Sequence,
		ManifestSHA256: sum, Status: status, ReceivedAt: r.now().UTC().Format(time.RFC3339),
	}
}

func (r *Receiver) answer(base Base, receipt *Receipt, result *Result) error {
	if r.ReceiptSigner == nil {
		return nil
	}
	result.Receipt = filepath.Join(r.Receipts, base.ReceiptName())
	return writeSigned(result.Receipt, receipt, r.ReceiptSigner)
}

func (r *Receiver) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}
