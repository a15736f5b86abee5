package policies

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
)

const (
	layoutPage   = "../docs/layouts.md"
	layoutPolicy = "testdata/layout/policy.yaml"
)

// layoutEnv has a table beside what all policies are tested with.
func layoutEnv(t testing.TB) Env {
	t.Helper()
	env := testEnv(t)
	practices, err := extract.LoadSchema("testdata/layout/practices.json")
	if err != nil {
		t.Fatal(err)
	}
	env.Inputs["practices"] = InputInfo{Kind: "table", Schema: practices}
	return env
}

// laid checks the policy of testdata/layout with another layout, and with
// replacements in the policy.
func laid(t testing.TB, layout string, replace ...string) (*Policy, error) {
	t.Helper()
	return laidBy(t, layoutPolicy, layout, replace...)
}

func laidBy(t testing.TB, file, layout string, replace ...string) (*Policy, error) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(string(text), replace[i]) {
			t.Fatalf("the policy has no %q", replace[i])
		}
	}
	env := layoutEnv(t)
	p, err := parse(file, []byte(strings.NewReplacer(replace...).Replace(string(text))), env, func(name string) ([]byte, error) {
		if strings.HasPrefix(name, "layouts/") {
			return []byte(layout), nil
		}
		return os.ReadFile(filepath.Join("testdata/layout", name))
	})
	if err == nil {
		_, err = Check(p, env)
	}
	return p, err
}

// laidFHIR checks the policy of testdata/layout/fhir.yaml with another layout,
// and with replacements in the policy.
func laidFHIR(t testing.TB, layout string, replace ...string) (*Policy, error) {
	t.Helper()
	return laidBy(t, "testdata/layout/fhir.yaml", layout, replace...)
}

