package explain

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

const right = "../testdata/right"

// testEnv is the surroundings that the right policies of package policies need.
func testEnv(t testing.TB) policies.Env {
	return policies.Env{
		Schemas: schemas(t, "../testdata/schemas", "scores", "visits", "depression-episodes", "wards"),
		Inputs: map[string]policies.InputInfo{
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

// libraryEnv is what the library as shipped, or filled in below dir, needs.
func libraryEnv(t testing.TB, dir string) policies.Env {
	return policies.Env{
		Schemas: schemas(t, filepath.Join(dir, "schemas"), "scores", "visits"),
		Inputs: map[string]policies.InputInfo{"payer-roster": {Kind: "roster", Columns: []string{"subject", "member_id", "from", "to"}},
			"consents": {Kind: "consents"}, "restrictions": {Kind: "restrictions"}, "programs": {Kind: "programs"}},
		Recipients: map[string]string{"acme-health-plan": "health-plan", "valley-hie": "hie", "national-outcomes-registry": "registry", "state-public-health": "public-health"},
		Today:      day("2026-07-05"), Unbuilt: true, Demo: true,
	}
}

func schemas(t testing.TB, dir string, names ...string) map[string]*extract.Schema {
	t.Helper()
	found := map[string]*extract.Schema{}
	for _, name := range names {
		schema, err := extract.LoadSchema(filepath.Join(dir, name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		found[name] = schema
	}
	return found
}

func day(text string) extract.Day {
	s, _ := extract.ParseSpan([]byte(text))
	return s.From
}

func mustLoad(t *testing.T, file string, env policies.Env) *policies.Policy {
	t.Helper()
	p, err := policies.Load(file, env)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func list(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal("no policies in", dir)
	}
	return files
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
