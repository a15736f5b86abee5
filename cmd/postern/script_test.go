package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/posternhealth/postern/agent"
	story "github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer/sftptest"
)

// TestMain lets the test binary be postern itself, so that scripts run the
// real main.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"postern": main})
}

// TestScripts runs testdata/script. A script stands in an empty folder; the
// commands below bring it a clinic, a recipient's server, and ways to break
// things. Each reads like the sentence in its comment.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	template := sync.OnceValues(func() (string, error) { return dir, newTemplate(dir) })
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		Condition:           func(name string) (bool, error) { return name == "sshd" && sftptest.HasSSHD(), nil },
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Values[reached{}] = new(chanBox)
			if os.Getenv("POSTERN_REQUIRE") == "all" {
				if !sftptest.HasSSHD() {
					return errors.New("peer sshd is not installed")
				}
				for _, peer := range []string{"bash", "age-keygen", "ssh-keygen", "jq", "zstd", "python3"} {
					if _, err := exec.LookPath(peer); err != nil {
						return fmt.Errorf("peer %s is not installed", peer)
					}
				}
			}
			root, err := filepath.Abs(filepath.Join("..", ".."))
			env.Setenv("ROOT", root)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"clinic":      func(ts *testscript.TestScript, _ bool, _ []string) { layClinic(ts, template) },
			"extract":     func(ts *testscript.TestScript, _ bool, args []string) { layExtract(ts, template, args) },
			"approve":     approveExchanges,
			"lift":        liftHold,
			"exits":       exits,
			"json":        jsonAnswer,
			"edit":        edit,
			"awaits":      awaits,
			"age-days":    ageDays,
			"sql":         runSQL,
			"sftp-server": sftpServer,
			"sshd":        startSSHD,
			"mute-server": muteServer,
			"interrupts":  interrupts,
			"flip":        flip,
			"swap":        swap,
			"doc":         runDocument,
			"part":        documentPart,
		},
	})
}

// newTemplate makes the synthetic clinic that scripts get a copy of. Its
// recipients are folders beside it; a script that wants servers asks for them.
func newTemplate(dir string) error {
	w, err := story.New(context.Background(), filepath.Join(dir, "world"), synthetic.Options{Patients: 60, Mess: true}, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	for _, r := range w.Recipients {
		if _, err := w.Receiver(r); err != nil { // writes the recipient's allowed signers
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	config := filepath.Join(w.Clinic, "postern.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	recipient := ""
	lines := regexp.MustCompile(`(?m)^  ([a-z-]+):$|^      sftp: .*$`)
	text = lines.ReplaceAllFunc(text, func(line []byte) []byte {
		if name := lines.FindSubmatch(line)[1]; name != nil {
			recipient = string(name)
			return line
		}
		return []byte("      folder: {path: ../recipients/" + recipient + "/inbox, receipts: ../recipients/" + recipient + "/receipts}")
	})
	if err := os.WriteFile(config, text, 0o600); err != nil {
		return err
	}
	return approveAll(config)
}

// approveAll lets the approvers whose keys lie beside the clinic sign what every
// exchange stands on now.
func approveAll(config string) error {
	a, err := agent.Open(context.Background(), config, hclog.NewNullLogger())
	if err != nil {
		return err
	}
	keys := filepath.Join(filepath.Dir(config), "..", "approvers")
	return errors.Join(story.Approve(context.Background(), a, keys, story.Exchanges...), a.Close())
}

// clinic: lays a synthetic clinic into ./clinic, its recipients into
// ./recipients.
func layClinic(ts *testscript.TestScript, template func() (string, error)) {
	dir, err := template()
	ts.Check(err)
	for _, old := range []string{"clinic", "recipients", "approvers", "archive-identity.txt", "review-identity.txt"} {
		ts.Check(os.RemoveAll(ts.MkAbs(old)))
	}
	ts.Check(os.CopyFS(ts.MkAbs("."), os.DirFS(filepath.Join(dir, "world"))))
	ts.Check(filepath.WalkDir(ts.MkAbs("clinic/keys"), func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}))
}

// extract FOLDER: lays FHIR files as a clinic's system exports them, marker
// last.
func layExtract(ts *testscript.TestScript, template func() (string, error), args []string) {
	dir, err := template()
	ts.Check(err)
	from := filepath.Join(dir, "world", "clinic", "extract", "fhir")
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(from)))
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "_COMPLETE"), nil, 0o600))
}
