// Package agent composes the engines into runs: it reads the configuration,
// holds durable state, runs exchanges on their schedule, and delivers drops.
//
// It promises that a run which does not balance sends nothing, that a drop is
// committed in one database transaction or not at all, that everything is
// judged again before each delivery attempt, and that no log line or error
// holds a value from a record. DESIGN "Life of a record" and "Durable state"
// are its specification; docs/life-of-a-record.md tells it as a story.
package agent

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// Agent is an open clinic: configuration, keys and state.
type Agent struct {
	Config *Config
	Log    hclog.Logger
	Now    func() time.Time // the wall clock; a test may set another

	db         *sql.DB
	master     *keyring.Master
	signer     ssh.Signer
	before     ssh.Signer           // signed drops before signer did; nil: nobody is to be told of signer
	ledgerKeys []note.Signer        // sign checkpoints: the present key, and the one before while it is named
	ledgerKey  ed25519.PublicKey    // of the present one
	openPGP    *transfer.OpenPGPKey // nil: the clinic has none
	archive    transfer.Recipient
	review     age.Recipient // to whom rows are encrypted that the gate stopped
}

// Open reads the configuration and opens keys and state. Close it.
func Open(ctx context.Context, configFile string, log hclog.Logger) (*Agent, error) {
	config, err := LoadConfig(configFile)
	if err != nil {
		return nil, err
	}
	a := &Agent{Config: config, Log: log, Now: time.Now}
	if err := a.openKeys(); err != nil {
		return nil, err
	}
	if a.db, err = openDatabase(ctx, config.StateDir()); err != nil {
		if ctx.Err() != nil {
			return nil, fail(Interrupted, nil, "nothing was begun", "interrupted while the state was opened")
		}
		return nil, fail(Altered, err, "check that the state folder can be written and was not changed by hand", "open state")
	}
	if err := a.knowMaster(ctx); err != nil {
		return nil, errors.Join(err, a.db.Close())
	}
	for _, dir := range []string{a.dropsDir(), a.scratchDir()} {
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("state folder: %w", err)
		}
	}
	return a, nil
}

// Close ends the use of the state.
func (a *Agent) Close() error { return a.db.Close() }

func (a *Agent) openKeys() error {
	keys := a.Config.Keys
	var err error
	if a.master, err = keyring.LoadMaster(keys.Master, keys.Passphrase, a.Config.Dir); err != nil {
		return fail(KeyTrouble, err, ifLost(err), "master key")
	}
	if err := a.openSigners(); err != nil {
		return err
	}
	if err := a.loadOpenPGP(); err != nil {
		return err
	}
	if a.archive, err = transfer.ParseRecipient(keys.Archive); err != nil {
		return fail(KeyTrouble, err, "", "archive key")
	}
	if a.review, err = age.ParseX25519Recipient(keys.reviewKey()); err != nil {
		return fail(KeyTrouble, err, "", "review key")
	}
	return nil
}

// ifLost is what to do about a key that is not there.
func ifLost(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "restore it from its backup; `postern init` makes the keys of a new clinic"
	}
	return ""
}

func (a *Agent) dropsDir() string   { return filepath.Join(a.Config.StateDir(), "drops") }
func (a *Agent) scratchDir() string { return filepath.Join(a.Config.StateDir(), "scratch") }

// exchange is one configured exchange with all that it names, loaded.
type exchange struct {
	name       string
	config     ExchangeConfig
	recipient  RecipientConfig
	policy     *policies.Policy
	proof      *policies.Proof
	source     *extract.Source
	schemas    map[string]*extract.Schema
	tables     map[string]*extract.Schema // of the inputs of kind table
	classifier *consent.Classifier
	sealLines  []string           // the recipient's keys, as approvers sign them
	envelope   *transfer.Envelope // nil when lapsed
	warnings   []string
	lapsed     error // when a paper of the policy is not in force today, or a key cannot be used; a plan may still look
}

