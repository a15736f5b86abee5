package transfer

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/sshsig"
)

// Folders beside the drop's own files that are never delivered.
const (
	ArchiveFolder = "archive" // the same plaintexts, to the archive key alone
	PrivateFolder = "private" // clinic's book, row index, decision index
)

// DropSpec is what is fixed about a drop before its first byte.
type DropSpec struct {
	Dir       string // private, exists, empty
	Sender    string
	Recipient string
	Exchange  string // opaque id
	Sequence  int64
	// Previous is the manifest SHA-256 of the last earlier number that is not
	// voided, empty if there is none. Voids lists every voided number since
	// then, in order: the receiver accepts a gap only so explained.
	Previous     string
	Voids        []int64
	Code         string // sender's short code, first in every name
	Envelope     *Envelope
	Bare         *Bare // nil: the recipient takes drops
	MaxFile      int64 // bytes of a part's file, after which PartWriter.Fits wants another part; 0: any
	Archive      age.Recipient
	Signer       ssh.Signer // the key kept for drops
	Successor    ssh.Signer // that the drop introduces: it signs the manifest, too; nil: none
	PolicySHA256 string
}

// Builder seals one drop in a private folder. Until the caller's commit
// nothing of it is visible; after any error, or a crash, the folder is
// discarded and the drop built again under the same number. It is for one
// goroutine.
type Builder struct {
	spec    DropSpec
	base    Base
	encoder *zstd.Encoder // of all parts, one after the other
	open    *PartWriter
	parts   []BookPart
	files   []SealedFile
	archive []SealedFile
	kept    []SealedFile
	private int // private files still open
}

// Sealed is a finished drop, all of it on the disk.
type Sealed struct {
	ManifestSHA256 string
	Files          []SealedFile // in the order of upload
	Private        []SealedFile // in PrivateFolder
	Archive        []SealedFile // in ArchiveFolder
	Expect         Expectation  // what the recipient's receipt must say
}

// NewDrop checks the specification and prepares the folder.
func NewDrop(spec DropSpec) (*Builder, error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("new drop: %w", err)
	}
	encoder, err := newEncoder(nil)
	if err != nil {
		return nil, fmt.Errorf("new drop: %w", err)
	}
	b := &Builder{spec: spec, base: Base{spec.Code, spec.Exchange, spec.Sequence}, encoder: encoder}
	for _, folder := range []string{ArchiveFolder, PrivateFolder} {
		if err := durable.MkdirAll(filepath.Join(spec.Dir, folder), 0o700); err != nil {
			return nil, fmt.Errorf("new drop: %w", err)
		}
	}
	return b, nil
}

func (s *DropSpec) check() error {
	if err := checkParties(s.Sender, s.Recipient, s.Exchange); err != nil {
		return err
	}
	if !codePattern.MatchString(s.Code) {
		return errors.New("code is not 1 to 16 lower-case letters and digits")
	}
	if err := checkNumbers(s.Sequence, s.Previous, s.Voids); err != nil {
		return err
	}
	if s.PolicySHA256 != "" && !hashPattern.MatchString(s.PolicySHA256) {
		return errors.New("policy is not a SHA-256 in 64 lower-case hex digits")
	}
	if s.Envelope == nil || s.Archive == nil || s.Signer == nil {
		return errors.New("a recipient's key, the archive key and the signing key are all needed")
	}
	if s.Bare != nil {
		if err := s.Bare.check(); err != nil {
			return err
		}
	}
	entries, err := os.ReadDir(s.Dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty: discard what an interrupted run left there", s.Dir)
	}
	return err
}

// Part begins the next part; the one before must be closed.
func (b *Builder) Part(p PartInfo) (*PartWriter, error) {
	if b.open != nil {
		return nil, fmt.Errorf("begin part: %s is still open", b.open.info.Name)
	}
	if !isFormat(p.Format) || hasColumns(p.Format) && len(p.Columns) == 0 {
		return nil, fmt.Errorf("begin part of %s: the format is csv or lines with columns, or ndjson", p.Dataset)
	}
	if len(b.parts) == maxParts {
		return nil, fmt.Errorf("begin part of %s: %w", p.Dataset, ErrParts)
	}
	kept := b.base.part(len(b.parts) + 1)
	name, compression := kept+b.spec.Envelope.suffix(), Zstd
	if b.spec.Bare != nil {
		var err error
		if name, err = b.bareName(p); err != nil {
			return nil, err
		}
		compression = b.spec.Bare.Compression
	}
	t, err := b.newTwin(name, kept)
	if err != nil {
		return nil, err
	}
	w := &PartWriter{b: b, twin: t, sum: sha256.New(), packed: packedWriter{to: t}}
	if b.spec.Bare != nil { // padding would be no part of the recipient's file
		if w.bare, err = b.spec.Bare.packer(name, t.sent); err != nil {
			t.abort()
			return nil, fmt.Errorf("begin part of %s: %w", p.Dataset, err)
		}
		w.packed.to = t.kept
	}
	w.info = BookPart{Name: name, Dataset: p.Dataset, Format: p.Format, Compression: compression, Columns: p.Columns, Part2: p.Part2, Action: p.Action}
	b.encoder.Reset(&w.packed)
	b.open = w
	return w, nil
}

