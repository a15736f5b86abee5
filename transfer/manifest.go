package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/posternhealth/postern/internal/sshsig"
)

// Formats of the documents, in their first member.
const (
	ManifestFormat = "postern-drop/v1"
	BookFormat     = "book/v1"
	ReceiptFormat  = "receipt/v1"
)

// Limits of what is read before it is known to be ours.
const (
	maxManifest = 1 << 20
	maxSmall    = 256 << 10 // SHA256SUMS, signature, .done, receipt
	maxBook     = 64 << 20
)

// Manifest is the clear, signed statement about a drop. It holds nothing that
// tells what is inside.
type Manifest struct {
	Format        string       `json:"format"`
	Sender        string       `json:"sender"`
	Recipient     string       `json:"recipient"`
	Exchange      string       `json:"exchange"`
	Sequence      int64        `json:"sequence"`
	Previous      string       `json:"previous"` // manifest SHA-256 of the last earlier number that is not voided
	Voids         []int64      `json:"voids"`
	PolicySHA256  string       `json:"policy_sha256"`
	Introduces    string       `json:"introduces"` // the public key that signs the drops after this one, as `type base64`, or empty
	RecipientKeys []string     `json:"recipient_keys"`
	Files         []SealedFile `json:"files"` // parts, of BareFormat then markers, then the book: the order of upload
}

// SealedFile is one finished file: SHA-256 in hex and length of its bytes, in
// the manifest of the ciphertext.
type SealedFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// encode writes the only spelling of a document that is accepted: members in
// the order of the specification, no spaces, UTF-8, one newline at the end.
func encode(document any) ([]byte, error) {
	data, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return append(data, '\n'), nil
}

// decode reads strictly: unknown or doubled members, and any other spelling
// than encode's, are errors. Errors of the JSON package may quote the text,
// so they are not passed on.
func decode(data []byte, document any) error {
	if err := json.Unmarshal(data, document, json.RejectUnknownMembers(true)); err != nil {
		return errors.New("it is not JSON with exactly the members of the format, each once")
	}
	again, err := encode(document)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("it is not in the canonical spelling: members in order, no spaces, one newline at the end")
	}
	return nil
}

// parse reads a document strictly and checks all that it says about itself.
func parse[T any, D interface {
	*T
	check() error
}](name string, data []byte, most int) (D, error) {
	if len(data) > most {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, most)
	}
	document := D(new(T))
	err := decode(data, document)
	if err == nil {
		err = document.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return document, nil
}

// ParseManifest reads a manifest; it says nothing about the signature.
func ParseManifest(data []byte) (*Manifest, error) {
	return parse[Manifest]("manifest", data, maxManifest)
}

func (m *Manifest) check() error {
	if m.Format != ManifestFormat && m.Format != BareFormat {
		return fmt.Errorf("format is not %s", ManifestFormat)
	}
	if err := checkParties(m.Sender, m.Recipient, m.Exchange); err != nil {
		return err
	}
	if err := checkNumbers(m.Sequence, m.Previous, m.Voids); err != nil {
		return err
	}
	if m.PolicySHA256 != "" && !hashPattern.MatchString(m.PolicySHA256) {
		return errors.New("policy_sha256 is not a SHA-256 in 64 lower-case hex digits")
	}
	if _, err := sshsig.ParseKey(m.Introduces); err != nil && m.Introduces != "" {
		return errors.New("introduces is not an SSH public key, its type and its base64, or empty")
	}
	if len(m.RecipientKeys) == 0 {
		return errors.New("recipient_keys is empty")
	}
	return m.checkFiles()
}

// checkFiles holds the names to CODE.EXCHANGE.NUMBER and to their order, so a
// name can neither leave the folder nor belong to another drop.
func (m *Manifest) checkFiles() error {
	most := maxParts + 1
	if m.Format == BareFormat {
		most += maxParts // markers
	}
	if len(m.Files) < 1 || len(m.Files) > most {
		return fmt.Errorf("files has no entry, or more than %d", most)
	}
	code, _, _ := strings.Cut(m.book().Name, ".")
	base := Base{Code: code, Exchange: m.Exchange, Sequence: m.Sequence}
	if !codePattern.MatchString(code) {
		return errors.New("files has a name that is not one of a drop's")
	}
	_, suffix := cutEnvelope(m.book().Name)
	markers := false
	for i, f := range m.Files {
		want := base.part(i+1) + suffix
		if i == len(m.Files)-1 {
			want = base.String() + bookSuffix + suffix
		}
		if m.Format == BareFormat && i < len(m.Files)-1 {
			if err := checkBareName(f.Name, base); err != nil {
				return fmt.Errorf("files: entry %d: %w", i+1, err)
			}
			if markers = markers || f.Size == 0; markers && (f != SealedFile{f.Name, sumOf(nil), 0}) {
				return fmt.Errorf("files: entry %d is no marker, which alone are empty, after one", i+1)
			}
			if markers {
				continue
			}
		} else if suffix == "" || f.Name != want {
			return fmt.Errorf("files has another name where %s is due", want)
		}
		if !hashPattern.MatchString(f.SHA256) || f.Size < 1 {
			return fmt.Errorf("files has no proper SHA-256 and size for %s", want)
		}
	}
	return nil
}

// Base is what the names of the drop's files begin with.
func (m *Manifest) Base() Base {
	code, _, _ := strings.Cut(m.book().Name, ".")
	return Base{Code: code, Exchange: m.Exchange, Sequence: m.Sequence}
}

func (m *Manifest) parts() []SealedFile { return m.Files[:len(m.Files)-1] }
func (m *Manifest) book() SealedFile    { return m.Files[len(m.Files)-1] }

func (m *Manifest) sums() []byte {
	var text []byte
	for _, f := range m.Files {
		text = appendSum(text, f.SHA256, f.Name)
	}
	return text
}

func appendSum(text []byte, sum, name string) []byte {
	return fmt.Appendf(text, "%s  %s\n", sum, name)
}
