package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// LoadValueSet reads a value set for use outside of a policy, and gives the
// SHA-256 of its file in hex. Mistakes are a *strictyaml.Errors; a value that is
// still to be filled in, or a map instead of codes, is one.
func LoadValueSet(path string) (*ValueSet, string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", fmt.Errorf("reading the value set: %w", err)
	}
	r := &reading{mistakes: mistakes{errs: &strictyaml.Errors{File: path}}, policy: &Policy{File: path}}
	set := r.valueSet(filepath.Base(path), data)
	for _, hole := range r.policy.unfilled {
		r.errs.Note(hole)
	}
	if set.Map != nil {
		r.errs.Add(strictyaml.Pos{Line: 1, Column: 1}, "map", "it maps codes to others", "name a file that lists codes")
	}
	sum := sha256.Sum256(data)
	return set, hex.EncodeToString(sum[:]), r.errs.Err()
}