// Private begins a file that stays at the clinic, compressed and encrypted to
// one key: NAME becomes private/CODE.EXCHANGE.NUMBER.NAME.zst.age. Several may
// be open.
func (b *Builder) Private(name string, to age.Recipient) (io.WriteCloser, error) {
	if !labelPattern.MatchString(name) {
		return nil, fmt.Errorf("begin private file: %q is not a name of lower-case letters, digits and -", name)
	}
	file, err := newCipherFile(filepath.Join(b.spec.Dir, PrivateFolder, b.base.String()+"."+name+partSuffix+ageEnd), toAge(to))
	if err != nil {
		return nil, err
	}
	encoder, err := newEncoder(file)
	if err != nil {
		file.file.Abort()
		return nil, fmt.Errorf("begin private file %s: %w", name, err)
	}
	b.private++
	return &privateFile{Encoder: encoder, b: b, file: file}, nil
}

// Seal writes the markers, book, SHA256SUMS, manifest, signature and `.done`. The
// caller fills replaces, standard, people, totals, notices and ledger of the book; what
// the drop itself knows is filled here.
func (b *Builder) Seal(book *Book) (*Sealed, error) {
	if b.open != nil || b.private > 0 {
		return nil, errors.New("seal: a part or a private file is still open")
	}
	if err := errors.Join(b.writeMarkers(), b.writeBook(book)); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	m := b.manifest()
	text, err := encode(m)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if _, err := ParseManifest(text); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	signature, err := sshsig.Sign(b.spec.Signer, DropNamespace, bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("sign manifest: %w", err)
	}
	if b.spec.Successor != nil {
		second, err := sshsig.Sign(b.spec.Successor, IntroductionNamespace, bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("sign manifest by the key that it introduces: %w", err)
		}
		signature = append(signature, second...)
	}
	if err := b.writeClear(m.sums(), text, signature); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	sealed := &Sealed{ManifestSHA256: sumOf(text), Files: b.files, Private: b.kept, Archive: b.archive}
	sealed.Expect = expectation(m, sealed.ManifestSHA256, b.parts, book)
	return sealed, nil
}

func (b *Builder) writeBook(book *Book) error {
	full := *book
	full.Format = BookFormat
	if b.spec.Bare != nil {
		full.Format = BareBookFormat
	}
	full.Sender, full.Recipient = b.spec.Sender, b.spec.Recipient
	full.Exchange, full.Sequence = b.spec.Exchange, b.spec.Sequence
	full.Previous, full.Voids = b.spec.Previous, b.spec.Voids
	full.Parts = b.parts
	text, err := encodePadded(&full)
	if err != nil {
		return fmt.Errorf("recipient's book: %w", err)
	}
	if _, err := ParseBook(text); err != nil {
		return err
	}
	name := b.base.String() + bookSuffix
	t, err := b.newTwin(name+b.spec.Envelope.suffix(), name)
	if err != nil {
		return err
	}
	if _, err := t.Write(text); err != nil {
		t.abort()
		return fmt.Errorf("write book: %w", err)
	}
	return b.finishTwin(t)
}

func (b *Builder) manifest() *Manifest {
	m := &Manifest{
		Format: ManifestFormat, Sender: b.spec.Sender, Recipient: b.spec.Recipient,
		Exchange: b.spec.Exchange, Sequence: b.spec.Sequence,
		Previous: b.spec.Previous, Voids: b.spec.Voids, PolicySHA256: b.spec.PolicySHA256,
		RecipientKeys: b.spec.Envelope.Fingerprints, Files: slices.Clone(b.files),
	}
	if b.spec.Bare != nil {
		m.Format = BareFormat
	}
	if b.spec.Successor != nil {
		m.Introduces = sshsig.KeyText(b.spec.Successor.PublicKey())
	}
	return m
}

func (b *Builder) writeClear(sums, manifest, signature []byte) error {
	var done []byte
	for _, f := range []struct {
		suffix string
		text   []byte
	}{{sumsSuffix, sums}, {manifestSuffix, manifest}, {signatureSuffix, signature}, {doneSuffix, nil}} {
		if f.suffix == doneSuffix {
			f.text = done
		}
		name := b.base.String() + f.suffix
		if err := durable.WriteFile(filepath.Join(b.spec.Dir, name), f.text, 0o600); err != nil {
			return err
		}
		done = appendSum(done, sumOf(f.text), name)
		b.files = append(b.files, SealedFile{name, sumOf(f.text), int64(len(f.text))})
	}
	return nil
}

// Discard closes what is open; the folder is the caller's to remove.
func (b *Builder) Discard() {
	if b.open != nil {
		b.open.abort()
	}
}

func sumOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
