package extract

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/posternhealth/postern/internal/phi"
)

// Table reads a protective input of rows: consents, restrictions, rosters,
// programs. It is a CSV file (RFC 4180, with a header; .gz and .zst as in an
// extract). It tolerates nothing: what one bad row protected could leave.
// After Next has given false, Err tells whether the file was read to its end.
type Table struct {
	name    string
	in      *input
	cut     *lineCutter
	cells   rowReader
	chunk   Chunk
	pos     int
	row     Row
	columns []string // of the header
	line    int64
	rows    int
	sum     string
	err     error
}

// OpenTable opens the file and reads its header. The header must have every
// required column, may have the optional ones, in any order, and no other.
// The optional column "*" allows others.
func OpenTable(path string, required, optional []string) (*Table, error) {
	file, err := FileAt(path, &FileRule{Format: Delimited})
	if err != nil {
		return nil, fmt.Errorf("opening a table: %w", err)
	}
	file.Name = path
	in, err := openInput(&file)
	if err != nil {
		return nil, err
	}
	t := &Table{name: path, in: in, cells: rowReader{schema: &Schema{Delimiter: ',', Quote: '"'}}}
	t.cut = &lineCutter{file: &file, r: in, limits: limits{chunkSize, MaxRecord, 0}, line: 1, rows: t.cells.schema.rowEnd()}
	if err := t.header(required, optional); err != nil {
		_ = in.Close()
		return nil, err
	}
	return t, nil
}

// header reads the names of the columns.
func (t *Table) header(required, optional []string) error {
	head, err := t.cut.head()
	if err != nil {
		return err
	}
	t.line = 1
	row, problem := t.cells.split(chomp(head), nil)
	if len(bytes.TrimSpace(head)) == 0 {
		problem = "is empty; it must have a header with " + fmt.Sprint(required)
	}
	if problem != "" || !utf8.Valid(head) {
		return t.defect(problem, "the header is not UTF-8")
	}
	for _, cell := range row {
		name := string(cell)
		known := slices.Contains(required, name) || slices.Contains(optional, name) || slices.Contains(optional, "*")
		switch {
		case slices.Contains(t.columns, name):
			return t.defect(fmt.Sprintf("column %d of the header has the name of an earlier one", len(t.columns)+1), "")
		case !known || name == "":
			return t.defect(fmt.Sprintf("column %d of the header is none of %s", len(t.columns)+1, fmt.Sprint(append(slices.Clone(required), optional...))), "")
		}
		t.columns = append(t.columns, name)
	}
	for _, name := range required {
		if !slices.Contains(t.columns, name) {
			return t.defect(fmt.Sprintf("the header has no column %q", name), "")
		}
	}
	return nil
}

// defect is the error of the current line.
func (t *Table) defect(problem, otherwise string) error {
	if problem == "" {
		problem = otherwise
	}
	return &FileError{File: t.name, Line: t.line, Reason: problem}
}

// Next moves to the next row that is not blank.
func (t *Table) Next() bool {
	for t.err == nil {
		if t.pos == len(t.chunk.data) {
			t.refill()
			continue
		}
		t.line = t.chunk.line
		ends := t.cells.schema.rowEnd()
		n, _ := ends.firstEnd(t.chunk.data[t.pos:])
		whole := t.chunk.data[t.pos : t.pos+n : t.pos+n]
		t.pos += n
		t.chunk.line += int64(bytes.Count(whole, newline))
		if raw := chomp(whole); len(raw) > 0 {
			t.err = t.read(raw)
			return t.err == nil
		}
	}
	return false
}

// refill gets more rows; at the end it closes the file.
func (t *Table) refill() {
	t.pos, t.chunk.data, t.chunk.items = 0, t.chunk.data[:0], nil
	err := t.cut.next(&t.chunk)
	if err == nil && len(t.chunk.items) > 0 {
		t.line = t.chunk.line
		err = t.defect(tooLong, "")
	}
	if err == io.EOF {
		if t.sum, err = t.in.finish(); err == nil {
			err = io.EOF
		}
	}
	t.err = err
}

// read takes the cells of a row.
func (t *Table) read(raw []byte) error {
	if !utf8.Valid(raw) {
		return t.defect("the row is not UTF-8", "")
	}
	var problem string
	if t.row, problem = t.cells.split(raw, t.row[:0]); problem != "" {
		return t.defect(problem, "")
	}
	if len(t.row) != len(t.columns) {
		return t.defect(fmt.Sprintf("the row has %d columns, the header %d", len(t.row), len(t.columns)), "")
	}
	t.rows++
	return nil
}

// Get gives the cell of a column; it is empty when the file has no such
// column. It holds until the next call of Next.
func (t *Table) Get(column string) phi.Bytes {
	if i := slices.Index(t.columns, column); i >= 0 && i < len(t.row) {
		return t.row[i]
	}
	return nil
}

// Columns gives the names of the columns in the file's order.
func (t *Table) Columns() []string { return t.columns }

// Line is the line of the current row, or of the defect.
func (t *Table) Line() int { return int(t.line) }

// Rows is the number of rows given so far.
func (t *Table) Rows() int { return t.rows }

// SHA256 is the hex digest of the stored bytes, once all rows have been read.
func (t *Table) SHA256() string { return t.sum }

// Err is the defect that ended the reading; nil at a clean end.
func (t *Table) Err() error {
	if t.err == io.EOF {
		return nil
	}
	return t.err
}

// Close closes the file, if it has not been read to its end.
func (t *Table) Close() error {
	if t.sum != "" {
		return nil
	}
	return t.in.Close()
}
