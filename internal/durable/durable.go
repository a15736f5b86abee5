// Package durable owns every fsync and every rename of files that must
// outlive a crash: keys, state, drops, receipts.
//
// It promises that a name that a caller chose is either absent or holds the
// whole content, at every instant and after a power cut, and that a change
// that was reported as done is on the disk. The calls, in order, are
//
//	WriteFile, Create … Commit:
//	  openat(.NAME.XXXX.part, O_CREAT|O_EXCL|O_WRONLY|O_CLOEXEC), write …,
//	  fsync, close, then linkat+unlinkat (a new name) or renameat (Replace),
//	  fsync of the folder
//	Rename:    renameat, fsync of the new folder, fsync of the old one
//	Remove, RemoveAll: unlinkat, fsync of the folder
//	MkdirAll:  mkdirat, fsync of the parent, for each folder that was missing
//
// A process that is killed leaves at most private names behind, which start
// with a dot and end in ".part"; Sweep removes them. It may leave one beside
// its own finished file, when it dies between linkat and unlinkat.
//
// BUG: Windows has no fsync of a folder; there a rename may be undone by a
// power cut, though never half done. On a file system without hard links a
// new name is checked and then renamed to, so two writers of one name in one
// instant are not told apart; callers hold a lock on their folder.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// File is being written under a private name. Commit gives it its own name,
// Abort removes it; Abort after Commit does nothing, so it can be deferred.
type File struct {
	file    *os.File
	path    string
	part    string
	replace bool // Commit takes the place of a file that exists
	done    bool
	failed  error // of a Write; such a file cannot be committed
}

// Create starts a file that will be named path. The process's umask applies.
func Create(path string, perm fs.FileMode) (*File, error) {
	dir, name := filepath.Split(path)
	f := &File{path: path, part: fmt.Sprintf("%s.%s.%08x.part", dir, name, rand.Uint32())}
	err := step("create", path, func() (err error) {
		f.file, err = os.OpenFile(f.part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		return err
	})
	if err != nil {
		if f.file != nil {
			f.Abort()
		}
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return f, nil
}

// Write appends p. After an error every later Write, and Commit, gives it too.
func (f *File) Write(p []byte) (n int, err error) {
	if f.failed != nil {
		return 0, f.failed
	}
	f.failed = step("write", f.path, func() error {
		n, err = f.file.Write(p)
		return err
	})
	return n, f.failed
}

// Path is the name the file will have.
func (f *File) Path() string { return f.path }

// Commit puts the file on the disk under its name. It gives fs.ErrExist when
// the name is taken, except from ReplaceFile. After an error the name is
// untouched, unless only the last step, the fsync of the folder, failed: then
// the whole file stands there, but may be gone after a power cut.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("commit %s: %w", f.path, fs.ErrClosed)
	}
	defer f.Abort()
	if f.failed != nil {
		return fmt.Errorf("commit %s: an earlier write failed: %w", f.path, f.failed)
	}
	if err := step("sync", f.path, f.file.Sync); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	if err := step("close", f.path, f.file.Close); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	if err := step("rename", f.path, f.publish); err != nil {
		return fmt.Errorf("commit %s: %w", f.path, err)
	}
	return SyncDir(filepath.Dir(f.path))
}

// publish gives the file its name. The private name may stay as a second
// link; Abort removes it.
func (f *File) publish() error {
	if f.replace {
		return os.Rename(f.part, f.path)
	}
	err := os.Link(f.part, f.path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// No hard links here (FAT, some network mounts).
	return renameNew(f.part, f.path)
}

// Abort removes what was written.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	_ = f.file.Close()
	_ = os.Remove(f.part)
}

// WriteFile writes a new file; it gives fs.ErrExist when the name is taken.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return writeFile(path, data, perm, false)
}

// ReplaceFile writes a file, in the place of the one that may be there.
func ReplaceFile(path string, data []byte, perm fs.FileMode) error {
	return writeFile(path, data, perm, true)
}

func writeFile(path string, data []byte, perm fs.FileMode, replace bool) error {
	f, err := Create(path, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	f.replace = replace
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
}

// Rename moves a file or folder whose content is already on the disk (see
// SyncTree). It gives fs.ErrExist when the new name is taken.
func Rename(from, to string) error {
	if err := step("rename", to, func() error { return renameNew(from, to) }); err != nil {
		return fmt.Errorf("rename %s: %w", from, err)
	}
	if err := SyncDir(filepath.Dir(to)); err != nil {
		return err
	}
	if filepath.Dir(from) == filepath.Dir(to) {
		return nil
	}
	return SyncDir(filepath.Dir(from))
}

func renameNew(from, to string) error {
	if _, err := os.Lstat(to); err == nil {
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// Remove removes a file or an empty folder. A name that is absent is no error.
func Remove(path string) error { return remove(path, os.Remove) }

// RemoveAll removes a folder and all in it. A name that is absent is no error.
func RemoveAll(path string) error { return remove(path, os.RemoveAll) }

func remove(path string, with func(string) error) error {
	err := step("remove", path, func() error { return with(path) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	// RemoveAll of a name under a missing folder succeeds.
	if err := SyncDir(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// MkdirAll makes a folder and those above it that are missing.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	if info, err := os.Stat(path); err == nil {
		if !info.IsDir() {
			return fmt.Errorf("make folder %s: a file has that name", path)
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	err := step("mkdir", path, func() error { return os.Mkdir(path, perm) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	return SyncDir(parent)
}

// SyncDir puts the names in a folder on the disk.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	return syncPath("sync-dir", dir)
}

// SyncTree puts a folder on the disk with every file and folder in it, the
// folder itself last. Its own name is its parent's to sync.
func SyncTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case entry.IsDir():
			err = SyncTree(path)
		case entry.Type().IsRegular():
			err = syncPath("sync", path)
		}
		if err != nil {
			return err
		}
	}
	return SyncDir(dir)
}

func syncPath(what, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	defer f.Close()
	if err := step(what, path, f.Sync); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}

// Sweep removes the private names that a killed process left in a folder, and
// folders that have such names. The caller holds the folder's lock: a file
// being written loses its name too.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") || !strings.HasSuffix(name, ".part") {
			continue
		}
		if err := RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
