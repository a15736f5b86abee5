// Package build turns an extract into a drop: it reads every record twice, has
// consent decide and deid transform, accounts for each, and has the gate judge
// the very bytes that it seals. What comes out is sealed but not committed; of
// a dry run, only the account.
//
// It promises that each source record has exactly one disposition, that nothing
// is sealed of a run that does not balance or whose source changed while it was
// read, and that input, keys, memory and clocks fix every byte of plaintext. It
// knows records and rules, but no configuration, database or destination: those
// are agent's, which gives it a Job. DESIGN "Life of a record", 0 to 6, is its
// specification.
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// Job is all that a run stands on.
type Job struct {
	Exchange, Recipient string
	Number              int64 // of the drop; 0 of a dry run

	Policy    *policies.Policy // checked
	Schemas   map[string]*extract.Schema
	Files     []extract.File
	Numbers   []string        // forms of the clinic's record numbers, for the gate
	Tables    *consent.Tables // holding the protective inputs; the run adds people and encounters
	LookUps   map[string]*Table
	Decider   *consent.Decider
	AsOf      extract.Day
	DecidedAt time.Time
	Before    Before // the last drop that is not void

	Epoch   Epoch
	Memory  Memory // nil when nothing went before
	Scratch string // a folder of this run's own
	Drop    Drop   // nil of a dry run: nothing is spooled, gated or sealed
	MaxRows int64  // of one part; 0: as many as there are
	Archive age.Recipient
	Indexed age.Recipient                                  // to whom the decision index is encrypted
	Ledger  func(context.Context) (transfer.Ledger, error) // what the recipient's book says of it
	Account Account                                        // what else the clinic's book says

	Exceptions Exceptions                // nil: none
	Review     func() (io.Writer, error) // takes the rows that the gate stops; nil: they are kept nowhere

	ShrinkLimit float64 // share of the held rows that one run may make void, or of the records read before that may be gone
	Workers     int
	Stages      *Stages
	Progress    func(stage string, bytes int64) // may be nil
	// Observe, unless nil, is told in source order of n records at a time with
	// their counted reason, and of one record whom it is about.
	Observe func(n int64, about consent.Subject, reason extract.Reason)
	// Inspect, unless nil, is shown each record with all that keeps it back, and
	// whether it is under Part 2 if that was asked: by several goroutines at
	// once, unless there is one worker. The record is the run's to use again.
	Inspect func(rec *extract.Record, reasons extract.ReasonSet, part2 bool)
}

// Before is an earlier drop; Number 0: there is none.
type Before struct {
	Number int64
	AsOf   extract.Day
	Source int64 // records that its run read
}

// Drop is where parts and books go; transfer.Builder is one.
type Drop interface {
	Part(transfer.PartInfo) (Part, error)
	Private(name string, to age.Recipient) (io.WriteCloser, error)
	Seal(*transfer.Book) (*transfer.Sealed, error)
}

// Part takes the lines of one part. Fits tells whether so many bytes more and the
// part's end leave its file as short as it must be; Close is told what was counted.
type Part interface {
	io.Writer
	Fits(n int) bool
	Close(rows, people int64) error
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
	Balances  []*Balance  `json:"balances,omitempty"`
	People    int64       `json:"people"`
	Released  int64       `json:"released"`
	Withheld  int64       `json:"withheld"`
	Rejected  []Rejection `json:"rejected,omitempty"` // the first of them
	ToMend    int         `json:"to_mend,omitempty"`  // rows of protective inputs that keep records back until somebody has mended them
	Changes   *Changes    `json:"changes,omitempty"`  // of a drop of changes
	Manifest  string      `json:"manifest_sha256,omitempty"`
	Stages    []StageTime `json:"stages"`
	State     string      `json:"state,omitempty"` // of the delivery, once it was tried
}

// flow is the compiled release of one dataset.
type flow struct {
	dataset string
	plan    *deid.Plan
	parts   [2]int // index of the part of general rows, and of Part 2 rows; of a drop of changes, of those that are added
}

func (f *flow) part(part2 bool) int {
	if part2 {
		return f.parts[1]
	}
	return f.parts[0]
}

