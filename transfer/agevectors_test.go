package transfer

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	agevectors "c2sp.org/CCTV/age"
	"filippo.io/age"
)

// ageVector is a file of C2SP's test vectors for age: a header of its own, an
// empty line, an age file.
type ageVector struct {
	name, expect, payload string
	armored               bool
	identities            []age.Identity
	passphrase            bool // one that postern receive cannot be given
	file                  []byte
}

func ageVectors(t *testing.T) (all []ageVector) {
	t.Helper()
	must(t, fs.WalkDir(agevectors.Vectors, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(agevectors.Vectors, path)
		if err == nil {
			all = append(all, parseAgeVector(t, path, text))
		}
		return err
	}))
	return all
}

func parseAgeVector(t *testing.T, name string, text []byte) ageVector {
	t.Helper()
	header, file, found := bytes.Cut(text, []byte("\n\n"))
	if !found {
		t.Fatalf("%s has no header", name)
	}
	v := ageVector{name: name, file: file}
	for line := range strings.SplitSeq(string(header), "\n") {
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "expect":
			v.expect = value
		case "payload":
			v.payload = value
		case "armored":
			v.armored = true
		case "identity":
			ids, err := ParseIdentities([]byte(value))
			must(t, err)
			v.identities = append(v.identities, ids...)
		case "passphrase":
			id, err := age.NewScryptIdentity(value)
			must(t, err)
			v.identities, v.passphrase = append(v.identities, id), true
		case "compressed":
			r, err := zlib.NewReader(bytes.NewReader(file))
			must(t, err)
			v.file, err = io.ReadAll(r)
			must(t, err)
		case "file key", "comment":
		default:
			t.Fatalf("%s: header %q", name, line)
		}
	}
	return v
}

// layOut gives a fresh inbox with the files.
func layOut(t testing.TB, files map[string][]byte) string {
	t.Helper()
	inbox := t.TempDir()
	for name, text := range files {
		must(t, os.WriteFile(filepath.Join(inbox, name), text, 0o600))
	}
	return inbox
}

// withPart makes a drop whose first part is the given file, all else right.
func withPart(t *testing.T, file []byte) map[string][]byte {
	t.Helper()
	d := new(draft)
	m := &vectorMaker{t: t}
	m.first(d)
	d.sealed = map[string]func([]byte) []byte{part1: func([]byte) []byte { return file }}
	return m.files(d)
}

// refusesPart expects a refusal of the first part that leaves no plaintext.
func refusesPart(t *testing.T, r *Receiver, inbox string, classes ...Class) {
	t.Helper()
	got := receiveOne(t, r, inbox)
	refused := false
	for _, class := range classes {
		refused = refused || got.Fault != nil && got.Fault.Class == class && got.Fault.File == x7+part1
	}
	if !refused {
		t.Errorf("%s, %v; want %v of %s", got.Status, got.Fault, classes, part1)
	}
	if left := plaintexts(t, r.Dir); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

// Each file of C2SP's vectors is a part of an otherwise good drop. What they say
// fails is refused as decrypt-failed, what they say opens does so, to their
// payload, which is no zstd stream, so that the drop is refused all the same. How
// many there were of each is printed.
func TestAgeVectors(t *testing.T) {
	counts := map[string]int{}
	for _, v := range ageVectors(t) {
		counts["all"]++
		t.Run(v.name, func(t *testing.T) {
			if len(v.file) == 0 {
				counts["empty, which no manifest can state"]++
				return
			}
			inbox, r := layOut(t, withPart(t, v.file)), vectorReceiver(t)
			r.Identities = append(r.Identities, v.identities...)
			sum := sha256.New()
			err := r.decrypt(inbox, x7+part1, io.Discard, func(plain io.Reader) error {
				_, err := io.Copy(sum, plain)
				return err
			})
			if v.passphrase {
				counts["with a passphrase, which postern receive takes for no part"]++
			}
			switch {
			case v.expect == "success" && !v.armored:
				counts["opened"]++
				empty := v.payload == sumOf(nil)
				if (err != nil) != empty || hex.EncodeToString(sum.Sum(nil)) != v.payload {
					t.Errorf("opened to another payload, or not: %v", err)
				}
				refusesPart(t, r, inbox, DecryptFailed, Truncated)
				return
			case v.expect == "success":
				counts["good, but armored, which the format is not: refused"]++
			default:
				counts["refused as "+v.expect]++
			}
			refusesPart(t, r, inbox, DecryptFailed)
		})
	}
	if counts["all"] == 0 || counts["opened"] == 0 {
		t.Error("there are no vectors")
	}
	for what, n := range counts {
		t.Logf("%3d %s", n, what)
	}
}

// Of a part of several chunks (age-encryption.org/v1, Payload) the first open
// before the last is looked at. What they held goes again.
func TestLaterChunks(t *testing.T) {
	const chunk = 64<<10 + 16
	random, rows := rand.New(rand.NewPCG(5, 5)), new(strings.Builder)
	rows.WriteString("row_key,instrument,total_score\n")
	for rows.Len() < 400<<10 {
		for range 60 {
			rows.WriteByte(byte('!' + random.IntN(90)))
		}
		rows.WriteByte('\n')
	}
	m := &vectorMaker{t: t}
	make := func(edit func(sealed []byte) []byte) string {
		d := new(draft)
		m.first(d)
		d.parts[0].text = rows.String()
		d.sealed = map[string]func([]byte) []byte{part1: edit}
		return layOut(t, m.files(d))
	}
	if got := receiveOne(t, vectorReceiver(t), make(nil)); got.Status != Accepted {
		t.Fatalf("whole: %s, %v", got.Status, got.Fault)
	}
	header := func(sealed []byte) int {
		end := bytes.Index(sealed, []byte("\n--- "))
		return end + 1 + bytes.IndexByte(sealed[end+1:], '\n') + 1 + 16 // MAC's line, nonce
	}
	for name, edit := range map[string]func([]byte) []byte{
		"last chunk missing": func(s []byte) []byte { return s[:header(s)+2*chunk] },
		"cut within a chunk": func(s []byte) []byte { return s[:header(s)+2*chunk+100] },
		"changed":            func(s []byte) []byte { s[header(s)+3*chunk] ^= 1; return s },
		"chunks swapped": func(s []byte) []byte {
			one, two := bytes.Clone(s[header(s)+chunk:][:chunk]), bytes.Clone(s[header(s)+2*chunk:][:chunk])
			copy(s[header(s)+chunk:], append(two, one...))
			return s
		},
		"something follows": func(s []byte) []byte { return append(s, 0) },
	} {
		t.Run(name, func(t *testing.T) { refusesPart(t, vectorReceiver(t), make(edit), DecryptFailed) })
	}
}
