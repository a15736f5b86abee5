package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/keyring"
)

// However many goroutines transform, `postern deid` writes the same bytes.
// There are people enough for the tables of ids to grow while others look
// into them; scripts/long has the race detector look on.
func TestDeidOnSeveralWorkers(t *testing.T) {
	dir := t.TempDir()
	must(t, keyring.NewMasterFile(filepath.Join(dir, "master.key"), ""))
	var in bytes.Buffer
	for i := range 40_000 {
		fmt.Fprintf(&in, `{"resourceType":"Patient","id":"p%d","gender":"female","birthDate":"1980-02-03","address":[{"state":"MA","postalCode":"02139"}]}`+"\n", i)
	}
	f := agent.Filter{Policy: "testdata/shared-safe-harbor.yaml", Dataset: "Patient", In: filepath.Join(dir, "Patient.ndjson"), AsOf: demo.AsOf(), Keys: dir}
	must(t, os.WriteFile(f.In, in.Bytes(), 0o600))
	var first []byte
	for _, workers := range []int{1, 2, 5} {
		f.Workers = workers
		var out bytes.Buffer
		done, err := f.Run(context.Background(), &out)
		must(t, err)
		if done.Balance.Source != 40_000 || bytes.Count(out.Bytes(), []byte("\n")) != 40_000 {
			t.Fatalf("%d workers: %d records, %d lines", workers, done.Balance.Source, bytes.Count(out.Bytes(), []byte("\n")))
		}
		if first == nil {
			first = out.Bytes()
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Errorf("%d workers write something else than one", workers)
		}
	}
}

// What is measured can be measured.
func TestPoliciesOfBenchmarksAreRight(t *testing.T) {
	for _, name := range []string{"observations", "scores"} {
		dir := t.TempDir()
		f := agent.Filter{Policy: "testdata/bench/" + name + ".yaml", Dataset: "Observation", In: filepath.Join(dir, "none"), AsOf: demo.AsOf()}
		must(t, os.WriteFile(f.In, nil, 0o600))
		if name == "scores" {
			f.Dataset, f.Schema = "scores", filepath.Join("..", "policies", "library", "schemas", "scores.json")
			header := "record_id,person_id,encounter_id,service_date,instrument,total_score,status,provider_npi,birth_date,sex,race,ethnicity,language,state,zip\n"
			must(t, os.WriteFile(f.In, []byte(header), 0o600))
		}
		if _, err := f.Run(t.Context(), io.Discard); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
