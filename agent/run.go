package agent

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// RunOptions are the recorded inputs of one run.
type RunOptions struct {
	AsOf       extract.Day // fixes periods and ages; today when NoDay
	DecidedAt  time.Time   // judges consent, restriction, agreement; now when zero. Only a dry run may set it
	Workers    int         // two when zero
	Occurrence string      // civil time of the scheduled occurrence that this run settles; "" by hand
	DryRun     bool        // count every disposition, seal nothing
	Progress   func(stage string, bytes int64)
	Book       func(*ClinicBook) // unless nil, is told the account of a run that has ended well
}

// What a run did, as package build tells it.
type (
	Outcome   = build.Outcome
	Balance   = build.Balance
	StageTime = build.StageTime
	Changes   = build.Changes
)

// run is one execution of an exchange: what the build of its drop stands on,
// and the commit.
type run struct {
	agent  *Agent
	x      *exchange
	policy *policies.Policy
	opt    RunOptions
	lease  *Lease

	signer, successor ssh.Signer // of the drop, see Agent.signers
	tables            *consent.Tables
	lookUps           map[string]*build.Table
	inputs            []acceptedInput
	reading           int64 // of the inputs, see revocationSchema
	scratchDir        string
	dropDir           string
	builder           *transfer.Builder
	bare              *transfer.Bare // nil: a drop is sent
	indexKey          *age.X25519Identity
	memory            *memory
	built             *build.Run
	stages            *build.Stages
	ledgerSize        int64 // of the checkpoint in the book
	observe           func(n int64, about consent.Subject, reason extract.Reason)
	inspect           func(rec *extract.Record, reasons extract.ReasonSet, part2 bool)
	seen              string // see quarantine.seen
	identity          string // of what this run read, see identify; known once it has read it
	review            *reviewFile
	committing        bool // from here on only the database knows whether the drop is committed
}

// Run executes an exchange once: index, decide, transform, gate, seal, commit.
// Delivery is Deliver's; the committed drop waits for it in the queue.
func (a *Agent) Run(ctx context.Context, name string, opt RunOptions) (*Outcome, error) {
	x, err := a.load(name)
	if err != nil {
		return nil, err
	}
	if !opt.DryRun {
		if err := a.mayLeave(ctx, x); err != nil {
			return nil, err
		}
	}
	r := a.newRun(x, opt)
	if !opt.DryRun {
		if r.lease, err = takeLease(ctx, a.db, name, leaseOwner(), a.Now); err != nil {
			return nil, err
		}
		defer r.lease.Release()
		ctx = r.lease.Context
		if err := a.sweep(ctx, x.config.ID); err != nil {
			return nil, fmt.Errorf("clear what an earlier run left: %w", err)
		}
	}
	err = r.execute(ctx)
	if err = errors.Join(err, r.clean(err != nil)); err != nil {
		return nil, err
	}
	outcome := r.built.Outcome()
	outcome.ToMend = len(r.doubts())
	if opt.Book != nil {
		opt.Book(&ClinicBook{r.built.ClinicBook()})
	}
	return outcome, nil
}

func (a *Agent) newRun(x *exchange, opt RunOptions) *run {
	if opt.DecidedAt.IsZero() || !opt.DryRun {
		opt.DecidedAt = a.Now()
	}
	opt.DecidedAt = opt.DecidedAt.In(a.Config.Zone)
	if opt.AsOf == extract.NoDay || opt.AsOf == 0 { // 1970-01-01 is the zero value, not a date to ask about
		opt.AsOf = extract.DayOf(opt.DecidedAt)
	}
	if opt.Workers == 0 {
		opt.Workers = 2
	}
	tables := consent.NewTables()
	tables.Merges.On = extract.DayOf(opt.DecidedAt)
	return &run{agent: a, x: x, policy: x.policy, opt: opt, tables: tables, lookUps: map[string]*build.Table{}, stages: &build.Stages{Exchange: x.name}}
}

func (r *run) execute(ctx context.Context) error {
	if err := r.stages.Do(ctx, "prepare", r.tables, r.prepare); err != nil {
		return err
	}
	if err := r.built.Execute(ctx); err != nil || r.opt.DryRun {
		return r.quarantined(ctx, err)
	}
	return r.stages.Do(ctx, "commit", r.tables, r.commit)
}

