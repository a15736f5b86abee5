package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// Checked is a configuration that was found to be in order.
type Checked struct {
	Config *Config
	Proofs map[string]*policies.Proof // by exchange
	// Warnings are of what will stop an exchange soon.
	Warnings []string
}

// CheckFile reads a configuration that may still be a draft, its keys and its
// policies, by the code that runs them, and reports all that is wrong or still
// to be filled in, at once. It opens no state and no connection.
func CheckFile(file string) (*Checked, error) {
	config, source, err := readConfig(file, strictyaml.Drafts)
	if source == nil {
		return nil, err
	}
	var failures []error
	if open := source.Placeholders(); len(open) > 0 {
		failures = append(failures, fail(Configuration, errors.Join(asErrors(open)...), "", ""))
	}
	if err != nil { // what policies stand on is not there
		return nil, countFailures(append(failures, err))
	}
	a := &Agent{Config: config, Log: hclog.NewNullLogger(), Now: time.Now}
	if !source.IsPlaceholder("organization.id") { // which stands in the checkpoint key
		if err := a.openKeys(); err != nil {
			failures = append(failures, err)
		}
	}
	recipients, _ := config.recipientsOf("") // of "" it knows no error
	for _, name := range recipients {
		if s := config.Recipients[name].Destination.SFTP; s != nil {
			if _, err := s.login(config.Dir); err != nil {
				failures = append(failures, err)
			}
		}
	}
	proofs, warnings, err := a.check()
	if err != nil {
		failures = append(failures, err)
	}
	if len(failures) > 0 {
		return nil, countFailures(failures)
	}
	return &Checked{config, proofs, warnings}, nil
}

// countFailures says before a list how long it is.
func countFailures(list []error) error {
	all := joinFailures(list)
	if n := strings.Count(all.What, "\n") + 1; n > 1 {
		all.What = fmt.Sprintf("%d things are to be mended or filled in:\n%s", n, all.What)
	}
	return all
}

func asErrors(mistakes []strictyaml.Mistake) []error {
	list := make([]error, len(mistakes))
	for i, m := range mistakes {
		list[i] = m
	}
	return list
}

// servable is an error when an exchange cannot be served for another reason
// than its policy: one that is refused waits for its officer, and the others
// go on.
func (a *Agent) servable() error {
	for _, e := range a.Config.Exchanges {
		if _, err := a.load(e.Key); ExitCode(err) == int(PolicyRefused) {
			a.Log.Warn("policy refused, the exchange waits", "exchange", e.Key, "error", err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// Check loads every exchange and reports all that is wrong.
func (a *Agent) Check() (map[string]*policies.Proof, error) {
	proofs, _, err := a.check()
	return proofs, err
}

func (a *Agent) check() (proofs map[string]*policies.Proof, warnings []string, err error) {
	proofs = map[string]*policies.Proof{}
	var failures []error
	for _, e := range a.Config.Exchanges {
		x, err := a.load(e.Key)
		if err == nil {
			err = x.lapsed
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		proofs[e.Key], warnings = x.proof, append(warnings, x.warnings...)
	}
	if len(failures) > 0 {
		return proofs, warnings, joinFailures(failures)
	}
	return proofs, slices.Concat(warnings, a.Config.untested(), a.Config.unscheduled(a.Now())), nil
}

// joinFailures keeps the class of the first failure, and each line once: two
// exchanges may stand on one file.
func joinFailures(list []error) *Failure {
	var lines []string
	for _, err := range list {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
	}
	return &Failure{Class: Class(ExitCode(list[0])), What: strings.Join(lines, "\n")}
}
