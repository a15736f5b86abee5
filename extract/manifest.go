package extract

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// listed sees that the manifest lists the files that are there, no more and
// no fewer, and that each has the SHA-256 it says.
func (s *Source) listed(ctx context.Context, files []File) error {
	sums, err := s.manifest()
	if err != nil {
		return err
	}
	for _, f := range files {
		want, ok := sums[f.Name]
		if !ok {
			return incomplete("%s is not in the manifest %s", f.Name, s.Complete.Manifest)
		}
		got, err := sumOf(ctx, f.Path)
		if err != nil {
			return &FileError{File: f.Name, Reason: "cannot be read", Err: err}
		}
		if got != want {
			return incomplete("%s is not as the manifest %s says: wait for the rest of it, or fetch it again", f.Name, s.Complete.Manifest)
		}
		delete(sums, f.Name)
	}
	for name := range sums {
		if rule, err := s.rule(name); err != nil || rule != nil {
			return errors.Join(err, incomplete("%s is in the manifest %s and is not there", name, s.Complete.Manifest))
		}
	}
	return nil
}

// manifest reads lines of the form that sha256sum writes: 64 hexadecimal
// digits, a space, a space or an asterisk, and the slash path.
func (s *Source) manifest() (map[string]string, error) {
	name := s.Complete.Manifest
	f, err := os.Open(filepath.Join(s.Folder, filepath.FromSlash(name)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, incomplete("its manifest %s is not there", name)
	}
	if err != nil {
		return nil, &FileError{File: name, Reason: "cannot be opened", Err: err}
	}
	defer f.Close()
	const digits = 2 * sha256.Size
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := int64(1); lines.Scan(); n++ {
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			continue
		}
		if len(line) < digits+3 || line[digits] != ' ' || line[digits+1] != ' ' && line[digits+1] != '*' {
			return nil, &FileError{File: name, Line: n, Reason: "is no line as sha256sum writes it"}
		}
		sum := string(bytes.ToLower(line[:digits]))
		if _, err := hex.DecodeString(sum); err != nil {
			return nil, &FileError{File: name, Line: n, Reason: "is no line as sha256sum writes it"}
		}
		file := string(bytes.TrimPrefix(line[digits+2:], []byte("./")))
		if before, met := sums[file]; met && before != sum {
			return nil, &FileError{File: name, Line: n, Reason: "names a file a second time, with another sum"}
		}
		sums[file] = sum
	}
	if err := lines.Err(); err != nil {
		return nil, &FileError{File: name, Reason: "cannot be read", Err: err}
	}
	return sums, nil
}

// sumOf is the hex SHA-256 of a file's stored bytes.
func sumOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	for {
		if _, err := io.CopyN(h, f, chunkSize); errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		} else if err := errors.Join(err, ctx.Err()); err != nil {
			return "", err
		}
	}
}
