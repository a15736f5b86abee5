package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/posternhealth/postern/internal/durable"
)

// Folder is a destination on this machine or on a mounted share. What it
// stores it reads back.
type Folder struct {
	Path    string
	Receipt string // folder where the recipient lays its receipts
	used
}

// NewFolder checks that both folders are there; they are the recipient's to
// make. Without receipts, none are looked for.
func NewFolder(path, receipts string) (*Folder, error) {
	for _, dir := range []string{path, receipts} {
		if dir == "" && receipts == "" && path != "" {
			continue
		}
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return nil, &DestinationError{Kind: ErrDestination, Where: dir, Doing: "open folder", Cause: err,
				Remedy: "make the folder, or mount the share, before the exchange runs"}
		}
	}
	return &Folder{Path: path, Receipt: receipts, used: used{Plan{Where: path, Server: "folder"}}}, nil
}

func (d *Folder) Probe(ctx context.Context, known *Plan) (Plan, error) {
	if d.use.follow(known) {
		return d.use, nil
	}
	return probe(ctx, d.open(ctx, d.Path))
}

func (d *Folder) Deliver(ctx context.Context, files []File, log func(Event)) (Evidence, error) {
	return deliverTo(ctx, d.open(ctx, d.Path), files, log)
}

func (d *Folder) Withdraw(ctx context.Context, files []File) ([]string, error) {
	return withdrawFrom(d.open(ctx, d.Path), files)
}

func (d *Folder) Gone(ctx context.Context, files []File) (bool, error) {
	return goneFrom(d.open(ctx, d.Path), files)
}

func (d *Folder) Receipts(ctx context.Context, dir string, known func(string) bool) ([]string, error) {
	return fetchReceipts(ctx, d.open(ctx, d.Receipt), dir, known)
}

func (d *Folder) Responses(ctx context.Context, want func(fs.FileInfo) bool, take func(string, io.Reader) error) error {
	return openResponses(ctx, d.open(ctx, d.Receipt), want, take)
}

func (d *Folder) Close() error { return nil }

func (d *Folder) open(ctx context.Context, path string) *folderStore {
	return &folderStore{Folder: d, ctx: ctx, dir: path}
}

type folderStore struct {
	*Folder
	ctx context.Context
	dir string
}

func (s *folderStore) where() string           { return s.dir }
func (s *folderStore) plan() *Plan             { return &s.use }
func (s *folderStore) path(name string) string { return filepath.Join(s.dir, name) }

func (s *folderStore) list() ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it went away meanwhile
			infos = append(infos, info)
		}
	}
	return infos, nil
}

func (s *folderStore) size(name string) (int64, error) {
	info, err := os.Lstat(s.path(name))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (s *folderStore) read(name string) (io.ReadCloser, error) { return os.Open(s.path(name)) }

func (s *folderStore) write(name string, from io.Reader, _ int64, again bool) error {
	if again {
		_ = s.remove(name)
	}
	file, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, &cancelled{s.ctx, from})
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		_ = s.remove(name)
	}
	return err
}

func (s *folderStore) rename(from, to string) error { return durable.Rename(s.path(from), s.path(to)) }
func (s *folderStore) remove(name string) error     { return os.Remove(s.path(name)) }

func (s *folderStore) alive() error { return nil }

func (s *folderStore) tries(t *trial) []try {
	return []try{
		{canFsync, func() error { return nil }}, // write has done it
		{canList, func() error { return mustShow(listed(s, t.name)) }},
		{canLstat, func() error { return mustShow(os.Lstat(s.path(t.name))) }},
		{canRead, func() error { return readsBack(s, t) }},
		{canRename, func() error { return t.renamed(s.rename(t.name, t.other)) }},
	}
}

func (s *folderStore) explain(doing string, err error) error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("%s: %s: %w", s.dir, doing, s.ctx.Err())
	}
	return &DestinationError{Kind: ErrDestination, Where: s.dir, Doing: doing, Cause: err,
		Remedy: "look at the folder's space and permissions; the delivery will be repeated"}
}

// cancelled makes a copy stop when its context does.
type cancelled struct {
	ctx  context.Context
	from io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.from.Read(p)
}
