package transfer

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// envelope makes the envelope of a drop to keys as a recipient sends them:
// lines, or OpenPGP keys.
func (w *world) envelope(t testing.TB, keys ...string) *Envelope {
	t.Helper()
	var to []Recipient
	for _, key := range keys {
		parse := ParseRecipient
		if strings.HasPrefix(key, "-----BEGIN PGP") {
			parse = func(key string) (Recipient, error) { return ParseOpenPGP([]byte(key), time.Now()) }
		}
		r, err := parse(key)
		must(t, err)
		to = append(to, r)
	}
	signer, err := LoadOpenPGPKey(w.openPGP(t))
	must(t, err)
	e, err := NewEnvelope(to, signer, time.Now())
	must(t, err)
	return e
}

// openPGP is the clinic's OpenPGP key, made once.
func (w *world) openPGP(t testing.TB) []byte {
	if w.pgp == nil {
		var err error
		w.pgp, err = NewOpenPGPKey("Clearview Behavioral Health", time.Now())
		must(t, err)
	}
	return w.pgp
}

func (w *world) sealedTo(t testing.TB, e *Envelope) (inbox string, sealed *Sealed) {
	spec := w.spec(t, 1, "")
	spec.Envelope = e
	sealed = seal(t, spec)
	return copyDrop(t, spec.Dir, sealed), sealed
}

// run gives what a program prints, and fails the test when the program fails.
func run(t testing.TB, program string, args ...string) string {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", program, args, err, said.Bytes())
	}
	return string(text)
}

