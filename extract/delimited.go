package extract

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/posternhealth/postern/internal/phi"
)

// newRowCutter begins a delimited file: rows as RFC 4180 has them, with the
// delimiter of the schema. A header must name the schema's columns in their
// order; one that does not makes the whole file unusable, because every value
// in it would be taken for another.
func newRowCutter(file *File, in *input, limits limits) (cutter, error) {
	schema := file.Rule.Schema
	if schema == nil {
		return nil, &FileError{File: file.Name, Reason: "a delimited file needs a schema; name one in its rule"}
	}
	l := &lineCutter{file: file, r: in, limits: limits, line: 1, rows: schema.rowEnd()}
	if !schema.Header {
		return l, nil
	}
	head, err := l.head()
	if err != nil {
		return nil, err
	}
	if problem := schema.headerProblem(head); problem != "" {
		return nil, &FileError{File: file.Name, Line: 1, Reason: problem + "; the schema has " + strings.Join(schema.Names(), ", ")}
	}
	return l, nil
}

func (l *lineCutter) head() ([]byte, error) {
	for want := l.limits.chunk; ; want *= 2 {
		var err error
		if l.rest, err = l.fill(l.rest, want); err != nil {
			return nil, err
		}
		rows := l.rows
		n, found := rows.firstEnd(l.rest)
		if found || l.eof || n > l.limits.record {
			head := l.rest[:n]
			l.line += int64(bytes.Count(head, newline))
			l.rest = l.rest[n:]
			return head, nil
		}
	}
}

func (s *Schema) headerProblem(head []byte) string {
	cells := rowReader{schema: s}
	row, problem := cells.split(chomp(head), nil)
	switch {
	case len(bytes.TrimSpace(head)) == 0:
		return "the header is missing"
	case problem != "" || !utf8.Valid(head):
		return "the header cannot be read"
	}
	for i := range max(len(row), len(s.Fields)) {
		switch {
		case i >= len(row):
			return fmt.Sprintf("the header has no column %q", s.Fields[i].Name)
		case i >= len(s.Fields):
			return fmt.Sprintf("the header has %d columns, the schema %d", len(row), len(s.Fields))
		case string(row[i]) != s.Fields[i].Name:
			return fmt.Sprintf("column %d of the header is not %q", i+1, s.Fields[i].Name)
		}
	}
	return ""
}

func chomp(b []byte) []byte {
	b = bytes.TrimSuffix(b, newline)
	return bytes.TrimSuffix(b, []byte("\r"))
}

// rowReader reads the rows of a chunk. Its buffer is kept from row to row.
type rowReader struct {
	schema  *Schema
	watched []watched
	utf8    bool // the whole chunk is well-formed
	plain   bool // the whole chunk is without quotes: every line is a row
	scratch []byte
}

func (r *rowReader) begin(c *Chunk) {
	r.utf8 = utf8.Valid(c.data)
	r.follow(c.file.Rule.Schema)
	r.plain = r.schema.Quote == 0 || bytes.IndexByte(c.data, r.schema.Quote) < 0
}

// watched is a column whose cells are looked at, for what the schema asks of
// them or for what they tell.
type watched struct {
	at    int
	field *Field
	asks  bool
	take  func(*Facts, phi.Bytes, Span) // nil: the column tells nothing
}

// follow makes ready for rows of a schema.
func (r *rowReader) follow(s *Schema) {
	if r.schema == s && s != nil {
		return
	}
	r.schema, r.watched = s, nil
	marks := slices.ContainsFunc(s.Missing, func(mark string) bool { return mark != "" })
	for i := range s.Fields {
		f := &s.Fields[i]
		c := watched{i, f, f.Type != TypeString || !f.rules.none(), takers[f.Role]}
		if c.asks || c.take != nil || marks {
			r.watched = append(r.watched, c)
		}
	}
}

// length gives the length of the row that data begins with, its line end
// included, and the number of line ends in it.
func (r *rowReader) length(data []byte) (n, lines int) {
	if !r.plain {
		end := r.schema.rowEnd()
		n, _ = end.firstEnd(data)
		return n, bytes.Count(data[:n], newline)
	}
	if n = bytes.IndexByte(data, '\n'); n < 0 {
		return len(data), 0
	}
	return n + 1, 1
}

func (s *Scanner) nextRow(rec *Record) bool {
	for s.pos < len(s.chunk.data) {
		n, lines := s.rows.length(s.chunk.data[s.pos:])
		whole, line := s.chunk.data[s.pos:s.pos+n:s.pos+n], s.line
		s.pos += n
		s.line += int64(lines)
		raw := chomp(whole)
		if len(raw) == 0 {
			continue
		}
		rec.clear()
		rec.Place, rec.Raw, rec.Dataset = Place{Line: line}, raw, s.chunk.file.Rule.Dataset
		if len(raw) > s.chunk.limit {
			rec.reject(TooLarge, tooLong)
		} else {
			s.rows.read(rec)
		}
		return true
	}
	return false
}

func (r *rowReader) read(rec *Record) {
	if !r.utf8 && !utf8.Valid(rec.Raw) {
		rec.reject(Malformed, "not UTF-8")
		return
	}
	var problem string
	if rec.Row, problem = r.split(rec.Raw, rec.Row[:0]); problem != "" {
		rec.reject(Malformed, problem)
		return
	}
	if len(rec.Row) != len(r.schema.Fields) {
		rec.reject(SchemaMismatch, fmt.Sprintf("has %d columns, the schema %d", len(rec.Row), len(r.schema.Fields)))
		return
	}
	for i := range r.watched {
		c := &r.watched[i]
		cell, span := rec.Row[c.at], NoSpan
		if r.schema.missing(cell) {
			cell = cell[:0]
			rec.Row[c.at] = cell
		}
		if c.asks {
			if span, problem = c.field.check(cell); problem != "" {
				rec.reject(SchemaMismatch, fmt.Sprintf("column %q %s", c.field.Name, problem))
				return
			}
		}
		if c.take == nil {
			continue
		}
		if cell = unpadded(cell); len(cell) > 0 {
			c.take(&rec.Facts, cell, span)
		}
	}
	if r.schema.concernsPatients && len(rec.Facts.Subjects) == 0 {
		rec.reject(NoSubject, "the column of the patient is empty")
	}
}

