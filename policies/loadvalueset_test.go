package policies

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/strictyaml"
)

func TestLoadValueSet(t *testing.T) {
	const head = "postern: value-set/v1\ntitle: x\nsource: y\nlicence: z\neffective: {from: 2025-01-01, to: open}\n"
	load := func(text string) (*ValueSet, string, error) {
		path := filepath.Join(t.TempDir(), "set.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadValueSet(path)
	}
	set, sum, err := load(head + "ranges: [F10..F19]\n")
	if err != nil || len(sum) != 64 || !set.Codes.Contains("F19.20") || set.Codes.Contains("F20") {
		t.Errorf("%v %q %v", set, sum, err)
	}
	for text, why := range map[string]string{
		head:                                  "the value set is empty",
		head + "map: {a: b}\n":                "it maps codes to others",
		head + "codes: [FILL IN our codes]\n": "FILL IN",
		head + "codez: [a]\n":                 "codez",
	} {
		var mistakes *strictyaml.Errors
		if _, _, err := load(text); !errors.As(err, &mistakes) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", why, err)
		}
	}
	if _, _, err := LoadValueSet(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// The value sets that are shipped for classifiers are read as they are.
func TestShippedSetsForClassifiers(t *testing.T) {
	for name, c := range map[string]struct{ in, out []string }{
		"icd10cm-substance-use": {[]string{"F10.20", "F1120", "F19.99"}, []string{"F20.9", "K70.30", "F09"}},
		"icd10cm-hiv":           {[]string{"B20", "Z21", "O98.711"}, []string{"B19.20", "Z20.6"}},
		"hcpcs-substance-use":   {[]string{"H0020", "G2067", "G2080"}, []string{"H0031", "G2081"}},
		"substance-use-risks":   {[]string{"75626-2", "82667-7", "K70.30", "6813"}, []string{"44261-6", "K71"}},
	} {
		set, _, err := LoadValueSet(filepath.Join("library", "sets", name+".yaml"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, code := range c.in {
			if !set.Codes.Contains(code) {
				t.Errorf("%s lacks %s", name, code)
			}
		}
		for _, code := range c.out {
			if set.Codes.Contains(code) {
				t.Errorf("%s holds %s", name, code)
			}
		}
	}
}