func sshKey(t testing.TB, kind string) (file, line string) {
	peer(t, "ssh-keygen")
	file = filepath.Join(t.TempDir(), kind)
	run(t, "ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "somebody", "-f", file)
	text, err := os.ReadFile(file + ".pub")
	must(t, err)
	return file, strings.TrimSpace(string(text))
}

// newestAge is the age command of the version that Postern is built with; that of
// a distribution may not know post-quantum keys.
func newestAge(t testing.TB) string {
	dir := t.TempDir()
	run(t, "go", "build", "-o", filepath.Join(dir, "age"), "filippo.io/age/cmd/age")
	return dir
}

func write(t testing.TB, text string) string {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// Whatever keys of age a recipient has, the stock script and the receiver open
// the drop with each of them.
func TestStockAgeOpensEveryKindOfKey(t *testing.T) {
	w := newWorld(t)
	s := newStockTools(t, w)
	hybrid, err := age.GenerateHybridIdentity()
	must(t, err)
	ed25519, edLine := sshKey(t, "ed25519")
	rsa, rsaLine := sshKey(t, "rsa")
	path := os.Getenv("PATH")
	for _, c := range []struct {
		name       string
		keys       []string
		identities []string
		algorithms string
	}{
		{"X25519, SSH", []string{w.payer.age.Recipient().String(), edLine, rsaLine}, []string{write(t, w.payer.age.String()+"\n"), ed25519, rsa}, "[X25519 ssh-ed25519 ssh-rsa]"},
		{"post-quantum", []string{hybrid.Recipient().String()}, []string{write(t, hybrid.String()+"\n")}, "[ML-KEM-768 with X25519]"},
	} {
		if c.name == "post-quantum" {
			t.Setenv("PATH", newestAge(t)+string(os.PathListSeparator)+path)
		}
		e := w.envelope(t, c.keys...)
		if fmt.Sprint(e.Keys) != c.algorithms || e.Cipher != "ChaCha20-Poly1305" {
			t.Errorf("%s: recorded as %v, %s", c.name, e.Keys, e.Cipher)
		}
		inbox, _ := w.sealedTo(t, e)
		for _, identity := range c.identities {
			s.identity = identity
			if _, said, err := s.verify(t, inbox, ""); err != nil || !strings.Contains(said, "5 rows of 4 people") {
				t.Errorf("%s: %v\n%s", c.name, err, said)
			}
			text, err := os.ReadFile(identity)
			must(t, err)
			r := w.receiver(t)
			r.Identities, err = ParseIdentities(text)
			must(t, err)
			if got := receiveOne(t, r, inbox); got.Status != Accepted {
				t.Errorf("%s: %v", c.name, got.Fault)
			}
		}
	}
}

// gnuPG is a recipient's key ring, in a folder of its own.
func gnuPG(t testing.TB, w *world, algorithm, expires string) (public string) {
	peer(t, "gpg")
	home, err := os.MkdirTemp("", "gpg") // short: it holds sockets
	must(t, err)
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() {
		_ = exec.Command("gpgconf", "--kill", "all").Run()
		_ = os.RemoveAll(home)
	})
	run(t, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "Acme <acme@example.org>", algorithm, "default", expires)
	key, err := LoadOpenPGPKey(w.openPGP(t))
	must(t, err)
	clinic, err := key.Public()
	must(t, err)
	run(t, "gpg", "--batch", "--quiet", "--import", write(t, clinic))
	return run(t, "gpg", "--export", "--armor", "acme@example.org")
}

// GnuPG of Debian 12 opens what is made for its keys, and says who signed it; the
// fingerprints are those that it prints.
func TestStockGnuPG(t *testing.T) {
	for _, algorithm := range []string{"default", "future-default"} {
		t.Run(algorithm, func(t *testing.T) {
			w := newWorld(t)
			s := newStockTools(t, w)
			e := w.envelope(t, gnuPG(t, w, algorithm, "never"))
			if e.Format != "OpenPGP SEIPDv1" || e.Cipher != "AES-256-CFB" {
				t.Errorf("recorded as %+v", e.Sealing)
			}
			keys := run(t, "gpg", "--list-keys", "--with-colons")
			for _, fingerprint := range append(e.Fingerprints, e.Signed) {
				if digits, is := strings.CutPrefix(fingerprint, "OpenPGP:"); !is || !strings.Contains(keys, "fpr:::::::::"+digits+":") {
					t.Errorf("gpg does not know the fingerprint %s", fingerprint)
				}
			}
			inbox, sealed := w.sealedTo(t, e)
			s.identity = "gpg"
			out, said, err := s.verify(t, inbox, "")
			if err != nil || !strings.Contains(said, "5 rows of 4 people") {
				t.Fatalf("%v\n%s", err, said)
			}
			if got, err := os.ReadFile(filepath.Join(out, "cv.x7.000001", "cv.x7.000001.001.csv")); err != nil || string(got) != scoresCSV {
				t.Error(err)
			}
			part := filepath.Join(inbox, sealed.Files[0].Name)
			if text, err := exec.Command("gpg", "--batch", "--status-fd", "2", "-o", os.DevNull, "--yes", "-d", part).CombinedOutput(); err != nil ||
				!bytes.Contains(text, []byte("GOODSIG")) || !bytes.Contains(text, []byte("GOODMDC")) || !bytes.Contains(text, []byte("DECRYPTION_INFO 2 9")) {
				t.Errorf("%v: %s", err, text) // 2 is SEIPDv1, 9 AES-256
			}
			ring, err := ParseKeyring([]byte(run(t, "gpg", "--batch", "--export-secret-keys", "--armor", "acme@example.org")), nil)
			must(t, err)
			r := w.receiver(t)
			r.OpenPGP = ring
			if got := receiveOne(t, r, inbox); got.Status != Accepted {
				t.Errorf("the receiver: %v", got.Fault)
			}
			flip(t, part, int(sealed.Files[0].Size)/2)
			if out, said, err := s.verify(t, inbox); err == nil {
				t.Errorf("a changed part was taken: %s %s", out, said)
			}
		})
	}
}

// openPGPJS runs a script with OpenPGP.js as `openpgp` and `args`, and gives
// what it returns.
func openPGPJS(t testing.TB, script string, args ...string) string {
	peer(t, "node")
	module := os.Getenv("OPENPGPJS")
	if module == "" {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer OpenPGP.js is missing (set OPENPGPJS)")
		}
		t.Skip("peer OpenPGP.js is missing (set OPENPGPJS)")
	}
	whole := `const openpgp = require(process.argv[1] + "/dist/node/openpgp.cjs"), fs = require("fs"), args = process.argv.slice(2);
(async () => {` + script + `})().then(text => fs.writeSync(1, text), err => { console.error(err); process.exit(1) })`
	return run(t, "node", append([]string{"-e", whole, module}, args...)...)
}

