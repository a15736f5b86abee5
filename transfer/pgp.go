package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// pgpConfig leaves what is weak refused, as the module has it: ElGamal, DSA,
// RSA below 2048 bits, SHA-1, messages without protection against change.
func pgpConfig(at time.Time) *packet.Config {
	return &packet.Config{DefaultCipher: packet.CipherAES256, Time: func() time.Time { return at }}
}

// ParseOpenPGP reads a recipient's OpenPGP public key, armored or not. With an
// error that is ErrKeyLapsed the recipient is known all the same.
func ParseOpenPGP(file []byte, at time.Time) (Recipient, error) {
	keys, err := readOpenPGP(file)
	if err != nil || len(keys) != 1 {
		return Recipient{}, errors.New("it is not one OpenPGP public key; the recipient exports it with gpg --export --armor")
	}
	r := Recipient{pgp: keys[0], Fingerprint: pgpFingerprint(keys[0])}
	if r.pgp.PrivateKey != nil {
		return Recipient{}, errors.New("it holds a private key: destroy it, and ask the recipient for another key, of which they keep the private half")
	}
	key, lapsed := r.pgp.EncryptionKeyWithError(at, pgpConfig(at))
	if lapsed != nil {
		var always time.Time // dates are not judged
		if key, err = r.pgp.EncryptionKeyWithError(always, pgpConfig(at)); err != nil && !errors.Is(pgpCause(err), pgperrors.ErrKeyRevoked) {
			return Recipient{}, fmt.Errorf("nothing can be encrypted to it: %w", err)
		}
		lapsed = fmt.Errorf("%w: %w", ErrKeyLapsed, pgpCause(lapsed))
	}
	if key.PublicKey == nil {
		return r, lapsed
	}
	r.Algorithm, r.Expires = pgpAlgorithm(key.PublicKey), expiryOf(key)
	if r.kind, err = pgpKind(key); err != nil {
		return Recipient{}, err
	}
	return r, lapsed
}

// ErrKeyLapsed is of a recipient's key that is expired, revoked or not yet valid.
var ErrKeyLapsed = errors.New("nothing may be encrypted to the key any more")

func pgpCause(err error) error {
	var choice pgperrors.ErrEncryptionKeySelection
	if p := new(pgperrors.ErrEncryptionKeySelection); errors.As(err, &p) {
		choice = *p
	} else if !errors.As(err, &choice) {
		return err
	}
	if choice.PrimaryKeyErr != nil {
		return choice.PrimaryKeyErr
	}
	return choice.EncSelectionErr
}

// pgpKind tells which of the two envelopes a key asks for. One that does not
// take AES-256 gets neither.
func pgpKind(key openpgp.Key) (kind, error) {
	self := key.PrimarySelfSignature
	switch {
	case self.SEIPDv2:
		_, err := suiteOf([]Recipient{{pgp: key.Entity}})
		return pgpRFC9580, err
	case key.PublicKey.Version > 4:
		return "", errors.New("it is of version 6 and does not say that it takes SEIPDv2 (RFC 9580 §5.2.3.32); ask the recipient for one that does")
	case !bytes.Contains(self.PreferredSymmetric, []byte{byte(packet.CipherAES256)}):
		return "", errors.New("it does not say that it takes AES-256; ask the recipient for one that does")
	}
	return pgpRFC4880, nil
}

// suiteOf names the cipher that the module takes for SEIPDv2: the first that
// all keys ask for.
func suiteOf(to []Recipient) (string, error) {
	for _, s := range []struct {
		mode packet.AEADMode
		name string
	}{{packet.AEADModeGCM, "AES-256-GCM"}, {packet.AEADModeEAX, "AES-256-EAX"}, {packet.AEADModeOCB, "AES-256-OCB"}} {
		all := true
		for _, r := range to {
			self, err := r.pgp.PrimarySelfSignature(time.Time{}, nil)
			all = all && err == nil && hasSuite(self.PreferredCipherSuites, [2]uint8{uint8(packet.CipherAES256), uint8(s.mode)})
		}
		if all {
			return s.name, nil
		}
	}
	return "", errors.New("the keys do not agree on a cipher suite with AES-256 (RFC 9580 §5.2.3.15); ask the recipient for keys that do")
}

func hasSuite(list [][2]uint8, suite [2]uint8) bool {
	for _, s := range list {
		if s == suite {
			return true
		}
	}
	return false
}

func pgpAlgorithm(key *packet.PublicKey) string {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoX25519:
		return "X25519"
	case packet.PubKeyAlgoX448:
		return "X448"
	case packet.PubKeyAlgoMlkem768X25519:
		return "ML-KEM-768 with X25519"
	case packet.PubKeyAlgoMlkem1024X448:
		return "ML-KEM-1024 with X448"
	case packet.PubKeyAlgoECDH:
		curve, _ := key.Curve()
		return "ECDH on " + string(curve)
	}
	bits, _ := key.BitLength()
	return fmt.Sprintf("RSA %d", bits)
}

// expiryOf is when the key, or its primary key, ends: the earlier of both.
func expiryOf(key openpgp.Key) (first time.Time) {
	for _, of := range []struct {
		key  *packet.PublicKey
		self *packet.Signature
	}{{key.Entity.PrimaryKey, key.PrimarySelfSignature}, {key.PublicKey, key.SelfSignature}} {
		if s := of.self.KeyLifetimeSecs; s != nil && *s > 0 {
			if end := of.key.CreationTime.Add(time.Duration(*s) * time.Second); first.IsZero() || end.Before(first) {
				first = end
			}
		}
	}
	return first
}

