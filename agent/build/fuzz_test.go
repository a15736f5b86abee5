package build

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// These tests make an extract out of arbitrary bytes and let a whole run make a
// drop of it: the scan, the decision, the engine, the layout and the real gate.
// Each byte chooses what comes next, so that coverage can guide the fuzzer.
//
// A tame extract has odd shapes and harmless values: nothing of it may stop at
// the gate. A wild one has values that nobody should send, and the gate may stop
// what a policy keeps as it is; it may never stop what the engine has made itself,
// nor find a row that it cannot read or a position that the policy does not name.

// choices are the bytes that a test is made of; when they are used up, 0 is
// chosen, which always leads to an end.
type choices struct{ left []byte }

func (c *choices) n(limit int) int {
	if len(c.left) == 0 {
		return 0
	}
	b := int(c.left[0])
	c.left = c.left[1:]
	if limit > 256 && len(c.left) > 0 {
		b, c.left = b<<8|int(c.left[0]), c.left[1:]
	}
	return b % limit
}

// rarely is true once in so many times.
func (c *choices) rarely(often int) bool { return c.n(often) == often-1 }

func pick[T any](c *choices, list []T) T { return list[c.n(len(list))] }

// kind is what an extract becomes: by which policies, and what another reader
// than our own finds in the files of a drop.
type kind struct {
	policies func() []*clinic
	read     func(t testing.TB, k *clinic, drop *capture, in *source)
}

var kinds = map[string]kind{"resources": {resourcePolicies, readResources}, "rows": {rowPolicies, readRows}, "layouts": {layoutPolicies, readLayouts}}

func FuzzRunOfResources(f *testing.F) { kinds["resources"].fuzz(f) }
func FuzzRunOfRows(f *testing.F)      { kinds["rows"].fuzz(f) }
func FuzzRunOfLayouts(f *testing.F)   { kinds["layouts"].fuzz(f) }

// fuzz makes runs of the bytes of the corpus, of a few seeds and of the fuzzer.
// The policies are made first: a fuzzer takes an input of ten seconds for a hang.
func (kind kind) fuzz(f *testing.F) {
	kind.policies()
	f.Setenv("GOMEMLIMIT", "off") // else a run sets the limit of a process of its own
	for seed := range uint64(40) {
		f.Add(someBytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { kind.holds(t, &choices{data}) })
}

// Other bytes in each run of the tests, POSTERN_RUNS times each kind. A failure
// names its seed, which POSTERN_RUNS_SEED makes again.
func TestRunsOfArbitraryExtracts(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off")
	times, err := strconv.Atoi(cmp.Or(os.Getenv("POSTERN_RUNS"), "100"))
	must(t, err)
	asked, err := strconv.ParseUint(cmp.Or(os.Getenv("POSTERN_RUNS_SEED"), "0"), 10, 64)
	must(t, err)
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			for range times {
				seed := cmp.Or(asked, rand.Uint64())
				t.Run(fmt.Sprint(seed), func(t *testing.T) { kind.holds(t, &choices{someBytes(seed)}) })
			}
		})
	}
}

// Enough of these runs fill what their readers reckon again, each kind of cell of
// FHIR and rows of Part 2 programs among them.
func TestRunsFillWhatIsReckonedAgain(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off")
	clear(filled)
	fhir := kind{read: readLayouts, policies: func() []*clinic {
		return slices.DeleteFunc(slices.Clone(layoutPolicies()), func(k *clinic) bool { return k.schemas["record"] != nil })
	}}
	empty := []string{"roster fhir", "age fhir", "age-band fhir", "age-band index fhir", "year fhir", "relative-time fhir", "band fhir", "part2"}
	for seed := uint64(0); len(empty) > 0; seed++ {
		if seed == 3000 {
			t.Fatalf("never filled: %q", empty)
		}
		fhir.holds(t, &choices{someBytes(seed)})
		empty = slices.DeleteFunc(empty, func(what string) bool { return filled[what] > 0 })
	}
}

func (kind kind) holds(t testing.TB, c *choices) {
	g := &making{c: c, k: pick(c, kind.policies()), tame: c.n(2) == 0}
	rule, records := g.extract()
	drop, r, err := g.k.run(t, rule, g.b, 0)
	if err != nil {
		g.k.stopped(t, err, g.tame, g.b)
		return
	}
	accounts(t, r, drop, records, g.b)
	in := sourceOf(rule, g.b, g.tame)
	kind.read(t, g.k, drop, in)
	apart(t, g.k, drop, in)
	if c.n(4) == 0 {
		g.k.inParts(t, rule, g.b, 1+int64(c.n(3)), drop)
	}
}

