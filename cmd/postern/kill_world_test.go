package main_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer/sftptest"
)

const (
	asOf    = synthetic.AsOf
	longest = 2 * time.Minute // for any one command; only a hang takes it
)

// flow is an exchange with its recipient's folders.
type flow struct {
	exchange, id string
	recipient    *demo.Recipient
}

func (f flow) inbox() string    { return f.recipient.Inbox() }
func (f flow) received() string { return filepath.Join(f.recipient.Dir, "received") }

// killing is a clinic whose agent is killed, and two recipients.
type killing struct {
	t         *testing.T
	random    *rand.Rand
	bin       string
	clinic    string
	ledgerKey string
	flows     []flow
	usual     map[string]time.Duration
	where     string          // for messages: the round, and what was killed in it
	minute    int             // of the last occurrence
	wasThere  map[string]bool // names before the command was started

	needles   *needles
	manifests map[string]string    // drop's name → SHA-256 of the manifest seen at a recipient
	whole     map[string]fileStamp // files found whole; they may not change any more
	searched  map[string]fileStamp // files of the state that were searched
	landed    map[string]int
}

func newKilling(t *testing.T, random *rand.Rand) *killing {
	dir := t.TempDir()
	k := &killing{t: t, random: random, bin: filepath.Join(dir, "postern"), usual: map[string]time.Duration{},
		manifests: map[string]string{}, whole: map[string]fileStamp{}, searched: map[string]fileStamp{}, landed: map[string]int{}}
	build := exec.Command("go", "build", "-o", k.bin, ".")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, text)
	}
	w, err := demo.New(t.Context(), filepath.Join(dir, "world"), synthetic.Options{Patients: 60, Mess: true}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	k.clinic = w.Clinic
	for _, e := range []struct{ exchange, id, recipient string }{
		{"acme-scores", "x7", synthetic.HealthPlan}, {"hie-treatment", "t2", synthetic.Exchange},
	} {
		f := flow{e.exchange, e.id, w.Recipient(e.recipient)}
		if _, err := w.Receiver(f.recipient); err != nil { // writes allowed_signers
			t.Fatal(err)
		}
		k.flows = append(k.flows, f)
	}
	keys, err := w.Agent.PublicKeys(context.Background())
	if err == nil {
		err = w.Agent.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	k.ledgerKey, w.Agent = keys.CheckpointKey, nil
	t.Cleanup(func() { _ = w.Close() })
	k.useSSHD(k.flows[0].recipient)
	k.needles = k.plant()
	return k
}

// useSSHD puts OpenSSH's sshd in the place of a recipient's embedded server.
func (k *killing) useSSHD(r *demo.Recipient) {
	if !sftptest.HasSSHD() {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			k.t.Fatal("peer sshd is missing")
		}
		k.t.Log("peer sshd is missing; the embedded server takes its place")
		return
	}
	login, err := os.ReadFile(filepath.Join(k.clinic, "keys", "sftp-login"))
	k.ok(err)
	signer, err := sshsig.LoadSigner(login)
	k.ok(err)
	server, err := sftptest.StartSSHD(k.t.TempDir(), signer.PublicKey())
	k.ok(err)
	k.t.Cleanup(func() { _ = server.Close() })
	_, port, err := net.SplitHostPort(server.Address)
	k.ok(err)
	path := filepath.Join(k.clinic, "postern.yaml")
	text, err := os.ReadFile(path)
	k.ok(err)
	old := regexp.MustCompile(`sftp: \{host: 127\.0\.0\.1, port: ` + r.Port + `, .*\}`)
	if len(old.FindAll(text, -1)) != 1 {
		k.t.Fatal("the configuration does not name the recipient's server once")
	}
	text = old.ReplaceAll(text, fmt.Appendf(nil, "sftp: {host: 127.0.0.1, port: %s, user: %s, key: file:keys/sftp-login, host_key: %s, folder: %s, receipts: %s}\n      max_rows: 40",
		port, server.User, bytes.TrimSpace(ssh.MarshalAuthorizedKey(server.HostKey)), r.Inbox(), filepath.Join(r.Dir, "receipts")))
	k.ok(os.WriteFile(path, text, 0o600))
	a, err := agent.Open(k.t.Context(), path, hclog.NewNullLogger())
	k.ok(err)
	k.ok(errors.Join(demo.Approve(k.t.Context(), a, filepath.Join(k.clinic, "..", "approvers"), demo.Exchanges...), a.Close()))
}

func (k *killing) ok(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("%s: %v", k.where, err)
	}
}

// wait looks every millisecond until done is true.
func (k *killing) wait(what string, done func() bool) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), longest)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			k.t.Fatalf("%s: waited in vain: %s", k.where, what)
		case <-ticker.C:
		}
	}
}

// output is what a command says, readable while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) Bytes() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Clone(o.text.Bytes())
}

// process is a running command of the binary.
type process struct {
	*exec.Cmd
	out   output
	ended chan struct{}
	err   error
}

func (k *killing) start(args ...string) *process {
	k.t.Helper()
	if args[0] != "receive" {
		args = append(args, "--config", filepath.Join(k.clinic, "postern.yaml"))
	}
	p := &process{Cmd: exec.Command(k.bin, args...), ended: make(chan struct{})}
	p.Stdout, p.Stderr = &p.out, &p.out
	k.ok(p.Start())
	go func() {
		p.err = p.Wait()
		close(p.ended)
	}()
	return p
}

