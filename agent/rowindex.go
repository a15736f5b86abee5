package agent

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// SentDrop is a drop that went to a recipient, whole or perhaps in part, and
// holds rows about a subject.
type SentDrop struct {
	Exchange  string           `json:"exchange"`
	Number    int64            `json:"number"`
	Recipient string           `json:"recipient"` // as it was then
	Sent      time.Time        `json:"sent"`      // delivered; of one whose delivery has not ended, committed
	State     string           `json:"state"`
	Note      string           `json:"note,omitempty"`
	Rows      map[string]int64 `json:"rows"` // by dataset
}

// SentAbout lists what has been sent about a subject under any of the ids that
// were merged, and tells how many drops it looked through. The archive's
// private key opens the row indexes; it is only read, and kept nowhere.
func (a *Agent) SentAbout(ctx context.Context, subject phi.Bytes, archiveKey string) (sent []SentDrop, searched int, err error) {
	identities, err := archiveIdentities(archiveKey)
	if err != nil {
		return nil, 0, err
	}
	ids, err := a.allIDs(ctx, subject)
	if err != nil {
		return nil, 0, err
	}
	commits, err := a.committedDrops(ctx)
	if err != nil {
		return nil, 0, err
	}
	drops, err := a.exposedDrops(ctx)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range drops {
		commit := commits[d.manifest]
		rows := map[string]int64{}
		err := a.readPrivate(d.dir, "row-index", commit, identities, func(plain io.Reader) error {
			return rowIndexLines(ctx, plain, func(r *indexedRow) error {
				if slices.Contains(ids, r.about) {
					rows[r.dataset]++
				}
				return nil
			})
		})
		if err != nil {
			return nil, 0, err
		}
		if d.Recipient, d.Rows = commit.Recipient, rows; len(rows) > 0 {
			sent = append(sent, d.SentDrop)
		}
	}
	return sent, len(drops), nil
}

// archiveIdentities reads the archive's private key.
func archiveIdentities(file string) (identities []age.Identity, err error) {
	text, err := os.ReadFile(file)
	if err == nil {
		identities, err = transfer.ParseIdentities(text)
	}
	if err != nil {
		return nil, fail(KeyTrouble, err, "name the file of the archive's private key, which `postern init` had put into a safe", "archive key")
	}
	return identities, nil
}

// allIDs are the ids of a subject, merged ones included, by what the clinic
// knows now. A list of merges that is old still counts: leaving it out would
// answer with less.
func (a *Agent) allIDs(ctx context.Context, subject phi.Bytes) ([]phi.Text, error) {
	r := a.newRun(&exchange{policy: new(policies.Policy)}, RunOptions{DryRun: true})
	for _, name := range r.inputNames() {
		if r.isMerges(name) {
			c := a.Config.Inputs[name]
			if _, err := r.readInput(ctx, name, a.Config.Path(c.File), c.Kind); err != nil {
				return nil, stale(err, "mend the file", "protective input %s", name)
			}
		}
	}
	if err := r.restoreClosings(ctx, mergeGroup, r.tables.Merges); err != nil {
		return nil, err
	}
	if err := r.tables.Merges.Settle(); err != nil {
		return nil, err
	}
	people := r.tables.People
	var ids []phi.Text
	for _, id := range people.IDs(people.Intern(subject)) {
		ids = append(ids, phi.Text(id))
	}
	return ids, nil
}

// exposedDrop is a drop of which a byte may have left.
type exposedDrop struct {
	SentDrop
	dir, manifest string
}

func (a *Agent) exposedDrops(ctx context.Context) (list []exposedDrop, err error) {
	var d exposedDrop
	var at int64
	err = each(ctx, a.db, row{&d.Exchange, &d.Number, &d.State, &d.Note, &d.dir, &d.manifest, &at}, func() error {
		d.Sent = time.UnixMilli(at).UTC()
		list = append(list, d)
		return nil
	}, `SELECT exchange, number, state, note, dir, manifest, CASE delivered WHEN 0 THEN committed ELSE delivered END
		FROM delivery WHERE exposed = 1 ORDER BY exchange, number`)
	return list, err
}

// committedDrop is what the ledger says of the commit of a drop.
type committedDrop struct {
	Manifest  string            `json:"manifest_sha256"`
	Recipient string            `json:"recipient"`
	Private   map[string]string `json:"private_sha256"`
	KeptUntil string            `json:"kept_until"` // the day to which the policy keeps the clinic's copy
	entry     int64             // of the ledger
}

