package keyring

import (
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
)

// alphabet is Crockford's base32 in lower case: no i, l, o, u.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// Stream is a sequence of 256 GiB of pseudorandom bytes (RFC 8439 §2.3): equal
// for equal secret and labels, however it is read; it ends the process rather
// than repeat itself. It is a math/rand/v2 Source. It is for one goroutine.
type Stream struct {
	unprintable
	cipher *chacha20.Cipher
}

// NewStream starts the stream for a use that the labels name, in order.
func NewStream(secret Secret, labels ...string) *Stream {
	key := secret.derive("stream", labels...)
	cipher, err := chacha20.NewUnauthenticatedCipher(key[:], make([]byte, chacha20.NonceSize))
	if err != nil {
		panic("keyring: " + err.Error()) // only for wrong lengths
	}
	return &Stream{cipher: cipher}
}

// Read fills p. It never fails.
func (s *Stream) Read(p []byte) (int, error) {
	clear(p)
	s.cipher.XORKeyStream(p, p)
	return len(p), nil
}

// Uint64 draws eight bytes.
func (s *Stream) Uint64() uint64 {
	var b [8]byte
	_, _ = s.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// Code draws n characters of Crockford base32 in lower case, five bits each.
func (s *Stream) Code(n int) string {
	code := make([]byte, n)
	_, _ = s.Read(code)
	for i, b := range code {
		code[i] = alphabet[b&31] // 32 divides 256: no character is likelier
	}
	return string(code)
}
