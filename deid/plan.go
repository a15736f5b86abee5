package deid

import (
	"errors"
	"fmt"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
)

// Plan is the compiled release of one dataset. It is immutable and may be
// shared; each worker takes an Engine of its own.
type Plan struct {
	dataset string
	rules   rules
	scope   scope
	cohort  *cohort
	secret  keyring.Secret

	root  *node    // FHIR: the tree of named members
	start []byte   // FHIR: the opening of each line, up to the first member
	paths []string // of the counters, in plan order

	number func([]byte) bool // the form of numbers

	cells   []cell // delimited: the columns of the output
	unnamed int    // delimited: index of the first counter of a column that is not released
	lookups []LookUp
	rowKey  bool
	laid    *laid // nil: the columns are ours
}

// Options are what a plan needs beside its policy.
type Options struct {
	AsOf   extract.Day     // fixes periods and ages
	Schema *extract.Schema // of a delimited dataset; nil for FHIR
	Secret *keyring.Secret // of the epoch, for tokens and shifts; nil draws one that no drop has
}

// Compile makes the plan of one dataset of the policy. Of a policy that names no
// layout, rows leave as CSV and resources as NDJSON. The policy is taken as
// loaded and checked; Compile still refuses what the standard forbids, so that
// no path around the check leads to a release.
func Compile(p *policies.Policy, dataset string, opt Options) (*Plan, error) {
	release, err := releaseOf(p, dataset)
	if err != nil {
		return nil, err
	}
	plan := &Plan{dataset: dataset, number: formOf(p, extract.Number, nil)}
	if opt.Secret != nil {
		plan.secret = *opt.Secret
	} else {
		plan.secret = keyring.NewSecret()
	}
	if plan.rules, err = newRules(p, opt.AsOf); err != nil {
		return nil, compileError(p, dataset, "", err)
	}
	if plan.cohort, err = newCohort(p, dataset, opt); err != nil {
		return nil, compileError(p, dataset, "", err)
	}
	if plan.scope, err = newScope(release, opt); err != nil {
		return nil, compileError(p, dataset, "only", err)
	}
	if opt.Schema != nil {
		return plan, plan.compileRows(p, release, opt.Schema)
	}
	return plan, plan.compileTree(p, release)
}

// Dataset is the name of the dataset that the plan is for.
func (pl *Plan) Dataset() string { return pl.dataset }

func releaseOf(p *policies.Policy, dataset string) (*policies.Release, error) {
	var found *policies.Release
	for i := range p.Release {
		if p.Release[i].Dataset != dataset {
			continue
		}
		if found != nil {
			return nil, compileError(p, dataset, "", errors.New("the dataset is named twice under release; write it once"))
		}
		found = &p.Release[i]
	}
	if found == nil {
		return nil, compileError(p, dataset, "", errors.New("the policy does not release this dataset"))
	}
	return found, nil
}

func compileError(p *policies.Policy, dataset, at string, err error) error {
	where := "release." + dataset
	if at != "" {
		where += "." + at
	}
	return fmt.Errorf("%s: %s: %w", p.File, where, err)
}