// must runs a command to its good end.
func (k *killing) must(args ...string) {
	k.t.Helper()
	k.endsWell(k.start(args...))
}

// look receives while a drop may lie half in the inbox.
func (k *killing) look(f flow) {
	k.t.Helper()
	p := k.start(k.receive(f)...)
	select {
	case <-p.ended:
	case <-time.After(longest):
		k.t.Fatalf("%s: %v hangs", k.where, p.Args)
	}
	if code := p.ProcessState.ExitCode(); code != 0 && code != 3 {
		k.t.Fatalf("%s: %v ends with %d: %s", k.where, p.Args, code, p.out.Bytes())
	}
}

func (k *killing) endsWell(p *process) {
	k.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(longest):
		_ = p.Process.Kill()
		<-p.ended
		k.t.Fatalf("%s: %v hangs: %s", k.where, p.Args, p.out.Bytes())
	}
	if p.err != nil {
		k.t.Fatalf("%s: then %v: %v: %s", k.where, p.Args, p.err, p.out.Bytes())
	}
	k.searchText("what "+p.Args[1]+" says", p.out.Bytes())
}

// kill starts a command and kills it at a random instant of the moment, or where
// the moment aims at.
func (k *killing) kill(m moment, f flow, usual time.Duration, args ...string) {
	k.t.Helper()
	if m.within > 0 {
		usual = m.within
	}
	delay := time.Duration(k.random.Int64N(int64(usual)))
	before := k.number(`SELECT coalesce(max(number), 0) FROM delivery WHERE exchange = ?`, f.exchange)
	k.wasThere = k.names(f)
	p := k.start(args...)
	k.waitFor(m, f, p)
	if m.aim != "" {
		k.holdAt(m.aim, f, before, p)
		delay = 0
	}
	select {
	case <-p.ended:
	case <-time.After(delay):
	}
	_ = p.Process.Kill()
	<-p.ended
	k.searchText("what "+args[0]+" says", p.out.Bytes())
	k.landed[k.landing(args[0], f, before, p)]++
}

// holdAt lets a run go on step by step, looking at what it has left while it
// stands still, until that is where the kill must find the clinic, and leaves it
// standing there. It may have passed that point, and then it ends.
func (k *killing) holdAt(where string, f flow, before int64, p *process) {
	db := k.live("&mode=ro") // it leaves the write-ahead log as the kill does
	defer db.Close()
	step, limit := time.NewTicker(300*time.Microsecond), time.After(longest)
	defer step.Stop()
	for p.Process.Signal(syscall.SIGSTOP) == nil && k.found(db, f, before) != where {
		_ = p.Process.Signal(syscall.SIGCONT)
		select {
		case <-limit:
			return
		case <-step.C:
		}
	}
}

// waitFor ends when the moment has come, or the process is over without it.
func (k *killing) waitFor(m moment, f flow, p *process) {
	if m.seen == nil {
		return
	}
	ticker := time.NewTicker(300 * time.Microsecond)
	defer ticker.Stop()
	limit := time.After(longest)
	for !m.seen(k, f) {
		select {
		case <-p.ended:
			return
		case <-limit:
			return
		case <-ticker.C:
		}
	}
}

func (k *killing) receive(f flow) []string {
	keys := filepath.Join(f.recipient.Dir, "keys")
	return []string{"receive", "--name", f.recipient.Name, "--signers", filepath.Join(keys, "allowed_signers"),
		"--identity", filepath.Join(keys, "identity.txt"), "--receipt-key", filepath.Join(keys, "receipt-key"),
		"--out", f.received(), "--receipts", filepath.Join(f.recipient.Dir, "receipts"), "--ledger-key", k.ledgerKey, f.inbox()}
}

// dueOccurrence writes down an occurrence as an agent does that is killed
// before it could run it.
func (k *killing) dueOccurrence(f flow) string {
	k.minute++
	civil := fmt.Sprintf("%sT%02d:%02d", asOf, k.minute/60%24, k.minute%60)
	db := k.live("")
	defer db.Close()
	_, err := db.Exec(`INSERT INTO occurrence (exchange, civil, state) VALUES (?, ?, 'due')`, f.exchange, civil)
	k.ok(err)
	return civil
}

// serveUntilSettled runs the daemon until nothing is due and nothing waits,
// then ends it as a service manager does.
func (k *killing) serveUntilSettled() {
	p := k.start("serve")
	db := k.live("")
	k.wait("serve works off what is due", func() bool {
		select {
		case <-p.ended:
			return true
		default:
		}
		var open int
		err := db.QueryRow(`SELECT (SELECT count(*) FROM occurrence WHERE state = 'due') + (SELECT count(*) FROM delivery WHERE state IN ('sealed', 'uploading'))`).Scan(&open)
		return err == nil && open == 0 && bytes.Contains(p.out.Bytes(), []byte("serving"))
	})
	k.ok(db.Close())
	if err := p.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		k.ok(err)
	}
	k.endsWell(p)
}

// live opens the state beside the agent.
func (k *killing) live(how string) *sql.DB {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(k.clinic, "state", "postern.db")+"?_pragma=busy_timeout(30000)"+how)
	k.ok(err)
	db.SetMaxOpenConns(1)
	return db
}
