package policytest

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// Result is how one case ended.
type Result struct {
	File   string       `json:"file"`
	Case   string       `json:"case"`
	Passed bool         `json:"passed"`
	Failed string       `json:"failed,omitempty"` // why as a whole
	Diffs  []Difference `json:"differences,omitempty"`

	covered map[string]bool
	policy  string
	clauses []string
}

// Difference is one record that ended otherwise than expected.
type Difference struct {
	Record   string `json:"record"`
	At       string `json:"at,omitempty"` // column or element
	Expected string `json:"expected"`
	Got      string `json:"got"`
	Why      string `json:"why,omitempty"`
}

// Run runs one case file.
func Run(ctx context.Context, file string) *Result {
	c, err := Load(file)
	if err != nil {
		return &Result{File: file, Failed: err.Error()}
	}
	result := &Result{File: file, Case: c.Title, policy: c.beside(c.Policy)}
	err = scratch(func(dir string) error {
		w, o, err := c.run(ctx, dir)
		if refused(result, c, err) {
			return nil
		}
		if err != nil {
			return err
		}
		result.Diffs = w.compare(o)
		return result.cover(w, o)
	})
	if err != nil {
		result.Failed = err.Error()
	}
	result.Passed = result.Failed == "" && len(result.Diffs) == 0
	return result
}

// refused settles a case that expects the run to be refused.
func refused(result *Result, c *Case, err error) bool {
	switch {
	case c.Refused == "":
		return false
	case err == nil:
		result.Failed = fmt.Sprintf("the run was not refused; expected: %s", c.Refused)
	case !strings.Contains(err.Error(), c.Refused):
		result.Failed = fmt.Sprintf("the run was refused otherwise; expected: %s; got: %v", c.Refused, err)
	}
	return true
}

// compare holds what became of each record against what was expected.
func (w *world) compare(o *outcome) (list []Difference) {
	known := variables{}
	met := map[int]bool{}
	for i := range w.c.Expect {
		e := &w.c.Expect[i]
		at := slices.IndexFunc(w.records, func(s source) bool { return slices.Contains(s.names, e.Record) })
		if at < 0 {
			list = append(list, Difference{Record: e.Record, Expected: "a record of this case", Got: "there is none of that name"})
			continue
		}
		s := w.records[at]
		met[at] = true
		want, _ := e.ending()
		got := o.endings[s.at]
		if !want.same(got) {
			list = append(list, Difference{Record: s.full(), Expected: want.String(), Got: got.String(), Why: o.details[s.at]})
		} else if e.Released.IsMap() {
			list = append(list, known.compare(s.full(), e.Released, o.rows[s.at])...)
		}
	}
	for i, s := range w.records {
		if !met[i] {
			list = append(list, Difference{Record: s.full(), Expected: "the case says nothing of it", Got: o.endings[s.at].String()})
		}
	}
	return list
}

// variables are the values that $names have taken in one case.
type variables map[string]string

// matches tells whether a value is the expected one: `any` is anything but
// nothing, $name is the same at each place and another than that of any other name.
func (v variables) matches(want, got string) bool {
	if want == "any" {
		return got != ""
	}
	if !strings.HasPrefix(want, "$") {
		return want == got
	}
	if bound, ok := v[want]; ok {
		return bound == got
	}
	if got == "" || slices.Contains(slices.Collect(maps.Values(v)), got) {
		return false
	}
	v[want] = got
	return true
}

func (v variables) compare(record string, want strictyaml.Node, got row) []Difference {
	if got.columns == nil {
		return v.resource(record, want, got.text)
	}
	cells, err := readRow(got.text)
	if err != nil {
		return []Difference{{Record: record, Expected: "a row", Got: err.Error()}}
	}
	expected := map[string]string{}
	for _, e := range want.Entries() {
		expected[e.Key] = e.Value.Text()
	}
	var list []Difference
	for i, column := range got.columns {
		value, named := expected[column]
		delete(expected, column)
		if !named {
			list = append(list, Difference{Record: record, At: column, Expected: "no such column", Got: quoted(cells[i])})
		} else if !v.matches(value, cells[i]) {
			list = append(list, Difference{Record: record, At: column, Expected: quoted(value), Got: quoted(cells[i])})
		}
	}
	for _, column := range slices.Sorted(maps.Keys(expected)) {
		list = append(list, Difference{Record: record, At: column, Expected: quoted(expected[column]), Got: "no such column"})
	}
	return list
}

func readRow(text []byte) ([]string, error) { return csv.NewReader(bytes.NewReader(text)).Read() }

func quoted(text string) string { return fmt.Sprintf("%q", text) }

// resource compares a FHIR resource element by element.
func (v variables) resource(record string, want strictyaml.Node, text []byte) []Difference {
	expected, got := leaves(want.AppendJSON(nil)), leaves(text)
	paths := maps.Clone(expected)
	maps.Copy(paths, got)
	var list []Difference
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		a, wanted := expected[path]
		b, there := got[path]
		switch {
		case !wanted:
			a = "nothing"
		case !there:
			b = "nothing"
		case a == b || strings.HasPrefix(a, `"`) && v.matches(strings.Trim(a, `"`), strings.Trim(b, `"`)):
			continue
		}
		list = append(list, Difference{Record: record, At: path, Expected: a, Got: b})
	}
	return list
}

// leaves are the values of a JSON object, as written, by path.
func leaves(text []byte) map[string]string {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	found := map[string]string{}
	if err := decoder.Decode(&value); err != nil {
		found["(resource)"] = err.Error()
		return found
	}
	var walk func(path string, value any)
	walk = func(path string, value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, below := range value {
				walk(strings.TrimPrefix(path+"."+key, "."), below)
			}
		case []any:
			for i, below := range value {
				walk(fmt.Sprintf("%s[%d]", path, i), below)
			}
		default:
			written, _ := json.Marshal(value) // it came from JSON
			found[path] = string(written)
		}
	}
	walk("", value)
	return found
}
