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
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"github.com/posternhealth/postern/internal/sshsig"
)

func TestReceiveGoodDrop(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	r := w.receiver(t)
	inbox := copyDrop(t, spec.Dir, sealed)
	got := receiveOne(t, r, inbox)
	if got.Status != Accepted || got.Sender != "clearview" || got.Rows != 5 || got.Book.People != 4 {
		t.Fatalf("result %+v, fault %v", got, got.Fault)
	}
	text, err := os.ReadFile(filepath.Join(got.Folder, "cv.x7.000001.001.csv"))
	must(t, err)
	if string(text) != scoresCSV {
		t.Error("the plaintext is another")
	}
	entries, err := os.ReadDir(got.Folder)
	must(t, err)
	if len(entries) != 4 {
		t.Errorf("%d files of plaintext, want three parts and the book", len(entries))
	}
	c := compareReceipt(t, w, sealed, got.Receipt)
	if c.Outcome != Acknowledged || c.Receipt.LedgerCheckpoint != "clearview\n7\nAAAA\n" {
		t.Errorf("reconciled as %s: %v", c.Outcome, c.Differences)
	}
	if again := receiveOne(t, r, inbox); again.Status != Repeated || again.Receipt != "" {
		t.Errorf("a second look gives %s", again.Status)
	}
}

func compareReceipt(t testing.TB, w *world, sealed *Sealed, path string) *Reconciliation {
	t.Helper()
	receipt, err := os.ReadFile(path)
	must(t, err)
	signature, err := os.ReadFile(path + ".sig")
	must(t, err)
	c, err := Compare(sealed.Expect, receipt, signature, w.signers, w.now)
	must(t, err)
	return c
}

func TestNothingWithoutDone(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	inbox := copyDrop(t, spec.Dir, seal(t, spec))
	r := w.receiver(t)
	done := filepath.Join(inbox, "cv.x7.000001.done")
	must(t, os.Truncate(done, 0)) // being written, where nothing is renamed
	for range 2 {
		results, err := r.Receive(context.Background(), inbox)
		if err != nil || len(results) != 1 || results[0].Status != Unfinished || results[0].Drop != "cv.x7.000001" {
			t.Errorf("an unfinished drop: %v %v", results, err)
		}
		_ = os.Remove(done)
	}
	if _, err := os.Stat(filepath.Join(r.Dir, "cv.x7.000001")); !os.IsNotExist(err) {
		t.Error("an unfinished drop was opened")
	}
}

// resign makes the clear side anew over the encrypted files as they lie,
// after edit changed the manifest: what one can do who has a trusted key.
func resign(t testing.TB, inbox string, signer party, edit func(*Manifest)) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(inbox, "*"+manifestSuffix))
	must(t, err)
	text, err := os.ReadFile(paths[0])
	must(t, err)
	m, err := ParseManifest(text)
	must(t, err)
	base := m.Base().String()
	for i, f := range m.Files {
		data, err := os.ReadFile(filepath.Join(inbox, f.Name))
		must(t, err)
		sum := sha256.Sum256(data)
		m.Files[i] = SealedFile{f.Name, hex.EncodeToString(sum[:]), int64(len(data))}
	}
	if edit != nil {
		edit(m)
	}
	text, err = encode(m)
	must(t, err)
	signature, err := sshsig.Sign(signer.signer, DropNamespace, bytes.NewReader(text))
	must(t, err)
	var done []byte
	for _, f := range []struct {
		suffix string
		text   []byte
	}{{sumsSuffix, m.sums()}, {manifestSuffix, text}, {signatureSuffix, signature}} {
		must(t, os.WriteFile(filepath.Join(inbox, base+f.suffix), f.text, 0o600))
		done = appendSum(done, sumOf(f.text), base+f.suffix)
	}
	must(t, os.WriteFile(filepath.Join(inbox, base+doneSuffix), done, 0o600))
}

// reseal replaces an encrypted file by other plaintext for the same recipient.
func (w *world) reseal(t testing.TB, inbox, name string, plain []byte) {
	t.Helper()
	file, err := os.Create(filepath.Join(inbox, name))
	must(t, err)
	defer file.Close()
	a, err := age.Encrypt(file, w.payer.age.Recipient())
	must(t, err)
	_, err = a.Write(plain)
	must(t, err)
	must(t, a.Close())
}

func pack(t testing.TB, text string) []byte {
	t.Helper()
	var packed bytes.Buffer
	e, err := newEncoder(&packed)
	must(t, err)
	_, err = io.WriteString(e, text)
	must(t, err)
	must(t, e.Close())
	return packed.Bytes()
}

func flip(t testing.TB, path string, at int) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	text[at%len(text)] ^= 1
	must(t, os.WriteFile(path, text, 0o600))
}

