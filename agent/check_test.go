package agent_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
)

// Of what init writes, check names every place that a search for the mark
// finds, in both files at once, and nothing else.
func TestDraftIsCheckedAsAWhole(t *testing.T) {
	dir := t.TempDir()
	if _, err := agent.Init(dir); err != nil {
		t.Fatal(err)
	}
	_, err := agent.CheckFile(filepath.Join(dir, "postern.yaml"))
	var failure *agent.Failure
	if !errors.As(err, &failure) || failure.Class != agent.Configuration {
		t.Fatalf("%v", err)
	}
	places := 0
	for _, name := range []string{"postern.yaml", filepath.Join("policies", "scores.yaml")} {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			at := strings.Index(line, "FILL IN")
			if at < 0 {
				continue
			}
			places++
			if at > 0 && line[at-1] == '"' {
				at--
			}
			if place := fmt.Sprintf("\n%s:%d:%d: ", path, i+1, at+1); !strings.Contains(failure.Error(), place) {
				t.Errorf("%q is not named", place)
			}
		}
	}
	if lines := strings.Count(failure.Error(), "\n"); lines != places || places == 0 {
		t.Errorf("%d places, %d lines:\n%v", places, lines, failure)
	}
	if _, err := os.Stat(filepath.Join(dir, "state")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("checking has opened the state: %v", err)
	}
}