// takers add what a cell tells by the role of its column. Padding is no part of
// an id or a code, nor is the type before an id or the system before a code: a
// list of restrictions, which is read in the same way, may not have them.
var takers = map[Role]func(f *Facts, cell phi.Bytes, span Span){
	RoleSubject:   func(f *Facts, cell phi.Bytes, _ Span) { f.Subjects = addOnce(f.Subjects, bareID(cell, "Patient")) },
	RoleRecord:    func(f *Facts, cell phi.Bytes, _ Span) { f.ID = cell },
	RoleDate:      func(f *Facts, _ phi.Bytes, span Span) { f.Date = span },
	RoleEncounter: func(f *Facts, cell phi.Bytes, _ Span) { f.Encounter = bareID(cell, "Encounter") },
	RoleProvider:  func(f *Facts, cell phi.Bytes, _ Span) { f.Providers = addOnce(f.Providers, cell) },
	RoleCode: func(f *Facts, cell phi.Bytes, _ Span) {
		f.Codes = append(f.Codes, cell[bytes.LastIndexByte(cell, '|')+1:])
	},
	RoleStatus:  func(f *Facts, cell phi.Bytes, _ Span) { f.Status = cell },
	RoleDerived: func(f *Facts, cell phi.Bytes, _ Span) { f.Evidence = addOnce(f.Evidence, cell) },
}

// unpadded is a cell without the white space and byte order marks around it.
func unpadded(cell phi.Bytes) phi.Bytes {
	if n := len(cell); n > 0 && isBare(cell[0]) && isBare(cell[n-1]) {
		return cell
	}
	return bytes.TrimFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || r == '\ufeff' || r == '\u200b' })
}

// bareID is the id in a cell that may be written as a reference to a resource of
// that type; any other cell is an id as it is.
func bareID(cell phi.Bytes, kind string) phi.Bytes {
	if !slices.ContainsFunc(cell, isMark) {
		return cell
	}
	if id, ok := bytes.CutPrefix(cell, uuid); ok && len(id) > 0 {
		return id
	}
	if t := literal(cell); t.kind == kind && t.id != nil && !bytes.ContainsAny(cell, "?#") {
		return t.id
	}
	return cell
}

// isMark tells of a byte that a reference has.
func isMark(c byte) bool { return c == '/' || c == ':' }

// isBare tells of a byte that no padding begins or ends with.
func isBare(c byte) bool { return c > ' ' && c < utf8.RuneSelf }

// split cuts a row, given without its line end, into cells without quotes.
func (r *rowReader) split(raw []byte, row Row) (Row, string) {
	d, q := r.schema.Delimiter, r.schema.Quote
	if r.plain || q == 0 || bytes.IndexByte(raw, q) < 0 {
		return cut(raw, d, row), ""
	}
	r.scratch = r.scratch[:0]
	for i := 0; ; i++ { // i is where a cell starts
		var cell []byte
		if i < len(raw) && raw[i] == q {
			n, problem := 0, ""
			if cell, n, problem = r.unquote(raw[i+1:]); problem != "" {
				return row, problem
			}
			i += 1 + n
		} else {
			end := len(raw)
			if n := bytes.IndexByte(raw[i:], d); n >= 0 {
				end = i + n
			}
			if cell = raw[i:end:end]; bytes.IndexByte(cell, q) >= 0 {
				return row, "a quote within a cell that is not quoted"
			}
			i = end
		}
		row = append(row, cell)
		if i == len(raw) {
			return row, ""
		}
		if raw[i] != d {
			return row, "text after the closing quote of a cell"
		}
	}
}

// cut cuts a row without quotes at its delimiters. Eight bytes are looked at
// together; the high bit of a byte of found is set where that byte is one.
func cut(raw []byte, delimiter byte, row Row) Row {
	all, start, i := uint64(delimiter)*ones, 0, 0
	for ; i+8 <= len(raw); i += 8 {
		x := binary.LittleEndian.Uint64(raw[i:]) ^ all
		for found := ^((x&^highs + ^uint64(highs)) | x | ^uint64(highs)); found != 0; found &= found - 1 {
			end := i + bits.TrailingZeros64(found)>>3
			row = append(row, raw[start:end:end])
			start = end + 1
		}
	}
	for ; i < len(raw); i++ {
		if raw[i] == delimiter {
			row = append(row, raw[start:i:i])
			start = i + 1
		}
	}
	return append(row, raw[start:])
}

// unquote reads a quoted cell, given from behind its opening quote; n is what
// it takes up with the closing one.
func (r *rowReader) unquote(b []byte) (cell []byte, n int, problem string) {
	q, start := r.schema.Quote, len(r.scratch)
	for doubled := false; ; doubled = true {
		i := bytes.IndexByte(b[n:], q)
		if i < 0 {
			return nil, 0, "a quoted cell that does not end"
		}
		end := n + i
		n = end + 1
		if n == len(b) || b[n] != q {
			if !doubled {
				return b[:end:end], n, ""
			}
			r.scratch = append(r.scratch, b[end-i:end]...)
			return r.scratch[start:len(r.scratch):len(r.scratch)], n, ""
		}
		r.scratch = append(r.scratch, b[end-i:n]...) // with one of the two quotes
		n++
	}
}
