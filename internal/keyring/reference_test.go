package keyring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolve(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, perm os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), perm); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), perm); err != nil {
			t.Fatal(err)
		}
	}
	write("good", "hush\n", 0o600)
	write("group", "hush\n", 0o640)
	write("others", "hush\n", 0o604)
	write("empty", "", 0o600)
	write("large", strings.Repeat("x", maxSecret+1), 0o600)
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	t.Setenv("POSTERN_TEST_SECRET", "hush")
	t.Setenv("POSTERN_TEST_EMPTY", "")

	for _, c := range []struct{ ref, want, err string }{
		{ref: "file:good", want: "hush\n"},
		{ref: "file:" + filepath.Join(dir, "good"), want: "hush\n"},
		{ref: "env:POSTERN_TEST_SECRET", want: "hush"},
		{ref: "credential:good", want: "hush\n"},
		{ref: "credential:group", want: "hush\n"}, // systemd sets its own modes
		{ref: "file:group", err: "chmod 600 " + filepath.Join(dir, "group")},
		{ref: "file:others", err: "mode 0604"},
		{ref: "file:empty", err: "file:empty is empty"},
		{ref: "file:large", err: "larger than"},
		{ref: "file:absent", err: "no such file"},
		{ref: "file:.", err: "is no file"},
		{ref: "env:POSTERN_TEST_EMPTY", err: "not set"},
		{ref: "credential:../good", err: "no folder in it"},
		{ref: "hush", err: "not a reference"},
		{ref: "hush:hush", err: "not a reference"},
		{ref: "file:", err: "not a reference"},
		{ref: "", err: "not a reference"},
	} {
		got, err := Resolve(c.ref, dir)
		switch {
		case c.err == "" && (err != nil || string(got) != c.want):
			t.Errorf("%s: %v", c.ref, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s gave %v; want %q", c.ref, err, c.err)
		case c.err != "" && strings.Contains(err.Error(), "hush"):
			t.Errorf("%s: the error repeats the secret: %v", c.ref, err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := Resolve("credential:good", dir); err == nil || !strings.Contains(err.Error(), "LoadCredential=good") {
		t.Errorf("without systemd: %v", err)
	}
}
