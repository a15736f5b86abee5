package deid

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// tapeOf makes the tape of a resource by another implementation of JSON than
// the scanner's; nil when it is no JSON.
func tapeOf(raw []byte) extract.Doc {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	doc, err := tapeValue(d, raw, nil)
	if err != nil {
		return nil
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil
	}
	return doc
}

var kinds = map[jsontext.Kind]extract.Kind{
	'{': extract.Object, '[': extract.Array, '"': extract.String,
	'0': extract.Numeral, 't': extract.True, 'f': extract.False, 'n': extract.Null,
}

func tapeValue(d *jsontext.Decoder, raw []byte, doc extract.Doc) (extract.Doc, error) {
	start := int(d.InputOffset())
	tok, err := d.ReadToken()
	if err != nil {
		return doc, err
	}
	start += bytes.IndexFunc(raw[start:], func(r rune) bool { return !strings.ContainsRune(" \t\r\n,:", r) })
	at, kind := len(doc), tok.Kind()
	doc = append(doc, extract.Token{Kind: kinds[kind], Start: int32(start)})
	for kind == '{' || kind == '[' {
		if next := d.PeekKind(); next == '}' || next == ']' {
			if _, err := d.ReadToken(); err != nil {
				return doc, err
			}
			break
		}
		name := len(doc)
		if doc, err = tapeValue(d, raw, doc); err != nil {
			return doc, err
		}
		if kind == '{' {
			if doc, err = tapeValue(d, raw, doc); err != nil {
				return doc, err
			}
			doc[name].Kind, doc[name].Next = extract.MemberName, int32(len(doc))
		}
	}
	t := &doc[at]
	t.End, t.Next = int32(d.InputOffset()), int32(len(doc))
	if t.Kind == extract.String {
		t.Start, t.End = t.Start+1, t.End-1
		t.Escaped = bytes.IndexByte(raw[t.Start:t.End], '\\') >= 0
	}
	return doc, nil
}

// at gives the string at the path, its escapes undone; nil when there is none.
func at(rec *extract.Record, path ...string) phi.Bytes {
	var i int32
	for _, step := range path {
		for i++; ; i = rec.Doc[i].Next {
			if int(i) >= len(rec.Doc) || rec.Doc[i].Kind != extract.MemberName {
				return nil
			}
			if string(rec.Raw[rec.Doc[i].Start:rec.Doc[i].End]) == step {
				break
			}
		}
		i++
	}
	if rec.Doc[i].Kind != extract.String {
		return nil
	}
	return extract.Unescape(nil, rec.Raw[rec.Doc[i].Start:rec.Doc[i].End])
}

// recordOf makes a record of a resource, its facts as the scan would find
// them; nil when it is no JSON object.
func recordOf(raw []byte) *extract.Record {
	rec := &extract.Record{Raw: raw, Doc: tapeOf(raw)}
	if len(rec.Doc) == 0 || rec.Doc[0].Kind != extract.Object {
		return nil
	}
	rec.Dataset, rec.Facts.ID, rec.Facts.Date = string(at(rec, "resourceType")), at(rec, "id"), extract.NoSpan
	for _, name := range []string{"effectiveDateTime", "recordedDate"} {
		if span, ok := extract.ParseSpan(at(rec, name)); ok {
			rec.Facts.Date = span
		}
	}
	if rec.Dataset == "Patient" {
		rec.Facts.Subjects = []phi.Bytes{rec.Facts.ID}
	}
	ref := at(rec, "subject", "reference")
	if i := bytes.LastIndexAny(ref, "/:"); i >= 0 && !bytes.Contains(ref, []byte("Group/")) {
		rec.Facts.Subjects = []phi.Bytes{ref[i+1:]}
	}
	if enc := at(rec, "encounter", "reference"); enc != nil {
		rec.Facts.Encounter = enc[bytes.LastIndexAny(enc, "/:")+1:]
	}
	return rec
}

// classAt is the class that the tables give a leaf.
func classAt(dataset string, path []string) extract.Class {
	typ := dataset
	for i, step := range path {
		if url, ok := strings.CutPrefix(step, extensionStep); ok {
			for _, x := range extract.KnownExtensions() {
				if x.URL == url {
					return x.Class
				}
			}
			return extract.Unclassed
		}
		t := extract.TypeOf(typ)
		if t == nil || t.Element(step) == nil {
			return extract.Unclassed
		}
		typ = t.Element(step).Type
		if i == len(path)-1 {
			return t.Element(step).Class
		}
	}
	return extract.Unclassed
}

// fhirPolicy makes a policy of lines such as `keep code coding code`.
func fhirPolicy(standard policies.Standard, dataset string, lines ...string) *policies.Policy {
	r := policies.Release{Dataset: dataset}
	for _, line := range lines {
		words := strings.Fields(line)
		path := words[1:]
		r.Fields = append(r.Fields, policies.Field{
			Name: strings.Join(path, "."), Do: policies.Transform(words[0]),
			Leaves: []policies.Leaf{{Path: path, Class: classAt(dataset, path)}},
		})
	}
	return &policies.Policy{File: "test.yaml", Standard: standard, Release: []policies.Release{r}, Output: policies.Output{Layout: "ndjson"}}
}

var asOf = day("2026-06-30")

func day(s string) extract.Day {
	span, _ := extract.ParseSpan([]byte(s))
	return span.From
}

func compile(t testing.TB, p *policies.Policy, dataset string) *Plan {
	t.Helper()
	plan, err := Compile(p, dataset, Options{AsOf: asOf})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// sections splits a golden file at its lines "-- name --". What stands before
// the first is a comment, kept under "".
func sections(t *testing.T, file string) (names []string, part map[string]string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name, part := "", map[string]string{}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "-- "); ok {
			name = strings.TrimSuffix(rest, " --\n")
			names = append(names, name)
			continue
		}
		part[name] += line
	}
	return names, part
}

// TestGolden runs the pairs of testdata: a plan, resources in, lines out, and
// what was dropped. POSTERN_GOLDEN=write takes what comes out as right.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			names, part := sections(t, file)
			head, lines, _ := strings.Cut(part["plan"], "\n")
			standard, dataset, _ := strings.Cut(head, " ")
			policy := fhirPolicy(policies.Standard(standard), dataset, strings.Split(strings.TrimSpace(lines), "\n")...)
			engine := compile(t, policy, dataset).Engine()
			got := map[string]string{}
			for line := range strings.Lines(part["in"]) {
				var out Output
				if err := engine.Apply(recordOf([]byte(strings.TrimSuffix(line, "\n"))), nil, &out); err != nil {
					got["out"] += "rejected\n"
				}
				got["out"] += string(out.Bytes)
			}
			for _, c := range engine.Counts() {
				if c.In > c.Out {
					got["dropped"] += fmt.Sprintf("%s %d of %d\n", c.Path, c.In-c.Out, c.In)
				}
			}
			all := part[""]
			for _, name := range names {
				text, ok := got[name]
				if !ok {
					text = part[name]
				} else if text != part[name] {
					t.Errorf("%s:\ngot:\n%s\nwant:\n%s", name, text, part[name])
				}
				all += "-- " + name + " --\n" + text
			}
			if os.Getenv("POSTERN_GOLDEN") == "write" {
				if err := os.WriteFile(file, []byte(all), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
