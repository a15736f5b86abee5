package build

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// form tells where the cells of a part's lines stand: columns of our own CSV, or
// of the recipient's layout. FHIR has neither.
type form struct {
	columns []string // of our own, by name
	layout  *policies.Layout
	file    *policies.LaidOut // nil without a layout
}

func formOf(p *policies.Policy, dataset string, columns []string) form {
	f := form{columns: columns}
	if p.Layout != nil {
		f.layout, f.file = p.Layout, p.Layout.File(dataset)
	}
	return f
}

// format is what the recipient's book calls the lines of a part.
func (f *form) format() string {
	switch {
	case f.file != nil:
		return transfer.Lines(f.file.Header != nil, f.file.Trailer != nil)
	case f.columns != nil:
		return transfer.CSV
	}
	return transfer.NDJSON
}

// column is where a total of the recipient's book is taken; -1 for nowhere.
func (f *form) column(t policies.Total) int {
	if f.file == nil {
		return slices.Index(f.columns, t.Column)
	}
	return f.file.Holding(t)
}

// totalled is where a sum in a line of the layout is taken; -1 for nowhere.
func (f *form) totalled(t policies.Total) int { return f.file.Totalled(t.Column) }

// cut takes a reference to nothing out of a line: the member, or what the cell holds.
func (f *form) cut(line []byte, h deid.Hole) []byte {
	switch {
	case f == nil || f.file == nil:
		return deid.CutReference(line, h)
	case f.layout.Delimiter != 0:
		return slices.Delete(line, int(h.Start), int(h.End))
	}
	for i := h.Start; i < h.End; i++ {
		line[i] = ' '
	}
	return line
}

// keys is the column of the row keys, in lines that have them.
func (f *form) keys() int {
	if f.file == nil {
		return len(f.columns) - 1
	}
	return slices.IndexFunc(f.file.Columns, func(c policies.Column) bool { return c.RowKey })
}

// cell appends the plain cell of a column of one of our own lines.
func (f *form) cell(dst, line []byte, column int) []byte {
	switch {
	case f.file == nil:
		return cellAt(dst, bytes.TrimSuffix(line, []byte{'\n'}), ',', column)
	case f.layout.Delimiter != 0:
		return cellAt(dst, bytes.TrimSuffix(line, []byte(f.layout.LineEnd)), f.layout.Delimiter, column)
	}
	at := 0
	for i := range f.file.Columns[:column] {
		at += f.file.Columns[i].Width
	}
	return append(dst, bytes.TrimSpace(line[at:at+f.file.Columns[column].Width])...)
}

// trailer counts and adds up what the last line of a part tells of its rows.
type trailer struct {
	form
	rows *partTotals
}

// newTrailer gives nil for a form without one.
func newTrailer(f form) *trailer {
	if f.file == nil || f.file.Trailer == nil {
		return nil
	}
	asked := totalsOf(f.file.Trailer)
	return &trailer{f, newTotals(asked).of(f, f.totalled)}
}

// totalsOf are the totals in a line of a layout.
func totalsOf(cells []policies.Column) (asked []policies.Total) {
	for _, c := range cells {
		if c.Total != nil {
			asked = append(asked, *c.Total)
		}
	}
	return asked
}

// add notes the rows that stand in some text. A form without a trailer notes
// nothing.
func (t *trailer) add(text []byte) {
	if t == nil {
		return
	}
	for line := range bytes.Lines(text) {
		t.rows.add(line)
	}
}

// line is the trailer of the rows that were added; nothing without one.
func (t *trailer) line() ([]byte, error) {
	if t == nil {
		return nil, nil
	}
	var texts []string
	totals := t.rows.all.list(0)
	for _, c := range t.file.Trailer {
		text := c.Text
		if c.Total != nil {
			text, totals = totals[0].Value, totals[1:]
		}
		texts = append(texts, text)
	}
	line, err := t.layout.Line(nil, t.file.Trailer, texts)
	if err != nil {
		return nil, fmt.Errorf("the trailer cannot be written: %w", err)
	}
	return line, nil
}
