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

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
)

// recalling gives a receiver that has accepted drop 1 and takes recalls, its
// inbox, and the recall of that drop.
func recalling(t *testing.T, w *world) (*Receiver, string, *Recall) {
	t.Helper()
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	inbox := copyDrop(t, spec.Dir, sealed)
	r := w.receiver(t)
	line := fmt.Sprintf("%s namespaces=\"postern-drop,postern-recall\" %s%s namespaces=\"postern-recall\" %s", w.clinic.name, ssh.MarshalAuthorizedKey(w.clinic.signer.PublicKey()),
		w.other.name, ssh.MarshalAuthorizedKey(w.other.signer.PublicKey()))
	var err error
	r.Signers, err = sshsig.ParseAllowedSigners("allowed_signers", []byte(line))
	must(t, err)
	if got := receiveOne(t, r, inbox); got.Status != Accepted {
		t.Fatalf("%+v", got)
	}
	return r, inbox, &Recall{Sender: w.clinic.name, Recipient: w.payer.name, Exchange: "x7", Sequence: 1, ManifestSHA256: sealed.ManifestSHA256,
		Number: 1, RecalledAt: w.now.Format(time.RFC3339)}
}

func (w *world) layRecall(t *testing.T, inbox string, r *Recall, by party) (digest string) {
	t.Helper()
	_, digest, err := SealRecall(inbox, "cv", r, w.envelope(t, w.payer.age.Recipient().String()), by.signer)
	must(t, err)
	return digest
}

// recallOf is the last result: recalls come after the drops.
func recallOf(t *testing.T, r *Receiver, inbox string) Result {
	t.Helper()
	results, err := r.Receive(context.Background(), inbox)
	must(t, err)
	if len(results) != 2 || results[0].Status != Repeated {
		t.Fatalf("%+v", results)
	}
	return results[1]
}

// A recall is told until people say that all is deleted; then our copy is gone,
// the answer names this very recall, and the sender believes nobody else's.
func TestRecallIsFollowedUntilDeleted(t *testing.T) {
	w := newWorld(t)
	r, inbox, recall := recalling(t, w)
	digest := w.layRecall(t, inbox, recall, w.clinic)
	for range 2 {
		if got := recallOf(t, r, inbox); got.Status != Recalled || len(got.Delete) != 0 || got.Folder == "" || got.Receipt != "" {
			t.Fatalf("%+v", got)
		}
	}
	r.Deleted = []string{"cv.x7.000001"}
	got := recallOf(t, r, inbox)
	if _, err := os.Stat(filepath.Join(r.Dir, "cv.x7.000001")); got.Status != Deleted || !os.IsNotExist(err) {
		t.Fatalf("%+v, and the plaintext: %v", got, err)
	}
	text, err := os.ReadFile(got.Receipt)
	must(t, err)
	signature, err := os.ReadFile(got.Receipt + ".sig")
	must(t, err)
	answer, err := ParseRecallReceipt(text, signature, w.payer.name, w.signers, w.now)
	if err != nil || answer.RecallSHA256 != digest || answer.Number != 1 || !IsRecallReceipt(filepath.Base(got.Receipt)) {
		t.Fatalf("%+v %v", answer, err)
	}
	if _, err := ParseRecallReceipt(text, signature, w.other.name, w.signers, w.now); err == nil {
		t.Error("another recipient's answer was believed")
	}
	r.Deleted = nil
	if got := recallOf(t, r, inbox); got.Status != Deleted {
		t.Errorf("asked again after the answer: %+v", got)
	}
}

// A drop that comes after its recall was answered is to be deleted like one that
// came before, and an answer to another recall of that number answers nothing.
func TestAnswerToARecallIsNoLongerTrue(t *testing.T) {
	w := newWorld(t)
	r, inbox, recall := recalling(t, w)
	w.layRecall(t, inbox, recall, w.clinic)
	late := filepath.Join(t.TempDir(), "late")
	must(t, os.Rename(filepath.Join(r.Dir, "cv.x7.000001"), late))
	r.Deleted = []string{"cv.x7.000001"}
	if got := recallOf(t, r, inbox); got.Status != Deleted {
		t.Fatalf("%+v", got)
	}
	r.Deleted = nil
	must(t, os.Rename(late, filepath.Join(r.Dir, "cv.x7.000001")))
	if got := recallOf(t, r, inbox); got.Status != Recalled || got.Folder == "" {
		t.Errorf("the drop lies there, and nobody is asked to delete it: %+v", got)
	}
	must(t, os.RemoveAll(filepath.Join(r.Dir, "cv.x7.000001")))
	if got := recallOf(t, r, inbox); got.Status != Deleted {
		t.Errorf("%+v", got)
	}
	for _, end := range []string{recallSuffix + ageEnd, recallSignature} {
		must(t, os.Remove(filepath.Join(inbox, "cv.x7.000001.recall-1"+end)))
	}
	recall.Rows = []string{"kkkkkkkk1"}
	w.layRecall(t, inbox, recall, w.clinic)
	if got := recallOf(t, r, inbox); got.Status != Recalled || len(got.Delete) != 1 {
		t.Errorf("another recall was answered by the answer to the first: %+v", got)
	}
}

