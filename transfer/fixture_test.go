package transfer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
)

// peer says whether a program that the test needs is here.
func peer(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err == nil {
			continue
		}
		peerMissing(t, name)
	}
}

// peerMissing ends a test that needs what is not here.
func peerMissing(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("POSTERN_REQUIRE") == "all" {
		t.Fatalf("peer %s is missing", name)
	}
	t.Skipf("peer %s is missing", name)
}

// party is one with a name, a signing key and an encryption key.
type party struct {
	name   string
	signer ssh.Signer
	pem    []byte
	age    *age.X25519Identity
}

func newParty(t testing.TB, name string) party {
	t.Helper()
	private, _, err := sshsig.NewKey(name)
	must(t, err)
	signer, err := sshsig.LoadSigner(private)
	must(t, err)
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	return party{name, signer, private, identity}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a clinic, its payer, and another clinic that the payer trusts too.
type world struct {
	clinic, payer, other, archive party
	signers                       *sshsig.AllowedSigners
	now                           time.Time
	pgp                           []byte // the clinic's OpenPGP key, see openPGP
}

func newWorld(t testing.TB) *world {
	w := &world{clinic: newParty(t, "clearview"), payer: newParty(t, "acme"), other: newParty(t, "lakeside"), archive: newParty(t, "archive")}
	w.now = time.Date(2026, 7, 5, 2, 0, 0, 0, time.UTC)
	var lines bytes.Buffer
	for _, p := range []party{w.clinic, w.other} {
		fmt.Fprintf(&lines, "%s namespaces=\"postern-drop\" %s", p.name, ssh.MarshalAuthorizedKey(p.signer.PublicKey()))
	}
	fmt.Fprintf(&lines, "%s namespaces=\"postern-receipt\" %s", w.payer.name, ssh.MarshalAuthorizedKey(w.payer.signer.PublicKey()))
	var err error
	w.signers, err = sshsig.ParseAllowedSigners("allowed_signers", lines.Bytes())
	must(t, err)
	return w
}

func (w *world) spec(t testing.TB, sequence int64, previous string, voids ...int64) DropSpec {
	recipient, err := ParseRecipient(w.payer.age.Recipient().String())
	must(t, err)
	envelope, err := NewEnvelope([]Recipient{recipient}, nil, w.now)
	must(t, err)
	return DropSpec{
		Dir: t.TempDir(), Sender: w.clinic.name, Recipient: w.payer.name, Exchange: "x7", Sequence: sequence, Previous: previous, Voids: voids,
		Code: "cv", Envelope: envelope, Archive: w.archive.age.Recipient(), Signer: w.clinic.signer,
		PolicySHA256: sumOf([]byte("policy")),
	}
}

const (
	scoresCSV    = "row_key,instrument,total_score\nk1,44261-6,11\nk2,70274-6,7\nk3,44261-6,19\n"
	emptyCSV     = "row_key,instrument,total_score\n"
	observations = `{"resourceType":"Observation","id":"1"}` + "\n" + `{"resourceType":"Observation","id":"2"}` + "\n"
)

var columns = []string{"row_key", "instrument", "total_score"}

// addParts writes the usual three parts.
func addParts(t testing.TB, b *Builder) {
	t.Helper()
	for _, p := range []struct {
		info PartInfo
		text string
		rows int64
	}{
		{PartInfo{Dataset: "scores", Format: CSV, Columns: columns}, scoresCSV, 3},
		{PartInfo{Dataset: "scores", Format: CSV, Columns: columns, Part2: true}, emptyCSV, 0},
		{PartInfo{Dataset: "Observation", Format: NDJSON}, observations, 2},
	} {
		w, err := b.Part(p.info)
		must(t, err)
		_, err = w.Write([]byte(p.text))
		must(t, err)
		must(t, w.Close(p.rows, p.rows))
	}
}

func usualBook() *Book {
	return &Book{
		Standard: "identified", People: 4,
		Totals:  []Total{{"rows", "5"}, {"sum of total_score", "37"}},
		Notices: []Notice{{"part2", "42 CFR part 2 prohibits unauthorized use or disclosure of these records."}},
		Ledger:  Ledger{Checkpoint: "clearview\n7\nAAAA\n", From: 5, Proof: []string{"AAAA"}},
	}
}

func seal(t testing.TB, spec DropSpec) *Sealed {
	t.Helper()
	b, err := NewDrop(spec)
	must(t, err)
	addParts(t, b)
	sealed, err := b.Seal(usualBook())
	must(t, err)
	return sealed
}

func (w *world) receiver(t testing.TB) *Receiver {
	return &Receiver{
		Name: w.payer.name, Signers: w.signers, Identities: []age.Identity{w.payer.age}, Dir: filepath.Join(t.TempDir(), "received"),
		ReceiptSigner: w.payer.signer, Now: func() time.Time { return w.now },
	}
}

// receiveOne expects one drop in the inbox.
func receiveOne(t testing.TB, r *Receiver, inbox string) Result {
	t.Helper()
	results, err := r.Receive(context.Background(), inbox)
	must(t, err)
	if len(results) != 1 {
		t.Fatalf("%d drops were looked at, want 1", len(results))
	}
	return results[0]
}

// copyDrop gives a fresh inbox with the drop's delivered files.
func copyDrop(t testing.TB, dir string, sealed *Sealed) string {
	t.Helper()
	inbox := t.TempDir()
	for _, f := range sealed.Files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(inbox, f.Name), text, 0o600))
	}
	return inbox
}
