package build

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"pgregory.net/rapid"

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

// fuzz runs a property on the bytes of the corpus, of a few seeds and of the fuzzer.
// The policies are made first: a fuzzer takes an input of ten seconds for a hang.
func fuzz(f *testing.F, made func() []*clinic, property func(t testing.TB, c *choices)) {
	made()
	f.Setenv("GOMEMLIMIT", "off") // else a run sets the limit of a process of its own
	for seed := range uint64(40) {
		f.Add(someBytes(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) { property(t, &choices{data}) })
}

func someBytes(seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 5))
	data := make([]byte, 100+random.IntN(1500))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// Other bytes in each run of the tests, a fixed number of times.
func TestRunsOfArbitraryExtracts(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off")
	for name, property := range map[string]func(testing.TB, *choices){"resources": resourcesHold, "rows": rowsHold, "layouts": layoutsHold} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) { property(t, &choices{someBytes(rapid.Uint64().Draw(r, "seed"))}) })
		})
	}
}

func FuzzRunOfResources(f *testing.F) { fuzz(f, resourcePolicies, resourcesHold) }
func FuzzRunOfRows(f *testing.F)      { fuzz(f, rowPolicies, rowsHold) }
func FuzzRunOfLayouts(f *testing.F)   { fuzz(f, layoutPolicies, layoutsHold) }

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

// run makes a drop of an extract.
func (k *clinic) run(t testing.TB, rule *extract.FileRule, text []byte) (*capture, *Run, error) {
	ctx := context.Background()
	name := filepath.Join(tempDir, "extract")
	must(t, os.WriteFile(name, text, 0o600))
	file, err := extract.FileAt(name, rule)
	must(t, err)
	people := consent.NewPeople()
	tables := &consent.Tables{
		People: people, Merges: consent.NewMerges(people), Directives: consent.NewDirectives(people), Restrictions: consent.NewRestrictions(people),
		Programs: consent.NewPrograms(), Rosters: map[string]*consent.Roster{},
	}
	tables.Encounters = consent.NewEncounters(tables.Programs, people)
	if k.policy.People.Roster != "" {
		members := filepath.Join(tempDir, "roster.csv")
		must(t, os.WriteFile(members, []byte(roster), 0o600))
		tables.Rosters[k.policy.People.Roster], err = consent.LoadRoster(members, people)
		must(t, err)
	}
	decided := fuzzedAsOf.Time().Add(12 * time.Hour)
	decider, err := consent.NewDecider(consent.Request{Policy: k.policy, RecipientKind: k.kind, DecidedAt: decided, AsOf: fuzzedAsOf, Period: extract.NoSpan}, tables)
	must(t, err)
	drop := &capture{}
	r := newRun(&Job{
		Exchange: "x", Recipient: k.policy.Recipient, Number: 1, Policy: k.policy, Schemas: k.schemas, Files: []extract.File{file},
		Tables: tables, LookUps: k.tables, Decider: decider, AsOf: fuzzedAsOf, DecidedAt: decided,
		Epoch: Epoch{Name: "x", Secret: keyring.Secret{1}}, Scratch: tempDir, Drop: drop, Workers: 1, Stages: &Stages{},
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

// capture is a drop in memory, of what records gave.
type capture struct{ parts []*capturedPart }

type capturedPart struct {
	bytes.Buffer
	info transfer.PartInfo
	rows int64
}

func (p *capturedPart) Close(rows, _ int64) error { p.rows = rows; return nil }

func (d *capture) Part(info transfer.PartInfo) (Part, error) {
	p := &capturedPart{info: info}
	if info.Dataset != transfer.ScopeOfConsent {
		d.parts = append(d.parts, p)
	}
	return p, nil
}

func (d *capture) Private(string, age.Recipient) (io.WriteCloser, error) { return nowhere{}, nil }

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
			if tame || hit.Rule == gate.RuleUnparseable || hit.Rule == gate.RuleUndeclared || !k.keeps(hit.Position) {
				t.Fatalf("%s: %v\n%q", k.policy.File, err, text)
			}
		}
	case errors.As(err, &failed) && strings.Contains(err.Error(), "the trailer cannot be written"):
		if tame {
			t.Fatalf("%v\n%s", err, text)
		}
	default:
		t.Fatalf("%s: %v\n%q", k.policy.File, err, text)
	}
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
		if left != 0 {
			t.Fatalf("%s: %d more released than sent\n%s", dataset, left, text)
		}
	}
}

func resourcesHold(t testing.TB, c *choices) {
	k := resourcePolicies()[c.n(len(resourcePolicies()))]
	g := &resources{c: c, k: k, tame: c.n(2) == 0}
	rule, text, records := g.extract()
	drop, r, err := k.run(t, rule, text)
	if err != nil {
		k.stopped(t, err, g.tame, text)
		return
	}
	accounts(t, r, drop, records, text)
	for _, p := range drop.parts {
		named := k.named(p.info.Dataset)
		lines := int64(0)
		for line := range bytes.Lines(p.Bytes()) {
			lines++
			if !bytes.HasSuffix(line, []byte("}\n")) {
				t.Fatalf("a line without end: %s", line)
			}
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			v, err := decode(d)
			if err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if _, err := d.Token(); err != io.EOF {
				t.Fatalf("more than one value: %s", line)
			}
			if path := stranger(v, p.info.Dataset, named); path != "" {
				t.Fatalf("%s: %s is not released: %s", k.policy.File, path, line)
			}
		}
		if lines != p.rows {
			t.Fatalf("%d lines, %d rows", lines, p.rows)
		}
	}
}

