package transfer

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/transfer/sftptest"
)

// mailbox starts the embedded server and gives an account on it.
func mailbox(t testing.TB, o sftptest.Options) (*sftptest.Server, SFTPConfig) {
	t.Helper()
	client := newParty(t, "clinic")
	o.Root, o.Key = t.TempDir(), client.signer.PublicKey()
	must(t, os.MkdirAll(filepath.Join(o.Root, "inbox"), 0o755))
	must(t, os.MkdirAll(filepath.Join(o.Root, "receipts"), 0o755))
	server, err := sftptest.Start(o)
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	host, err := ParseHostKey(server.HostKeyLine())
	must(t, err)
	return server, SFTPConfig{Address: server.Addr(), User: "clinic", HostKey: host, Signer: client.signer, Folder: "/inbox", Receipts: "/receipts"}
}

func dial(t testing.TB, c SFTPConfig) *SFTP {
	t.Helper()
	d, err := DialSFTP(context.Background(), c)
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func quiet(Event) {}

// someDrop gives a sealed drop's deliverable files.
func someDrop(t testing.TB) (*world, *Sealed, []File) {
	t.Helper()
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	sealed := seal(t, spec)
	return w, sealed, Deliverables(spec.Dir, sealed.Files)
}

// removeLeft is the recipient's removing of what a probe says that it left.
func removeLeft(t testing.TB, inbox string, evidence Evidence) {
	t.Helper()
	for _, name := range evidence.Plan.Left {
		must(t, os.Remove(filepath.Join(inbox, name)))
	}
}

// sameFiles says whether the folder holds the drop and nothing else.
func sameFiles(t testing.TB, dir string, files []File) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	if len(entries) != len(files) {
		t.Errorf("%d names are there, want %d: %v", len(entries), len(files), entries)
	}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name))
		must(t, err)
		if sumOf(text) != f.SHA256 {
			t.Errorf("%s is not what was sealed", f.Name)
		}
	}
}

// destinations runs a story on each kind of destination.
func destinations(t *testing.T, story func(t *testing.T, d Destination, inbox, receipts string, state State)) {
	t.Run("folder", func(t *testing.T) {
		inbox, receipts := t.TempDir(), t.TempDir()
		d, err := NewFolder(inbox, receipts)
		must(t, err)
		story(t, d, inbox, receipts, HashVerified)
	})
	t.Run("embedded server", func(t *testing.T) {
		server, c := mailbox(t, sftptest.Options{})
		story(t, dial(t, c), filepath.Join(server.Root, "inbox"), filepath.Join(server.Root, "receipts"), HashVerified)
	})
	t.Run("sshd", func(t *testing.T) {
		c, root := startSSHD(t)
		story(t, dial(t, c), filepath.Join(root, "inbox"), filepath.Join(root, "receipts"), HashVerified)
	})
}

// The whole way: deliver, deliver again, receive, answer, reconcile.
func TestDeliverAndReceipt(t *testing.T) {
	destinations(t, func(t *testing.T, d Destination, inbox, receipts string, state State) {
		w, sealed, files := someDrop(t)
		left := filepath.Join(inbox, Rules{}.temporary(files[0].Name+".0123456789ab"))
		must(t, os.WriteFile(left, []byte("half"), 0o600))
		var events []string
		evidence, err := d.Deliver(context.Background(), files, func(e Event) { events = append(events, e.File+" "+e.State.String()) })
		must(t, err)
		if evidence.State != state || len(evidence.Files) != len(files) || events[len(events)-1] != "cv.x7.000001.done "+state.String() {
			t.Errorf("%v %v", evidence, events)
		}
		if events[0] != files[0].Name+" uploading" {
			t.Errorf("the first event is %s", events[0])
		}
		sameFiles(t, inbox, files)

		evidence, err = d.Deliver(context.Background(), files, quiet)
		must(t, err)
		for _, f := range evidence.Files {
			if !f.Already || f.State != HashVerified {
				t.Errorf("%s was not recognized", f.File)
			}
		}
		if _, err := d.Withdraw(context.Background(), files); !errors.Is(err, ErrDestination) {
			t.Errorf("a whole drop was withdrawn: %v", err)
		}

		r := w.receiver(t)
		r.Receipts = receipts
		if got := receiveOne(t, r, inbox); got.Status != Accepted {
			t.Fatal(got.Fault)
		}
		must(t, os.WriteFile(filepath.Join(receipts, "cv.x7.000002.receipt.json"), []byte("not signed yet"), 0o644))
		must(t, os.WriteFile(filepath.Join(receipts, "README.txt"), []byte("hello"), 0o644))
		here := t.TempDir()
		names, err := d.Receipts(context.Background(), here, func(string) bool { return false })
		must(t, err)
		if fmt.Sprint(names) != "[cv.x7.000001.receipt.json]" {
			t.Fatalf("receipts %v", names)
		}
		if c := compareReceipt(t, w, sealed, filepath.Join(here, names[0])); c.Outcome != Acknowledged {
			t.Errorf("%s %v", c.Outcome, c.Differences)
		}
		if names, err := d.Receipts(context.Background(), here, func(string) bool { return true }); err != nil || len(names) != 0 {
			t.Errorf("known receipts came again: %v %v", names, err)
		}
	})
}

