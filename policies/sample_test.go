package policies

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A legal text is the officer's: a placeholder is refused always, a sample
// unless the clinic is a demo's.
func TestSampleTexts(t *testing.T) {
	policy, err := os.ReadFile("testdata/right/acme-phq9-gad7.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][2]string{ // what Check says in a clinic, and in a demo
		"the officer's wording":               {"", ""},
		"FILL IN the notice":                  {"is still to be filled in", "is still to be filled in"},
		"\n" + SampleText + ". The notice.":   {"is a sample and no legal text", ""},
		SampleText + ", and FILL IN the rest": {"is still to be filled in", "is still to be filled in"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "p.yaml")
		if err := errors.Join(os.Mkdir(filepath.Join(dir, "texts"), 0o700), os.WriteFile(file, policy, 0o600),
			os.WriteFile(filepath.Join(dir, "texts", "part2-notice.txt"), []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		p := mustLoad(t, file)
		for i, demo := range []bool{false, true} {
			env := testEnv(t)
			env.Demo = demo
			_, err := Check(p, env)
			if (err == nil) != (want[i] == "") || err != nil && (!errors.Is(err, ErrPlaceholder) || !strings.Contains(err.Error(), "notices.part2: the text in texts/part2-notice.txt "+want[i])) {
				t.Errorf("%q, demo %v: %v", text, demo, err)
			}
		}
	}
}