// committedDrops reads the ledger's commits, by the SHA-256 of the manifest.
func (a *Agent) committedDrops(ctx context.Context) (map[string]committedDrop, error) {
	commits := map[string]committedDrop{}
	for entry, err := range a.LedgerEntries(ctx) {
		if err != nil {
			return nil, err
		}
		var event struct {
			Kind ledger.Kind   `json:"kind"`
			Data committedDrop `json:"data"`
		}
		// What is not told in these words is another kind of event.
		if err := json.Unmarshal(entry.Text, &event); err == nil && event.Kind == ledger.DropCommitted {
			event.Data.entry = entry.Index
			commits[event.Data.Manifest] = event.Data
		}
	}
	return commits, nil
}

// readPrivate reads one of the books of a drop that stay here, as a stream to
// its authenticated end, and holds its SHA-256 against the ledger's.
func (a *Agent) readPrivate(dir, book string, commit committedDrop, identities []age.Identity, read func(plain io.Reader) error) error {
	what := strings.ReplaceAll(book, "-", " ") + " of " + dir
	name, digest, err := a.readKept(filepath.Join(dir, transfer.PrivateFolder, "*."+book+".*"), what, identities, read)
	if err == nil && digest != commit.Private[name] {
		err = altered(errors.New("it is not the one that the ledger names"), what)
	}
	return err
}

func altered(err error, what string) error {
	return fail(Altered, err, "restore the state from its backup", "%s", what)
}

// readKept reads the one file below the folder of drops that fits a pattern: what
// the archive's key opens. It gives the file's name and SHA-256.
func (a *Agent) readKept(pattern, what string, identities []age.Identity, read func(plain io.Reader) error) (name, sum string, err error) {
	found, err := filepath.Glob(filepath.Join(a.dropsDir(), pattern))
	if err != nil || len(found) != 1 {
		return "", "", altered(errors.New("it is not there"), what)
	}
	file, err := os.Open(found[0])
	if err != nil {
		return "", "", altered(err, what)
	}
	defer file.Close() // it was only read
	digest := sha256.New()
	plain, err := age.Decrypt(io.TeeReader(file, digest), identities...)
	if errors.As(err, new(*age.NoIdentityMatchError)) {
		return "", "", fail(KeyTrouble, nil, "name the private half of the archive key that `postern keys show` prints, or of the one before it", "the archive key does not open the %s", what)
	}
	if err == nil && strings.Contains(found[0], ".zst.") {
		var unpacked *zstd.Decoder
		if unpacked, err = zstd.NewReader(plain, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)); err == nil {
			defer unpacked.Close()
			plain = unpacked
		}
	}
	if err == nil {
		err = read(plain)
	}
	if errors.Is(err, context.Canceled) {
		return "", "", err
	} else if err != nil {
		return "", "", altered(err, what)
	}
	return filepath.Base(found[0]), hex.EncodeToString(digest.Sum(nil)), nil
}

// indexedRow is a line of the row index: where a row of the drop came from, and
// one of those it is about.
type indexedRow struct {
	part    int
	line    int64 // of the part's rows, from 1
	file    string
	source  int64 // line of the file
	entry   int64 // of a Bundle
	dataset string
	about   phi.Text
}

// rowIndexLines reads the row index, as package build writes it.
func rowIndexLines(ctx context.Context, plain io.Reader, visit func(*indexedRow) error) error {
	columns := []string{"part", "line", "file", "source_line", "entry", "dataset", "subject"}
	return csvLines(ctx, plain, columns, func(cells []string) error {
		r := indexedRow{file: cells[2], dataset: cells[5], about: phi.Text(cells[6])}
		part, err := strconv.Atoi(cells[0])
		for i, into := range map[int]*int64{1: &r.line, 3: &r.source, 4: &r.entry} {
			var failed error
			*into, failed = strconv.ParseInt(cells[i], 10, 64)
			err = cmp.Or(err, failed)
		}
		if r.part = part; err != nil {
			return errors.New("it has a number that is none")
		}
		return visit(&r)
	})
}

// csvLines reads a book that has these columns; what follows them is passed over.
func csvLines(ctx context.Context, plain io.Reader, columns []string, visit func(cells []string) error) error {
	lines := csv.NewReader(plain)
	lines.ReuseRecord = true
	header, err := lines.Read()
	if err != nil {
		return err
	}
	if len(header) < len(columns) || !slices.Equal(header[:len(columns)], columns) {
		return fmt.Errorf("it has not the columns %s", strings.Join(columns, ", "))
	}
	for ctx.Err() == nil {
		cells, err := lines.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = visit(cells)
		}
		if err != nil {
			return err // csv's errors tell the line and quote nothing of it
		}
	}
	return ctx.Err()
}
