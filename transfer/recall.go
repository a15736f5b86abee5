package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/sshsig"
)

// RecallNamespace is that of the signature over a recall (PROTOCOL.sshsig §2).
const RecallNamespace = "postern-recall"

// Formats of a recall and of its answer, in their first member.
const (
	RecallFormat        = "recall/v1"
	RecallReceiptFormat = "recall-receipt/v1"
)

// Recall asks a recipient to delete what it was sent.
type Recall struct {
	Format         string   `json:"format"`
	Sender         string   `json:"sender"`
	Recipient      string   `json:"recipient"`
	Exchange       string   `json:"exchange"`
	Sequence       int64    `json:"sequence"`
	ManifestSHA256 string   `json:"manifest_sha256"`
	Number         int64    `json:"number"` // of the recalls of the drop, from 1
	Rows           []string `json:"rows"`   // row keys, ascending; empty: the whole drop
	RecalledAt     string   `json:"recalled_at"`
}

// RecallReceipt is the recipient's word that all of it is deleted.
type RecallReceipt struct {
	Format       string `json:"format"`
	Sender       string `json:"sender"`
	Recipient    string `json:"recipient"`
	Exchange     string `json:"exchange"`
	Sequence     int64  `json:"sequence"`
	Number       int64  `json:"number"`
	RecallSHA256 string `json:"recall_sha256"` // of the decrypted document
	ConfirmedAt  string `json:"confirmed_at"`
}

const (
	recallSuffix    = ".json" // and the envelope's
	recallSignature = ".json.sig"
)

var recallPattern = regexp.MustCompile(`^(.+)\.recall-([1-9][0-9]{0,5})(\.json\.age|\.json\.pgp|\.json\.sig|\.receipt\.json|\.receipt\.json\.sig)$`)

// RecallBase is what the names of a recall's files share.
func (b Base) RecallBase(number int64) string { return fmt.Sprintf("%s.recall-%d", b, number) }

// parseRecallName reads the name of a file of a recall: the drop, the number of
// the recall, and how the name ends.
func parseRecallName(name string) (base Base, number int64, suffix string, ok bool) {
	m := recallPattern.FindStringSubmatch(name)
	if m == nil {
		return Base{}, 0, "", false
	}
	base, err := ParseBase(m[1])
	if err != nil {
		return Base{}, 0, "", false
	}
	number, err = strconv.ParseInt(m[2], 10, 64)
	return base, number, m[3], err == nil
}

// IsRecallReceipt tells whether a name is that of an answer to a recall.
func IsRecallReceipt(name string) bool {
	_, _, suffix, ok := parseRecallName(name)
	return ok && suffix == receiptSuffix
}

// ofRecall tells whether a file belongs to a recall or its answer.
func ofRecall(name string) bool {
	_, _, _, ok := parseRecallName(name)
	return ok
}

// SealRecall writes the two files of a recall into a folder. It gives them in
// the order of upload, and the SHA-256 of the document.
func SealRecall(dir, code string, r *Recall, to *Envelope, signer ssh.Signer) (files []SealedFile, digest string, err error) {
	r.Format = RecallFormat
	slices.Sort(r.Rows)
	r.Rows = slices.Compact(r.Rows)
	if err := r.check(); err != nil {
		return nil, "", fmt.Errorf("recall: %w", err)
	}
	text, err := encodePadded(r)
	if err != nil {
		return nil, "", fmt.Errorf("recall: %w", err)
	}
	signature, err := sshsig.Sign(signer, RecallNamespace, bytes.NewReader(text))
	if err != nil {
		return nil, "", fmt.Errorf("sign recall: %w", err)
	}
	base := filepath.Join(dir, Base{code, r.Exchange, r.Sequence}.RecallBase(r.Number))
	sealed, err := newCipherFile(base+recallSuffix+to.suffix(), to.encrypt)
	if err != nil {
		return nil, "", fmt.Errorf("recall: %w", err)
	}
	defer sealed.file.Abort()
	if _, err := sealed.Write(text); err != nil {
		return nil, "", fmt.Errorf("write recall: %w", err)
	}
	file, err := sealed.finish()
	if err == nil {
		err = durable.WriteFile(base+recallSignature, signature, 0o600)
	}
	if err != nil {
		return nil, "", fmt.Errorf("recall: %w", err)
	}
	return []SealedFile{file, {filepath.Base(base) + recallSignature, sumOf(signature), int64(len(signature))}}, sumOf(text), nil
}

