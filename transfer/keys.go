package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
)

// ParseRecipient reads one age recipient (age1…), with its fingerprint.
func ParseRecipient(line string) (Recipient, error) {
	line = strings.TrimSpace(line)
	keys, err := age.ParseRecipients(strings.NewReader(line))
	if err != nil || len(keys) != 1 {
		return Recipient{}, errors.New("it is not one age public key (age1…): print it with age-keygen -y FILE")
	}
	return Recipient{Key: keys[0], Fingerprint: Fingerprint(line)}, nil
}

// Fingerprint of an age public key: SHA-256 of its text, written as OpenSSH
// writes that of its own keys.
func Fingerprint(recipient string) string {
	sum := sha256.Sum256([]byte(recipient))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// ParseIdentities reads a file as age-keygen writes it. The error never quotes
// the file.
func ParseIdentities(file []byte) ([]age.Identity, error) {
	ids, err := age.ParseIdentities(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("it is not a file of age secret keys, as age-keygen writes it")
	}
	return ids, nil
}
