package transfer

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkUpload delivers 128 MiB to sshd, over lines of several round trips,
// and puts the same file there with OpenSSH's own sftp. Each logs in anew. First
// as sftp does it; then with fsync; then as deliveries go where they may, with
// fsync and reading back.
func BenchmarkUpload(b *testing.B) {
	files := bigDrop(b, 128<<20)
	c, root := startSSHD(b)
	inbox := filepath.Join(root, "inbox")
	for _, roundTrip := range []time.Duration{0, 20 * time.Millisecond, 80 * time.Millisecond} {
		far := c
		if roundTrip > 0 {
			far.Address = newLine(b, c.Address, roundTrip/2)
		}
		plan, err := dial(b, far).Probe(context.Background(), nil)
		must(b, err)
		ms := roundTrip.Milliseconds()
		b.Run(fmt.Sprintf("%dms/sftp", ms), func(b *testing.B) { benchStock(b, far, root, files[0]) })
		for _, way := range []struct {
			name   string
			refuse []string
		}{{"like-sftp", []string{canRead, canFsync}}, {"fsync", []string{canRead}}, {"read-back", nil}} {
			less := plan
			less.Abilities = slices.Clone(plan.Abilities)
			for _, ability := range way.refuse {
				less.note(ability, errRefused)
			}
			b.Run(fmt.Sprintf("%dms/%s", ms, way.name), func(b *testing.B) { benchUpload(b, far, &less, inbox, files) })
		}
	}
}

func benchUpload(b *testing.B, c SFTPConfig, plan *Plan, inbox string, files []File) {
	b.SetBytes(files[0].Size)
	for b.Loop() {
		d := dial(b, c)
		_, err := d.Probe(context.Background(), plan)
		must(b, err)
		evidence, err := d.Deliver(context.Background(), files, quiet)
		must(b, err)
		if evidence.State != plan.Best() {
			b.Fatalf("it is %s", evidence.State)
		}
		must(b, d.Close())
		for _, f := range files {
			must(b, os.Remove(filepath.Join(inbox, f.Name)))
		}
	}
}

func benchStock(b *testing.B, c SFTPConfig, root string, f File) {
	_, port, err := net.SplitHostPort(c.Address)
	must(b, err)
	b.SetBytes(f.Size)
	for b.Loop() {
		command := exec.Command("sftp", "-q", "-b", "-", "-P", port, "-i", filepath.Join(root, "client_key"), "-o", "StrictHostKeyChecking=no",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", c.User+"@127.0.0.1")
		command.Stdin = strings.NewReader(fmt.Sprintf("put %s %s/%s\n", f.Path, c.Folder, f.Name))
		if text, err := command.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, text)
		}
	}
}

// newLine is a TCP proxy on which every byte takes as long each way.
func newLine(t testing.TB, to string, delay time.Duration) string {
	return relay(t, to, func(in, out net.Conn) {
		go carry(in, out, delay)
		go carry(out, in, delay)
	})
}

// relay is a TCP proxy: each connection and the one that it opens to a server are
// passed to pass, which must not wait.
func relay(t testing.TB, to string, pass func(in, out net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			pass(in, out)
		}
	}()
	return l.Addr().String()
}

type parcel struct {
	due  time.Time
	data []byte
}

func carry(to, from net.Conn, delay time.Duration) {
	road := make(chan parcel, 4096)
	go func() {
		defer to.Close()
		for p := range road {
			<-time.After(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				return
			}
		}
	}()
	defer close(road)
	for {
		buffer := make([]byte, 64<<10)
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		road <- parcel{time.Now().Add(delay), buffer[:n]}
	}
}
