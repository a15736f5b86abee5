package policytest

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// source is a record of a case, and where it stands in the files laid for it.
type source struct {
	dataset string
	names   []string // DATASET#N, ID, DATASET/ID: the last is the fullest
	at      extract.Place
}

func (s *source) full() string { return s.names[len(s.names)-1] }

// extractFiles lays the records of a case into a folder, one file a dataset.
func (c *Case) extractFiles(dir string, schemas map[string]*extract.Schema) (files []extract.File, records []source, err error) {
	for _, dataset := range c.Records {
		var text []byte
		rule := &extract.FileRule{Format: extract.FHIRNDJSON}
		name := dataset.Key + ".ndjson"
		line := int64(1)
		schema := schemas[dataset.Key]
		if schema != nil {
			rule, name = &extract.FileRule{Format: extract.Delimited, Dataset: dataset.Key, Schema: schema}, dataset.Key+".csv"
			if schema.Header {
				text = appendRow(nil, schema.Names(), schema.Delimiter, schema.Quote)
				line += int64(bytes.Count(text, []byte("\n")))
			}
		}
		for i, node := range dataset.Value {
			row, id, err := c.record(node, schema)
			if err != nil {
				return nil, nil, err
			}
			s := source{dataset.Key, []string{fmt.Sprintf("%s#%d", dataset.Key, i+1)}, extract.Place{File: len(files), Line: line}}
			if id != "" {
				s.names = append(s.names, id, dataset.Key+"/"+id)
			}
			records = append(records, s)
			text, line = append(text, row...), line+int64(bytes.Count(row, []byte("\n")))
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return nil, nil, err
		}
		file, err := extract.FileAt(path, rule)
		if err != nil {
			return nil, nil, err
		}
		file.Index = len(files)
		files = append(files, file)
	}
	return files, records, nil
}

// record is one record as a line of its file, and its id.
func (c *Case) record(n strictyaml.Node, schema *extract.Schema) (row []byte, id string, err error) {
	if !n.IsMap() {
		return nil, "", c.mistake(n, "a record is a mapping: of columns to values, or a FHIR resource")
	}
	if schema == nil {
		return append(n.AppendJSON(nil), '\n'), n.TextAt("id"), nil
	}
	cells := make([]string, len(schema.Fields))
	for _, e := range n.Entries() {
		at := schema.Column(e.Key)
		if at < 0 {
			return nil, "", c.mistake(e.Value, "there is no column %q; %s", e.Key, strictyaml.DidYouMean(e.Key, schema.Names()))
		}
		cells[at] = e.Value.Text()
		if schema.Fields[at].Role == extract.RoleRecord {
			id = cells[at]
		}
	}
	return appendRow(nil, cells, schema.Delimiter, schema.Quote), id, nil
}

func (c *Case) mistake(n strictyaml.Node, format string, args ...any) error {
	return strictyaml.Mistake{File: c.File, Line: n.Pos().Line, Column: n.Pos().Column, Path: n.Path(), Message: fmt.Sprintf(format, args...)}
}

// appendRow appends a row, with each cell in quotes that needs them (RFC 4180).
func appendRow(b []byte, cells []string, delimiter, quote byte) []byte {
	special := string([]byte{delimiter, quote, '\n', '\r'})
	for i, cell := range cells {
		if i > 0 {
			b = append(b, delimiter)
		}
		if strings.ContainsAny(cell, special) {
			q := string(quote)
			cell = q + strings.ReplaceAll(cell, q, q+q) + q
		}
		b = append(b, cell...)
	}
	return append(b, '\n')
}

// kind is the kind of a protective input: as the case says, else as its name
// tells.
func (c *Case) kind(input string) string {
	if kind := c.Kinds[input]; kind != "" {
		return kind
	}
	for kind := range consent.Columns {
		if strings.Contains(input, strings.TrimSuffix(kind, "s")) {
			return kind
		}
	}
	return ""
}

// input is a protective input as it is laid for the run. FHIR Consents go into
// a file of their own.
type input struct {
	name, kind string
	columns    []string
	table      string // path of the rows
	resources  string // path of the FHIR Consents; "" when there are none
}

// inputFile lays the rows and resources of one protective input into a folder;
// one that the case does not have is empty.
// Of a table, the case names the schema under the name of the input.
func (c *Case) inputFile(dir, name string, schemas map[string]*extract.Schema) (*input, error) {
	in := &input{name: name, kind: c.kind(name), table: filepath.Join(dir, name+".input.csv")}
	if in.columns = slices.Clone(consent.Columns[in.kind][0]); in.kind == "table" && schemas[name] != nil {
		in.columns = schemas[name].Names()
	}
	if in.columns == nil {
		return nil, fmt.Errorf("%s: kinds: say of which kind %s is: consents, restrictions, programs, roster, merges, or table with its schema under schemas:", c.File, name)
	}
	var rows []strictyaml.Node
	var resources []byte
	for _, listed := range c.Inputs {
		for _, n := range listed.Value {
			if listed.Key != name {
				continue
			}
			if n.TextAt("resourceType") != "" {
				resources = append(n.AppendJSON(resources), '\n')
				continue
			}
			rows = append(rows, n)
			for _, e := range n.Entries() {
				if !slices.Contains(in.columns, e.Key) {
					in.columns = append(in.columns, e.Key)
				}
			}
		}
	}
	table := appendRow(nil, in.columns, ',', '"')
	for _, n := range rows {
		cells := make([]string, len(in.columns))
		for i, column := range in.columns {
			cells[i] = n.TextAt(column)
		}
		table = appendRow(table, cells, ',', '"')
	}
	if err := os.WriteFile(in.table, table, 0o600); err != nil || resources == nil {
		return in, err
	}
	in.resources = filepath.Join(dir, name+".input.ndjson")
	return in, os.WriteFile(in.resources, resources, 0o600)
}
