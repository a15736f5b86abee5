package transfer

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"
)

// decryptFile is age alone, without the receiver.
func decryptFile(t testing.TB, path string, identity age.Identity) []byte {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	plain, err := age.Decrypt(file, identity)
	must(t, err)
	text, err := io.ReadAll(plain)
	must(t, err)
	return text
}

func unpack(t testing.TB, packed []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(nil)
	must(t, err)
	defer d.Close()
	text, err := d.DecodeAll(packed, nil)
	must(t, err)
	return text
}

func TestSealedFiles(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 42, sumOf([]byte("41")))
	b, err := NewDrop(spec)
	must(t, err)
	private, err := b.Private("clinic-book", w.archive.age.Recipient())
	must(t, err)
	addParts(t, b)
	_, err = private.Write([]byte("every disposition"))
	must(t, err)
	if _, err := b.Seal(usualBook()); err == nil {
		t.Error("sealed with a private file open")
	}
	must(t, private.Close())
	sealed, err := b.Seal(usualBook())
	must(t, err)

	var names []string
	for _, f := range sealed.Files {
		names = append(names, f.Name)
		text, err := os.ReadFile(filepath.Join(spec.Dir, f.Name))
		must(t, err)
		if sumOf(text) != f.SHA256 || int64(len(text)) != f.Size {
			t.Errorf("%s: sum or size is not the file's", f.Name)
		}
	}
	want := "cv.x7.000042.001.zst.age cv.x7.000042.002.zst.age cv.x7.000042.003.zst.age cv.x7.000042.book.json.age " +
		"cv.x7.000042.SHA256SUMS cv.x7.000042.manifest.json cv.x7.000042.manifest.json.sig cv.x7.000042.done"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("upload order\n%s\nwant\n%s", got, want)
	}
	for _, f := range sealed.Archive {
		sent, kept := filepath.Join(spec.Dir, f.Name), filepath.Join(spec.Dir, ArchiveFolder, f.Name)
		if !bytes.Equal(decryptFile(t, sent, w.payer.age), decryptFile(t, kept, w.archive.age)) {
			t.Errorf("%s: the archive holds another plaintext", f.Name)
		}
	}
	if len(sealed.Archive) != 4 {
		t.Errorf("%d archive files, want parts and book", len(sealed.Archive))
	}
	book := filepath.Join(spec.Dir, PrivateFolder, sealed.Private[0].Name)
	if got := unpack(t, decryptFile(t, book, w.archive.age)); string(got) != "every disposition" {
		t.Error("the private file does not hold what was written")
	}
}

// The clear side must not tell an empty Part 2 part from a small one, nor
// anything about the policy's name, counts or period.
func TestClearSideTellsNothing(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	if sealed.Files[0].Size != sealed.Files[1].Size {
		t.Error("an empty part and a small one differ in length")
	}
	text, err := os.ReadFile(filepath.Join(spec.Dir, "cv.x7.000001.manifest.json"))
	must(t, err)
	for _, word := range []string{"part2", "rows", "people", "scores", "Observation", "identified", "standard", "2026"} {
		if bytes.Contains(text, []byte(word)) {
			t.Errorf("the clear manifest says %q", word)
		}
	}
	if !bytes.HasSuffix(text, []byte("}\n")) || bytes.Count(text, newline) != 1 {
		t.Error("the manifest is not one line with one newline")
	}
}

func TestSameInputSamePlaintextAndSizes(t *testing.T) {
	w := newWorld(t)
	text := []byte(strings.Repeat(scoresCSV[31:], 40_000))
	build := func(cuts *rand.Rand) (DropSpec, *Sealed) {
		spec := w.spec(t, 1, "")
		b, err := NewDrop(spec)
		must(t, err)
		p, err := b.Part(PartInfo{Dataset: "scores", Format: NDJSON})
		must(t, err)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), 1+cuts.IntN(200_000))
			_, err := p.Write(rest[:n])
			must(t, err)
			rest = rest[n:]
		}
		must(t, p.Close(120_000, 1))
		sealed, err := b.Seal(usualBook())
		must(t, err)
		return spec, sealed
	}
	specA, a := build(rand.New(rand.NewPCG(1, 1)))
	specB, b := build(rand.New(rand.NewPCG(2, 2)))
	for i, f := range a.Files {
		if f.Name != b.Files[i].Name || f.Size != b.Files[i].Size {
			t.Errorf("%s: names or sizes differ", f.Name)
		}
	}
	for _, f := range a.Files[:2] {
		one := decryptFile(t, filepath.Join(specA.Dir, f.Name), w.payer.age)
		two := decryptFile(t, filepath.Join(specB.Dir, f.Name), w.payer.age)
		if !bytes.Equal(one, two) {
			t.Errorf("%s: what was encrypted differs", f.Name)
		}
		if padded := int64(len(one)); padded != Padme(padded) {
			t.Errorf("%s: its length before encryption is not padded", f.Name)
		}
	}
}

