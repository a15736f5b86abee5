package agent_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// The three exchanges of the demo's clinic.
const (
	scores    = "acme-scores"
	treatment = "hie-treatment"
	outcomes  = "outcomes-registry"
)

// noon is the wall clock of these tests: all files are an hour old by it.
var noon = time.Date(2026, 7, 5, 12, 0, 0, 0, time.UTC)

// TestMain lets the memory of this process be: a run holds it to what a process
// of its own may take, while many agents share this one with all that the tests
// keep, and the collector would hardly let go.
func TestMain(m *testing.M) {
	if err := os.Setenv("GOMEMLIMIT", "off"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// house is a clinic folder with an agent in it and the recipients about it.
type house struct {
	t     *testing.T
	dir   string // of postern.yaml
	world *demo.World
	agent *agent.Agent
}

// build invents a clinic, its recipients and their servers.
func build(t *testing.T, opt synthetic.Options) *house {
	t.Helper()
	w, err := demo.New(context.Background(), filepath.Join(t.TempDir(), "world"), opt, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{t: t, dir: w.Clinic, world: w, agent: w.Agent}
	h.agent.Now = func() time.Time { return noon }
	h.age()
	return h
}

// age makes every file of the clinic an hour old.
func (h *house) age() {
	h.t.Helper()
	h.must(filepath.WalkDir(h.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "state") {
			return err
		}
		return os.Chtimes(path, noon, noon.Add(-time.Hour))
	}))
}

// copied is the whole clinic again, state and keys included, in another folder.
func (h *house) copied() *house {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "clinic")
	h.must(os.CopyFS(dir, os.DirFS(h.dir)))
	h.must(filepath.WalkDir(filepath.Join(dir, "keys"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o600)
	}))
	c := &house{t: h.t, dir: dir, world: h.world}
	c.age()
	c.open(hclog.NewNullLogger())
	return c
}

// open opens an agent in the clinic's folder.
func (h *house) open(log hclog.Logger) *agent.Agent {
	h.t.Helper()
	a, err := agent.Open(context.Background(), filepath.Join(h.dir, "postern.yaml"), log)
	h.must(err)
	h.t.Cleanup(func() { h.must(a.Close()) })
	a.Now = func() time.Time { return noon }
	h.agent = a
	return a
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func day(text string) extract.Day {
	span, ok := extract.ParseSpan([]byte(text))
	if !ok {
		panic(text)
	}
	return span.From
}

// approve lets both approvers sign what exchanges stand on now: a test that
// changes a policy is about something else.
func (h *house) approve(exchanges ...string) {
	h.t.Helper()
	h.must(demo.Approve(context.Background(), h.agent, h.world.ApproverKeys(), exchanges...))
}

func (h *house) run(exchange string, opt agent.RunOptions) *agent.Outcome {
	h.t.Helper()
	h.approve(exchange)
	if opt.AsOf == 0 { // the day 1970-01-01, which no test asks about
		opt.AsOf = demo.AsOf()
	}
	outcome, err := h.agent.Run(context.Background(), exchange, opt)
	h.must(err)
	return outcome
}

func (h *house) read(name string) string {
	h.t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, name))
	h.must(err)
	return string(text)
}

func (h *house) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	h.must(os.WriteFile(path, []byte(text), 0o600))
	h.must(os.Chtimes(path, noon, noon.Add(-time.Hour)))
}

func (h *house) add(name string, lines ...string) {
	h.t.Helper()
	h.write(name, h.read(name)+strings.Join(lines, "\n")+"\n")
}

// rows reads a CSV file without its header.
func (h *house) rows(name string) [][]string {
	h.t.Helper()
	reader := csv.NewReader(strings.NewReader(h.read(name)))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	h.must(err)
	return rows[1:]
}

// query reads one value of the state.
func (h *house) query(text string, args ...any) string {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(h.dir, "state", "postern.db")+"?_pragma=busy_timeout(20000)")
	h.must(err)
	defer db.Close()
	var value sql.NullString
	if err := db.QueryRow(text, args...).Scan(&value); err != nil && err != sql.ErrNoRows {
		h.t.Fatal(err)
	}
	return value.String
}

