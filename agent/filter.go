package agent

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/posternhealth/postern/consent"
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
	policy, err := policies.Load(f.Policy)
	if err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
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
	if _, err := policies.CheckRelease(policy, schemas); err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	plan, err := deid.Compile(policy, f.Dataset, deid.Options{AsOf: f.AsOf, Schema: file.Rule.Schema})
	if err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	secret := keyring.NewSecret()
	if f.Keys != "" {
		master, err := keyring.LoadMaster("file:"+filepath.Join(f.Keys, "master.key"), ".")
		if err != nil {
			return nil, fail(KeyTrouble, err, "", "")
		}
		secret = master.Key("deid")
	}
	r := &filterRun{
		plan: plan, cohort: policy.Cohort != nil && policy.Cohort.Dataset == f.Dataset, file: file, workers: max(f.Workers, 1),
		out: bufio.NewWriterSize(out, 256<<10), people: consent.NewPeople(), codes: map[consent.Subject]string{},
		stream: keyring.NewStream(secret, "deid"), balance: &Balance{Dataset: f.Dataset},
	}
	return r.run(ctx)
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

type filterRun struct {
	plan    *deid.Plan
	cohort  bool
	file    extract.File
	workers int
	out     *bufio.Writer
	people  *consent.People
	starts  map[consent.Subject]extract.Day
	codes   map[consent.Subject]string
	stream  *keyring.Stream
	balance *Balance
	engines []*deid.Engine
}

func (r *filterRun) run(ctx context.Context) (*Filtered, error) {
	if r.cohort {
		if info, err := os.Stat(r.file.Path); err != nil || !info.Mode().IsRegular() {
			return nil, fail(Usage, err, "give a file instead of a pipe", "the policy has a cohort, so the input is read twice")
		}
		if err := r.findStarts(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := r.out.Write(r.plan.Header()); err != nil {
		return nil, err
	}
	_, err := pass(ctx, []extract.File{r.file}, r.workers, func() func(*extract.Chunk, *batch) (*batch, error) {
		w := &filterWorker{run: r, scanner: extract.NewScanner(), engine: r.plan.Engine()}
		r.engines = append(r.engines, w.engine)
		return w.work
	}, r.write)
	if err = errors.Join(err, r.out.Flush()); err != nil {
		return nil, err
	}
	counts := r.engines[0].Counts()
	for _, e := range r.engines[1:] {
		counts.Add(e.Counts())
	}
	return &Filtered{r.balance, counts}, nil
}

// findStarts reads the input once for the first record of each person.
func (r *filterRun) findStarts(ctx context.Context) error {
	r.starts = map[consent.Subject]extract.Day{}
	_, err := pass(ctx, []extract.File{r.file}, r.workers, func() func(*extract.Chunk, *clues) (*clues, error) {
		scanner, rec := extract.NewScanner(), extract.Record{}
		return func(chunk *extract.Chunk, _ *clues) (*clues, error) {
			c := &clues{}
			scanner.Reset(chunk)
			for scanner.Next(&rec) {
				if rec.Reject == extract.NoReason && len(rec.Facts.Subjects) == 1 && rec.Facts.Date.Known() && r.plan.InScope(&rec) == extract.NoReason {
					c.starts = append(c.starts, startClue{id: c.put(rec.Facts.Subjects[0]), day: rec.Facts.Date.From})
				}
			}
			return c, nil
		}
	}, func(_ *extract.Chunk, c *clues) error {
		for _, s := range c.starts {
			subject := r.people.Intern(c.get(s.id))
			if first, ok := r.starts[subject]; !ok || s.day < first {
				r.starts[subject] = s.day
			}
		}
		return nil
	})
	return err
}

type filterWorker struct {
	run     *filterRun
	scanner *extract.Scanner
	rec     extract.Record
	engine  *deid.Engine
	out     deid.Output
}

func (w *filterWorker) work(chunk *extract.Chunk, b *batch) (*batch, error) {
	if b == nil {
		b = new(batch)
	}
	b.outcomes, w.out.Bytes, w.out.Holes = b.outcomes[:0], b.arena[:0], b.holes[:0]
	w.scanner.Reset(chunk)
	for w.scanner.Next(&w.rec) {
		o := outcome{part: -1}
		start, holes := len(w.out.Bytes), len(w.out.Holes)
		if err := w.one(&o); err != nil {
			return nil, err
		}
		if o.reasons == 0 {
			o.part, o.bytes, o.holes = 0, [2]int{start, len(w.out.Bytes)}, [2]int{holes, len(w.out.Holes)}
			if len(w.rec.Facts.Subjects) == 1 { // a code is asked for in order, by write
				at := len(b.ids)
				b.ids = append(b.ids, w.rec.Facts.Subjects[0]...)
				o.facts = [2]int{at, len(b.ids)}
			}
		}
		b.outcomes = append(b.outcomes, o)
	}
	b.arena, b.holes = w.out.Bytes, w.out.Holes
	return b, nil
}

func (w *filterWorker) one(o *outcome) error {
	rec, plan := &w.rec, w.run.plan
	if rec.Reject == extract.NoReason && rec.Dataset != plan.Dataset() {
		o.reasons = o.reasons.With(extract.NotNamed)
	}
	if o.reasons = o.reasons.With(rec.Reject); o.reasons != 0 {
		return nil
	}
	subject := deid.UnknownSubject()
	if w.run.starts != nil && len(rec.Facts.Subjects) == 1 {
		if s, ok := w.run.people.Find(rec.Facts.Subjects[0]); ok {
			subject.Index = w.run.starts[s]
		}
	}
	o.reasons = o.reasons.With(plan.InScope(rec)).With(plan.InCohort(rec, &subject))
	if o.reasons != 0 {
		return nil
	}
	err := w.engine.Apply(rec, &subject, &w.out)
	if errors.Is(err, deid.ErrUnsafe) {
		o.reasons, err = o.reasons.With(extract.Unsafe), nil
	}
	return err
}

// write fills in codes and writes the rows of a chunk in order.
func (r *filterRun) write(_ *extract.Chunk, b *batch) error {
	for i := range b.outcomes {
		o := &b.outcomes[i]
		r.balance.Source++
		r.balance.count(o.reasons.First())
		for _, h := range b.holes[o.holes[0]:o.holes[1]] {
			switch h.Kind {
			case deid.PersonCode:
				copy(b.arena[h.Start:h.End], r.code(b.ids[o.facts[0]:o.facts[1]]))
			case deid.RowKey:
				copy(b.arena[h.Start:h.End], r.stream.Code(deid.CodeLen))
			}
		}
	}
	_, err := r.out.Write(b.arena)
	b.ids = b.ids[:0]
	return err
}

func (r *filterRun) code(id []byte) string {
	s := r.people.Intern(id)
	code, ok := r.codes[s]
	if !ok {
		code = r.stream.Code(deid.CodeLen)
		r.codes[s] = code
	}
	return code
}

// Text says in one line what was done.
func (f *Filtered) Text() string {
	b := f.Balance
	return fmt.Sprintf("%d of %d records of %s written, %d out of scope, %d rejected; this output is no release: no consent was asked, nothing was checked as a whole",
		b.Count(extract.Released), b.Source, b.Dataset, b.Count(extract.OutOfScope), b.Count(extract.Rejected))
}
