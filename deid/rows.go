package deid

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

type cell struct {
	field   policies.Field
	from    source
	at      int // the column of the row, or the look-up
	column  *extract.Field
	number  bool              // kept, as JSON writes numbers
	iso     bool              // a kept date whose column has a form of its own
	fits    func([]byte) bool // of what is kept: its form; nil where any may stand
	codes   map[string][]byte // of a map: what each code becomes
	bands   []numberBand      // of a band
	text    []byte            // of a constant
	counter int32
}

type source uint8

const (
	column   source = iota
	lookup          // a column of a protective input, such as a roster
	index           // the person's index day
	birth           // the person's birth, where the dataset has no column for it
	person          // the person
	constant        // the policy's own text
)

func (pl *Plan) compileRows(p *policies.Policy, release *policies.Release, schema *extract.Schema) error {
	if p.Output.Layout != "csv" && p.Output.Layout != "" && p.Layout == nil {
		return compileError(p, release.Dataset, "", fmt.Errorf("a delimited dataset leaves as csv or in a layout of its own, not as %q", p.Output.Layout))
	}
	pl.rowKey = p.Output.RowKey
	for _, f := range release.Fields {
		c, err := pl.cellOf(p, release, &f, schema)
		if err != nil {
			return compileError(p, release.Dataset, "fields."+f.Name, err)
		}
		c.counter = pl.count(release.Dataset + "." + f.Name)
		pl.cells = append(pl.cells, c)
	}
	if len(pl.cells) == 0 {
		return compileError(p, release.Dataset, "fields", errors.New("no field is released"))
	}
	pl.unnamed = len(pl.paths)
	for i, column := range schema.Fields {
		if !pl.reads(i) {
			pl.count(release.Dataset + "." + column.Name)
		}
	}
	if p.Layout != nil {
		if err := pl.compileLayout(p.Layout); err != nil {
			return compileError(p, release.Dataset, "", err)
		}
	}
	return nil
}

// reads tells whether any cell takes its value from that column of the row.
func (pl *Plan) reads(at int) bool {
	for i := range pl.cells {
		if pl.cells[i].from == column && pl.cells[i].at == at {
			return true
		}
	}
	return false
}

// cellOf finds the source of a field and holds it against the standard.
func (pl *Plan) cellOf(p *policies.Policy, release *policies.Release, f *policies.Field, schema *extract.Schema) (cell, error) {
	c := cell{field: *f}
	from := f.From
	if from == "" {
		from = f.Name
	}
	class := extract.Date
	c.at = schema.Column(from)
	input, looked, dotted := strings.Cut(from, ".")
	_, isInput := p.Inputs[input]
	switch {
	case f.Do == policies.Constant:
		c.from, class, c.text = constant, extract.Code, []byte(f.To)
	case f.Do == policies.CodePerson:
		c.from, class = person, extract.SubjectKey
	case from == policies.FromIndex:
		c.from = index
	case c.at >= 0:
		c.column, class = &schema.Fields[c.at], schema.Fields[c.at].Class
	case dotted && isInput && f.By != "":
		by := schema.Column(f.By)
		if by < 0 {
			return c, fmt.Errorf("by: %s is no column of the schema", f.By)
		}
		c.from, c.at, class = lookup, pl.lookup(LookUp{input, looked, by}), f.Class
	case dotted && input != "" && (isInput || input == p.People.Roster):
		c.from, c.at, class = lookup, pl.lookup(LookUp{input, looked, ByPerson}), extract.MemberNumber
	case f.Do == policies.AgeBand, f.Do == policies.Age:
		c.from, class = birth, extract.BirthDate
	default:
		return c, fmt.Errorf("%s is no column of the schema, no look-up in an input, and not index", from)
	}
	if err := pl.rules.permit(class, f.Do); err != nil {
		return c, err
	}
	c.field.Class = class
	if c.codes = mapped(p, f, func(value string) []byte { return []byte(value) }); c.codes != nil {
		c.field.Do = policies.Map // each of them is one by now
	}
	if c.column != nil && c.field.Do == policies.Keep {
		listed := slices.Concat(closed(release, c.column.Name), c.column.Enum())
		if c.column.Type == extract.TypeBoolean { // by the words of the schema
			listed = slices.Concat(listed, c.column.True, c.column.False)
		}
		c.number, c.fits = (class == extract.Number || class == extract.AgeYears) && listed == nil, formOf(p, class, listed)
		c.iso = c.column.Formatted() && (class == extract.Date || class == extract.DeathDate)
	}
	var err error
	if c.bands, err = numberBands(f.Bands); err != nil {
		return c, err
	}
	if err = pl.checkOptions(&c.field); err == nil && !slices.Contains(ofRows, c.field.Do) {
		err = fmt.Errorf("do: %s is no transform of this version of Postern", c.field.Do)
	}
	return c, err
}

