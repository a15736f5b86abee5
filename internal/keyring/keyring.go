// Package keyring reads secrets by reference and derives the clinic's keys.
//
// Configuration never holds a secret, only where it lies: file:PATH, env:NAME
// or credential:NAME (systemd's LoadCredential). From the clinic's master key
// come, by HKDF-SHA256 (RFC 5869), a wrapping key for each label
// (XChaCha20-Poly1305) and keys of their own for other uses. Every recipient,
// purpose and epoch has its own random Secret, stored wrapped: destroying it
// is deleting the wrapped bytes. A Secret also keys the stream from which
// codes, row keys and shuffles are drawn (ChaCha20, RFC 8439), so the same
// secret and labels give the same draws, and nothing derives from a patient.
//
// The derivations are fixed: data wrapped by one version opens in the next.
// Its values print a placeholder, also inside other values, except in
// unexported fields, where package fmt does not ask them.
package keyring

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/posternhealth/postern/internal/durable"
)

const placeholder = "[secret]"

// Secret is a key, or what keys derive from. It cannot be printed.
type Secret [32]byte

func (Secret) String() string               { return placeholder }
func (Secret) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, placeholder) }
func (Secret) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// NewSecret draws a secret from the operating system.
func NewSecret() Secret {
	var s Secret
	_, _ = rand.Read(s[:]) // never fails: it ends the process instead
	return s
}

// derive is HKDF-SHA256 of a secret for one use. Each part is preceded by its
// length, so that no two lists of parts give the same info.
func (s Secret) derive(use string, parts ...string) Secret {
	info := "postern " + use + " v1"
	for _, part := range parts {
		info += "\x00" + strconv.Itoa(len(part)) + ":" + part
	}
	key, err := hkdf.Key(sha256.New, s[:], nil, info, len(s))
	if err != nil { // only for lengths over 255 hashes, or under FIPS 140 mode for short keys
		panic("keyring: HKDF-SHA256 refuses 32 bytes: " + err.Error())
	}
	return Secret(key)
}

// Key derives the key for a use of the secret that label names.
func (s Secret) Key(label string) Secret { return s.derive("key", label) }

// unprintable is embedded in what holds a Secret: package fmt asks no
// unexported field how it prints.
type unprintable struct{}

func (unprintable) String() string               { return placeholder }
func (unprintable) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, placeholder) }
func (unprintable) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// Master is the clinic's master key.
type Master struct {
	unprintable
	secret Secret
}

// masterPrefix starts the one line of a master key file.
const masterPrefix = "postern-master-key-v1 "

// NewMasterFile draws a master key and writes it to a new file that only its
// owner can read; unless passphrase is empty, as `age -p` would encrypt it to
// that (age v1, scrypt). It never overwrites a file.
func NewMasterFile(path, passphrase string) error {
	key := NewSecret()
	data := []byte(masterPrefix + base64.StdEncoding.EncodeToString(key[:]) + "\n")
	var err error
	if passphrase != "" {
		data, err = seal(data, passphrase)
	}
	if err == nil {
		err = durable.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write a new master key: %w", err)
	}
	return nil
}

// LoadMaster reads the master key that ref points to; base is the folder that
// relative paths are relative to. A key under a passphrase is opened by the one
// that the reference passphrase points to or, when that is "", by one that is
// asked for at the terminal.
func LoadMaster(ref, passphrase, base string) (*Master, error) {
	data, err := Resolve(ref, base)
	if err == nil {
		data, err = unseal(data, ref, passphrase, base)
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	text, found := strings.CutPrefix(strings.TrimRight(string(data), "\r\n"), masterPrefix)
	key, err := base64.StdEncoding.Strict().DecodeString(text)
	if !found || err != nil || len(key) != len(Secret{}) {
		return nil, fmt.Errorf("read the master key from %s: not a line that postern init or postern keys new wrote; "+
			"restore the file from its backup", ref)
	}
	return &Master{secret: Secret(key)}, nil
}

// Fingerprint tells one master key from another, and nothing of it: HKDF-SHA256
// of the key for this use alone, written as OpenSSH writes fingerprints.
func (m *Master) Fingerprint() string {
	sum := m.secret.derive("fingerprint")
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// Key derives the key for a use that label names.
func (m *Master) Key(label string) Secret { return m.secret.derive("key", label) }

// boxVersion is the first byte of what Wrap gives; a random nonce follows,
// then the ciphertext.
const boxVersion = 1

// ErrUnwrap says that a box was made with another master key or label, or was
// altered; these cannot be told apart.
var ErrUnwrap = errors.New("the wrapped key does not open: it was wrapped with another master key " +
	"or for another use, or was altered; check that the master key is this clinic's, or restore from backup")

// Wrap encrypts plain for the use that label names.
func (m *Master) Wrap(label string, plain []byte) []byte {
	box := make([]byte, 1+chacha20poly1305.NonceSizeX, 1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	box[0] = boxVersion
	nonce := box[1:]
	_, _ = rand.Read(nonce) // never fails
	key := m.secret.derive("wrap", label)
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("keyring: " + err.Error()) // only for a wrong key length
	}
	return aead.Seal(box, nonce, plain, box[:1])
}

// Unwrap opens what Wrap gave for the same label, or gives ErrUnwrap.
func (m *Master) Unwrap(label string, box []byte) ([]byte, error) {
	if len(box) < 1+chacha20poly1305.NonceSizeX || box[0] != boxVersion {
		return nil, ErrUnwrap
	}
	key := m.secret.derive("wrap", label)
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		return nil, err
	}
	nonce, ciphertext := box[1:1+aead.NonceSize()], box[1+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, ciphertext, box[:1])
	if err != nil {
		return nil, ErrUnwrap
	}
	return plain, nil
}
