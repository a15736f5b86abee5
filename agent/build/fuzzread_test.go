package build

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// readResources reads lines with encoding/json.
func readResources(t testing.TB, k *clinic, drop *capture, _ *source) {
	for _, p := range drop.parts {
		named := k.named(p.info.Dataset)
		lines := int64(0)
		for line := range bytes.Lines(p.Bytes()) {
			lines++
			if !bytes.HasSuffix(line, []byte("}\n")) {
				t.Fatalf("a line without end: %s", line)
			}
			d := json.NewDecoder(bytes.NewReader(line))
			d.UseNumber()
			v, err := decode(d)
			if err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if _, err := d.Token(); err != io.EOF {
				t.Fatalf("more than one value: %s", line)
			}
			if path := stranger(v, p.info.Dataset, named); path != "" {
				t.Fatalf("%s: %s is not released: %s", k.policy.File, path, line)
			}
		}
		if lines != p.rows {
			t.Fatalf("%d lines, %d rows", lines, p.rows)
		}
	}
}

// named are the paths of what a dataset releases.
func (k *clinic) named(dataset string) map[string]bool {
	named := map[string]bool{dataset + ".resourceType": true}
	for _, release := range k.policy.Release {
		for _, f := range release.Fields {
			for _, leaf := range f.Leaves {
				if release.Dataset == dataset {
					named[dataset+"."+strings.Join(leaf.Path, ".")] = true
				}
			}
		}
	}
	return named
}

type member struct {
	name  string
	value any
}

// decode reads a value with encoding/json; an object becomes a list of members.
// A name that stands twice is an error, and so is what is empty.
func decode(d *json.Decoder) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		var list []member
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := decode(d)
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(list, func(m member) bool { return m.name == name }) {
				return nil, errors.New("a name stands twice")
			}
			list = append(list, member{name.(string), value})
		}
		if list == nil {
			return nil, errors.New("an empty object")
		}
		_, err = d.Token()
		return list, err
	case json.Delim('['):
		var list []any
		for d.More() {
			value, err := decode(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		if list == nil {
			return nil, errors.New("an empty array")
		}
		_, err = d.Token()
		return list, err
	case nil:
		return nil, errors.New("a null")
	}
	return tok, nil
}

// stranger gives the path of a value that is not among those named.
func stranger(v any, path string, named map[string]bool) string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if at := stranger(e, path, named); at != "" {
				return at
			}
		}
	case []member:
		for _, m := range v {
			if list, is := m.value.([]any); is && m.name == "extension" {
				if at := strangeExtension(list, path, named); at != "" {
					return at
				}
			} else if at := stranger(m.value, path+"."+m.name, named); at != "" {
				return at
			}
		}
	default:
		if !named[path] {
			return path
		}
	}
	return ""
}

func strangeExtension(list []any, path string, named map[string]bool) string {
	for _, e := range list {
		object, _ := e.([]member)
		at := slices.IndexFunc(object, func(m member) bool { return m.name == "url" })
		if at < 0 {
			return path + ".extension"
		}
		url, _ := object[at].value.(string)
		if found := stranger(slices.Delete(slices.Clone(object), at, at+1), path+".extension:"+url, named); found != "" {
			return found
		}
	}
	return ""
}

// readRows reads rows with encoding/csv.
func readRows(t testing.TB, k *clinic, drop *capture, in *source) {
	for i, p := range drop.parts {
		reader := csv.NewReader(bytes.NewReader(p.Bytes()))
		reader.FieldsPerRecord = len(p.info.Columns)
		read, err := reader.ReadAll()
		if err != nil || !slices.Equal(read[0], p.info.Columns) || int64(len(read)) != p.rows+1 {
			t.Fatalf("%s: %d rows, %v: %q", k.policy.File, p.rows, err, p.Bytes())
		}
		var columns []policies.Column
		for _, f := range k.policy.Release[slices.IndexFunc(k.policy.Release, func(r policies.Release) bool { return r.Dataset == p.info.Dataset })].Fields {
			columns = append(columns, policies.Column{Name: f.Name, From: f.Name})
		}
		k.known(t, in, p.info.Dataset, columns, read[1:], in.of(t, drop, i))
	}
}

// readLayouts reads files of a layout, and counts and adds up again what trailers
// and the control file tell of them.
func readLayouts(t testing.TB, k *clinic, drop *capture, in *source) {
	l := k.policy.Layout
	var control [2][][]string
	for i, p := range drop.control {
		if (p != nil) != (l.Control != nil && (i == 0 || k.policy.ReleasesPart2())) {
			t.Fatal("a control file that nobody asked for, or none")
		}
		if p != nil {
			control[i] = readLaid(t, l, l.Control, p)
		}
	}
	for i, p := range drop.parts {
		file := l.File(p.info.Dataset)
		rows := readLaid(t, l, file, p)
		k.known(t, in, p.info.Dataset, file.Columns, rows, in.of(t, drop, i))
		if lines := &control[map[bool]int{true: 1}[p.info.Part2]]; l.Control != nil {
			if len(*lines) == 0 {
				t.Fatalf("%s is not in its control file", p.File())
			}
			tells(t, p, file, rows, l.Control.Columns, (*lines)[0])
			*lines = (*lines)[1:]
		}
	}
	if drop.scope != nil && l.Control != nil && len(control[1]) == 1 {
		tells(t, drop.scope, &policies.LaidOut{}, drop.scopes(t), l.Control.Columns, control[1][0])
		control[1] = nil
	}
	if len(control[0])+len(control[1]) != 0 {
		t.Fatalf("control files tell of %q and %q, too", control[0], control[1])
	}
}

