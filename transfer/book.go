package transfer

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Book is the recipient's book: all that is needed to check the drop, sealed
// inside it. It counts what is in the drop and nothing else.
type Book struct {
	Format    string     `json:"format"`
	Sender    string     `json:"sender"`
	Recipient string     `json:"recipient"`
	Exchange  string     `json:"exchange"`
	Sequence  int64      `json:"sequence"`
	Previous  string     `json:"previous"`
	Voids     []int64    `json:"voids"`
	Replaces  int64      `json:"replaces"` // the earlier drop whose rows these are instead of; 0: none
	Standard  string     `json:"standard"`
	Parts     []BookPart `json:"parts"`
	People    int64      `json:"people"` // distinct people in all parts
	Totals    []Total    `json:"totals"`
	Notices   []Notice   `json:"notices"`
	Ledger    Ledger     `json:"ledger"`
}

// BookPart describes one part. A row is one line; a csv part has one header
// line before its rows, an ndjson part has none.
type BookPart struct {
	Name            string   `json:"name"`
	Dataset         string   `json:"dataset"`
	Format          string   `json:"format"`      // csv, ndjson, lines and what Lines adds
	Compression     string   `json:"compression"` // zstd
	Columns         []string `json:"columns"`
	Part2           bool     `json:"part2"`
	Action          string   `json:"action"` // Add, Change, Void; empty of a part whose rows do not tell it
	Rows            int64    `json:"rows"`
	People          int64    `json:"people"`
	PlaintextSHA256 string   `json:"plaintext_sha256"`
	PlaintextBytes  int64    `json:"plaintext_bytes"`
}

// Total is a control total over released rows.
type Total struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ScopeOfConsent is the dataset of the part that tells on what each row under
// 42 CFR Part 2 rests, and begins the kind of the notices that explain it.
const ScopeOfConsent = "scope-of-consent"

// ControlFile is the dataset of the part that lists the others, in the
// recipient's own layout.
const ControlFile = "control-file"

// Overlap is the dataset of the part that maps people's codes of the epoch
// before to those of this one, after `postern keys rotate --overlap`.
const Overlap = "overlap"

// RowsOfRecords tells whether the rows of the part are rows of records.
func (p *BookPart) RowsOfRecords() bool {
	return p.Dataset != ScopeOfConsent && p.Dataset != Overlap && p.Dataset != ControlFile
}

// What the rows of a part do to those that earlier drops of the exchange left
// with the recipient. A part of Void is CSV with RowKeyColumn alone.
const (
	Add    = "add"
	Change = "change"
	Void   = "void"
)

// RowKeyColumn names the rows of a part of Void.
const RowKeyColumn = "row_key"

// actionFits tells whether a part may have its action.
func (p *BookPart) actionFits() bool {
	switch p.Action {
	case "":
		return true
	case Add, Change:
		return p.RowsOfRecords()
	}
	return p.Action == Void && p.RowsOfRecords() && p.Format == CSV && slices.Equal(p.Columns, []string{RowKeyColumn})
}

// Notice is a text that must travel with the data (42 CFR 2.32), or the scope
// of the consent it rests on.
type Notice struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// Ledger is the sender's checkpoint (C2SP tlog-checkpoint) before this drop,
// and the proof that it continues the one of size From (RFC 9162 §2.1.4).
type Ledger struct {
	Checkpoint string   `json:"checkpoint"`
	From       int64    `json:"from"`
	Proof      []string `json:"proof"` // base64
}

// Formats that a part can have, beside those of Lines.
const (
	CSV    = "csv"
	NDJSON = "ndjson"
)

const (
	lines       = "lines"
	withHeader  = "+header"
	withTrailer = "+trailer"
)

// Lines is the format of a part in the recipient's own layout, whose rows are
// lines, with a header line before them and a trailer line after them or without.
func Lines(header, trailer bool) string {
	format := lines
	if header {
		format += withHeader
	}
	if trailer {
		format += withTrailer
	}
	return format
}

// isFormat tells whether a part can have the format; one with columns must name
// them.
func isFormat(format string) bool {
	return format == CSV || format == NDJSON || hasColumns(format)
}

func hasColumns(format string) bool {
	return format == CSV || slices.Contains([]string{Lines(false, false), Lines(true, false), Lines(false, true), Lines(true, true)}, format)
}

