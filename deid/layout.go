package deid

import (
	"bytes"
	"fmt"

	"slices"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// laid is the recipient's layout, compiled into a plan.
type laid struct {
	*policies.Layout
	file    *policies.LaidOut
	columns []laidColumn
	head    []byte

	top   spot // FHIR: of what is looked at in a line
	spots int32
	each  int32 // FHIR: the spot of what makes a row
}

type laidColumn struct {
	*policies.Column
	cell   *cell             // delimited: the released field
	place                    // FHIR: the value
	when   *laidWhen         // nil: it holds the value in every row
	first  bool              // of the columns that hold its field in every row, if one does: there it is counted
	codes  map[string][]byte // nil: values stay
	others []byte            // nil: what is in no code rejects the record; see also when
	fixed  []byte            // what is the same in every row
	form   string            // of dates, as package time has it; "" leaves them as they are
	fits   func([]byte) bool // FHIR: of a value that another column maps, its form; nil where any may stand
}

// LayoutError says that a value cannot stand in its column: its record is
// rejected for the reason schema. It tells no value.
type LayoutError struct {
	Column string // "" when it is about the record
	Why    string // of a column in words that go on after "the value"
}

func (e *LayoutError) Error() string {
	if e.Column == "" {
		return "the layout: " + e.Why
	}
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
	if pl.root != nil {
		out.each = out.at(out.file.Per)
	}
	for i := range out.file.Columns {
		column := &out.file.Columns[i]
		c, err := pl.columnOf(out, column)
		if err == nil && column.When != nil {
			err = pl.bind(out, &c)
		}
		if err != nil {
			return err
		}
		same := func(o policies.Column) bool { return o.From == c.From && o.When == nil }
		c.first = !slices.ContainsFunc(out.file.Columns[:i], same) && (c.When == nil || !slices.ContainsFunc(out.file.Columns, same))
		out.columns = append(out.columns, c)
	}
	pl.laid = out
	return nil
}

// bind compiles what a column is bound to.
func (pl *Plan) bind(out *laid, c *laidColumn) error {
	if pl.root != nil {
		c.when = out.whenOf(c.Column)
		return nil
	}
	bound := pl.cellNamed(c.When.From)
	if bound == nil || bound.field.Do != policies.Keep && bound.field.Do != policies.Map {
		return fmt.Errorf("column %s of the layout is bound to %s, which is not released with values of a closed list", c.Name, c.When.From)
	}
	held := slices.ContainsFunc(out.file.Columns, func(o policies.Column) bool { return o.From == c.When.From })
	c.when = &laidWhen{value: []byte(c.When.Value), cell: bound, counts: !held}
	return nil
}

func (pl *Plan) cellNamed(field string) *cell {
	i := slices.IndexFunc(pl.cells, func(c cell) bool { return c.field.Name == field })
	if i < 0 {
		return nil
	}
	return &pl.cells[i]
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
	var kept bool
	switch {
	case pl.root != nil && column.Leaf != nil: // a line holds nothing but what is released
		c.place, kept = out.placeOf(column.Leaf), column.Leaf.Class != extract.Link
		if column.Codes == nil {
			c.fits = pl.root.at(column.Leaf.Path).retold
		}
	default:
		if c.cell = pl.cellNamed(column.From); c.cell == nil {
			return c, fmt.Errorf("column %s of the layout holds %s, which is not released", column.Name, column.From)
		}
		kept = c.cell.field.Do == policies.Keep
		if column.Date != "" || column.Codes != nil { // reads what the extract holds, and rejects what it cannot write
			read := *c.cell
			read.fits, read.iso, read.number, c.cell = nil, false, false, &read
		}
	}
	if (column.Codes != nil || column.Date != "") && !kept {
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

// laidRow appends a line as the recipient's layout has it.
func (e *Engine) laidRow(rec *extract.Record, s *Subject, out *Output) error {
	l := e.plan.laid
	e.rows += e.step
	for i := range l.columns {
		c := &l.columns[i]
		if i > 0 && l.Delimiter != 0 {
			out.Bytes = append(out.Bytes, l.Delimiter)
		}
		var why string
		if c.From == "" && !c.RowKey {
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
	if c.when != nil && !e.holds(rec, s, out, c.when) {
		out.Bytes, why = e.plan.laid.Append(out.Bytes, c.others, c.Column)
		return why
	}
	holes := len(out.Holes)
	switch {
	case c.RowKey:
		e.plain = out.hole(e.plain[:0], RowKey)
	case c.cell == nil:
		return e.laidValue(out, c)
	default:
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

// laidValue appends a value of the line at hand.
func (e *Engine) laidValue(out *Output, c *laidColumn) (why string) {
	found, present, several := e.reader.find(c)
	if several {
		return "is one of several, and a cell holds one"
	}
	e.plain = e.plain[:0]
	if present {
		e.plain = append(e.plain, e.reader.plain(found)...)
	}
	value, why := c.written(e, e.plain)
	if why != "" {
		return why
	}
	start := len(out.Bytes)
	if out.Bytes, why = e.plan.laid.Append(out.Bytes, value, c.Column); present && why == "" {
		e.reader.move(found, out, start)
	}
	return why
}

// holds tells whether the field that a column is bound to has the right value.
func (e *Engine) holds(rec *extract.Record, s *Subject, out *Output, w *laidWhen) bool {
	if w.cell == nil {
		return e.reader.has(w, met{to: len(e.reader.line.Bytes)})
	}
	e.plain, _ = e.cell(e.plain[:0], w.cell, rec, s, out)
	is := bytes.Equal(e.plain, w.value)
	if is && w.counts {
		e.counts[w.cell.counter].in += e.step
		e.counts[w.cell.counter].out += e.step
	}
	return is
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
	case c.fits != nil && !c.fits(value):
		return nil, ""
	case c.form != "" && len(value) > 0:
		span, ok := c.span(value)
		if !ok || span.From != span.To && (c.form != yearAlone || span.From.Year() != span.To.Year()) {
			return nil, "is no whole day, or no whole year"
		}
		e.plain = span.From.Time().AppendFormat(e.plain[:0], c.form)
		return e.plain, ""
	}
	return value, ""
}

// span reads a date, of FHIR one of R4 §2.24.0.1.
func (c *laidColumn) span(value []byte) (extract.Span, bool) {
	if c.cell == nil {
		return extract.ParseSpan(value)
	}
	return c.cell.span(value)
}

const yearAlone = "2006"

// dateForms are the forms in which a layout writes a date; the year alone needs
// no day.
var dateForms = map[string]string{"YYYY-MM-DD": time.DateOnly, "YYYYMMDD": "20060102", "MM/DD/YYYY": "01/02/2006", "M/D/YYYY": "1/2/2006", "YYYY": yearAlone}