func TestDeliverRefuses(t *testing.T) {
	destinations(t, func(t *testing.T, d Destination, inbox, _ string, _ State) {
		_, _, files := someDrop(t)
		must(t, os.WriteFile(filepath.Join(inbox, files[1].Name), []byte("another's"), 0o644))
		if _, err := d.Deliver(context.Background(), files, quiet); !errors.Is(err, fs.ErrExist) || !errors.Is(err, ErrDestination) {
			t.Errorf("a taken name: %v", err)
		}
		must(t, os.Remove(filepath.Join(inbox, files[1].Name)))
		flip(t, files[2].Path, 9)
		if _, err := d.Deliver(context.Background(), files, quiet); !errors.Is(err, ErrSealed) {
			t.Errorf("an altered file: %v", err)
		}
		removed, err := d.Withdraw(context.Background(), files)
		must(t, err)
		entries, err := os.ReadDir(inbox)
		must(t, err)
		if len(entries) != 0 || len(removed) != 2 {
			t.Errorf("removed %v, left %v", removed, entries)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := d.Deliver(ended, files, quiet); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end of the context: %v", err)
		}
	})
}

// bigDrop has one part of incompressible rows.
func bigDrop(t testing.TB, size int) []File {
	t.Helper()
	dir := t.TempDir()
	text := make([]byte, size)
	state := uint64(1)
	for i := range text {
		state = state*6364136223846793005 + 1442695040888963407
		text[i] = byte(state >> 56)
	}
	var files []File
	for _, f := range []struct {
		name string
		text []byte
	}{{"cv.x7.000001.001.zst.age", text}, {"cv.x7.000001.done", []byte("done\n")}} {
		path := filepath.Join(dir, f.name)
		must(t, os.WriteFile(path, f.text, 0o600))
		files = append(files, File{Name: f.name, Path: path, SHA256: sumOf(f.text), Size: int64(len(f.text))})
	}
	return files
}

func TestCutConnectionThenWholeFile(t *testing.T) {
	server, c := mailbox(t, sftptest.Options{CutAfter: 1 << 20})
	files := bigDrop(t, 3<<20)
	inbox := filepath.Join(server.Root, "inbox")
	if _, err := dial(t, c).Deliver(context.Background(), files, quiet); !errors.Is(err, ErrDestination) {
		t.Fatalf("the cut went unnoticed: %v", err)
	}
	entries, err := os.ReadDir(inbox)
	must(t, err)
	if len(entries) != 1 || !strings.HasPrefix(entries[0].Name(), ".") {
		t.Errorf("after the cut: %v", entries)
	}
	_, err = dial(t, c).Deliver(context.Background(), files, quiet)
	must(t, err)
	sameFiles(t, inbox, files)
}

// pkg/sftp up to v1.13.11 lost the error of the last short packet: a full
// server looked like success. Small files are exactly markers and manifests.
func TestFullServerIsNoticed(t *testing.T) {
	for _, size := range []int{2, 1000, 40_000, 1 << 20} {
		server, c := mailbox(t, sftptest.Options{Quota: int64(size) - 1})
		files := bigDrop(t, size)
		if _, err := dial(t, c).Deliver(context.Background(), files, quiet); !errors.Is(err, ErrDestination) {
			t.Errorf("%d bytes on a full server: %v", size, err)
		}
		sameFiles(t, filepath.Join(server.Root, "inbox"), nil)
	}
}