// HasHeader tells whether a line stands before the rows.
func (p *BookPart) HasHeader() bool { return p.Format == CSV || strings.Contains(p.Format, withHeader) }

// around is the number of lines that are no rows: before the first, or after
// the last.
func (p *BookPart) around() (n int64) {
	if p.HasHeader() {
		n++
	}
	if strings.Contains(p.Format, withTrailer) {
		n++
	}
	return n
}

// file is the name of the part once it is opened.
func (p *BookPart) file() string {
	clear, _ := cutEnvelope(p.Name)
	return strings.TrimSuffix(clear, partSuffix) + "." + p.extension()
}

// extension is how the name of the part ends once it is opened.
func (p *BookPart) extension() string {
	if strings.HasPrefix(p.Format, lines) {
		return "txt"
	}
	return p.Format
}

// standards are the forms of a release (45 CFR 164.514, 164.502).
var standards = []string{"identified", "limited-data-set", "safe-harbor", "expert-determination", "aggregate"}

// encodePadded pads with spaces between the JSON and its newline.
func encodePadded(document any) ([]byte, error) {
	data, err := encode(document)
	if err != nil {
		return nil, err
	}
	size := Padme(max(int64(len(data)), minBook))
	if size > maxBook {
		return nil, fmt.Errorf("it would be longer than %d bytes", maxBook)
	}
	padded := bytes.Repeat([]byte{' '}, int(size))
	copy(padded, data[:len(data)-1])
	padded[size-1] = '\n'
	return padded, nil
}

// ParseBook reads a book, with or without its padding.
func ParseBook(data []byte) (*Book, error) { return parsePadded[Book]("book", data) }

func parsePadded[T any, D interface {
	*T
	check() error
}](name string, data []byte) (D, error) {
	if len(data) > maxBook {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxBook)
	}
	text, ended := bytes.CutSuffix(data, []byte("\n"))
	if !ended {
		return nil, fmt.Errorf("read %s: it does not end in a newline", name)
	}
	text = bytes.TrimRight(text, " ")
	return parse[T, D](name, append(text[:len(text):len(text)], '\n'), maxBook)
}

func (b *Book) check() error {
	if b.Format != BookFormat && b.Format != BareBookFormat {
		return fmt.Errorf("format is not %s", BookFormat)
	}
	if b.Replaces < 0 || b.Replaces >= b.Sequence && b.Replaces > 0 {
		return errors.New("replaces is no earlier number")
	}
	if !slices.Contains(standards, b.Standard) {
		return errors.New("standard is none of the format's")
	}
	for i := range b.Parts {
		p := &b.Parts[i]
		if !isFormat(p.Format) {
			return fmt.Errorf("part %d is neither csv nor ndjson nor lines", i+1)
		}
		if hasColumns(p.Format) != (len(p.Columns) > 0) {
			return fmt.Errorf("part %d has no columns, or is ndjson and has some", i+1)
		}
		if b.Format == BookFormat && p.Compression != Zstd {
			return fmt.Errorf("part %d is not compressed with zstd", i+1)
		}
		if !p.actionFits() {
			return fmt.Errorf("part %d has no action that its rows can have", i+1)
		}
		if p.Rows < 0 || p.People < 0 || p.PlaintextBytes < 0 || !hashPattern.MatchString(p.PlaintextSHA256) {
			return fmt.Errorf("part %d has no proper counts and SHA-256", i+1)
		}
	}
	return nil
}

// differsFrom names the first member that the book and the manifest do not
// say alike. It is what stops a stranger who strips a drop and signs it anew:
// only the true sender's name stands inside.
func (b *Book) differsFrom(m *Manifest) string {
	switch {
	case b.Format != BookFormat:
		return "format"
	case b.Sender != m.Sender:
		return "sender"
	case b.Recipient != m.Recipient:
		return "recipient"
	case b.Exchange != m.Exchange:
		return "exchange"
	case b.Sequence != m.Sequence:
		return "sequence"
	case b.Previous != m.Previous:
		return "previous"
	case !slices.Equal(b.Voids, m.Voids):
		return "voids"
	case len(b.Parts) != len(m.parts()):
		return "parts"
	}
	for i, f := range m.parts() {
		if b.Parts[i].Name != f.Name {
			return "parts"
		}
	}
	return ""
}
