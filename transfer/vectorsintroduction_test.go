package transfer

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/sshsig"
)

// Keys of clearview, by which the vectors' signatures are made.
const (
	oldKey       = "clearview"
	newKey       = "clearview 2027"         // in no file: known by introduction alone
	telephoneKey = "clearview by telephone" // in the file, and introduced by nothing
)

// keyOf is the public half, as manifests have it.
func keyOf(name string) string { return sshsig.KeyText(vectorSigner(name).PublicKey()) }

// introduces makes a drop introduce a key that signs it, too.
func (m *vectorMaker) introduces(d *draft, name string) {
	d.head.Introduces = keyOf(name)
	d.second = func(text []byte) []byte { return signedBy(m.t, vectorSigner(name), IntroductionNamespace, text) }
}

// third makes of the second drop the one after the vector `introduces`.
func (m *vectorMaker) third(d *draft, signer string) {
	m.later(d, 3)
	d.head.Previous, d.signer = m.manifestSum("introduces"), vectorSigner(signer)
}

// fourth makes of the second drop the one after the vector `new-key`.
func (m *vectorMaker) fourth(d *draft, signer string) {
	m.later(d, 4)
	d.head.Previous, d.signer = m.manifestSum("new-key"), vectorSigner(signer)
	d.book.Ledger = newVectorLedger(m.t, "clearview", "entry").at(m.t, 8, 9)
}

func (m *vectorMaker) introductions() []vector {
	return []vector{
		{"introduces", Accepted, "", "next", "first", "the second: it introduces the key that signs the drops after it, and which signs this one, too", func(d *draft) { m.introduces(d, newKey) }},
		{"introduces-again", Accepted, "", "next", "first introduces", "the third: the sender did not learn that its key was taken, and introduces it again", func(d *draft) {
			m.third(d, oldKey)
			m.introduces(d, newKey)
		}},
		{"introduces-other", Accepted, "", "next", "first introduces", "the third: the sender introduces another key instead, before the first signed anything", func(d *draft) {
			m.third(d, oldKey)
			m.introduces(d, telephoneKey)
		}},
		{"new-key", Accepted, "", "next", "first introduces", "the third, by the key that the second introduced", func(d *draft) { m.third(d, newKey) }},
		{"new-key-again", Repeated, "", "introduces", "first introduces new-key", "the second once more, by the key that has since been followed by another", nil},
		{"new-key-introduces", Accepted, "", "next", "first introduces new-key", "the fourth: a key that was introduced introduces the next", func(d *draft) {
			m.fourth(d, newKey)
			m.introduces(d, telephoneKey)
		}},
		{"telephone-key", Accepted, "", "next", "first", "the second, by a key that nothing introduced: the recipient has its line", func(d *draft) { d.signer = vectorSigner(telephoneKey) }},
		{"recall-new-key", Recalled, "", "recall", "first introduces", "a recall by the key that was introduced", func(d *draft) { d.signer = vectorSigner(newKey) }},
	}
}

func (m *vectorMaker) badIntroductions() []vector {
	second := func(name, about string, sign func(text []byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.second = sign })
	}
	by := func(name, namespace string) func(text []byte) []byte {
		return func(text []byte) []byte { return signedBy(m.t, vectorSigner(name), namespace, text) }
	}
	unasked := bad("introduction-unasked", "a second signature follows, and the manifest introduces no key", func(d *draft) { d.second = by(newKey, IntroductionNamespace) })
	return slices.Concat(
		of(IntroductionInvalid, signatureFile, "introduces", "first",
			second("introduction-alone", "the key that it introduces did not sign", func([]byte) []byte { return nil }),
			second("introduction-other-key", "the second signature is a stranger's", by("stranger", IntroductionNamespace)),
			second("introduction-namespace", "the second signature is in the namespace of drops", by(newKey, DropNamespace)),
			second("introduction-other-text", "the second signature is over another manifest", func(text []byte) []byte {
				return by(newKey, IntroductionNamespace)(m.swap(`"sequence":2`, `"sequence":3`)(text))
			}),
			bad("introduction-itself", "the key that signs introduces itself", func(d *draft) { m.introduces(d, oldKey) })),
		of(IntroductionInvalid, signatureFile, "next", "first", unasked),
		of(SignatureInvalid, signatureFile, "introduces", "first",
			bad("introduction-signature", "the first signature is over another manifest, the second is right", func(d *draft) {
				d.signature = func(text []byte) []byte {
					return by(oldKey, DropNamespace)(m.swap(`"sequence":2`, `"sequence":3`)(text))
				}
			})),
		of(SignerUnknown, signatureFile, "introduces", "first",
			bad("introduction-stranger", "a stranger introduces the key", func(d *draft) { d.signer = vectorSigner("stranger") })),
		of(SignerUnknown, signatureFile, "next", "first",
			bad("new-key-unknown", "by a key that nothing introduced", func(d *draft) { d.signer = vectorSigner(newKey) })),
		of(SignerUnknown, signatureFile, "layouts", "first introduces",
			bad("new-key-elsewhere", "by a key that a drop of another exchange introduced", func(d *draft) { d.signer = vectorSigner(newKey) })),
		of(SignerRetired, signatureFile, "next", "first introduces",
			bad("retired-introduced", "by the key that has introduced another, and does not do so again", func(d *draft) { m.third(d, oldKey) })),
		of(SignerRetired, signatureFile, "next", "first introduces new-key",
			bad("retired-signs", "by the key that another one has followed", func(d *draft) { m.fourth(d, oldKey) }),
			bad("retired-introduces", "by the key that another one has followed; it introduces that one again", func(d *draft) {
				m.fourth(d, oldKey)
				m.introduces(d, newKey)
			}),
			bad("retired-returns", "the key in use introduces the one before it", func(d *draft) {
				m.fourth(d, newKey)
				m.introduces(d, oldKey)
			})),
		of(SignerRetired, "recall-1.json.sig", "recall", "first introduces new-key",
			bad("recall-retired", "a recall by the key that another one has followed", nil)))
}