// load reads everything an exchange stands on, by the same code that `check`
// uses.
func (a *Agent) load(name string) (*exchange, error) {
	config, err := a.Config.Exchange(name)
	if err != nil {
		return nil, err
	}
	x := &exchange{name: name, config: config, recipient: a.Config.Recipients[config.Recipient]}
	if x.source, x.schemas, err = a.Config.source(config.Source, a.Now); err != nil {
		return nil, err
	}
	if x.classifier, err = a.Config.classifier(a.Now()); err != nil {
		return nil, err
	}
	if x.tables, err = a.Config.tables(); err != nil {
		return nil, err
	}
	env := a.Config.policyEnv(x.schemas, x.tables, a.Now())
	if x.policy, err = policies.Load(a.Config.Path(config.Policy), env); err != nil {
		remedy := "" // each mistake says its own
		if errors.As(err, new(*fs.PathError)) {
			remedy = "put the file back, or name another one under exchanges." + name + ".policy"
		}
		return nil, fail(PolicyRefused, err, remedy, "")
	}
	if x.proof, err = policies.Check(x.policy, env); err != nil {
		x.lapsed = fail(PolicyRefused, err, "", "")
	}
	switch {
	case x.policy.Recipient != config.Recipient:
		other := fail(PolicyRefused, nil, "name the same recipient in both", "policy %s is for %s, but exchange %s sends to %s",
			x.policy.Name, x.policy.Recipient, name, config.Recipient)
		return nil, joinFailures(slices.DeleteFunc([]error{other, x.lapsed}, func(err error) bool { return err == nil }))
	case err != nil && !onlyLapsed(err):
		return nil, x.lapsed
	}
	obstacles := []error{x.lapsed, a.sealTo(x)}
	if x.recipient.Bare != nil {
		obstacles = append(obstacles, a.barable(x))
	}
	if obstacles = slices.DeleteFunc(obstacles, func(err error) bool { return err == nil }); len(obstacles) == 1 {
		x.lapsed = obstacles[0]
	} else if len(obstacles) > 1 {
		x.lapsed = joinFailures(obstacles)
	}
	return x, nil
}

// onlyLapsed tells whether a policy is right but for the day.
func onlyLapsed(err error) bool {
	var mistakes *strictyaml.Errors
	return errors.As(err, &mistakes) && !slices.ContainsFunc(mistakes.List, func(m strictyaml.Mistake) bool { return m.Cause != policies.ErrNotInForce })
}

// source makes the extract source of a name, with the schemas of its datasets.
func (c *Config) source(name string, now func() time.Time) (*extract.Source, map[string]*extract.Schema, error) {
	config := c.Sources[name]
	s := &extract.Source{
		Name: name, Folder: c.Path(config.Folder), Ignore: config.Ignore, Now: now,
		Complete: extract.Completeness{Marker: config.Complete.Marker, StableFor: time.Duration(config.Complete.StableFor), Manifest: config.Complete.Manifest},
	}
	schemas := map[string]*extract.Schema{}
	for _, f := range config.Files {
		rule := extract.FileRule{Pattern: f.Match, Format: extract.Format(f.Format), Dataset: f.Dataset, Servers: extract.ServersOf(c.Organization.Identifiers)}
		if f.Schema != "" {
			if schemas[f.Dataset] == nil { // read once: what is approved is what every file is read by
				var err error
				if schemas[f.Dataset], err = extract.LoadSchema(c.Path(f.Schema)); err != nil {
					return nil, nil, fail(Configuration, err, "", "source %s", name)
				}
			}
			rule.Schema = schemas[f.Dataset]
		}
		s.Files = append(s.Files, rule)
	}
	return s, schemas, nil
}

// record appends an event to the ledger within the caller's transaction.
func (a *Agent) record(ctx context.Context, tx *sql.Tx, kind ledger.Kind, x *exchange, number int64, data any) error {
	_, err := ledger.Append(ctx, tx, ledger.Event{Kind: kind, At: a.Now().UTC(), Exchange: x.config.ID, Sequence: number, Data: data})
	return err
}

// sweep removes what a run that died left behind: scratch files, and folders
// of drops that no commit names. The caller holds the exchange's lease.
func (a *Agent) sweep(ctx context.Context, exchangeID string) error {
	known := map[string]bool{}
	var dir string
	if err := each(ctx, a.db, row{&dir}, func() error {
		known[dir] = true
		return nil
	}, `SELECT dir FROM delivery`); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(a.dropsDir(), exchangeID+".*"))
	if err != nil {
		return err
	}
	for _, path := range found {
		if !known[filepath.Base(path)] {
			if err := durable.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return errors.Join(a.sweepPlans(exchangeID), a.sweepQuarantine(ctx, exchangeID), os.RemoveAll(filepath.Join(a.scratchDir(), exchangeID)))
}
