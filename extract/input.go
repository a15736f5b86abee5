package extract

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/internal/phi"
)

// maxWindow is the largest window of a zstd file; a larger one (zstd --ultra
// or --long) would not fit into the memory that a run may use.
const maxWindow = 32 << 20

// input is one file of an extract, read once from its first byte to its last:
// hashed as stored, decompressed by its suffix, without a byte-order mark.
type input struct {
	file   *File
	stored *os.File
	sum    hash.Hash
	size   int64
	text   io.Reader
	zstd   *zstd.Decoder
}

func openInput(file *File) (*input, error) {
	stored, err := os.Open(file.Path)
	if err != nil {
		return nil, &FileError{File: file.Name, Reason: "cannot be opened", Err: err}
	}
	in := &input{file: file, stored: stored, sum: sha256.New()}
	hashed := bufio.NewReaderSize(hashing{in}, 256<<10)
	switch {
	case strings.HasSuffix(file.Name, ".gz"):
		in.text, err = gzip.NewReader(hashed)
	case strings.HasSuffix(file.Name, ".zst"):
		if _, err = hashed.Peek(1); err == nil { // the decoder takes nothing for an empty file
			in.zstd, err = zstd.NewReader(hashed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
			in.text = in.zstd
		}
	default:
		in.text = hashed
	}
	if err == nil {
		err = in.skipMark()
	}
	if err != nil {
		_ = stored.Close()
		return nil, in.failed(err)
	}
	return in, nil
}

type hashing struct{ in *input }

func (h hashing) Read(p []byte) (int, error) {
	n, err := h.in.stored.Read(p)
	if !h.in.file.Unsummed {
		h.in.sum.Write(p[:n])
	}
	h.in.size += int64(n)
	return n, err
}

var byteOrderMark = []byte("\xEF\xBB\xBF")

func (in *input) skipMark() error {
	text := bufio.NewReader(in.text) // large reads go past its buffer
	in.text = text
	head, err := text.Peek(len(byteOrderMark))
	if bytes.Equal(head, byteOrderMark) {
		_, err = text.Discard(len(head))
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// Read gives the text of the file.
func (in *input) Read(p []byte) (int, error) {
	n, err := in.text.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = in.failed(err)
	}
	return n, err
}

func (in *input) failed(err error) error {
	reason := "cannot be read"
	if strings.HasSuffix(in.file.Name, ".gz") || strings.HasSuffix(in.file.Name, ".zst") {
		reason = "is cut short or damaged: its compressed data cannot be read; fetch it again"
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // of the stored file, which must not look like an end of the text
	}
	return &FileError{File: in.file.Name, Reason: reason, Err: err}
}

// finish reads what is left, closes the file and gives the SHA-256 of its
// stored bytes. A file whose size is not that of the listing has changed; of
// a pipe the listing knows none.
func (in *input) finish() (sum string, err error) {
	_, err = io.Copy(io.Discard, in)
	if closing := in.Close(); err == nil {
		err = closing
	}
	if err == nil && in.file.Size >= 0 && in.size != in.file.Size {
		err = &FileError{File: in.file.Name, Reason: "changed while it was read; let the extract finish before the run begins"}
	}
	if in.file.Unsummed {
		return "", err
	}
	return hex.EncodeToString(in.sum.Sum(nil)), err
}

func (in *input) Close() error {
	if in.zstd != nil {
		in.zstd.Close()
	}
	return in.stored.Close()
}

// LineOf reads a file again, for one of its lines as Place counts them, with its
// end; nil if there are fewer. The SHA-256 of the stored bytes tells whether it
// is still the file that somebody means.
func LineOf(path string, number int64) (line phi.Bytes, sum string, err error) {
	in, err := openInput(&File{Name: path, Path: path, Size: -1})
	if err != nil {
		return nil, "", err
	}
	text := bufio.NewReaderSize(in, 64<<10)
	for at := int64(1); at <= number && err == nil; {
		var piece []byte
		piece, err = text.ReadSlice('\n')
		if at == number && len(line) < MaxRecord {
			line = append(line, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil
		} else {
			at++
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, "", errors.Join(err, in.Close())
	}
	sum, err = in.finish()
	return line, sum, err
}