// ofRows are the transforms of delimited datasets.
var ofRows = []policies.Transform{policies.Keep, policies.CodePerson, policies.Year, policies.AgeBand, policies.RelativeTime, policies.ShiftDate,
	policies.Round, policies.ZIP3, policies.Token, policies.Ordinal, policies.Map, policies.Constant, policies.Region, policies.Band}

// LookUp is a value that a plan takes from a column of an input: a roster's of
// the person, or a table's by another column of the row.
type LookUp struct {
	Input, Column string
	By            int // the column of the row, or ByPerson
}

// ByPerson marks a look-up of the row's person.
const ByPerson = -1

func (pl *Plan) lookup(what LookUp) int {
	at := slices.Index(pl.lookups, what)
	if at < 0 {
		at, pl.lookups = len(pl.lookups), append(pl.lookups, what)
	}
	return at
}

// checkOptions holds the numbers and words of a transform to what they mean.
func (pl *Plan) checkOptions(f *policies.Field) error {
	switch f.Do {
	case policies.AgeBand:
		if f.Top == 0 {
			f.Top = oldest
		}
		if f.Width < 1 || f.Top < f.Width || f.Top > oldest && pl.rules.firstYear != 0 {
			return fmt.Errorf("age-band: width must be at least one year and top at most %d+ (45 CFR 164.514(b)(2)(i)(C))", oldest)
		}
	case policies.RelativeTime:
		if f.Unit != "days" && f.Unit != "weeks" {
			return fmt.Errorf("relative-time: unit %q: write days or weeks", f.Unit)
		}
	case policies.Age: // a band of one year
		f.Do, f.Width, f.Top = policies.AgeBand, 1, oldest
	case policies.Round, policies.ShiftDate:
		if f.Days < 1 || f.Days > 36525 && f.Do == policies.ShiftDate {
			return fmt.Errorf("%s: by %d is not possible", f.Do, f.Days)
		}
	}
	return nil
}

// Lookups are the values that the plan needs from inputs, in the order of
// Subject.Lookup.
func (pl *Plan) Lookups() []LookUp { return pl.lookups }

// Header is what stands before the rows of a delimited dataset: a line, or what
// the layout has there; nil for FHIR.
func (pl *Plan) Header() []byte {
	if pl.laid != nil {
		return pl.laid.head
	}
	var b []byte
	for i := range pl.cells {
		b = append(appendCell(b, []byte(pl.cells[i].field.Name)), ',')
	}
	if pl.rowKey {
		b = append(b, "row_key,"...)
	}
	if b != nil {
		b[len(b)-1] = '\n'
	}
	return b
}

// row appends a line of our own CSV, in which a cell has no line end (docs/drop-format.md).
func (e *Engine) row(rec *extract.Record, s *Subject, out *Output) error {
	b := out.Bytes
	e.rows += e.step
	for i := range e.plan.cells {
		c := &e.plan.cells[i]
		n, before := &e.counts[c.counter], len(b)
		var present bool
		if b, present = e.cell(b, c, rec, s, out); present {
			n.in += e.step
		}
		if kept := c.field.Do; (kept == policies.Keep || kept == policies.Map || kept == policies.Constant) && needsQuotes(b[before:]) {
			if bytes.ContainsAny(b[before:], "\r\n") {
				return &LayoutError{c.field.Name, "holds a line end"}
			}
			b = e.quote(b, before)
		}
		if len(b) > before {
			n.out += e.step
		}
		b = append(b, ',')
	}
	if e.plan.rowKey {
		b = out.hole(b, RowKey)
		b = append(b, ',')
	} else if len(e.plan.cells) == 1 && (len(b) == 1 || b[len(b)-2] == '\n') {
		b = append(b[:len(b)-1], `"",`...) // else the line would be no row
	}
	b[len(b)-1] = '\n'
	out.Bytes = b
	return nil
}

func (e *Engine) cell(b []byte, c *cell, rec *extract.Record, s *Subject, out *Output) (_ []byte, present bool) {
	rules, f := &e.plan.rules, &c.field
	switch c.from {
	case constant:
		return append(b, c.text...), true
	case person:
		if len(rec.Facts.Subjects) != 1 {
			return b, len(rec.Facts.Subjects) > 0
		}
		return out.hole(b, PersonCode), true
	case birth:
		return rules.band(b, s, s.Birth, e.ageAt(f, s), f), s.Birth.Known()
	case index:
		if s.Index == extract.NoDay {
			return b, false
		}
		return rules.day(b, extract.Span{From: s.Index, To: s.Index}, s, f), true
	}
	var text []byte
	switch {
	case c.from == column && c.at < len(rec.Row):
		text = rec.Row[c.at]
	case c.from == lookup && c.at < len(s.Lookup):
		text = s.Lookup[c.at]
	}
	switch {
	case len(text) == 0:
		return b, false
	case f.Do == policies.Ordinal:
		b = out.hole(b, Ordinal)
		out.Holes[len(out.Holes)-1].Ref = RefHash(text)
		return b, true
	case f.Do == policies.ShiftDate:
		if date, ok := c.span(text); ok {
			b = e.shifted(b, date, rec, s, f.Days)
		}
		return b, true
	case f.Do == policies.Token && c.column != nil && c.column.Role == extract.RoleSubject:
		if id := personOf(rec, s); id != nil {
			b = e.keyed.appendToken(b, ofPerson, id)
		}
		return b, true
	case f.Do == policies.Token:
		return e.keyed.appendToken(b, tokenKind(f.Class), text), true
	}
	return e.convert(b, text, rec, s, c), true
}

