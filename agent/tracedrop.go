package agent

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/transfer"
)

// TracedDrop is a drop with the evidence of its way.
type TracedDrop struct {
	Exchange  string          `json:"exchange"`
	Number    int64           `json:"number"`
	Recipient string          `json:"recipient"` // as it was then
	State     string          `json:"state"`
	Note      string          `json:"note,omitempty"`
	Committed time.Time       `json:"committed"`
	Delivered time.Time       `json:"delivered,omitzero"` // when delivery had ended
	Evidence  json.RawMessage `json:"evidence,omitempty"`
	Manifest  string          `json:"manifest_sha256"`
	Entry     int64           `json:"ledger_entry"`         // of the commit
	KeptUntil string          `json:"kept_until,omitempty"` // the clinic's copy, by the policy of then

	dir    string
	commit committedDrop
	expect transfer.Expectation
}

// tracedDrop finds a drop of which the clinic's copy is there.
func (a *Agent) tracedDrop(ctx context.Context, exchange string, number int64) (*TracedDrop, error) {
	if exchange != "" {
		if _, err := a.Config.Exchange(exchange); err != nil {
			return nil, err
		}
	}
	list, err := a.tracedDrops(ctx, exchange, number)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, fail(AnsweredNo, nil, "`postern drops list` shows them", "there is no drop %d", number)
	case len(list) > 1:
		var names []string
		for _, d := range list {
			names = append(names, d.Exchange)
		}
		return nil, fail(Usage, nil, "say which is meant: --exchange NAME", "there is a drop %d of %s", number, strings.Join(names, " and of "))
	}
	return list[0], a.stillKept(list[0])
}

// tracedDrops are the committed drops of an exchange, or of all; number 0 means any.
func (a *Agent) tracedDrops(ctx context.Context, exchange string, number int64) (list []*TracedDrop, err error) {
	commits, err := a.committedDrops(ctx)
	if err != nil {
		return nil, err
	}
	var d TracedDrop
	var committed, delivered int64
	var evidence, expect string
	err = each(ctx, a.db, row{&d.Exchange, &d.Number, &d.State, &d.Note, &d.dir, &d.Manifest, &committed, &delivered, &evidence, &expect}, func() error {
		one := d
		one.commit = commits[d.Manifest]
		one.Recipient, one.KeptUntil, one.Entry = one.commit.Recipient, one.commit.KeptUntil, one.commit.entry
		if one.Committed = time.UnixMilli(committed).UTC(); delivered > 0 {
			one.Delivered = time.UnixMilli(delivered).UTC()
		}
		if evidence != "" {
			one.Evidence = json.RawMessage(evidence)
		}
		list = append(list, &one)
		return json.Unmarshal([]byte(expect), &one.expect)
	}, `SELECT exchange, number, state, note, dir, manifest, committed, delivered, evidence, expect FROM delivery
		WHERE ? IN ('', exchange) AND ? IN (0, number) ORDER BY exchange, number`, exchange, number)
	return list, err
}

// stillKept fails when the clinic's copy is gone, and says whether it should be.
func (a *Agent) stillKept(d *TracedDrop) error {
	found, err := filepath.Glob(filepath.Join(a.dropsDir(), d.dir, transfer.PrivateFolder, "*.row-index.*"))
	if err != nil || len(found) > 0 {
		return err
	}
	what := fmt.Sprintf("the clinic's copy of drop %d of %s is gone, and with it what its rows came from", d.Number, d.Exchange)
	if until, ok := extract.ParseSpan([]byte(d.KeptUntil)); ok && until.From < extract.DayOf(a.Now().In(a.Config.Zone)) {
		return fail(AnsweredNo, nil, "`postern ledger show` still tells that it was made, sent and answered", "%s: the policy kept it until %s", what, d.KeptUntil)
	}
	return altered(fmt.Errorf("it is to be kept until %s", cmp.Or(d.KeptUntil, "a day that is not known")), what)
}

// recipientsBook is the archived copy of the book that went with the drop.
func (a *Agent) recipientsBook(d *TracedDrop, identities []age.Identity) (book *transfer.Book, err error) {
	_, _, err = a.readKept(filepath.Join(d.dir, transfer.ArchiveFolder, "*.book.json.*"), "archived book of "+d.dir, identities, func(plain io.Reader) error {
		text, err := io.ReadAll(plain)
		if err == nil {
			book, err = transfer.ParseBook(text)
		}
		if err == nil && (book.Exchange != d.expect.Exchange || book.Sequence != d.Number || len(book.Parts) != len(d.expect.Parts)) {
			err = errors.New("it is that of another drop")
		}
		return err
	})
	return book, err
}

// archivedRows reads the rows of a part to their end. Their SHA-256 must be the
// one that the commit kept.
func (a *Agent) archivedRows(ctx context.Context, d *TracedDrop, book *transfer.Book, part int, identities []age.Identity, visit func(n int64, text []byte) error) error {
	p := &book.Parts[part]
	what := fmt.Sprintf("archived part %d of %s", part+1, d.dir)
	_, _, err := a.readKept(filepath.Join(d.dir, transfer.ArchiveFolder, fmt.Sprintf("*.%03d.zst.*", part+1)), what, identities, func(plain io.Reader) error {
		digest := sha256.New()
		lines := bufio.NewReaderSize(io.TeeReader(plain, digest), 1<<20)
		n := int64(1)
		if p.HasHeader() {
			n = 0
		}
		for ; ctx.Err() == nil; n++ {
			text, err := lines.ReadBytes('\n')
			if err == nil && n >= 1 && n <= p.Rows {
				err = visit(n, text)
			}
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if hex.EncodeToString(digest.Sum(nil)) != d.expect.Parts[part].PlaintextSHA256 {
			return errors.New("it is not what was sealed")
		}
		return nil
	})
	return err
}
