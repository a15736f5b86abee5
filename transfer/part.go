package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"path/filepath"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/internal/durable"
)

// windowSize is what compresses rows of FHIR fastest, and no worse than larger
// ones: on one core 470 MB/s, against 330 at 1 MiB and 200 at 4 MiB.
const windowSize = 256 << 10

// cipherFile is one encrypted file on its way to the disk, measured as it is written.
type cipherFile struct {
	io.WriteCloser // plaintext goes in here
	file           *durable.File
	sum            hash.Hash
	size           int64
}

func newCipherFile(path string, encrypt func(io.Writer) (io.WriteCloser, error)) (*cipherFile, error) {
	file, err := durable.Create(path, 0o600)
	if err != nil {
		return nil, err
	}
	c := &cipherFile{file: file, sum: sha256.New()}
	c.WriteCloser, err = encrypt(ciphertext{c})
	if err != nil {
		file.Abort()
		return nil, fmt.Errorf("encrypt %s: %w", filepath.Base(path), err)
	}
	return c, nil
}

// toAge encrypts to the clinic's own key.
func toAge(key age.Recipient) func(io.Writer) (io.WriteCloser, error) {
	return func(file io.Writer) (io.WriteCloser, error) { return age.Encrypt(file, key) }
}

type ciphertext struct{ c *cipherFile }

func (w ciphertext) Write(p []byte) (int, error) {
	w.c.sum.Write(p)
	w.c.size += int64(len(p))
	return w.c.file.Write(p)
}

func (c *cipherFile) finish() (SealedFile, error) {
	if err := c.Close(); err != nil {
		c.file.Abort()
		return SealedFile{}, fmt.Errorf("encrypt %s: %w", filepath.Base(c.file.Path()), err)
	}
	if err := c.file.Commit(); err != nil {
		return SealedFile{}, err
	}
	return SealedFile{filepath.Base(c.file.Path()), hex.EncodeToString(c.sum.Sum(nil)), c.size}, nil
}

// twin writes one plaintext to the recipients' file and to the archive's.
type twin struct{ sent, kept *cipherFile }

func (b *Builder) newTwin(name, kept string) (*twin, error) {
	sent, err := newCipherFile(filepath.Join(b.spec.Dir, name), b.spec.Envelope.encrypt)
	if err != nil {
		return nil, err
	}
	archived, err := newCipherFile(filepath.Join(b.spec.Dir, ArchiveFolder, kept+ageEnd), toAge(b.spec.Archive))
	if err != nil {
		sent.file.Abort()
		return nil, err
	}
	return &twin{sent, archived}, nil
}

func (t *twin) Write(p []byte) (int, error) {
	if n, err := t.sent.Write(p); err != nil {
		return n, err
	}
	return t.kept.Write(p)
}

func (t *twin) abort() {
	t.sent.file.Abort()
	t.kept.file.Abort()
}

// finishTwin records both files; the order of calls is the order of upload.
func (b *Builder) finishTwin(t *twin) error {
	defer t.abort()
	sent, err := t.sent.finish()
	if err != nil {
		return err
	}
	kept, err := t.kept.finish()
	if err != nil {
		return err
	}
	b.files = append(b.files, sent)
	b.archive = append(b.archive, kept)
	return nil
}

// newEncoder gives one whose output depends on its input alone, however it
// was cut into writes and on however many cores.
func newEncoder(w io.Writer) (*zstd.Encoder, error) {
	return zstd.NewWriter(w,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowSize),
		zstd.WithLowerEncoderMem(true),
		zstd.WithZeroFrames(true), // an empty part is still a zstd file
	)
}

// PartInfo says what a part is.
type PartInfo struct {
	Dataset string
	Format  string // CSV, NDJSON, or what Lines gives
	Part2   bool
	Columns []string // of all but NDJSON
	Action  string   // Add, Change, Void or empty
}

// PartWriter takes the plaintext of one part, in whole lines by its end.
type PartWriter struct {
	b       *Builder
	info    BookPart
	twin    *twin
	sum     hash.Hash
	packed  packedWriter
	bare    io.WriteCloser // packs the recipient's file, of profile bare; else nil
	lines   int64
	last    byte
	closed  bool
	failure error
}