func (e *Engine) convert(b, text []byte, rec *extract.Record, s *Subject, c *cell) []byte {
	rules, f := &e.plan.rules, &c.field
	switch {
	case f.Do == policies.Keep:
		return c.keep(b, text)
	case f.Do == policies.ZIP3:
		zip := ZIP3(text)
		return append(b, zip[:]...)
	case f.Do == policies.Map:
		return append(b, c.codes[string(text)]...)
	case f.Do == policies.Region:
		return appendRegion(b, text, f.To == policies.Division)
	case f.Do == policies.Band:
		return appendNumberBand(b, text, c.bands)
	case f.Do == policies.Round:
		return e.rounded(b, text, f.Days)
	case f.Do == policies.AgeBand && f.Class == extract.AgeYears:
		return rules.bandOfAge(b, s, rec.Facts.Date, text, f)
	}
	span, ok := c.span(text)
	switch {
	case !ok:
		return b
	case f.Do == policies.AgeBand:
		return rules.band(b, s, span, e.ageAt(f, s), f)
	}
	return rules.day(b, span, s, f)
}

// keep appends a value as it is, or in the one form that everybody reads.
func (c *cell) keep(b, text []byte) []byte {
	start := len(b)
	switch span, ok := extract.NoSpan, false; {
	case c.iso:
		if span, ok = c.column.Span(text); !ok || span.From != span.To {
			return b
		}
		b = append(b, span.From.String()...)
	case c.number:
		b = appendNumber(b, text)
	default:
		b = append(b, text...)
	}
	switch {
	case c.fits == nil || c.fits(b[start:]):
		return b
	case c.field.Class == extract.Date || c.field.Class == extract.DeathDate:
		return appendDay(b[:start], text)
	}
	return b[:start]
}

// span reads a date, in the format that the schema gives its column.
func (c *cell) span(text []byte) (extract.Span, bool) {
	if c.column != nil {
		return c.column.Span(text)
	}
	return extract.ParseSpan(text)
}

func (r *rules) day(b []byte, span extract.Span, s *Subject, f *policies.Field) []byte {
	switch f.Do {
	case policies.Year:
		if year, ok := r.yearOf(f.Class, span); ok {
			return appendYear(b, year)
		}
	case policies.RelativeTime:
		return r.relative(b, span, s.Index, f.Unit)
	case policies.Keep:
		return append(b, span.From.String()...)
	}
	return b
}

func (e *Engine) ageAt(f *policies.Field, s *Subject) extract.Day {
	if f.At == "index" {
		return s.Index
	}
	return e.plan.rules.asOf
}

// hole appends a placeholder to b, which will become o.Bytes.
func (o *Output) hole(b []byte, kind HoleKind) []byte {
	start := len(b)
	b = append(b, unfilled[:kind.width()]...)
	o.Holes = append(o.Holes, Hole{Kind: kind, Start: uint32(start), End: uint32(len(b))})
	return b
}

// quoted are the bytes that RFC 4180 §2 allows in a quoted cell only, or, as
// control characters other than the tab, nowhere: the gate passes those in
// quotes alone.
var quoted = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = c != '\t'
	}
	t[','], t['"'] = true, true
	return t
}()

// appendCell writes a value, in quotes only where it must be.
func appendCell(b, value []byte) []byte {
	if needsQuotes(value) {
		return appendQuoted(b, value)
	}
	return append(b, value...)
}

func needsQuotes(value []byte) bool {
	for _, c := range value {
		if quoted[c] {
			return true
		}
	}
	return false
}

// quote puts the cell that begins at from in quotes.
func (e *Engine) quote(b []byte, from int) []byte {
	e.plain = append(e.plain[:0], b[from:]...)
	return appendQuoted(b[:from], e.plain)
}

func appendQuoted(b, value []byte) []byte {
	b = append(b, '"')
	for _, c := range value {
		if c == '"' {
			b = append(b, '"')
		}
		b = append(b, c)
	}
	return append(b, '"')
}