func TestServersThatRefuse(t *testing.T) {
	for _, c := range []struct {
		name   string
		refuse []string
		state  State
		fails  bool
	}{
		{"stat", []string{"Stat", "Lstat"}, HashVerified, false},
		{"stat and read", []string{"Stat", "Lstat", "Get"}, SizeVerified, false},
		{"stat, list and read", []string{"Stat", "Lstat", "List", "Get"}, Stored, false},
		{"list", []string{"List"}, HashVerified, false},
		{"read", []string{"Get"}, SizeVerified, false},
		{"all but put and rename", []string{"Stat", "Lstat", "List", "Get", "Remove", "Setstat"}, Stored, false},
		{"rename", []string{"Rename", "PosixRename"}, HashVerified, false},
		{"put", []string{"Put"}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, config := mailbox(t, sftptest.Options{Refuse: c.refuse})
			_, _, files := someDrop(t)
			evidence, err := dial(t, config).Deliver(context.Background(), files, quiet)
			if (err != nil) != c.fails || (c.fails && !errors.Is(err, ErrDestination)) {
				t.Fatalf("error %v", err)
			}
			if c.fails {
				return
			}
			if evidence.State != c.state {
				t.Errorf("evidence %+v", evidence)
			}
			removeLeft(t, filepath.Join(server.Root, "inbox"), evidence)
			sameFiles(t, filepath.Join(server.Root, "inbox"), files)
		})
	}
}

// pkg/sftp's WriteTo takes a short answer for the end of the file.
func TestShortReads(t *testing.T) {
	server, c := mailbox(t, sftptest.Options{ShortReads: true})
	text := []byte(`"` + strings.Repeat("receipt ", 1000) + `"`)
	must(t, os.WriteFile(filepath.Join(server.Root, "receipts", "cv.x7.000001.receipt.json"), text, 0o644))
	must(t, os.WriteFile(filepath.Join(server.Root, "receipts", "cv.x7.000001.receipt.json.sig"), append(text, endOfSignature...), 0o644))
	dir := t.TempDir()
	names, err := dial(t, c).Receipts(context.Background(), dir, func(string) bool { return false })
	if err != nil {
		return // noticed: the delivery is repeated
	}
	got, err := os.ReadFile(filepath.Join(dir, names[0]))
	must(t, err)
	if !bytes.Equal(got, text) {
		t.Errorf("%d of %d bytes without an error", len(got), len(text))
	}
}

func TestHostKeyAndLogin(t *testing.T) {
	_, good := mailbox(t, sftptest.Options{})
	try := func(edit func(*SFTPConfig)) error {
		c := good
		edit(&c)
		d, err := DialSFTP(context.Background(), c)
		if err == nil {
			_ = d.Close()
		}
		return err
	}
	other := newParty(t, "other")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	rsaSigner, err := ssh.NewSignerFromKey(rsaKey)
	must(t, err)
	for name, c := range map[string]struct {
		edit func(*SFTPConfig)
		want error
	}{
		"other key":  {func(c *SFTPConfig) { c.HostKey = other.signer.PublicKey() }, ErrHostKey},
		"other type": {func(c *SFTPConfig) { c.HostKey = rsaSigner.PublicKey() }, ErrHostKey},
		"none":       {func(c *SFTPConfig) { c.HostKey = nil }, ErrHostKey},
		"login":      {func(c *SFTPConfig) { c.Signer = other.signer }, ErrAuth},
		"user":       {func(c *SFTPConfig) { c.User = "root" }, ErrAuth},
		"address":    {func(c *SFTPConfig) { c.Address = "127.0.0.1:1" }, ErrDestination},
	} {
		err := try(c.edit)
		var typed *DestinationError
		if !errors.Is(err, c.want) || !errors.As(err, &typed) || typed.Remedy == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := fmt.Sprint(hostKeyAlgorithms(rsaSigner.PublicKey())); strings.Contains(got, "ssh-rsa") {
		t.Errorf("SHA-1 is offered: %s", got)
	}
	for _, line := range []string{"", "ssh-ed25519", "@revoked " + "x", "acme ssh-ed25519 AAAA"} {
		if _, err := ParseHostKey(line); err == nil {
			t.Errorf("%q pins a server", line)
		}
	}
}

// gate is a TCP proxy that can stop passing bytes, without closing.
type gate struct {
	address string
	shut    atomic.Bool
}

func newGate(t *testing.T, to string) *gate {
	g := &gate{}
	g.address = relay(t, to, func(in, out net.Conn) {
		go g.pass(in, out)
		go g.pass(out, in)
	})
	return g
}

func (g *gate) pass(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if g.shut.Load() {
			continue // swallowed: the line is dead, though open
		}
		_, _ = to.Write(buffer[:n])
	}
}

