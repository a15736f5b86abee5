package agent

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
)

// Filter is the engine alone, for measuring and testing it: no consent, no
// whole-release checks, no gate. Its output is no release. Codes come from a
// stream of its own, so they never meet a drop's.
type Filter struct {
	Policy  string // path
	Dataset string
	Schema  string // path, of a delimited dataset
	In      string // path of a file; a policy with a cohort reads it twice
	AsOf    extract.Day
	Keys    string // folder with a master key, for codes that repeat; "" draws new ones
	Workers int
}

// Filtered says what a filter did.
type Filtered struct {
	Balance *Balance
	Counts  deid.Counts
}

// Run writes to out what the policy's release of the dataset makes of the file.
func (f *Filter) Run(ctx context.Context, out io.Writer) (*Filtered, error) {
	file, err := f.file()
	if err != nil {
		return nil, err
	}
	schemas := map[string]*extract.Schema{}
	if file.Rule.Schema != nil {
		schemas[f.Dataset] = file.Rule.Schema
	}
	// Inputs and recipients belong to an exchange; the engine alone has none,
	// so the policy is checked for what concerns fields only.
	env := policies.Env{Schemas: schemas, Alone: true, Demo: true}
	policy, err := policies.Load(f.Policy, env)
	if err == nil {
		_, err = policies.Check(policy, env)
	}
	if err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	secret := keyring.NewSecret()
	if f.Keys != "" {
		master, err := keyring.LoadMaster("file:"+filepath.Join(f.Keys, "master.key"), "", ".")
		if err != nil {
			return nil, fail(KeyTrouble, err, "", "")
		}
		secret = master.Key("deid")
	}
	plan, err := deid.Compile(policy, f.Dataset, deid.Options{AsOf: f.AsOf, Schema: file.Rule.Schema, Secret: &secret})
	if err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	job := &build.Job{Policy: policy, Files: []extract.File{file}, AsOf: f.AsOf, Workers: max(f.Workers, 1)}
	if policy.Cohort != nil && policy.Cohort.Dataset == f.Dataset {
		if info, err := os.Stat(f.In); err != nil || !info.Mode().IsRegular() {
			return nil, fail(Usage, err, "give a file instead of a pipe", "the policy has a cohort, so the input is read twice")
		}
	}
	balance, counts, err := build.Filter(ctx, job, plan, keyring.NewStream(secret, "deid"), out)
	if err != nil {
		return nil, err
	}
	return &Filtered{balance, counts}, nil
}

func (f *Filter) file() (extract.File, error) {
	rule := &extract.FileRule{Format: extract.FHIRNDJSON}
	if extract.TypeOf(f.Dataset) == nil {
		if f.Schema == "" {
			return extract.File{}, fail(Usage, nil, "add --schema FILE, or name a FHIR resource type", "dataset %s is no FHIR resource type", f.Dataset)
		}
		schema, err := extract.LoadSchema(f.Schema)
		if err != nil {
			return extract.File{}, fail(Configuration, err, "", "")
		}
		rule = &extract.FileRule{Format: extract.Delimited, Dataset: f.Dataset, Schema: schema}
	}
	file, err := extract.FileAt(f.In, rule)
	if err != nil {
		return file, fail(Usage, err, "give a file that can be read", "input")
	}
	file.Unsummed = true
	return file, nil
}

// Text says in one line what was done.
func (f *Filtered) Text() string {
	b := f.Balance
	return fmt.Sprintf("%d of %d records of %s written, %d out of scope, %d rejected; this output is no release: no consent was asked, nothing was checked as a whole",
		b.Count(extract.Released), b.Source, b.Dataset, b.Count(extract.OutOfScope), b.Count(extract.Rejected))
}
