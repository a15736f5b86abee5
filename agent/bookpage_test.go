package agent_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/agent"
	making "github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
)

// The book of each of the demo's drops is held against the drop's own
// plaintext, counted by other means; that of the treatment exchange is as it
// stands in docs/explained and testdata.
func TestClinicBookOfTheDemo(t *testing.T) {
	h := build(t, synthetic.Options{Mess: true})
	for _, exchange := range []string{scores, treatment, outcomes} {
		planned := h.planned(exchange)
		book := h.book(exchange)
		bookBalances(t, book)
		sameAsSent(t, book, h.archived(exchange, 1))
		for i, d := range planned.Datasets {
			if sealed := book.Datasets[i]; !reflect.DeepEqual(d.Paths, sealed.Paths) || !reflect.DeepEqual(d.Why, sealed.Why) || d.Judged != nil {
				t.Errorf("%s: %s was planned otherwise than it was done", exchange, d.Dataset)
			}
		}
		if planned.Gate != nil || book.Gate == nil || book.Gate.Hits != 0 || book.Gate.Rows != uint64(book.Outcome.Released) {
			t.Errorf("%s: the gate of the plan %+v, of the drop %+v", exchange, planned.Gate, book.Gate)
		}
		if exchange == treatment {
			h.goldenBook(book)
		}
	}

	// What nobody refers to does not leave, and none of it is counted as left.
	file, err := os.OpenFile(filepath.Join(h.dir, "extract", "fhir", "Organization.ndjson"), os.O_APPEND|os.O_WRONLY, 0)
	h.must(err)
	_, err = file.WriteString(`{"resourceType":"Organization","id":"elsewhere","name":"Nobody refers to it"}` + "\n")
	h.must(err)
	h.must(file.Close())
	h.age()
	for _, d := range h.planned(treatment).Datasets {
		if d.Dataset != "Organization" {
			continue
		}
		released := d.Dispositions[extract.Released.String()]
		if at := slices.IndexFunc(d.Paths, func(p making.PathBook) bool { return p.Path == "Organization.id" }); released == 0 || d.Source != released+1 || d.Paths[at].Met != uint64(released) {
			t.Errorf("%d of %d organizations left, and of their ids %+v", released, d.Source, d.Paths[at])
		}
	}
}

func (h *house) planned(exchange string) (book *agent.ClinicBook) {
	h.t.Helper()
	_, err := h.agent.Run(h.t.Context(), exchange, agent.RunOptions{AsOf: sharedDay(h.t, synthetic.AsOf), DecidedAt: noon, DryRun: true, Book: func(b *agent.ClinicBook) { book = b }})
	h.must(err)
	return book
}

// book runs an exchange and reads the book of its first drop.
func (h *house) book(exchange string) *agent.ClinicBook {
	h.t.Helper()
	_, err := h.agent.Run(h.t.Context(), exchange, agent.RunOptions{AsOf: sharedDay(h.t, synthetic.AsOf)})
	h.must(err)
	book, err := h.agent.ClinicBook(h.t.Context(), exchange, 1, filepath.Join(h.world.Dir, "archive-identity.txt"))
	h.must(err)
	return book
}

// archived opens the parts of a drop with the archive's key.
func (h *house) archived(exchange string, number int64) (parts [][]byte) {
	h.t.Helper()
	drops, err := h.agent.Drops(h.t.Context(), exchange)
	h.must(err)
	text, err := os.ReadFile(filepath.Join(h.world.Dir, "archive-identity.txt"))
	h.must(err)
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	h.must(err)
	config, err := h.agent.Config.Exchange(exchange)
	h.must(err)
	files, err := filepath.Glob(filepath.Join(h.dir, "state", "drops", config.ID+".*", "archive", "*.zst.age"))
	h.must(err)
	if len(drops) != int(number) || len(files) == 0 {
		h.t.Fatalf("%d drops, %d files in the archive", len(drops), len(files))
	}
	for _, name := range files {
		file, err := os.Open(name)
		h.must(err)
		packed, err := age.Decrypt(file, identities...)
		h.must(err)
		plain, err := zstd.NewReader(packed)
		h.must(err)
		part, err := io.ReadAll(plain)
		h.must(err)
		h.must(file.Close())
		parts = append(parts, part)
	}
	return parts
}

