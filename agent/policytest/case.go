// Package policytest runs the cases of a policy: a few invented records and what
// is to become of each. They go through the run that makes drops, gate included,
// up to the moment before encryption, so what is tested is what would leave.
//
// It promises that every record of a case is expected to end somewhere, that
// nothing is kept but in a scratch folder, and that nothing is sent.
// docs/policy-tests.md is the format; cases hold invented people only, so
// differences may be shown.
package policytest

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Format is the first line of every case file of this version.
const Format = "policy-case/v1"

// Case is one case file.
type Case struct {
	Format    string            `yaml:"postern,required"`
	Title     string            `yaml:"case,required"`
	Policy    string            `yaml:"policy,required"` // path, relative to the case
	Fill      map[string]string `yaml:"fill"`            // what the policy leaves open, by key path
	AsOf      strictyaml.Date   `yaml:"as_of,required"`
	DecidedAt time.Time         `yaml:"decided_at"` // noon UTC of as_of
	Recipient recipient         `yaml:"recipient,required"`
	Clinic    []string          `yaml:"clinic"`              // how consents may name the clinic
	Others    []string          `yaml:"other_organizations"` // that consents may name, and nothing is sent to
	Schemas   map[string]string `yaml:"schemas"`             // of delimited datasets: paths, relative to the case
	Records   datasets          `yaml:"records,required"`
	Kinds     map[string]string `yaml:"kinds"` // of protective inputs whose name does not tell
	Inputs    datasets          `yaml:"inputs"`
	Expect    []expectation     `yaml:"expect"`
	Refused   string            `yaml:"refused"` // part of the message with which the run must be refused

	File string `yaml:"-"`
}

type recipient struct {
	Kind        string   `yaml:"kind,required"`
	Identifiers []string `yaml:"identifiers"`
}

// datasets are rows or resources, by the name of the dataset or input.
type datasets = strictyaml.Ordered[[]strictyaml.Node]

// expectation is what is to become of one record: exactly one disposition.
type expectation struct {
	Record     string          `yaml:"record,required"` // ID, DATASET/ID or DATASET#N
	Released   strictyaml.Node `yaml:"released"`        // the row or resource, or yes
	OutOfScope []string        `yaml:"out-of-scope"`
	Withheld   []string        `yaml:"withheld"`
	Suppressed []string        `yaml:"suppressed"`
	Rejected   []string        `yaml:"rejected"`
	Duplicate  []string        `yaml:"duplicate"`
}

// ending is a disposition with its reasons.
type ending struct {
	disposition string
	reasons     []string
}

func (e ending) String() string {
	if len(e.reasons) == 0 {
		return e.disposition
	}
	return e.disposition + ": " + strings.Join(e.reasons, ", ")
}

// same tells whether two records ended alike, in whichever order reasons are given.
func (e ending) same(other ending) bool {
	return e.disposition == other.disposition && slices.Equal(slices.Sorted(slices.Values(e.reasons)), slices.Sorted(slices.Values(other.reasons)))
}

// ending is what the expectation says, and how many endings it names.
func (e *expectation) ending() (want ending, named int) {
	for d, reasons := range map[extract.Disposition][]string{extract.OutOfScope: e.OutOfScope, extract.Withheld: e.Withheld,
		extract.Suppressed: e.Suppressed, extract.Rejected: e.Rejected, extract.Duplicate: e.Duplicate} {
		if len(reasons) > 0 {
			want, named = ending{d.String(), reasons}, named+1
		}
	}
	if !e.Released.IsEmpty() {
		want, named = ending{disposition: extract.Released.String()}, named+1
	}
	return want, named
}

// Load reads one case file. The error is a *strictyaml.Errors with all mistakes.
func Load(file string) (*Case, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the case: %w", err)
	}
	c := &Case{File: file}
	source, _ := strictyaml.Decode(file, data, c)
	errs := source.Errors()
	if c.Format != Format && source.Has("postern") {
		errs.Add(source.At("postern"), "postern", fmt.Sprintf("%q is no format of cases that this version reads", c.Format), "write postern: "+Format)
	}
	if source.Has("refused") == source.Has("expect") {
		errs.Add(source.At(""), "expect", "a case says either what becomes of its records or why the run is refused", "write one of expect: and refused:")
	}
	for i := range c.Expect {
		e := &c.Expect[i]
		path := fmt.Sprintf("expect[%d]", i)
		want, named := e.ending()
		if named != 1 {
			errs.Add(source.At(path), path, "a record ends in exactly one way", "write one of released, out-of-scope, withheld, suppressed, rejected, duplicate")
		}
		for _, reason := range want.reasons {
			if !slices.Contains(extract.ReasonNames(), reason) {
				errs.Add(source.At(path), path, fmt.Sprintf("there is no reason %q", reason), strictyaml.DidYouMean(reason, extract.ReasonNames()))
			}
		}
	}
	return c, errs.Err()
}

// Files are the case files of a folder and the folders below it, in byte order;
// of a file, that file. A YAML file that says it is something else is none.
func Files(path string) ([]string, error) {
	files, err := strictyaml.Files(path)
	return slices.DeleteFunc(files, func(name string) bool {
		if name == path {
			return false
		}
		text, e := os.ReadFile(name)
		err = errors.Join(err, e)
		return !strings.Contains(string(text), "postern: policy-case/")
	}), err
}
