package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// SFTPConfig is a recipient's SFTP account.
type SFTPConfig struct {
	Address  string // host:port
	User     string
	HostKey  ssh.PublicKey // pinned; see ParseHostKey
	Signer   ssh.Signer
	Folder   string // where drops go
	Receipts string // where receipts come from
}

// SFTP is a destination over one SSH connection. After an error of the
// connection it is closed and dialled anew.
type SFTP struct {
	config SFTPConfig
	conn   *connection
	client *sftp.Client
	answer time.Duration // no byte for so long,
	late   *time.Timer   // and this ends the connection
	used
}

// DialSFTP connects and opens the subsystem. Errors are DestinationErrors.
func DialSFTP(ctx context.Context, c SFTPConfig) (*SFTP, error) { return dialSFTP(ctx, c, usualPace) }

func dialSFTP(ctx context.Context, c SFTPConfig, p pace) (*SFTP, error) {
	if c.HostKey == nil {
		return nil, &DestinationError{Kind: ErrHostKey, Where: c.Address, Doing: "connect", Remedy: "pin the server's host key in the destination"}
	}
	conn, err := connect(ctx, c, p)
	if err != nil {
		return nil, err
	}
	d := &SFTP{config: c, conn: conn, answer: p.answer, late: time.AfterFunc(p.answer, func() { _ = conn.conn.Close() })}
	defer context.AfterFunc(ctx, func() { _ = conn.conn.Close() })()
	if d.client, err = d.openSession(); err != nil {
		d.late.Stop()
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &DestinationError{Kind: ErrDestination, Where: c.Address, Doing: "open sftp", Cause: err,
			Remedy: "ask the recipient whether the account may use SFTP, and has no greeting or shell"}
	}
	d.use = Plan{Where: c.User + "@" + c.Address + ":" + c.Folder, Server: printable(string(conn.ServerVersion())),
		HostKey: ssh.FingerprintSHA256(c.HostKey), PacketSize: usualPacket}
	if d.isOpenSSH() {
		d.use.PacketSize = largestPacket
	}
	return d, nil
}

// openSession opens the subsystem as sftp.NewClient does, and watches that the server answers.
func (d *SFTP) openSession() (*sftp.Client, error) {
	session, err := d.conn.NewSession()
	if err != nil {
		return nil, err
	}
	in, noIn := session.StdinPipe()
	out, noOut := session.StdoutPipe()
	aside, noAside := session.StderrPipe()
	if err := errors.Join(noIn, noOut, noAside); err != nil {
		return nil, err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return nil, err
	}
	go func() { _, _ = io.Copy(io.Discard, aside) }()
	line := &answering{out, in, d}
	return sftp.NewClientPipe(line, line, sftp.MaxPacketUnchecked(largestPacket)) // an upload cuts its packets itself
}

// answering is the line of one session. While one of several is still, another may go on.
type answering struct {
	io.Reader
	io.WriteCloser
	of *SFTP
}

func (a *answering) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if err == nil {
		a.of.late.Reset(a.of.answer)
	}
	return n, err
}

func (a *answering) Write(p []byte) (int, error) {
	a.of.late.Reset(a.of.answer)
	return a.WriteCloser.Write(p)
}

func (d *SFTP) Probe(ctx context.Context, known *Plan) (Plan, error) {
	if d.use.follow(known) {
		return d.use, nil
	}
	s, release := d.in(ctx, d.config.Folder)
	defer release()
	return probe(ctx, s)
}

func (d *SFTP) Deliver(ctx context.Context, files []File, log func(Event)) (Evidence, error) {
	s, release := d.in(ctx, d.config.Folder)
	defer release()
	return deliverTo(ctx, s, files, log)
}

func (d *SFTP) Withdraw(ctx context.Context, files []File) ([]string, error) {
	s, release := d.in(ctx, d.config.Folder)
	defer release()
	return withdrawFrom(s, files)
}

func (d *SFTP) Gone(ctx context.Context, files []File) (bool, error) {
	s, release := d.in(ctx, d.config.Folder)
	defer release()
	return goneFrom(s, files)
}

func (d *SFTP) Receipts(ctx context.Context, dir string, known func(string) bool) ([]string, error) {
	s, release := d.in(ctx, d.config.Receipts)
	defer release()
	return fetchReceipts(ctx, s, dir, known)
}

