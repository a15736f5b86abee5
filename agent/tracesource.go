package agent

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"

	"github.com/posternhealth/postern/internal/phi"
)

// SourceTrace is what one drop did with the record in a line of the extract.
type SourceTrace struct {
	TracedDrop
	Source      TracedLine  `json:"source"`
	Dataset     string      `json:"dataset"`
	Disposition string      `json:"disposition"`
	Reasons     []ReasonWhy `json:"reasons,omitempty"` // in the order of decision; the first is the counted one
	Detail      string      `json:"detail,omitempty"`
	Rows        []SentRow   `json:"rows,omitempty"`
}

// ReasonWhy is a reason for which a record did not leave. What it means is told
// of those for which some record of the drop was counted.
type ReasonWhy struct {
	Reason string `json:"reason"`
	Says   string `json:"says,omitempty"`
	Law    string `json:"law,omitempty"`
}

// TraceSource tells what each drop of an exchange, or of all, did with the record
// in a line of the extract. File is a name below the source's folder, or a path
// that ends in it. Gone are the drops of which the clinic's copy is no longer
// there, so that they cannot be asked.
func (a *Agent) TraceSource(ctx context.Context, exchange, file string, line int64, archiveKey string) (found []SourceTrace, gone []*TracedDrop, err error) {
	identities, err := archiveIdentities(archiveKey)
	if err != nil {
		return nil, nil, err
	}
	if exchange != "" {
		if _, err := a.Config.Exchange(exchange); err != nil {
			return nil, nil, err
		}
	}
	drops, err := a.tracedDrops(ctx, exchange, 0)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range drops {
		if a.stillKept(d) != nil {
			gone = append(gone, d)
			continue
		}
		list, err := a.lineIn(ctx, d, filepath.ToSlash(file), line, identities)
		if err != nil {
			return nil, nil, err
		}
		found = append(found, list...)
	}
	return found, gone, nil
}

// lineIn gives a line for each record that begins in the line: a Bundle has many.
func (a *Agent) lineIn(ctx context.Context, d *TracedDrop, file string, line int64, identities []age.Identity) (list []SourceTrace, err error) {
	err = a.readPrivate(d.dir, "dispositions", d.commit, identities, func(plain io.Reader) error {
		columns := []string{"file", "from_line", "to_line", "entry", "dataset", "disposition", "reasons", "detail"}
		return csvLines(ctx, plain, columns, func(cells []string) error {
			from, err := strconv.ParseInt(cells[1], 10, 64)
			to, wrong := strconv.ParseInt(cells[2], 10, 64)
			entry, odd := strconv.ParseInt(cells[3], 10, 64)
			if err != nil || wrong != nil || odd != nil {
				return errors.New("it has a number that is none")
			}
			if line < from || line > to || cells[0] != file && !strings.HasSuffix(file, "/"+cells[0]) {
				return nil
			}
			t := SourceTrace{TracedDrop: *d, Source: TracedLine{File: cells[0], Line: line, Entry: entry},
				Dataset: cells[4], Disposition: cells[5], Detail: cells[7]}
			for reason := range strings.SplitSeq(cells[6], ",") {
				if reason != "" {
					t.Reasons = append(t.Reasons, ReasonWhy{Reason: reason})
				}
			}
			list = append(list, t)
			return nil
		})
	})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list, errors.Join(a.explainLine(d, list, identities), a.rowsOf(ctx, d, list, identities))
}

// explainLine says what the reasons mean, and whether the file is still there.
func (a *Agent) explainLine(d *TracedDrop, list []SourceTrace, identities []age.Identity) error {
	book, err := a.readClinicBook(d.dir, d.commit, identities)
	if err != nil {
		return err
	}
	for i := range list {
		for j := range list[i].Reasons {
			for _, of := range book.Datasets {
				for _, w := range of.Why {
					if r := &list[i].Reasons[j]; w.Reason == r.Reason {
						r.Says, r.Law = w.Says, w.Law
					}
				}
			}
		}
		if _, err := a.lineOf(d.Exchange, &list[i].Source, book); err != nil {
			return err
		}
	}
	return nil
}

// rowsOf finds the rows that records have become, and their keys.
func (a *Agent) rowsOf(ctx context.Context, d *TracedDrop, list []SourceTrace, identities []age.Identity) error {
	err := a.readPrivate(d.dir, "row-index", d.commit, identities, func(plain io.Reader) error {
		return rowIndexLines(ctx, plain, func(r *indexedRow) error {
			for i := range list {
				t := &list[i]
				same := func(s SentRow) bool { return s.Part == r.part && s.Row == r.line }
				if r.file == t.Source.File && r.source == t.Source.Line && r.entry == t.Source.Entry && r.dataset == t.Dataset && !slices.ContainsFunc(t.Rows, same) {
					t.Rows = append(t.Rows, SentRow{Part: r.part, Row: r.line, Dataset: r.dataset})
				}
			}
			return nil
		})
	})
	book, failed := a.recipientsBook(d, identities)
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for part := range book.Parts {
		p := &book.Parts[part]
		here := map[int64]*SentRow{}
		for i := range list {
			for j := range list[i].Rows {
				if r := &list[i].Rows[j]; r.Part == part+1 {
					r.File, r.Part2, r.Action = p.Name, p.Part2, p.Action
					here[r.Row] = r
				}
			}
		}
		if len(here) == 0 {
			continue
		}
		if err := a.archivedRows(ctx, d, book, part, identities, func(n int64, text []byte) (err error) {
			if r := here[n]; r != nil {
				r.RowKey, err = a.rowKeyIn(ctx, d.Exchange, p, phi.Bytes(text), "")
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}
