package transfer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
)

// vectorFolder holds the drops that are published with the format. Its README
// says what a reader finds there.
const vectorFolder = "../testdata/drops"

// vector is a published drop, and how it is made.
type vector struct {
	name   string
	result string // accepted, repeat, unfinished, or the class of the refusal
	file   string // how the name of the file at fault ends
	like   string // the complete vector from which it differs by what edit does
	before string // vectors received before it, in order
	about  string
	edit   func(*draft)
}

// draft is a drop that is not made yet. An edit changes it at one place: what
// follows from that place is made of what is there then, so that the drop
// has this one fault. What stands in the inbox is changed by lies alone.
type draft struct {
	code     string
	head     Manifest // what the book says, too
	book     Book
	parts    []draftPart
	keys     []Recipient
	bookKeys []Recipient // instead of keys
	signer   ssh.Signer
	second   func(text []byte) []byte // the signature of the key that it introduces

	partName  func(base Base, n int) string
	packed    map[int]func([]byte) []byte // a part before its encryption
	onBook    func(*Book)
	bookText  func([]byte) []byte // before its encryption
	sealed    map[string]func([]byte) []byte
	manifest  func(*Manifest)
	text      func([]byte) []byte      // of the manifest, before it is signed
	signature func(text []byte) []byte // instead of the signer's
	sums      func([]byte) []byte
	done      func([]byte) []byte
	lies      func(files map[string][]byte)

	recall *Recall // then it is made, and no drop
}

type draftPart struct {
	info   PartInfo
	text   string
	people int64
}

// vectorMaker makes vectors with keys and randomness that never change.
type vectorMaker struct {
	t    *testing.T
	all  []vector
	made map[string]map[string][]byte
}

// seeded makes randomness depend on what is made with it, so that an equal
// part has equal bytes in every vector.
func seeded(t *testing.T, what ...[]byte) {
	sum := sha256.Sum256(bytes.Join(what, []byte{0}))
	cryptotest.SetGlobalRandom(t, binary.LittleEndian.Uint64(sum[:]))
}

// vectorSigner is the signing key of a name.
func vectorSigner(name string) ssh.Signer {
	seed := sha256.Sum256([]byte("postern drop vectors: " + name))
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic(err) // no key of Ed25519 is refused
	}
	return signer
}

// pad ends a compressed part as senders do.
func pad(t testing.TB, packed []byte) []byte {
	t.Helper()
	out := bytes.NewBuffer(slices.Clone(packed))
	must(t, writeSkippable(out, int64(len(packed))))
	return out.Bytes()
}

// envelope of the vectors; the sender's OpenPGP key is always the same.
func (m *vectorMaker) envelope(to []Recipient) *Envelope {
	m.t.Helper()
	seeded(m.t, []byte("OpenPGP key of clearview"))
	text, err := NewOpenPGPKey("clearview", vectorTime)
	must(m.t, err)
	signer, err := LoadOpenPGPKey(text)
	must(m.t, err)
	e, err := NewEnvelope(to, signer, vectorTime)
	must(m.t, err)
	return e
}

// vectorTime is when the vectors were made, and when they are received.
var vectorTime = time.Date(2026, 7, 5, 2, 0, 0, 0, time.UTC)

func (m *vectorMaker) seal(name string, plain []byte, to []Recipient) []byte {
	m.t.Helper()
	e := m.envelope(to)
	seeded(m.t, []byte(name), plain)
	var out bytes.Buffer
	w, err := e.encrypt(&out)
	must(m.t, err)
	_, err = w.Write(plain)
	must(m.t, err)
	must(m.t, w.Close())
	return out.Bytes()
}

// then gives what a hook makes of the bytes; without a hook they stay.
func then(hook func([]byte) []byte, text []byte) []byte {
	if hook == nil {
		return text
	}
	return hook(text)
}