// prepare opens everything that can fail before the first record is read.
func (r *run) prepare(ctx context.Context) error {
	files, err := r.x.source.List(ctx)
	if err != nil {
		if errors.Is(err, extract.ErrIncomplete) {
			return fail(Unexpected, err, "run again when it is whole; `postern serve` does so by itself", "")
		}
		return fail(Configuration, err, "", "")
	}
	r.scratchDir = filepath.Join(r.agent.scratchDir(), r.x.config.ID)
	if r.opt.DryRun {
		r.scratchDir = r.agent.planDir(r.x.config.ID)
	}
	if err := durable.MkdirAll(r.scratchDir, 0o700); err != nil {
		return fmt.Errorf("scratch folder: %w", err)
	}
	if err := r.loadInputs(ctx); err != nil {
		return err
	}
	decider, err := consent.NewDecider(r.request(), r.tables)
	if err != nil {
		return fail(PolicyRefused, err, "", "policy %s", r.policy.Name)
	}
	if r.memory, err = r.agent.openMemory(ctx, r.x, r.opt.DryRun); err != nil {
		return err
	}
	if r.signer = r.agent.signer; !r.opt.DryRun {
		if r.signer, r.successor, err = r.agent.signers(ctx, r.x); err != nil {
			return err
		}
	}
	job := &build.Job{
		Exchange: r.x.name, Recipient: r.x.config.Recipient, Policy: r.policy, Schemas: r.x.schemas, Files: files, Numbers: r.agent.Config.Organization.RecordNumbers,
		Tables: r.tables, LookUps: r.lookUps, Decider: decider, AsOf: r.opt.AsOf, DecidedAt: r.opt.DecidedAt,
		Epoch: r.memory.epoch, Memory: r.memory, Scratch: r.scratchDir,
		ShrinkLimit: cmp.Or(float64(r.agent.Config.Sources[r.x.config.Source].ShrinkLimit), usualShrink),
		Account:     r.account(), Workers: r.opt.Workers, Stages: r.stages, Progress: r.opt.Progress, Observe: r.observe, Inspect: r.inspect,
	}
	if !r.opt.DryRun {
		if err := r.openDrop(ctx, job); err != nil {
			return err
		}
	}
	r.built, err = build.New(ctx, job)
	return err
}

func (r *run) request() consent.Request {
	req := consent.Request{
		Policy: r.policy, RecipientKind: r.x.recipient.Kind, DecidedAt: r.opt.DecidedAt, AsOf: r.opt.AsOf, Period: extract.NoSpan,
		Classifier:    r.x.classifier,
		Organizations: append([]string{r.x.config.Recipient}, r.x.recipient.Identifiers...),
		Self:          append([]string{r.agent.Config.Organization.ID}, r.agent.Config.Organization.Identifiers...),
	}
	req.Others = append(req.Others, r.agent.Config.Others...)
	for name, other := range r.agent.Config.Recipients {
		if name != r.x.config.Recipient {
			req.Others = append(append(req.Others, name), other.Identifiers...)
		}
	}
	return req
}

// openDrop begins the next drop of the exchange in a folder of its own.
func (r *run) openDrop(ctx context.Context, job *build.Job) error {
	for _, w := range r.x.warnings {
		r.agent.Log.Warn(w, "exchange", r.x.name)
	}
	err := r.forewarn(ctx)
	if err != nil {
		return err
	}
	if r.indexKey, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	if r.seen, err = r.glance(job.Files); err != nil {
		return err
	}
	job.Number = r.lease.Head + 1
	r.dropDir = fmt.Sprintf("%s.%06d.%d", r.x.config.ID, job.Number, r.lease.Fence)
	path := filepath.Join(r.agent.dropsDir(), r.dropDir)
	if err := durable.MkdirAll(path, 0o700); err != nil {
		return err
	}
	previous, voids, err := r.agent.chain(ctx, r.x.name)
	if err != nil {
		return err
	}
	if job.Before, err = r.agent.dropBefore(ctx, r.x.name); err != nil {
		return err
	}
	if r.bare, err = r.nameFiles(ctx, job.Number); err != nil {
		return err
	}
	spec := transfer.DropSpec{
		Dir: path, Sender: r.agent.Config.Organization.ID, Recipient: r.x.config.Recipient,
		Exchange: r.x.config.ID, Sequence: job.Number, Previous: previous, Voids: voids,
		Code: r.agent.Config.Organization.Code, Archive: r.agent.archive.Key, Signer: r.signer, Successor: r.successor,
		PolicySHA256: r.policy.Digest(), Envelope: r.x.envelope, Bare: r.bare,
	}
	if r.splits() {
		spec.MaxFile, job.MaxRows = r.x.recipient.Destination.maxFile(), r.x.recipient.Destination.MaxRows
	}
	if r.builder, err = transfer.NewDrop(spec); err != nil {
		return err
	}
	job.Drop, job.Archive, job.Indexed, job.Ledger = drop{r.builder}, r.agent.archive.Key, r.indexKey.Recipient(), r.ledgerBefore
	job.Exceptions, job.Review = r.exceptions, r.openReview
	return nil
}