func (d *SFTP) Responses(ctx context.Context, want func(fs.FileInfo) bool, take func(string, io.Reader) error) error {
	s, release := d.in(ctx, d.config.Receipts)
	defer release()
	return openResponses(ctx, s, want, take)
}

func (d *SFTP) Close() error {
	_ = d.client.Close()
	d.late.Stop()
	return d.conn.Close()
}

// in gives a folder of the server for one call; the end of ctx ends the
// connection, the only way to end a call of pkg/sftp.
func (d *SFTP) in(ctx context.Context, folder string) (*sftpStore, func() bool) {
	return &sftpStore{SFTP: d, ctx: ctx, folder: folder}, context.AfterFunc(ctx, func() { _ = d.conn.conn.Close() })
}

type sftpStore struct {
	*SFTP
	ctx    context.Context
	folder string
}

func (s *sftpStore) where() string           { return s.config.Address + ":" + s.folder }
func (s *sftpStore) plan() *Plan             { return &s.use }
func (s *sftpStore) path(name string) string { return path.Join(s.folder, name) }

func (s *sftpStore) list() ([]fs.FileInfo, error) {
	end := s.conn.conn.listing()
	infos, err := s.client.ReadDirContext(s.ctx, path.Join(s.folder, "."))
	if end() {
		return nil, fmt.Errorf("its list has no end within %d bytes: have the recipient clear the folder", s.conn.conn.most)
	}
	return infos, err
}

// size asks in every way that is allowed, as a server may refuse any of them.
func (s *sftpStore) size(name string) (int64, error) {
	for _, ask := range []struct {
		ability string
		do      func() (fs.FileInfo, error)
	}{
		{canLstat, func() (fs.FileInfo, error) { return s.client.Lstat(s.path(name)) }},
		{canStat, func() (fs.FileInfo, error) { return s.client.Stat(s.path(name)) }},
		{canList, func() (fs.FileInfo, error) { return listed(s, name) }},
	} {
		if !s.use.Allows(ask.ability) {
			continue
		}
		info, err := ask.do()
		if err == nil {
			return info.Size(), nil
		}
		if !isRefusal(err) {
			return 0, err
		}
		s.use.note(ask.ability, err)
	}
	return 0, errRefused
}

func (s *sftpStore) read(name string) (io.ReadCloser, error) {
	file, err := s.client.Open(s.path(name))
	if isRefusal(err) {
		s.use.note(canRead, err)
		return nil, errRefused
	}
	if err != nil {
		return nil, err
	}
	return &download{File: file, packet: s.use.PacketSize}, nil
}

