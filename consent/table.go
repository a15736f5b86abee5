package consent

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/posternhealth/postern/extract"
)

// Input says what was read of a protective input, for the guard that bounds
// how far it may shrink between two readings.
type Input struct {
	Rows   int    // or directives, that were read
	SHA256 string // hex, of the bytes that were read
}

// Columns are those of the lists that a clinic keeps, by the kind of protective
// input: each list has the first, and may have the second.
var Columns = map[string][2][]string{
	"consents": {registryRequired, registryOptional}, "restrictions": {restrictionRequired, restrictionOptional},
	"programs": {programRequired, programOptional}, "roster": {rosterRequired}, "merges": {mergeRequired, mergeOptional},
}

// files are the names of source files, by their numbers.
type files []string

// number gives that of a file, a new one at need.
func (f *files) number(name string) uint16 {
	at := slices.Index(*f, name)
	if at < 0 {
		at, *f = len(*f), append(*f, name)
	}
	return uint16(at)
}

// cells reads the cells of one table and keeps its first defect.
type cells struct {
	*extract.Table
	why []string // what of the current row cannot be understood: the column, and more words
	err error
}

// readTable calls row for each row of a file, until the first defect: what row
// leaves in cells.why is one.
func readTable(path string, required, optional []string, row func(*cells)) (in Input, err error) {
	t, err := extract.OpenTable(path, required, optional)
	if err != nil {
		return in, asInputError(path, err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	c := &cells{Table: t}
	for c.err == nil && t.Next() {
		c.why = nil
		if row(c); c.err == nil && len(c.why) > 0 {
			c.err = &InputError{path, c.Line(), c.why[0]}
		}
	}
	if c.err == nil && t.Err() != nil {
		c.err = asInputError(path, t.Err())
	}
	return Input{t.Rows(), t.SHA256()}, c.err
}

// fail records a defect of the row. It begins with the name of a column.
func (c *cells) fail(why string) { c.why = append(c.why, why) }

func (c *cells) sound() bool { return len(c.why) == 0 }

// text is a cell without padding, as package extract takes it off a record's.
func (c *cells) text(column string) string {
	return strings.TrimFunc(string(c.Get(column)), func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' })
}

// required is the text of a cell that may not be empty.
func (c *cells) required(column string) string {
	v := c.text(column)
	if v == "" {
		c.fail(column + " is empty")
	}
	return v
}

// oneOf is the place of the word in a cell among those that it may be. Another
// word is a defect, and stands behind them.
func (c *cells) oneOf(column string, words ...string) int {
	at := slices.Index(words, c.text(column))
	if at < 0 {
		c.fail(column + " is none of " + strings.Join(words, ", "))
		at = len(words)
	}
	return at
}

// id is the id in a cell. It may be written as a reference, Type/id or its
// address: who keeps a list copies what the record system shows, and an id that
// meets no record closes nothing.
func (c *cells) id(column, kind string) string { return bareID(c.text(column), kind) }

// patient is the id of the one patient whom a row is about. A list of several, a
// search, a part of another record or a reference to something else tells nobody,
// and would be an id that meets no record.
func (c *cells) patient(column string) string {
	id := c.id(column, "Patient")
	switch kind, _, isReference := strings.Cut(id, "/"); {
	case id == "":
		c.fail(column + " is empty")
	case strings.ContainsAny(id, ";?#|\t\r\n"), isReference && extract.TypeOf(kind) != nil:
		c.fail(column + " does not tell one patient; write one id, or Patient/id")
	}
	return id
}

func bareID(v, kind string) string {
	if k, id := splitReference(v); id != "" && (k == kind || k == "") {
		return id
	}
	return v
}

// bareCode is a code without the system that may stand before it: records are
// compared by code alone.
func bareCode(v string) string { return v[strings.LastIndexByte(v, '|')+1:] }

// values are the values of a cell, which semicolons part.
func (c *cells) values(column string) (list []string) {
	for v := range strings.SplitSeq(c.text(column), ";") {
		if v = strings.TrimSpace(v); v != "" {
			list = append(list, v)
		}
	}
	return list
}

// date is the day in a cell, absent when the cell is empty.
func (c *cells) date(column string, absent extract.Day) extract.Day {
	v := c.text(column)
	if v == "" {
		return absent
	}
	s, ok := extract.ParseSpan([]byte(v))
	if !ok || len(v) != len(time.DateOnly) {
		c.fail(column + " is no date; write YYYY-MM-DD")
	}
	return s.From
}

// span is the days from … to, both inclusive, open where a cell is empty.
func (c *cells) span() extract.Span {
	s := extract.Span{From: c.date("from", extract.NoDay), To: c.date("to", anyDayTo)}
	if s.To < s.From {
		c.fail("to is before from")
		c.fail("from is after to")
	}
	return s
}

// end is the explicit end of something that closes: a date and who ended it.
func (c *cells) end() extract.Day {
	on, by := c.date("ended_on", extract.NoDay), c.text("ended_by")
	if (on == extract.NoDay) != (by == "") {
		c.fail("ended_on and ended_by belong together: an end needs a date and an author")
	}
	return on
}
