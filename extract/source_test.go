package extract

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folder makes a folder of files with the given contents.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func names(files []File) string {
	var out []string
	for i, f := range files {
		if f.Index != i {
			return "wrong index"
		}
		out = append(out, f.Name)
	}
	return strings.Join(out, " ")
}

var ndjsonRules = []FileRule{{Pattern: "*.ndjson", Format: FHIRNDJSON}, {Pattern: "*/*.ndjson", Format: FHIRNDJSON}}

func TestListIsInByteOrder(t *testing.T) {
	dir := folder(t, map[string]string{"b.ndjson": "", "a/z.ndjson": "", "a.ndjson": "", "B.ndjson": "12345", "done": "", "log.ndjson": ""})
	s := &Source{Name: "ehr", Folder: dir, Complete: Completeness{Marker: "done"}, Files: ndjsonRules, Ignore: []string{"log*"}}
	got, err := s.List(context.Background())
	if err != nil || names(got) != "B.ndjson a.ndjson a/z.ndjson b.ndjson" || got[0].Size != 5 || got[2].Rule != &s.Files[1] {
		t.Errorf("%s, %v", names(got), err)
	}
}

func TestListRefuses(t *testing.T) {
	outside := folder(t, map[string]string{"x.ndjson": ""})
	for _, c := range []struct {
		name string
		make func(dir string) error
		want string
	}{
		{"a file without a rule", func(dir string) error { return os.WriteFile(filepath.Join(dir, "x.txt"), nil, 0o600) }, "x.txt: no rule"},
		{"a link out", func(dir string) error {
			return os.Symlink(filepath.Join(outside, "x.ndjson"), filepath.Join(dir, "l.ndjson"))
		}, "l.ndjson: is a link that leads out"},
		{"a linked folder", func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "l.ndjson")) }, "l.ndjson: is a link that leads out"},
		{"a link to a folder inside", func(dir string) error { return os.Symlink("sub", filepath.Join(dir, "l.ndjson")) }, "l.ndjson: is no regular file"},
		{"a broken link", func(dir string) error { return os.Symlink("nothing", filepath.Join(dir, "l.ndjson")) }, "l.ndjson: cannot be read"},
	} {
		dir := folder(t, map[string]string{"a.ndjson": "", "done": "", "sub/b.ndjson": ""})
		if err := c.make(dir); err != nil {
			t.Fatal(err)
		}
		s := &Source{Name: "ehr", Folder: dir, Complete: Completeness{Marker: "done"}, Files: ndjsonRules}
		var fe *FileError
		if _, err := s.List(context.Background()); !errors.As(err, &fe) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	dir := folder(t, map[string]string{"a.ndjson": "", "done": ""})
	if err := os.Symlink("a.ndjson", filepath.Join(dir, "l.ndjson")); err != nil {
		t.Fatal(err)
	}
	s := &Source{Name: "ehr", Folder: dir, Complete: Completeness{Marker: "done"}, Files: ndjsonRules}
	if got, err := s.List(context.Background()); err != nil || names(got) != "a.ndjson l.ndjson" {
		t.Errorf("a link inside: %s, %v", names(got), err)
	}
}

func TestComplete(t *testing.T) {
	list := func(dir string, c Completeness, now time.Time) error {
		s := &Source{Name: "ehr", Folder: dir, Complete: c, Files: ndjsonRules, Now: func() time.Time { return now }}
		_, err := s.List(context.Background())
		return err
	}
	dir := folder(t, map[string]string{"a.ndjson": "x"})
	written := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(dir, "a.ndjson"), written, written); err != nil {
		t.Fatal(err)
	}
	stable := Completeness{StableFor: time.Hour}
	for _, c := range []struct {
		name string
		err  error
		met  bool
	}{
		{"no marker", list(dir, Completeness{Marker: "done"}, written), false},
		{"just written", list(dir, stable, written.Add(59*time.Minute)), false},
		{"written in the future", list(dir, stable, written.Add(-2*time.Hour)), false},
		{"long ago", list(dir, stable, written.Add(time.Hour)), true},
		{"nothing there", list(t.TempDir(), stable, written), false},
	} {
		if c.met != (c.err == nil) || !c.met && !errors.Is(c.err, ErrIncomplete) {
			t.Errorf("%s: %v", c.name, c.err)
		}
	}
	for _, both := range []Completeness{{}, {Marker: "done", StableFor: 1}, {Marker: "done", Manifest: "m"}} {
		if err := list(dir, both, written); err == nil || errors.Is(err, ErrIncomplete) && both.Marker == "" {
			t.Errorf("%+v is taken for a rule", both)
		}
	}
}

func TestManifest(t *testing.T) {
	_, err := exec.LookPath("sha256sum")
	peer(t, "sha256sum", err == nil)
	dir := folder(t, map[string]string{"a.ndjson": "x", "sub/b.ndjson": "y"})
	s := &Source{Name: "ehr", Folder: dir, Complete: Completeness{Manifest: "SHA256SUMS"}, Files: ndjsonRules}
	check := func(what string, met bool) {
		t.Helper()
		if _, err := s.List(context.Background()); met != (err == nil) || !met && !errors.Is(err, ErrIncomplete) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check("no manifest", false)
	for _, flag := range []string{"-b", "-t"} {
		cmd := exec.Command("sha256sum", flag, "a.ndjson", "./sub/b.ndjson")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		write("SHA256SUMS", string(out))
		check("as it should be", true)
		write("c.ndjson", "")
		check("a file too many", false)
		_ = os.Remove(filepath.Join(dir, "c.ndjson"))
		write("a.ndjson", "changed")
		check("another content", false)
		_ = os.Remove(filepath.Join(dir, "a.ndjson"))
		check("a file missing", false)
		write("a.ndjson", "x")
	}
	write("SHA256SUMS", "nothing of the kind")
	var fe *FileError
	if _, err := s.List(context.Background()); !errors.As(err, &fe) || fe.Line != 1 {
		t.Errorf("a manifest of another form: %v", err)
	}
}
