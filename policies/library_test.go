package policies_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/librarytest"
)

// libraryEnv is a clinic as the library expects it to be.
func libraryEnv(t *testing.T, dir string) policies.Env {
	t.Helper()
	env := policies.Env{Schemas: map[string]*extract.Schema{}, Demo: true,
		Inputs: map[string]policies.InputInfo{"payer-roster": {Kind: "roster", Columns: []string{"subject", "member_id", "from", "to"}},
			"consents": {Kind: "consents"}, "restrictions": {Kind: "restrictions"}, "programs": {Kind: "programs"}},
		Recipients: map[string]string{"acme-health-plan": "health-plan", "valley-hie": "hie", "national-outcomes-registry": "registry", "state-public-health": "public-health"}}
	for _, name := range []string{"scores", "visits"} {
		schema, err := extract.LoadSchema(filepath.Join(dir, "schemas", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		env.Schemas[name] = schema
	}
	today, _ := extract.ParseSpan([]byte("2026-07-05"))
	env.Today = today.From
	return env
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "library", name)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got {
		t.Errorf("%s (%v): got\n%s", file, err, got)
	}
}

// As shipped each policy of the library says exactly what is to be filled in,
// and can do nothing before.
func TestLibraryAsShipped(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, policies.Library()); err != nil {
		t.Fatal(err)
	}
	for _, shipped := range policies.ShippedPolicies() {
		p, err := policies.Load(filepath.Join(dir, shipped.Name+".yaml"), libraryEnv(t, dir))
		if err != nil {
			t.Errorf("%s: %v", shipped.Name, err)
			continue
		}
		_, err = policies.Check(p, libraryEnv(t, dir))
		var mistakes *strictyaml.Errors
		if !errors.As(err, &mistakes) || !mistakes.Only(policies.ErrPlaceholder) {
			t.Errorf("%s: not only placeholders are wrong with it: %v", shipped.Name, err)
			continue
		}
		golden(t, shipped.Name+".placeholders.txt", strings.ReplaceAll(err.Error(), dir+string(filepath.Separator), "")+"\n")
	}
}

// Filled in, each passes and proves what it promises; but a sample is no legal
// text outside a demo.
func TestLibraryFilledIn(t *testing.T) {
	dir := t.TempDir()
	if err := librarytest.Fill(dir); err != nil {
		t.Fatal(err)
	}
	for _, shipped := range policies.ShippedPolicies() {
		p, err := policies.Load(filepath.Join(dir, shipped.Name+".yaml"), libraryEnv(t, dir))
		if err != nil {
			t.Errorf("%s: %v", shipped.Name, err)
			continue
		}
		env := libraryEnv(t, dir)
		proof, err := policies.Check(p, env)
		if err != nil {
			t.Errorf("%s: %v", shipped.Name, err)
			continue
		}
		golden(t, shipped.Name+".proof.txt", proof.String())
		env.Demo = false
		if _, err := policies.Check(p, env); (err != nil) != (p.Notices.Part2 != "") {
			t.Errorf("%s: a sample outside a demo: %v", shipped.Name, err)
		}
	}
}

// The library's six policies, and what `policy list` says of each; the schemas
// are those of the synthetic clinic, on which they are tried out.
func TestLibraryIsWhole(t *testing.T) {
	var names []string
	for _, shipped := range policies.ShippedPolicies() {
		names = append(names, shipped.Name)
		if len(shipped.About) < 40 || strings.Contains(shipped.About, "#") {
			t.Errorf("%s: %q says too little", shipped.Name, shipped.About)
		}
		if cases, _ := fs.Glob(policies.Library(), "cases/"+shipped.Name+"/*.yaml"); len(cases) < 8 {
			t.Errorf("%s has %d cases", shipped.Name, len(cases))
		}
	}
	if want := []string{"access-utilization", "members-scores", "program-screening", "public-health", "registry-outcomes", "treatment-fhir"}; !slices.Equal(names, want) {
		t.Errorf("the library has %v", names)
	}
	dir := t.TempDir()
	if _, err := synthetic.Write(dir, synthetic.Options{Patients: 1, Visits: true}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"schemas/scores.json", "schemas/visits.json"} {
		mine, err := os.ReadFile(filepath.Join(dir, name))
		theirs, ours := fs.ReadFile(policies.Library(), name)
		if err != nil || ours != nil || string(mine) != string(theirs) {
			t.Errorf("%s is another than the synthetic clinic's: %v %v", name, err, ours)
		}
	}
}
