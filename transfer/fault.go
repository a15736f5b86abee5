package transfer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// Class says what is wrong with a drop. The list is closed and published in
// docs/drop-format.md; a rejecting receipt carries one of them.
type Class string

const (
	FormatFault      Class = "format"            // a file is not as drop format v1 says
	MissingFile      Class = "missing-file"      // a file that belongs to the drop is not there
	UnlistedFile     Class = "unlisted-file"     // a file bears the drop's name and is not part of it
	DoneMismatch     Class = "done-mismatch"     // .done does not state the files it closes
	SignatureInvalid Class = "signature-invalid" // the manifest is not what was signed
	SignerUnknown    Class = "signer-unknown"    // nobody we trust for drops signed it
	SignerNotSender  Class = "signer-not-sender" // one whom we trust signed in another's name
	// IntroductionInvalid: the key that the manifest introduces did not sign it, too.
	IntroductionInvalid Class = "introduction-invalid"
	SignerRetired       Class = "signer-retired" // the key has given way to another one in this exchange
	NotForUs            Class = "not-for-us"     // another recipient is named
	NameTaken           Class = "name-taken"     // the short code is another sender's
	SumsMismatch        Class = "sums-mismatch"  // SHA256SUMS is not what the manifest states
	FileMismatch        Class = "file-mismatch"  // a file's SHA-256 is not the manifest's
	Truncated           Class = "truncated"      // a file is shorter than the manifest says
	DecryptFailed       Class = "decrypt-failed" // no key of ours opens it, or its plaintext is damaged
	BookMismatch        Class = "book-mismatch"  // the book inside tells of another drop than the manifest
	RowCount            Class = "row-count"      // a part has more or fewer rows than the book says
	PlaintextFault      Class = "plaintext-mismatch"
	SequenceGap         Class = "sequence-gap" // a number is missing and not voided
	Fork                Class = "fork"         // one number, two manifests; or another history
	Voided              Class = "voided"       // the sender has voided this number
	LedgerFault         Class = "ledger-inconsistent"
)

// remedies is the closed list, each with what the recipient can do.
var remedies = map[Class]string{
	FormatFault:         "ask the sender for a drop of format v1",
	MissingFile:         "ask the sender to deliver the drop again",
	UnlistedFile:        "ask the sender what the file is, then move it away",
	DoneMismatch:        "ask the sender to deliver the drop again",
	SignatureInvalid:    "ask the sender to deliver the drop again",
	SignerUnknown:       "confirm the sender's key by telephone before adding it to the allowed signers",
	SignerNotSender:     "tell the sender that another signed in its name",
	IntroductionInvalid: "ask the sender to deliver the drop again; keep to the key that you know",
	SignerRetired:       "tell the sender that a key signed which was in use before",
	NotForUs:            "tell the sender that a drop for another came here",
	NameTaken:           "agree with the sender on a short code of its own",
	SumsMismatch:        "ask the sender to deliver the drop again",
	FileMismatch:        "ask the sender to deliver the drop again",
	Truncated:           "ask the sender to deliver the drop again",
	DecryptFailed:       "look whether the sender has your present public key",
	BookMismatch:        "tell the sender: someone else may have signed its drop anew",
	RowCount:            "ask the sender to void the drop and send it anew",
	PlaintextFault:      "ask the sender to void the drop and send it anew",
	SequenceGap:         "ask the sender for the missing number, or for a drop that voids it",
	Fork:                "ask the sender which of the two is its own; accept neither until then",
	Voided:              "wait for the drop that replaces it",
	LedgerFault:         "ask the sender whether its ledger was restored from a backup",
}

func (c Class) known() bool { return remedies[c] != "" }

// Fault is why a drop was refused. It never quotes what is in a file.
type Fault struct {
	Class Class
	File  string // the file that is wrong
	Why   string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("%s: %s: %s; %s", f.File, f.Class, f.Why, remedies[f.Class])
}

func fault(class Class, file, why string, args ...any) *Fault {
	return &Fault{class, printable(file), printable(fmt.Sprintf(why, args...))}
}

// printable is a text of others as a terminal may be shown it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// classOf is the class of a Fault, "" of any other error.
func classOf(err error) Class {
	if f := (*Fault)(nil); errors.As(err, &f) {
		return f.Class
	}
	return ""
}
