package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// Trace is what is known of one row of a drop: where it came from, why it could
// leave, what was done to it, and what became of it. It holds no value of a
// record; Show has those.
type Trace struct {
	TracedDrop
	SentRow
	Source    TracedLine       `json:"source"`
	People    int              `json:"people"` // that the row is about
	AsOf      string           `json:"as_of"`
	DecidedAt time.Time        `json:"decided_at"`
	Policy    build.Basis      `json:"policy"`
	Closure   string           `json:"closure_sha256"` // of all that approvers signed
	Approved  []string         `json:"approved_by"`
	Applies   policies.Steps   `json:"applies"` // the steps of the decision that bound it
	RestsOn   string           `json:"rests_on,omitempty"`
	Epoch     string           `json:"epoch"`
	Fields    []build.PathBook `json:"fields"` // of the dataset: what was done to each that leaves
	Receipts  []TracedReceipt  `json:"receipts"`

	sent, from phi.Bytes
}

// SentRow is a row of a drop.
type SentRow struct {
	File    string `json:"file"` // the part
	Part    int    `json:"part"`
	Row     int64  `json:"row"` // from 1, without the header
	RowKey  string `json:"row_key,omitempty"`
	Dataset string `json:"dataset"`
	Part2   bool   `json:"part2,omitempty"`  // under 42 CFR Part 2
	Action  string `json:"action,omitempty"` // of the part
}

// TracedLine is a line of an extract.
type TracedLine struct {
	File   string `json:"file"` // below the source's folder
	Line   int64  `json:"line"`
	Entry  int64  `json:"entry,omitempty"` // of a Bundle
	SHA256 string `json:"sha256"`          // of the file as it was read
	There  string `json:"there,omitempty"` // where the same file still lies
	Now    string `json:"now"`             // "same", "changed" or "gone"
}

// TracedReceipt is an answer of the recipient.
type TracedReceipt struct {
	Outcome string    `json:"outcome"`
	Taken   time.Time `json:"taken"`
	SHA256  string    `json:"sha256"`
}

