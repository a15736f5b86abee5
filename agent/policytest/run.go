package policytest

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// world is a case laid out for its run.
type world struct {
	c       *Case
	policy  *policies.Policy
	schemas map[string]*extract.Schema
	files   []extract.File
	records []source
	tables  *consent.Tables
	lookUps map[string]*build.Table
}

// outcome is what became of the records of a case, by place.
type outcome struct {
	endings map[extract.Place]ending
	details map[extract.Place]string
	rows    map[extract.Place]row
}

// row is one released row: cells by column, or a resource.
type row struct {
	columns []string
	text    []byte
}

// run lays out a case and runs it. What refuses it is the error.
func (c *Case) run(ctx context.Context, scratch string) (*world, *outcome, error) {
	w := &world{c: c, schemas: map[string]*extract.Schema{}, lookUps: map[string]*build.Table{}}
	if err := w.load(scratch); err != nil {
		return w, nil, err
	}
	if err := w.inputs(ctx, scratch); err != nil {
		return w, nil, err
	}
	drop := &captured{books: map[string]*capturedBook{}}
	job, err := w.job(scratch, drop)
	if err != nil {
		return w, nil, err
	}
	r, err := build.New(ctx, job)
	if err != nil {
		return w, nil, err
	}
	defer r.Close()
	if err := r.Execute(ctx); err != nil {
		return w, nil, err
	}
	o, err := drop.outcome(w.files)
	return w, o, err
}

// beside is a path that a case names, relative to itself.
func (c *Case) beside(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.File), filepath.FromSlash(path))
}

// load reads policy and schemas and lays the records out.
func (w *world) load(scratch string) error {
	c := w.c
	for _, name := range slices.Sorted(maps.Keys(c.Schemas)) {
		schema, err := extract.LoadSchema(c.beside(c.Schemas[name]))
		if err != nil {
			return failure.New(failure.Configuration, err, "", "")
		}
		w.schemas[name] = schema
	}
	var err error
	if w.policy, err = policies.LoadFilled(c.beside(c.Policy), c.Fill, policies.Env{Schemas: w.schemas, Alone: true, Demo: true}); err != nil {
		return failure.New(failure.PolicyRefused, err, "", "")
	}
	w.files, w.records, err = c.extractFiles(scratch, w.schemas)
	return err
}

func (c *Case) decidedAt() time.Time {
	if c.DecidedAt.IsZero() {
		return c.AsOf.Time().Add(12 * time.Hour)
	}
	return c.DecidedAt
}

// inputs loads the protective inputs that the policy names or the case has, and
// checks the policy against them.
func (w *world) inputs(ctx context.Context, scratch string) error {
	w.tables = consent.NewTables()
	named := map[string]bool{}
	for name := range w.policy.Inputs {
		named[name] = true
	}
	for _, listed := range w.c.Inputs {
		named[listed.Key] = true
	}
	env := policies.Env{Schemas: w.schemas, Inputs: map[string]policies.InputInfo{}, Today: extract.DayOf(w.c.decidedAt()),
		Recipients: map[string]string{w.policy.Recipient: w.c.Recipient.Kind}, Demo: true}
	read := func(of func(kind string) bool) error {
		for _, name := range slices.Sorted(maps.Keys(named)) {
			in, err := w.c.inputFile(scratch, name, w.schemas)
			if err == nil && of(in.kind) {
				err = w.read(ctx, in)
			}
			if err != nil {
				return failure.New(failure.StaleInput, err, "", "protective input %s", name)
			}
			env.Inputs[name] = policies.InputInfo{Kind: in.kind, Columns: in.columns, Schema: w.schemas[name]}
		}
		return nil
	}
	if err := read(func(kind string) bool { return kind == "merges" }); err != nil {
		return err
	}
	if err := w.tables.Merges.Settle(); err != nil {
		return err
	}
	if err := read(func(kind string) bool { return kind != "merges" }); err != nil {
		return err
	}
	w.tables.Encounters = consent.NewEncounters(w.tables.Programs, w.tables.People)
	if _, err := policies.Check(w.policy, env); err != nil {
		return failure.New(failure.PolicyRefused, err, "", "")
	}
	return nil
}

func (w *world) read(ctx context.Context, in *input) error {
	t := w.tables
	var err error
	switch in.kind {
	case "consents":
		if _, err = t.Directives.LoadRegistry(in.table); err != nil || in.resources == "" {
			return err
		}
		var file extract.File
		if file, err = extract.FileAt(in.resources, &extract.FileRule{Format: extract.FHIRNDJSON}); err == nil {
			_, err = t.Directives.LoadFHIRConsents(ctx, []extract.File{file})
		}
	case "merges":
		_, err = t.Merges.Load(in.table)
	case "restrictions":
		_, err = t.Restrictions.Load(in.table)
	case "programs":
		_, err = t.Programs.Load(in.table)
	case "table":
		w.lookUps[in.name], err = build.LoadTable(in.table, w.schemas[in.name])
	default:
		t.Rosters[in.name], err = consent.LoadRoster(in.table, t.People)
	}
	return err
}

