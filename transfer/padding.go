package transfer

import (
	"encoding/binary"
	"io"
	"math/bits"
)

// The least lengths before encryption; small drops all look alike.
const (
	minPart = 4 << 10
	minBook = 16 << 10
)

// Padme rounds a length up so that it tells O(log log n) bits about the
// original, at a cost of at most 12 % (Nikitin and others, Reducing Metadata
// Leakage from Encrypted Files and Communication with PURBs, §4).
func Padme(length int64) int64 {
	if length < 2 {
		return length
	}
	exponent := bits.Len64(uint64(length)) - 1
	mantissa := bits.Len64(uint64(exponent))
	mask := int64(1)<<(exponent-mantissa) - 1
	return (length + mask) &^ mask
}

// A skippable frame (RFC 8878 §3.1.2): magic number, length, bytes that every
// decoder passes over. So padding needs no tool to take it away.
const (
	skippableMagic  = 0x184D2A5E
	skippableHeader = 8
	skippableMost   = 1 << 30
)

// writeSkippable ends a zstd stream of the given length on a padded length.
func writeSkippable(w io.Writer, length int64) error {
	rest := Padme(max(length+skippableHeader, minPart)) - length
	for rest > 0 {
		frame := rest
		if frame > skippableMost {
			frame = skippableMost / 2 // leaves room for the next header
		}
		if err := writeFrame(w, frame); err != nil {
			return err
		}
		rest -= frame
	}
	return nil
}

func writeFrame(w io.Writer, length int64) error {
	var header [skippableHeader]byte
	binary.LittleEndian.PutUint32(header[:], skippableMagic)
	binary.LittleEndian.PutUint32(header[4:], uint32(length-skippableHeader))
	if _, err := w.Write(header[:]); err != nil {
		return err
	}
	_, err := io.CopyN(w, zeros{}, length-skippableHeader)
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
