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
// Every row ends with a line end, the last too.
// After Next has given false, Err tells whether the file was read to its end.
type Table struct {
	name    string
	chunks  *ChunkReader
	chunk   Chunk
	scanner *Scanner
	row     Record
	columns []string // of the header
	rows    int
	err     error
}

// OpenTable opens the file and reads its header. The header must have every
// required column, may have the optional ones, in any order, and no other.
// The optional column "*" allows others.
func OpenTable(path string, required, optional []string) (*Table, error) {
	schema := &Schema{Delimiter: ',', Quote: '"'}
	file, err := FileAt(path, &FileRule{Format: Delimited, Schema: schema})
	if err != nil {
		return nil, fmt.Errorf("opening a table: %w", err)
	}
	file.Name = path
	t := &Table{name: path, chunks: OpenChunks([]File{file}), scanner: NewScanner()}
	t.row.Place.Line = 1
	if err := t.header(&file, required, optional); err != nil {
		return nil, err
	}
	for _, name := range t.columns {
		schema.Fields = append(schema.Fields, Field{Name: name, Type: TypeString, Role: RoleNone})
	}
	schema.Header = true
	t.chunk.file = &file
	t.scanner.Reset(&t.chunk)
	return t, nil
}

// header reads the names of the columns, before the file is read as one that
// has them.
func (t *Table) header(file *File, required, optional []string) error {
	in, err := openInput(file)
	if err != nil {
		return err
	}
	defer in.Close()
	cells := rowReader{schema: file.Rule.Schema}
	lines := lineCutter{r: in, limits: t.chunks.limits, rows: cells.schema.rowEnd()}
	head, err := lines.head()
	if err != nil {
		return err
	}
	row, problem := cells.split(chomp(head), nil)
	switch {
	case len(bytes.TrimSpace(head)) == 0:
		problem = "is empty; it must have a header with " + fmt.Sprint(required)
	case problem == "" && !bytes.HasSuffix(head, newline):
		problem = notEnded
	case problem == "" && !utf8.Valid(head):
		problem = "the header is not UTF-8"
	}
	if problem != "" {
		return t.defect(problem)
	}
	for i, cell := range row {
		name := string(cell)
		known := slices.Contains(required, name) || slices.Contains(optional, name) || slices.Contains(optional, "*")
		switch {
		case slices.Contains(t.columns, name):
			return t.defect(fmt.Sprintf("column %d of the header has the name of an earlier one", i+1))
		case !known || name == "":
			return t.defect(fmt.Sprintf("column %d of the header is none of %s", i+1, fmt.Sprint(slices.Concat(required, optional))))
		}
		t.columns = append(t.columns, name)
	}
	for _, name := range required {
		if !slices.Contains(t.columns, name) {
			return t.defect(fmt.Sprintf("the header has no column %q", name))
		}
	}
	return nil
}

// notEnded is the defect of a file that may have lost the rest of a cell: RFC
// 4180 §2.2 leaves out the last line end, but then nobody can tell.
const notEnded = "the last row does not end with a line end, so the file may be cut short; end it with one"

func (t *Table) defect(problem string) error {
	return &FileError{File: t.name, Line: t.row.Place.Line, Reason: problem}
}

// Next moves to the next row that is not blank.
func (t *Table) Next() bool {
	for t.err == nil {
		switch {
		case !t.scanner.Next(&t.row):
			if t.chunk.Size() > 0 && !bytes.HasSuffix(t.chunk.data, newline) {
				t.err = t.defect(notEnded)
				return false
			}
			t.err = t.chunks.Next(&t.chunk)
			t.scanner.Reset(&t.chunk)
		case t.row.Reject == SchemaMismatch:
			t.err = t.defect(fmt.Sprintf("the row has %d columns, the header %d", len(t.row.Row), len(t.columns)))
		case t.row.Reject != NoReason:
			t.err = t.defect("the row cannot be read: " + t.row.Detail)
		default:
			t.rows++
			return true
		}
	}
	return false
}

// Get gives the cell of a column; it is empty when the file has no such
// column. It holds until the next call of Next.
func (t *Table) Get(column string) phi.Bytes {
	if i := slices.Index(t.columns, column); i >= 0 && i < len(t.row.Row) {
		return t.row.Row[i]
	}
	return nil
}

// Columns gives the names of the columns in the file's order.
func (t *Table) Columns() []string { return t.columns }

// Line is the line of the current row, or of the defect.
func (t *Table) Line() int { return int(t.row.Place.Line) }

// Rows is the number of rows given so far.
func (t *Table) Rows() int { return t.rows }

// SHA256 is the hex digest of the stored bytes, once all rows have been read.
func (t *Table) SHA256() string {
	if sums := t.chunks.Sums(); len(sums) == 1 {
		return sums[0].SHA256
	}
	return ""
}

// Err is the defect that ended the reading; nil at a clean end.
func (t *Table) Err() error {
	if t.err == io.EOF {
		return nil
	}
	return t.err
}

// Close closes the file, if it has not been read to its end.
func (t *Table) Close() error { return t.chunks.Close() }
