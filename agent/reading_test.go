package agent

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// readingAgent is an agent with a registry and a state, and nothing to send.
func readingAgent(t *testing.T) (a *Agent, deny func(rows string)) {
	t.Helper()
	dir := t.TempDir()
	config := &Config{Dir: dir, State: "state", Zone: time.UTC, Inputs: map[string]InputConfig{
		"consents": {Kind: RegistryInput, File: "consents.csv", MaxAge: strictyaml.Duration(24 * time.Hour)},
	}}
	a = &Agent{Config: config, Now: time.Now}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	a.db, err = openDatabase(context.Background(), config.StateDir())
	must(err)
	t.Cleanup(func() { must(a.db.Close()) })
	must(keyring.NewMasterFile(filepath.Join(dir, "master.key"), ""))
	a.master, err = keyring.LoadMaster("file:master.key", "", dir)
	must(err)
	return a, func(rows string) {
		t.Helper()
		must(os.WriteFile(filepath.Join(dir, "consents.csv"), []byte("patient,scope,decision,status,categories\n"+rows), 0o600))
	}
}

func (a *Agent) reading(t *testing.T) *run {
	t.Helper()
	r := a.newRun(&exchange{policy: new(policies.Policy)}, RunOptions{})
	if err := r.loadInputs(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReadingsThatCross: of two readings at a time, the one that notes later
// has in hand what stood when it began, and says no more; what both met is
// noted once.
func TestReadingsThatCross(t *testing.T) {
	ctx := context.Background()
	a, write := readingAgent(t)
	write("p1,general,deny,active,\n")
	if r := a.reading(t); r.reading != 1 {
		t.Fatalf("the first reading is number %d", r.reading)
	}
	if r := a.reading(t); r.reading != 1 {
		t.Fatalf("a reading that meets nothing new is number %d", r.reading)
	}
	known, err := a.knownRevocations(ctx)
	if err != nil {
		t.Fatal(err)
	}
	write("p1,general,deny,active,\np2,general,deny,active,\n")
	if r := a.reading(t); r.reading != 2 {
		t.Fatalf("the reading between is number %d", r.reading)
	}
	write("p1,general,deny,active,\np2,general,deny,active,\np3,general,deny,active,\n")
	late := a.newRun(&exchange{policy: new(policies.Policy)}, RunOptions{})
	for _, name := range late.inputNames() {
		if err := late.loadInput(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := late.noteRevocations(ctx, known); err != nil {
		t.Fatal(err)
	}
	if late.reading != 1 {
		t.Errorf("the reading that was overtaken says it has %d", late.reading)
	}
	if n := count(t, a, `SELECT count(*) FROM revocation`); n != 3 {
		t.Errorf("%d revocations of three people", n)
	}
	if r := a.reading(t); r.reading != 3 {
		t.Errorf("the reading after both is number %d", r.reading)
	}
}

func count(t *testing.T, a *Agent, query string, args ...any) (n int) {
	t.Helper()
	if err := a.db.QueryRow(query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestVoidedByWhatCameLater: a drop that knew a revocation when it was made was
// not voided because of it, and one of somebody else voided nothing.
func TestVoidedByWhatCameLater(t *testing.T) {
	ctx := context.Background()
	a, write := readingAgent(t)
	write("p1,general,deny,active,PSY\n")
	r := a.reading(t)
	if err := a.noteJudged(ctx, a.db, "x", 1, madeByRun, r.reading); err != nil {
		t.Fatal(err)
	}
	write("p1,general,deny,active,PSY\np1,general,deny,active,\np2,general,deny,active,\n")
	a.reading(t)
	person := a.keyedHash("revocation-person")([]byte("p1"))
	err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		return a.noteVoided(ctx, tx, "x", 1, []int64{1, 2}, [][16]byte{person})
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, a, `SELECT count(*) FROM voided_by WHERE reading = 2 AND number IN (1, 2)`); n != 2 || count(t, a, `SELECT count(*) FROM voided_by`) != 2 {
		t.Errorf("%d causes", n)
	}
}
