// Package transfer seals drops, delivers them, and is the recipient's side of
// them: it verifies, opens and answers.
//
// It follows docs/drop-format.md (drop format v1), which is published: every
// file can be made and read with stock tools (age or gpg, zstd, sha256sum,
// ssh-keygen -Y). It promises that nothing is visible under a final name that
// is not whole, that `.done` comes last, that a recipient sees plaintext only
// of a drop that is whole, in order and signed by its sender, and that a
// delivery is never reported as more than the server let us see.
//
// The clear files tell nothing about what is inside: no period, no counts, no
// policy name; lengths are padded (PURBs §4, Padmé).
package transfer

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Namespaces of the SSHSIG signatures (PROTOCOL.sshsig §2): one key per use.
const (
	DropNamespace    = "postern-drop"
	ReceiptNamespace = "postern-receipt"
)

const (
	partSuffix      = ".zst"       // and the envelope's
	bookSuffix      = ".book.json" // likewise
	sumsSuffix      = ".SHA256SUMS"
	manifestSuffix  = ".manifest.json"
	signatureSuffix = ".manifest.json.sig"
	doneSuffix      = ".done"
	receiptSuffix   = ".receipt.json"
)

// TestSender ends the sender's name in test drops, and in no others (docs/drop-format.md).
const TestSender = ".test"

// maxParts is the number that three digits hold.
const maxParts = 999

// ErrParts means that what is to be sent needs more parts than a drop has.
var ErrParts = fmt.Errorf("a drop has %d parts at most", maxParts)

var (
	partyPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$`)
	codePattern  = regexp.MustCompile(`^[a-z0-9]{1,16}$`)
	hashPattern  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	basePattern  = regexp.MustCompile(`^([a-z0-9]{1,16})\.([a-z0-9]{1,16})\.([0-9]{6,15})$`)
	labelPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)
)

// Base is the part that the names of one drop's files share: the sender's
// short code, the exchange's opaque id, the number.
type Base struct {
	Code     string
	Exchange string
	Sequence int64
}

func (b Base) String() string { return fmt.Sprintf("%s.%s.%06d", b.Code, b.Exchange, b.Sequence) }

func (b Base) part(n int) string { return fmt.Sprintf("%s.%03d%s", b, n, partSuffix) }

// ReceiptName is the name of the recipient's answer; its signature has ".sig"
// after it.
func (b Base) ReceiptName() string { return b.String() + receiptSuffix }

// ParseBase reads "cv.x7.000042"; each drop has one spelling only.
func ParseBase(name string) (Base, error) {
	m := basePattern.FindStringSubmatch(name)
	if m == nil {
		return Base{}, fmt.Errorf("%q is not the name of a drop: want CODE.EXCHANGE.NUMBER, as in cv.x7.000042", name)
	}
	n, err := strconv.ParseInt(m[3], 10, 64)
	b := Base{Code: m[1], Exchange: m[2], Sequence: n}
	if err != nil || n < 1 || b.String() != name {
		return Base{}, fmt.Errorf("%q is not the name of a drop: the number is 1 or more, in six digits", name)
	}
	return b, nil
}

func checkParties(sender, recipient, exchange string) error {
	if !partyPattern.MatchString(sender) {
		return errors.New("sender is not a name of 1 to 100 letters, digits and . _ @ + -")
	}
	if !partyPattern.MatchString(recipient) {
		return errors.New("recipient is not a name of 1 to 100 letters, digits and . _ @ + -")
	}
	if !codePattern.MatchString(exchange) {
		return errors.New("exchange is not an id of 1 to 16 lower-case letters and digits")
	}
	return nil
}

// checkNumbers holds number, previous manifest and voided numbers together.
// A drop without a previous one explains every number below its own.
func checkNumbers(sequence int64, previous string, voids []int64) error {
	if sequence < 1 {
		return errors.New("sequence is below 1")
	}
	last := int64(0)
	for _, v := range voids {
		if v <= last || v >= sequence {
			return errors.New("voids is not an ascending list of numbers below the drop's own")
		}
		last = v
	}
	if previous == "" && int64(len(voids)) != sequence-1 {
		return errors.New("previous is empty though an earlier number is not voided")
	}
	if previous != "" && !hashPattern.MatchString(previous) {
		return errors.New("previous is not a SHA-256 in 64 lower-case hex digits")
	}
	return nil
}

func isReceiptName(name string) bool {
	base, found := strings.CutSuffix(name, receiptSuffix)
	if !found {
		return false
	}
	_, err := ParseBase(base)
	return err == nil || IsRecallReceipt(name)
}
