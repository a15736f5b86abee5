package agent

import (
	"os"
	"testing"
)

func runTests(m *testing.M) {
	dir, err := os.MkdirTemp("", "postern-agent-")
	if err != nil {
		panic(err)
	}
	tempDir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