// files makes the drop: parts, book, manifest, signature, SHA256SUMS, .done.
func (m *vectorMaker) files(d *draft) map[string][]byte {
	m.t.Helper()
	base := Base{d.code, d.head.Exchange, d.head.Sequence}
	files := map[string][]byte{}
	manifest, book := d.head, d.book
	if d.recall != nil {
		return m.recallFiles(d, base)
	}
	end := m.envelope(d.keys).suffix()
	add := func(name string, plain []byte, to []Recipient) {
		files[name] = then(d.sealed[strings.TrimPrefix(name, base.String()+".")], m.seal(name, plain, to))
		manifest.Files = append(manifest.Files, SealedFile{name, sumOf(files[name]), int64(len(files[name]))})
	}
	for i, p := range d.parts {
		name := base.part(i+1) + end
		if d.partName != nil {
			name = d.partName(base, i+1)
		}
		add(name, then(d.packed[i+1], pad(m.t, pack(m.t, p.text))), d.keys)
		part := BookPart{Name: name, Dataset: p.info.Dataset, Format: p.info.Format, Compression: Zstd,
			Columns: p.info.Columns, Part2: p.info.Part2, Action: p.info.Action,
			People: p.people, PlaintextSHA256: sumOf([]byte(p.text)), PlaintextBytes: int64(len(p.text))}
		part.Rows = int64(strings.Count(p.text, "\n")) - part.around()
		book.Parts = append(book.Parts, part)
	}
	bookKeys := d.keys
	if d.bookKeys != nil {
		bookKeys = d.bookKeys
	}
	add(base.String()+bookSuffix+end, m.bookText(d, book), bookKeys)
	if d.manifest != nil {
		d.manifest(&manifest)
	}
	m.clear(d, base.String(), &manifest, files)
	if d.lies != nil {
		d.lies(files)
	}
	return files
}

func (m *vectorMaker) recallFiles(d *draft, base Base) map[string][]byte {
	m.t.Helper()
	d.recall.Format, d.recall.RecalledAt = RecallFormat, vectorTime.Format(time.RFC3339)
	d.recall.Sender, d.recall.Recipient, d.recall.Exchange, d.recall.Sequence = d.head.Sender, d.head.Recipient, d.head.Exchange, d.head.Sequence
	text, err := encodePadded(d.recall)
	must(m.t, err)
	sign := d.signature
	if sign == nil {
		sign = func(text []byte) []byte { return signedBy(m.t, d.signer, RecallNamespace, text) }
	}
	name := base.RecallBase(1)
	files := map[string][]byte{name + recallSuffix + ageEnd: m.seal(name, text, d.keys), name + recallSignature: sign(text)}
	if d.lies != nil {
		d.lies(files)
	}
	return files
}

func (m *vectorMaker) bookText(d *draft, book Book) []byte {
	m.t.Helper()
	book.Format = BookFormat
	book.Sender, book.Recipient, book.Exchange, book.Sequence = d.head.Sender, d.head.Recipient, d.head.Exchange, d.head.Sequence
	book.Previous, book.Voids = d.head.Previous, d.head.Voids
	if d.onBook != nil {
		d.onBook(&book)
	}
	text, err := encodePadded(&book)
	must(m.t, err)
	return then(d.bookText, text)
}

// clear adds the four clear files.
func (m *vectorMaker) clear(d *draft, base string, manifest *Manifest, files map[string][]byte) {
	m.t.Helper()
	text, err := encode(manifest)
	must(m.t, err)
	text = then(d.text, text)
	sign := d.signature
	if sign == nil {
		sign = func(text []byte) []byte { return signedBy(m.t, d.signer, DropNamespace, text) }
	}
	signature := sign(text)
	if d.second != nil {
		signature = append(signature, d.second(text)...)
	}
	var done []byte
	for _, f := range []struct {
		suffix string
		text   []byte
	}{{sumsSuffix, then(d.sums, manifest.sums())}, {manifestSuffix, text}, {signatureSuffix, signature}} {
		files[base+f.suffix] = f.text
		done = appendSum(done, sumOf(f.text), base+f.suffix)
	}
	files[base+doneSuffix] = then(d.done, done)
}

func signedBy(t testing.TB, signer ssh.Signer, namespace string, text []byte) []byte {
	t.Helper()
	signature, err := sshsig.Sign(signer, namespace, bytes.NewReader(text))
	must(t, err)
	return signature
}

// make gives the files of a vector.
func (m *vectorMaker) make(name string) map[string][]byte {
	m.t.Helper()
	if files := m.made[name]; files != nil {
		return files
	}
	files := m.files(m.draft(name))
	m.made[name] = files
	return files
}

