package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var errBroken = errors.New("broken on purpose")

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestCommitRefusesToOverwriteUnlessAsked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", info.Mode(), err)
	}
	if err := WriteFile(path, []byte("two"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("overwriting gave %v; want fs.ErrExist", err)
	}
	if got := content(t, path); got != "one" {
		t.Fatalf("content is %q after a refused overwrite", got)
	}
	if err := ReplaceFile(path, []byte("three"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := content(t, path); got != "three" {
		t.Fatalf("content is %q after replacing", got)
	}
	if got := names(t, dir); !slices.Equal(got, []string{"state.json"}) {
		t.Fatalf("folder holds %v", got)
	}
}

func TestNothingStandsUnderTheNameBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drop")
	f, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	got := names(t, dir)
	if len(got) != 1 || !strings.HasPrefix(got[0], ".drop.") || !strings.HasSuffix(got[0], ".part") {
		t.Fatalf("folder holds %v; want one private name", got)
	}
	f.Abort()
	if got := names(t, dir); len(got) != 0 {
		t.Fatalf("folder holds %v after Abort", got)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Fatalf("Commit after Abort gave %v", err)
	}
}

// Every step is broken in both ways; what then stands under the name is the
// old content or the new one, whole, and no private name is left.
func TestEachStepBroken(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "close", "rename", "sync-dir"} {
		for _, when := range []string{"", "after "} {
			t.Run(when+op, func(t *testing.T) {
				dir := t.TempDir()
				path := filepath.Join(dir, "head")
				if err := WriteFile(path, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				restore := SetFault(func(step string) error {
					if strings.HasPrefix(step, when+op+" ") {
						return errBroken
					}
					return nil
				})
				err := ReplaceFile(path, []byte("new"), 0o600)
				restore()
				if !errors.Is(err, errBroken) {
					t.Fatalf("got %v; want the fault", err)
				}
				want := "old"
				if op == "sync-dir" || when+op == "after rename" {
					want = "new"
				}
				if got := content(t, path); got != want {
					t.Errorf("content is %q; want %q", got, want)
				}
				if got := names(t, dir); !slices.Equal(got, []string{"head"}) {
					t.Errorf("folder holds %v", got)
				}
			})
		}
	}
}

func TestFailedWriteCannotBeCommitted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "part")
	f, err := Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	restore := SetFault(func(string) error { return errBroken })
	_, _ = f.Write([]byte("lost"))
	restore()
	if err := f.Commit(); !errors.Is(err, errBroken) {
		t.Fatalf("Commit gave %v; want the write's error", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file exists: %v", err)
	}
}

func TestRenameOfFoldersAndRemoval(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a", "b"), filepath.Join(dir, "c")
	if err := MkdirAll(from, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(from, "x"), []byte("x"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := SyncTree(dir); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(from, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("renaming over a folder gave %v", err)
	}
	if got := content(t, filepath.Join(to, "x")); got != "x" {
		t.Fatalf("content is %q", got)
	}
	for range 2 { // the second time it is absent
		if err := RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := Remove(filepath.Join(dir, "absent")); err != nil {
			t.Fatal(err)
		}
	}
	if err := MkdirAll(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// The order of steps is the promise: content before name, name before report.
func TestOrderOfSteps(t *testing.T) {
	dir := t.TempDir()
	var steps []string
	restore := SetFault(func(step string) error {
		if !strings.HasPrefix(step, "after ") {
			steps = append(steps, step)
		}
		return nil
	})
	defer restore()
	if err := WriteFile(filepath.Join(dir, "n"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []string{"create n", "write n", "sync n", "close n", "rename n", "sync-dir " + filepath.Base(dir)}
	if !slices.Equal(steps, want) {
		t.Fatalf("steps %q; want %q", steps, want)
	}
}

func TestSweepRemovesOnlyPrivateNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".drop.0a0b0c0d.part", "kept.part", ".kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, ".folder.part", "inner"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); !slices.Equal(got, []string{".kept", "kept.part"}) {
		t.Fatalf("folder holds %v", got)
	}
}
