package keyring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func master(t *testing.T) *Master {
	t.Helper()
	dir := t.TempDir()
	if err := NewMasterFile(filepath.Join(dir, "master.key"), ""); err != nil {
		t.Fatal(err)
	}
	m, err := LoadMaster("file:master.key", "", dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMasterFileIsNeverOverwritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.key")
	if err := NewMasterFile(path, ""); err != nil {
		t.Fatal(err)
	}
	first, err := LoadMaster("file:"+path, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := NewMasterFile(path, ""); !errors.Is(err, os.ErrExist) {
		t.Fatalf("a second key gave %v", err)
	}
	again, err := LoadMaster("file:"+path, "", "")
	if err != nil || again.secret != first.secret {
		t.Fatalf("the key changed: %v", err)
	}
	if err := os.WriteFile(path, []byte("postern-master-key-v1 c2hvcnQ=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMaster("file:"+path, "", ""); err == nil || strings.Contains(err.Error(), "c2hvcnQ") {
		t.Fatalf("a short key gave %v", err)
	}
}

func TestWrapOpensOnlyWithSameMasterAndLabelUnaltered(t *testing.T) {
	m, other := master(t), master(t)
	rapid.Check(t, func(t *rapid.T) {
		label := rapid.String().Draw(t, "label")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		box := m.Wrap(label, plain)
		got, err := m.Unwrap(label, box)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("unwrap: %v", err)
		}
		if _, err := m.Unwrap(label+"x", box); !errors.Is(err, ErrUnwrap) {
			t.Fatalf("another label gave %v", err)
		}
		if _, err := other.Unwrap(label, box); !errors.Is(err, ErrUnwrap) {
			t.Fatalf("another master gave %v", err)
		}
		bit := rapid.IntRange(0, len(box)*8-1).Draw(t, "bit")
		box[bit/8] ^= 1 << (bit % 8)
		if _, err := m.Unwrap(label, box); !errors.Is(err, ErrUnwrap) {
			t.Fatalf("an altered box gave %v", err)
		}
		cut := rapid.IntRange(0, len(box)-1).Draw(t, "cut")
		if _, err := m.Unwrap(label, box[:cut]); !errors.Is(err, ErrUnwrap) {
			t.Fatalf("a cut box gave %v", err)
		}
	})
}

// The derivations are a stored format. The expected bytes were computed with
// Python's hmac (HKDF of RFC 5869) and OpenSSL's chacha20.
func TestDerivationsAreFixed(t *testing.T) {
	var secret Secret
	for i := range secret {
		secret[i] = byte(i)
	}
	m := &Master{secret: secret}
	key := m.Key("archive")
	if got, want := hex.EncodeToString(key[:]), "849cd2f65a2e6eaa754a24db16f1ab86014715ef3bebd0f17dc0bb8558138efe"; got != want {
		t.Errorf("key is %s; want %s", got, want)
	}
	if got, want := m.Fingerprint(), "SHA256:qhz38n4PfRpHHSXcYg2EZZa4gqONBZBdzr1kZYEFXzQ"; got != want {
		t.Errorf("fingerprint is %s; want %s", got, want)
	}
	stream := make([]byte, 80)
	_, _ = NewStream(secret, "codes", "42").Read(stream)
	if got, want := hex.EncodeToString(stream), "6e2703dbcdb73208e4431bb7a6e53f2fbd1217af4c38d36e6d9ddb008757bfce1ceeea1a9e57ddbee9cac96385400d89232ad0bcb9db236be96369a3924096c084035bf7c0273549ce7cde1cbe3e2d74"; got != want {
		t.Errorf("stream is %s; want %s", got, want)
	}
	if got, want := NewStream(secret, "codes", "42").Code(16), "e73vdqj843vq65zf"; got != want {
		t.Errorf("code is %s; want %s", got, want)
	}
}

func TestStreamIsTheSameHoweverItIsRead(t *testing.T) {
	secret := NewSecret()
	want := make([]byte, 4096)
	_, _ = NewStream(secret, "a").Read(want)
	rapid.Check(t, func(t *rapid.T) {
		s := NewStream(secret, "a")
		var got []byte
		for len(got) < len(want) {
			part := make([]byte, min(rapid.IntRange(0, 300).Draw(t, "n"), len(want)-len(got)))
			_, _ = s.Read(part)
			got = append(got, part...)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("differs")
		}
	})
}

func TestLabelsCannotRunTogether(t *testing.T) {
	secret := NewSecret()
	seen := map[string][]string{}
	for _, labels := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"a\x001:b"}, {"ab", ""}} {
		code := NewStream(secret, labels...).Code(20)
		if before, found := seen[code]; found {
			t.Errorf("%q and %q give one stream", before, labels)
		}
		seen[code] = labels
	}
}

func TestCodeHasItsAlphabetAndAllOfIt(t *testing.T) {
	count := map[rune]int{}
	for _, c := range NewStream(NewSecret()).Code(32 * 200) {
		count[c]++
	}
	for _, c := range alphabet {
		if count[c] < 100 || count[c] > 320 {
			t.Errorf("%q was drawn %d times of 6400", c, count[c])
		}
		delete(count, c)
	}
	if len(count) != 0 {
		t.Errorf("%d characters are not of the alphabet", len(count))
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	secret := Secret(bytes.Repeat([]byte{'Z'}, 32))
	m, s := &Master{secret: secret}, NewStream(secret)
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{secret, &secret, m, *m, s, *s, []Secret{secret}, map[string]Secret{"k": secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("x", "v", v)
		text.Info("x", "v", v)
		data, _ := json.Marshal(v)
		out.Write(data)
	}
	key := secret.derive("stream")
	for _, leak := range []string{"ZZ", "90 90", "5a5a", "0x5a", "90,90", "Wlpa", hex.EncodeToString(key[:4])} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("found %q in what was printed", leak)
		}
	}
}