// inParts makes the drop again, in parts of so many rows: each has its own header and
// trailer, and the rows, and where they came from, are those of the whole parts.
func (k *clinic) inParts(t testing.TB, rule *extract.FileRule, text []byte, most int64, whole *capture) {
	t.Helper()
	drop, _, err := k.run(t, rule, text, most)
	must(t, err)
	rows := func(d *capture, most int64) (rows map[string][]string) {
		rows = map[string][]string{}
		for _, p := range d.parts {
			lines := strings.SplitAfter(strings.TrimPrefix(p.String(), "\ufeff"), "\n")
			lines = lines[:len(lines)-1]
			kind := fmt.Sprint(p.info.Dataset, p.info.Part2, p.info.Action)
			if info := (&transfer.BookPart{Format: p.info.Format}); info.HasHeader() {
				kind, lines = kind+lines[0], lines[1:]
			}
			if strings.HasSuffix(p.info.Format, "+trailer") {
				lines = lines[:len(lines)-1]
			}
			if most > 0 && (p.rows > most || int64(len(lines)) != p.rows) {
				t.Fatalf("%d rows and %d lines in a part of %d at most", p.rows, len(lines), most)
			}
			rows[kind] = append(rows[kind], lines...)
		}
		return rows
	}
	if one, several := rows(whole, 0), rows(drop, most); !maps.EqualFunc(one, several, slices.Equal) {
		t.Fatalf("rows in parts of %d are others:\n%q\n%q", most, one, several)
	}
	from := func(d *capture) (list [][]string) {
		list, err := csv.NewReader(bytes.NewReader(d.index.Bytes())).ReadAll()
		must(t, err)
		for i := range list {
			list[i] = list[i][2:]
		}
		return list
	}
	if !slices.EqualFunc(from(whole), from(drop), slices.Equal) {
		t.Fatal("rows in parts come from other lines")
	}
}

func someBytes(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 5))
	data := make([]byte, 100+random.IntN(1500))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// clinic is a policy with what a run under it needs beside the extract.
type clinic struct {
	policy   *policies.Policy
	kind     string // of the recipient
	schemas  map[string]*extract.Schema
	tables   map[string]*Table
	compiled *Run // of the first
}

var fuzzedAsOf = dayOf("2026-06-30")

func dayOf(text string) extract.Day {
	span, _ := extract.ParseSpan([]byte(text))
	return span.From
}

// people of the extracts; of those whose name is a member's, the roster knows.
const roster = "subject,member_id,from,to,plan\np1,MBR-0001,2020-01-01,,PPO\np2,MBR-0002,2020-01-01,2025-12-31,HMO\np3,MBR-0003,2026-01-01,,\n"

// program is the provider of rows that is a Part 2 program.
const program = "1999000023"

