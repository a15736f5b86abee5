package policies

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

func testEnv(t testing.TB) Env {
	schemas := map[string]*extract.Schema{}
	for _, name := range []string{"scores", "visits", "depression-episodes", "wards"} {
		schema, err := extract.LoadSchema("testdata/schemas/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		schemas[name] = schema
	}
	return Env{
		Schemas: schemas,
		Inputs: map[string]InputInfo{
			"acme-roster":  {Kind: "roster", Columns: []string{"subject", "member_id", "from", "to"}},
			"consents":     {Kind: "consents"},
			"restrictions": {Kind: "restrictions"},
		},
		Recipients: map[string]string{
			"acme-health-plan": "health-plan", "national-outcomes-registry": "registry", "valley-care-group": "provider",
		},
		Today:   day("2026-12-01"),
		Unbuilt: true,
	}
}

func day(text string) extract.Day {
	s, _ := extract.ParseSpan([]byte(text))
	return s.From
}

func matchGolden(t *testing.T, file, got string) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err == nil && string(want) == got {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s: got\n%s", file, got)
}

// Each right policy has beside it the proof that Check gives.
func TestRight(t *testing.T) {
	for _, file := range list(t, "testdata/right/*.yaml") {
		p, err := Load(file, testEnv(t))
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		proof, err := Check(p, testEnv(t))
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		matchGolden(t, strings.TrimSuffix(file, ".yaml")+".proof.txt", proof.String())
	}
}

// Each wrong policy has beside it what Load or Check says of it: every line of
// it, and nothing else. Those called unbuilt-* are right but for what this
// version cannot carry out.
func TestWrong(t *testing.T) {
	for _, file := range list(t, "testdata/wrong/*.yaml") {
		env := testEnv(t)
		env.Unbuilt = !strings.HasPrefix(filepath.Base(file), "unbuilt-")
		p, err := Load(file, env)
		if err == nil {
			_, err = Check(p, env)
		}
		var mistakes *strictyaml.Errors
		if !errors.As(err, &mistakes) {
			t.Errorf("%s: got %v", file, err)
			continue
		}
		if !env.Unbuilt && !mistakes.Only(ErrNotInThisVersion) {
			t.Errorf("%s is wrong in other ways too", file)
		}
		var said strings.Builder
		_ = mistakes.Render(&said)
		matchGolden(t, strings.TrimSuffix(file, ".yaml")+".txt", strings.ReplaceAll(said.String(), filepath.Dir(file)+"/", ""))
	}
}

func list(t testing.TB, pattern string) []string {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("no files match", pattern)
	}
	return files
}
