package keyring

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// A master key under a passphrase is one of age's files, in either of its forms,
// and opens by the passphrase alone, wherever that lies. (keys.txtar has `age`
// itself open ours, and ours open what `age -p` made.)
func TestMasterUnderPassphrase(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const words = "four words of ours"
	if err := NewMasterFile(filepath.Join(dir, "sealed"), words); err != nil {
		t.Fatal(err)
	}
	sealed, err := os.ReadFile(filepath.Join(dir, "sealed"))
	if err != nil || bytes.Contains(sealed, []byte(masterPrefix)) {
		t.Fatalf("the file holds the key in the clear (%v)", err)
	}
	identity, _ := age.GenerateX25519Identity()
	var toKey, text bytes.Buffer
	w, err := age.Encrypt(&toKey, identity.Recipient())
	if err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	a := armor.NewWriter(&text)
	_, _ = a.Write(sealed)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	write("armored", text.Bytes())
	write("to-a-key", toKey.Bytes())
	write("cut", sealed[:len(sealed)-3])
	write("words", []byte(words+"\r\n"))
	write("blank", []byte("\n"))
	t.Setenv("POSTERN_TEST_WORDS", words)
	t.Setenv("POSTERN_TEST_OTHER", "other words")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := NewMasterFile(filepath.Join(dir, "plain"), ""); err != nil {
		t.Fatal(err)
	}

	want := ""
	for _, c := range []struct{ ref, passphrase, err string }{
		{ref: "file:sealed", passphrase: "file:words"},
		{ref: "file:sealed", passphrase: "env:POSTERN_TEST_WORDS"},
		{ref: "credential:sealed", passphrase: "credential:words"},
		{ref: "file:armored", passphrase: "env:POSTERN_TEST_WORDS"},
		{ref: "file:sealed", passphrase: "env:POSTERN_TEST_OTHER", err: "the passphrase is another one"},
		{ref: "file:sealed", passphrase: "file:blank", err: "keys.passphrase: file:blank is an empty line"},
		{ref: "file:sealed", passphrase: "file:missing", err: "keys.passphrase: "},
		{ref: "file:to-a-key", passphrase: "file:words", err: "was not made by age -p"},
		{ref: "file:cut", passphrase: "file:words", err: "file:cut is damaged"},
		{ref: "file:plain", passphrase: "file:words", err: "file:plain is not under a passphrase; encrypt it (age -p"},
	} {
		m, err := LoadMaster(c.ref, c.passphrase, dir)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "words of") {
				t.Errorf("%s by %s gives %v; want %q", c.ref, c.passphrase, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s by %s: %v", c.ref, c.passphrase, err)
		}
		if want == "" {
			want = m.Fingerprint()
		}
		if m.Fingerprint() != want {
			t.Errorf("%s by %s is another key", c.ref, c.passphrase)
		}
	}
	if other, err := LoadMaster("file:plain", "", dir); err != nil || other.Fingerprint() == want {
		t.Errorf("two keys have one fingerprint (%v)", err)
	}
}

// systemd lays a credential into a folder that the service alone can read.
func TestMasterIsACredential(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	if err := NewMasterFile(filepath.Join(dir, "master"), ""); err != nil {
		t.Fatal(err)
	}
	m, err := LoadMaster("credential:master", "", "/elsewhere")
	if err != nil {
		t.Fatal(err)
	}
	same, err := LoadMaster("file:master", "", dir)
	if err != nil || same.secret != m.secret {
		t.Fatalf("the credential is another key: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := LoadMaster("credential:master", "", dir); err == nil || !strings.Contains(err.Error(), "LoadCredential=master:PATH") {
		t.Errorf("without systemd: %v", err)
	}
}
