package policies

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Only what is open can be filled in, in whichever order and at whatever place
// of a line.
func TestLoadFilled(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "policy.yaml")
	text := strings.NewReplacer(
		"recipient: acme-health-plan", "recipient: FILL IN the plan",
		"accept_forms: [tpo-2026]", "accept_forms: [older, FILL IN the form]",
		"kind: provider-contract, id: ACME-2026-014", "kind: FILL IN its kind, id: FILL IN its number",
	).Replace(readFile(t, "../agent/demo/clinic/policies/acme-scores.yaml"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "texts"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "texts", "part2-notice.txt"), []byte("FILL IN the notice"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"recipient": "acme", "agreement.kind": "provider-contract", "agreement.id": `A "1"`, "people.consent.part2.accept_forms[1]": "tpo-2026"}
	p, err := LoadFilled(file, all, testEnv(t))
	if err != nil || p.Recipient != "acme" || p.Agreement.ID != `A "1"` || p.People.AcceptForms[1] != "tpo-2026" || len(p.unfilled) != 0 || len(p.source.Placeholders()) != 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	if p, err = LoadFilled(file, map[string]string{"agreement.id": "A"}, testEnv(t)); err != nil || len(p.source.Placeholders()) != 3 {
		t.Errorf("the others are not open any more: %v", err)
	}
	for _, key := range []string{"purpose", "absent", "release"} {
		if _, err := LoadFilled(file, map[string]string{key: "x"}, testEnv(t)); err == nil || !strings.Contains(err.Error(), key+": this is not open") {
			t.Errorf("%s was filled in: %v", key, err)
		}
	}
	if _, err := LoadFilled(filepath.Join(dir, "absent.yaml"), nil, testEnv(t)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(file, []byte("a: &b c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadFilled(file, nil, testEnv(t)); err == nil {
		t.Error("what is no policy at all was loaded")
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
