package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/agent"
	story "github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/transfer/sftptest"
)

// exits CODE COMMAND…: the command ends with exactly this code; `stdout` and
// `stderr` then look at what it said.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code is %d, want %d", got, want)
	}
}

// json PATH WANT: the last answer is one JSON value, in which the value at
// PATH (names and list numbers with dots between; # is a list's length) prints
// as WANT. Without WANT it must only be there.
func jsonAnswer(ts *testscript.TestScript, neg bool, args []string) {
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	decoder.UseNumber()
	var at any
	ts.Check(decoder.Decode(&at))
	if decoder.More() {
		ts.Fatalf("the answer is more than one JSON value")
	}
	found := true
	for step := range strings.SplitSeq(args[0], ".") {
		if at, found = stepInto(at, step); !found {
			break
		}
	}
	switch {
	case neg && found:
		ts.Fatalf("%s is there", args[0])
	case neg:
	case !found:
		ts.Fatalf("%s is not in the answer", args[0])
	case len(args) > 1 && fmt.Sprint(at) != args[1]:
		ts.Fatalf("%s is %v, want %s", args[0], at, args[1])
	}
}

func stepInto(at any, step string) (any, bool) {
	switch v := at.(type) {
	case map[string]any:
		inner, ok := v[step]
		return inner, ok
	case []any:
		if step == "#" {
			return len(v), true
		}
		if n, err := strconv.Atoi(step); err == nil && n >= 0 && n < len(v) {
			return v[n], true
		}
	}
	return nil, false
}

// edit FILE OLD NEW: replaces what stands in the file exactly once.
func edit(ts *testscript.TestScript, _ bool, args []string) {
	text := ts.ReadFile(args[0])
	if n := strings.Count(text, args[1]); n != 1 {
		ts.Fatalf("%q stands %d times in %s", args[1], n, args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Replace(text, args[1], args[2], 1)), 0o600))
}

// approve EXCHANGE…: both approvers sign what the exchanges stand on now.
func approveExchanges(ts *testscript.TestScript, _ bool, args []string) {
	a, err := agent.Open(context.Background(), ts.MkAbs("clinic/postern.yaml"), hclog.NewNullLogger())
	ts.Check(err)
	ts.Check(errors.Join(story.Approve(context.Background(), a, ts.MkAbs("approvers"), args...), a.Close()))
}

// lift EXCHANGE: an approver signs on a computer of their own that the hold is
// lifted.
func liftHold(ts *testscript.TestScript, _ bool, args []string) {
	exits(ts, false, []string{"13", "postern", "release", args[0], "--out", "lift.txt", "--config", "clinic/postern.yaml"})
	exits(ts, false, []string{"0", "postern", "policy", "approve", "--statement", "lift.txt", "--key", "approvers/medical-director"})
	exits(ts, false, []string{"0", "postern", "release", args[0], "--signature", "lift.txt.sig", "--config", "clinic/postern.yaml"})
}

// awaits FILE: goes on when the file is there, which must be within a minute.
func awaits(ts *testscript.TestScript, _ bool, args []string) {
	look, late := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer look.Stop()
	for {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		select {
		case <-look.C:
		case <-late:
			ts.Fatalf("%s did not come", args[0])
		}
	}
}

// age-days FILE N: the file was last written N days ago.
func ageDays(ts *testscript.TestScript, _ bool, args []string) {
	days, err := strconv.Atoi(args[1])
	ts.Check(err)
	when := time.Now().AddDate(0, 0, -days)
	ts.Check(os.Chtimes(ts.MkAbs(args[0]), when, when))
}

// sql DATABASE STATEMENT: what somebody with the right to write could do.
func runSQL(ts *testscript.TestScript, _ bool, args []string) {
	db, err := sql.Open("sqlite", "file:"+ts.MkAbs(args[0]))
	ts.Check(err)
	defer db.Close()
	result, err := db.Exec(args[1])
	ts.Check(err)
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		ts.Fatalf("nothing was changed: %v", err)
	}
}

// flip FILE: one bit of the middle of the file changes.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	path := oneFile(ts, args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	text[len(text)/2] ^= 1
	ts.Check(os.WriteFile(path, text, 0o600))
}

// swap FILE FILE: the two exchange their contents.
func swap(ts *testscript.TestScript, _ bool, args []string) {
	a, b := oneFile(ts, args[0]), oneFile(ts, args[1])
	ts.Check(errors.Join(os.Rename(a, a+"~"), os.Rename(b, a), os.Rename(a+"~", b)))
}

func oneFile(ts *testscript.TestScript, pattern string) string {
	found, err := filepath.Glob(ts.MkAbs(pattern))
	ts.Check(err)
	if len(found) != 1 {
		ts.Fatalf("%s names %d files", pattern, len(found))
	}
	return found[0]
}

// sftp-server RECIPIENT: starts the recipient's server on its folder and pins
// its key in the configuration, which the approvers approve; `sftp-server RECIPIENT other-key` lets it show
// a key that is not the pinned one.
func sftpServer(ts *testscript.TestScript, _ bool, args []string) {
	login, _, _, _, err := ssh.ParseAuthorizedKey(loginKey(ts))
	ts.Check(err)
	server, err := sftptest.Start(sftptest.Options{Root: ts.MkAbs("recipients/" + args[0]), Key: login})
	ts.Check(err)
	ts.Defer(func() { _ = server.Close() })
	pinned := server.HostKey.PublicKey()
	if len(args) > 1 && args[1] == "other-key" {
		pinned = login
	}
	pointTo(ts, args[0], server.Addr(), pinned)
}