func TestPaddingIsTransparent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.Int64Range(0, 1<<40).Draw(t, "length")
		padded := Padme(length)
		if padded < length || Padme(padded) != padded || float64(padded-length) > 0.12*float64(length) {
			t.Fatalf("Padme(%d) = %d", length, padded)
		}
	})
	for _, length := range []int64{0, 1, 4000, 4088, 4089, 4096, 5000, 100_000} {
		var padding bytes.Buffer
		must(t, writeSkippable(&padding, length))
		total := length + int64(padding.Len())
		if total < minPart || Padme(total) != total {
			t.Errorf("%d bytes are padded to %d", length, total)
		}
		if got := unpack(t, padding.Bytes()); len(got) != 0 {
			t.Errorf("padding of %d bytes decodes to something", length)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	w := newWorld(t)
	bad := map[string]func(*DropSpec){
		"sequence":            func(s *DropSpec) { s.Sequence = 0 },
		"voids out of order":  func(s *DropSpec) { s.Voids = []int64{3, 2} },
		"void of itself":      func(s *DropSpec) { s.Voids = []int64{5} },
		"previous":            func(s *DropSpec) { s.Previous = "x" },
		"no previous, no gap": func(s *DropSpec) { s.Previous = "" },
		"sender":              func(s *DropSpec) { s.Sender = "../x" },
		"code":                func(s *DropSpec) { s.Code = "C V" },
		"no keys":             func(s *DropSpec) { s.Envelope = nil },
		"folder in use":       func(s *DropSpec) { must(t, os.WriteFile(filepath.Join(s.Dir, "x"), nil, 0o600)) },
	}
	for name, spoil := range bad {
		spec := w.spec(t, 5, sumOf(nil))
		spoil(&spec)
		if _, err := NewDrop(spec); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	b, err := NewDrop(w.spec(t, 1, ""))
	must(t, err)
	p, err := b.Part(PartInfo{Dataset: "scores", Format: CSV, Columns: columns})
	must(t, err)
	if _, err := b.Part(PartInfo{Dataset: "scores", Format: NDJSON}); err == nil {
		t.Error("two parts open at a time")
	}
	_, err = p.Write([]byte(scoresCSV))
	must(t, err)
	if err := p.Close(4, 1); err == nil {
		t.Error("a part with fewer lines than rows was closed")
	}
}

func BenchmarkPart(b *testing.B) {
	w := newWorld(b)
	var text bytes.Buffer
	random := rand.New(rand.NewPCG(7, 7))
	for text.Len() < 32<<20 {
		line := []byte(`{"resourceType":"Observation","id":"0000000000","subject":{"reference":"Patient/00000000"},"code":{"coding":[{"system":"http://loinc.org","code":"44261-6"}]},"effectiveDateTime":"2026","valueInteger":00}` + "\n")
		for i, c := range line {
			if c == '0' {
				line[i] = byte('0' + random.IntN(10))
			}
		}
		text.Write(line)
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		drop, err := NewDrop(w.spec(b, 1, ""))
		must(b, err)
		p, err := drop.Part(PartInfo{Dataset: "Observation", Format: NDJSON})
		must(b, err)
		_, err = p.Write(text.Bytes())
		must(b, err)
		must(b, p.Close(int64(bytes.Count(text.Bytes(), newline)), 1))
		b.ReportMetric(float64(drop.files[0].Size)/float64(text.Len()), "ratio")
	}
}
