package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// ParseRecipient reads one key that age encrypts to: its own (age1…, also the
// post-quantum age1pq1…), ssh-ed25519 or ssh-rsa.
func ParseRecipient(line string) (Recipient, error) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "ssh-") {
		return sshRecipient(line)
	}
	r := Recipient{Fingerprint: Fingerprint(line)}
	keys, err := age.ParseRecipients(strings.NewReader(line))
	if err != nil || len(keys) != 1 {
		return Recipient{}, errors.New("it is not one age public key (age1…): print it with age-keygen -y FILE")
	}
	r.Key, r.Algorithm, r.kind = keys[0], "X25519", ageClassic
	if _, hybrid := keys[0].(*age.HybridRecipient); hybrid {
		r.Algorithm, r.kind = "ML-KEM-768 with X25519", ageHybrid
	}
	return r, nil
}

// sshRecipient refuses what age refuses, such as RSA below 2048 bits.
func sshRecipient(line string) (Recipient, error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		return Recipient{}, errors.New("it is not one SSH public key (ssh-ed25519 … or ssh-rsa …)")
	}
	key, err := agessh.ParseRecipient(line)
	if err != nil {
		return Recipient{}, fmt.Errorf("age encrypts to ssh-ed25519 and to ssh-rsa of 2048 bits and more, and not to this key: %w", err)
	}
	return Recipient{Key: key, Fingerprint: ssh.FingerprintSHA256(public), Algorithm: public.Type(), kind: ageClassic}, nil
}

// Fingerprint of an age public key: SHA-256 of its text, written as OpenSSH
// writes that of its own keys.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// ParseIdentities reads a file as age-keygen writes it, or an SSH private key
// without a passphrase. The error never quotes the file.
func ParseIdentities(file []byte) ([]age.Identity, error) {
	if bytes.HasPrefix(bytes.TrimSpace(file), []byte("-----BEGIN ")) {
		id, err := agessh.ParseIdentity(file)
		if err != nil {
			return nil, errors.New("it is not an SSH private key, Ed25519 or RSA, without a passphrase")
		}
		return []age.Identity{id}, nil
	}
	ids, err := age.ParseIdentities(bytes.NewReader(file))
	if err != nil {
		return nil, errors.New("it is not a file of age secret keys, as age-keygen writes it")
	}
	return ids, nil
}