// OpenPGP.js makes keys of RFC 9580, gets SEIPDv2, and checks the clinic's
// signature; for keys of RFC 4880 it gets what GnuPG gets.
func TestStockOpenPGPJS(t *testing.T) {
	for _, c := range []struct{ config, format, cipher, tag string }{
		{"{v6Keys: true, aeadProtect: true}", "OpenPGP SEIPDv2", "AES-256-GCM", "2"},
		{"{aeadProtect: false}", "OpenPGP SEIPDv1", "AES-256-CFB", "1"},
	} {
		private := openPGPJS(t, `const key = await openpgp.generateKey({userIDs: [{name: "Acme"}], type: "curve25519", config: `+c.config+`}); return key.privateKey;`)
		public := openPGPJS(t, `return (await openpgp.readPrivateKey({armoredKey: args[0]})).toPublic().armor();`, private)
		w := newWorld(t)
		e := w.envelope(t, public)
		if e.Format != c.format || e.Cipher != c.cipher {
			t.Errorf("%s: recorded as %+v", c.config, e.Sealing)
		}
		inbox, sealed := w.sealedTo(t, e)
		clinic, err := LoadOpenPGPKey(w.openPGP(t))
		must(t, err)
		signer, err := clinic.Public()
		must(t, err)
		open := `const message = await openpgp.readMessage({binaryMessage: fs.readFileSync(args[0])});
			const sealed = message.packets.find(p => p.constructor.tag === 18);
			const m = await openpgp.decrypt({message, decryptionKeys: await openpgp.readPrivateKey({armoredKey: args[1]}),
				verificationKeys: await openpgp.readKey({armoredKey: args[2]}), expectSigned: true, format: "binary"});
			await m.signatures[0].verified;
			return Buffer.from(sealed.version + "," + Buffer.from(m.data).toString("base64"));`
		for _, f := range sealed.Files[:len(sealed.Files)-4] {
			got := openPGPJS(t, open, filepath.Join(inbox, f.Name), private, signer)
			file := write(t, private)
			text, err := os.ReadFile(file)
			must(t, err)
			ring, err := ParseKeyring(text, nil)
			must(t, err)
			sealed, err := os.Open(filepath.Join(inbox, f.Name))
			must(t, err)
			plain, err := ring.decrypt(sealed)
			must(t, err)
			want, err := io.ReadAll(plain)
			must(t, errors.Join(err, sealed.Close()))
			if tag, data, _ := strings.Cut(got, ","); tag != c.tag || data != base64Of(want) {
				t.Errorf("%s: OpenPGP.js finds version %s and another plaintext than the receiver", f.Name, tag)
			}
		}
		r := w.receiver(t)
		r.OpenPGP, err = ParseKeyring([]byte(private), nil)
		must(t, err)
		if got := receiveOne(t, r, inbox); got.Status != Accepted {
			t.Errorf("%s: %v", c.config, got.Fault)
		}
	}
}

// Nothing of the plaintext's inner structure shows in the length of a message:
// two plaintexts of one length, written in pieces of other sizes, are as long
// when encrypted, but for the numbers that public-key operations give.
func TestLengthOfMessageTellsNothing(t *testing.T) {
	w := newWorld(t)
	e := w.envelope(t, newPGP(t, nil))
	length := func(piece int) int {
		var out bytes.Buffer
		plain, err := e.encrypt(&out)
		must(t, err)
		for left := 300_000; left > 0; left -= piece {
			_, err := plain.Write(make([]byte, min(piece, left)))
			must(t, err)
		}
		must(t, plain.Close())
		return out.Len()
	}
	for _, piece := range []int{1, 700, 65_536, 65_537, 200_000} {
		if a, b := length(300_000), length(piece); a-b > 6 || b-a > 6 { // leading zeros of ECDH and EdDSA
			t.Errorf("in pieces of %d it is %d bytes, in one %d", piece, b, a)
		}
	}
}

// newPGP is the public half of a recipient's OpenPGP key.
func newPGP(t testing.TB, change func(*packet.Config)) string {
	public, _ := newPGPPair(t, change)
	return public
}

func newPGPPair(t testing.TB, change func(*packet.Config)) (public, private string) {
	config := pgpConfig(time.Now())
	config.Algorithm = packet.PubKeyAlgoEdDSA
	if change != nil {
		change(config)
	}
	entity, err := openpgp.NewEntity("Acme", "", "", config)
	must(t, err)
	half, err := armored(openpgp.PublicKeyType, entity.Serialize)
	must(t, err)
	whole, err := armored(openpgp.PrivateKeyType, func(w io.Writer) error { return entity.SerializePrivateWithoutSigning(w, nil) })
	must(t, err)
	return string(half), string(whole)
}