// TraceRow finds a row of a drop by its key, or as PART:ROW. The exchange may be
// "" where only one has a drop of this number. The archive's private key is only
// read, and kept nowhere.
func (a *Agent) TraceRow(ctx context.Context, exchange string, number int64, row, archiveKey string) (*Trace, error) {
	identities, err := archiveIdentities(archiveKey)
	if err != nil {
		return nil, err
	}
	d, err := a.tracedDrop(ctx, exchange, number)
	if err != nil {
		return nil, err
	}
	t := &Trace{TracedDrop: *d}
	book, err := a.recipientsBook(d, identities)
	if err != nil {
		return nil, err
	}
	if err := a.findRow(ctx, t, book, row, identities); err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return a.cameFrom(ctx, t, identities) },
		func() error { return a.stoodOn(t, identities) },
		func() error { return a.approvedBy(ctx, t) },
		func() error { return a.restsOn(ctx, t, book, identities) },
		func() error { return a.answeredBy(ctx, t) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// findRow finds the row among the archived parts.
func (a *Agent) findRow(ctx context.Context, t *Trace, book *transfer.Book, row string, identities []age.Identity) error {
	part, at, placed := strings.Cut(row, ":")
	number, err := strconv.Atoi(part)
	line, wrong := strconv.ParseInt(at, 10, 64)
	if placed && (err != nil || wrong != nil) {
		return fail(Usage, nil, "write the key of a row, or PART:ROW such as 1:83", "--row is neither")
	}
	for i := range book.Parts {
		p := &book.Parts[i]
		if placed && i+1 != number || !placed && !p.RowsOfRecords() {
			continue
		}
		err := a.archivedRows(ctx, &t.TracedDrop, book, i, identities, func(n int64, text []byte) error {
			if placed && n != line || !placed && !bytes.Contains(text, []byte(row)) {
				return nil
			}
			key, err := a.rowKeyIn(ctx, t.Exchange, p, text, row)
			if placed || key == row {
				t.SentRow = SentRow{File: p.Name, Part: i + 1, Row: n, RowKey: key, Dataset: p.Dataset, Part2: p.Part2, Action: p.Action}
				t.sent = bytes.Clone(text)
			}
			return err
		})
		if err != nil || t.Part > 0 {
			return err
		}
	}
	return fail(AnsweredNo, nil, "row keys are compared letter by letter; another drop may hold it: --drop", "no row of drop %d of %s is %s", t.Number, t.Exchange, row)
}

// rowKeyIn gives the key of a row: its last cell, or, in a recipient's own layout,
// what in it is known as one; "" for none. Where cells are told by their width,
// that is only the one asked for.
func (a *Agent) rowKeyIn(ctx context.Context, exchange string, part *transfer.BookPart, text []byte, asked string) (key string, err error) {
	if part.Format == transfer.CSV {
		if part.Columns[len(part.Columns)-1] == transfer.RowKeyColumn {
			key = string(bytes.TrimSpace(text[bytes.LastIndexByte(text, ',')+1:]))
		}
		return key, nil
	}
	words := codeWord.FindAllString(string(text), -1)
	if asked != "" && strings.Contains(string(text), asked) {
		words = append(words, asked)
	}
	for _, word := range words {
		err = errors.Join(err, each(ctx, a.db, row{&key}, func() error { return nil }, `SELECT key FROM row_key WHERE exchange = ? AND key = ? LIMIT 1`, exchange, word))
	}
	return key, err
}

// codeWord is a text of the form that row keys have, and codes of people.
var codeWord = regexp.MustCompile(fmt.Sprintf(`\b[0-9a-z]{%d}\b`, deid.CodeLen))

// cameFrom finds the line of the extract, and looks whether it is still there.
func (a *Agent) cameFrom(ctx context.Context, t *Trace, identities []age.Identity) error {
	err := a.readPrivate(t.dir, "row-index", t.commit, identities, func(plain io.Reader) error {
		return rowIndexLines(ctx, plain, func(r *indexedRow) error {
			if r.part == t.Part && r.line == t.Row {
				t.Source = TracedLine{File: r.file, Line: r.source, Entry: r.entry}
				if t.Dataset = r.dataset; r.about != "" {
					t.People++
				}
			}
			return nil
		})
	})
	if err == nil && t.Source.File == "" && t.Action == transfer.Void {
		remedy := "trace it in the drop that sent it: an earlier --drop"
		var sent int64
		err = each(ctx, a.db, row{&sent}, func() error { return nil }, `SELECT coalesce(max(number), 0) FROM told WHERE exchange = ? AND key = ? AND number < ? AND NOT void`, t.Exchange, t.RowKey, t.Number)
		if sent > 0 {
			remedy = fmt.Sprintf("drop %d sent it: postern trace --exchange %s --drop %[1]d --row %[3]s", sent, t.Exchange, t.RowKey)
		}
		return errors.Join(err, fail(AnsweredNo, nil, remedy, "row %d of part %d tells the recipient to delete a row that it held", t.Row, t.Part))
	}
	if err == nil && t.Source.File == "" {
		err = fail(AnsweredNo, nil, "`postern drops book` tells of the drop as a whole", "row %d of part %d is made from the drop itself, and from no line of the extract", t.Row, t.Part)
	}
	return err
}

// stoodOn fills in what the clinic's book tells.
func (a *Agent) stoodOn(t *Trace, identities []age.Identity) error {
	book, err := a.readClinicBook(t.dir, t.commit, identities)
	if err != nil {
		return err
	}
	t.AsOf, t.DecidedAt, t.Epoch = book.Outcome.AsOf, book.Outcome.DecidedAt, book.Keys.Epoch
	t.Policy, t.Closure, t.Applies = book.Policy, book.Closure, book.Applies
	for _, d := range book.Datasets {
		for _, p := range d.Paths {
			if d.Dataset == t.Dataset && p.Left > 0 {
				t.Fields = append(t.Fields, p)
			}
		}
	}
	t.from, err = a.lineOf(t.Exchange, &t.Source, book)
	return err
}

// approvedBy finds who signed the closure, by the ledger.
func (a *Agent) approvedBy(ctx context.Context, t *Trace) error {
	for entry, err := range a.LedgerEntries(ctx) {
		if err != nil {
			return err
		}
		var event struct {
			Kind ledger.Kind `json:"kind"`
			Data struct {
				Closure string   `json:"closure_sha256"`
				By      []string `json:"approved_by"`
			} `json:"data"`
		}
		if json.Unmarshal(entry.Text, &event) == nil && event.Kind == ledger.Policy && event.Data.Closure == t.Closure && entry.Index < t.Entry {
			t.Approved = event.Data.By
		}
	}
	return nil
}

// lineOf reads a line again, if the file is still what the run has read.
func (a *Agent) lineOf(exchange string, l *TracedLine, book *build.ClinicBook) (phi.Bytes, error) {
	at := slices.IndexFunc(book.Sources, func(s build.Digest) bool { return s.Name == l.File })
	if at < 0 {
		return nil, altered(errors.New("it names another source than the row index"), "clinic book of drop "+strconv.FormatInt(book.Outcome.Number, 10))
	}
	l.SHA256, l.Now = book.Sources[at].SHA256, "gone"
	config, err := a.Config.Exchange(exchange)
	if err != nil {
		return nil, nil // it is no longer configured, and its source is not known
	}
	path := filepath.Join(a.Config.Path(a.Config.Sources[config.Source].Folder), filepath.FromSlash(l.File))
	line, sum, err := extract.LineOf(path, l.Line)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil || sum != l.SHA256 {
		l.Now = "changed"
		return nil, nil
	}
	l.There, l.Now = path, "same"
	return line, nil
}

// restsOn finds on what a row under 42 CFR Part 2 rests, where the drop tells it.
func (a *Agent) restsOn(ctx context.Context, t *Trace, book *transfer.Book, identities []age.Identity) error {
	begin := fmt.Appendf(nil, "%d,%d,", t.Part, t.Row)
	for part := range book.Parts {
		if !t.Part2 || book.Parts[part].Dataset != transfer.ScopeOfConsent {
			continue
		}
		if err := a.archivedRows(ctx, &t.TracedDrop, book, part, identities, func(_ int64, text []byte) error {
			rest, found := bytes.CutPrefix(bytes.TrimSpace(text), begin)
			number, _, _ := bytes.Cut(rest, []byte{','})
			for _, n := range book.Notices {
				if found && n.Kind == transfer.ScopeOfConsent+" "+string(number) {
					t.RestsOn = n.Text
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) answeredBy(ctx context.Context, t *Trace) error {
	var r TracedReceipt
	var taken int64
	return each(ctx, a.db, row{&r.Outcome, &r.SHA256, &taken}, func() error {
		r.Taken = time.UnixMilli(taken).UTC()
		t.Receipts = append(t.Receipts, r)
		return nil
	}, `SELECT status, sha256, taken FROM receipt WHERE exchange = ? AND number = ? ORDER BY rowid`, t.Exchange, t.Number)
}

// Show writes the row as it was sent, and the line of the extract that it came
// from if that is still there: values of a record.
func (t *Trace) Show(w io.Writer) error {
	from := t.from
	if from == nil {
		from = phi.Bytes("(the file is " + t.Source.Now + ")\n")
	}
	_, err := fmt.Fprintf(w, "%s:%d\n%s\n%s, row %d\n%s", t.Source.File, t.Source.Line, bytes.TrimRight([]byte(from), "\r\n"), t.File, t.Row, []byte(t.sent))
	return err
}
