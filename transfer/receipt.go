package transfer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/sshsig"
)

// What a recipient says about a drop.
const (
	Accepted = "accepted"
	Rejected = "rejected"
)

// Receipt is the recipient's signed answer. Of a drop whose signature did not
// hold it repeats only what the file names say.
type Receipt struct {
	Format           string        `json:"format"`
	Sender           string        `json:"sender"`
	Recipient        string        `json:"recipient"`
	Exchange         string        `json:"exchange"`
	Sequence         int64         `json:"sequence"`
	ManifestSHA256   string        `json:"manifest_sha256"`
	Status           string        `json:"status"` // accepted, rejected
	Fault            string        `json:"fault"`  // class, empty when accepted
	File             string        `json:"file"`   // the file that is wrong
	Parts            []ReceiptPart `json:"parts"`
	Rows             int64         `json:"rows"`
	People           int64         `json:"people"`
	LedgerCheckpoint string        `json:"ledger_checkpoint"`
	ReceivedAt       string        `json:"received_at"` // RFC 3339, UTC
}

// ReceiptPart is the recipient's own count of a part. Refused rows are those
// it could read but not load.
type ReceiptPart struct {
	Name            string `json:"name"`
	Rows            int64  `json:"rows"`
	Refused         int64  `json:"refused"`
	PlaintextSHA256 string `json:"plaintext_sha256"`
}

// ParseReceipt reads a receipt; it says nothing about the signature.
func ParseReceipt(data []byte) (*Receipt, error) {
	return parse[Receipt]("receipt", data, maxSmall)
}

func (r *Receipt) check() error {
	if r.Format != ReceiptFormat {
		return fmt.Errorf("format is not %s", ReceiptFormat)
	}
	if r.Status != Accepted && r.Status != Rejected {
		return errors.New("status is neither accepted nor rejected")
	}
	if (r.Status == Rejected) != (r.Fault != "") || (r.Fault != "" && !Class(r.Fault).known()) {
		return errors.New("fault is not a class of the drop format for a rejected drop, or not empty for an accepted one")
	}
	if _, err := time.Parse(time.RFC3339, r.ReceivedAt); err != nil {
		return errors.New("received_at is not a time of RFC 3339")
	}
	if r.File != printable(r.File) || r.ManifestSHA256 != "" && !hashPattern.MatchString(r.ManifestSHA256) {
		return errors.New("file or manifest_sha256 is not one")
	}
	for _, p := range r.Parts {
		if p.Rows < 0 || p.Refused < 0 || p.Name != printable(p.Name) || !hashPattern.MatchString(p.PlaintextSHA256) {
			return errors.New("a part has no proper name, counts and SHA-256")
		}
	}
	return checkParties(cmp.Or(r.Sender, r.Recipient), r.Recipient, r.Exchange)
}

// signed is the text of a receipt, and the signature over it.
func signed(receipt any, signer ssh.Signer) (text, signature []byte, err error) {
	if text, err = encode(receipt); err != nil {
		return nil, nil, err
	}
	signature, err = sshsig.Sign(signer, ReceiptNamespace, bytes.NewReader(text))
	if err != nil {
		return nil, nil, fmt.Errorf("sign receipt: %w", err)
	}
	return text, signature, nil
}

// writeSigned writes the signature first: a receipt is looked for by its own name.
func writeSigned(path string, receipt any, signer ssh.Signer) error {
	text, signature, err := signed(receipt, signer)
	if err != nil {
		return err
	}
	if err := durable.ReplaceFile(path+".sig", signature, 0o644); err != nil {
		return err
	}
	return durable.ReplaceFile(path, text, 0o644)
}
