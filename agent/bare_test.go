package agent_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// bare makes the plan a recipient of bare files, by a name and more.
func (h *house) bare(name, more string) {
	h.t.Helper()
	policy := strings.Replace(h.read("policies/acme-scores.yaml"), "part2_rows: own-file", "part2_rows: leave-out", 1)
	h.write("policies/acme-scores.yaml", strings.Replace(policy, ", scope_of_consent: per-row", "", 1))
	text := h.read("postern.yaml")
	start := strings.Index(text, "\n  acme-health-plan:\n")
	from := start + strings.Index(text[start:], "    receipt:")
	to := from + strings.Index(text[from:], "\n") + 1
	h.write("postern.yaml", text[:from]+"    receipt: {mode: none}\n    bare: {name: \""+name+"\", compression: none, "+more+"}\n"+text[to:])
	h.open(hclog.NewNullLogger())
}

// mailbox lists the files in the mailbox of the plan.
func (h *house) mailbox() (names []string) {
	h.t.Helper()
	entries, err := os.ReadDir(h.recipient(scores).Inbox())
	h.must(err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A mailbox may take a bare file away at once. What has arrived is not sent again,
// whatever broke off afterwards.
func TestBareFileIsSentOnce(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("{sender}_{dataset}_{sequence}.age", "reuse: never, side_folder: statements")
	h.run(scores, agent.RunOptions{})
	if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.DestinationDown {
		t.Fatalf("without the side folder: %v", err)
	}
	if got := h.mailbox(); !slices.Equal(got, []string{"cv_scores_1.age"}) || h.state(scores, 1) != "uploading" {
		t.Fatalf("the mailbox has %v, the drop is %s", got, h.state(scores, 1))
	}
	h.must(os.Remove(filepath.Join(h.recipient(scores).Inbox(), "cv_scores_1.age")))
	h.must(os.Mkdir(filepath.Join(h.recipient(scores).Dir, "statements"), 0o755))
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "hash-verified" || len(h.mailbox()) != 0 {
		t.Errorf("delivered again: %+v, the mailbox has %v", done, h.mailbox())
	}
	side, err := os.ReadDir(filepath.Join(h.recipient(scores).Dir, "statements"))
	h.must(err)
	if len(side) != 5 || side[1].Name() != "cv.x7.000001.book.json.age" {
		t.Errorf("the side folder has %v", side)
	}
}

// A drop of which the recipient has every bare file is delivered, whatever is not
// permitted since and wherever the mailbox has put them.
func TestBareFilesThatWereTakenAreDelivered(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("{sender}_{dataset}_{sequence}.age", "reuse: never, side_folder: statements")
	h.run(scores, agent.RunOptions{})
	if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.DestinationDown {
		t.Fatalf("without the side folder: %v", err)
	}
	h.must(os.Remove(filepath.Join(h.recipient(scores).Inbox(), "cv_scores_1.age")))
	h.edit("postern.yaml", "{sender}_{dataset}", "{sender}-{dataset}")
	h.approve(scores)
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "stored" || h.state(scores, 1) != "stored" {
		t.Errorf("%+v, the drop is %s", done, h.state(scores, 1))
	}
}

// Names are used up by what was sent or is still to be; not by a drop that was
// voided before a byte left, nor, by the rule, by one that was rejected.
func TestBareNamesAreUsedOnce(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{month}.age", "reuse: after-rejection")
	again := func() error {
		h.approve(scores)
		_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{})
		return err
	}
	h.must(again())
	for _, c := range []struct {
		state   string
		exposed int
		free    bool
	}{{"sealed", 0, false}, {"hash-verified", 1, false}, {"voided", 1, false}, {"partly-rejected", 1, false}, {"rejected", 1, true}, {"voided", 0, true}} {
		h.exec(`UPDATE delivery SET state = ?, exposed = ?`, c.state, c.exposed)
		if err := again(); (err == nil) != c.free || err != nil && (classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "a file called scores_07.age was sent")) {
			t.Errorf("after one that is %s, exposed %d: %v", c.state, c.exposed, err)
		}
	}
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "after-rejection", "never", 1))
	h.open(hclog.NewNullLogger())
	h.exec(`UPDATE delivery SET state = 'rejected', exposed = 1`)
	if err := again(); err == nil {
		t.Error("a name that is never used again was")
	}
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "{month}", "{month}-{version}", 1))
	h.open(hclog.NewNullLogger())
	h.must(again())
	h.must(again())
	if names := h.query(`SELECT group_concat(name, ' ') FROM (SELECT DISTINCT name FROM file_name ORDER BY name)`); names != "scores_07-1.age scores_07-2.age scores_07.age" {
		t.Errorf("names are %s", names)
	}
}

// A name that has grown longer than the recipient takes is no file's.
func TestBareNamesOfALength(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("{environment}-{dataset}{version:1}.age", "reuse: never, datasets: {scores: PHQ}, environment: {production: P, test: T}, max_name: 10")
	h.run(scores, agent.RunOptions{})
	for version := 2; version < 10; version++ {
		h.exec(`INSERT INTO file_name (recipient, name, exchange, number) SELECT recipient, 'P-PHQ' || ? || '.age', exchange, number FROM file_name WHERE name = 'P-PHQ1.age'`, version)
	}
	_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{})
	if classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "bare.max_name: P-PHQ10.age has 11 characters, and 10 are taken") || h.query(`SELECT count(*) FROM delivery`) != "1" {
		t.Errorf("%v", err)
	}
}

