package build

import (
	"os"
	"testing"
)

// tempDir is where the properties spill: one folder for all of their rounds.
var tempDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "postern-agent-")
	if err != nil {
		panic(err)
	}
	tempDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
