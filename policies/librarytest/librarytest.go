// Package librarytest fills in the library with sample values, for tests: a
// library that nobody can fill in is none. Its legal texts say that they are
// samples, so that only a demo's configuration takes them.
package librarytest

import (
	_ "embed" // the sample values
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

//go:embed samples.yaml
var samples []byte

// Fill writes the library below dir with every placeholder filled in. It fails
// when a placeholder has no sample, or a sample no placeholder.
func Fill(dir string) error {
	var values map[string]map[string]string // by policy, then by what the placeholder says
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
		filled := string(text)
		switch policy, isPolicy := strings.CutSuffix(name, ".yaml"); {
		case isPolicy && !strings.Contains(name, "/"):
			filled, err = fill(filled, values[policy])
		case strings.HasPrefix(name, "texts/"):
			filled = policies.SampleText + ". " + strings.TrimPrefix(filled, strictyaml.PlaceholderPrefix)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return os.WriteFile(target, []byte(filled), 0o600)
	})
}

var placeholder = regexp.MustCompile(`([a-z0-9_]+: *\[?)` + strictyaml.PlaceholderPrefix + ` [^\]}\n]*`)

// fill replaces the placeholders of one policy, each by the sample of its key.
func fill(text string, values map[string]string) (string, error) {
	var missing error
	used := map[string]bool{}
	filled := placeholder.ReplaceAllStringFunc(text, func(found string) string {
		before := placeholder.FindStringSubmatch(found)[1]
		key, _, _ := strings.Cut(before, ":")
		value, ok := values[key]
		if !ok || used[key] {
			missing = fmt.Errorf("no sample for %s, or a second placeholder there", key)
		}
		used[key] = true
		return before + value
	})
	for key := range values {
		if !used[key] {
			missing = fmt.Errorf("%s is no placeholder", key)
		}
	}
	return filled, missing
}