// sshd RECIPIENT: OpenSSH's own server serves the recipient's folder.
func startSSHD(ts *testscript.TestScript, _ bool, args []string) {
	login, _, _, _, err := ssh.ParseAuthorizedKey(loginKey(ts))
	ts.Check(err)
	dir := ts.MkAbs(".sshd-" + args[0])
	ts.Check(os.MkdirAll(dir, 0o700))
	server, err := sftptest.StartSSHD(dir, login)
	ts.Check(err)
	ts.Defer(func() { _ = server.Close() })
	pointTo(ts, args[0], server.Address, server.HostKey)
	edit(ts, false, []string{"clinic/postern.yaml", "user: clinic, key: file:keys/sftp-login, host_key: " + string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(server.HostKey))) + ", folder: inbox, receipts: receipts}",
		"user: " + server.User + ", key: file:keys/sftp-login, host_key: " + string(bytes.TrimSpace(ssh.MarshalAuthorizedKey(server.HostKey))) +
			", folder: " + ts.MkAbs("recipients/"+args[0]+"/inbox") + ", receipts: " + ts.MkAbs("recipients/"+args[0]+"/receipts") + "}"})
}

// loginKey gives the public line of the clinic's login key, made here when the
// clinic has none.
func loginKey(ts *testscript.TestScript) []byte {
	path := ts.MkAbs("clinic/keys/sftp-login")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text, _, err = sshsig.NewKey("login")
		ts.Check(errors.Join(err, os.WriteFile(path, text, 0o600)))
	}
	ts.Check(err)
	signer, err := sshsig.LoadSigner(text)
	ts.Check(err)
	return ssh.MarshalAuthorizedKey(signer.PublicKey())
}

// pointTo makes a server the recipient's destination in the configuration.
func pointTo(ts *testscript.TestScript, recipient, address string, key ssh.PublicKey) {
	host, port, err := net.SplitHostPort(address)
	ts.Check(err)
	text := ts.ReadFile("clinic/postern.yaml")
	at := regexp.MustCompile(`(?m)^      (folder: \{path: ../recipients/` + recipient + `/.*|sftp: .* # ` + recipient + `)$`)
	if len(at.FindAllString(text, -1)) != 1 {
		ts.Fatalf("the configuration has not one destination of %s", recipient)
	}
	line := fmt.Sprintf("      sftp: {host: %s, port: %s, user: clinic, key: file:keys/sftp-login, host_key: %s, folder: inbox, receipts: receipts} # %s",
		host, port, bytes.TrimSpace(ssh.MarshalAuthorizedKey(key)), recipient)
	ts.Check(os.WriteFile(ts.MkAbs("clinic/postern.yaml"), []byte(at.ReplaceAllLiteralString(text, line)), 0o600))
	for _, e := range regexp.MustCompile(`(?m)^  ([a-z-]+): +\{id: .*recipient: `+recipient+`,`).FindAllStringSubmatch(text, -1) {
		approveExchanges(ts, false, e[1:])
	}
}

// reached is told when somebody has connected to the mute server.
type reached struct{}

// mute-server RECIPIENT: a server that takes connections and says nothing.
func muteServer(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	knocks := make(chan struct{}, 16)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				close(knocks)
				return
			}
			ts.Defer(func() { _ = conn.Close() })
			knocks <- struct{}{}
		}
	}()
	ts.Defer(func() { _ = listener.Close() })
	ts.Value(reached{}).(*chanBox).ch = knocks
	key, _, _, _, err := ssh.ParseAuthorizedKey(loginKey(ts))
	ts.Check(err)
	pointTo(ts, args[0], listener.Addr().String(), key)
}

// chanBox carries the channel of the mute server between commands of a script.
type chanBox struct{ ch chan struct{} }

// interrupts ARGUMENTS…: starts postern with them, waits until it has reached
// the mute server, sees that a second postern is locked out, and interrupts
// the first, which must end with 130.
func interrupts(ts *testscript.TestScript, _ bool, args []string) {
	path := ""
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		if candidate := filepath.Join(dir, "postern"); path == "" {
			if _, err := os.Stat(candidate); err == nil {
				path = candidate
			}
		}
	}
	var said bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), &said
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ts.Value(reached{}).(*chanBox).ch:
	case err := <-ended:
		ts.Fatalf("it ended before it reached the server: %v\n%s", err, said.String())
	case <-time.After(30 * time.Second):
		ts.Fatalf("it never reached the server")
	}
	exits(ts, false, []string{"11", "postern", "drops", "deliver", "acme-scores", "--config", "clinic/postern.yaml"})
	if locked := ts.ReadFile("stderr"); !strings.Contains(locked, "is being run by process") {
		ts.Fatalf("the second postern does not say who holds the lock: %s", locked)
	}
	ts.Check(cmd.Process.Signal(syscall.SIGINT))
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		_ = cmd.Process.Kill()
		ts.Fatalf("it did not end within 30 seconds of the signal")
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		ts.Fatalf("exit code is %d, want 130\n%s", code, said.String())
	}
	if !strings.Contains(said.String(), "was not delivered") {
		ts.Fatalf("it does not say what stands: %s", said.String())
	}
}