// readLaid gives the rows of a file, each with its cells.
func readLaid(t testing.TB, l *policies.Layout, file *policies.LaidOut, p *capturedPart) [][]string {
	laid := p.Bytes()
	if l.BOM {
		var marked bool
		if laid, marked = bytes.CutPrefix(laid, []byte("\xef\xbb\xbf")); !marked {
			t.Fatal("no byte order mark")
		}
	}
	if l.ASCII && bytes.ContainsFunc(laid, func(r rune) bool { return r > '~' }) {
		t.Fatalf("no ASCII: %q", laid)
	}
	lines := strings.Split(string(laid), l.LineEnd)
	if lines[len(lines)-1] != "" {
		t.Fatalf("a line without end: %q", laid)
	}
	lines = lines[:len(lines)-1]
	take := func(columns []policies.Column) []string {
		if len(lines) == 0 {
			t.Fatalf("%d rows, and too few lines: %q", p.rows, laid)
		}
		line := lines[0]
		lines = lines[1:]
		return cellsOf(t, l, line, columns)
	}
	if file.Header != nil {
		tells(t, p, file, nil, file.Header, take(file.Header))
	}
	rows := [][]string{}
	for range p.rows {
		rows = append(rows, take(file.Columns))
		bound(t, file, rows[len(rows)-1])
	}
	if file.Trailer != nil {
		tells(t, p, file, rows, file.Trailer, take(file.Trailer))
	}
	if len(lines) != 0 {
		t.Fatalf("%d rows, and %d lines more: %q", p.rows, len(lines), laid)
	}
	return rows
}

// cellsOf reads one line by encoding/csv or by its widths.
func cellsOf(t testing.TB, l *policies.Layout, line string, columns []policies.Column) (cells []string) {
	t.Helper()
	if strings.ContainsAny(line, "\r\n") {
		t.Fatalf("a line end inside a line: %q", line)
	}
	if l.Delimiter == 0 {
		rest := line
		for _, c := range columns {
			if len(rest) < c.Width {
				t.Fatalf("too short: %q", line)
			}
			cells, rest = append(cells, strings.Trim(rest[:c.Width], " ")), rest[c.Width:]
		}
		if rest != "" {
			t.Fatalf("too long: %q", line)
		}
		return cells
	}
	reader := csv.NewReader(strings.NewReader(line + "\n"))
	reader.Comma = rune(l.Delimiter)
	cells, err := reader.Read()
	if err != nil || len(cells) != len(columns) || l.Quotes == policies.Never && strings.Contains(line, `"`) ||
		l.Quotes == policies.Always && strings.Count(line, `"`) < 2*len(columns) {
		t.Fatalf("%d columns, not %d, %v: %q", len(cells), len(columns), err, line)
	}
	return cells
}

// bound sees that a column bound to a code is filled in its rows only, where
// another column tells the code.
func bound(t testing.TB, file *policies.LaidOut, row []string) {
	t.Helper()
	for i, c := range file.Columns {
		if c.When == nil {
			continue
		}
		empty := ""
		if c.Others != nil {
			empty = *c.Others
		}
		code := slices.IndexFunc(file.Columns, func(o policies.Column) bool {
			return o.From == c.When.From && pathOf(o.Leaf) == pathOf(c.When.Leaf) && o.When == nil && o.Codes == nil
		})
		if code >= 0 && row[code] != c.When.Value && row[i] != empty {
			t.Fatalf("%s in a row of another code: %q", c.Name, row)
		}
	}
}

var asOfTexts = map[string]string{"YYYY-MM-DD": "2026-06-30", "YYYYMMDD": "20260630", "MM/DD/YYYY": "06/30/2026", "M/D/YYYY": "6/30/2026", "YYYY": "2026"}

// tells holds a header, a trailer or a line of a control file against the rows of
// the file that it is about.
func tells(t testing.TB, p *capturedPart, file *policies.LaidOut, rows [][]string, columns []policies.Column, cells []string) {
	t.Helper()
	for i, c := range columns {
		want, got, read := new(big.Rat), new(big.Rat), true
		switch {
		case c.Total == nil:
			read = cells[i] == c.Text
		case c.Total.Kind == policies.FileName:
			read = cells[i] == p.File()
		case c.Total.Kind == policies.AsOf:
			read = cells[i] == asOfTexts[c.Date]
		default:
			_, read = got.SetString(cells[i])
			want.SetInt64(int64(len(rows)))
			if c.Total.Kind == "sum" {
				want = sumOf(file, c.Total.Column, rows)
			}
		}
		if !read || got.Cmp(want) != 0 || strings.ContainsAny(cells[i], "E/") && c.Total != nil && c.Total.Kind == "sum" {
			t.Fatalf("%s %s: %q, not %s, of %q", c.Name, c.Text, cells[i], want.RatString(), rows)
		}
	}
}

// sumOf adds up a column by its name, or the first that holds a field as it is.
func sumOf(file *policies.LaidOut, name string, rows [][]string) *big.Rat {
	sum := new(big.Rat)
	at := slices.IndexFunc(file.Columns, func(c policies.Column) bool { return c.Name == name })
	if at < 0 {
		at = slices.IndexFunc(file.Columns, func(c policies.Column) bool {
			return (c.From == name || pathOf(c.Leaf) == name) && c.When == nil && c.Codes == nil && c.Date == ""
		})
	}
	for _, row := range rows {
		if at >= 0 {
			if value, is := new(big.Rat).SetString(row[at]); is {
				sum.Add(sum, value)
			}
		}
	}
	return sum
}