// A recall of rows leaves our copy to those who loaded it.
func TestRecallOfRows(t *testing.T) {
	w := newWorld(t)
	r, inbox, recall := recalling(t, w)
	recall.Rows = []string{"kkkkkkkk3", "kkkkkkkk1"}
	w.layRecall(t, inbox, recall, w.clinic)
	r.Deleted = []string{"cv.x7.000001"}
	got := recallOf(t, r, inbox)
	if _, err := os.Stat(filepath.Join(r.Dir, "cv.x7.000001")); err != nil || got.Status != Deleted || len(got.Delete) != 2 || got.Delete[0] != "kkkkkkkk1" {
		t.Errorf("%+v %v", got, err)
	}
}

func TestRecallsThatAreNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		class Class
		edit  func(w *world, r *Recall) party
	}{
		"another sender, in its own name":    {NameTaken, func(w *world, r *Recall) party { r.Sender = w.other.name; return w.other }},
		"another sender, in this one's name": {SignerNotSender, func(w *world, r *Recall) party { return w.other }},
		"a key for something else":           {SignerUnknown, func(w *world, r *Recall) party { return w.payer }},
		"for another recipient":              {NotForUs, func(w *world, r *Recall) party { r.Recipient = "lakeside"; return w.clinic }},
		"of another manifest":                {Fork, func(w *world, r *Recall) party { r.ManifestSHA256 = sumOf(nil); return w.clinic }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r, inbox, recall := recalling(t, w)
			w.layRecall(t, inbox, recall, c.edit(w, recall))
			r.Deleted = []string{"cv.x7.000001"}
			got := recallOf(t, r, inbox)
			if _, err := os.Stat(filepath.Join(r.Dir, "cv.x7.000001")); err != nil || got.Fault == nil || got.Fault.Class != c.class || got.Receipt != "" {
				t.Errorf("%+v %v, the plaintext: %v", got, got.Fault, err)
			}
		})
	}
}

// The names and the document hold together: one recall is not another's.
func TestRecallUnderAnotherName(t *testing.T) {
	w := newWorld(t)
	r, inbox, recall := recalling(t, w)
	w.layRecall(t, inbox, recall, w.clinic)
	for _, end := range []string{recallSuffix + ageEnd, recallSignature} {
		must(t, os.Rename(filepath.Join(inbox, "cv.x7.000001.recall-1"+end), filepath.Join(inbox, "cv.x7.000001.recall-2"+end)))
	}
	if got := recallOf(t, r, inbox); got.Fault == nil || got.Fault.Class != FormatFault {
		t.Errorf("%+v", got)
	}
	must(t, os.Remove(filepath.Join(inbox, "cv.x7.000001.recall-2"+recallSignature)))
	if results, err := r.Receive(context.Background(), inbox); err != nil || len(results) != 1 {
		t.Errorf("a recall without its signature: %+v %v", results, err)
	}
}

