// Package librarytest fills in the library with sample values, for tests: a
// library that nobody can fill in is none. Its legal texts say that they are
// samples, so that only a demo's configuration takes them.
package librarytest

import (
	_ "embed" // the sample values
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

//go:embed samples.yaml
var samples []byte

// Fill writes the library below dir with the sample values in its open places.
func Fill(dir string) error {
	var values map[string]map[string]string // by policy and key path
	if _, err := strictyaml.Decode("samples.yaml", samples, &values); err != nil {
		return err
	}
	return fs.WalkDir(policies.Library(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(dir, filepath.FromSlash(name))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		text, err := fs.ReadFile(policies.Library(), name)
		if err != nil {
			return err
		}
		switch sample := values[strings.TrimSuffix(name, ".yaml")]; {
		case sample != nil:
			text, err = policies.Fill(name, text, sample)
		case strings.HasPrefix(name, "texts/"):
			text = []byte(policies.SampleText)
		}
		return errors.Join(err, os.WriteFile(target, text, 0o600))
	})
}
