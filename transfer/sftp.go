package transfer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

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
	use    Plan
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
	d := &SFTP{config: c, conn: conn}
	defer context.AfterFunc(ctx, func() { _ = conn.conn.Close() })()
	if d.client, err = d.openSession(); err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, &DestinationError{Kind: ErrDestination, Where: c.Address, Doing: "open sftp", Cause: err,
			Remedy: "ask the recipient whether the account may use SFTP, and has no greeting or shell"}
	}
	_, posix := d.client.HasExtension("posix-rename@openssh.com")
	d.use = Plan{Server: string(conn.ServerVersion()), HostKey: ssh.FingerprintSHA256(c.HostKey), Stat: true, PosixRename: posix, PacketSize: usualPacket}
	if d.isOpenSSH() {
		d.use.PacketSize = largestPacket
	}
	return d, nil
}

func (d *SFTP) openSession() (*sftp.Client, error) {
	return sftp.NewClient(d.conn.Client, sftp.MaxPacketUnchecked(largestPacket)) // an upload cuts its packets itself
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

func (d *SFTP) Receipts(ctx context.Context, dir string, known func(string) bool) ([]string, error) {
	s, release := d.in(ctx, d.config.Receipts)
	defer release()
	return fetchReceipts(ctx, s, dir, known)
}

func (d *SFTP) Close() error {
	_ = d.client.Close()
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
	folder := s.folder
	if folder == "" {
		folder = "."
	}
	return s.client.ReadDirContext(s.ctx, folder)
}

func (s *sftpStore) size(name string) (int64, error) {
	if !s.use.Stat {
		return 0, errRefused
	}
	info, err := s.client.Lstat(s.path(name))
	if isRefusal(err) {
		s.use.Stat = false
		return 0, errRefused
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s *sftpStore) read(name string) (io.ReadCloser, error) {
	file, err := s.client.Open(s.path(name))
	if isRefusal(err) {
		return nil, errRefused
	}
	return file, err
}

// write opens write-only, as some servers refuse anything else, and exclusive.
func (s *sftpStore) write(name string, from io.Reader, size int64) error {
	file, err := s.client.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	up := &upload{from: from, size: size, packet: s.use.PacketSize}
	if size >= largeFile && s.isOpenSSH() {
		s.help(up, name)
	}
	up.through(file)
	if err = up.end(); err != nil {
		// What went up is of no use: it may have holes, its size tells nothing.
		_ = s.remove(name)
	}
	return err
}

// rename uses SFTP's own, which does not overwrite (draft-02 §6.5). Where it
// fails though nothing has the name, as on file systems without hard links,
// posix-rename does it, if the server says that it has that. In a mailbox that
// lets us see nothing it may replace what an earlier attempt of ours left: the
// name is this drop's alone, and its content never changes.
func (s *sftpStore) rename(from, to string) error {
	err := s.client.Rename(s.path(from), s.path(to))
	if err == nil || !s.use.PosixRename {
		return err
	}
	if _, there := s.size(to); !errors.Is(there, fs.ErrNotExist) && !errors.Is(there, errRefused) {
		return err
	}
	return s.client.PosixRename(s.path(from), s.path(to))
}

func (s *sftpStore) remove(name string) error { return s.client.Remove(s.path(name)) }

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
		Remedy: "the delivery will be repeated; if it fails again, ask the recipient to look at its server's log"}
	switch {
	case s.ctx.Err() != nil:
		e.Cause = s.ctx.Err()
	case isRefusal(err):
		e.Remedy = "the account may not do this; ask the recipient to let it write and rename in its folder"
	case errors.Is(err, fs.ErrNotExist):
		e.Remedy = "look at the destination's folder name, and ask whether the server takes files away before they are renamed"
	case s.isFull():
		e.Remedy = "the recipient's server has no space left; tell the recipient"
	}
	return e
}

func (s *sftpStore) isFull() bool {
	if _, ok := s.client.HasExtension("statvfs@openssh.com"); !ok {
		return false
	}
	folder := s.folder
	if folder == "" {
		folder = "."
	}
	space, err := s.client.StatVFS(folder)
	return err == nil && space.Bavail*space.Frsize < 1<<20
}
