package transfer

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/posternhealth/postern/internal/sshsig"
)

// published is a line of index.csv: all that an outsider has of a vector.
type published struct {
	name, result, file, drop, like, without, before string
}

func publishedVectors(t testing.TB) map[string]published {
	t.Helper()
	file, err := os.Open(filepath.Join(vectorFolder, "index.csv"))
	must(t, err)
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	must(t, err)
	all := map[string]published{}
	for _, l := range lines[1:] {
		all[l[0]] = published{l[0], l[1], l[2], l[3], l[4], l[5], l[6]}
	}
	return all
}

func (p published) refused() bool { return Class(p.result).known() }

// inbox lays the drop out as the README says: the files of the vectors that
// it is like, one over the other, then its own, without some.
func (p published) inbox(t testing.TB) string {
	t.Helper()
	inbox := t.TempDir()
	for from := range strings.FieldsSeq(p.like + " " + p.name) {
		entries, err := os.ReadDir(filepath.Join(vectorFolder, from))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // one that differs in nothing has no folder
			t.Fatal(err)
		}
		for _, e := range entries {
			text, err := os.ReadFile(filepath.Join(vectorFolder, from, e.Name()))
			must(t, err)
			must(t, os.WriteFile(filepath.Join(inbox, e.Name()), text, 0o600))
		}
	}
	for name := range strings.FieldsSeq(p.without) {
		must(t, os.Remove(filepath.Join(inbox, name)))
	}
	return inbox
}

// vectorReceiver is one with the keys of the folder, and nothing received yet.
func vectorReceiver(t testing.TB) *Receiver {
	t.Helper()
	key := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(vectorFolder, "keys", name))
		must(t, err)
		return text
	}
	signers, err := sshsig.ParseAllowedSigners("allowed_signers", key("allowed_signers"))
	must(t, err)
	identities, err := ParseIdentities(key("identity.txt"))
	must(t, err)
	ring, err := ParseKeyring(key("openpgp_identity.asc"), nil)
	must(t, err)
	ledgerKey := strings.TrimSpace(string(key("ledger_key")))
	return &Receiver{
		Name: "acme-health-plan", Signers: signers, Identities: identities, OpenPGP: ring, Dir: t.TempDir(),
		ReceiptSigner: vectorSigner("acme"), Now: func() time.Time { return vectorTime },
		CheckLedger: func(seen string, now Ledger) error { return continues(ledgerKey, seen, now) },
	}
}

// continues checks the event log by the drop format's page and the library alone.
func continues(key, seen string, now Ledger) error {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return err
	}
	tree := func(checkpoint string) (size int64, root tlog.Hash, err error) {
		n, err := note.Open([]byte(checkpoint), note.VerifierList(verifier))
		if err != nil {
			return 0, root, err
		}
		var name, hash string
		if _, err := fmt.Sscanf(n.Text, "%s\n%d\n%s\n", &name, &size, &hash); err != nil {
			return 0, root, err
		}
		root, err = tlog.ParseHash(hash)
		return size, root, err
	}
	size, root, err := tree(now.Checkpoint)
	if err != nil || seen == "" {
		return err
	}
	before, beforeRoot, err := tree(seen)
	if err != nil {
		return err
	}
	var proof tlog.TreeProof
	for _, text := range now.Proof {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	if before > size {
		return errors.New("fewer entries than before")
	}
	return tlog.CheckTree(proof, size, root, before, beforeRoot)
}

// plaintexts lists what a receiver shows to its owner.
func plaintexts(t testing.TB, dir string) (list []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		if err == nil && !e.IsDir() && !strings.HasPrefix(name, "receipts") && name != memoryFile && name != lockFile {
			list = append(list, name)
		}
		return err
	}))
	return list
}

