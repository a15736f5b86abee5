package explain

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/librarytest"
)

// The pages in docs/explained are as they come out of the library, filled in
// with samples. UPDATE_GOLDEN=1 writes them anew; then read them aloud.
func TestExplainedPagesAreCurrent(t *testing.T) {
	dir := t.TempDir()
	if err := librarytest.Fill(dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"members-scores", "treatment-fhir", "registry-outcomes"} {
		p, err := policies.Load(filepath.Join(dir, name+".yaml"), libraryEnv(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		page, err := Of(p, libraryEnv(t, dir))
		if err != nil {
			t.Fatal(err)
		}
		for ending, got := range map[string]string{".md": page.Text(), ".html": page.HTML()} {
			file := filepath.Join("..", "..", "docs", "explained", name+ending)
			if os.Getenv("UPDATE_GOLDEN") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want, err := os.ReadFile(file); err != nil || string(want) != got {
				t.Errorf("%s (%v): got\n%s", file, err, got)
			}
		}
	}
}