// A layout is a part of what approvers sign; the blocks of the page are right, and are those of the tests.
func TestLayoutPage(t *testing.T) {
	page, err := os.ReadFile(layoutPage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := pageBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 3 {
		t.Fatalf("the page has %d blocks", len(blocks))
	}
	matchGolden(t, "testdata/layout/layouts/fhir.yaml", blocks[2][2])
	if _, err := laidFHIR(t, blocks[2][2]); err != nil {
		t.Error(err)
	}
	for i, file := range []string{"supplemental", "fixed"} {
		matchGolden(t, "testdata/layout/layouts/"+file+".yaml", blocks[i][2])
		p, err := laid(t, blocks[i][2])
		if err != nil {
			t.Errorf("%v in\n%s", err, blocks[i][2])
		} else if names := p.Includes(); names[0].Name != "layouts/supplemental.yaml" || len(names[0].SHA256) != 64 {
			t.Errorf("the closure holds %v", names)
		}
	}
}

const plainLayout = `postern: layout/v1
title: t
form: delimited
delimiter: bar
quotes: never
line_end: lf
encoding: ascii
files:
  scores:
    columns:
      a: {from: member_id}
      b: {from: birth_date}
      c: {from: sex}
      d: {from: provider_npi}
      e: {from: tin}
      f: {from: service_date}
      g: {from: instrument}
      h: {from: total_score}
      k: {row_key: yes}
`

const fixedLayout = `postern: layout/v1
title: t
form: fixed-width
line_end: lf
encoding: ascii
files:
  scores:
    columns:
      a: {from: member_id, width: 9}
      b: {from: birth_date, width: 10}
      c: {from: sex, width: 6}
      d: {from: provider_npi, width: 10}
      e: {from: tin, width: 9}
      f: {from: service_date, width: 10}
      g: {from: instrument, width: 7}
      h: {from: total_score, width: 2}
      k: {row_key: yes, width: 20}
`

// wrongLayout is a layout in which one text stands instead of another, under a
// policy with replacements, and what is said of it; "" when it is right.
type wrongLayout struct {
	name, layout, old, new, want string
	policy                       []string
}

func (c *wrongLayout) check(t *testing.T, lay func(testing.TB, string, ...string) (*Policy, error)) {
	t.Helper()
	if !strings.Contains(c.layout, c.old) {
		t.Fatalf("%s: no %q", c.name, c.old)
	}
	_, err := lay(t, strings.Replace(c.layout, c.old, c.new, 1), c.policy...)
	switch {
	case c.want == "" && err != nil:
		t.Errorf("%s: %v", c.name, err)
	case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
		t.Errorf("%s: got %v\nwant %s", c.name, err, c.want)
	}
}

// Each mistake is told with the line and column of the file where it stands.
func TestWrongLayouts(t *testing.T) {
	for _, c := range []wrongLayout{
		{"an unknown key", plainLayout, "title: t", "title: t\ntilte: x", `supplemental.yaml:3:1: tilte: `, nil},
		{"another version", plainLayout, "layout/v1", "layout/v2", "this version of Postern reads layout/v1", nil},
		{"a field that is not released", plainLayout, "b: {from: birth_date}", "b: {from: birthdate}", `supplemental.yaml:12:17: files.scores.columns.b.from: "birthdate" is not among the released fields of scores (did you mean "birth_date"?)`, nil},
		{"a field that no column takes", plainLayout, "b: {from: birth_date}", "b: {empty: yes}", "policy.yaml:26:21: release.scores.fields.birth_date: no column of the layout supplemental takes it", nil},
		{"two things in a column", plainLayout, "c: {from: sex}", "c: {from: sex, constant: x}", "columns.c: a column holds one thing", nil},
		{"nothing in a column", plainLayout, "c: {from: sex}", "c: {empty: no}", "empty: holds nothing", nil},
		{"an empty constant", plainLayout, "c: {from: sex}", `c: {constant: ""}`, "constant: holds nothing", nil},
		{"a date of no date", plainLayout, "c: {from: sex}", "c: {from: sex, date: YYYY}", "supplemental.yaml:13:28: files.scores.columns.c.date: sex is a sex, and no date", nil},
		{"a date of a year", plainLayout, "f: {from: service_date}", "f: {from: service_date, date: MM/DD/YYYY}", "columns.f.date: date: takes a kept value", []string{"service_date: {do: keep", "service_date: {do: year"}},
		{"a map of a year", plainLayout, "f: {from: service_date}", "f: {from: service_date, map: {\"2025\": old}}", "columns.f.map: map: takes a kept value", []string{"service_date: {do: keep", "service_date: {do: year"}},
		{"another form of dates", plainLayout, "f: {from: service_date}", "f: {from: service_date, date: DD.MM.YYYY}", "columns.f.date", nil},
		{"else without a map", plainLayout, "c: {from: sex}", "c: {from: sex, else: U}", "else: belongs to map:", nil},
		{"a map of nothing", plainLayout, "c: {from: sex}", "c: {from: sex, map: {}}", "nothing is mapped", nil},
		{"a map of a constant", plainLayout, "c: {from: sex}", "c: {constant: x, map: {a: b}}", "map: is about the value of a field", nil},
		{"a date that is mapped", plainLayout, "f: {from: service_date}", "f: {from: service_date, date: YYYY, map: {a: b}}", "a date is not mapped", nil},
		{"a code in need of quotes", plainLayout, "c: {from: sex}", "c: {from: sex, map: {male: \"a|b\"}, else: \"x\\\"\"}", "columns.c.else: the text needs quotes, which the layout forbids", nil},
		{"a constant in need of quotes", plainLayout, "c: {from: sex}", "c: {from: sex}\n      x: {constant: \"a|b\"}", "columns.x.constant: the text needs quotes", nil},
		{"a text that is not ASCII", plainLayout, "c: {from: sex}", "c: {from: sex}\n      x: {constant: é}", "columns.x.constant: the text is not in ASCII", nil},
		{"a control character", plainLayout, "c: {from: sex}", `c: {from: sex}` + "\n" + `      x: {constant: "a\nb"}`, "columns.x.constant: the text holds a control character", nil},
		{"a header of another length", plainLayout, "    columns:", "    header: [a, b]\n    columns:", "the header has 2 cells, a row 9", nil},
		{"a header that needs quotes", plainLayout, "      a: {", "      \"a|\": {", "", nil},
		{"names that need quotes", plainLayout, "    columns:\n      a: {", "    header: yes\n    columns:\n      \"a|\": {", "the text needs quotes", nil},
		{"a sum of nothing released", plainLayout, "      a: {", "      a: {", "", nil},
		{"a dataset that is not released", plainLayout, "  scores:", "  visits:", `files.visits: "visits" is no released dataset`, nil},
		{"a released dataset without a file", plainLayout, "files:\n  scores:\n", "files: {}\nx:\n  scores:\n", "unknown", nil},
		{"no columns", plainLayout, plainLayout[strings.Index(plainLayout, "    columns:"):], "    columns: {}\n", "the file has no columns", nil},
		{"no delimiter", plainLayout, "delimiter: bar\n", "", "form: a delimited file needs delimiter:", nil},
		{"no quotes", plainLayout, "quotes: never\n", "", "form: a delimited file needs quotes:", nil},
		{"a mark that is not ASCII", plainLayout, "encoding: ascii", "encoding: ascii\nbom: yes", "bom: a byte order mark is not ASCII", nil},
		{"a width between delimiters", plainLayout, "c: {from: sex}", "c: {from: sex, width: 3, align: left, fill: zeros}", "width: belongs to fixed-width", nil},
		{"row keys that the policy lacks", plainLayout, "", "", "output.row_key: the layout supplemental and the policy differ", []string{"row_key: yes, ", ""}},
		{"a delimiter of fixed widths", fixedLayout, "line_end: lf", "line_end: lf\ndelimiter: bar\nquotes: never", "columns of fixed width have no delimiter", nil},
		{"UTF-8 of fixed widths", fixedLayout, "ascii", "utf-8", "nobody can tell whether a width counts characters or bytes", nil},
		{"no width", fixedLayout, "c: {from: sex, width: 6}", "c: {from: sex}", "columns.c: a column of fixed width needs its width", nil},
		{"a constant too long", fixedLayout, "c: {from: sex, width: 6}", "c: {from: sex, width: 6}\n      x: {constant: abc, width: 2}", "the text is longer than the width of 2", nil},
		{"zeros on the right", fixedLayout, "width: 2}", "width: 2, fill: zeros, align: left}", "zeros stand on the left of a number", nil},
		{"zeros before letters", fixedLayout, "c: {from: sex, width: 6}", "c: {from: sex, width: 6}\n      x: {constant: abc, width: 4, fill: zeros}", "zeros cannot stand before it", nil},
		{"a name longer than its column", fixedLayout, "    columns:\n      a:", "    header: yes\n    columns:\n      memberidnumber:", "the text is longer than the width of 9", nil},
		{"a sum of a field that is mapped", plainLayout + "    trailer: [sum of sex]\n", "c: {from: sex}", "c: {from: sex, map: {a: b}}", `there is no column to add up "sex" from`, nil},
		{"a sum of no numbers", plainLayout + "    trailer: [rows, sum of sex]\n", "", "", "supplemental.yaml:20:21: files.scores.trailer[1]: sex holds no numbers", nil},
		{"a trailer that needs quotes", plainLayout + "    trailer: [\"a|b\"]\n", "", "", "trailer[0]: the text needs quotes", nil},
		{"by without a table", plainLayout, "", "", "by: belongs to a look-up in a table", []string{"sex:          {do: keep", "sex:          {do: keep, by: provider_npi"}},
		{"by no column", plainLayout, "", "", `tin.by: there is no column "npi"`, []string{"by: provider_npi", "by: npi"}},
		{"no column of the table", plainLayout, "", "", `tin.from: the table has no column "npi" beside its key`, []string{"practices.tin", "practices.npi"}},
		{"a look-up by in no table", plainLayout, "", "", `tin.from: consents.tin is no table`, []string{"practices.tin", "consents.tin"}},
		{"a look-up that is changed", plainLayout, "", "", `a looked-up value leaves as it is or not at all`, []string{"by: provider_npi", "by: provider_npi, do: year"}},
		{"a file that is still a draft", plainLayout, "title: t", "title: FILL IN the edition", "supplemental.yaml:2:8: title: the value is still to be filled in", nil},
		{"a file that is no YAML", "a: [", "", "", "not readable as YAML", nil},
	} {
		c.check(t, laid)
	}
}

// Released datasets that the layout has no file for.
func TestLayoutsWithoutAFile(t *testing.T) {
	text, err := os.ReadFile(layoutPolicy)
	if err != nil {
		t.Fatal(err)
	}
	both := strings.Replace(string(text), "output:", `  visits:
    fields:
      kind: {do: keep, because: x}
  Patient:
    fields:
      gender: {do: keep, because: x}
output:`, 1)
	env := layoutEnv(t)
	env.Unbuilt = false
	for content, want := range map[string]string{
		plainLayout: "output.layout: the layout supplemental does not say how visits becomes a file",
		plainLayout + "  visits:\n    columns:\n      k: {from: kind}\n      r: {row_key: yes}\n": "output.layout: the layout supplemental does not say how Patient becomes a file",
		"": "supplemental.yaml: the policy's folder",
	} {
		p, err := parse(layoutPolicy, []byte(both), env, func(name string) ([]byte, error) {
			if name == "layouts/supplemental.yaml" {
				if content == "" {
					return nil, os.ErrPermission
				}
				return []byte(content), nil
			}
			return os.ReadFile(filepath.Join("testdata/layout", name))
		})
		if err == nil {
			_, err = Check(p, env)
		}
		if content == "" {
			want = "permission denied"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The engine alone knows neither tables nor, of other datasets, schemas; it
// refuses no layout for it.
func TestLayoutsAlone(t *testing.T) {
	for _, schemas := range []map[string]*extract.Schema{testEnv(t).Schemas, {}} {
		env := Env{Schemas: schemas, Alone: true, Today: day("2026-12-01")}
		p, err := Load(layoutPolicy, env)
		if err == nil {
			_, err = Check(p, env)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// What the proof and the explanation say of a layout.
func TestLayoutInTheProof(t *testing.T) {
	p, err := laid(t, plainLayout+"      z: {constant: A}\n    trailer: [rows, sum of total_score]\n")
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Check(p, layoutEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(proof.String()), " ")
	for _, want := range []string{
		"supplemental: the released fields by the layout t; the same in every row: scores.z; a trailer of scores",
		"scores.tin: from a table of the clinic's, by another column of the row; scores.member_id: from the recipient's own roster",
	} {
		if !strings.Contains(text, want) && !strings.Contains(text, strings.Join([]string{want[strings.LastIndex(want, "; ")+2:], want[:strings.Index(want, "; ")]}, "; ")) {
			t.Errorf("the proof does not say %q:\n%s", want, proof)
		}
	}
}

// Only what tells more than before is a widening.
func TestLayoutsCompared(t *testing.T) {
	year := strings.Replace(plainLayout, "f: {from: service_date}", "f: {from: service_date, date: YYYY}", 1)
	coarse := strings.Replace(plainLayout, "c: {from: sex}", "c: {from: sex, map: {female: F}, else: X}", 1)
	finer := strings.Replace(coarse, "{female: F}", "{female: F, male: M}", 1)
	other := strings.NewReplacer("a: {", "other: {", "bar", "tab", "f: {from: service_date}", "f: {from: service_date, date: M/D/YYYY}").Replace(plainLayout)
	twice := strings.Replace(year, "h: {", "g2: {from: service_date}\n      h: {", 1)
	for _, c := range []struct{ name, old, new, widens string }{
		{"another layout of the same", plainLayout, other, ""},
		{"a year, then a day", year, plainLayout, "form service_date"},
		{"a day, then a year", plainLayout, year, ""},
		{"a column more that tells the day", year, twice, "form service_date"},
		{"a finer map", coarse, finer, "form sex"},
		{"a coarser map", finer, coarse, ""},
		{"no map any more", finer, plainLayout, "form sex"},
	} {
		old, err := laid(t, c.old)
		if err != nil {
			t.Fatal(err)
		}
		is, err := laid(t, c.new)
		if err != nil {
			t.Fatal(err)
		}
		found := Compare(old, is, layoutEnv(t), layoutEnv(t))
		if got := brief(found.Widens); got != c.widens {
			t.Errorf("%s: widens %q, want %q", c.name, got, c.widens)
		}
		if strings.Join(found.Also, "; ") != "columns of the layout" {
			t.Errorf("%s: also changed: %v", c.name, found.Also)
		}
	}
	// Looked up by another column is another value; a layout instead of csv is none.
	old, err := laid(t, plainLayout)
	if err != nil {
		t.Fatal(err)
	}
	by, err := laid(t, plainLayout, "by: provider_npi", "by: encounter_id")
	if err != nil {
		t.Fatal(err)
	}
	if got := brief(Compare(old, by, layoutEnv(t), layoutEnv(t)).Widens); got != "field tin" {
		t.Errorf("by another column: %s", got)
	}
	plain, err := laid(t, "", "layout: supplemental", "layout: csv")
	if err != nil {
		t.Fatal(err)
	}
	if c := Compare(plain, old, layoutEnv(t), layoutEnv(t)); len(c.Widens)+len(c.Narrows) != 0 {
		t.Errorf("a layout of the same: %v", c)
	}
}

// Cells are read again by encoding/csv, as by any reader of RFC 4180.
func TestCellsAsAnotherReaderSeesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &Layout{Delimiter: rapid.SampledFrom([]byte(",|\t;")).Draw(t, "delimiter"), Quotes: rapid.SampledFrom([]string{WhereNeeded, Always, Never}).Draw(t, "quotes"), LineEnd: "\r\n"}
		texts := rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune("ab,|;\"é \n\t"))), 1, 4).Draw(t, "cells")
		cells := make([]Column, len(texts))
		cells[0].alone = len(cells) == 1
		line, err := l.Line(nil, cells, texts)
		all := strings.Join(texts, "")
		cannot := strings.ContainsAny(all, "\n\t") || l.Quotes == Never && (strings.ContainsAny(all, string(rune(l.Delimiter))+`"`) || all == "" && len(texts) == 1)
		if (err != nil) != cannot {
			t.Fatalf("%q: %v", texts, err)
		}
		if err != nil {
			return
		}
		reader := csv.NewReader(bytes.NewReader(line))
		reader.Comma = rune(l.Delimiter)
		if got, err := reader.Read(); err != nil || !slices.Equal(got, texts) {
			t.Fatalf("%q reads as %q: %v", line, got, err)
		}
	})
}

func TestFixedWidths(t *testing.T) {
	l := &Layout{ASCII: true, LineEnd: "\n", Name: "x"}
	for _, c := range []struct {
		value string
		c     Column
		want  string
	}{
		{"ab", Column{Width: 4}, "ab  "},
		{"ab", Column{Width: 4, Right: true}, "  ab"},
		{"7", Column{Width: 3, Right: true, Zeros: true}, "007"},
		{"", Column{Width: 3, Right: true, Zeros: true}, "   "},
		{"abcd", Column{Width: 4}, "abcd"},
		{"abcde", Column{Width: 4}, "is longer than the width of 4"},
		{"-7", Column{Width: 4, Right: true, Zeros: true}, "is not of digits only, so zeros cannot stand before it"},
		{"é", Column{Width: 4}, "is not in ASCII"},
		{"a\rb", Column{Width: 4}, "holds a control character or a line end"},
		{"a\x7fb", Column{Width: 4}, "holds a control character or a line end"},
	} {
		got, why := l.Append(nil, []byte(c.value), &c.c)
		if why != "" {
			got = []byte(why)
		}
		if string(got) != c.want {
			t.Errorf("%q: %q, want %q", c.value, got, c.want)
		}
	}
	file := &LaidOut{Header: []Column{{Text: "H", Width: 3}, {Text: "I", Width: 1}}}
	if head, err := l.Head(file); err != nil || string(head) != "H  I\n" {
		t.Errorf("head %q, %v", head, err)
	}
	marked := &Layout{Delimiter: ',', Quotes: Always, LineEnd: "\r\n", BOM: true}
	if head, err := marked.Head(file); err != nil || string(head) != "\ufeff\"H\",\"I\"\r\n" {
		t.Errorf("head %q, %v", head, err)
	}
	if head, err := marked.Head(new(LaidOut)); err != nil || string(head) != "\ufeff" {
		t.Errorf("head %q, %v", head, err)
	}
	if marked.File("none") != nil {
		t.Error("a file of no dataset")
	}
}

// Whatever stands in a layout, loading it ends, and what is right can be written.
func FuzzLayout(f *testing.F) {
	for _, seed := range []string{plainLayout, fixedLayout, strings.Replace(plainLayout, "encoding: ascii", "encoding: utf-8\nbom: yes", 1), "postern: layout/v1\n", "files: {scores: {columns: {a: {from: x, map: {}}}, header: [a], trailer: [rows]}}", "a: ["} {
		f.Add(seed)
	}
	text, err := os.ReadFile(layoutPolicy)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, layout string) {
		p, err := parse(layoutPolicy, text, Env{}, func(name string) ([]byte, error) {
			if strings.HasPrefix(name, "layouts/") {
				return []byte(layout), nil
			}
			return []byte("text"), nil
		})
		if err != nil {
			return
		}
		for i := range p.Layout.Files {
			if _, err := p.Layout.Head(&p.Layout.Files[i]); err != nil {
				t.Error(err)
			}
		}
	})
}
