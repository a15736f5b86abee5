package extract

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
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

var sumLine = regexp.MustCompile(`^([0-9A-Fa-f]{64}) [ *](?:\./)?(.+)$`)

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
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := int64(1); lines.Scan(); n++ {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if line == "" {
			continue
		}
		parts := sumLine.FindStringSubmatch(line)
		if parts == nil {
			return nil, &FileError{File: name, Line: n, Reason: "is no line as sha256sum writes it"}
		}
		sum, file := strings.ToLower(parts[1]), parts[2]
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
