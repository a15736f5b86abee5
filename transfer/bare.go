package transfer

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/posternhealth/postern/internal/durable"
)

// Formats of what profile bare keeps at the clinic, in their first member. A
// receiver of drops refuses them: it was given no drop.
const (
	BareFormat     = "postern-bare/v1"
	BareBookFormat = "bare-book/v1"
)

// Ways in which profile bare compresses.
const (
	Uncompressed = "none"
	Gzip         = "gzip"
	Zip          = "zip"
	Zstd         = "zstd"
)

// Bare is how a drop is made for a recipient that takes one file of each dataset
// and nothing else (docs/bare.md).
type Bare struct {
	Compression string
	// Name is what the file of a dataset is called, "" of one that has none. Where
	// the name tells the part, from 1, there may be several.
	Name func(dataset string, part int64) (string, error)
	// Marker is what the empty file is called that tells that a file has arrived, by
	// the same arguments; several files may have one. nil: there is none.
	Marker func(dataset string, part int64) (string, error)
}

// sideFiles of a bare drop come after those of the datasets and their markers: book, SHA256SUMS,
// manifest, signature, .done.
const sideFiles = 5

// SplitBare parts the files of a bare drop: what is sent, and what the recipient
// gets at most elsewhere.
func SplitBare(files []File) (sent, side []File) {
	at := len(files) - sideFiles
	return files[:at], files[at:]
}

// Outward are the files of a bare drop that are sent: SHA-256 by name.
func (s *Sealed) Outward() map[string]string {
	sums := map[string]string{}
	for _, f := range s.Files[:len(s.Files)-sideFiles] {
		sums[f.Name] = f.SHA256
	}
	return sums
}

var barePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+,=-]{0,199}$`)

func (s *Bare) check() error {
	if !slices.Contains([]string{Uncompressed, Gzip, Zip, Zstd}, s.Compression) {
		return errors.New("profile bare compresses by none, gzip, zip or zstd")
	}
	return nil
}

// bareName is that of a dataset's file, which no other part may have.
func (b *Builder) bareName(p PartInfo) (string, error) {
	part := int64(1)
	for _, other := range b.parts {
		if other.Dataset == p.Dataset {
			part++
		}
	}
	name, err := b.spec.Bare.Name(p.Dataset, part)
	if err != nil {
		return "", fmt.Errorf("begin part of %s: %w", p.Dataset, err)
	}
	if name == "" || p.Part2 || slices.ContainsFunc(b.parts, func(other BookPart) bool { return other.Name == name }) {
		return "", fmt.Errorf("begin part of %s: profile bare sends one file of each dataset that has a name, and no rows under 42 CFR Part 2", p.Dataset)
	}
	return name, checkBareName(name, b.base)
}

// checkBareName keeps a name in its folder, and apart from those of the side files.
func checkBareName(name string, base Base) error {
	if !barePattern.MatchString(name) || strings.HasPrefix(name, base.String()+".") {
		return errors.New("it is not a name of 1 to 200 letters, digits and . _ @ + , = -, beginning with a letter or digit and not as side files do")
	}
	return nil
}

// writeMarkers makes the markers of all files. They are no file's name, and hold nothing.
func (b *Builder) writeMarkers() error {
	if b.spec.Bare == nil || b.spec.Bare.Marker == nil {
		return nil
	}
	parts, markers := map[string]int64{}, []SealedFile{}
	for _, p := range b.parts {
		parts[p.Dataset]++
		name, err := b.spec.Bare.Marker(p.Dataset, parts[p.Dataset])
		if err == nil {
			err = checkBareName(name, b.base)
		}
		if err == nil && slices.ContainsFunc(b.files, func(f SealedFile) bool { return f.Name == name }) {
			err = errors.New("a file has its name")
		}
		if err != nil {
			return fmt.Errorf("marker of %s: %w", p.Name, err)
		}
		marker := SealedFile{name, sumOf(nil), 0}
		if slices.Contains(markers, marker) {
			continue
		}
		if err := durable.WriteFile(filepath.Join(b.spec.Dir, name), nil, 0o600); err != nil {
			return err
		}
		markers = append(markers, marker)
	}
	b.files = append(b.files, markers...)
	return nil
}

// openedName is what a bare file is called once it is decrypted and unpacked.
func openedName(name string) string {
	for _, ends := range [][]string{{ageEnd, pgpEnd, ".gpg", ".asc"}, {".gz", ".zip", partSuffix}} {
		for _, end := range ends {
			if stem, found := strings.CutSuffix(name, end); found && stem != "" {
				name = stem
				break
			}
		}
	}
	return name
}

// packer compresses one bare file. Nothing in what it makes but the rows differs
// from run to run.
func (s *Bare) packer(name string, out io.Writer) (io.WriteCloser, error) {
	switch s.Compression {
	case Gzip:
		return gzip.NewWriter(out), nil
	case Zip:
		archive := zip.NewWriter(out)
		file, err := archive.Create(openedName(name))
		return inZip{file, archive}, err
	case Zstd:
		return newEncoder(out)
	}
	return unpacked{out}, nil
}

type inZip struct {
	io.Writer
	io.Closer
}

type unpacked struct{ io.Writer }

func (unpacked) Close() error { return nil }

// NameTemplate is how a recipient wants files named: text, and tokens in braces.
type NameTemplate struct{ parts []namePart }

// namePart is a text before a token; the last has none.
type namePart struct {
	text, token string
	width       int
}

// NameValues fill in a NameTemplate.
type NameValues struct {
	Sender, Dataset, Environment string
	File                         string // of a marker: the name of the file that it tells of
	Date                         time.Time
	Sequence, Version            int64
	Part                         int64 // of the files of one dataset, from 1
	Longest                      bool  // in place of numbers as many nines as their width, or four
}

var bareToken = regexp.MustCompile(`\{([a-z]+)(?::([1-9]))?\}`)

// bareTokens are the tokens, and which of them are numbers that have a width.
var bareTokens = map[string]bool{"sender": false, "dataset": false, "environment": false, "file": false, "date": false, "year": false, "month": false, "day": false, "sequence": true, "version": true, "part": true}

// ParseNameTemplate reads a template such as {sender}_{dataset}_{date}_{version:2}.txt.pgp.
func ParseNameTemplate(text string) (NameTemplate, error) {
	var t NameTemplate
	at := 0
	for _, m := range bareToken.FindAllStringSubmatchIndex(text, -1) {
		p := namePart{text: text[at:m[0]], token: text[m[2]:m[3]]}
		number, known := bareTokens[p.token]
		if !known || m[4] >= 0 && !number {
			return t, fmt.Errorf("{%s} is no token; there are sender, dataset, environment, in markers file, date, year, month, day, and sequence, version and part, which may have a width, as in {sequence:4}", p.token)
		}
		if m[4] >= 0 {
			p.width, _ = strconv.Atoi(text[m[4]:m[5]])
		}
		t.parts, at = append(t.parts, p), m[1]
	}
	t.parts = append(t.parts, namePart{text: text[at:]})
	for _, p := range t.parts {
		if strings.ContainsAny(p.text, "{}") {
			return t, errors.New("a brace begins no token; tokens are written as in {dataset} or {sequence:4}")
		}
	}
	return t, nil
}

// Has tells whether the template has one of the tokens.
func (t NameTemplate) Has(tokens ...string) bool {
	return slices.ContainsFunc(t.parts, func(p namePart) bool { return slices.Contains(tokens, p.token) })
}

// Name fills the template in. The error says what a name may not have.
func (t NameTemplate) Name(v NameValues) (string, error) {
	var b strings.Builder
	for _, p := range t.parts {
		number := func(n int64) {
			if v.Longest {
				n, _ = strconv.ParseInt("999999999"[:cmp.Or(p.width, 4)], 10, 64)
			}
			fmt.Fprintf(&b, "%0*d", p.width, n)
		}
		b.WriteString(p.text)
		switch p.token {
		case "sender":
			b.WriteString(v.Sender)
		case "dataset":
			b.WriteString(v.Dataset)
		case "environment":
			b.WriteString(v.Environment)
		case "file":
			b.WriteString(v.File)
		case "date":
			b.WriteString(v.Date.Format("20060102"))
		case "year":
			b.WriteString(v.Date.Format("2006"))
		case "month":
			b.WriteString(v.Date.Format("01"))
		case "day":
			b.WriteString(v.Date.Format("02"))
		case "sequence":
			number(v.Sequence)
		case "version":
			number(v.Version)
		case "part":
			number(v.Part)
		}
	}
	if !barePattern.MatchString(b.String()) {
		return "", fmt.Errorf("%q is not a name of 1 to 200 letters, digits and . _ @ + , = -, beginning with a letter or digit", b.String())
	}
	return b.String(), nil
}
