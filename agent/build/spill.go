package build

import (
	"bufio"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// spill is a file of frames encrypted to a key that exists only in this
// process: what is on disk is noise once the process has ended, however it
// ended. The file is unlinked as soon as it is open where the system allows
// that, so a killed run leaves not even the noise.
type spill struct {
	file   *os.File
	out    *bufio.Writer
	aead   cipher.AEAD
	frames []frameAt
	end    int64
	buf    []byte
}

type frameAt struct {
	offset int64
	size   int32
}

func newSpill(dir string) (*spill, error) {
	file, err := os.CreateTemp(dir, "spill-*")
	if err != nil {
		return nil, fmt.Errorf("spill file: %w", err)
	}
	_ = os.Remove(file.Name()) // on Windows this fails and close removes it
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &spill{file: file, out: bufio.NewWriterSize(file, 256<<10), aead: aead}, nil
}

// write appends one frame and returns its number.
func (s *spill) write(plain []byte) (int, error) {
	s.buf = s.aead.Seal(s.buf[:0], s.nonce(len(s.frames)), plain, nil)
	if _, err := s.out.Write(s.buf); err != nil {
		return 0, fmt.Errorf("spill file: %w", err)
	}
	s.frames = append(s.frames, frameAt{offset: s.end, size: int32(len(s.buf))})
	s.end += int64(len(s.buf))
	return len(s.frames) - 1, nil
}

// read gives the plaintext of a frame, in buf when it is large enough.
func (s *spill) read(n int, buf []byte) ([]byte, error) {
	if s.out.Buffered() > 0 {
		if err := s.out.Flush(); err != nil {
			return nil, fmt.Errorf("spill file: %w", err)
		}
	}
	at := s.frames[n]
	if cap(s.buf) < int(at.size) {
		s.buf = make([]byte, at.size)
	}
	sealed := s.buf[:at.size]
	if _, err := s.file.ReadAt(sealed, at.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("spill file: %w", err)
	}
	plain, err := s.aead.Open(buf[:0], s.nonce(n), sealed, nil)
	if err != nil {
		return nil, fmt.Errorf("spill file was altered at frame %d: %w", n, err)
	}
	return plain, nil
}

func (s *spill) nonce(frame int) []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[4:], uint64(frame))
	return nonce
}

func (s *spill) close() error {
	err := s.file.Close()
	if rm := os.Remove(s.file.Name()); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	return err
}
