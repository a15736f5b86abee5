package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// TestEveryFileOfAKindCounts: two lists of restrictions restrict together, and
// what an earlier reading restricted holds when no list is configured any more.
func TestEveryFileOfAKindCounts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("desk.csv", "subject,kind\np1,self-pay\n")
	write("portal.csv", "subject,kind\np2,agreed\n")
	write("merges.csv", "from,into\np1,p2\n")
	year := strictyaml.Duration(365 * 24 * 3600 * 1e9)
	config := &Config{Dir: dir, State: "state", Zone: time.UTC}
	config.Inputs = map[string]InputConfig{
		"desk":   {Kind: RestrictionsInput, File: "desk.csv", MaxAge: year},
		"portal": {Kind: RestrictionsInput, File: "portal.csv", MaxAge: year},
		"shadow": {Kind: MergesInput, File: "merges.csv", MaxAge: year}, // read first, whatever its name
	}
	ctx := context.Background()
	db, err := openDatabase(ctx, config.StateDir())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := keyring.NewMasterFile(filepath.Join(dir, "master.key"), ""); err != nil {
		t.Fatal(err)
	}
	master, err := keyring.LoadMaster("file:master.key", "", dir)
	if err != nil {
		t.Fatal(err)
	}
	a := &Agent{Config: config, Now: time.Now, db: db, master: master}
	restricted := func() int {
		t.Helper()
		r := a.newRun(&exchange{policy: &policies.Policy{}}, RunOptions{})
		if err := r.loadInputs(ctx); err != nil {
			t.Fatal(err)
		}
		if one, two := r.tables.People.Intern([]byte("p1")), r.tables.People.Intern([]byte("p2")); one != two {
			t.Fatal("a merge is not carried out")
		}
		return len(r.tables.Restrictions.Closing())
	}
	if n := restricted(); n != 2 {
		t.Fatalf("%d restrictions of two files", n)
	}
	config.Inputs = nil
	if n := restricted(); n != 2 {
		t.Fatalf("%d restrictions remembered", n)
	}
}