// drop is what lies in the folder of a sealed drop, opened with age and zstd
// alone and with the recipient's key.
type drop struct {
	sizes    map[string]int64
	parts    map[string][]byte // plaintext by file name
	scope    []byte            // of the part that tells on what rows under Part 2 rest
	book     map[string]any
	manifest transfer.Manifest
	raw      map[string][]byte
}

// rows are the lines of all parts; of CSV parts without their header.
func (d *drop) rows() (lines []string) {
	for _, name := range sortedKeys(d.parts) {
		part := strings.Split(strings.TrimSuffix(string(d.parts[name]), "\n"), "\n")
		if len(part) > 0 && !strings.HasPrefix(part[0], "{") {
			part = part[1:]
		}
		lines = append(lines, part...)
	}
	return lines
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

var serialInName = regexp.MustCompile(`^cv\.[a-z0-9]+\.\d{6}\.`)

func (h *house) drop(exchange string, number int64) *drop {
	h.t.Helper()
	dir := filepath.Join(h.dir, "state", "drops", h.query(`SELECT dir FROM delivery WHERE exchange = ? AND number = ?`, exchange, number))
	config, err := h.agent.Config.Exchange(exchange)
	h.must(err)
	key, err := os.Open(filepath.Join(h.world.Recipient(config.Recipient).Dir, "keys", "identity.txt"))
	h.must(err)
	defer key.Close()
	identities, err := age.ParseIdentities(key)
	h.must(err)
	d := &drop{sizes: map[string]int64{}, parts: map[string][]byte{}, raw: map[string][]byte{}}
	entries, err := os.ReadDir(dir)
	h.must(err)
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if !serialInName.MatchString(e.Name()) {
			h.t.Fatalf("%s lies beside the drop", e.Name())
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		h.must(err)
		d.sizes[e.Name()], d.raw[e.Name()] = int64(len(raw)), raw
		switch {
		case strings.HasSuffix(e.Name(), ".zst.age"):
			d.parts[e.Name()] = unzip(h.t, decrypt(h.t, raw, identities))
		case strings.HasSuffix(e.Name(), ".book.json.age"):
			h.must(json.Unmarshal(decrypt(h.t, raw, identities), &d.book))
		case strings.HasSuffix(e.Name(), ".manifest.json"):
			h.must(json.Unmarshal(raw, &d.manifest))
		}
	}
	if listed, _ := d.book["parts"].([]any); len(listed) > 0 {
		if last := listed[len(listed)-1].(map[string]any); last["dataset"] == "scope-of-consent" {
			name := last["name"].(string)
			d.scope = d.parts[name]
			delete(d.parts, name)
		}
	}
	if len(d.parts) == 0 || d.book == nil || d.manifest.Sequence != number {
		h.t.Fatalf("drop %d of %s is not whole", number, exchange)
	}
	return d
}

func decrypt(t *testing.T, raw []byte, identities []age.Identity) []byte {
	t.Helper()
	plain, err := age.Decrypt(bytes.NewReader(raw), identities...)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func unzip(t *testing.T, packed []byte) []byte {
	t.Helper()
	reader, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	text, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// reasons sums the counted reasons of an outcome.
func reasons(o *agent.Outcome) map[string]int64 {
	sum := map[string]int64{}
	for _, b := range o.Balances {
		for reason, n := range b.Reasons {
			sum[reason] += n
		}
	}
	return sum
}

// grown are the reasons of which b counts more or fewer than a.
func grown(a, b *agent.Outcome) map[string]int64 {
	was, is := reasons(a), reasons(b)
	for reason, n := range was {
		if is[reason] -= n; is[reason] == 0 {
			delete(is, reason)
		}
	}
	return is
}

// within fails the test when done does not close in time.
func within(t *testing.T, most time.Duration, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(most):
		t.Fatalf("%s took longer than %s", what, most)
	}
}

// eventually polls until holds is true.
func eventually(t *testing.T, most time.Duration, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(most)
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("%s did not happen within %s", what, most)
		}
	}
}
