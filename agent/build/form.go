package build

import (
	"bytes"
	"fmt"
	"slices"

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

// column is where a total of a field is taken; -1 for nowhere.
func (f *form) column(field string) int {
	if f.file == nil {
		return slices.Index(f.columns, field)
	}
	if at := f.file.Totalled(field); at >= 0 {
		return at
	}
	return slices.IndexFunc(f.file.Columns, func(c policies.Column) bool { return c.From == field })
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
	var asked []policies.Total
	for _, c := range f.file.Trailer {
		if c.Total != nil {
			asked = append(asked, *c.Total)
		}
	}
	return &trailer{f, newTotals(asked).of(f)}
}

// add notes a row. A form without a trailer notes nothing.
func (t *trailer) add(line []byte) {
	if t != nil {
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