// ParseRecall reads a recall with its padding; it says nothing about the signature.
func ParseRecall(data []byte) (*Recall, error) { return parsePadded[Recall]("recall", data) }

func (r *Recall) check() error {
	if r.Format != RecallFormat {
		return fmt.Errorf("format is not %s", RecallFormat)
	}
	if err := checkParties(r.Sender, r.Recipient, r.Exchange); err != nil {
		return err
	}
	if r.Sequence < 1 || r.Number < 1 || !hashPattern.MatchString(r.ManifestSHA256) {
		return errors.New("it names no drop by number and manifest, or has no number itself")
	}
	for i, row := range r.Rows {
		if !rowKeyPattern.MatchString(row) || i > 0 && row <= r.Rows[i-1] {
			return errors.New("rows is not an ascending list of row keys")
		}
	}
	if _, err := time.Parse(time.RFC3339, r.RecalledAt); err != nil {
		return errors.New("recalled_at is not a time of RFC 3339")
	}
	return nil
}

// ParseRecallReceipt reads an answer to a recall and checks that its signer may
// answer for the recipient.
func ParseRecallReceipt(data, signature []byte, recipient string, signers *sshsig.AllowedSigners, at time.Time) (*RecallReceipt, error) {
	key, err := sshsig.Verify(signature, ReceiptNamespace, bytes.NewReader(data))
	if err == nil {
		err = signers.Check(recipient, key, ReceiptNamespace, at)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceiptSignature, err)
	}
	return parse[RecallReceipt]("answer to a recall", data, maxSmall)
}

func (r *RecallReceipt) check() error {
	if r.Format != RecallReceiptFormat {
		return fmt.Errorf("format is not %s", RecallReceiptFormat)
	}
	if err := checkParties(r.Sender, r.Recipient, r.Exchange); err != nil {
		return err
	}
	if r.Sequence < 1 || r.Number < 1 || !hashPattern.MatchString(r.RecallSHA256) {
		return errors.New("it names no recall by drop, number and SHA-256")
	}
	if _, err := time.Parse(time.RFC3339, r.ConfirmedAt); err != nil {
		return errors.New("confirmed_at is not a time of RFC 3339")
	}
	return nil
}

// Statuses of a recall in the inbox: what it names is to be deleted, or is.
const (
	Recalled = "recalled"
	Deleted  = "deleted"
)

// recalls looks at every recall of the inbox whose signature is there.
func (r *Receiver) recalls(mem *memory, inbox string, look func(*memory, string, Base, int64, *Result) error) (results []Result, err error) {
	entries, err := os.ReadDir(inbox)
	if err != nil {
		return nil, fmt.Errorf("list the inbox: %w", err)
	}
	for _, e := range entries {
		base, number, suffix, ok := parseRecallName(e.Name())
		if !ok || suffix != recallSignature {
			continue
		}
		result := Result{Drop: base.String(), Exchange: base.Exchange, Sequence: base.Sequence, Status: Recalled}
		if err := look(mem, inbox, base, number, &result); err != nil {
			if !errors.As(err, &result.Fault) {
				return results, err
			}
			result.Status = Rejected
		}
		results = append(results, result)
	}
	return results, nil
}

// believe notes the recalls whose keys may sign before any drop of the inbox is
// looked at: one that came beside a recall may put another key in its key's place.
func (r *Receiver) believe(mem *memory, inbox string) error {
	_, err := r.recalls(mem, inbox, func(mem *memory, inbox string, base Base, number int64, _ *Result) error {
		_, _, err := r.openRecall(mem, inbox, base, number)
		return err
	})
	return err
}

