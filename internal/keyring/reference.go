package keyring

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// maxSecret bounds what a reference may point to.
const maxSecret = 1 << 20

// Resolve reads the secret that ref points to, exactly as it is stored:
//
//	file:PATH        a file that only its owner can read; base is the folder
//	                 that a relative PATH is relative to
//	env:NAME         an environment variable
//	credential:NAME  a file in $CREDENTIALS_DIRECTORY, guarded by systemd
//
// No error repeats the secret, nor a reference of unknown kind, which may be
// a secret that someone wrote in place of a reference.
func Resolve(ref, base string) ([]byte, error) {
	kind, rest, _ := strings.Cut(ref, ":")
	if rest == "" {
		kind = ""
	}
	var data []byte
	var err error
	switch kind {
	case "file":
		if !filepath.IsAbs(rest) {
			rest = filepath.Join(base, rest)
		}
		data, err = readSecret(rest, true)
	case "env":
		data = []byte(os.Getenv(rest))
	case "credential":
		data, err = readCredential(rest)
	default:
		return nil, errors.New("not a reference to a secret: write file:PATH, env:NAME or credential:NAME; " +
			"the secret itself does not belong into the configuration")
	}
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("%s is empty or not set; put the secret there", ref)
	}
	return data, nil
}

func readCredential(name string) ([]byte, error) {
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if folder == "" {
		return nil, fmt.Errorf("credential:%s: $CREDENTIALS_DIRECTORY is not set; start postern as a systemd service "+
			"with LoadCredential=%s:PATH", name, name)
	}
	if name != filepath.Base(name) || name == "." || name == ".." {
		return nil, fmt.Errorf("credential:%s: a credential's name has no folder in it", name)
	}
	return readSecret(filepath.Join(folder, name), false)
}

// readSecret judges the file that it opened, not the name, which might by
// then mean another.
func readSecret(path string, ownerOnly bool) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fmt.Errorf("%s is no file; name the file that holds the secret", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if ownerOnly && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others than its owner (mode %04o); run: chmod 600 %s",
			path, info.Mode().Perm(), path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(data) > maxSecret {
		return nil, fmt.Errorf("%s is larger than %d bytes, which no secret is; check the path", path, maxSecret)
	}
	return data, nil
}