// A link is not followed; all other faults are among the vectors.
func TestLinkIsRefused(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	inbox := copyDrop(t, spec.Dir, sealed)
	part := filepath.Join(inbox, sealed.Files[1].Name)
	must(t, os.Rename(part, filepath.Join(inbox, "elsewhere")))
	must(t, os.Symlink("elsewhere", part))
	r := w.receiver(t)
	got := receiveOne(t, r, inbox)
	if got.Status != Rejected || got.Fault.Class != FormatFault || got.Fault.File != sealed.Files[1].Name {
		t.Errorf("%s, %v", got.Status, got.Fault)
	}
	if left := plaintexts(t, r.Dir); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

// Whatever byte of whatever file is changed, the receiver refuses and its
// message names that file.
func TestEveryFileIsCovered(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	for _, f := range sealed.Files {
		step := max(1, int(f.Size)/12)
		for at := 0; at < int(f.Size); at += step {
			inbox, r := copyDrop(t, spec.Dir, sealed), w.receiver(t)
			flip(t, filepath.Join(inbox, f.Name), at)
			got := receiveOne(t, r, inbox)
			if got.Status != Rejected || got.Fault.File != f.Name {
				t.Fatalf("byte %d of %s: %s, %v", at, f.Name, got.Status, got.Fault)
			}
		}
	}
}

// chain receives a row of drops into one memory.
type chain struct {
	t *testing.T
	w *world
	r *Receiver
}

func (c *chain) take(sequence int64, previous string, voids ...int64) (Result, string) {
	spec := c.w.spec(c.t, sequence, previous, voids...)
	sealed := seal(c.t, spec)
	return receiveOne(c.t, c.r, copyDrop(c.t, spec.Dir, sealed)), sealed.ManifestSHA256
}

func (c *chain) accepts(sequence int64, previous string, voids ...int64) string {
	c.t.Helper()
	got, sum := c.take(sequence, previous, voids...)
	if got.Status != Accepted {
		c.t.Fatalf("number %d: %s, %v", sequence, got.Status, got.Fault)
	}
	return sum
}

func (c *chain) refuses(class Class, sequence int64, previous string, voids ...int64) {
	c.t.Helper()
	got, _ := c.take(sequence, previous, voids...)
	if got.Status != Rejected || got.Fault.Class != class {
		c.t.Fatalf("number %d: %s, %v; want %s", sequence, got.Status, got.Fault, class)
	}
}

func TestSequence(t *testing.T) {
	w := newWorld(t)
	c := &chain{t, w, w.receiver(t)}
	c.refuses(SequenceGap, 2, sumOf([]byte("unknown")))
	one := c.accepts(1, "")
	c.refuses(Fork, 1, "")
	c.refuses(Fork, 2, sumOf([]byte("another one")))
	c.refuses(SequenceGap, 3, one)
	c.refuses(SequenceGap, 5, one, 2, 4)
	four := c.accepts(4, one, 2, 3)
	c.refuses(Voided, 3, one)
	// Number 4 had arrived though the sender did not know; 5 voids it.
	five, _ := c.take(5, one, 2, 3, 4)
	if five.Status != Accepted || !slices.Equal(five.Withdrawn, []int64{4}) {
		t.Errorf("voiding an accepted drop: %s %v %v", five.Status, five.Withdrawn, five.Fault)
	}
	c.refuses(Fork, 6, four)
}

func TestAdoptedExchange(t *testing.T) {
	w := newWorld(t)
	c := &chain{t, w, w.receiver(t)}
	c.r.Adopt = true
	before := sumOf([]byte("39"))
	c.accepts(41, before, 40)
	c.r.Adopt = false
	c.accepts(42, before, 40, 41)
	c.refuses(SequenceGap, 20, before)
}

// A code belongs to the sender that used it first.
func TestNameTaken(t *testing.T) {
	w := newWorld(t)
	c := &chain{t, w, w.receiver(t)}
	one := c.accepts(1, "")
	spec := w.spec(t, 2, one)
	spec.Sender, spec.Signer = w.other.name, w.other.signer
	got := receiveOne(t, c.r, copyDrop(t, spec.Dir, seal(t, spec)))
	if got.Fault == nil || got.Fault.Class != NameTaken {
		t.Errorf("%s, %v", got.Status, got.Fault)
	}
}

// One who can write to the inbox cannot take an acceptance back.
func TestAcceptanceStands(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed, r := seal(t, spec), w.receiver(t)
	inbox := copyDrop(t, spec.Dir, sealed)
	accepted := receiveOne(t, r, inbox)
	flip(t, filepath.Join(inbox, "cv.x7.000001.manifest.json"), 20)
	if got := receiveOne(t, r, inbox); got.Status != Rejected || got.Receipt != "" {
		t.Errorf("%s, receipt %q", got.Status, got.Receipt)
	}
	if c := compareReceipt(t, w, sealed, accepted.Receipt); c.Outcome != Acknowledged {
		t.Errorf("the receipt now says %s", c.Outcome)
	}
}

// A receiver killed between its steps receives the drop again, whole.
func TestReceiverKilled(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	r := w.receiver(t)
	inbox := copyDrop(t, spec.Dir, seal(t, spec))
	first := receiveOne(t, r, inbox)
	must(t, os.Remove(filepath.Join(r.Dir, memoryFile))) // as if killed before it
	left := filepath.Join(r.Dir, ".cv.x7.000001.part")
	must(t, os.Mkdir(left, 0o700))
	must(t, os.WriteFile(filepath.Join(left, "half"), []byte("k1"), 0o600))
	again := receiveOne(t, r, inbox)
	if again.Status != Accepted || again.Folder != first.Folder {
		t.Errorf("%s %v", again.Status, again.Fault)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Error("half a plaintext stayed")
	}
	must(t, os.WriteFile(filepath.Join(r.Dir, memoryFile), []byte("{}"), 0o600))
	if _, err := r.Receive(context.Background(), inbox); err == nil {
		t.Error("a damaged memory was used")
	}
}

// Of receivers that work on one folder at once, one accepts each drop.
func TestReceiversAtOnce(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	first := w.receiver(t)
	inbox := copyDrop(t, spec.Dir, seal(t, spec))
	var accepted, repeated atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		r := *first
		all.Go(func() {
			results, err := r.Receive(context.Background(), inbox)
			switch {
			case err != nil || len(results) != 1:
				t.Errorf("%d results, %v", len(results), err)
			case results[0].Status == Accepted:
				accepted.Add(1)
			case results[0].Status == Repeated:
				repeated.Add(1)
			}
		})
	}
	all.Wait()
	if accepted.Load() != 1 || repeated.Load() != 3 {
		t.Errorf("%d accepted the drop, %d found it there", accepted.Load(), repeated.Load())
	}
	unlock, err := first.lock(context.Background())
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := first.Receive(ctx, inbox); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait gave %v", err)
	}
	unlock()
	if again := receiveOne(t, first, inbox); again.Status != Repeated {
		t.Errorf("afterwards: %s", again.Status)
	}
}

