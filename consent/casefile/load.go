package casefile

import (
	"bytes"
	"fmt"
	"os"
	"slices"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Load reads the cases of one file. The error is a *strictyaml.Errors with all
// mistakes of its first document that has any.
func Load(file string) ([]*Case, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the cases: %w", err)
	}
	var common Case
	var shared *strictyaml.Source // of common
	var cases []*Case
	for i, document := range documents(data) {
		if i == 0 && startsWith(document, "common:") {
			var first struct {
				Common Case `yaml:"common"`
			}
			if shared, err = strictyaml.Decode(file, document, &first); err != nil {
				return nil, err
			}
			common = first.Common
			continue
		}
		c := common
		c.File = file
		source, err := strictyaml.Decode(file, document, &c)
		if err != nil {
			return nil, err
		}
		if err := c.check(source); err != nil {
			return nil, err
		}
		if shared != nil && shared.Errors().Err() != nil { // found by what every case is checked for
			return nil, shared.Errors().Err()
		}
		cases = append(cases, &c)
	}
	return cases, nil
}

// documents parts a file at its lines of `---`. Each document keeps the place
// that it has in the file, by the empty lines before it.
func documents(data []byte) (list [][]byte) {
	var document []byte
	for n, line := range bytes.Split(data, []byte("\n")) {
		if bytes.Equal(bytes.TrimRight(line, " \r"), []byte("---")) {
			if len(bytes.TrimSpace(document)) > 0 {
				list = append(list, document)
			}
			document, line = bytes.Repeat([]byte("\n"), n), nil
		}
		document = append(append(document, line...), '\n')
	}
	return append(list, document)
}

// startsWith tells whether the first line of a document that says something
// begins with a key.
func startsWith(document []byte, key string) bool {
	for line := range bytes.Lines(document) {
		if line = bytes.TrimRight(line, " \r\n"); len(line) > 0 && line[0] != '#' {
			return bytes.HasPrefix(line, []byte(key))
		}
	}
	return false
}

// check settles what the shape alone does not: what a case must have, be it
// from common, and that each record is expected to end in one way.
func (c *Case) check(source *strictyaml.Source) error {
	errs := source.Errors()
	c.Line = source.AtKey("case").Line
	for _, must := range []struct {
		key     string
		missing bool
	}{
		{"case", c.Title == ""}, {"as_of", c.AsOf.IsZero()}, {"decided_at", c.DecidedAt.IsZero()}, {"request.recipient", c.Request.Recipient == ""},
		{"request.kind", c.Request.Kind == ""}, {"request.purpose", c.Request.Purpose == ""}, {"request.basis", c.Request.Basis == ""},
		{"request.standard", c.Request.Standard == ""}, {"records", len(c.Records) == 0 && c.Stops == ""}, {"expect", c.Expect.IsEmpty() && c.Stops == ""},
	} {
		if must.missing {
			errs.Add(source.At(must.key), must.key, "the key is missing, and common has none", "add "+must.key+":")
		}
	}
	c.checkExpect()
	for _, rows := range []struct {
		of      []strictyaml.Node
		columns []string
	}{{c.Restrictions, columns("restrictions")}, {c.Programs, columns("programs")}, {c.rows(), columns("consents")}} {
		for _, row := range rows.of {
			checkRow(row, rows.columns)
		}
	}
	return errs.Err()
}

// checkExpect reads what is expected: one line for each record, unless the
// case stops before.
func (c *Case) checkExpect() {
	if c.Stops != "" {
		if !c.Expect.IsEmpty() {
			c.Expect.Fail("remove expect or stops", "nothing is decided in a case that stops")
		}
		return
	}
	c.Expect.Decode(&c.expect)
	met := map[string]bool{}
	for i, e := range c.expect {
		at := c.Expect.Items()[i]
		if !slices.ContainsFunc(c.Records, func(r record) bool { return r.ID == e.Record }) {
			at.Fail("name one of records", "there is no record %q", e.Record)
		}
		if met[e.Record] {
			at.Fail("a record ends in one way: remove the second line", "record %q is expected twice", e.Record)
		}
		met[e.Record] = true
		for _, reason := range e.Reasons {
			if !slices.Contains(extract.ReasonNames(), reason) {
				at.Fail(strictyaml.DidYouMean(reason, extract.ReasonNames()), "there is no reason %q", reason)
			}
		}
	}
	for _, r := range c.Records {
		if !met[r.ID] && !c.Expect.IsEmpty() {
			c.Expect.Fail("add {record: "+r.ID+", effect: …, reasons: […]}", "nothing is expected of record %q", r.ID)
		}
	}
}

// checkRow refuses what is no row of single values under known columns: the
// loaders would refuse it too, and then a case which expects that passes.
func checkRow(row strictyaml.Node, columns []string) {
	if !row.IsMap() {
		row.Fail("write {column: value, …}", "a row is a mapping")
	}
	for _, e := range row.Entries() {
		switch {
		case !slices.Contains(columns, e.Key):
			e.Value.Fail(strictyaml.DidYouMean(e.Key, columns), "there is no column %q", e.Key)
		case !e.Value.IsScalar():
			e.Value.Fail("", "a cell is a single value")
		}
	}
}

// columns are those of a list, as its loader knows them.
func columns(kind string) []string {
	return slices.Concat(consent.Columns[kind][0], consent.Columns[kind][1])
}
