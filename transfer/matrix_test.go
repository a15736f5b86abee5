package transfer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// refusals are what OpenSSH's sftp-server can be told to refuse (-P) that has
// to do with a delivery at all. Others (write, open, close, readdir as opendir)
// stand among the accidents.
var refusals = []string{"rename", "posix-rename", "lstat", "stat", "fstat", "opendir", "read", "remove", "realpath", "fsync", "setstat", "fsetstat", "statvfs", "limits"}

// matrix is a server that can be made to refuse and break, and a drop for it.
type matrix struct {
	t       *testing.T
	config  SFTPConfig
	root    string
	inbox   string
	files   []File
	account string // the line of the account's key
	known   *Plan  // as the agent keeps it
	pace    pace
	mounted bool
}

func newMatrix(t *testing.T) *matrix {
	t.Helper()
	m := &matrix{t: t, files: bigDrop(t, 300<<10)}
	m.config, m.root = startSSHD(t)
	// An account other than root's, where we are root: modes bind it.
	must(t, os.Chmod(filepath.Dir(m.root), 0o755))
	must(t, os.Chmod(filepath.Join(m.root, "authorized"), 0o644))
	if os.Getuid() == 0 {
		m.config.User = "nobody"
	}
	m.account = string(ssh.MarshalAuthorizedKey(m.config.Signer.PublicKey()))
	m.inbox = filepath.Join(m.root, "inbox")
	m.fresh()
	return m
}

// fresh empties the folder and lets the account do everything.
func (m *matrix) fresh() {
	m.t.Helper()
	m.unmount()
	must(m.t, os.RemoveAll(m.inbox))
	m.makeInbox()
	m.config.Folder, m.known, m.pace = m.inbox, nil, usualPace
	m.allow("internal-sftp")
}

func (m *matrix) makeInbox() {
	must(m.t, os.Mkdir(m.inbox, 0o777))
	must(m.t, os.Chmod(m.inbox, 0o777))
}

// allow says by which command the account is served, and other options of its key.
func (m *matrix) allow(command string, options ...string) {
	m.t.Helper()
	options = append(options, `command="`+command+`"`)
	must(m.t, os.WriteFile(filepath.Join(m.root, "authorized"), []byte(strings.Join(options, ",")+" "+m.account), 0o644))
}

// deliver does what the agent does.
func (m *matrix) deliver() (Evidence, error) {
	d, err := dialSFTP(context.Background(), m.config, m.pace)
	if err != nil {
		return Evidence{}, err
	}
	defer d.Close()
	plan, err := d.Probe(context.Background(), m.known)
	if err != nil {
		return Evidence{}, err
	}
	m.known = &plan
	evidence, err := d.Deliver(context.Background(), m.files, quiet)
	if err != nil {
		m.known.Probed = time.Time{}
	}
	return evidence, err
}

// mended delivers once more, when nothing is refused or broken any longer, and
// expects each file once, whole, and nothing else.
func (m *matrix) mended(what string) {
	m.t.Helper()
	evidence, err := m.deliver()
	if err != nil {
		m.t.Errorf("%s: after mending: %v", what, err)
		return
	}
	sameFiles(m.t, m.inbox, m.files)
	if m.known.Best() == HashVerified && evidence.State != HashVerified {
		m.t.Errorf("%s: after mending it is %s", what, evidence.State)
	}
	if m.t.Failed() {
		m.t.Fatalf("the matrix breaks off at: %s", what)
	}
}

// refused gives the cell of the table for requests refused together.
func (m *matrix) refused(requests ...string) string {
	m.t.Helper()
	what := strings.Join(requests, ",")
	m.fresh()
	m.allow("internal-sftp -P " + what)
	evidence, err := m.deliver()
	if err != nil {
		m.t.Errorf("refused %s: %v", what, err)
		return "none"
	}
	if evidence.State != evidence.Plan.Best() {
		m.t.Errorf("refused %s: %s, the plan was %s", what, evidence.State, evidence.Plan.Best())
	}
	cell := strings.TrimSuffix(evidence.State.String(), "-verified")
	if !evidence.Plan.renames() {
		cell += " °"
	}
	m.allow("internal-sftp")
	m.mended("refused " + what)
	return cell
}

// refusalTable has a row and a column for each request; where they meet, both
// are refused.
func (m *matrix) refusalTable() string {
	var text strings.Builder
	fmt.Fprintf(&text, "| refused | alone | %s |\n|%s\n", strings.Join(refusals[1:], " | "), strings.Repeat(" --- |", len(refusals)+1))
	for i, one := range refusals {
		fmt.Fprintf(&text, "| `%s` | %s |", one, m.refused(one))
		for j, two := range refusals[1:] {
			if j+1 <= i {
				text.WriteString(" |")
				continue
			}
			text.WriteString(" " + m.refused(one, two) + " |")
		}
		text.WriteString("\n")
	}
	return text.String()
}

// accident is something that goes wrong, and how it is mended.
type accident struct {
	what    string
	happens func()
	mend    func()
}