func TestCompare(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	good := func() *Receipt {
		r := w.receiver(t).receipt(Base{"cv", "x7", 1}, sealed.ManifestSHA256, Accepted)
		r.Sender, r.Rows = "clearview", 5
		for _, p := range sealed.Expect.Parts {
			r.Parts = append(r.Parts, p.ReceiptPart)
		}
		return r
	}
	for _, c := range []struct {
		name string
		edit func(*Receipt)
		want Outcome
		what string
	}{
		{"equal", func(*Receipt) {}, Acknowledged, ""},
		{"two rows not loaded", func(r *Receipt) { r.Parts[0].Rows, r.Parts[0].Refused, r.Rows = 1, 2, 3 }, PartlyRejected, ""},
		{"rejected", func(r *Receipt) { r.Status, r.Fault, r.Sender = Rejected, string(Truncated), "" }, WhollyRejected, ""},
		{"a row too few", func(r *Receipt) { r.Parts[0].Rows, r.Rows = 2, 4 }, Differing, "rows"},
		{"other plaintext", func(r *Receipt) { r.Parts[1].PlaintextSHA256 = sumOf(nil) }, Differing, "plaintext_sha256"},
		{"part missing", func(r *Receipt) { r.Parts = r.Parts[:2]; r.Rows = 3 }, Differing, "parts"},
		{"other manifest", func(r *Receipt) { r.ManifestSHA256 = sumOf(nil) }, Differing, "manifest_sha256"},
		{"other number", func(r *Receipt) { r.Sequence = 2 }, Differing, "sequence"},
		{"a test drop rejected", func(r *Receipt) { r.Status, r.Fault, r.Sender = Rejected, string(Truncated), "clearview.test" }, Differing, "sender"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := good()
			c.edit(r)
			text, signature, err := signed(r, w.payer.signer)
			must(t, err)
			got, err := Compare(sealed.Expect, text, signature, w.signers, w.now)
			must(t, err)
			has := slices.ContainsFunc(got.Differences, func(d Difference) bool { return d.What == c.what })
			if got.Outcome != c.want || has != (c.what != "") {
				t.Errorf("%s %v", got.Outcome, got.Differences)
			}
		})
	}
	for name, edit := range map[string]func(*Receipt){
		"rows below zero make up for refused ones": func(r *Receipt) { r.Parts[0].Rows, r.Parts[0].Refused, r.Rows = 103, -100, 105 },
		"a file whose name clears the terminal":    func(r *Receipt) { r.Status, r.Fault, r.File = Rejected, string(Truncated), "x\x1b[2J" },
		"a sender of two lines":                    func(r *Receipt) { r.Sender = "clearview\nall is well" },
		"a part that is no name":                   func(r *Receipt) { r.Parts[0].Name = "\x1b]0;owned\a" },
		"a hash that is none":                      func(r *Receipt) { r.Parts[0].PlaintextSHA256 = "\x1b[31m" },
	} {
		r := good()
		edit(r)
		text, signature, err := signed(r, w.payer.signer)
		must(t, err)
		if got, err := Compare(sealed.Expect, text, signature, w.signers, w.now); err == nil {
			t.Errorf("%s: it is %s", name, got.Outcome)
		}
	}
	text, signature, err := signed(good(), w.clinic.signer)
	must(t, err)
	if _, err := Compare(sealed.Expect, text, signature, w.signers, w.now); !errors.Is(err, ErrReceiptSignature) {
		t.Errorf("a receipt that the clinic signed itself: %v", err)
	}
}
