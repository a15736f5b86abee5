package build

import (
	"errors"
	"fmt"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// Table is a table of the clinic in which rows look values up, such as the TIN
// of a practice by its NPI. It identifies nobody whom records are about.
type Table struct {
	File    string
	Rows    int
	SHA256  string // of the file
	columns map[string]map[string]phi.Bytes
}

// LoadTable reads a CSV file with the columns of a schema, of which the first is
// what is looked up. It tolerates no defect: a key that stands twice or is
// missing, or another set of columns, is an error with file and line.
func LoadTable(path string, schema *extract.Schema) (t *Table, err error) {
	names := schema.Names()
	rows, err := extract.OpenTable(path, names, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	t = &Table{File: path, columns: map[string]map[string]phi.Bytes{}}
	for _, name := range names[1:] {
		t.columns[name] = map[string]phi.Bytes{}
	}
	keys := map[string]bool{}
	for rows.Next() {
		key := string(rows.Get(names[0]))
		if key == "" || keys[key] {
			return nil, &extract.FileError{File: path, Line: int64(rows.Line()), Reason: fmt.Sprintf("the column %s is empty, or has the value of an earlier row", names[0])}
		}
		keys[key] = true
		for name, values := range t.columns {
			values[key] = append(phi.Bytes(nil), rows.Get(name)...)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	t.Rows, t.SHA256 = rows.Rows(), rows.SHA256()
	return t, nil
}

func (t *Table) value(key []byte, column string) phi.Bytes { return t.columns[column][string(key)] }

// values are all that stand in a column.
func (t *Table) values(column string) (list []string) {
	for _, value := range t.columns[column] {
		if len(value) > 0 {
			list = append(list, string(value))
		}
	}
	return list
}
