package sshsig

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

const message = "manifest\n"

// peer finds a program that is not ours, to check against.
func peer(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("POSTERN_REQUIRE") == "all" {
		t.Fatalf("peer %s is missing", name)
	}
	if err != nil {
		t.Skipf("peer %s is missing", name)
	}
	return path
}

func run(t *testing.T, stdin string, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func writeFile(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	private, _, err := NewKey("test")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := LoadSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func sign(t testing.TB, signer ssh.Signer, namespace string) []byte {
	t.Helper()
	armored, err := Sign(signer, namespace, strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	return armored
}

// Both directions with OpenSSH, for each kind of key that it makes.
func TestOpenSSHReadsOursAndWeReadTheirs(t *testing.T) {
	keygen := peer(t, "ssh-keygen")
	for _, kind := range []string{"ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-2048"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			key := filepath.Join(dir, "key")
			args := []string{"-q", "-N", "", "-C", "a comment", "-f", key, "-t"}
			name, bits, found := strings.Cut(kind, "-")
			args = append(args, name)
			if found {
				args = append(args, "-b", bits)
			}
			if out, err := run(t, "", keygen, args...); err != nil {
				t.Fatal(out)
			}
			private, _ := os.ReadFile(key)
			public, _ := os.ReadFile(key + ".pub")
			signer, err := LoadSigner(private)
			if err != nil {
				t.Fatal(err)
			}
			allowed := writeFile(t, filepath.Join(dir, "allowed"),
				[]byte(`sender@clinic namespaces="postern-drop" `+string(public)))

			ours := writeFile(t, filepath.Join(dir, "ours.sig"), sign(t, signer, "postern-drop"))
			if out, err := run(t, message, keygen, "-Y", "verify", "-f", allowed, "-I", "sender@clinic", "-n", "postern-drop", "-s", ours); err != nil {
				t.Errorf("verify: %s", out)
			}
			if out, err := run(t, message, keygen, "-Y", "check-novalidate", "-n", "postern-drop", "-s", ours); err != nil {
				t.Errorf("check-novalidate: %s", out)
			}
			if out, err := run(t, "", keygen, "-Y", "find-principals", "-f", allowed, "-s", ours); err != nil || strings.TrimSpace(out) != "sender@clinic" {
				t.Errorf("find-principals: %s", out)
			}
			if out, err := run(t, message, keygen, "-Y", "verify", "-f", allowed, "-I", "sender@clinic", "-n", "postern-receipt", "-s", ours); err == nil {
				t.Errorf("verify in another namespace: %s", out)
			}

			for _, algorithm := range []string{"sha512", "sha256"} {
				file := writeFile(t, filepath.Join(dir, algorithm), []byte(message))
				if out, err := run(t, "", keygen, "-Y", "sign", "-f", key, "-n", "postern-policy", "-O", "hashalg="+algorithm, file); err != nil {
					t.Fatal(out)
				}
				theirs, _ := os.ReadFile(file + ".sig")
				got, err := Verify(theirs, "postern-policy", strings.NewReader(message))
				if err != nil || !bytes.Equal(got.Marshal(), signer.PublicKey().Marshal()) {
					t.Errorf("their signature with %s: %v", algorithm, err)
				}
			}
		})
	}
}

func TestOpenSSHReadsOurKeys(t *testing.T) {
	keygen := peer(t, "ssh-keygen")
	private, line, err := NewKey("clearview drop key")
	if err != nil {
		t.Fatal(err)
	}
	path := writeFile(t, filepath.Join(t.TempDir(), "key"), private)
	out, err := run(t, "", keygen, "-y", "-f", path)
	if err != nil || out != string(line) {
		t.Errorf("ssh-keygen -y gave %q; want %q", out, line)
	}
	if _, _, err := NewKey("two\nlines"); err == nil {
		t.Error("a comment of two lines was accepted")
	}
}

func TestEveryAlteredBitIsFound(t *testing.T) {
	blob, err := unarmor(sign(t, newSigner(t), "postern-drop"))
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(blob) * 8 {
		altered := bytes.Clone(blob)
		altered[bit/8] ^= 1 << (bit % 8)
		if _, err := Verify(armor(altered), "postern-drop", strings.NewReader(message)); !errors.Is(err, ErrInvalid) {
			t.Errorf("bit %d altered: %v", bit, err)
		}
	}
	for n := range blob {
		if _, err := Verify(armor(blob[:n]), "postern-drop", strings.NewReader(message)); !errors.Is(err, ErrInvalid) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestSignatureHoldsForItsMessageAndNamespaceOnly(t *testing.T) {
	signer := newSigner(t)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOf(rapid.Byte()).Draw(t, "message")
		namespace := rapid.StringN(1, 20, 40).Draw(t, "namespace")
		armored, err := Sign(signer, namespace, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(armored, namespace, iotest.OneByteReader(bytes.NewReader(text))); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(armored, namespace+"x", bytes.NewReader(text)); !errors.Is(err, ErrInvalid) {
			t.Fatalf("another namespace: %v", err)
		}
		if _, err := Verify(armored, namespace, bytes.NewReader(append(text, 0))); !errors.Is(err, ErrInvalid) {
			t.Fatalf("another message: %v", err)
		}
	})
}

func TestUnreadableMessageIsNotAnInvalidSignature(t *testing.T) {
	broken := iotest.ErrReader(errors.New("disk"))
	signer := newSigner(t)
	if _, err := Sign(signer, "n", broken); err == nil {
		t.Error("signed what could not be read")
	}
	if _, err := Verify(sign(t, signer, "n"), "n", broken); err == nil || errors.Is(err, ErrInvalid) {
		t.Errorf("verify gave %v", err)
	}
	if _, err := Sign(signer, "", strings.NewReader(message)); err == nil {
		t.Error("signed without a namespace")
	}
}

func TestArmor(t *testing.T) {
	good := string(sign(t, newSigner(t), "n"))
	for name, text := range map[string]string{
		"CRLF":         strings.ReplaceAll(good, "\n", "\r\n"),
		"no last line": strings.TrimSpace(good),
	} {
		if _, err := Verify([]byte(text), "n", strings.NewReader(message)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{
		"empty":            "",
		"something before": "x" + good,
		"something after":  good + "x\n",
		"two":              good + good,
		"not base64":       strings.Replace(good, "U1NIU0lH", "U1NI!0lH", 1),
		"cut short":        good[:len(good)/2],
		"too large":        good + strings.Repeat("\n", maxArmor),
	} {
		if _, err := Verify([]byte(text), "n", strings.NewReader(message)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// forge signs as Sign does, but lets a test choose what Sign would not.
func forge(t *testing.T, signer ssh.AlgorithmSigner, algorithm, hash string) []byte {
	t.Helper()
	digest := sha512.Sum512([]byte(message))
	signature, err := signer.SignWithAlgorithm(rand.Reader, statement{"n", "", hash, digest[:]}.bytes(), algorithm)
	if err != nil {
		t.Fatal(err)
	}
	return armor(append([]byte(magic), ssh.Marshal(envelope{version, signer.PublicKey().Marshal(), "n", "", hash, ssh.Marshal(signature)})...))
}

func TestWeakAlgorithmsAreRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer := func(key any) ssh.AlgorithmSigner {
		s, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return s.(ssh.AlgorithmSigner)
	}
	for _, c := range []struct {
		name, want string
		armored    []byte
	}{
		{"SHA-1", `algorithm "ssh-rsa" is not accepted`, forge(t, signer(large), ssh.KeyAlgoRSA, "sha512")},
		{"short RSA", "less than 2048 bits", forge(t, signer(small), ssh.KeyAlgoRSASHA512, "sha512")},
		{"hash", `hash "sha1"`, forge(t, signer(large), ssh.KeyAlgoRSASHA512, "sha1")},
	} {
		_, err := Verify(c.armored, "n", strings.NewReader(message))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if _, err := Sign(signer(small), "n", strings.NewReader(message)); err == nil {
		t.Error("signed with a short RSA key")
	}
	sha1Only := struct{ ssh.Signer }{signer(large)}
	if _, err := Sign(sha1Only, "n", strings.NewReader(message)); err == nil || !strings.Contains(err.Error(), "SHA-1") {
		t.Errorf("signing with SHA-1 gave %v", err)
	}
}

// tokenKey is the public key of an sk-ssh-ed25519 key (PROTOCOL.u2f).
func tokenKey(t testing.TB) ssh.PublicKey {
	t.Helper()
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	key, err := ssh.ParsePublicKey(ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, public, "ssh:"}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestTokenKeysAreRefused(t *testing.T) {
	blob := append([]byte(magic), ssh.Marshal(envelope{version, tokenKey(t).Marshal(), "n", "", "sha512", nil})...)
	_, err := Verify(armor(blob), "n", strings.NewReader(message))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "security token") {
		t.Errorf("got %v", err)
	}
}

func TestLoadSignerSaysWhatIsWrong(t *testing.T) {
	_, secret, _ := ed25519.GenerateKey(rand.Reader)
	locked, err := ssh.MarshalPrivateKeyWithPassphrase(secret, "", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	_, errCurve := ssh.NewSignerFromKey(p224)
	if errCurve == nil {
		t.Error("x/crypto takes P-224 now: acceptable must refuse it")
	}
	for want, data := range map[string][]byte{
		"has a passphrase":  pem.EncodeToMemory(locked),
		"not a private key": []byte("ssh-ed25519 AAAA"),
	} {
		if _, err := LoadSigner(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v; want %q", err, want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	good := sign(f, newSigner(f), "n")
	f.Add(good)
	f.Add(good[:100])
	f.Add([]byte(begin + end))
	f.Add([]byte(begin + "U1NIU0lHAAAAAQ==" + end))
	f.Fuzz(func(t *testing.T, armored []byte) {
		if _, err := Verify(armored, "n", strings.NewReader(message+"!")); !errors.Is(err, ErrInvalid) {
			t.Fatalf("got %v", err)
		}
	})
}
