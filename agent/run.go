package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
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
}

// Outcome is what a run did.
type Outcome struct {
	Exchange  string      `json:"exchange"`
	Recipient string      `json:"recipient"`
	Number    int64       `json:"number,omitempty"` // of the committed drop; 0 of a dry run
	AsOf      string      `json:"as_of"`
	DecidedAt time.Time   `json:"decided_at"`
	Source    int64       `json:"source_records"`
	Bytes     int64       `json:"source_bytes"`
	Balances  []*Balance  `json:"balances"`
	People    int64       `json:"people"`
	Released  int64       `json:"released"`
	Withheld  int64       `json:"withheld"`
	Rejected  []Rejection `json:"rejected,omitempty"` // the first of them
	Manifest  string      `json:"manifest_sha256,omitempty"`
	Stages    []StageTime `json:"stages"`
	State     string      `json:"state,omitempty"` // of the delivery, once it was tried
}

// StageTime is how long a stage of a run took.
type StageTime struct {
	Stage   string  `json:"stage"`
	Seconds float64 `json:"seconds"`
}

// flow is the compiled release of one dataset.
type flow struct {
	dataset string
	plan    *deid.Plan
	lookups []lookup
	parts   [2]int // index of the part of general rows, and of Part 2 rows
}

type lookup struct{ roster, column string }

func (f *flow) part(part2 bool) int {
	if part2 {
		return f.parts[1]
	}
	return f.parts[0]
}

// run is one execution of an exchange.
type run struct {
	agent  *Agent
	x      *exchange
	policy *policies.Policy
	opt    RunOptions
	lease  *Lease
	number int64

	files      []extract.File
	index      *index
	tables     *consent.Tables
	inputs     []acceptedInput
	decider    *consent.Decider
	flows      map[string]*flow
	ordered    []*flow
	cohort     *flow
	rowClues   map[string][]rowClue
	scratchDir string
	dropDir    string

	sheet     *Sheet
	rejected  []Rejection
	counts    pathCounts
	epoch     *epoch
	crosswalk *crosswalk
	rowKeys   *rowKeys
	ranks     *ranks
	spill     *spill
	parts     []*partSpool
	people    peopleSet
	books     *books
	builder   *transfer.Builder
	sealed    *transfer.Sealed
	indexKey  *age.X25519Identity

	tracksReferences bool
	committing       bool            // from here on only the database knows whether the drop is committed
	referred         map[uint64]bool // of records about no patient: whether a released row refers to it
	releasedRefs     refSet          // records that are in the drop
	postponed        []postponed
	cutReferences    int64
	ledgerSize       int64

	mu     sync.Mutex
	stages []StageTime
	stage  string
	done   int64
}

// Run executes an exchange once: index, decide, transform, gate, seal, commit.
// Delivery is Deliver's; the committed drop waits for it in the queue.
func (a *Agent) Run(ctx context.Context, name string, opt RunOptions) (*Outcome, error) {
	x, err := a.load(name)
	if err != nil {
		return nil, err
	}
	if held, by, err := a.Held(ctx, name); err != nil {
		return nil, err
	} else if held && !opt.DryRun {
		return nil, fail(PolicyRefused, nil, "`postern release "+name+"` lifts it", "exchange %s is on hold (%s)", name, by)
	}
	r := a.newRun(x, opt)
	if !opt.DryRun {
		if r.lease, err = takeLease(ctx, a.db, name, leaseOwner(), a.Now); err != nil {
			return nil, err
		}
		defer r.lease.Release()
		ctx = r.lease.Context
		r.number = r.lease.Head + 1
		if err := a.sweep(ctx, x.config.ID); err != nil {
			return nil, fmt.Errorf("clear what an earlier run left: %w", err)
		}
	}
	outcome, err := r.execute(ctx)
	return outcome, errors.Join(err, r.clean(err != nil))
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
	return &run{
		agent: a, x: x, policy: x.policy, opt: opt,
		flows: map[string]*flow{}, rowClues: map[string][]rowClue{},
		sheet: newSheet(), counts: pathCounts{},
		index:    &index{people: consent.NewPeople(), roster: gate.NewRoster(0)},
		referred: map[uint64]bool{},
	}
}

