package transfer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
)

// statement is the clear side of a drop: its four small files.
type statement struct {
	base                            Base
	done, sums, manifest, signature []byte
	manifestSum                     string
	signer                          string // the key that signed, as `type base64`; once verified
}

// readStatement gives a *Fault for what is missing or far too long.
func readStatement(inbox string, base Base) (*statement, error) {
	s := &statement{base: base}
	for _, f := range []struct {
		suffix string
		into   *[]byte
		most   int64
	}{
		{doneSuffix, &s.done, maxSmall}, {sumsSuffix, &s.sums, maxSmall},
		{manifestSuffix, &s.manifest, maxManifest}, {signatureSuffix, &s.signature, maxSmall},
	} {
		text, err := readSmall(inbox, base.String()+f.suffix, f.most)
		if err != nil {
			return nil, err
		}
		*f.into = text
	}
	s.manifestSum = sumOf(s.manifest)
	return s, nil
}

func readSmall(inbox, name string, most int64) ([]byte, error) {
	file, err := openRegular(inbox, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(text)) > most {
		return nil, fault(FormatFault, name, "it is longer than %d bytes", most)
	}
	return text, nil
}

// openRegular follows no link: an inbox is written by others.
func openRegular(inbox, name string) (*os.File, error) {
	path := filepath.Join(inbox, name)
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault(MissingFile, name, "it is not in the inbox")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault(FormatFault, name, "it is not a regular file")
	}
	return os.Open(path)
}

// verifyStatement finds out which of the four files is wrong, then whose the
// drop is. Nothing of the manifest is believed before its signature.
func (s *statement) verify(signers *sshsig.AllowedSigners, at time.Time) (*Manifest, error) {
	first, _ := s.signatures()
	key, badSignature := sshsig.Verify(first, DropNamespace, bytes.NewReader(s.manifest))
	if err := s.checkDone(badSignature == nil); err != nil {
		return nil, err
	}
	if badSignature != nil {
		return nil, fault(SignatureInvalid, s.base.String()+signatureSuffix, "it is not a signature over the manifest in namespace %s", DropNamespace)
	}
	if !signers.Knows(key, DropNamespace, at) {
		return nil, fault(SignerUnknown, s.base.String()+signatureSuffix, "key %s is not among the allowed signers for %s at this time", ssh.FingerprintSHA256(key), DropNamespace)
	}
	m, err := ParseManifest(s.manifest)
	if err != nil {
		return nil, fault(FormatFault, s.base.String()+manifestSuffix, "%v", err)
	}
	if m.Format != ManifestFormat {
		return nil, fault(FormatFault, s.base.String()+manifestSuffix, "it states files that were sent without a drop, by profile bare")
	}
	if m.Base() != s.base {
		return nil, fault(FormatFault, s.base.String()+manifestSuffix, "it is the manifest of %s", m.Base())
	}
	if err := signers.Check(m.Sender, key, DropNamespace, at); err != nil {
		return nil, fault(SignerNotSender, s.base.String()+signatureSuffix, "key %s may not sign for %s", ssh.FingerprintSHA256(key), m.Sender)
	}
	s.signer = sshsig.KeyText(key)
	if err := s.checkIntroduction(m); err != nil {
		return nil, err
	}
	if !bytes.Equal(s.sums, m.sums()) {
		return nil, fault(SumsMismatch, s.base.String()+sumsSuffix, "it does not list the files as the signed manifest does")
	}
	return m, nil
}

// checkDone compares .done with the three files it closes. Where they differ,
// the signature tells which side was changed.
func (s *statement) checkDone(signatureHolds bool) error {
	name := s.base.String()
	var want []byte
	want = appendSum(want, sumOf(s.sums), name+sumsSuffix)
	want = appendSum(want, s.manifestSum, name+manifestSuffix)
	want = appendSum(want, sumOf(s.signature), name+signatureSuffix)
	if bytes.Equal(s.done, want) {
		return nil
	}
	lines := bytes.SplitAfter(s.done, newline)
	wanted := bytes.SplitAfter(want, newline)
	differs := func(i int) bool { return len(lines) <= i || !bytes.Equal(lines[i], wanted[i]) }
	if !signatureHolds && len(lines) == len(wanted) && (differs(1) || differs(2)) {
		suffix := manifestSuffix
		if !differs(1) {
			suffix = signatureSuffix
		}
		return fault(SignatureInvalid, name+suffix, "neither .done nor the signature agrees with it")
	}
	if m, err := ParseManifest(s.manifest); signatureHolds && err == nil && differs(0) && !bytes.Equal(s.sums, m.sums()) {
		return fault(SumsMismatch, name+sumsSuffix, "neither .done nor the signed manifest agrees with it")
	}
	return fault(DoneMismatch, name+doneSuffix, "its lines are not the SHA-256 of SHA256SUMS, manifest and signature as they lie here")
}

// verifyFiles checks presence, length and SHA-256 of every encrypted file, and
// that no other file bears the drop's name.
func verifyFiles(ctx context.Context, inbox string, m *Manifest) error {
	if err := noStrangers(inbox, m); err != nil {
		return err
	}
	for _, f := range m.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := verifyFile(inbox, f, m); err != nil {
			return err
		}
	}
	return nil
}

func verifyFile(inbox string, f SealedFile, m *Manifest) error {
	file, err := openRegular(inbox, f.Name)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.Name, err)
	}
	found := hex.EncodeToString(sum.Sum(nil))
	if found == f.SHA256 && size == f.Size {
		return nil
	}
	for _, other := range m.Files {
		if other.SHA256 == found {
			return fault(FileMismatch, f.Name, "it holds what belongs in %s", other.Name)
		}
	}
	if size < f.Size {
		return fault(Truncated, f.Name, "it has %d bytes, the signed manifest says %d", size, f.Size)
	}
	return fault(FileMismatch, f.Name, "its SHA-256 is not the one in the signed manifest")
}

// noStrangers lets pass the recipient's own receipt, recalls, and the private
// names of interrupted uploads, which begin with a dot.
func noStrangers(inbox string, m *Manifest) error {
	base := m.Base()
	known := map[string]bool{base.ReceiptName(): true, base.ReceiptName() + ".sig": true}
	for _, suffix := range []string{sumsSuffix, manifestSuffix, signatureSuffix, doneSuffix} {
		known[base.String()+suffix] = true
	}
	for _, f := range m.Files {
		known[f.Name] = true
	}
	entries, err := os.ReadDir(inbox)
	if err != nil {
		return fmt.Errorf("list the inbox: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), base.String()+".") && !known[e.Name()] && !ofRecall(e.Name()) {
			return fault(UnlistedFile, e.Name(), "the signed manifest does not list it")
		}
	}
	return nil
}
