package deid

import (
	"fmt"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// laid is the recipient's layout, compiled into a plan.
type laid struct {
	*policies.Layout
	file    *policies.LaidOut
	columns []laidColumn
	head    []byte
}

type laidColumn struct {
	*policies.Column
	cell   *cell             // nil of what is the same in every row, and of a row key
	first  bool              // of the columns that hold its field: there it is counted
	codes  map[string][]byte // nil: values stay
	others []byte            // nil: what is in no code rejects the record
	fixed  []byte            // what is the same in every row
	form   dateForm
}

// LayoutError says that a value cannot stand in its column: its record is
// rejected for the reason schema. It tells no value.
type LayoutError struct {
	Column string
	Why    string // in words that go on after "the value"
}

func (e *LayoutError) Error() string {
	return fmt.Sprintf("column %s of the layout: the value %s", e.Column, e.Why)
}

func (pl *Plan) compileLayout(l *policies.Layout) error {
	out := &laid{Layout: l, file: l.File(pl.dataset)}
	if out.file == nil {
		return fmt.Errorf("the layout %s does not say how the dataset becomes a file", l.Name)
	}
	var err error
	if out.head, err = l.Head(out.file); err != nil {
		return err
	}
	counted := map[string]bool{}
	for i := range out.file.Columns {
		c, err := pl.columnOf(out, &out.file.Columns[i])
		if err != nil {
			return err
		}
		c.first = !counted[c.From]
		counted[c.From] = true
		out.columns = append(out.columns, c)
	}
	pl.laid = out
	return nil
}

func (pl *Plan) columnOf(out *laid, column *policies.Column) (laidColumn, error) {
	c := laidColumn{Column: column, form: dateForms[column.Date]}
	if column.From == "" {
		var why string
		if c.fixed, why = out.Append([]byte{}, []byte(column.Text), column); why != "" && !column.RowKey {
			return c, &LayoutError{column.Name, why}
		}
		return c, nil
	}
	for i := range pl.cells {
		if pl.cells[i].field.Name == column.From {
			c.cell = &pl.cells[i]
		}
	}
	if c.cell == nil {
		return c, fmt.Errorf("column %s of the layout holds %s, which is not released", column.Name, column.From)
	}
	if (column.Codes != nil || column.Date != "") && c.cell.field.Do != policies.Keep {
		return c, fmt.Errorf("column %s of the layout writes a field otherwise that is not kept", column.Name)
	}
	if column.Codes != nil {
		c.codes = map[string][]byte{}
		for value, code := range column.Codes {
			c.codes[value] = []byte(code)
		}
	}
	if column.Others != nil {
		c.others = append([]byte{}, *column.Others...)
	}
	return c, nil
}

// laidRow appends the line of a record as the recipient's layout has it.
func (e *Engine) laidRow(rec *extract.Record, s *Subject, out *Output) error {
	l := e.plan.laid
	e.rows += e.step
	for i := range l.columns {
		c := &l.columns[i]
		if i > 0 && l.Delimiter != 0 {
			out.Bytes = append(out.Bytes, l.Delimiter)
		}
		var why string
		if c.cell == nil && !c.RowKey {
			out.Bytes = append(out.Bytes, c.fixed...)
		} else {
			why = e.laidCell(rec, s, out, c)
		}
		if why != "" {
			return &LayoutError{c.Name, why}
		}
	}
	out.Bytes = append(out.Bytes, l.LineEnd...)
	return nil
}

func (e *Engine) laidCell(rec *extract.Record, s *Subject, out *Output, c *laidColumn) (why string) {
	holes := len(out.Holes)
	if c.RowKey {
		e.plain = out.hole(e.plain[:0], RowKey)
	} else {
		var present bool
		e.plain, present = e.cell(e.plain[:0], c.cell, rec, s, out)
		e.count(c, present, len(e.plain) > 0)
	}
	value, why := c.written(e, e.plain)
	if why != "" {
		return why
	}
	start := len(out.Bytes)
	if out.Bytes, why = e.plan.laid.Append(out.Bytes, value, c.Column); len(out.Holes) > holes && why == "" {
		h := &out.Holes[holes] // it is the whole value, behind padding or a quote
		for out.Bytes[start] != unfilled[0] {
			start++
		}
		h.Start, h.End = uint32(start), uint32(start+len(value))
	}
	return why
}

// count counts a field at the first of its columns.
func (e *Engine) count(c *laidColumn, in, out bool) {
	n := &e.counts[c.cell.counter]
	if c.first && in {
		n.in += e.step
	}
	if c.first && out {
		n.out += e.step
	}
}

// written is what the layout writes for a value.
func (c *laidColumn) written(e *Engine, value []byte) (_ []byte, why string) {
	switch {
	case c.codes != nil:
		code, known := c.codes[string(value)]
		if !known {
			code = c.others
		}
		if code == nil {
			return nil, "is none of those that the layout maps"
		}
		return code, ""
	case c.form != 0 && len(value) > 0:
		span, ok := c.cell.span(value)
		if !ok || !c.form.fits(span) {
			return nil, "is no whole day, or no whole year"
		}
		e.plain = c.form.append(e.plain[:0], span.From)
		return e.plain, ""
	}
	return value, ""
}

// dateForm is a form in which a layout writes a date; 0 leaves it as it is.
type dateForm uint8

const (
	dashed dateForm = iota + 1
	digits
	monthFirst
	shortMonthFirst
	yearAlone
)

var dateForms = map[string]dateForm{"YYYY-MM-DD": dashed, "YYYYMMDD": digits, "MM/DD/YYYY": monthFirst, "M/D/YYYY": shortMonthFirst, "YYYY": yearAlone}

// fits tells whether a date is as whole as the form says: the year alone needs
// no day.
func (f dateForm) fits(span extract.Span) bool {
	return span.From == span.To || f == yearAlone && span.From.Year() == span.To.Year()
}

func (f dateForm) append(b []byte, day extract.Day) []byte {
	year, month, d := day.Time().Date()
	two := func(b []byte, n int) []byte {
		if f == shortMonthFirst && n < 10 {
			return append(b, byte('0'+n))
		}
		return append(b, byte('0'+n/10), byte('0'+n%10))
	}
	switch f {
	case dashed:
		return two(append(two(append(appendYear(b, year), '-'), int(month)), '-'), d)
	case digits:
		return two(two(appendYear(b, year), int(month)), d)
	case yearAlone:
		return appendYear(b, year)
	}
	return appendYear(append(two(append(two(b, int(month)), '/'), d), '/'), year)
}