func (r *run) execute(ctx context.Context) (*Outcome, error) {
	for _, stage := range []struct {
		name string
		work func(context.Context) error
	}{
		{"prepare", r.prepare},
		{"index", r.indexPass},
		{"release", r.releasePass},
		{"balance", r.checkBalance},
		{"seal", r.seal},
		{"commit", r.commit},
	} {
		if r.opt.DryRun && (stage.name == "seal" || stage.name == "commit") {
			continue
		}
		start := time.Now()
		r.holdMemory()
		if err := stage.work(ctx); err != nil {
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				return nil, fail(Interrupted, nil, "nothing was committed; run again", "exchange %s was interrupted during %s", r.x.name, stage.name)
			}
			return nil, err
		}
		r.stages = append(r.stages, StageTime{stage.name, time.Since(start).Seconds()})
	}
	return r.outcome(), nil
}

// prepare opens everything that can fail before the first record is read.
func (r *run) prepare(ctx context.Context) error {
	var err error
	if r.files, err = r.x.source.List(ctx); err != nil {
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
	if r.decider, err = consent.NewDecider(r.request(), r.tables); err != nil {
		return fail(PolicyRefused, err, "", "policy %s", r.policy.Name)
	}
	if err := r.compile(); err != nil {
		return err
	}
	return r.openOutputs(ctx)
}

func (r *run) request() consent.Request {
	req := consent.Request{
		Policy: r.policy, RecipientKind: r.x.recipient.Kind, DecidedAt: r.opt.DecidedAt, AsOf: r.opt.AsOf, Period: extract.NoSpan,
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

// compile makes the plan of each released dataset.
func (r *run) compile() error {
	for _, release := range r.policy.Release {
		plan, err := deid.Compile(r.policy, release.Dataset, deid.Options{AsOf: r.opt.AsOf, Schema: r.x.schemas[release.Dataset]})
		if err != nil {
			return fail(PolicyRefused, err, "", "")
		}
		f := &flow{dataset: release.Dataset, plan: plan}
		for _, name := range plan.Lookups() {
			l, err := splitLookup(name)
			if err != nil {
				return fail(PolicyRefused, err, "", "policy %s", r.policy.Name)
			}
			f.lookups = append(f.lookups, l)
		}
		r.flows[release.Dataset] = f
		r.ordered = append(r.ordered, f)
		if r.policy.Cohort != nil && r.policy.Cohort.Dataset == release.Dataset {
			r.cohort = f
		}
		r.tracksReferences = r.tracksReferences || r.x.schemas[release.Dataset] == nil
	}
	for dataset, schema := range r.x.schemas {
		for at, field := range schema.Fields {
			if _, identifies := rosterKinds[field.Class]; identifies {
				r.rowClues[dataset] = append(r.rowClues[dataset], rowClue{at, field.Class})
			}
		}
	}
	return nil
}

// carriesPart2 tells whether rows of a Part 2 program may be in this drop. If
// so, parts of their own are always there, empty or not, so that their absence
// says nothing.
func (r *run) carriesPart2() bool {
	return !r.policy.People.Part2LeaveOut && r.policy.Standard != policies.SafeHarbor && r.policy.Standard != policies.Aggregate
}

// openOutputs opens the epoch, the spool, the builder and the books.
func (r *run) openOutputs(ctx context.Context) error {
	var err error
	name := r.x.config.Recipient + "/" + r.policy.Purpose + "/1"
	if r.epoch, err = openEpoch(ctx, r.agent.db, r.agent.master, name); err != nil {
		return err
	}
	if r.crosswalk, err = openCrosswalk(ctx, r.agent.db, r.epoch, r.x.name, r.number); err != nil {
		return err
	}
	if r.policy.Output.Shuffle == "people" {
		r.ranks = newRanks(r.epoch, r.x.name, r.number)
	}
	if r.spill, err = newSpill(r.scratchDir); err != nil {
		return err
	}
	if r.rowKeys, err = openRowKeys(ctx, r.agent.db, r.epoch, r.x.name, r.number, r.spill); err != nil {
		return err
	}
	for _, f := range r.ordered {
		for i, part2 := range []bool{false, true} {
			f.parts[i] = f.parts[0]
			if !part2 || r.carriesPart2() {
				f.parts[i] = len(r.parts)
				r.parts = append(r.parts, newPartSpool(f.dataset, part2, f.plan, r.spill, r.ranks != nil))
			}
		}
	}
	if r.opt.DryRun {
		r.books, err = openBooks(nil, nil, nil, r.files)
		return err
	}
	return r.openBuilder(ctx)
}

func (r *run) openBuilder(ctx context.Context) error {
	var err error
	if r.indexKey, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	r.dropDir = fmt.Sprintf("%s.%06d.%d", r.x.config.ID, r.number, r.lease.Fence)
	path := filepath.Join(r.agent.dropsDir(), r.dropDir)
	if err := durable.MkdirAll(path, 0o700); err != nil {
		return err
	}
	previous, voids, err := r.agent.chain(ctx, r.x.name)
	if err != nil {
		return err
	}
	spec := transfer.DropSpec{
		Dir: path, Sender: r.agent.Config.Organization.ID, Recipient: r.x.config.Recipient,
		Exchange: r.x.config.ID, Sequence: r.number, Previous: previous, Voids: voids,
		Code: r.agent.Config.Organization.Code, Archive: r.agent.archive.Key, Signer: r.agent.signer,
		PolicySHA256: r.policy.Digest(),
	}
	for _, line := range r.x.recipient.EncryptTo {
		recipient, err := transfer.ParseRecipient(line)
		if err != nil {
			return fail(KeyTrouble, err, "", "encryption key of %s", r.x.config.Recipient)
		}
		spec.Recipients = append(spec.Recipients, recipient)
	}
	if r.builder, err = transfer.NewDrop(spec); err != nil {
		return err
	}
	r.books, err = openBooks(r.builder, r.agent.archive.Key, r.indexKey.Recipient(), r.files)
	return err
}

func (r *run) checkBalance(context.Context) error {
	if err := r.sheet.close(); err != nil {
		return err
	}
	return r.sheet.tolerate(r.policy.Tolerate.Rejected, r.rejected)
}

// clean removes what only this run needed; of a failed run also its drop,
// unless its commit was tried: a commit that was reported as failed may have
// happened, and its bytes are all there is. Then the next run's sweep, which
// asks the database, decides.
func (r *run) clean(failed bool) error {
	var err error
	if r.rowKeys != nil {
		r.rowKeys.close()
	}
	if r.spill != nil {
		err = r.spill.close()
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

// at writes a place for an error message.
func (r *run) at(p extract.Place) string {
	text := fmt.Sprintf("%s:%d", r.files[p.File].Name, p.Line)
	if p.Entry > 0 {
		text += fmt.Sprintf(" (entry %d)", p.Entry)
	}
	return text
}

// progress tells how many bytes a stage has behind it.
func (r *run) progress(stage string, bytes int) {
	if r.stage != stage {
		r.stage, r.done = stage, 0
	}
	r.done += int64(bytes)
	if r.opt.Progress != nil {
		r.opt.Progress(stage, r.done)
	}
}

func (r *run) outcome() *Outcome {
	o := &Outcome{
		Exchange: r.x.name, Recipient: r.x.config.Recipient, Number: r.number,
		AsOf: r.opt.AsOf.String(), DecidedAt: r.opt.DecidedAt, Source: r.sheet.Source(), Balances: r.sheet.Balances(),
		People: r.people.n, Released: r.sheet.Total(extract.Released), Withheld: r.sheet.Total(extract.Withheld), Stages: r.stages, Rejected: r.rejected,
	}
	if r.sealed != nil {
		o.Manifest = r.sealed.ManifestSHA256
	}
	for _, f := range r.files {
		o.Bytes += f.Size
	}
	return o
}
