package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/internal/durable"
)

// maxWindow is the least that RFC 8878 §3.1.1.1.2 asks every decoder to hold.
const maxWindow = 8 << 20

// opened is a drop's plaintext under a private name.
type opened struct {
	folder string
	book   *Book
	parts  []ReceiptPart
}

func (o *opened) discard() { _ = durable.RemoveAll(o.folder) }

// open decrypts into a private folder and recounts. After an error nothing
// decrypted stays.
func (r *Receiver) open(ctx context.Context, inbox string, m *Manifest, seen string) (*opened, error) {
	o := &opened{folder: filepath.Join(r.Dir, "."+m.Base().String()+".part")}
	if err := durable.MkdirAll(o.folder, 0o700); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, inbox, m, seen, o); err != nil {
		o.discard()
		return nil, err
	}
	return o, nil
}

func (r *Receiver) fill(ctx context.Context, inbox string, m *Manifest, seen string, o *opened) error {
	if err := r.openBook(inbox, m, o, seen); err != nil {
		return err
	}
	for i := range o.book.Parts {
		if err := r.openPart(ctx, inbox, &o.book.Parts[i], o); err != nil {
			return err
		}
	}
	return durable.SyncTree(o.folder)
}

func (r *Receiver) openBook(inbox string, m *Manifest, o *opened, seen string) error {
	name := m.book().Name
	var text bytes.Buffer
	sum := sha256.New()
	if err := r.decrypt(inbox, name, sum, func(plain io.Reader) error {
		_, err := text.ReadFrom(io.LimitReader(plain, maxBook+1))
		return err
	}); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != m.book().SHA256 { // all else in the drop is believed by the book
		return fault(FileMismatch, name, "it was changed after its SHA-256 had been the one in the signed manifest")
	}
	book, err := ParseBook(text.Bytes())
	if err != nil {
		return fault(FormatFault, name, "%v", err)
	}
	if member := book.differsFrom(m); member != "" {
		return fault(BookMismatch, name, "its %s is not the manifest's", member)
	}
	if r.CheckLedger != nil && !strings.HasSuffix(m.Sender, TestSender) { // test drops carry none
		if err := r.CheckLedger(seen, book.Ledger); err != nil {
			return fault(LedgerFault, name, "%v", err)
		}
	}
	o.book = book
	clear, _ := cutEnvelope(name)
	return os.WriteFile(filepath.Join(o.folder, clear), text.Bytes(), 0o600)
}

func (r *Receiver) openPart(ctx context.Context, inbox string, p *BookPart, o *opened) error {
	path := filepath.Join(o.folder, p.file())
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	count := &recount{ctx: ctx, file: file, most: p.PlaintextBytes}
	sum := sha256.New()
	err = r.decrypt(inbox, p.Name, io.Discard, func(plain io.Reader) error {
		unpack, err := zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		defer unpack.Close()
		_, err = io.Copy(io.MultiWriter(sum, count), unpack)
		return err
	})
	switch {
	case count.failure != nil:
		return count.failure
	case count.size > p.PlaintextBytes:
		return fault(PlaintextFault, p.Name, "it holds more than the %d bytes that the book says", p.PlaintextBytes)
	case err != nil:
		return err
	case count.lines-p.around() != p.Rows:
		return fault(RowCount, p.Name, "it holds %d rows, the book says %d", count.lines-p.around(), p.Rows)
	case count.size != p.PlaintextBytes || hex.EncodeToString(sum.Sum(nil)) != p.PlaintextSHA256:
		return fault(PlaintextFault, p.Name, "its plaintext's length or SHA-256 is not the book's")
	}
	o.parts = append(o.parts, ReceiptPart{Name: p.Name, Rows: p.Rows, PlaintextSHA256: p.PlaintextSHA256})
	return file.Close()
}

// recount counts lines on the way to the file. It stops a stream that is
// longer than announced before it fills the disk.
type recount struct {
	ctx     context.Context
	file    *os.File
	most    int64
	size    int64
	lines   int64
	failure error // ours, not the drop's
}

var errTooLong = errors.New("longer than announced")

func (c *recount) Write(p []byte) (int, error) {
	if c.failure = c.ctx.Err(); c.failure != nil {
		return 0, c.failure
	}
	c.size += int64(len(p))
	if c.size > c.most {
		return 0, errTooLong
	}
	c.lines += int64(bytes.Count(p, newline))
	n, err := c.file.Write(p)
	c.failure = err
	return n, err
}

// decrypt hands the plaintext of one file to use. Plaintext streams out
// before its end is authenticated, so what use made of it counts only after a
// nil error. Then sum has had every byte of the file as it was read here.
func (r *Receiver) decrypt(inbox, name string, sum io.Writer, use func(plain io.Reader) error) error {
	file, err := openRegular(inbox, name)
	if err != nil {
		return err
	}
	defer file.Close()
	sealed := io.TeeReader(file, sum)
	plain, err := r.decrypter(sealed, name)
	if errors.Is(err, errNotForUs) {
		return fault(DecryptFailed, name, "%v", err)
	}
	if err != nil {
		return fault(DecryptFailed, name, "what it begins with is damaged")
	}
	watched := &watchedReader{Reader: plain}
	err = use(watched)
	switch {
	case watched.failure != nil:
		return fault(DecryptFailed, name, "its encryption is damaged, or ends too early")
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && watched.size == 0:
		return fault(Truncated, name, "its plaintext ends too early: the sender sealed a file that was cut short")
	case err != nil:
		return fault(DecryptFailed, name, "its plaintext is damaged")
	}
	_, err = io.Copy(io.Discard, sealed) // what decryption had no use for
	return err
}

// watchedReader tells what decryption refuses, however early it ends, from
// what was cut short before it was encrypted: age's end is authenticated.
type watchedReader struct {
	io.Reader
	size    int64
	failure error
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.size += int64(n)
	if err != nil && err != io.EOF {
		w.failure = err
	}
	return n, err
}

func (r *Receiver) decrypter(file io.Reader, name string) (io.Reader, error) {
	if _, suffix := cutEnvelope(name); suffix == pgpEnd {
		return r.OpenPGP.decrypt(file)
	}
	plain, err := age.Decrypt(file, r.Identities...)
	if len(r.Identities) == 0 || errors.As(err, new(*age.NoIdentityMatchError)) {
		return nil, errNotForUs
	}
	return plain, err
}