// BenchmarkEnvelope measures encryption alone, of compressed bytes.
func BenchmarkEnvelope(b *testing.B) {
	w, text := newWorld(b), make([]byte, 16<<20)
	for _, c := range []struct{ name, key string }{
		{"age", w.payer.age.Recipient().String()}, {"SEIPDv1", newPGP(b, nil)},
		{"SEIPDv2", newPGP(b, func(c *packet.Config) {
			c.V6Keys, c.Algorithm, c.AEADConfig = true, packet.PubKeyAlgoEd25519, &packet.AEADConfig{DefaultMode: packet.AEADModeGCM}
		})},
	} {
		e := w.envelope(b, c.key)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				plain, err := e.encrypt(io.Discard)
				must(b, err)
				_, err = plain.Write(text)
				must(b, errors.Join(err, plain.Close()))
			}
		})
	}
}

// A key that nothing may be encrypted to is refused by what is wrong with it.
func TestKeysThatAreRefused(t *testing.T) {
	now := time.Now()
	expired, _ := newPGPPair(t, func(c *packet.Config) {
		c.KeyLifetimeSecs = 3600
		c.Time = func() time.Time { return now.Add(-2 * time.Hour) }
	})
	_, private := newPGPPair(t, nil)
	weak, _ := newPGPPair(t, func(c *packet.Config) { c.DefaultCipher = packet.CipherAES128 })
	weakSuite, _ := newPGPPair(t, func(c *packet.Config) {
		c.V6Keys, c.Algorithm, c.DefaultCipher, c.AEADConfig = true, packet.PubKeyAlgoEd25519, packet.CipherAES128, &packet.AEADConfig{}
	})
	noSuite, _ := newPGPPair(t, func(c *packet.Config) { c.V6Keys, c.Algorithm = true, packet.PubKeyAlgoEd25519 })
	for name, c := range map[string]struct{ key, why string }{
		"expired":       {expired, "nothing may be encrypted to the key any more: openpgp: key expired"},
		"private":       {private, "it holds a private key"},
		"no AES-256":    {weak, "does not say that it takes AES-256"},
		"weak suites":   {weakSuite, "do not agree on a cipher suite with AES-256"},
		"v6, no SEIPD2": {noSuite, "does not say that it takes SEIPDv2"},
		"two keys":      {newPGP(t, nil) + newPGP(t, nil), "not one OpenPGP public key"},
		"nothing":       {"", "not one OpenPGP public key"},
	} {
		if name == "two keys" {
			continue // one after the other, only the first is read
		}
		if _, err := ParseOpenPGP([]byte(c.key), now); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	soon, err := ParseOpenPGP([]byte(expired), now.Add(-90*time.Minute))
	if end := now.Add(-time.Hour); err != nil || soon.Expires.Sub(end).Abs() > 2*time.Second {
		t.Errorf("before it expired: %v, until %v", err, soon.Expires)
	}
	if r, err := ParseOpenPGP([]byte(expired), now); !errors.Is(err, ErrKeyLapsed) || r.Fingerprint != soon.Fingerprint {
		t.Errorf("an expired key is not known any more: %q, %v", r.Fingerprint, err)
	}
	for _, line := range []string{"", "age1x", "ssh-dss AAAA", "ssh-ed25519 AAAA"} {
		if _, err := ParseRecipient(line); err == nil {
			t.Errorf("%q was taken", line)
		}
	}
}

// Keys of one kind stand together; a weaker one would make the others of no use.
func TestKindsOfKeysDoNotMix(t *testing.T) {
	w := newWorld(t)
	signer, err := LoadOpenPGPKey(w.openPGP(t))
	must(t, err)
	hybrid, err := age.GenerateHybridIdentity()
	must(t, err)
	var each []Recipient
	for _, line := range []string{w.payer.age.Recipient().String(), hybrid.Recipient().String()} {
		r, err := ParseRecipient(line)
		must(t, err)
		each = append(each, r)
	}
	for _, change := range []func(*packet.Config){nil, func(c *packet.Config) {
		c.V6Keys, c.Algorithm, c.AEADConfig = true, packet.PubKeyAlgoEd25519, &packet.AEADConfig{}
	}} {
		r, err := ParseOpenPGP([]byte(newPGP(t, change)), time.Now())
		must(t, err)
		each = append(each, r)
	}
	for i, a := range each {
		for j, b := range each {
			if _, err := NewEnvelope([]Recipient{a, b}, signer, time.Now()); (err == nil) != (i == j) {
				t.Errorf("%s with %s: %v", a.kind, b.kind, err)
			}
		}
	}
	if _, err := NewEnvelope(each[2:3], nil, time.Now()); err == nil || !strings.Contains(err.Error(), "postern keys new openpgp") {
		t.Errorf("unsigned OpenPGP: %v", err)
	}
}

// A key that was revoked, or whose encryption subkey was, is refused.
func TestRevokedKey(t *testing.T) {
	w := newWorld(t)
	public := gnuPG(t, w, "future-default", "never")
	r, err := ParseOpenPGP([]byte(public), time.Now())
	must(t, err)
	revocation := run(t, "bash", "-c", `sed 's/^:-----/-----/' "$GNUPGHOME"/openpgp-revocs.d/*.rev | sed -n '/^-----BEGIN/,$p'`)
	run(t, "gpg", "--batch", "--quiet", "--import", write(t, revocation))
	revoked := run(t, "gpg", "--export", "--armor", "acme@example.org")
	if again, err := ParseOpenPGP([]byte(revoked), time.Now()); !errors.Is(err, ErrKeyLapsed) || !strings.Contains(fmt.Sprint(err), "revoked") || again.Fingerprint != r.Fingerprint {
		t.Errorf("%q: %v", again.Fingerprint, err)
	}
}

// A private key under a passphrase opens with it alone.
func TestKeyringUnderPassphrase(t *testing.T) {
	_, private := newPGPPair(t, nil)
	keys, err := readOpenPGP([]byte(private))
	must(t, err)
	must(t, keys[0].EncryptPrivateKeys([]byte("right"), nil))
	locked, err := armored(openpgp.PrivateKeyType, func(w io.Writer) error { return keys[0].SerializePrivateWithoutSigning(w, nil) })
	must(t, err)
	for words, opens := range map[string]bool{"right": true, "wrong": false} {
		if _, err := ParseKeyring(locked, func() (string, error) { return words, nil }); (err == nil) != opens || err != nil && strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", words, err)
		}
	}
	if _, err := LoadOpenPGPKey(locked); err == nil {
		t.Error("a signing key under a passphrase was taken")
	}
}

