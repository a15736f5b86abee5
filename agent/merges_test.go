package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMergeSubjects(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "merges.csv")
	clock := func() time.Time { return time.Date(2026, 7, 5, 12, 0, 0, 0, time.UTC) }
	a := &Agent{Config: &Config{Dir: dir, Zone: time.UTC, Inputs: map[string]InputConfig{}}, Now: clock}
	class := func(err error) Class {
		t.Helper()
		f, ok := err.(*Failure)
		if !ok {
			t.Fatalf("%v is no failure", err)
		}
		return f.Class
	}
	if _, err := a.MergeSubjects("", Merge{From: "a", Into: "b"}); class(err) != Configuration {
		t.Error(err)
	}
	a.Config.Inputs["mpi"] = InputConfig{Kind: MergesInput, File: "merges.csv"}
	for _, same := range []Merge{{From: "a", Into: "a"}, {From: "a"}, {Into: "a"}} {
		if _, err := a.MergeSubjects("", same); class(err) != Usage {
			t.Error(err)
		}
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if written, err := a.MergeSubjects("", Merge{From: "old", Into: "new, inc."}); err != nil || written != path {
		t.Fatal(written, err)
	}
	if got := read(); got != "from,into,status,ended_on,ended_by\nold,\"new, inc.\",,,\n" {
		t.Errorf("a new list: %q", got)
	}

	if err := os.WriteFile(path, []byte("\ufeffinto,from,ended_on,ended_by,found_by\nb,a,,,desk"), 0o600); err != nil {
		t.Fatal(err)
	}
	long := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := os.Chtimes(path, long, long); err != nil {
		t.Fatal(err)
	}
	if _, err := a.MergeSubjects("mpi", Merge{From: "a", Into: "b", EndedBy: "R. Vance"}); err != nil {
		t.Fatal(err)
	}
	if got := read(); !strings.HasSuffix(got, "desk\nb,a,2026-07-05,R. Vance,\n") {
		t.Errorf("a list with columns of its own: %q", got)
	}
	if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(long) {
		t.Errorf("a stale list became fresh: %v", err)
	}
	before := read()
	if _, err := a.MergeSubjects("", Merge{From: "a", Into: "c", Unresolved: true}); class(err) != StaleInput || read() != before {
		t.Errorf("a list without the column is written to: %v", err)
	}
	a.Config.Inputs["desk"] = InputConfig{Kind: MergesInput, File: "desk.csv"}
	if _, err := a.MergeSubjects("", Merge{From: "a", Into: "c"}); class(err) != Configuration || !strings.Contains(err.Error(), "desk, mpi") {
		t.Error(err)
	}
}