// run makes a drop of an extract.
func (k *clinic) run(t testing.TB, rule *extract.FileRule, text []byte, maxRows int64) (*capture, *Run, error) {
	ctx := context.Background()
	name := filepath.Join(tempDir, "extract")
	must(t, os.WriteFile(name, text, 0o600))
	file, err := extract.FileAt(name, rule)
	must(t, err)
	tables := consent.NewTables()
	tables.Encounters = consent.NewEncounters(tables.Programs, tables.People)
	if k.policy.People.Roster != "" {
		members := filepath.Join(tempDir, "roster.csv")
		must(t, os.WriteFile(members, []byte(roster), 0o600))
		tables.Rosters[k.policy.People.Roster], err = consent.LoadRoster(members, tables.People)
		must(t, err)
	}
	if k.policy.ReleasesPart2() && rule.Schema != nil {
		declared := filepath.Join(tempDir, "programs.csv")
		must(t, os.WriteFile(declared, []byte("kind,id,from,to\ncolumn,"+program+",2020-01-01,\n"), 0o600))
		_, err = tables.Programs.Load(declared)
		must(t, err)
	}
	decided := fuzzedAsOf.Time().Add(12 * time.Hour)
	decider, err := consent.NewDecider(consent.Request{Policy: k.policy, RecipientKind: k.kind, DecidedAt: decided, AsOf: fuzzedAsOf, Period: extract.NoSpan}, tables)
	must(t, err)
	drop := &capture{}
	r := newRun(&Job{
		Exchange: "x", Recipient: k.policy.Recipient, Number: 1, Policy: k.policy, Schemas: k.schemas, Files: []extract.File{file},
		Tables: tables, LookUps: k.tables, Decider: decider, AsOf: fuzzedAsOf, DecidedAt: decided,
		Epoch: Epoch{Name: "x", Secret: keyring.Secret{1}}, Scratch: tempDir, Drop: drop, MaxRows: maxRows, Workers: 1, Stages: &Stages{},
	})
	if k.compiled == nil { // plans take most of a small run's time, and are the same in each
		must(t, r.compile())
		k.compiled = &Run{ordered: r.ordered, rowClues: r.rowClues, tracksReferences: r.tracksReferences}
	} else {
		for _, f := range k.compiled.ordered {
			r.add(&flow{dataset: f.dataset, plan: f.plan})
		}
		r.rowClues, r.tracksReferences = k.compiled.rowClues, k.compiled.tracksReferences
	}
	must(t, r.openOutputs(ctx))
	defer r.Close()
	return drop, r, r.Execute(ctx)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// capture is a drop in memory: what records gave, beside it control files and
// scope of consent, and the row index.
type capture struct {
	parts   []*capturedPart
	control [2]*capturedPart // of general parts, and of those of Part 2 rows
	scope   *capturedPart
	index   capturedPart
}

type capturedPart struct {
	bytes.Buffer
	info transfer.PartInfo
	rows int64
}

func (p *capturedPart) Fits(int) bool             { return true }
func (p *capturedPart) Close(rows, _ int64) error { p.rows = rows; return nil }

func (p *capturedPart) File() string {
	return p.info.Dataset + map[bool]string{true: "2"}[p.info.Part2] + ".txt"
}

// private is a file that stays at the clinic.
type private struct{ *capturedPart }

func (private) Close() error { return nil }

func (d *capture) Part(info transfer.PartInfo) (Part, error) {
	p := &capturedPart{info: info}
	switch info.Dataset {
	case transfer.ScopeOfConsent:
		d.scope = p
	case transfer.ControlFile:
		d.control[map[bool]int{true: 1}[info.Part2]] = p
	default:
		d.parts = append(d.parts, p)
	}
	return p, nil
}

func (d *capture) Private(name string, _ age.Recipient) (io.WriteCloser, error) {
	if name == "row-index" {
		return private{&d.index}, nil
	}
	return nowhere{}, nil
}

func (d *capture) Seal(*transfer.Book) (*transfer.Sealed, error) { return &transfer.Sealed{}, nil }

// stopped judges a run that made no drop: whether the gate was right to stop it.
func (k *clinic) stopped(t testing.TB, err error, tame bool, text []byte) {
	t.Helper()
	var held *Quarantined
	var whole *extract.FileError
	var failed *failure.Failure
	switch {
	case errors.As(err, &whole): // a file that is not what its rule says stops the run
		if tame {
			t.Fatalf("%v\n%s", err, text)
		}
	case errors.As(err, &held):
		for _, hit := range held.Hits {
			if tame || hit.Rule == gate.RuleGrammar || hit.Rule == gate.RuleUnparseable || hit.Rule == gate.RuleUndeclared || !k.keeps(hit.Position) {
				t.Fatalf("%v\n%q\n%s", err, text, k.written())
			}
		}
	case errors.As(err, &failed) && (strings.Contains(err.Error(), "the trailer cannot be written") || strings.Contains(err.Error(), "the control file cannot be laid out")):
		if tame {
			t.Fatalf("%v\n%s", err, text)
		}
	default:
		t.Fatalf("%v\n%q\n%s", err, text, k.written())
	}
}

// written is the policy and its layout.
func (k *clinic) written() string {
	text, _ := os.ReadFile(k.policy.File)
	layout, _ := os.ReadFile(filepath.Join(filepath.Dir(k.policy.File), "layouts", filepath.Base(k.policy.File)))
	return string(text) + string(layout)
}

// keeps tells whether what stands at a position of the gate is a value of the
// extract, as it is there.
func (k *clinic) keeps(position string) bool {
	for i := range k.policy.Release {
		release := &k.policy.Release[i]
		for j := range release.Fields {
			f := &release.Fields[j]
			if f.Do != policies.Keep {
				continue
			}
			if f.Name == position {
				return true
			}
			for _, leaf := range f.Leaves {
				if gate.Path(append([]string{release.Dataset}, leaf.Path...)...) == position {
					return true
				}
			}
		}
		if k.policy.Layout == nil {
			continue
		}
		for _, c := range k.policy.Layout.File(release.Dataset).Columns {
			if c.Name == position && c.Codes == nil && slices.ContainsFunc(release.Fields, func(f policies.Field) bool { return f.Name == c.From && f.Do == policies.Keep }) {
				return true
			}
		}
	}
	return false
}

// accounts holds the account of a run against what was put in and what came out.
func accounts(t testing.TB, r *Run, drop *capture, records int, text []byte) {
	t.Helper()
	var source, ended int64
	released := map[string]int64{}
	for _, b := range r.Outcome().Balances {
		source += b.Source
		for d := range extract.Disposition(extract.Dispositions) {
			ended += b.Count(d)
		}
		released[b.Dataset] += b.Count(extract.Released)
	}
	if source != ended || records >= 0 && source != int64(records) {
		t.Fatalf("%d records, %d accounted for, %d read\n%s", records, ended, source, text)
	}
	for _, p := range drop.parts {
		released[p.info.Dataset] -= p.rows
	}
	for dataset, left := range released {
		if l := r.Policy.Layout; left < 0 && l != nil && l.File(dataset).Per != nil { // a record can make several rows
			continue
		}
		if left != 0 {
			t.Fatalf("%s: %d more released than sent\n%s", dataset, left, text)
		}
	}
}