// Where names come again, the new file waits until the earlier one is gone.
func TestBareNamesComeAgain(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores.age", "reuse: when-gone")
	h.run(scores, agent.RunOptions{})
	if _, err := h.agent.Run(context.Background(), scores, agent.RunOptions{}); classOf(err) != agent.Configuration {
		t.Errorf("two wait under one name: %v", err)
	}
	h.deliver(scores)
	first := filepath.Join(h.recipient(scores).Inbox(), "scores.age")
	before, err := os.ReadFile(first)
	h.must(err)
	h.run(scores, agent.RunOptions{})
	if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.DestinationDown || !strings.Contains(err.Error(), "another file has this name there") {
		t.Errorf("while it is there: %v", err)
	}
	if after, err := os.ReadFile(first); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the earlier file: %v", err)
	}
	h.must(os.Remove(first))
	if done := h.deliver(scores); len(done) != 1 || done[0].Number != 2 || done[0].State != "hash-verified" {
		t.Errorf("when it is gone: %+v", done)
	}
}

// What profile bare cannot do is refused by its place.
func TestBareIsRefused(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	policy := h.read("policies/acme-scores.yaml")
	h.bare("scores_{sequence}.age", "reuse: never")
	good, without := h.read("postern.yaml"), h.read("policies/acme-scores.yaml")
	_, err := h.agent.Check()
	h.must(err)
	for _, c := range []struct{ old, new, why string }{
		{"scores_{sequence}", "scores_{serial}", "recipients.acme-health-plan.bare.name: {serial} is no token"},
		{"scores_{sequence}", "scores", "bare.name: each drop would have the name of the one before"},
		{"scores_{sequence}", "{environment}_{sequence}", "bare.environment: the word of the environment stands in names"},
		{"scores_{sequence}", "scores/{sequence}", `"scores/1.age" is not a name`},
		{"compression: none", "compression: xz", `"xz" is no value of compression`},
		{"reuse: never", "reuse: never, max_name: 19", "postern.yaml: recipients.acme-health-plan.bare.max_name: TEST-scores_9999.age has 20 characters, and 19 are taken"},
		{"reuse: never", "reuse: never, max_name: -1", "-1 is no number of characters"},
		{"reuse: never", "reuse: always", `"always" is no value of reuse`},
		{"receipt: {mode: none}", "receipt: {mode: signed, key: " + h.recipient(scores).ReceiptKey + "}", "a signed receipt answers a manifest"},
	} {
		h.write("postern.yaml", strings.Replace(good, c.old, c.new, 1))
		if _, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml")); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	h.write("postern.yaml", good)
	h.write("policies/acme-scores.yaml", strings.Replace(without, "mode: full", "mode: delta", 1))
	if _, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml")); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "acme-scores sends changes") {
		t.Errorf("a drop of changes: %v", err)
	}
	h.write("policies/acme-scores.yaml", policy)
	if _, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml")); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "whose notice (2.32) would stay behind") {
		t.Errorf("rows under Part 2: %v", err)
	}
}

// Approvers sign names and compression; a drop that waits under others is voided.
func TestBareIsApproved(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: never")
	h.run(scores, agent.RunOptions{})
	h.edit("postern.yaml", "scores_{sequence}.age", "phq_{sequence}.age")
	if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "profile bare") {
		t.Errorf("under another name: %v", err)
	}
	h.approve(scores)
	if done := h.deliver(scores); len(done) != 1 || done[0].Reason != "profile bare was changed after it was sealed" || len(h.mailbox()) != 0 {
		t.Errorf("%+v, the mailbox has %v", done, h.mailbox())
	}
}

// An OpenPGP key that expires stops the exchange on that day, and not what asks.
func TestKeyThatExpires(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	made := noon.AddDate(0, 0, -100)
	h.write("keys/acme.asc", expiringKey(t, made, noon.AddDate(0, 0, 20)))
	own, err := transfer.NewOpenPGPKey("Clearview", made)
	h.must(err)
	h.write("keys/openpgp.asc", string(own))
	h.edit("postern.yaml", "\nkeys:\n", "\nkeys:\n  openpgp: file:keys/openpgp.asc\n")
	h.edit("postern.yaml", "["+h.world.Recipient(synthetic.HealthPlan).EncryptTo+"]", "[file:keys/acme.asc]")
	fingerprint := strings.TrimPrefix(h.agent.RecipientKeys()[0].Fingerprint, "OpenPGP:")
	h.edit("postern.yaml", "[file:keys/acme.asc]", "[{file: keys/acme.asc, fingerprint: "+strings.ToLower(fingerprint[:20])+" "+fingerprint[20:]+"}]")
	h.run(scores, agent.RunOptions{})
	h.agent.Now = func() time.Time { return noon.AddDate(0, 0, 21) }
	if _, err := h.agent.Check(); classOf(err) != agent.KeyTrouble || !strings.Contains(err.Error(), "key expired") {
		t.Errorf("check: %v", err)
	}
	if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.KeyTrouble || h.state(scores, 1) != "sealed" {
		t.Errorf("deliver: %v, %s", err, h.state(scores, 1))
	}
	if known := h.agent.RecipientKeys()[0]; known.Expires != "2026-07-25" || !strings.Contains(known.Trouble, "key expired") {
		t.Errorf("keys show: %+v", known)
	}
}

// expiringKey is a recipient's OpenPGP public key.
func expiringKey(t *testing.T, made, end time.Time) string {
	config := &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, DefaultCipher: packet.CipherAES256, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(end.Sub(made).Seconds())}
	entity, err := openpgp.NewEntity("Acme", "", "", config)
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	w, err := armor.Encode(&text, openpgp.PublicKeyType, nil)
	if err == nil {
		err = errors.Join(entity.Serialize(w), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}
