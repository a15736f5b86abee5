package keyring

import (
	"encoding/binary"

	"golang.org/x/crypto/chacha20"
)

// alphabet is Crockford's base32 in lower case: no i, l, o, u.
const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// streamSpan is how many bytes come from one nonce: half of what ChaCha20's
// 32-bit block counter allows.
const streamSpan = 1 << 37

// Stream is an endless sequence of pseudorandom bytes: equal for equal secret
// and labels, however it is read. It is a math/rand/v2 Source. It is for one
// goroutine.
type Stream struct {
	unprintable
	key    Secret
	nonce  uint64
	cipher *chacha20.Cipher
	left   uint64 // bytes until the next nonce
}

// NewStream starts the stream for a use that the labels name, in order.
func NewStream(secret Secret, labels ...string) *Stream {
	return &Stream{key: secret.derive("stream", labels...)}
}

// Read fills p. It never fails.
func (s *Stream) Read(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if s.left == 0 {
			s.next()
		}
		part := p[:min(uint64(len(p)), s.left)]
		clear(part)
		s.cipher.XORKeyStream(part, part)
		s.left -= uint64(len(part))
		p = p[len(part):]
	}
	return n, nil
}

func (s *Stream) next() {
	var nonce [chacha20.NonceSize]byte
	binary.LittleEndian.PutUint64(nonce[4:], s.nonce)
	cipher, err := chacha20.NewUnauthenticatedCipher(s.key[:], nonce[:])
	if err != nil {
		panic("keyring: " + err.Error()) // only for wrong lengths
	}
	s.cipher, s.left = cipher, streamSpan
	s.nonce++
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
