package transfer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// line is a TCP proxy that breaks after so many bytes, once.
type line struct {
	address string
	piece   int             // bytes passed on at a time; 0: as they come
	left    [2]atomic.Int64 // bytes to the server, from it; negative: without end
	count   [2]atomic.Int64
	how     string // closed, reset, dead: it takes all and passes nothing
	shut    atomic.Bool
}

const toServer, fromServer = 0, 1

func newLineTo(t testing.TB, to string) *line {
	t.Helper()
	b := &line{}
	b.mend()
	b.address = relay(t, to, func(in, out net.Conn) {
		go b.pass(out, in, toServer)
		go b.pass(in, out, fromServer)
	})
	return b
}

func (b *line) mend() {
	b.left[toServer].Store(-1)
	b.left[fromServer].Store(-1)
	b.shut.Store(false)
}

func (b *line) pass(to, from net.Conn, way int) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		b.count[way].Add(int64(n))
		text := buffer[:n]
		if left := b.left[way].Load(); left >= 0 {
			text = text[:min(int64(n), left)]
			b.left[way].Add(-int64(len(text)))
		}
		if b.shut.Load() && b.how == "dead" {
			continue
		}
		for len(text) > 0 {
			piece := text
			if b.piece > 0 {
				piece = text[:min(b.piece, len(text))]
			}
			if _, err := to.Write(piece); err != nil {
				return
			}
			text = text[len(piece):]
		}
		if b.left[way].Load() != 0 {
			continue
		}
		b.shut.Store(true)
		switch b.how {
		case "dead":
			continue
		case "reset":
			_ = to.(*net.TCPConn).SetLinger(0)
			_ = from.(*net.TCPConn).SetLinger(0)
		}
		return
	}
}

// sessions waits until every sftp-server has ended that was started through
// sftpServer(t, sessions.start): what it still had to do is done by then.
type sessions struct{ path string }

func (s sessions) start() string { return "exec 9>>" + s.path + "; flock -s 9" }

func (s sessions) ended(t testing.TB) {
	t.Helper()
	file, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	defer file.Close()
	must(t, syscall.Flock(int(file.Fd()), syscall.LOCK_EX))
}

// TestLineBreaksAtEachByte breaks the line at every few bytes of a small
// delivery, either way, closed or reset or dead, and delivers again. Then each
// file stands there once and whole, and nothing else. Until .done is whole no
// break may leave it there; where files are renamed, none ever stands there in
// part. POSTERN_EVERY says how many bytes apart; the long lane's is 1.
func TestLineBreaksAtEachByte(t *testing.T) {
	t.Parallel() // most of it is waiting
	peer(t, "flock")
	every := int64(29)
	if text := os.Getenv("POSTERN_EVERY"); text != "" {
		n, err := strconv.ParseInt(text, 10, 31)
		must(t, err)
		every = n
	}
	for name, c := range map[string]struct {
		refuse string
		every  int64
	}{"renamed when whole": {"", every}, "under its own name": {" -P rename,posix-rename", every * 3}, "never probed": {"", every * 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			breakEach(t, c.refuse, c.every, name != "never probed")
		})
	}
}

func breakEach(t *testing.T, refuse string, every int64, known bool) {
	alive := sessions{filepath.Join(t.TempDir(), "alive")}
	config, root := startSSHD(t, sftpServer(t, alive.start())+refuse)
	b := &breaking{t: t, inbox: filepath.Join(root, "inbox"), files: bigDrop(t, 700), line: newLineTo(t, config.Address), alive: alive, renamed: refuse == ""}
	other, _ := startSSHD(t, sftpServer(t, "true")+refuse) // the same folder, over a good line
	other.Folder = b.inbox
	b.good = dial(t, other)
	b.config = config
	b.config.Address = b.line.address
	if known {
		d := dial(t, b.config)
		plan, err := d.Probe(context.Background(), nil)
		must(t, err)
		b.known = &plan
		_ = d.Close()
	}
	b.where = "unbroken"
	must(t, b.attempt(-1, toServer))
	length := [2]int64{b.line.count[toServer].Load(), b.line.count[fromServer].Load()}
	b.again()
	ways, breaks := []string{"closed", "reset"}, 0
	for way, bytes := range length {
		for at := int64(0); at < bytes; at += every {
			if b.line.how = ways[breaks%2]; breaks%20 == 0 {
				b.line.how = "dead"
			}
			b.where = fmt.Sprintf("%s at byte %d of %d, way %d", b.line.how, at, bytes, way)
			if err := b.attempt(at, way); err != nil {
				breaks++
			}
			b.again()
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	t.Logf("%d bytes to the server, %d from it: %d breaks, each delivered again", length[toServer], length[fromServer], breaks)
	if breaks < int((length[toServer]+length[fromServer])/every*9/10) {
		t.Error("the line hardly broke")
	}
}

type breaking struct {
	t       *testing.T
	config  SFTPConfig
	inbox   string
	files   []File
	line    *line
	alive   sessions
	known   *Plan
	good    *SFTP
	renamed bool
	where   string
}

// attempt delivers over a line that breaks after so many bytes.
func (b *breaking) attempt(at int64, way int) error {
	b.t.Helper()
	b.line.mend()
	quick := usualPace
	if b.line.how == "dead" {
		quick.keepalive, quick.silence = 50*time.Millisecond, 300*time.Millisecond
	}
	d, err := dialSFTP(context.Background(), b.config, quick)
	must(b.t, err)
	defer b.alive.ended(b.t)
	defer d.Close()
	b.line.count[toServer].Store(0)
	b.line.count[fromServer].Store(0)
	b.line.left[way].Store(at)
	_, err = d.Probe(context.Background(), b.known)
	if err == nil {
		_, err = d.Deliver(context.Background(), b.files, quiet)
	}
	if err != nil && !errors.Is(err, ErrDestination) {
		b.t.Errorf("%s: %v", b.where, err)
	}
	return err
}

// again looks, delivers over the good line, and looks once more.
func (b *breaking) again() {
	b.t.Helper()
	b.look()
	evidence, err := b.good.Deliver(context.Background(), b.files, quiet)
	if err != nil || evidence.State != HashVerified {
		b.t.Fatalf("%s: delivered again: %s, %v", b.where, evidence.State, err)
	}
	sameFiles(b.t, b.inbox, b.files)
	for _, f := range b.files {
		must(b.t, os.Remove(filepath.Join(b.inbox, f.Name)))
	}
}

// look at what a break left: .done only when all is whole, and a file under
// its own name only when it is whole itself.
func (b *breaking) look() {
	b.t.Helper()
	entries, err := os.ReadDir(b.inbox)
	must(b.t, err)
	whole := map[string]bool{}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			text, err := os.ReadFile(filepath.Join(b.inbox, e.Name()))
			must(b.t, err)
			for _, f := range b.files {
				whole[e.Name()] = whole[e.Name()] || f.Name == e.Name() && f.SHA256 == sumOf(text)
			}
			if b.renamed && !whole[e.Name()] {
				b.t.Errorf("%s: %s stands there in part", b.where, e.Name())
			}
		}
		if strings.HasPrefix(e.Name(), "."+probeName) { // an hour later
			old := time.Now().Add(-2 * time.Hour)
			must(b.t, os.Chtimes(filepath.Join(b.inbox, e.Name()), old, old))
		}
	}
	if _, there := whole[b.files[1].Name]; there && !whole[b.files[0].Name] {
		b.t.Errorf("%s: .done is there before the rest is whole", b.where)
	}
}