// recall believes nothing of a recall before its signature. What it names is
// deleted by people, from wherever it was loaded; when they say so, our own
// copy of a whole drop goes and the answer is written.
func (r *Receiver) recall(mem *memory, inbox string, base Base, number int64, result *Result) error {
	recall, digest, err := r.openRecall(mem, inbox, base, number)
	if err != nil {
		return err
	}
	file := recallFile(inbox, base.RecallBase(number))
	if owner := mem.owner(base.Code); owner != "" && owner != recall.Sender {
		return fault(NameTaken, file, "the code %s has been used by %s, not by %s", base.Code, owner, recall.Sender)
	}
	known := mem.exchange(recall.Sender, recall.Exchange).drop(recall.Sequence)
	if known != nil && known.Manifest != "" && known.Manifest != recall.ManifestSHA256 {
		return fault(Fork, file, "it recalls another manifest than the one that was accepted")
	}
	result.Sender, result.Delete = recall.Sender, recall.Rows
	folder := filepath.Join(r.Dir, base.String())
	if _, err := os.Stat(folder); err == nil {
		result.Folder = folder
	}
	answer, said := filepath.Join(r.Receipts, base.RecallBase(number)+receiptSuffix), slices.Contains(r.Deleted, base.String())
	_, missing := os.Stat(answer)
	switch believed := mem.recall(digest); {
	case believed.Deleted && (result.Folder == "" || len(recall.Rows) > 0) && (!said || missing == nil || r.ReceiptSigner == nil):
		// Otherwise the drop came after it was answered, or who says so once more has no answer to hand over.
		result.Status, result.Folder = Deleted, ""
		return nil
	case !said:
		return nil
	}
	if len(recall.Rows) == 0 {
		if err := durable.RemoveAll(folder); err != nil {
			return err
		}
	}
	result.Status, result.Folder = Deleted, ""
	if r.ReceiptSigner != nil {
		result.Receipt = answer
		if err := writeSigned(result.Receipt, &RecallReceipt{
			Format: RecallReceiptFormat, Sender: recall.Sender, Recipient: recall.Recipient, Exchange: recall.Exchange, Sequence: recall.Sequence,
			Number: recall.Number, RecallSHA256: digest, ConfirmedAt: r.now().UTC().Format(time.RFC3339),
		}, r.ReceiptSigner); err != nil {
			return err
		}
	}
	mem.recall(digest).Deleted = true
	return mem.save(r.Dir)
}

// recallFile is the encrypted document of a recall, by either envelope.
func recallFile(inbox, name string) string {
	if _, err := os.Lstat(filepath.Join(inbox, name+recallSuffix+pgpEnd)); err == nil {
		return name + recallSuffix + pgpEnd
	}
	return name + recallSuffix + ageEnd
}

// openRecall decrypts a recall, and proves whose it is and that it is for us. One
// whose signer was believed before is the same document, and needs no key any more.
func (r *Receiver) openRecall(mem *memory, inbox string, base Base, number int64) (*Recall, string, error) {
	name := base.RecallBase(number)
	file := recallFile(inbox, name)
	var text bytes.Buffer
	if err := r.decrypt(inbox, file, io.Discard, func(plain io.Reader) error {
		_, err := text.ReadFrom(io.LimitReader(plain, maxBook+1))
		return err
	}); err != nil {
		return nil, "", err
	}
	signature, err := readSmall(inbox, name+recallSignature, maxSmall)
	if err != nil {
		return nil, "", err
	}
	key, err := sshsig.Verify(signature, RecallNamespace, bytes.NewReader(text.Bytes()))
	if err != nil {
		return nil, "", fault(SignatureInvalid, name+recallSignature, "it is not a signature over the recall in namespace %s", RecallNamespace)
	}
	signers, digest := r.signersFor(mem, base), sumOf(text.Bytes())
	believed := mem.recall(digest) != nil
	if !believed && !signers.Knows(key, RecallNamespace, r.now()) {
		return nil, "", fault(SignerUnknown, name+recallSignature, "key %s is not among the allowed signers for %s at this time", ssh.FingerprintSHA256(key), RecallNamespace)
	}
	recall, err := ParseRecall(text.Bytes())
	if err != nil {
		return nil, "", fault(FormatFault, file, "%v", err)
	}
	if !believed && signers.Check(recall.Sender, key, RecallNamespace, r.now()) != nil {
		return nil, "", fault(SignerNotSender, name+recallSignature, "key %s may not sign for %s", ssh.FingerprintSHA256(key), recall.Sender)
	}
	if !believed && slices.Contains(mem.exchange(recall.Sender, recall.Exchange).Retired, sshsig.KeyText(key)) {
		return nil, "", fault(SignerRetired, name+recallSignature, "another key has signed drops of this exchange after that one")
	}
	if recall.Exchange != base.Exchange || recall.Sequence != base.Sequence || recall.Number != number {
		return nil, "", fault(FormatFault, file, "it is another recall than its name says")
	}
	if recall.Recipient != r.Name {
		return nil, "", fault(NotForUs, file, "it names the recipient %s, here is %s", recall.Recipient, r.Name)
	}
	if believed {
		return recall, digest, nil
	}
	mem.Recalls = append(mem.Recalls, recallMemory{Recall: digest})
	return recall, digest, mem.save(r.Dir)
}