// Stock age and ssh-keygen read a recall and make its answer.
func TestRecallWithStockTools(t *testing.T) {
	peer(t, "age", "ssh-keygen")
	w := newWorld(t)
	_, inbox, recall := recalling(t, w)
	digest := w.layRecall(t, inbox, recall, w.clinic)
	dir := t.TempDir()
	put := func(name string, text []byte) string {
		must(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		return filepath.Join(dir, name)
	}
	run := func(in []byte, args ...string) []byte {
		t.Helper()
		c := exec.Command(args[0], args[1:]...)
		c.Stdin = bytes.NewReader(in)
		out, err := c.Output()
		must(t, err)
		return out
	}
	identity := put("identity.txt", []byte(w.payer.age.String()+"\n"))
	signers := put("allowed_signers", fmt.Appendf(nil, "%s namespaces=\"postern-recall\" %s", w.clinic.name, ssh.MarshalAuthorizedKey(w.clinic.signer.PublicKey())))
	text := run(nil, "age", "-d", "-i", identity, filepath.Join(inbox, "cv.x7.000001.recall-1.json.age"))
	run(text, "ssh-keygen", "-Y", "verify", "-f", signers, "-I", w.clinic.name, "-n", "postern-recall", "-s", filepath.Join(inbox, "cv.x7.000001.recall-1.json.sig"))
	if sumOf(text) != digest {
		t.Error("the document is another")
	}
	key := put("receipt_key", w.payer.pem)
	answer := fmt.Appendf(nil, `{"format":"recall-receipt/v1","sender":"clearview","recipient":"acme","exchange":"x7","sequence":1,"number":1,"recall_sha256":"%s","confirmed_at":"2026-07-06T10:00:00Z"}`+"\n", digest)
	file := put("cv.x7.000001.recall-1.receipt.json", answer)
	run(nil, "ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", "postern-receipt", file)
	signature, err := os.ReadFile(file + ".sig")
	must(t, err)
	if _, err := ParseRecallReceipt(answer, signature, w.payer.name, w.signers, w.now); err != nil {
		t.Error(err)
	}
}

// Whatever is laid into an inbox or a folder of receipts: no panic, and what is
// read has one spelling.
func FuzzRecalls(f *testing.F) {
	w := newWorld(f)
	good := &Recall{Format: RecallFormat, Sender: w.clinic.name, Recipient: w.payer.name, Exchange: "x7", Sequence: 1, ManifestSHA256: sumOf(nil),
		Number: 1, Rows: []string{"kkkkkkkk1"}, RecalledAt: w.now.Format(time.RFC3339)}
	text, err := encodePadded(good)
	must(f, err)
	f.Add(text)
	answer, _, err := signed(&RecallReceipt{Format: RecallReceiptFormat, Sender: w.clinic.name, Recipient: w.payer.name, Exchange: "x7", Sequence: 1, Number: 1,
		RecallSHA256: sumOf(text), ConfirmedAt: good.RecalledAt}, w.payer.signer)
	must(f, err)
	f.Add(answer)
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := ParseRecall(data); err == nil {
			if again, err := encode(r); err != nil || !bytes.Equal(bytes.TrimRight(data, " \n"), bytes.TrimRight(again, "\n")) {
				t.Error("a recall has two spellings")
			}
		}
		if r, err := parse[RecallReceipt]("answer to a recall", data, maxSmall); err == nil {
			if again, err := encode(r); err != nil || !bytes.Equal(data, again) {
				t.Error("an answer has two spellings")
			}
		}
		if base, number, suffix, ok := parseRecallName(string(data)); ok && base.RecallBase(number)+suffix != string(data) {
			t.Error("a recall has two names")
		}
	})
}

// Who has believed a recall, or has it before the drop by which another key takes
// over, deletes and answers, and is asked no more: whatever becomes of the key, and
// of the answer once it was handed over.
func TestRecallOutlivesItsKey(t *testing.T) {
	all := publishedVectors(t)
	both := func(names ...string) string {
		inbox := t.TempDir()
		for _, name := range names {
			must(t, os.CopyFS(filepath.Join(inbox, name), os.DirFS(all[name].inbox(t))))
			files, err := os.ReadDir(filepath.Join(inbox, name))
			must(t, err)
			for _, f := range files {
				must(t, os.Rename(filepath.Join(inbox, name, f.Name()), filepath.Join(inbox, f.Name())))
			}
			must(t, os.Remove(filepath.Join(inbox, name)))
		}
		return inbox
	}
	for name, inboxes := range map[string][]string{
		"seen before the key was followed":      {both("recall"), both("new-key")},
		"beside the drop by the key that comes": {both("recall", "new-key")},
	} {
		t.Run(name, func(t *testing.T) {
			r := vectorReceiver(t)
			for _, inbox := range append([]string{all["first"].inbox(t), all["introduces"].inbox(t)}, inboxes...) {
				results, err := r.Receive(context.Background(), inbox)
				must(t, err)
				for _, got := range results {
					if got.Status != Accepted && got.Status != Recalled {
						t.Fatalf("%+v", got)
					}
				}
			}
			r.Signers = &sshsig.AllowedSigners{}
			if got := receiveOne(t, r, both("recall")); got.Status != Recalled {
				t.Errorf("asked again: %s %v", got.Status, got.Fault)
			}
			r.Deleted = []string{all["recall"].drop}
			got := receiveOne(t, r, both("recall"))
			if got.Status != Deleted || got.Receipt == "" {
				t.Fatalf("%+v", got)
			}
			must(t, os.Remove(got.Receipt)) // laid where the clinic fetches it
			r.Deleted = nil
			if got := receiveOne(t, r, both("recall")); got.Status != Deleted || got.Receipt != "" {
				t.Errorf("asked, or answered, again: %+v", got)
			}
			r.Deleted = []string{all["recall"].drop}
			if got := receiveOne(t, r, both("recall")); got.Status != Deleted || got.Receipt == "" {
				t.Errorf("said once more: %+v", got)
			}
		})
	}
}