func (m *matrix) accidents() []accident {
	t, good := m.t, m.config
	serve := func(options string) func() {
		return func() { m.allow(strings.TrimSpace("internal-sftp " + options)) }
	}
	mode := func(mode fs.FileMode) func() {
		return func() { must(t, os.Chmod(m.inbox, mode)) }
	}
	first := filepath.Join(m.inbox, m.files[0].Name)
	small, _ := startSSHD(t, sftpServer(t, "trap '' XFSZ; ulimit -f 200")) // as the server of an account with a quota answers
	small.Folder = m.inbox
	stranger, _ := startSSHD(t)
	broken := newLineTo(t, good.Address)
	breaks := func(how string, after int64, piece int) func() {
		return func() {
			broken.how, broken.piece = how, piece
			broken.left[toServer].Store(after)
			m.config.Address = broken.address
			m.pace.keepalive, m.pace.silence = 50*time.Millisecond, time.Second
		}
	}
	restore := func() { broken.mend(); m.config = good }
	all := serve("")
	return []accident{
		{"the folder may not be written (mode 0555)", mode(0o555), mode(0o777)},
		{"the folder may be written, not listed (mode 0333)", mode(0o333), mode(0o777)},
		{"uploaded files may not be read or written again (umask 0777)", serve("-u 0777"), all},
		{"uploaded files may not be written again (umask 0222) or renamed", serve("-u 0222 -P rename,posix-rename"), all},
		{"the account may only read (`-R`)", serve("-R"), all},
		{"`write` is refused", serve("-P write"), all},
		{"`open` is refused", serve("-P open"), all},
		{"only `open`, `write`, `close` and `rename` are allowed", serve("-p open,write,close,rename"), all},
		{"only `open`, `write` and `close` are allowed", serve("-p open,write,close"), all},
		{"the folder is not there", func() { must(t, os.Remove(m.inbox)) }, m.makeInbox},
		{"another's file has the name", func() { must(t, os.WriteFile(first, []byte("theirs"), 0o644)) }, func() { must(t, os.Remove(first)) }},
		{"the disk is full", func() { m.mount("size=128k") }, func() { m.mount("remount,size=16m") }},
		{"the account's quota is used up", func() { m.config = small }, restore},
		{"the connection vanishes in the middle", breaks("reset", 150<<10, 0), restore},
		{"the link goes dead in the middle", breaks("dead", 150<<10, 0), restore},
		{"the link is slow (100 bytes at a time)", breaks("", -1, 100), restore},
		{"the server shows another host key", func() { m.config.Address = stranger.Address }, restore},
		{"the account has expired", func() { m.allow("internal-sftp", `expiry-time="20200101"`) }, all},
		{"the account may not use SFTP", func() { m.allow("/bin/false") }, all},
		{"nothing listens", func() { m.config.Address = "127.0.0.1:1" }, restore},
	}
}

// mount lays a small disk over the folder.
func (m *matrix) mount(options string) {
	m.t.Helper()
	text, err := exec.Command("mount", "-t", "tmpfs", "-o", options+",mode=777", "tmpfs", m.inbox).CombinedOutput()
	if err != nil {
		peerMissing(m.t, "mount of a tmpfs: "+string(text))
	}
	if !m.mounted {
		m.mounted = true
		m.t.Cleanup(m.unmount)
	}
}

func (m *matrix) unmount() {
	if m.mounted {
		must(m.t, exec.Command("umount", m.inbox).Run())
		m.mounted = false
	}
}

var (
	fingerprint = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]+`)
	attempted   = regexp.MustCompile(`\.[a-z0-9]{12}\.part`)
)

// happened tells of one accident: state, what the server has, what is said.
func (m *matrix) happened(a accident) string {
	m.t.Helper()
	m.fresh()
	a.happens()
	evidence, err := m.deliver()
	state, said := evidence.State.String(), ""
	if err != nil {
		var failure *DestinationError
		if !errors.As(err, &failure) || failure.Remedy == "" {
			m.t.Errorf("%s: no remedy is said: %v", a.what, err)
			return ""
		}
		state, said = "not delivered", failure.Kind.Error()+"; "+failure.Remedy
		if m.has(m.files[1].Name) {
			m.t.Errorf("%s: .done is there", a.what)
		}
	} else if evidence.State != evidence.Plan.Best() {
		m.t.Errorf("%s: %s, the plan was %s", a.what, evidence.State, evidence.Plan.Best())
	}
	said = attempted.ReplaceAllString(fingerprint.ReplaceAllString(said, "SHA256:…"), ".….part")
	a.mend()
	m.mended(a.what)
	return fmt.Sprintf("| %s | %s | %s |\n", a.what, state, said)
}

func (m *matrix) has(name string) bool {
	_, err := os.Lstat(filepath.Join(m.inbox, name))
	return err == nil
}

// TestMatrix delivers to OpenSSH's server while it refuses requests, alone and
// in pairs, and while other things go wrong; then all is mended, and delivering
// again must leave each file once, whole, and nothing else. The tables stand in
// docs/destinations.md.
func TestMatrix(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	text := "| what happens | state | what is said |\n| --- | --- | --- |\n"
	for _, a := range m.accidents() {
		text += m.happened(a)
	}
	text = m.refusalTable() + "\n" + text
	t.Logf("\n%s", text)
	file := filepath.Join("..", "docs", "destinations.md")
	page, err := os.ReadFile(file)
	must(t, err)
	const begin = "<!-- by TestMatrix -->\n"
	before, kept, found := strings.Cut(string(page), begin)
	switch {
	case !found:
		t.Fatalf("%s has no %s", file, begin)
	case os.Getenv("UPDATE_GOLDEN") != "":
		must(t, os.WriteFile(file, []byte(before+begin+text), 0o644))
	case kept != text:
		t.Errorf("%s tells otherwise; UPDATE_GOLDEN=1 writes it anew", file)
	}
}
