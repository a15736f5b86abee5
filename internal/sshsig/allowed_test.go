package sshsig

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func parse(t testing.TB, text string) *AllowedSigners {
	t.Helper()
	a, err := ParseAllowedSigners("allowed_signers", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ssh-keygen is the oracle: for each line, principal, namespace and time it
// and Check say the same.
func TestCheckAgreesWithOpenSSH(t *testing.T) {
	keygen := peer(t, "ssh-keygen")
	dir := t.TempDir()
	signer := newSigner(t)
	key, other := KeyText(signer.PublicKey()), KeyText(newSigner(t).PublicKey())
	signatures := map[string]string{}
	for _, namespace := range []string{"postern-drop", "postern-receipt"} {
		signatures[namespace] = writeFile(t, filepath.Join(dir, namespace), sign(t, signer, namespace))
	}
	lines := []string{
		"clinic " + key,
		"clinic " + other,
		"clinic " + other + "\nclinic " + key,
		"  clinic \t " + key + " a comment",
		"payer,clinic " + key,
		"cl* " + key,
		"c?inic " + key,
		"*,!clinic " + key,
		"!payer " + key,
		`clinic namespaces="postern-drop" ` + key,
		`clinic namespaces="postern-*,!postern-receipt" ` + key,
		`clinic NAMESPACES="postern-drop,postern-receipt" ` + key,
		`clinic valid-after="20260301Z" ` + key,
		`clinic valid-before="20260301Z" ` + key,
		`clinic valid-after="202603010000Z",valid-before="20260301000001Z" ` + key,
		`clinic namespaces="postern-receipt",valid-before="20260301" ` + key,
		"clinic " + `valid-before="20260101Z" ` + key + "\nclinic " + `valid-after="20260101Z" ` + key,
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	times := []time.Time{start.Add(-time.Second), start, start.Add(time.Second), start.Add(2 * time.Second)}
	for i, text := range lines {
		file := writeFile(t, filepath.Join(dir, fmt.Sprint("allowed", i)), []byte("# signers\n\n"+text+"\n"))
		allowed := parse(t, text)
		for _, principal := range []string{"clinic", "payer"} {
			for namespace, signature := range signatures {
				for _, when := range times {
					ours := allowed.Check(principal, signer.PublicKey(), namespace, when)
					out, theirs := run(t, message, keygen, "-Y", "verify", "-f", file, "-I", principal, "-n", namespace,
						"-O", "verify-time="+when.Format(stampSeconds)+"Z", "-s", signature)
					if (ours == nil) != (theirs == nil) {
						t.Errorf("%q, %s, %s, %v:\nours: %v\nOpenSSH: %s", text, principal, namespace, when, ours, out)
					}
				}
			}
		}
	}
}

func TestCheckSaysWhy(t *testing.T) {
	signer := newSigner(t)
	a := parse(t, `clinic,!x namespaces="postern-drop",valid-before="20260101Z" `+KeyText(signer.PublicKey())+"\n")
	then, late := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC)
	for _, c := range []struct {
		principal, namespace string
		when                 time.Time
		want                 error
	}{
		{"clinic", "postern-drop", then, nil},
		{"payer", "postern-drop", then, ErrOtherPrincipal},
		{"clin*", "postern-drop", then, ErrOtherPrincipal},
		{"clinic", "postern-receipt", then, ErrOtherNamespace},
		{"clinic", "postern-drop", late, ErrNotThen},
	} {
		if err := a.Check(c.principal, signer.PublicKey(), c.namespace, c.when); !errors.Is(err, c.want) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if err := a.Check("clinic", newSigner(t).PublicKey(), "postern-drop", then); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("another key: %v", err)
	}
	if !a.Knows(signer.PublicKey(), "postern-drop", then) || a.Knows(signer.PublicKey(), "postern-receipt", then) {
		t.Error("Knows does not keep to the line")
	}
	if a.Knows(signer.PublicKey(), "postern-drop", late) {
		t.Error("Knows an expired key")
	}
}

func TestMistakesAreAllFoundWithTheirLines(t *testing.T) {
	key := KeyText(newSigner(t).PublicKey())
	_, blob, _ := strings.Cut(key, " ")
	wrong := []struct{ line, want string }{
		{"clinic", "no public key"},
		{"clinic ssh-ed25519", "no public key"},
		{key, "whose key it is"},
		{"clinic ssh-ed25519 AAAA", "not one of type ssh-ed25519"},
		{"clinic ecdsa-sha2-nistp256 " + blob, "not one of type ecdsa-sha2-nistp256"},
		{"clinic cert-authority " + key, "cert-authority is not accepted"},
		{`clinic cert-authority,namespaces="x" ` + key, "cert-authority is not accepted"},
		{"clinic " + KeyText(tokenKey(t)), "security token"},
		{"clinic ssh-ed25519-cert-v01@openssh.com AAAA", "certificate"},
		{"clinic touch-required " + key, `unknown option "touch-required"`},
		{"clinic namespaces=x " + key, "in double quotes"},
		{`clinic namespaces="x ` + key, "in double quotes"},
		{`clinic namespaces="x", ` + key, "comma before the next"},
		{`clinic namespaces="x"valid-after="20260101" ` + key, "comma before the next"},
		{`clinic namespaces="" ` + key, "namespace list"},
		{`clinic namespaces="x",namespaces="y" ` + key, "stands twice"},
		{`clinic valid-after="2026" ` + key, "is no time"},
		{`clinic valid-after="20260230" ` + key, "is no time"},
		{`clinic valid-before="00010101Z" ` + key, "is no time"},
		{`clinic valid-after="20260102",valid-before="20260101" ` + key, "never be valid"},
		{"clinic,,payer " + key, "principal list"},
		{"! " + key, "principal list"},
	}
	text := "# comment\n"
	for _, w := range wrong {
		text += w.line + "\n"
	}
	_, err := ParseAllowedSigners("allowed_signers", []byte(text))
	if err == nil {
		t.Fatal("no error")
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(wrong) {
		t.Fatalf("%d mistakes found of %d:\n%v", len(got), len(wrong), err)
	}
	for i, w := range wrong {
		if !strings.HasPrefix(got[i], fmt.Sprintf("allowed_signers:%d: ", i+2)) || !strings.Contains(got[i], w.want) {
			t.Errorf("%q gave %q; want %q", w.line, got[i], w.want)
		}
	}
}

// lineOf is the line as it stands in a file, without its end.
func lineOf(s AllowedSigner) string {
	var options []string
	if len(s.Namespaces) > 0 {
		options = append(options, `namespaces="`+strings.Join(s.Namespaces, ",")+`"`)
	}
	if !s.ValidAfter.IsZero() {
		options = append(options, `valid-after="`+s.ValidAfter.UTC().Format(stampSeconds)+`Z"`)
	}
	if !s.ValidBefore.IsZero() {
		options = append(options, `valid-before="`+s.ValidBefore.UTC().Format(stampSeconds)+`Z"`)
	}
	fields := []string{strings.Join(s.Principals, ",")}
	if len(options) > 0 {
		fields = append(fields, strings.Join(options, ","))
	}
	fields = append(fields, KeyText(s.Key))
	if s.Comment != "" {
		fields = append(fields, s.Comment)
	}
	return strings.Join(fields, " ")
}

func TestLineReadsBackAsItWas(t *testing.T) {
	key := newSigner(t).PublicKey()
	names := rapid.SliceOfN(rapid.StringMatching(`!?[a-z*?@.-]{1,9}`), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		want := AllowedSigner{Principals: names.Draw(t, "principals"), Key: key, Line: 1}
		if rapid.Bool().Draw(t, "limited") {
			want.Namespaces = names.Draw(t, "namespaces")
			want.ValidAfter = time.Unix(rapid.Int64Range(1, 2e9).Draw(t, "after"), 0).UTC()
			want.ValidBefore = time.Unix(rapid.Int64Range(2e9, 4e9).Draw(t, "before"), 0).UTC()
			want.Comment = "drop key 2"
		}
		a, err := ParseAllowedSigners("x", []byte(lineOf(want)+"\r\n"))
		if err != nil || len(a.Signers) != 1 || lineOf(a.Signers[0]) != lineOf(want) {
			t.Fatalf("%q: %v", lineOf(want), err)
		}
		if got := a.Signers[0]; !got.ValidAfter.Equal(want.ValidAfter) || !got.ValidBefore.Equal(want.ValidBefore) {
			t.Fatalf("%q: times differ", lineOf(want))
		}
	})
}

func FuzzParseAllowedSigners(f *testing.F) {
	key := KeyText(newSigner(f).PublicKey())
	f.Add("clinic " + key)
	f.Add(`a,!b* namespaces="x",valid-after="20260101Z" ` + key + " comment")
	f.Add(`a "` + key)
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAllowedSigners("x", []byte(text))
		if err != nil {
			return
		}
		for _, s := range a.Signers {
			again, err := ParseAllowedSigners("x", []byte(lineOf(s)))
			if err != nil || len(again.Signers) != 1 || lineOf(again.Signers[0]) != lineOf(s) {
				t.Fatalf("%q does not read back: %v", lineOf(s), err)
			}
		}
	})
}