// Run is one execution of a job. Close it.
type Run struct {
	Job
	Sealed *transfer.Sealed // once Execute has sealed a drop

	index    *index
	flows    map[string]*flow
	ordered  []*flow
	cohort   *flow
	lineage  lineage
	derived  *consent.Derived
	rowClues map[string][]rowClue
	engine   bool // the engine alone: nothing is decided, see Filter

	sheet     *sheet
	rejected  []Rejection
	counts    pathCounts
	crosswalk *crosswalk
	rowKeys   *rowKeys
	changes   *changes // nil: the drop is a whole one
	ranks     *ranks
	ordinals  ordinals
	spill     *spill
	parts     []*partSpool
	people    peopleSet
	books     *books
	scopes    *scopes // nil: none are told
	held      *quarantine
	begun     int // parts of the drop

	tracksReferences bool
	referred         map[uint64]bool // of records about no patient: whether a released row refers to it
	releasedRefs     refSet          // records that are in the drop
	postponed        []postponed
	sealed           map[string]*SealedRows // by dataset

	stage string
	done  int64
}

func newRun(job *Job) *Run {
	return &Run{
		Job: *job, sheet: newSheet(), flows: map[string]*flow{}, rowClues: map[string][]rowClue{},
		index: &index{people: job.Tables.People, roster: gate.NewRoster(0)}, referred: map[uint64]bool{},
		ordinals: ordinals{}, sealed: map[string]*SealedRows{}, lineage: lineage{sorter: newSorter(job.Scratch)},
	}
}

