package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// shellBlocks gives the ```sh blocks of a document.
var shellBlocks = regexp.MustCompile("(?ms)^ *```sh\n(.*?)^ *```$")

// doc FILE: runs the document's ```sh blocks, one after the other, in the
// script's folder; every line must end with 0. What a clone runs as
// `go run ./cmd/postern` is the postern of this test.
func runDocument(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join(ts.Getenv("ROOT"), filepath.FromSlash(args[0])))
	ts.Check(err)
	blocks := shellBlocks.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		ts.Fatalf("%s has no command to run", args[0])
	}
	var script strings.Builder
	for _, b := range blocks {
		script.WriteString(strings.ReplaceAll(b[1], "go run ./cmd/postern", "postern"))
	}
	ts.Check(ts.Exec("bash", "-euo", "pipefail", "-c", script.String()))
}

// part NAME DOCUMENT FILE: writes the document's block that is called NAME.
func documentPart(ts *testscript.TestScript, _ bool, args []string) {
	text, err := os.ReadFile(filepath.Join(ts.Getenv("ROOT"), filepath.FromSlash(args[1])))
	ts.Check(err)
	block := regexp.MustCompile("(?ms)^```(?:sh|bash|yaml) " + regexp.QuoteMeta(args[0]) + "\n(.*?)^```$").FindSubmatch(text)
	if block == nil {
		ts.Fatalf("%s has no block %s", args[1], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), block[1], 0o600))
}

// The list of commands names each word of a group.
func TestGroupsNameTheirWords(t *testing.T) {
	for group, list := range map[string][]command{"consent": consentCommands, "keys": keysCommands, "policy": policyCommands,
		"quarantine": quarantineCommands, "drops": dropsCommands, "subject": subjectCommands} {
		c, err := find(commands, group)
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, c := range list {
			words = append(words, strings.TrimPrefix(c.name, group+" "))
		}
		if told := strings.Split(c.args, " | "); !slices.Equal(slices.Sorted(slices.Values(told)), slices.Sorted(slices.Values(words))) {
			t.Errorf("%s: the list of commands says %v, there are %v", group, told, words)
		}
	}
}
