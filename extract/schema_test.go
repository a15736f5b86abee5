package extract

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.json")
	text := "\ufeff" + `{"$schema":"x","name":"scores","missingValues":["","NA"],"primaryKey":["row"],"dialect":{"delimiter":"|","quoteChar":null,"header":false},
		"fields":[{"name":"row","class":"record-key","constraints":{"unique":true,"required":true}},{"name":"p","class":"subject-key","role":"subject"},
		{"name":"at","type":"datetime","class":"date","role":"date"},{"name":"npi","class":"provider-key","role":"provider"},{"name":"on","type":"boolean","class":"boolean","trueValues":["Y"],"falseValues":["N"]}]}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := LoadSchema(path)
	if err != nil {
		t.Fatal(err)
	}
	if s.Delimiter != '|' || s.Quote != 0 || s.Header || strings.Join(s.Names(), ",") != "row,p,at,npi,on" || s.Column("npi") != 3 || s.Column("x") != -1 || s.Fields[0].Role != RoleRecord || s.Fields[1].Class != SubjectKey {
		t.Errorf("%+v", s)
	}
	f := file(t, "x.psv", "r1|p1|2026-01-02T03:04:05Z|99|Y\nr2|NA|||\n|p1|||\nr\"3|p1|2026-01-02|1|N\nr4|p1|||y\n", FileRule{Format: Delimited, Dataset: "scores", Schema: s})
	got, err := records(t, f, wide)
	expect(t, got, err,
		"1/0 scores/r1 of p1 on 2026-01-02 by 99 [r1][p1][2026-01-02T03:04:05Z][99][Y]",
		"2/0 scores/r2 of  on no date REJECT no-subject [r2][][][][]",
		"3/0 scores/ of  on no date REJECT schema [][p1][][][]",
		`4/0 scores/r"3 of p1 on no date REJECT schema [r"3][p1][2026-01-02][1][N]`,
		"5/0 scores/r4 of p1 on no date REJECT schema [r4][p1][][][y]")
}

func TestSchemaIsStrict(t *testing.T) {
	field := func(more string) string { return `{"fields":[{"name":"a","class":"code"` + more + `}]}` }
	for _, c := range []struct{ text, want string }{
		{`{`, "s.json:1: not JSON"},
		{`{"fields":[],"fields":[]}`, "s.json:1: duplicate member name"},
		{`[]`, "s.json:1:1: must be a mapping"},
		{`{}`, "fields: the key is missing"},
		{`{"fields":[]}`, "fields: must name the columns"},
		{`{"fields":{}}`, "fields: must be a list"},
		{"{\n\"feilds\":[]}", `s.json:2:1: feilds: unknown key "feilds" (did you mean "fields"?)`},
		{field(`,"clas":"x"`), `s.json:1:39: fields[0].clas: unknown key "clas" (did you mean "class"?)`},
		{field(`,"zzzzzz":1`), `fields[0].zzzzzz: unknown key "zzzzzz" (known are title, description`},
		{`{"fields":[{"name":"a"}]}`, "fields[0].class: the key is missing"},
		{`{"fields":[{"name":"a","class":"fone"}]}`, `fields[0].class: "fone" is no class (did you mean "phone"?)`},
		{`{"fields":[{"name":"a","class":"unclassed"}]}`, `fields[0].class: "unclassed" is no class (known are ["name" "geography"`},
		{`{"fields":[{"name":"a","class":"code"},{"name":"a","class":"code"}]}`, `two columns have the name "a"`},
		{`{"fields":[{"name":"a","class":"code","role":"status"},{"name":"b","class":"code","role":"status"}]}`, "only one column may have the role status"},
		{field(`,"type":"int"`), `fields[0].type: "int" is no value of type (known are string, integer`},
		{field(`,"role":"date"`), "the column of role date must have the type date"},
		{field(`,"format":"email"`), "format is for columns of type date or datetime"},
		{field(`,"type":"date","format":"%m/%d"`), "format must hold %Y, %m and %d once each"},
		{field(`,"type":"date","format":"%d %B %Y %m"`), "once each (it knows %H, %M and %S besides)"},
		{field(`,"type":"date","format":"%Y%m%d%"`), "format must hold"},
		{field(`,"constraints":{"unique":true}`), "is checked only for the column of role record"},
		{field(`,"constraints":{"minimum":1}`), "minimum and maximum are for columns of type integer or number"},
		{field(`,"constraints":{"pattern":"("}`), "is no pattern"},
		{field(`,"constraints":{"maxLength":1.5}`), "fields[0].constraints.maxLength: \"1.5\" is no whole number"},
		{field(`,"constraints":{"required":1}`), "fields[0].constraints.required: \"1\" is neither yes nor no"},
		{field(`,"constraints":{"minLength":-1}`), "a length is not negative"},
		{field(`,"format":"%Y","type":"integer","constraints":{"pattern":"("}`), "format is for columns of type date or datetime"},
		{field(`,"role":"date","constraints":{"minimum":0}`), "integer or number\ns.json:1:12: fields[0]: the column of role date"},
		{"{\"fields\":\n[{\"name\":\"a\",\"class\":code}]}", "s.json:2: not JSON"},
		{`{"fields":[{"name":"a","class":"code"}],"primaryKey":"b"}`, "primaryKey: names no column"},
		{`{"fields":[{"name":"a","class":"code"}],"primaryKey":["a","b"]}`, "primaryKey: must name one column"},
		{`{"fields":[{"name":"a","class":"code","role":"code"}],"primaryKey":"a"}`, "one column has one role"},
		{`{"fields":[{"name":"a","class":"code"}],"dialect":{"delimiter":"x"}}`, "dialect.delimiter: \"x\" is no delimiter (known are"},
		{`{"fields":[{"name":"a","class":"code"}],"dialect":{"doubleQuote":false}}`, "dialect.doubleQuote: must be true"},
	} {
		if s, err := parseSchema("s.json", []byte(c.text)); err == nil || s != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

func TestCells(t *testing.T) {
	for _, c := range []struct{ field, good, bad string }{
		{`"type":"integer"`, "0 -12 +7 007", "1.0 x - 1e3"},
		{`"type":"number"`, "0 -1.5 .5 5. 1e3 2.5E-7", "1,5 . e 1e NaN INF 1.2.3 --1"},
		{`"type":"boolean"`, "true FALSE 1 0", "yes tRue"},
		{`"type":"date"`, "2026-02-28", "2026-02-29 2026-02 26-02-01 2026-02-01T00:00:00Z 2026/02/01"},
		{`"type":"date","format":"%Y%m%d"`, "20260228", "2026228 20260230 2026-02-28"},
		{`"type":"date","format":"%d.%m.%Y"`, "1.2.2026 01.02.2026", "1.13.2026 1.2.26 1.2.20261"},
		{`"type":"datetime"`, "2026-02-01T10:00:00Z 2026-02-01T10:00:00.5-05:00 2026-02-01T10:00", "2026-02-01 2026-02-01T25:00:00Z"},
		{`"type":"datetime","format":"%Y-%m-%dT%H:%M:%S"`, "2026-02-01T23:59:59", "2026-02-01T24:00:00 2026-02-01T10:00"},
		{`"type":"year"`, "2026", "26 2026-01"},
		{`"type":"yearmonth"`, "2026-01", "2026 2026-13"},
		{`"constraints":{"pattern":"[a-z]+"}`, "abc", "abc1 ABC"},
		{`"constraints":{"enum":["a",7]}`, "a 7", "b 77"},
		{`"constraints":{"minLength":2,"maxLength":3}`, "ab äöü", "a abcd"},
		{`"type":"integer","constraints":{"minimum":0,"maximum":27}`, "0 27", "-1 28"},
	} {
		s, err := parseSchema("s.json", []byte(`{"fields":[{"name":"a","class":"code",`+c.field+`}]}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range append(strings.Fields(c.good), "") {
			if _, problem := s.Fields[0].check([]byte(v)); problem != "" {
				t.Errorf("%s: %q %s", c.field, v, problem)
			}
		}
		for _, v := range strings.Fields(c.bad) {
			if _, problem := s.Fields[0].check([]byte(v)); problem == "" || strings.Contains(problem, v) && len(v) > 4 {
				t.Errorf("%s: %q is taken (%s)", c.field, v, problem)
			}
		}
	}
}

// Where encoding/csv, strict, reads a row, so do we, with the same cells; and
// the other way round but for a bare CR.
func FuzzRow(f *testing.F) {
	for _, s := range []string{`a,b,c`, `"a,b","c"`, `"a""b"`, `""`, `"`, `a"b`, `"a"b`, `,,`, "\"a\nb\",c", `"""",`} {
		f.Add(s)
	}
	cells := rowReader{schema: &Schema{Delimiter: ',', Quote: '"'}}
	f.Fuzz(func(t *testing.T, row string) {
		if row == "" || strings.Contains(row, "\r") {
			return
		}
		ends := cells.schema.rowEnd()
		if n, _ := ends.firstEnd([]byte(row + "\n")); n != len(row)+1 {
			return // more than one row
		}
		want, oracle := csv.NewReader(strings.NewReader(row + "\n")).ReadAll()
		if len(row) > 0 && row[0] == '\n' {
			return
		}
		got, problem := cells.split([]byte(row), nil)
		if (oracle == nil) != (problem == "") {
			t.Fatalf("%q: %q, encoding/csv says %v", row, problem, oracle)
		}
		if problem != "" {
			return
		}
		for i, cell := range got {
			if len(want) != 1 || len(want[0]) != len(got) || string(cell) != want[0][i] {
				t.Fatalf("%q: cell %d is %q, encoding/csv has %q", row, i, []byte(cell), want)
			}
		}
	})
}

// TestRowsAreCutAtEveryDelimiter holds the eight-byte cutter to the standard
// library's way of cutting.
func TestRowsAreCutAtEveryDelimiter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row := rapid.SliceOf(rapid.SampledFrom([]byte(",,+-.|\t\x00\x80\xacab"))).Draw(t, "row")
		for _, delimiter := range []byte(",|\t") {
			want := bytes.Split(row, []byte{delimiter})
			got := cut(row, delimiter, nil)
			if len(got) != len(want) {
				t.Fatalf("%d cells of %q, want %d", len(got), row, len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("cell %d of %q is %q, want %q", i, row, []byte(got[i]), want[i])
				}
			}
		}
	})
}