// A line that goes dead without closing ends the delivery, and so does a
// server that accepts and never speaks.
func TestDeadLine(t *testing.T) {
	server, c := mailbox(t, sftptest.Options{})
	g := newGate(t, server.Addr())
	c.Address = g.address
	quick := usualPace
	quick.dial, quick.handshake, quick.keepalive, quick.silence = time.Second, time.Second, 20*time.Millisecond, 200*time.Millisecond
	d, err := dialSFTP(context.Background(), c, quick)
	must(t, err)
	defer d.Close()
	files := bigDrop(t, 1<<20)
	_, err = d.Deliver(context.Background(), files, func(Event) { g.shut.Store(true) })
	if !errors.Is(err, ErrDestination) {
		t.Errorf("on a dead line: %v", err)
	}

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	c.Address = silent.Addr().String()
	quick.handshake = 50 * time.Millisecond
	if _, err := dialSFTP(context.Background(), c, quick); !errors.Is(err, ErrDestination) {
		t.Errorf("with a silent server: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := DialSFTP(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while dialling: %v", err)
	}
}

// A living but idle server is kept.
func TestKeepalive(t *testing.T) {
	_, c := mailbox(t, sftptest.Options{})
	var beats sync.WaitGroup
	beats.Add(3)
	quick := usualPace
	quick.keepalive, quick.silence = 10*time.Millisecond, 5*time.Second
	d, err := dialSFTP(context.Background(), c, quick)
	must(t, err)
	defer d.Close()
	for range 3 {
		go func() {
			defer beats.Done()
			_, _, _ = d.conn.SendRequest("keepalive@openssh.com", true, nil)
		}()
	}
	beats.Wait()
	_, _, files := someDrop(t)
	_, err = d.Deliver(context.Background(), files, quiet)
	must(t, err)
}

// startSSHD runs Debian's sshd as the present user; lines come first in its
// configuration, where the first of two wins. SHLVL keeps bash from reading the
// account's own .bashrc, as it does when sshd starts it.
func startSSHD(t testing.TB, lines ...string) (SFTPConfig, string) {
	t.Helper()
	program := "/usr/sbin/sshd"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer sshd is missing")
		}
		t.Skip("peer sshd is missing")
	}
	dir := t.TempDir()
	host, client := newParty(t, "host"), newParty(t, "client")
	for _, folder := range []string{"inbox", "receipts"} {
		must(t, os.Mkdir(filepath.Join(dir, folder), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "host_key"), host.pem, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "client_key"), client.pem, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "authorized"), ssh.MarshalAuthorizedKey(client.signer.PublicKey()), 0o600))
	me, err := user.Current()
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	port := l.Addr().(*net.TCPAddr).Port
	must(t, l.Close())
	config := strings.Join(lines, "\n") + fmt.Sprintf("\nPort %d\nListenAddress 127.0.0.1\nHostKey %s/host_key\nAuthorizedKeysFile %s/authorized\nPidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nSetEnv SHLVL=2\n", port, dir, dir)
	if !strings.Contains(config, "Subsystem") {
		config += "Subsystem sftp internal-sftp\n"
	}
	must(t, os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600))
	if me.Uid == "0" {
		_ = os.MkdirAll("/run/sshd", 0o755) // privilege separation of a root sshd
	}
	command := exec.Command(program, "-D", "-e", "-f", filepath.Join(dir, "config"))
	log, err := command.StderrPipe()
	must(t, err)
	must(t, command.Start())
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	waitForLine(t, log, "listening on")
	return SFTPConfig{Address: "127.0.0.1:" + strconv.Itoa(port), User: me.Username, HostKey: host.signer.PublicKey(),
		Signer: client.signer, Folder: filepath.Join(dir, "inbox"), Receipts: filepath.Join(dir, "receipts")}, dir
}