// Each published drop is answered as its line says, and one that is refused
// leaves no plaintext.
func TestVectors(t *testing.T) {
	all := publishedVectors(t)
	classes := map[string]int{}
	for name, p := range all {
		classes[p.result]++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := vectorReceiver(t)
			for before := range strings.FieldsSeq(p.before) {
				if got := receiveOne(t, r, all[before].inbox(t)); got.Status != Accepted {
					t.Fatalf("%s, which comes before: %s, %v", before, got.Status, got.Fault)
				}
			}
			held := plaintexts(t, r.Dir)
			got := receiveOne(t, r, p.inbox(t))
			if !p.refused() {
				if got.Status != p.result {
					t.Errorf("%s, %v; want %s", got.Status, got.Fault, p.result)
				}
				return
			}
			if got.Status != Rejected || string(got.Fault.Class) != p.result || got.Fault.File != p.file {
				t.Errorf("%s, %v; want %s of %s", got.Status, got.Fault, p.result, p.file)
			}
			if left := plaintexts(t, r.Dir); !slices.Equal(left, held) {
				t.Errorf("it left %v", left)
			}
			checkRefusal(t, got)
			if again := receiveOne(t, r, p.inbox(t)); again.Receipt != "" {
				t.Error("the same refusal was answered twice")
			}
		})
	}
	for class := range remedies {
		if classes[string(class)] < 2 {
			t.Errorf("class %s has %d vectors", class, classes[string(class)])
		}
	}
}

// checkRefusal looks at what a refusal says to people and to the sender. One of
// a name that was accepted has no receipt: an acceptance is never taken back.
func checkRefusal(t *testing.T, got Result) {
	t.Helper()
	if said := got.Fault.Error(); !strings.Contains(said, got.Fault.File) || strings.Contains(said, "%!") {
		t.Errorf("the message does not name the file: %s", said)
	}
	if got.Receipt == "" {
		return
	}
	text, err := os.ReadFile(got.Receipt)
	must(t, err)
	receipt, err := ParseReceipt(text)
	must(t, err)
	if receipt.Status != Rejected || receipt.Fault != string(got.Fault.Class) || receipt.File != got.Fault.File {
		t.Errorf("the receipt says %s, %s of %s", receipt.Status, receipt.Fault, receipt.File)
	}
}

// The script for stock tools takes and refuses the same drops, but for what one
// cannot know who keeps no list of them: what came before, and the event log.
func TestVectorsWithStockTools(t *testing.T) {
	peer(t, "gpg")
	script, keys := stockScript(t), filepath.Join(vectorFolder, "keys")
	home, err := os.MkdirTemp("", "gpg") // short: it holds sockets
	must(t, err)
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	for _, name := range []string{"openpgp_identity.asc", "openpgp_sender.asc"} {
		run(t, "gpg", "--homedir", home, "--batch", "--quiet", "--import", filepath.Join(keys, name))
	}
	for name, p := range publishedVectors(t) {
		if strings.HasPrefix(name, "recall") { // they are no drops
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, identity := filepath.Join(t.TempDir(), "received"), filepath.Join(keys, "identity.txt")
			signers := introducedTo(t, script, p)
			if strings.Contains(p.name, "openpgp") {
				identity = "gpg"
			}
			verify := exec.Command("bash", script, p.inbox(t), p.drop, "acme-health-plan", signers, identity, out)
			verify.Env = append(os.Environ(), "GNUPGHOME="+home)
			said, err := verify.CombinedOutput()
			switch needsMemory := []Class{SequenceGap, Fork, Voided, NameTaken, LedgerFault, SignerRetired}; {
			case p.result == Accepted, p.result == Repeated, slices.Contains(needsMemory, Class(p.result)),
				p.name == "new-key-elsewhere": // a line of the file is for all exchanges of its sender
				if err != nil {
					t.Errorf("%v: %s", err, said)
				}
				return
			case err == nil || !strings.Contains(string(said), "verify-drop: "+p.file):
				t.Errorf("%v: %s; want %s of %s", err, said, p.result, p.file)
			}
			if left := plaintexts(t, filepath.Dir(out)); len(left) != 0 {
				t.Errorf("it left %v", left)
			}
		})
	}
}
