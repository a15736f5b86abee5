package transfer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Recipient is a public key that a drop is encrypted to.
type Recipient struct {
	Key         age.Recipient // nil of an OpenPGP key
	Fingerprint string        // as Fingerprint, ssh-keygen -l or gpg --fingerprint has it, see docs/drop-format.md
	Algorithm   string        // such as X25519 or RSA 3072
	Expires     time.Time     // zero: never

	kind kind
	pgp  *openpgp.Entity
}

// kind tells which keys may stand together in one file.
type kind string

const (
	ageClassic kind = "keys of age without post-quantum protection"
	ageHybrid  kind = "post-quantum keys of age" // one classic key beside them would undo their protection
	pgpRFC4880 kind = "OpenPGP keys of RFC 4880"
	pgpRFC9580 kind = "OpenPGP keys of RFC 9580"
	ageEnd          = ".age"
	pgpEnd          = ".pgp"
)

// Envelope is how the files of one drop are encrypted to all keys of its
// recipient: as age files (age-encryption.org/v1), or as OpenPGP messages that
// are signed as well. Of these it is SEIPDv1 with AES-256 (RFC 4880 §5.13),
// which GnuPG 2.2 opens, unless every key asks for SEIPDv2 (RFC 9580 §5.13.2).
type Envelope struct {
	Sealing
	Fingerprints []string // of the recipients' keys

	to     []Recipient
	signer *OpenPGPKey
	at     time.Time
}

// Sealing is what the clinic records of how a drop was encrypted.
type Sealing struct {
	Format string   `json:"format"`
	Cipher string   `json:"cipher"`
	Keys   []string `json:"keys"` // algorithm of each
	Signed string   `json:"signed_by,omitempty"`
	Module string   `json:"module"` // that did it, with its version
}

// NewEnvelope puts keys of one kind together. The signer may be nil unless they
// are of OpenPGP. At is the time that signatures bear.
func NewEnvelope(to []Recipient, signer *OpenPGPKey, at time.Time) (*Envelope, error) {
	if len(to) == 0 {
		return nil, errors.New("no key of the recipient is given")
	}
	e := &Envelope{to: to, signer: signer, at: at}
	for _, r := range to {
		if r.kind != to[0].kind {
			return nil, fmt.Errorf("%s and %s cannot be used for one file: each key opens all of it, and it is as safe as the weakest; write those of one kind", to[0].kind, r.kind)
		}
		e.Fingerprints, e.Keys = append(e.Fingerprints, r.Fingerprint), append(e.Keys, r.Algorithm)
	}
	if !e.openPGP() {
		e.Format, e.Cipher, e.Module = "age-encryption.org/v1", "ChaCha20-Poly1305", moduleOf("filippo.io/age")
		return e, nil
	}
	if signer == nil {
		return nil, errors.New("what is encrypted with OpenPGP is signed as well, and keys.openpgp names no key; " +
			"`postern keys new openpgp FILE --name NAME` makes one")
	}
	e.Signed, e.Module = signer.Fingerprint(), moduleOf("github.com/ProtonMail/go-crypto")
	e.Format, e.Cipher = "OpenPGP SEIPDv1", "AES-256-CFB"
	if to[0].kind == pgpRFC9580 {
		suite, err := suiteOf(to)
		if err != nil {
			return nil, err
		}
		e.Format, e.Cipher = "OpenPGP SEIPDv2", suite
	}
	return e, nil
}

func (e *Envelope) openPGP() bool { return e.to[0].pgp != nil }

// suffix is how names of encrypted files end.
func (e *Envelope) suffix() string {
	if e.openPGP() {
		return pgpEnd
	}
	return ageEnd
}

// cutEnvelope takes the suffix of an envelope from a name.
func cutEnvelope(name string) (clear, suffix string) {
	for _, suffix := range []string{ageEnd, pgpEnd} {
		if clear, found := strings.CutSuffix(name, suffix); found {
			return clear, suffix
		}
	}
	return name, ""
}

// encrypt gives the writer of one file's plaintext. What it makes is whole only
// after Close.
func (e *Envelope) encrypt(file io.Writer) (io.WriteCloser, error) {
	if !e.openPGP() {
		keys := make([]age.Recipient, len(e.to))
		for i, r := range e.to {
			keys[i] = r.Key
		}
		return age.Encrypt(file, keys...)
	}
	entities := make([]*openpgp.Entity, len(e.to))
	for i, r := range e.to {
		entities[i] = r.pgp
	}
	message, err := openpgp.Encrypt(file, entities, nil, []*openpgp.Entity{e.signer.entity}, nil, pgpConfig(e.at))
	if err != nil {
		return nil, err
	}
	return &evenWriter{bufio.NewWriterSize(message, evenSize), message}, nil
}

// evenSize is the length of an OpenPGP message's pieces (RFC 9580 §4.2.1.4).
const evenSize = 64 << 10

// evenWriter passes on pieces of one length, whatever it is given. An OpenPGP
// message states the length of each piece, so that otherwise its length would
// tell more of what was written than the padded length does.
type evenWriter struct {
	pieces  *bufio.Writer
	message io.Closer
}

func (w *evenWriter) Write(p []byte) (int, error) {
	total := 0
	for part := range slices.Chunk(p, evenSize) { // a longer one could pass the buffer by
		n, err := w.pieces.Write(part)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (w *evenWriter) Close() error { return errors.Join(w.pieces.Flush(), w.message.Close()) }

// moduleOf is a module that is built in, with its version as far as it is known.
func moduleOf(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return path + " " + m.Version
			}
		}
	}
	return path
}