// bookBalances holds the sums of a book against each other.
func bookBalances(t *testing.T, book *agent.ClinicBook) {
	t.Helper()
	var source, released int64
	for _, d := range book.Datasets {
		sum, kept := int64(0), int64(0)
		for _, n := range d.Dispositions {
			sum += n
		}
		for _, w := range d.Why {
			if kept += w.Records; w.Says == "" || w.Records < 1 {
				t.Errorf("%s: %+v", d.Dataset, w)
			}
		}
		if left := d.Dispositions[extract.Released.String()]; sum != d.Source || kept != d.Source-left {
			t.Errorf("%s: %d in the source, %d left, %d accounted for, %d with a reason", d.Dataset, d.Source, left, sum, kept)
		}
		source, released = source+d.Source, released+d.Dispositions[extract.Released.String()]
		for _, p := range d.Paths {
			if p.Left > p.Met || p.Done == "" {
				t.Errorf("%+v", p)
			}
			if p.Left > 0 && (p.Done == making.NotReleased || p.Done == making.Unknown || p.Done == making.Extended || p.Done == making.OtherForm) {
				t.Errorf("%+v: left", p)
			}
		}
	}
	if source != book.Outcome.Source || released != book.Outcome.Released {
		t.Errorf("%d of %d records, the outcome says %d of %d", released, source, book.Outcome.Released, book.Outcome.Source)
	}
	if len(book.Sources) == 0 || len(book.Inputs) == 0 || len(book.Keys.Recipients) != 1 || book.Keys.Epoch == "" || book.Closure == "" {
		t.Errorf("it does not tell on what it stood: %+v", book.Account)
	}
}

// sameAsSent counts the values of the drop and holds them against the book.
func sameAsSent(t *testing.T, book *agent.ClinicBook, parts [][]byte) {
	t.Helper()
	sent := map[string]uint64{}
	for _, part := range parts {
		if bytes.HasPrefix(part, []byte("{")) {
			for line := range bytes.Lines(part) {
				var resource map[string]any
				must(t, json.Unmarshal(line, &resource))
				countLeaves(resource, resource["resourceType"].(string), sent)
			}
			continue
		}
		rows, err := csv.NewReader(bytes.NewReader(part)).ReadAll()
		must(t, err)
		if len(rows) == 0 || rows[0][0] == "part" {
			continue // the scope of consent of other parts' rows
		}
		for _, row := range rows[1:] {
			for i, cell := range row {
				if cell != "" {
					sent["scores."+rows[0][i]]++
				}
			}
		}
	}
	delete(sent, "scores.row_key") // is no field
	for _, d := range book.Datasets {
		cut := int64(0)
		for _, p := range d.Paths {
			gone := p.Left - sent[p.Path]
			if strings.HasSuffix(p.Path, ".reference") {
				cut += int64(gone)
			} else if gone != 0 {
				t.Errorf("%s: the book says %d, the drop has %d", p.Path, p.Left, sent[p.Path])
			}
			delete(sent, p.Path)
		}
		if cut != d.ReferencesCut {
			t.Errorf("%s: %d references are missing, the book says %d", d.Dataset, cut, d.ReferencesCut)
		}
	}
	for path := range sent {
		if !strings.HasSuffix(path, ".resourceType") {
			t.Errorf("the drop has %s, and the book does not", path)
		}
	}
}

// countLeaves counts the values below v, by path; lists do not show, and an
// extension stands under its URL.
func countLeaves(v any, path string, count map[string]uint64) {
	switch v := v.(type) {
	case map[string]any:
		for name, below := range v {
			if name != "extension" {
				countLeaves(below, path+"."+name, count)
				continue
			}
			for _, e := range below.([]any) {
				e := e.(map[string]any)
				url := e["url"].(string)
				delete(e, "url")
				countLeaves(e, path+".extension("+url+")", count)
			}
		}
	case []any:
		for _, one := range v {
			countLeaves(one, path, count)
		}
	default:
		count[path]++
	}
}

var digests = regexp.MustCompile(`[0-9a-f]{64}|SHA256:([0-9A-Za-z+/]|&#43;){43}`)

// goldenBook holds page and JSON against docs/explained, but for digests and
// times; UPDATE_GOLDEN=1 writes them anew.
func (h *house) goldenBook(book *agent.ClinicBook) {
	h.t.Helper()
	book.Outcome.Stages = nil
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	h.must(encoder.Encode(book))
	for name, got := range map[string]string{"testdata/clinic-book.json": text.String(), "../docs/explained/clinic-book.html": book.Report().HTML()} {
		got = digests.ReplaceAllString(got, "(SHA-256)")
		file := filepath.FromSlash(name)
		if os.Getenv("UPDATE_GOLDEN") != "" {
			h.must(os.WriteFile(file, []byte(got), 0o644))
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			h.t.Errorf("%s (%v): got\n%s", file, err, got)
		}
	}
}
