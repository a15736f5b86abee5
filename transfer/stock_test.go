package transfer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// stockTools is the script of docs/receiving-a-drop.md with what it needs.
type stockTools struct {
	w         *world
	script    string
	signers   string
	identity  string
	recipient string
}

// stockScript is verify-drop.sh of the page.
func stockScript(t *testing.T) string {
	t.Helper()
	peer(t, "bash", "sha256sum", "ssh-keygen", "age", "zstd", "jq")
	page, err := os.ReadFile("../docs/receiving-a-drop.md")
	must(t, err)
	_, rest, found := strings.Cut(string(page), "```bash verify-drop.sh\n")
	script, _, ended := strings.Cut(rest, "\n```\n")
	if !found || !ended {
		t.Fatal("docs/receiving-a-drop.md has no block verify-drop.sh")
	}
	path := filepath.Join(t.TempDir(), "verify-drop.sh")
	must(t, os.WriteFile(path, []byte(script+"\n"), 0o700))
	return path
}

func newStockTools(t *testing.T, w *world) *stockTools {
	t.Helper()
	dir := t.TempDir()
	s := &stockTools{w: w, script: stockScript(t), signers: filepath.Join(dir, "allowed_signers"),
		identity: filepath.Join(dir, "identity.txt"), recipient: w.payer.name}
	var lines strings.Builder
	for _, p := range []party{w.clinic, w.other} {
		fmt.Fprintf(&lines, "%s namespaces=\"postern-drop\" %s", p.name, ssh.MarshalAuthorizedKey(p.signer.PublicKey()))
	}
	must(t, os.WriteFile(s.signers, []byte(lines.String()), 0o600))
	must(t, os.WriteFile(s.identity, []byte(w.payer.age.String()+"\n"), 0o600))
	return s
}

// verify runs the script over the one drop of the inbox.
func (s *stockTools) verify(t *testing.T, inbox string, more ...string) (out, said string, err error) {
	t.Helper()
	out = filepath.Join(t.TempDir(), "received")
	args := append([]string{s.script, inbox, "cv.x7.000001", s.recipient, s.signers, s.identity, out}, more...)
	text, err := exec.Command("bash", args...).CombinedOutput()
	return out, string(text), err
}

// What our builder makes, stock tools read; what is spoiled is among the vectors.
func TestStockTools(t *testing.T) {
	w := newWorld(t)
	s := newStockTools(t, w)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	out, said, err := s.verify(t, copyDrop(t, spec.Dir, sealed), "")
	if err != nil || !strings.Contains(said, "5 rows of 4 people") || !strings.Contains(said, sealed.ManifestSHA256) {
		t.Fatalf("a good drop: %v\n%s", err, said)
	}
	for name, want := range map[string]string{"001.csv": scoresCSV, "002.csv": emptyCSV, "003.ndjson": observations} {
		got, err := os.ReadFile(filepath.Join(out, "cv.x7.000001", "cv.x7.000001."+name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, said, err := s.verify(t, copyDrop(t, spec.Dir, sealed), sumOf(nil)); err == nil {
		t.Errorf("another history: %s", said)
	}
	inbox := copyDrop(t, spec.Dir, sealed)
	part := filepath.Join(inbox, sealed.Files[0].Name)
	must(t, os.Rename(part, filepath.Join(inbox, "elsewhere")))
	must(t, os.Symlink("elsewhere", part))
	if out, said, err := s.verify(t, inbox); err == nil || !strings.Contains(said, sealed.Files[0].Name+": is a link") {
		t.Errorf("a part that is a link: %v %s", err, said)
	} else if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("a part that is a link: the script left %v", left)
	}
}

// The receipt, too, is an ordinary SSH signature.
func TestStockReceipt(t *testing.T) {
	peer(t, "ssh-keygen")
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	got := receiveOne(t, w.receiver(t), copyDrop(t, spec.Dir, sealed))
	key := filepath.Join(t.TempDir(), "receipt_key")
	must(t, os.WriteFile(key, w.payer.pem, 0o600))
	must(t, os.Remove(got.Receipt+".sig"))
	if text, err := exec.Command("ssh-keygen", "-Y", "sign", "-f", key, "-n", ReceiptNamespace, got.Receipt).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if c := compareReceipt(t, w, sealed, got.Receipt); c.Outcome != Acknowledged {
		t.Errorf("%s %v", c.Outcome, c.Differences)
	}
}

// The page and the code know the same classes, and its examples are those of a vector.
func TestPageOfTheFormat(t *testing.T) {
	text, err := os.ReadFile("../docs/drop-format.md")
	must(t, err)
	page := string(text)
	for class, remedy := range remedies {
		if !strings.Contains(page, "| `"+string(class)+"` |") || remedy == "" {
			t.Errorf("class %s is not on the page", class)
		}
	}
	_, table, _ := strings.Cut(page, "| class | meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	if rows := strings.Count(table, "\n| `"); rows != len(remedies) {
		t.Errorf("the page has %d classes, the code %d", rows, len(remedies))
	}
	example := func(name string) string {
		_, text, _ := strings.Cut(page, "```json "+name+"\n")
		text, _, _ = strings.Cut(text, "```")
		return text
	}
	if manifest := publishedFiles(t, "next/cv.x7.000002"+manifestSuffix)[0]; example("manifest") != string(manifest) {
		t.Errorf("the example of a manifest is not %s", manifest)
	}
	book := decryptFile(t, filepath.Join(vectorFolder, "next", "cv.x7.000002.book.json.age"), vectorReceiver(t).Identities[0])
	if text := strings.TrimRight(string(book), " \n") + "\n"; example("book") != text {
		t.Errorf("the example of a book is not %s", text)
	}
	if _, err := ParseReceipt([]byte(example("receipt"))); err != nil {
		t.Error(err)
	}
}