// pgpFingerprint writes a fingerprint as manifests have it: 40 hex digits of a
// key of version 4, 64 of version 6.
func pgpFingerprint(e *openpgp.Entity) string {
	return fmt.Sprintf("OpenPGP:%X", e.PrimaryKey.Fingerprint)
}

func readOpenPGP(file []byte) (openpgp.EntityList, error) {
	if bytes.Contains(file, []byte("-----BEGIN PGP ")) {
		return openpgp.ReadArmoredKeyRing(bytes.NewReader(file))
	}
	return openpgp.ReadKeyRing(bytes.NewReader(file))
}

// OpenPGPKey is the clinic's own OpenPGP key, of version 4 and Ed25519. It signs
// what is encrypted with OpenPGP, and nothing is encrypted to it.
type OpenPGPKey struct{ entity *openpgp.Entity }

// NewOpenPGPKey makes a key in the clinic's name and gives its private half,
// armored and without a passphrase.
func NewOpenPGPKey(name string, at time.Time) ([]byte, error) {
	config := pgpConfig(at)
	config.Algorithm = packet.PubKeyAlgoEdDSA // which GnuPG 2.2 knows
	entity, err := openpgp.NewEntity(name, "", "", config)
	if err != nil {
		return nil, fmt.Errorf("make an OpenPGP key: %w", err)
	}
	entity.Subkeys = nil
	return armored(openpgp.PrivateKeyType, func(w io.Writer) error { return entity.SerializePrivateWithoutSigning(w, nil) })
}

// LoadOpenPGPKey reads what NewOpenPGPKey gave. The error never quotes it.
func LoadOpenPGPKey(file []byte) (*OpenPGPKey, error) {
	keys, err := readOpenPGP(file)
	if err != nil || len(keys) != 1 || keys[0].PrivateKey == nil || keys[0].PrivateKey.Encrypted {
		return nil, errors.New("it is not one OpenPGP private key without a passphrase, as `postern keys new openpgp` makes it")
	}
	return &OpenPGPKey{keys[0]}, nil
}

// Fingerprint is as a manifest writes that of an OpenPGP key.
func (k *OpenPGPKey) Fingerprint() string { return pgpFingerprint(k.entity) }

// Public is the public half, armored, for recipients to check signatures by.
func (k *OpenPGPKey) Public() (string, error) {
	text, err := armored(openpgp.PublicKeyType, k.entity.Serialize)
	return string(text), err
}

func armored(block string, write func(io.Writer) error) ([]byte, error) {
	var text bytes.Buffer
	w, err := armor.Encode(&text, block, nil)
	if err == nil {
		err = errors.Join(write(w), w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("write an OpenPGP key: %w", err)
	}
	return append(text.Bytes(), '\n'), nil
}

// Keyring holds a recipient's OpenPGP private keys, which open drops.
type Keyring struct{ keys openpgp.EntityList }

// IsOpenPGP tells whether a file holds keys of OpenPGP, as gpg --export-secret-keys
// --armor writes them, rather than of age.
func IsOpenPGP(file []byte) bool { return bytes.Contains(file, []byte("-----BEGIN PGP PRIVATE KEY")) }

// ParseKeyring reads OpenPGP private keys. It asks for their passphrase only if
// they have one. The error never quotes the file.
func ParseKeyring(file []byte, passphrase func() (string, error)) (*Keyring, error) {
	keys, err := readOpenPGP(file)
	if err != nil || len(keys) == 0 {
		return nil, errors.New("it is not a file of OpenPGP private keys, as gpg --export-secret-keys --armor writes it")
	}
	for _, k := range keys {
		if !isLocked(k) {
			continue
		}
		words, err := passphrase()
		if err != nil {
			return nil, err
		}
		if err := k.DecryptPrivateKeys([]byte(words)); err != nil {
			return nil, fmt.Errorf("the passphrase does not open the OpenPGP key %s", strings.TrimPrefix(pgpFingerprint(k), "OpenPGP:"))
		}
	}
	return &Keyring{keys}, nil
}

func isLocked(e *openpgp.Entity) bool {
	locked := e.PrivateKey != nil && e.PrivateKey.Encrypted
	for _, s := range e.Subkeys {
		locked = locked || s.PrivateKey != nil && s.PrivateKey.Encrypted
	}
	return locked
}

var errNotForUs = errors.New("it is encrypted to none of the keys here")

// decrypt gives the plaintext of a message, which counts only once it was read to
// its end without an error. The signature in it is not judged: the manifest's
// is, and it covers the message.
func (k *Keyring) decrypt(file io.Reader) (io.Reader, error) {
	if k == nil {
		return nil, errNotForUs
	}
	message, err := openpgp.ReadMessage(file, k.keys, nil, nil)
	switch {
	case errors.Is(err, pgperrors.ErrKeyIncorrect):
		return nil, errNotForUs
	case err != nil:
		return nil, err
	case !message.IsEncrypted:
		return nil, errors.New("it is not encrypted")
	}
	return message.UnverifiedBody, nil
}