// waitForLine reads the log until the words come, and drains it from then on.
func waitForLine(t testing.TB, log io.Reader, words string) {
	t.Helper()
	var seen []byte
	buffer := make([]byte, 4096)
	for !bytes.Contains(seen, []byte(words)) {
		n, err := log.Read(buffer)
		seen = append(seen, buffer[:n]...)
		if err != nil {
			t.Fatalf("sshd ended: %s", seen)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
}

func TestPacketSizeFollowsTheServer(t *testing.T) {
	c, _ := startSSHD(t)
	if d := dial(t, c); d.use.PacketSize != largestPacket {
		t.Errorf("with sshd: %+v", d.use)
	}
	_, c = mailbox(t, sftptest.Options{})
	if d := dial(t, c); d.use.PacketSize != usualPacket {
		t.Errorf("with the embedded server: %+v", d.use)
	}
}

// sftpServer is a subsystem that does something before each session.
func sftpServer(t *testing.T, before string) string {
	t.Helper()
	program := "/usr/lib/openssh/sftp-server"
	if _, err := os.Stat(program); err != nil {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer sftp-server is missing")
		}
		t.Skip("peer sftp-server is missing")
	}
	return "Subsystem sftp " + before + "; exec " + program // run by the account's shell
}

// A session that dies in the middle of a large file fails the delivery, and
// nothing has the file's name.
func TestLargeFileBreaksOff(t *testing.T) {
	c, root := startSSHD(t, sftpServer(t, "ulimit -f 8192")) // blocks of 512 bytes: 4 MiB
	files := bigDrop(t, largeFile)
	if _, err := dial(t, c).Deliver(context.Background(), files, quiet); !errors.Is(err, ErrDestination) {
		t.Fatalf("gave %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "inbox", files[0].Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("its name: %v", err)
	}
}

// Through several sessions, or through one where no more are granted, a large
// file arrives as it is.
func TestLargeFileGoesThroughSeveralSessions(t *testing.T) {
	for limit, want := range map[string]int{"MaxSessions 10": 1 + extraSessions, "MaxSessions 1": 1} {
		count := filepath.Join(t.TempDir(), "sessions")
		c, root := startSSHD(t, limit, sftpServer(t, "echo >>"+count))
		files := bigDrop(t, largeFile+12345)
		evidence, err := dial(t, c).Deliver(context.Background(), files, quiet)
		if err != nil || evidence.State != HashVerified {
			t.Fatalf("%s: %s, %v", limit, evidence.State, err)
		}
		sameFiles(t, filepath.Join(root, "inbox"), files)
		sessions, err := os.ReadFile(count)
		must(t, err)
		if len(sessions) != want {
			t.Errorf("%s: %d sessions; want %d", limit, len(sessions), want)
		}
	}
}

// A server that says something before it speaks SFTP is named as the cause.
func TestGreeting(t *testing.T) {
	c, _ := startSSHD(t, sftpServer(t, "echo Welcome to our secure file transfer"))
	_, err := DialSFTP(context.Background(), c)
	if !errors.Is(err, ErrDestination) || !strings.Contains(err.Error(), "no greeting") {
		t.Errorf("gave %v", err)
	}
}

// In a mailbox that shows nothing, an attempt that broke off after a rename
// must not stand in the way of the next.
func TestBlindMailboxAgain(t *testing.T) {
	server, c := mailbox(t, sftptest.Options{Refuse: []string{"Stat", "Lstat", "List", "Get", "Remove", "Setstat"}})
	_, _, files := someDrop(t)
	for range 2 {
		evidence, err := dial(t, c).Deliver(context.Background(), files, quiet)
		if err != nil || evidence.State != Stored {
			t.Fatalf("%s, %v", evidence.State, err)
		}
		removeLeft(t, filepath.Join(server.Root, "inbox"), evidence)
	}
	sameFiles(t, filepath.Join(server.Root, "inbox"), files)
}