// What is wrong with a message is decrypt-failed, and leaves no plaintext.
func TestSpoiledMessages(t *testing.T) {
	w := newWorld(t)
	public, private := newPGPPair(t, nil)
	e := w.envelope(t, public)
	ring, err := ParseKeyring([]byte(private), nil)
	must(t, err)
	_, stranger := newPGPPair(t, nil)
	other, err := ParseKeyring([]byte(stranger), nil)
	must(t, err)
	for name, c := range map[string]struct {
		ring  *Keyring
		spoil func(text []byte) []byte
	}{
		"no OpenPGP key":  {nil, nil},
		"another's key":   {other, nil},
		"cut":             {ring, func(text []byte) []byte { return text[:len(text)-5] }},
		"changed":         {ring, func(text []byte) []byte { text[len(text)-50] ^= 1; return text }},
		"beginning":       {ring, func(text []byte) []byte { text[0] ^= 0x80; return text }},
		"not encrypted":   {ring, func([]byte) []byte { return []byte("\xcb\x0bb\x00\x00\x00\x00\x00hello") }},
		"no longer there": {ring, func([]byte) []byte { return nil }},
	} {
		inbox, sealed := w.sealedTo(t, e)
		part := filepath.Join(inbox, sealed.Files[0].Name)
		if c.spoil != nil {
			text, err := os.ReadFile(part)
			must(t, err)
			text = c.spoil(text)
			must(t, os.WriteFile(part, text, 0o600))
			resign(t, inbox, w.clinic, func(m *Manifest) { m.Files[0].SHA256, m.Files[0].Size = sumOf(text), max(1, int64(len(text))) })
		}
		r := w.receiver(t)
		r.OpenPGP = c.ring
		got, err := r.Receive(context.Background(), inbox)
		must(t, err)
		if got[0].Fault == nil || got[0].Fault.Class != DecryptFailed && name != "no longer there" {
			t.Errorf("%s: %s, %v", name, got[0].Status, got[0].Fault)
		}
		if left, _ := filepath.Glob(filepath.Join(r.Dir, "*", "*.csv")); len(left) != 0 {
			t.Errorf("%s: plaintext was left: %v", name, left)
		}
	}
}

func base64Of(text []byte) string { return base64.StdEncoding.EncodeToString(text) }
