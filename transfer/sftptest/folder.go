package sftptest

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/pkg/sftp"
)

var errFull = errors.New("no space left")

type folder struct {
	server *Server
	conn   net.Conn
}

func (f *folder) refuses(method string) error {
	if method == f.server.CutAt && f.server.cut.Load() && f.server.cutAt.CompareAndSwap(false, true) {
		_ = f.conn.Close()
		return net.ErrClosed
	}
	if slices.Contains(f.server.Refuse, method) {
		return sftp.ErrSSHFxPermissionDenied
	}
	if slices.Contains(f.server.Hang, method) {
		<-f.server.open.Done()
	}
	return nil
}

// local is a path under the root; os.Root refuses what would leave it.
func local(p string) string {
	p = strings.TrimPrefix(path.Clean("/"+p), "/")
	if p == "" {
		return "."
	}
	return p
}

func (f *folder) Fileread(r *sftp.Request) (io.ReaderAt, error) {
	if err := f.refuses("Get"); err != nil {
		return nil, err
	}
	file, err := f.server.root.Open(local(r.Filepath))
	if err != nil {
		return nil, err
	}
	if f.server.ReadOnce {
		if err := f.server.root.Remove(local(r.Filepath)); err != nil {
			return nil, err
		}
	}
	return &reading{file, f.server.ShortReads}, nil
}

type reading struct {
	*os.File
	short bool
}

func (r *reading) ReadAt(p []byte, off int64) (int, error) {
	if r.short && len(p) > 7 {
		p = p[:7]
	}
	return r.File.ReadAt(p, off)
}

func (f *folder) Filewrite(r *sftp.Request) (io.WriterAt, error) {
	if err := f.refuses("Put"); err != nil {
		return nil, err
	}
	flags, wish := os.O_WRONLY, r.Pflags()
	if wish.Read {
		return nil, sftp.ErrSSHFxPermissionDenied // as many mailboxes do
	}
	for flag, on := range map[int]bool{os.O_CREATE: wish.Creat, os.O_EXCL: wish.Excl, os.O_TRUNC: wish.Trunc} {
		if on {
			flags |= flag
		}
	}
	file, err := f.server.root.OpenFile(local(r.Filepath), flags, 0o644)
	if err != nil {
		return nil, err
	}
	return &writing{file, f}, nil
}

type writing struct {
	*os.File
	folder *folder
}

// WriteAt breaks the connection, or runs full, where it was told to.
func (w *writing) WriteAt(p []byte, off int64) (int, error) {
	s := w.folder.server
	if s.Quota > 0 && off+int64(len(p)) > s.Quota {
		return 0, errFull
	}
	total := s.uploaded.Add(int64(len(p)))
	if s.CutAfter > 0 && total > s.CutAfter && s.cut.CompareAndSwap(false, true) {
		_ = w.folder.conn.Close()
		return 0, net.ErrClosed
	}
	return w.File.WriteAt(p, off)
}

func (f *folder) Filecmd(r *sftp.Request) error {
	if err := f.refuses(r.Method); err != nil {
		return err
	}
	root := f.server.root
	switch r.Method {
	case "Rename":
		// SFTP v3 (draft-02 §6.5): an existing target is an error.
		if _, err := root.Lstat(local(r.Target)); !errors.Is(err, fs.ErrNotExist) {
			return sftp.ErrSSHFxFailure
		}
		return root.Rename(local(r.Filepath), local(r.Target))
	case "Remove":
		return root.Remove(local(r.Filepath))
	}
	return sftp.ErrSSHFxOpUnsupported
}

// PosixRename replaces the target.
func (f *folder) PosixRename(r *sftp.Request) error {
	if err := f.refuses("PosixRename"); err != nil {
		return err
	}
	return f.server.root.Rename(local(r.Filepath), local(r.Target))
}

func (f *folder) Filelist(r *sftp.Request) (sftp.ListerAt, error) {
	if err := f.refuses(r.Method); err != nil {
		return nil, err
	}
	if r.Method != "List" {
		info, err := f.server.root.Stat(local(r.Filepath))
		if err != nil {
			return nil, err
		}
		return listing{info}, nil
	}
	dir, err := f.server.root.Open(local(r.Filepath))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if f.server.Endless {
		return endless{}, nil
	}
	infos, err := dir.Readdir(-1)
	return listing(infos), err
}

// endless lists files of a name that others ignore.
type endless struct{}

func (endless) ListAt(into []fs.FileInfo, _ int64) (int, error) {
	for i := range into {
		into[i] = endless{}
	}
	return len(into), nil
}

func (endless) Name() string       { return strings.Repeat("x", 200) }
func (endless) Size() int64        { return 1 }
func (endless) Mode() fs.FileMode  { return 0 }
func (endless) ModTime() time.Time { return time.Time{} }
func (endless) IsDir() bool        { return false }
func (endless) Sys() any           { return nil }

type listing []fs.FileInfo

func (l listing) ListAt(into []fs.FileInfo, offset int64) (int, error) {
	if offset >= int64(len(l)) {
		return 0, io.EOF
	}
	n := copy(into, l[offset:])
	if n < len(into) {
		return n, io.EOF
	}
	return n, nil
}