// job is the run: the policy as it is, but for its tolerance, which is about
// the share of many records.
func (w *world) job(scratch string, drop build.Drop) (*build.Job, error) {
	c := w.c
	asOf := extract.DayOf(c.AsOf.Time())
	policy := *w.policy
	policy.Tolerate.Rejected = 1
	if policy.Layout != nil { // a case says what leaves, by the names of the policy
		policy.Layout, policy.Output.Layout = nil, ""
	}
	decider, err := consent.NewDecider(consent.Request{
		Policy: &policy, RecipientKind: c.Recipient.Kind, DecidedAt: c.decidedAt(), AsOf: asOf, Period: extract.NoSpan,
		Organizations: append([]string{policy.Recipient}, c.Recipient.Identifiers...), Self: c.Clinic, Others: c.Others,
	}, w.tables)
	if err != nil {
		return nil, failure.New(failure.PolicyRefused, err, "", "policy %s", policy.Name)
	}
	return &build.Job{
		Exchange: "case", Recipient: policy.Recipient, Number: 1, Policy: &policy, Schemas: w.schemas, Files: w.files,
		Tables: w.tables, LookUps: w.lookUps, Decider: decider, AsOf: asOf, DecidedAt: c.decidedAt(),
		Epoch: build.Epoch{Name: "case", Secret: keyring.NewSecret()}, Scratch: scratch, Drop: drop,
		Workers: 1, Stages: &build.Stages{Exchange: "case"},
	}, nil
}

// captured is a drop that stays in memory, unencrypted.
type captured struct {
	parts []*capturedPart
	books map[string]*capturedBook
}

type capturedPart struct {
	bytes.Buffer
	columns []string
}

func (*capturedPart) Fits(int) bool                  { return true }
func (*capturedPart) Close(rows, people int64) error { return nil }

type capturedBook struct{ bytes.Buffer }

func (*capturedBook) Close() error { return nil }

func (d *captured) Part(info transfer.PartInfo) (build.Part, error) {
	p := &capturedPart{columns: info.Columns}
	d.parts = append(d.parts, p)
	return p, nil
}

func (d *captured) Private(name string, _ age.Recipient) (io.WriteCloser, error) {
	d.books[name] = &capturedBook{}
	return d.books[name], nil
}

func (*captured) Seal(*transfer.Book) (*transfer.Sealed, error) { return &transfer.Sealed{}, nil }

// outcome reads the clinic's book of the drop: what became of each record, and
// from which record each row came.
func (d *captured) outcome(files []extract.File) (*outcome, error) {
	o := &outcome{endings: map[extract.Place]ending{}, details: map[extract.Place]string{}, rows: map[extract.Place]row{}}
	index := map[string]int{}
	for i, f := range files {
		index[f.Name] = i
	}
	dispositions, err := csv.NewReader(d.books["dispositions"]).ReadAll()
	if err != nil {
		return nil, err
	}
	for _, r := range dispositions[1:] {
		from, to := number(r[1]), number(r[2])
		for line := from; line <= to; line++ {
			at := extract.Place{File: index[r[0]], Line: line, Entry: int(number(r[3]))}
			o.endings[at] = ending{r[5], strings.FieldsFunc(r[6], func(c rune) bool { return c == ',' })}
			o.details[at] = r[7]
		}
	}
	rows, err := csv.NewReader(d.books["row-index"]).ReadAll()
	if err != nil {
		return nil, err
	}
	for _, r := range rows[1:] {
		part := d.parts[number(r[0])-1]
		at := extract.Place{File: index[r[2]], Line: number(r[3]), Entry: int(number(r[4]))}
		text, err := part.line(int(number(r[1])))
		if err != nil {
			return nil, err
		}
		o.rows[at] = row{part.columns, text}
	}
	return o, nil
}

func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64) // the book writes numbers
	return n
}

// line is the nth row of a part, its header not counted.
func (p *capturedPart) line(n int) ([]byte, error) {
	if p.columns != nil {
		n++
	}
	lines := bytes.SplitAfter(p.Bytes(), []byte("\n"))
	if n > len(lines) {
		return nil, errors.New("the row index names a line that its part does not have")
	}
	return lines[n-1], nil
}

// scratch gives work a folder that is gone afterwards.
func scratch(work func(dir string) error) error {
	dir, err := os.MkdirTemp("", "postern-case-")
	if err != nil {
		return err
	}
	return errors.Join(work(dir), os.RemoveAll(dir))
}