// New opens everything that can fail before the first record is read.
func New(ctx context.Context, job *Job) (*Run, error) {
	r := newRun(job)
	err := r.compile()
	if err == nil {
		err = r.openOutputs(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Execute reads, decides and accounts for every record, and seals the drop.
func (r *Run) Execute(ctx context.Context) error {
	for _, stage := range []struct {
		name string
		work func(context.Context) error
	}{{"index", r.indexPass}, {"release", r.releasePass}, {"balance", r.checkBalance}, {"seal", r.seal}} {
		if stage.name == "seal" && r.Drop == nil {
			continue
		}
		if err := r.Stages.Do(ctx, stage.name, r.Tables, stage.work); err != nil {
			return err
		}
	}
	return nil
}

// compile makes the plan of each released dataset.
func (r *Run) compile() error {
	for _, release := range r.Policy.Release {
		plan, err := deid.Compile(r.Policy, release.Dataset, deid.Options{AsOf: r.AsOf, Schema: r.Schemas[release.Dataset], Secret: &r.Epoch.Secret})
		if err != nil {
			return failure.New(failure.PolicyRefused, err, "", "")
		}
		r.add(&flow{dataset: release.Dataset, plan: plan})
		r.tracksReferences = r.tracksReferences || r.Schemas[release.Dataset] == nil
	}
	for dataset, schema := range r.Schemas {
		for at, field := range schema.Fields {
			if _, identifies := rosterKinds[field.Class]; identifies {
				r.rowClues[dataset] = append(r.rowClues[dataset], rowClue{at, &schema.Fields[at]})
			}
		}
	}
	return nil
}

func (r *Run) add(f *flow) {
	r.flows[f.dataset] = f
	r.ordered = append(r.ordered, f)
	if r.Policy.Cohort != nil && r.Policy.Cohort.Dataset == f.dataset {
		r.cohort = f
	}
}

// openOutputs opens codes, spool and books.
func (r *Run) openOutputs(ctx context.Context) error {
	var err error
	if r.crosswalk, err = r.openCrosswalk(ctx); err != nil {
		return err
	}
	if r.Policy.Output.Shuffle == "people" {
		r.ranks = newRanks(r.Epoch.stream("shuffle", r.Exchange, r.Number))
	}
	if r.spill, err = newSpill(r.Scratch); err != nil {
		return err
	}
	r.rowKeys = newRowKeys(r.Memory, r.Epoch.stream("row-key", r.Exchange, r.Number), r.spill)
	if r.Policy.Output.Mode == policies.Delta {
		r.changes = newChanges(&r.Job, r.spill)
	}
	for _, f := range r.ordered {
		for i, part2 := range []bool{false, true} {
			f.parts[i] = f.parts[0]
			if !part2 || r.Policy.ReleasesPart2() { // empty or not, so that its absence says nothing
				f.parts[i] = len(r.parts)
				r.openParts(f, part2)
			}
		}
	}
	if r.tellsScopes() {
		r.scopes = &scopes{numbers: map[string]uint32{}, keyed: r.Policy.Output.RowKey, lines: newPartSpool(transfer.ScopeOfConsent, true, nil, r.spill, false)}
	}
	if r.books, err = openBooks(&r.Job); err != nil {
		return err
	}
	return r.books.decision(DecisionPrograms, r.Tables.Programs.Keys())
}

// openParts opens the spools of one dataset's rows, of a drop of changes one for
// each action, in the order of actions.
func (r *Run) openParts(f *flow, part2 bool) {
	if r.changes == nil {
		r.parts = append(r.parts, newPartSpool(f.dataset, part2, f.plan, r.spill, r.ranks != nil))
		return
	}
	for _, action := range actions {
		part := newPartSpool(f.dataset, part2, f.plan, r.spill, r.ranks != nil && action != transfer.Void)
		part.action = action
		r.parts = append(r.parts, part)
	}
}

func (r *Run) checkBalance(context.Context) error {
	if err := r.sheet.close(); err != nil {
		return err
	}
	if err := r.sheet.tolerate(r.Policy.Tolerate.Rejected, r.rejected); err != nil {
		return err
	}
	return r.checkVolume()
}

// checkVolume stops a whole drop that would stand instead of one made of more
// records than may be gone: an extract that was cut short must not empty the
// recipient's table. One that tells changes knows which rows are lost, see judgeVoids.
func (r *Run) checkVolume() error {
	gone := r.Before.Source - r.sheet.source()
	if gone <= 1 || float64(gone) <= r.ShrinkLimit*float64(r.Before.Source) || !r.replaces() {
		return nil
	}
	return failure.New(failure.Unbalanced, nil, "have the extract written again, whole; if so many records were removed indeed, raise shrink_limit of its source in postern.yaml for one run",
		"the extract has %d records, and drop %d, which this one would stand instead of, was made of %d: more than the %.4g%% of shrink_limit are gone; nothing was sent",
		r.sheet.source(), r.Before.Number, r.Before.Source, r.ShrinkLimit*100)
}

// Close gives up what the run alone needed. The drop is its maker's to keep.
func (r *Run) Close() error {
	err := errors.Join(r.lineage.close(), r.changes.close())
	if r.spill != nil {
		err = errors.Join(err, r.spill.close())
	}
	return err
}

// at writes a place for an error message.
func (r *Run) at(p extract.Place) string {
	text := fmt.Sprintf("%s:%d", r.Files[p.File].Name, p.Line)
	if p.Entry > 0 {
		text += fmt.Sprintf(" (entry %d)", p.Entry)
	}
	return text
}

// progress tells how many bytes a stage has behind it.
func (r *Run) progress(stage string, bytes int) {
	if r.stage != stage {
		r.stage, r.done = stage, 0
	}
	r.done += int64(bytes)
	if r.Progress != nil {
		r.Progress(stage, r.done)
	}
}

// Outcome is what the run has done so far.
func (r *Run) Outcome() *Outcome {
	o := &Outcome{
		Exchange: r.Exchange, Recipient: r.Recipient, Number: r.Number,
		AsOf: r.AsOf.String(), DecidedAt: r.DecidedAt, Source: r.sheet.source(), Balances: r.sheet.datasets,
		People: r.people.n, Released: r.sheet.total(extract.Released), Withheld: r.sheet.total(extract.Withheld),
		Stages: r.Stages.Times, Rejected: r.rejected,
	}
	if r.Sealed != nil {
		o.Manifest = r.Sealed.ManifestSHA256
	}
	if r.changes != nil {
		o.Changes = &r.changes.Changes
	}
	for _, f := range r.Files {
		o.Bytes += f.Size
	}
	return o
}
