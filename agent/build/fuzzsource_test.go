package build

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posternhealth/postern/extract"
)

// source is what was put in, read again by encoding/json and encoding/csv.
type source struct {
	records map[[2]int]any // by line and entry: a resource, or a row's cells by column
	schema  *extract.Schema
	bundle  bool
	unread  bool // a Bundle that encoding/json cannot read, for one of its entries
	plain   bool // tame, and each record reads for everybody as it does here
}

func sourceOf(rule *extract.FileRule, text []byte, tame bool) *source {
	in := &source{records: map[[2]int]any{}, schema: rule.Schema, bundle: rule.Format == extract.FHIRJSON, plain: tame}
	switch {
	case rule.Schema != nil:
		in.plain = in.plain && in.rows(text)
	case in.bundle:
		var bundle struct {
			Entry []struct{ Resource json.RawMessage }
		}
		in.unread = json.Unmarshal(text, &bundle) != nil
		for i, e := range bundle.Entry {
			in.resource([2]int{0, i + 1}, e.Resource)
		}
	default:
		for i, line := range bytes.Split(text, []byte("\n")) {
			in.resource([2]int{i + 1, 0}, line)
		}
	}
	return in
}

// escapedName is a member name that begins with an escape: such a resource is
// rejected, though encoding/json reads it.
var escapedName = regexp.MustCompile(`"\\u[0-9a-f]{4}[^"]*"[ \t]*:`)

func (in *source) resource(at [2]int, text []byte) {
	if !json.Valid(text) || escapedName.Match(text) || doubled(json.NewDecoder(bytes.NewReader(text))) {
		return
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	_ = d.Decode(&v)
	in.records[at] = v
	in.plain = in.plain && utf8.Valid(text)
}

// doubled tells whether a name stands twice in an object.
func doubled(d *json.Decoder) (found bool) {
	tok, _ := d.Token()
	names := map[json.Token]bool{}
	switch tok {
	case json.Delim('{'):
		for d.More() {
			name, _ := d.Token()
			found = found || names[name]
			names[name] = true
			found = doubled(d) || found
		}
		_, _ = d.Token()
	case json.Delim('['):
		for d.More() {
			found = doubled(d) || found
		}
		_, _ = d.Token()
	}
	return found
}

// rows tells whether all of them can be read.
func (in *source) rows(text []byte) bool {
	reader := csv.NewReader(bytes.NewReader(text))
	reader.Comma, reader.FieldsPerRecord = rune(in.schema.Delimiter), -1
	for {
		cells, err := reader.Read()
		if err != nil {
			return err == io.EOF
		}
		line, _ := reader.FieldPos(0)
		row := map[string]any{}
		for i, name := range in.schema.Names() {
			if i < len(cells) {
				row[name] = cells[i]
			}
		}
		in.records[[2]int{line, 0}] = row
	}
}

// origin is what a line of a part was made of, and whom it is about.
type origin struct {
	record any
	people []string
}

// of gives the origins of a part's lines, by the row index.
func (in *source) of(t testing.TB, drop *capture, part int) (list []origin) {
	t.Helper()
	read, err := csv.NewReader(bytes.NewReader(drop.index.Bytes())).ReadAll()
	must(t, err)
	for _, line := range read[1:] {
		if line[0] != strconv.Itoa(part+1) {
			continue
		}
		n, _ := strconv.Atoi(line[1])
		if n > len(list) {
			place := [2]int{}
			place[0], _ = strconv.Atoi(line[3])
			if place[1], _ = strconv.Atoi(line[4]); in.bundle {
				place[0] = 0
			}
			list = append(list, origin{record: in.records[place]})
		}
		typ := at(list[n-1].record, "resourceType")
		if n != len(list) || line[5] != drop.parts[part].info.Dataset || in.schema == nil && !in.unread && !slices.Equal(typ, line[5:6]) {
			t.Fatalf("row index: %q, of %q", line, typ)
		}
		if line[6] != "" {
			list[n-1].people = append(list[n-1].people, line[6])
		}
	}
	if int64(len(list)) != drop.parts[part].rows {
		t.Fatalf("%d rows, %d in the row index", drop.parts[part].rows, len(list))
	}
	return list
}

// at lists the values at a path, through arrays.
func at(v any, path ...string) (list []string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			list = append(list, at(e, path...)...)
		}
	case map[string]any:
		if len(path) == 0 {
			return nil
		}
		url, is := strings.CutPrefix(path[0], "extension:")
		if !is {
			return at(v[path[0]], path[1:]...)
		}
		extensions, _ := v["extension"].([]any)
		for _, e := range extensions {
			if slices.Equal(at(e, "url"), []string{url}) {
				list = append(list, at(e, path[1:]...)...)
			}
		}
	case string:
		return []string{v}[:max(0, 1-len(path))]
	case json.Number:
		return []string{v.String()}[:max(0, 1-len(path))]
	}
	return list
}