// File is the name that the recipient's file of the part will have.
func (w *PartWriter) File() string {
	if w.bare != nil {
		return openedName(w.info.Name)
	}
	return w.info.file()
}

// packedWriter takes the zstd stream, and counts it.
type packedWriter struct {
	to   io.Writer
	size int64
}

func (p *packedWriter) Write(data []byte) (int, error) {
	p.size += int64(len(data))
	return p.to.Write(data)
}

// Write takes plaintext. After an error the part, and so the drop, can only be
// discarded.
func (w *PartWriter) Write(p []byte) (int, error) {
	if w.closed {
		return 0, fmt.Errorf("write part %s: it is closed", w.info.Name)
	}
	if w.failure != nil || len(p) == 0 {
		return 0, w.failure
	}
	w.sum.Write(p)
	w.lines += int64(bytes.Count(p, newline))
	w.last = p[len(p)-1]
	w.info.PlaintextBytes += int64(len(p))
	n, err := w.b.encoder.Write(p)
	if err == nil && w.bare != nil {
		n, err = w.bare.Write(p)
	}
	if err != nil {
		w.failure = fmt.Errorf("write part %s: %w", w.info.Name, err)
	}
	return n, w.failure
}

var newline = []byte{'\n'}

// Close ends the part. The rows that the caller counted must be the lines that
// were written; otherwise the recipient's recount would differ, and the part
// is refused.
func (w *PartWriter) Close(rows, people int64) error {
	if w.closed {
		return fmt.Errorf("close part %s: it is closed already", w.info.Name)
	}
	defer w.abort()
	if w.failure != nil {
		return w.failure
	}
	if err := w.recount(rows); err != nil {
		return err
	}
	if err := w.b.encoder.Close(); err != nil {
		return fmt.Errorf("compress part %s: %w", w.info.Name, err)
	}
	if err := writeSkippable(w.packed.to, w.packed.size); err != nil {
		return fmt.Errorf("pad part %s: %w", w.info.Name, err)
	}
	if w.bare != nil {
		if err := w.bare.Close(); err != nil {
			return fmt.Errorf("compress part %s: %w", w.info.Name, err)
		}
	}
	if err := w.b.finishTwin(w.twin); err != nil {
		return err
	}
	w.info.Rows, w.info.People = rows, people
	w.info.PlaintextSHA256 = hex.EncodeToString(w.sum.Sum(nil))
	w.b.parts = append(w.b.parts, w.info)
	return nil
}

// Fits tells whether the part's file surely has no more bytes than it may when n
// more of plaintext are written, with what the caller and all that packs and
// encrypts still hold. Below twice of that no file is ended early.
func (w *PartWriter) Fits(n int) bool {
	size := w.twin.sent.size + heldBack + int64(n)
	if w.bare == nil {
		size = Padme(size)
	}
	return w.b.spec.MaxFile < 2*heldBack || size+size/1000 <= w.b.spec.MaxFile
}

// heldBack is more than the bytes of a part that have been written and are in no
// file yet, with its last line and the padding of a small one: a caller's buffer of
// 128 KiB, zstd's of a window, and 256 KiB of an OpenPGP chunk (age's is 64 KiB).
const heldBack = 1000 << 10

func (w *PartWriter) recount(rows int64) error {
	if w.info.PlaintextBytes > 0 && w.last != '\n' {
		return fmt.Errorf("close part %s: the last line does not end in a newline", w.info.Name)
	}
	if found := w.lines - w.info.around(); found != rows {
		return fmt.Errorf("close part %s: %d rows were counted, %d lines were written: a row must be one line", w.info.Name, rows, found)
	}
	return nil
}

func (w *PartWriter) abort() {
	w.closed = true
	w.b.open = nil
	w.twin.abort()
}

// privateFile is zstd in age; it stays at the clinic.
type privateFile struct {
	*zstd.Encoder
	b    *Builder
	file *cipherFile
}

// Close ends the file. Until it did so without an error, Seal refuses.
func (p *privateFile) Close() error {
	defer p.file.file.Abort()
	if err := p.Encoder.Close(); err != nil {
		return fmt.Errorf("compress private file: %w", err)
	}
	sealed, err := p.file.finish()
	if err != nil {
		return err
	}
	p.b.private--
	p.b.kept = append(p.b.kept, sealed)
	return nil
}
