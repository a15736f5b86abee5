// Package extract reads what a clinic's systems have put out: it finds the
// files of an extract, cuts them into chunks at record boundaries, and gives
// each record validated, with its place, its tokens or cells, and the facts
// that decisions need: whom it is about, when, where, by whom, and what.
//
// It promises that the same bytes give the same chunks and records in every
// pass; that every line, entry and row is one record, read or rejected with a
// reason, or the whole file is an error; that memory does not grow with the
// size of a file (but for a Bundle's fullUrls); and that no error or detail
// shows a value of a record. A patient who cannot be told rejects the record.
//
// It follows FHIR R4 (4.0.1), RFC 8259 and RFC 7493 for JSON, RFC 4180 for
// rows, and Frictionless Table Schema v1 for their description. It also holds
// the element table of FHIR R4 and the classes of 45 CFR 164.514(b)(2).
package extract

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Source is a folder that an extract is put into, with the rule that tells
// when it is complete.
type Source struct {
	Name     string
	Folder   string
	Complete Completeness
	Files    []FileRule       // the first whose pattern matches a file is its rule
	Ignore   []string         // path.Match patterns of files that are no part of the extract
	Now      func() time.Time // nil: time.Now
}

// Completeness tells when an extract is all there. Exactly one field is set.
type Completeness struct {
	Marker    string        // slash path of a file that is written last
	StableFor time.Duration // no file has changed for so long
	Manifest  string        // slash path of a file of SHA-256 lines as sha256sum writes them, of all files
}

// ErrIncomplete means that the extract is not all there yet: try again later.
var ErrIncomplete = errors.New("the extract is not complete")

func incomplete(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrIncomplete, fmt.Sprintf(format, args...))
}

// List gives the files of the extract, in the byte order of their slash
// paths, whatever the file system's order is. It is an error when the
// completeness rule is not met (ErrIncomplete), when a file is there that no
// rule is for, and when a link leads out of the folder.
func (s *Source) List(ctx context.Context) ([]File, error) {
	files, modified, err := s.walk(ctx)
	if err == nil {
		err = s.complete(ctx, files, modified)
	}
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	return files, nil
}

// walk finds the data files and when each was modified, by its name.
func (s *Source) walk(ctx context.Context) ([]File, map[string]time.Time, error) {
	root, err := filepath.EvalSymlinks(s.Folder)
	if err != nil {
		return nil, nil, fmt.Errorf("the folder cannot be read: %w", err)
	}
	var files []File
	modified := map[string]time.Time{}
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		rule, err := s.rule(name)
		if err != nil || rule == nil {
			return err
		}
		at := filepath.Join(root, filepath.FromSlash(name))
		info, err := regular(root, at, name)
		if err != nil {
			return err
		}
		files = append(files, File{Name: name, Path: at, Rule: rule, Size: info.Size()})
		modified[name] = info.ModTime()
		return nil
	})
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for i := range files {
		files[i].Index = i
	}
	return files, modified, err
}

// rule finds the rule of a file, nil for one that is no data.
func (s *Source) rule(name string) (*FileRule, error) {
	if name == s.Complete.Marker || name == s.Complete.Manifest {
		return nil, nil
	}
	for _, pattern := range s.Ignore {
		if ok, err := path.Match(pattern, name); ok || err != nil {
			return nil, wrongPattern(pattern, err)
		}
	}
	for i := range s.Files {
		rule := &s.Files[i]
		if ok, err := path.Match(rule.Pattern, name); ok || err != nil {
			return rule, wrongPattern(rule.Pattern, err)
		}
	}
	return nil, &FileError{File: name, Reason: "no rule of the source is for this file; give it one, or list it under ignore"}
}

func wrongPattern(pattern string, err error) error {
	if err != nil {
		return fmt.Errorf("pattern %q: %w", pattern, err)
	}
	return nil
}

// regular sees that a path is a file below root, links resolved.
func regular(root, at, name string) (fs.FileInfo, error) {
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return nil, &FileError{File: name, Reason: "cannot be read", Err: err}
	}
	if relative, err := filepath.Rel(root, real); err != nil || !filepath.IsLocal(relative) {
		return nil, &FileError{File: name, Reason: "is a link that leads out of the folder; put the file itself there"}
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, &FileError{File: name, Reason: "cannot be read", Err: err}
	}
	if !info.Mode().IsRegular() {
		return nil, &FileError{File: name, Reason: "is no regular file, or a link to a folder; put the files themselves there"}
	}
	return info, nil
}

func (s *Source) complete(ctx context.Context, files []File, modified map[string]time.Time) error {
	rule := s.Complete
	switch {
	case rule.Marker != "" && rule.StableFor == 0 && rule.Manifest == "":
		if _, err := os.Stat(filepath.Join(s.Folder, filepath.FromSlash(rule.Marker))); err != nil {
			return incomplete("its marker %s is not there", rule.Marker)
		}
		return nil
	case rule.StableFor > 0 && rule.Marker == "" && rule.Manifest == "":
		return s.stable(files, modified)
	case rule.Manifest != "" && rule.Marker == "" && rule.StableFor == 0:
		return s.listed(ctx, files)
	}
	return errors.New("exactly one of marker, stable_for and manifest must say when the extract is complete")
}

// stable sees that no file has been written to lately. A folder without any
// file may be one that has yet to be filled.
func (s *Source) stable(files []File, modified map[string]time.Time) error {
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	if len(files) == 0 {
		return incomplete("no file is there")
	}
	for _, f := range files {
		if age := now().Sub(modified[f.Name]); age < s.Complete.StableFor {
			return incomplete("%s has changed within %s", f.Name, s.Complete.StableFor)
		}
	}
	return nil
}