// draft gives what a vector is made of: all that of the one it is like, then
// its own.
func (m *vectorMaker) draft(name string) *draft {
	m.t.Helper()
	i := slices.IndexFunc(m.all, func(v vector) bool { return v.name == name })
	if i < 0 {
		m.t.Fatalf("no vector %s", name)
	}
	d := &draft{packed: map[int]func([]byte) []byte{}, sealed: map[string]func([]byte) []byte{}}
	if like := m.all[i].like; like != "" {
		d = m.draft(like)
	}
	if m.all[i].edit != nil {
		m.all[i].edit(d)
	}
	return d
}

// manifestSum is the SHA-256 of a vector's manifest.
func (m *vectorMaker) manifestSum(name string) string {
	for file, text := range m.make(name) {
		if strings.HasSuffix(file, manifestSuffix) {
			return sumOf(text)
		}
	}
	m.t.Fatalf("vector %s has no manifest", name)
	return ""
}

// folder gives all files of testdata/drops but those that people write, by
// slash path, with their index.
func (m *vectorMaker) folder() map[string][]byte {
	m.t.Helper()
	folder := m.keys()
	var index bytes.Buffer
	w := csv.NewWriter(&index)
	must(m.t, w.Write([]string{"vector", "result", "file", "drop", "like", "without", "before", "about"}))
	under := map[string]string{} // the folders below each vector's own
	for _, v := range m.all {
		files, like := m.make(v.name), map[string][]byte{}
		if v.like != "" {
			like = m.make(v.like)
			under[v.name] = strings.TrimSpace(under[v.like] + " " + v.like)
		}
		if !shares(files, like) {
			like, under[v.name] = nil, "" // it is complete
		}
		for name, text := range files {
			if old, has := like[name]; !has || !bytes.Equal(old, text) {
				folder[v.name+"/"+name] = text
			}
		}
		var without []string
		for _, name := range slices.Sorted(maps.Keys(like)) {
			if _, has := files[name]; !has {
				without = append(without, name)
			}
		}
		d := m.draft(v.name)
		base := Base{d.code, d.head.Exchange, d.head.Sequence}.String()
		file := v.file
		if file != "" {
			file = base + "." + file
		}
		must(m.t, w.Write([]string{v.name, v.result, file, base, under[v.name], strings.Join(without, " "), v.before, v.about}))
	}
	w.Flush()
	must(m.t, w.Error())
	folder["index.csv"] = index.Bytes()
	return folder
}

// shares says whether two drops have a file in common.
func shares(a, b map[string][]byte) bool {
	for name, text := range a {
		if old, has := b[name]; has && bytes.Equal(old, text) {
			return true
		}
	}
	return false
}

// byHand is what is not made here.
var byHand = []string{"README.md", ".gitattributes", "keys/openpgp_identity.asc"}

// The published drops are those that are made here: whoever changes the format
// makes them anew, and sees in the difference what that means to others.
func TestVectorsAreMade(t *testing.T) {
	m := &vectorMaker{t: t, made: map[string]map[string][]byte{}}
	m.all = slices.Concat(m.goodVectors(), m.introductions(), m.badVectors(), m.badIntroductions())
	want := m.folder()
	got := map[string][]byte{}
	must(t, filepath.WalkDir(vectorFolder, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(vectorFolder, path)
		if err != nil || e.IsDir() || slices.Contains(byHand, filepath.ToSlash(name)) {
			return err
		}
		got[filepath.ToSlash(name)], err = os.ReadFile(path)
		return err
	}))
	if os.Getenv("UPDATE_GOLDEN") != "" {
		m.write(got, want)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if text, has := got[name]; !has || !bytes.Equal(text, want[name]) {
			t.Errorf("%s/%s is not what is made now: if the format changed, UPDATE_GOLDEN=1 go test ./transfer -run TestVectorsAreMade, and look at the difference", vectorFolder, name)
		}
	}
	for name := range got {
		if _, has := want[name]; !has {
			t.Errorf("%s/%s belongs to no vector", vectorFolder, name)
		}
	}
}

func (m *vectorMaker) write(got, want map[string][]byte) {
	m.t.Helper()
	for name := range got {
		if _, has := want[name]; !has {
			must(m.t, os.Remove(filepath.Join(vectorFolder, name)))
			_ = os.Remove(filepath.Join(vectorFolder, filepath.Dir(name))) // if it is empty now
		}
	}
	for name, text := range want {
		path := filepath.Join(vectorFolder, filepath.FromSlash(name))
		must(m.t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(m.t, os.WriteFile(path, text, 0o644))
	}
}