// write opens write-only, as some servers refuse anything else, and exclusive,
// except in the place of what an earlier attempt of ours left.
func (s *sftpStore) write(name string, from io.Reader, size int64, again bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if again && s.client.Remove(s.path(name)) != nil {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := s.client.OpenFile(s.path(name), flags)
	if err != nil {
		return err
	}
	up := &upload{from: from, size: size, packet: s.use.PacketSize}
	if size >= largeFile && s.isOpenSSH() {
		s.help(up, name)
	}
	up.through(file)
	up.last(file)
	if up.err == nil && s.use.Allows(canFsync) {
		if err := file.Sync(); err == nil || isRefusal(err) {
			s.use.note(canFsync, err)
		} else {
			up.fail(err) // as a full disk, of a server that stores late
		}
	}
	up.fail(file.Close())
	if up.err != nil {
		_ = s.remove(name) // what went up is of no use
	}
	return up.err
}

// rename uses SFTP's own, which does not overwrite (draft-02 §6.5). Where it
// fails though nothing has the name, as on file systems without hard links,
// posix-rename does it, if the server says that it has that. In a mailbox that
// lets us see nothing it replaces what an earlier attempt of ours may have left:
// the name is this drop's alone, and its content never changes.
func (s *sftpStore) rename(from, to string) error {
	err := errRefused
	if s.use.Allows(canRename) {
		if err = s.client.Rename(s.path(from), s.path(to)); err == nil {
			return nil
		}
	}
	_, there := s.size(to)
	blind := errors.Is(there, errRefused)
	switch {
	case !blind && !errors.Is(there, fs.ErrNotExist):
		return err
	case s.announced("posix-rename@openssh.com") == nil && s.use.Allows(canPosixRename):
		return s.client.PosixRename(s.path(from), s.path(to))
	case blind && s.remove(to) == nil:
		return s.client.Rename(s.path(from), s.path(to))
	case blind:
		return fmt.Errorf("%w (an earlier attempt may have delivered it, which this server does not show: ask the recipient to look, and to take it away)", err)
	}
	return err
}

func (s *sftpStore) remove(name string) error { return s.client.Remove(s.path(name)) }

// alive asks for anything that a server answers as long as the line holds.
func (s *sftpStore) alive() error {
	_, err := s.client.RealPath(".")
	if errors.As(err, new(*sftp.StatusError)) || isRefusal(err) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (s *sftpStore) tries(t *trial) []try {
	return []try{
		{canList, func() error { return mustShow(listed(s, t.name)) }},
		{canLstat, func() error {
			info, err := s.client.Lstat(s.path(t.name))
			if err == nil { // written a moment ago, by the server's clock
				s.use.Ahead = int64(time.Until(info.ModTime()).Round(time.Second) / time.Second)
			}
			return mustShow(info, err)
		}},
		{canStat, func() error { return mustShow(s.client.Stat(s.path(t.name))) }},
		{canRead, func() error { return readsBack(s, t) }},
		{canSetstat, func() error { return s.client.Chtimes(s.path(t.name), time.Now(), time.Now()) }},
		{canOverwrite, func() error { return s.overwrite(t.name) }},
		{canRename, func() error { return t.renamed(s.client.Rename(s.path(t.name), s.path(t.other))) }},
		{canPosixRename, func() error {
			if err := s.announced("posix-rename@openssh.com"); err != nil {
				return err
			}
			return t.renamed(s.client.PosixRename(s.path(t.name), s.path(t.other)))
		}},
		{canMkdir, func() error { return s.makeFolder(t.other) }},
		{canLimits, func() error { return s.announced("limits@openssh.com") }},
		{canCheckFile, func() error { return s.announced("check-file") }},
		{canSpace, func() error {
			_, err := s.space()
			return err
		}},
	}
}

func (s *sftpStore) announced(extension string) error {
	if _, there := s.client.HasExtension(extension); !there {
		return errors.ErrUnsupported
	}
	return nil
}

func (s *sftpStore) overwrite(name string) error {
	file, err := s.client.OpenFile(s.path(name), os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = file.WriteAt([]byte(probeText), 0)
	return errors.Join(err, file.Close())
}

func (s *sftpStore) makeFolder(name string) error {
	err := s.client.Mkdir(s.path(name))
	if err == nil && s.client.RemoveDirectory(s.path(name)) != nil {
		s.use.Left = append(s.use.Left, name)
	}
	return err
}

// isRefusal is what a server says that does not let us do a thing at all.
func isRefusal(err error) bool {
	var status *sftp.StatusError
	return errors.Is(err, fs.ErrPermission) ||
		errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxOpUnsupported
}

// explain turns the protocol's one vague failure into its likely cause.
func (s *sftpStore) explain(doing string, err error) error {
	if err == nil {
		return nil
	}
	e := &DestinationError{Kind: ErrDestination, Where: s.where(), Doing: doing, Cause: err,
		Remedy: "the delivery will be repeated; if it fails again, ask the recipient to look at its server's log, and at the account's quota"}
	switch {
	case s.ctx.Err() != nil:
		e.Cause = s.ctx.Err()
	case s.alive() != nil:
		e.Remedy = "the connection was lost; the delivery will be repeated; if that happens again, look at the network"
	case isRefusal(err):
		e.Remedy = "the account may not do this; `postern doctor` shows what it may, and what to ask the recipient for"
	case errors.Is(err, fs.ErrNotExist):
		e.Remedy = "look at the destination's folder name, and ask whether the server takes files away before they are renamed"
	case s.isFull():
		e.Remedy = "the recipient's server has no space left; tell the recipient"
	}
	return e
}

// space is how many bytes the server has left for us.
func (s *sftpStore) space() (uint64, error) {
	if err := s.announced("statvfs@openssh.com"); err != nil {
		return 0, err
	}
	space, err := s.client.StatVFS(path.Join(s.folder, "."))
	if err != nil {
		return 0, err
	}
	return space.Bavail * space.Frsize, nil
}

func (s *sftpStore) isFull() bool {
	space, err := s.space()
	return err == nil && space < 1<<20
}