// named are the paths of what a dataset releases.
func (k *clinic) named(dataset string) map[string]bool {
	named := map[string]bool{dataset + ".resourceType": true}
	for _, release := range k.policy.Release {
		for _, f := range release.Fields {
			for _, leaf := range f.Leaves {
				if release.Dataset == dataset {
					named[dataset+"."+strings.Join(leaf.Path, ".")] = true
				}
			}
		}
	}
	return named
}

type member struct {
	name  string
	value any
}

// decode reads a value with encoding/json; an object becomes a list of members.
// A name that stands twice is an error, and so is what is empty.
func decode(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		var list []member
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := decode(d)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(list, func(m member) bool { return m.name == name }) {
				return nil, errors.New("a name stands twice")
			}
			list = append(list, member{name.(string), value})
		}
		if list == nil {
			return nil, errors.New("an empty object")
		}
		_, err = d.Token()
		return list, err
	case json.Delim('['):
		var list []any
		for d.More() {
			value, err := decode(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		if list == nil {
			return nil, errors.New("an empty array")
		}
		_, err = d.Token()
		return list, err
	case nil:
		return nil, errors.New("a null")
	}
	return tok, nil
}

// stranger gives the path of a value that is not among those named.
func stranger(v any, path string, named map[string]bool) string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if at := stranger(e, path, named); at != "" {
				return at
			}
		}
	case []member:
		for _, m := range v {
			if list, is := m.value.([]any); is && m.name == "extension" {
				if at := strangeExtension(list, path, named); at != "" {
					return at
				}
			} else if at := stranger(m.value, path+"."+m.name, named); at != "" {
				return at
			}
		}
	default:
		if !named[path] {
			return path
		}
	}
	return ""
}

func strangeExtension(list []any, path string, named map[string]bool) string {
	for _, e := range list {
		object, _ := e.([]member)
		at := slices.IndexFunc(object, func(m member) bool { return m.name == "url" })
		if at < 0 {
			return path + ".extension"
		}
		url, _ := object[at].value.(string)
		if found := stranger(slices.Delete(slices.Clone(object), at, at+1), path+".extension:"+url, named); found != "" {
			return found
		}
	}
	return ""
}

func rowsHold(t testing.TB, c *choices) {
	k := rowPolicies()[c.n(len(rowPolicies()))]
	g := &rows{c: c, k: k, tame: c.n(2) == 0}
	rule, text, records := g.extract()
	drop, r, err := k.run(t, rule, text)
	if err != nil {
		k.stopped(t, err, g.tame, text)
		return
	}
	accounts(t, r, drop, records, text)
	for _, p := range drop.parts {
		reader := csv.NewReader(bytes.NewReader(p.Bytes()))
		reader.FieldsPerRecord = len(p.info.Columns)
		read, err := reader.ReadAll()
		if err != nil || !slices.Equal(read[0], p.info.Columns) || int64(len(read)) != p.rows+1 {
			t.Fatalf("%s: %d rows, %v: %q", k.policy.File, p.rows, err, p.Bytes())
		}
	}
}

func layoutsHold(t testing.TB, c *choices) {
	k := layoutPolicies()[c.n(len(layoutPolicies()))]
	g := &rows{c: c, k: k, tame: c.n(2) == 0}
	rule, text, records := g.extract()
	drop, r, err := k.run(t, rule, text)
	if err != nil {
		k.stopped(t, err, g.tame, text)
		return
	}
	accounts(t, r, drop, records, text)
	l := k.policy.Layout
	for _, p := range drop.parts {
		laid, file := p.Bytes(), l.File(p.info.Dataset)
		if l.BOM {
			var marked bool
			if laid, marked = bytes.CutPrefix(laid, []byte("\xef\xbb\xbf")); !marked {
				t.Fatal("no byte order mark")
			}
		}
		if l.ASCII && bytes.ContainsFunc(laid, func(r rune) bool { return r > '~' }) {
			t.Fatalf("no ASCII: %q", laid)
		}
		lines := strings.SplitAfter(string(laid), l.LineEnd)
		if len(lines)-1 != len(shapes(file, p.rows)) || lines[len(lines)-1] != "" {
			t.Fatalf("%d lines, %d rows: %q", len(lines)-1, p.rows, laid)
		}
		for i, cells := range shapes(file, p.rows) {
			fits(t, l, strings.TrimSuffix(lines[i], l.LineEnd), cells)
		}
	}
}

// shapes are the lines that a file has: header, rows and trailer.
func shapes(file *policies.LaidOut, rows int64) (list [][]policies.Column) {
	if file.Header != nil {
		list = append(list, file.Header)
	}
	for range rows {
		list = append(list, file.Columns)
	}
	if file.Trailer != nil {
		list = append(list, file.Trailer)
	}
	return list
}

// fits holds one line against its columns, by encoding/csv or by its width.
func fits(t testing.TB, l *policies.Layout, line string, columns []policies.Column) {
	t.Helper()
	if strings.ContainsAny(line, "\r\n") {
		t.Fatalf("a line end inside a line: %q", line)
	}
	if l.Delimiter == 0 {
		width := 0
		for _, c := range columns {
			width += c.Width
		}
		if len(line) != width {
			t.Fatalf("%d characters, not %d: %q", len(line), width, line)
		}
		return
	}
	reader := csv.NewReader(strings.NewReader(line + "\n"))
	reader.Comma = rune(l.Delimiter)
	read, err := reader.Read()
	if err != nil || len(read) != len(columns) || l.Quotes == policies.Never && strings.Contains(line, `"`) ||
		l.Quotes == policies.Always && strings.Count(line, `"`) < 2*len(columns) {
		t.Fatalf("%d columns, not %d, %v: %q", len(read), len(columns), err, line)
	}
}