// introducedTo gives the allowed signers of a recipient with stock tools who
// took the drops that come before, and the lines of those that introduce a key.
func introducedTo(t *testing.T, script string, p published) string {
	t.Helper()
	keys := filepath.Join(vectorFolder, "keys")
	text, err := os.ReadFile(filepath.Join(keys, "allowed_signers"))
	must(t, err)
	signers := filepath.Join(t.TempDir(), "allowed_signers")
	must(t, os.WriteFile(signers, text, 0o600))
	all := publishedVectors(t)
	for before := range strings.FieldsSeq(p.before) {
		if !strings.Contains(before, "introduces") {
			continue
		}
		elsewhere := t.TempDir()
		run(t, "bash", script, all[before].inbox(t), all[before].drop, "acme-health-plan", signers, filepath.Join(keys, "identity.txt"), elsewhere)
		line, err := os.ReadFile(filepath.Join(elsewhere, all[before].drop, all[before].drop+".allowed_signers"))
		must(t, err)
		must(t, os.WriteFile(signers, append(text, line...), 0o600))
	}
	return signers
}

// What a drop introduced rests on the line of the key that introduced it, and
// gives way to what the file says of the new key itself.
func TestIntroducedKeyRestsOnTheFile(t *testing.T) {
	all := publishedVectors(t)
	const old, known = "clearview ", "clearview namespaces=\"postern-drop\" "
	for name, c := range map[string]struct {
		lines []string // of the file, when the third drop comes
		want  string
	}{
		"as before":                 {[]string{known + keyOf(oldKey)}, Accepted},
		"the old line is gone":      {[]string{known + keyOf(telephoneKey)}, string(SignerUnknown)},
		"the old line has ended":    {[]string{`clearview valid-before="20260704" ` + keyOf(oldKey)}, string(SignerUnknown)},
		"the new line is there":     {[]string{known + keyOf(newKey)}, Accepted},
		"the new line has ended":    {[]string{old + keyOf(oldKey), `clearview valid-before="20260704" ` + keyOf(newKey)}, string(SignerUnknown)},
		"a line of its test name":   {[]string{old + keyOf(oldKey), "clearview.test " + keyOf(newKey)}, Accepted},
		"a line for receipts alone": {[]string{old + keyOf(oldKey), `clearview namespaces="postern-receipt" ` + keyOf(newKey)}, string(SignerUnknown)},
	} {
		t.Run(name, func(t *testing.T) {
			r := vectorReceiver(t)
			for _, before := range []string{"first", "introduces"} {
				if got := receiveOne(t, r, all[before].inbox(t)); got.Status != Accepted || (got.Introduces == "") != (before == "first") {
					t.Fatalf("%s: %s %v, introduces %q", before, got.Status, got.Fault, got.Introduces)
				}
			}
			var err error
			r.Signers, err = sshsig.ParseAllowedSigners("allowed_signers", []byte(strings.Join(c.lines, "\n")+"\n"))
			must(t, err)
			got := receiveOne(t, r, all["new-key"].inbox(t))
			if got.Fault != nil {
				got.Status = string(got.Fault.Class)
			}
			if got.Status != c.want {
				t.Errorf("%s, want %s", got.Status, c.want)
			}
			if again := receiveOne(t, r, all["introduces"].inbox(t)); again.Status != Repeated {
				t.Errorf("what was accepted is %s now: %v", again.Status, again.Fault)
			}
		})
	}
}

// With stock tools the old key ends by its line.
func TestStockToolsAfterTheChange(t *testing.T) {
	script, p := stockScript(t), publishedVectors(t)["retired-signs"]
	signers := filepath.Join(t.TempDir(), "allowed_signers")
	must(t, os.WriteFile(signers, []byte(`clearview valid-before="20260101" `+keyOf(oldKey)+"\nclearview "+keyOf(newKey)+"\n"), 0o600))
	verify := func(p published) (string, error) {
		said, err := exec.Command("bash", script, p.inbox(t), p.drop, "acme-health-plan", signers, filepath.Join(vectorFolder, "keys", "identity.txt"), t.TempDir()).CombinedOutput()
		return string(said), err
	}
	if said, err := verify(p); err == nil || !strings.Contains(said, "verify-drop: "+p.file) {
		t.Errorf("by the old key: %v %s", err, said)
	}
	if said, err := verify(publishedVectors(t)["new-key"]); err != nil {
		t.Errorf("by the new key: %v %s", err, said)
	}
}
