package deid

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// laidPolicy releases what the columns take, kept, and lays it out.
func laidPolicy(l *policies.Layout, columns ...policies.Column) *policies.Policy {
	p := rowPolicy(policies.Identified)
	p.Inputs = map[string]policies.Guard{"practices": {}}
	for _, c := range columns {
		f := policies.Field{Name: c.From, From: c.From, Do: policies.Keep}
		switch {
		case c.From == "" || slices.ContainsFunc(p.Release[0].Fields, func(f policies.Field) bool { return f.Name == c.From }):
			continue
		case c.From == "tin":
			f.From, f.By, f.Class = "practices.tin", "instrument", extract.ProviderKey
		case c.From == "person":
			f.From, f.Do = "", policies.CodePerson
		}
		p.Release[0].Fields = append(p.Release[0].Fields, f)
	}
	l.Files = []policies.LaidOut{{Dataset: "scores", Columns: columns}}
	p.Output.Layout, p.Layout = "x", l
	return p
}

const laidRowText = "r1|p1|2026-01-02|1980-02-03|44261-6|17|female|02139|a note|46|Núñez"

func other(text string) *string { return &text }

func TestLaidRows(t *testing.T) {
	for _, c := range []struct {
		name    string
		layout  policies.Layout
		columns []policies.Column
		want    string
	}{
		{"forms of dates", policies.Layout{Delimiter: '|', Quotes: policies.Never, LineEnd: "\r\n"}, []policies.Column{
			{From: "birth_date", Date: "YYYY-MM-DD"}, {From: "birth_date", Date: "YYYYMMDD"}, {From: "birth_date", Date: "MM/DD/YYYY"}, {From: "birth_date", Date: "M/D/YYYY"}, {From: "birth_date", Date: "YYYY"}, {From: "birth_date"},
		}, "1980-02-03|19800203|02/03/1980|2/3/1980|1980|1980-02-03\r\n"},
		{"codes, constants and nothing", policies.Layout{Delimiter: ',', Quotes: policies.WhereNeeded, LineEnd: "\n"}, []policies.Column{
			{From: "sex", Codes: map[string]string{"female": "F"}}, {From: "instrument", Codes: map[string]string{}, Others: other("a,b")}, {Text: `a "b"`}, {}, {From: "tin"}, {From: "family"},
		}, "F,\"a,b\",\"a \"\"b\"\"\",,061234567,Núñez\n"},
		{"codes of people and rows", policies.Layout{Delimiter: ',', Quotes: policies.Always, LineEnd: "\n"}, []policies.Column{{From: "person"}, {RowKey: true}, {From: "note"}},
			`"` + unfilled + `","` + unfilled + "\",\"a note\"\n"},
		{"widths", policies.Layout{LineEnd: "\n"}, []policies.Column{
			{From: "total", Width: 4, Right: true, Zeros: true}, {From: "note", Width: 8}, {RowKey: true, Width: 22, Right: true}, {From: "person", Width: 21}, {From: "zip", Width: 5},
		}, "0017a note    " + unfilled + unfilled + " 02139\n"},
	} {
		p := laidPolicy(&c.layout, c.columns...)
		plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		s := UnknownSubject()
		for range plan.Lookups() {
			s.Lookup = append(s.Lookup, phi.Bytes("061234567"))
		}
		engine, out := plan.Engine(), Output{}
		rec := rowOf(strings.Split(laidRowText, "|")...)
		for range 2 {
			if err := engine.Apply(rec, &s, &out); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if got := string(out.Bytes); got != c.want+c.want {
			t.Errorf("%s: got %q, want %q twice", c.name, got, c.want)
		}
		if holes := strings.Count(c.want, unfilled) * 2; len(out.Holes) != holes {
			t.Errorf("%s: %d holes, want %d", c.name, len(out.Holes), holes)
		}
		for _, h := range out.Holes {
			if string(out.Bytes[h.Start:h.End]) != unfilled {
				t.Errorf("%s: hole %+v", c.name, h)
			}
		}
		for _, n := range engine.Counts() {
			if n.Path != "scores.note" && n.Out > 2 {
				t.Errorf("%s: %s is counted %d times for two rows", c.name, n.Path, n.Out)
			}
		}
		if allocs := testing.AllocsPerRun(100, func() {
			out.Reset()
			if err := engine.Apply(rec, &s, &out); err != nil {
				t.Error(err)
			}
		}); allocs > 0 {
			t.Errorf("%s: %v allocations a row", c.name, allocs)
		}
	}
}

// A value that has not the form of its class leaves nothing as it is, and still
// becomes what the map of another column has for it. A day that the extract writes
// in a form of its own leaves as YYYY-MM-DD where the layout has no form for it.
func TestKeptValuesOfALayout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(file, []byte(`{"fields": [{"name": "record", "type": "string", "class": "record-key", "role": "record"}, {"name": "subject", "type": "string", "class": "subject-key", "role": "subject"},
		{"name": "day", "type": "date", "format": "%m/%d/%Y", "class": "date"}, {"name": "instrument", "type": "string", "class": "code"}, {"name": "total", "type": "string", "class": "number"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := extract.LoadSchema(file)
	if err != nil {
		t.Fatal(err)
	}
	mapped := policies.Column{From: "instrument", Codes: map[string]string{"not done": "0"}, Others: other("1")}
	l := policies.Layout{Delimiter: '|', Quotes: policies.Never, LineEnd: "\n"}
	plan, err := Compile(laidPolicy(&l, policies.Column{From: "day"}, policies.Column{From: "day", Date: "YYYYMMDD"}, policies.Column{From: "instrument"}, mapped, policies.Column{From: "total"}), "scores", Options{AsOf: asOf, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	var out Output
	for _, row := range []string{"r1|p1|01/02/2026|44261-6|07", "r2|p1||not done|1,5"} {
		if err := plan.Engine().Apply(rowOf(strings.Split(row, "|")...), nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	if want := "2026-01-02|20260102|44261-6|1|7\n|||0|\n"; string(out.Bytes) != want {
		t.Errorf("got %q, want %q", out.Bytes, want)
	}
	words := leafColumn("code coding code", "")
	words.Codes, words.Others = mapped.Codes, mapped.Others
	both := laidObservation(policies.Layout{Delimiter: '|', Quotes: policies.Never}, nil, leafColumn("code coding code", ""), words)
	engine, out := compile(t, both, "Observation").Engine(), Output{}
	for _, code := range []string{"44261-6", "not done"} {
		if err := engine.Apply(recordOf([]byte(`{"resourceType":"Observation","code":{"coding":[{"code":"`+code+`"}]}}`)), nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	if want := "44261-6|1\n|0\n"; string(out.Bytes) != want {
		t.Errorf("of FHIR: got %q, want %q", out.Bytes, want)
	}
}

// What does not fit rejects its record: nothing of it is written or counted, the
// next one is as if it had not been there, and the error tells no value.
func TestWhatALayoutRejects(t *testing.T) {
	bars := policies.Layout{Delimiter: '|', Quotes: policies.Never, LineEnd: "\n", ASCII: true}
	wide := policies.Layout{LineEnd: "\n", ASCII: true}
	for _, c := range []struct {
		layout policies.Layout
		column policies.Column
		cell   int
		wrong  string
		why    string
	}{
		{bars, policies.Column{From: "sex", Codes: map[string]string{"female": "F"}}, 6, "unknown-word", "is none of those that the layout maps"},
		{bars, policies.Column{From: "sex", Codes: map[string]string{"female": "F"}}, 6, "", "is none of those that the layout maps"},
		{bars, policies.Column{From: "birth_date", Date: "YYYYMMDD"}, 3, "1980-02", "is no whole day, or no whole year"},
		{bars, policies.Column{From: "birth_date", Date: "YYYY"}, 3, "unknown-word", "is no whole day, or no whole year"},
		{bars, policies.Column{From: "note"}, 8, `unknown"word`, "needs quotes, which the layout forbids"},
		{bars, policies.Column{From: "note"}, 8, "unknown|word", "needs quotes, which the layout forbids"},
		{bars, policies.Column{From: "note"}, 8, "unknown-wörd", "is not in ASCII"},
		{bars, policies.Column{From: "note"}, 8, "unknown\nword", "holds a control character or a line end"},
		{wide, policies.Column{From: "note", Width: 6}, 8, "unknown-word", "is longer than the width of 6"},
		{wide, policies.Column{From: "total", Width: 9, Right: true, Zeros: true}, 5, "-3.5", "is not of digits only, so zeros cannot stand before it"},
	} {
		c.column.Name = "the_column"
		p := laidPolicy(&c.layout, policies.Column{From: "record", Width: 4}, policies.Column{RowKey: true, Width: 20}, c.column)
		plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
		if err != nil {
			t.Fatal(err)
		}
		right := strings.Split(laidRowText, "|")
		wrong := slices.Clone(right)
		wrong[c.cell] = c.wrong
		var with, without Output
		one, two := plan.Engine(), plan.Engine()
		for _, row := range [][]string{right, wrong, right} {
			err := one.Apply(rowOf(row...), nil, &with)
			var unfit *LayoutError
			switch bad := &row[0] == &wrong[0]; {
			case !bad:
				if err := two.Apply(rowOf(row...), nil, &without); err != nil {
					t.Fatal(err)
				}
				if err != nil {
					t.Error(err)
				}
			case !errors.As(err, &unfit) || unfit.Column != "the_column" || unfit.Why != c.why:
				t.Errorf("%q: %v, want %s", c.wrong, err, c.why)
			case strings.Contains(err.Error(), "unknown"):
				t.Errorf("the error tells the value: %v", err)
			}
		}
		if string(with.Bytes) != string(without.Bytes) || !slices.Equal(with.Holes, without.Holes) || !slices.Equal(one.Counts(), two.Counts()) {
			t.Errorf("%q leaves a trace: %q, %v", c.wrong, with.Bytes, one.Counts())
		}
	}
}

// A policy that came around the check compiles to nothing.
func TestLayoutsThatDoNotCompile(t *testing.T) {
	l := policies.Layout{Delimiter: ',', Quotes: policies.Never, LineEnd: "\n"}
	for name, edit := range map[string]func(p *policies.Policy){
		"a field that is not released": func(p *policies.Policy) { p.Layout.Files[0].Columns[0].From = "family" },
		"no file":                      func(p *policies.Policy) { p.Layout.Files = nil },
		"a constant in need of quotes": func(p *policies.Policy) { p.Layout.Files[0].Columns[1].Text = "a,b" },
		"a header in need of quotes":   func(p *policies.Policy) { p.Layout.Files[0].Header = []policies.Column{{Text: "a,b"}} },
		"a year written as a day": func(p *policies.Policy) {
			p.Release[0].Fields[0].Do = policies.Year
			p.Layout.Files[0].Columns[0].Date = "YYYYMMDD"
		},
		"a look-up by no column": func(p *policies.Policy) { p.Release[0].Fields[1].By = "none" },
		"a look-up of no class":  func(p *policies.Policy) { p.Release[0].Fields[1].Class = extract.Unclassed },
	} {
		p := laidPolicy(&l, policies.Column{From: "birth_date"}, policies.Column{Text: "x"}, policies.Column{From: "tin"})
		if _, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()}); err != nil {
			t.Fatal(err)
		}
		edit(p)
		if _, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()}); err == nil {
			t.Errorf("%s: it compiles", name)
		}
	}
}

// BenchmarkLaidRows lays a member's row out in fixed widths.
func BenchmarkLaidRows(b *testing.B) {
	l := policies.Layout{LineEnd: "\r\n", ASCII: true}
	p := laidPolicy(&l, policies.Column{Text: "CLV001", Width: 6}, policies.Column{From: "birth_date", Date: "YYYYMMDD", Width: 8}, policies.Column{From: "instrument", Width: 10},
		policies.Column{From: "total", Width: 3, Right: true, Zeros: true}, policies.Column{From: "sex", Codes: map[string]string{"female": "1"}, Others: other("2"), Width: 1}, policies.Column{From: "zip", Width: 5})
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		b.Fatal(err)
	}
	row := rowOf(strings.Split(laidRowText, "|")...)
	engine, out := plan.Engine(), Output{}
	b.SetBytes(int64(len(laidRowText) + 1))
	b.ReportAllocs()
	for b.Loop() {
		if out.Reset(); engine.Apply(row, nil, &out) != nil {
			b.Fatal("rejected")
		}
	}
}