// account is what the clinic's book tells of what the run stands on.
func (r *run) account() build.Account {
	a := build.Account{
		Closure: r.agent.closure(r.x).SHA256(), Applies: policies.Applies(r.x.recipient.Kind, r.policy.Basis, r.policy.Standard),
		Keys: build.Keys{Epoch: r.memory.epoch.Name, Signing: fingerprint(r.signer), Archive: transfer.Fingerprint(r.agent.Config.Keys.Archive)},
	}
	for _, in := range r.inputs {
		a.Inputs = append(a.Inputs, build.Input{Digest: build.Digest{Name: in.Name, SHA256: in.SHA256}, Kind: in.Kind, Rows: in.Rows})
	}
	if r.x.envelope != nil { // without one, this is a plan
		a.Keys.Recipients, a.Keys.Sealing = r.x.envelope.Fingerprints, &r.x.envelope.Sealing
	}
	return a
}

// drop is a builder as package build sees it.
type drop struct{ *transfer.Builder }

func (d drop) Part(p transfer.PartInfo) (build.Part, error) { return d.Builder.Part(p) }

// clean removes what only this run needed; of a failed run also its drop,
// unless its commit was tried: a commit that was reported as failed may have
// happened, and its bytes are all there is. Then the next run's sweep, which
// asks the database, decides.
func (r *run) clean(failed bool) error {
	var err error
	if r.built != nil {
		err = r.built.Close()
	}
	if r.review != nil {
		r.review.Abort()
	}
	if failed && r.builder != nil && !r.committing {
		r.builder.Discard()
		err = errors.Join(err, durable.RemoveAll(filepath.Join(r.agent.dropsDir(), r.dropDir)))
	}
	if r.scratchDir != "" {
		err = errors.Join(err, durable.RemoveAll(r.scratchDir))
	}
	return err
}

// ledgerBefore is the ledger's signed head before this drop, with the proof
// that it continues the one in the last drop that the recipient has. Both are
// read in one transaction: another exchange may append at this moment.
func (r *run) ledgerBefore(ctx context.Context) (transfer.Ledger, error) {
	var l transfer.Ledger
	err := inTx(ctx, r.agent.db, func(tx *sql.Tx) error {
		size, _, err := ledger.Head(ctx, tx)
		if err != nil {
			return err
		}
		checkpoint, err := ledger.Checkpoint(ctx, tx, r.agent.ledgerOrigin(), r.agent.ledgerKeys...)
		if err != nil {
			return err
		}
		if l.From, err = lastLedgerSize(ctx, tx, r.x.name); err != nil {
			return err
		}
		l.Checkpoint, r.ledgerSize = string(checkpoint), size
		if l.From == 0 {
			return nil
		}
		proof, err := ledger.Consistency(ctx, tx, l.From, size)
		l.Proof = proof.Strings()
		return err
	})
	return l, err
}

// lastLedgerSize is the size of the checkpoint in the last drop that was not
// voided: the one that the recipient has seen.
func lastLedgerSize(ctx context.Context, tx *sql.Tx, exchange string) (int64, error) {
	var size int64
	err := tx.QueryRowContext(ctx, `SELECT coalesce(max(ledger), 0) FROM delivery WHERE exchange = ? AND state <> ?`, exchange, stateVoided).Scan(&size)
	return size, err
}
