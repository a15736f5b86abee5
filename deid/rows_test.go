package deid

import (
	"encoding/csv"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

func scoresSchema() *extract.Schema {
	var s extract.Schema
	for _, line := range strings.Fields("record:record-key subject:subject-key service_date:date birth_date:birth-date " +
		"instrument:code total:number sex:sex zip:postcode note:free-text age_years:age family:name") {
		name, class, _ := strings.Cut(line, ":")
		c, _ := extract.ParseClass(class)
		s.Fields = append(s.Fields, extract.Field{Name: name, Class: c, Type: typeOf[c]})
	}
	s.Fields[2].Role = extract.RoleDate
	return &s
}

var typeOf = map[extract.Class]extract.FieldType{extract.Date: extract.TypeDate, extract.BirthDate: extract.TypeDate}

func rowOf(cells ...string) *extract.Record {
	rec := &extract.Record{Dataset: "scores"}
	for _, c := range cells {
		rec.Row = append(rec.Row, phi.Bytes(c))
	}
	rec.Facts.Subjects = []phi.Bytes{rec.Row[1]}
	rec.Facts.Date, _ = extract.ParseSpan(rec.Row[2])
	return rec
}

func rowPolicy(standard policies.Standard, fields ...policies.Field) *policies.Policy {
	return &policies.Policy{
		File: "test.yaml", Standard: standard, Output: policies.Output{Layout: "csv"},
		People:  policies.People{Roster: "acme-roster"},
		Release: []policies.Release{{Dataset: "scores", Fields: fields}},
	}
}

func TestRows(t *testing.T) {
	p := rowPolicy(policies.Identified,
		policies.Field{Name: "member_id", From: "acme-roster.member_id", Do: policies.Keep},
		policies.Field{Name: "birth_date", Do: policies.Keep},
		policies.Field{Name: "note", Do: policies.Keep},
		policies.Field{Name: "total", Do: policies.Keep})
	p.Output.RowKey = true
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(plan.Header()); got != "member_id,birth_date,note,total,row_key\n" {
		t.Errorf("header %q", got)
	}
	if got := plan.Lookups(); len(got) != 1 || got[0] != (LookUp{"acme-roster", "member_id", ByPerson}) {
		t.Errorf("lookups %+v", got)
	}
	s := UnknownSubject()
	s.Lookup = []phi.Bytes{phi.Bytes("M1")}
	engine, out := plan.Engine(), Output{}
	for _, note := range []string{"", "=1+1", `said "no", twice`, "two\nlines", "\rx", "a\fb"} {
		counts, holes := engine.Counts(), len(out.Holes)
		err := engine.Apply(rowOf("r1", "p1", "2026-01-02", "1980-02-03", "44261-6", "17", "F", "02139", note, "46", "May"), &s, &out)
		if strings.ContainsAny(note, "\r\n") {
			if err == nil || err.Error() != "column note of the layout: the value holds a line end" || len(out.Holes) != holes || !reflect.DeepEqual(engine.Counts(), counts) {
				t.Errorf("%q: %v, %d holes of %d", note, err, len(out.Holes), holes)
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	const key = "????????????????????\n"
	want := "M1,1980-02-03,,17," + key + "M1,1980-02-03,=1+1,17," + key +
		`M1,1980-02-03,"said ""no"", twice",17,` + key + "M1,1980-02-03,\"a\fb\",17," + key
	if got := string(out.Bytes); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, h := range out.Holes {
		if h.Kind != RowKey || string(out.Bytes[h.Start:h.End]) != unfilled {
			t.Errorf("hole %+v", h)
		}
	}
	for _, c := range engine.Counts() {
		if c.Path == "scores.note" && c.In != 3 || c.Path == "scores.family" && c.In-c.Out != 4 {
			t.Errorf("%+v", c)
		}
	}
}

func TestRowsUnderSafeHarbor(t *testing.T) {
	p := rowPolicy(policies.SafeHarbor,
		policies.Field{Name: "person", Do: policies.CodePerson},
		policies.Field{Name: "index_year", From: "index", Do: policies.Year},
		policies.Field{Name: "week", From: "service_date", Do: policies.RelativeTime, Unit: "weeks"},
		policies.Field{Name: "day", From: "service_date", Do: policies.RelativeTime, Unit: "days"},
		policies.Field{Name: "age", At: "index", Do: policies.AgeBand, Width: 5, Top: 90},
		policies.Field{Name: "age_then", From: "age_years", Do: policies.AgeBand, Width: 10},
		policies.Field{Name: "zip", Do: policies.ZIP3},
		policies.Field{Name: "birth_date", Do: policies.Year})
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	engine := plan.Engine()
	known := Subject{Birth: span("1980-02-03"), Death: extract.NoSpan, Index: day("2025-03-10")}
	for _, c := range []struct {
		subject   *Subject
		row, want string
	}{
		{&known, "r1|p1|2025-03-24|1980-02-03|x|1|F|02139|n|46|May", "2025,2,14,45-49,40-49,021,1980"},
		{&known, "r1|p1|2025-03-09|1920-01-01|x|1|F|bad|n|89|May", "2025,-1,-1,45-49,80-89,000,1936"},
		{&known, "r1|p1|2025-03|3/4/1980|x|1|F||n|97|May", "2025,,,45-49,90+,,"},
		{nil, "r1|p1|2025-03-24||x|1|F||n|old|May", ",,,,,,"},
	} {
		var out Output
		if err := engine.Apply(rowOf(strings.Split(c.row, "|")...), c.subject, &out); err != nil {
			t.Fatal(err)
		}
		if got := string(out.Bytes); got != unfilled+","+c.want+"\n" {
			t.Errorf("%s: got %s", c.row, got)
		}
		if len(out.Holes) != 1 || out.Holes[0].Kind != PersonCode {
			t.Errorf("holes %+v", out.Holes)
		}
	}
	rec := rowOf(strings.Split("r1|p1|2025-03-24||x|1|F||n||May", "|")...)
	rec.Facts.Subjects = append(rec.Facts.Subjects, phi.Bytes("p2"))
	var out Output
	_ = engine.Apply(rec, nil, &out)
	if got := string(out.Bytes); got != ",,,,,,,\n" || len(out.Holes) != 0 {
		t.Errorf("a row about two people got a code: %s", got)
	}
}

func TestLoneEmptyCellIsARow(t *testing.T) {
	plan, err := Compile(rowPolicy(policies.Identified, policies.Field{Name: "note", Do: policies.Keep}), "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	engine, out := plan.Engine(), Output{}
	for range 2 {
		_ = engine.Apply(rowOf("r1", "p1", "", "", "", "", "", "", "", "", ""), nil, &out)
	}
	if got := string(out.Bytes); got != "\"\"\n\"\"\n" {
		t.Errorf("got %q", got)
	}
}

func TestCompileRefuses(t *testing.T) {
	keepAll := func(name string) policies.Field { return policies.Field{Name: name, Do: policies.Keep} }
	for _, c := range []struct {
		what   string
		policy *policies.Policy
		schema *extract.Schema
		want   string
	}{
		{"a name under safe-harbor", rowPolicy(policies.SafeHarbor, keepAll("family")), scoresSchema(), "class name may not leave"},
		{"a date under safe-harbor", rowPolicy(policies.SafeHarbor, keepAll("service_date")), scoresSchema(), "class date may not leave"},
		{"a roster look-up under safe-harbor", rowPolicy(policies.SafeHarbor, keepAll("acme-roster.member_id")), scoresSchema(), "class member-number may not leave"},
		{"the index day under safe-harbor", rowPolicy(policies.SafeHarbor, keepAll("index")), scoresSchema(), "class date may not leave"},
		{"a column that is not there", rowPolicy(policies.Identified, keepAll("nowhere")), scoresSchema(), "nowhere is no column"},
		{"a top over 90", rowPolicy(policies.SafeHarbor, policies.Field{Name: "age", Do: policies.AgeBand, Width: 5, Top: 95}), scoresSchema(), "at most 90+"},
		{"a standard of a later version", rowPolicy(policies.Aggregate, keepAll("total")), scoresSchema(), "not part of this version"},
		{"narrative under safe-harbor", fhirPolicy(policies.SafeHarbor, "Observation", "keep code text"), nil, "class free-text may not leave"},
		{"a class that the policy made up", &policies.Policy{Standard: policies.SafeHarbor, Output: policies.Output{Layout: "ndjson"},
			Release: []policies.Release{{Dataset: "Patient", Fields: []policies.Field{{Name: "name", Do: policies.Keep, Leaves: []policies.Leaf{{Path: []string{"name", "family"}, Class: extract.Code}}}}}}}, nil, "FHIR R4 has it as name"},
		{"an element that FHIR does not have", &policies.Policy{Standard: policies.Identified, Output: policies.Output{Layout: "ndjson"},
			Release: []policies.Release{{Dataset: "Patient", Fields: []policies.Field{{Name: "nick", Do: policies.Keep, Leaves: []policies.Leaf{{Path: []string{"nick"}, Class: extract.Code}}}}}}}, nil, "no such element"},
		{"an unknown extension", &policies.Policy{Standard: policies.Identified, Output: policies.Output{Layout: "ndjson"},
			Release: []policies.Release{{Dataset: "Patient", Fields: []policies.Field{{Name: "x", Do: policies.Keep, Leaves: []policies.Leaf{{Path: []string{"extension:http://x", "valueCode"}, Class: extract.Code}}}}}}}, nil, "no extension whose meaning is known"},
	} {
		_, err := Compile(c.policy, c.policy.Release[0].Dataset, Options{AsOf: asOf, Schema: c.schema})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

func span(s string) extract.Span { v, _ := extract.ParseSpan([]byte(s)); return v }

// Whatever the cells hold, another reader of CSV finds the released ones and
// no others.
func TestRowsByAnotherReader(t *testing.T) {
	schema := scoresSchema()
	rapid.Check(t, func(t *rapid.T) {
		cell := rapid.StringOf(rapid.SampledFrom([]rune("ab,\"\r\n =é\t")))
		var cells, want []string
		var fields []policies.Field
		for _, f := range schema.Fields {
			cells = append(cells, cell.Draw(t, f.Name))
		}
		policy := rowPolicy(policies.Identified)
		for _, at := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(cells)-1), 1, -1, rapid.ID[int]).Draw(t, "released") {
			if formOf(policy, schema.Fields[at].Class, nil) != nil {
				continue
			}
			fields = append(fields, policies.Field{Name: schema.Fields[at].Name, Do: policies.Keep})
			want = append(want, cells[at])
		}
		if len(fields) == 0 {
			return
		}
		plan, err := Compile(rowPolicy(policies.Identified, fields...), "scores", Options{AsOf: asOf, Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		out := Output{Bytes: plan.Header()}
		err = plan.Engine().Apply(rowOf(cells...), nil, &out)
		if broken := strings.ContainsAny(strings.Join(want, ""), "\r\n"); broken || err != nil {
			if unfit := new(LayoutError); !broken || !errors.As(err, &unfit) || len(out.Bytes) > len(plan.Header()) {
				t.Fatalf("%q: %v", want, err)
			}
			return
		}
		got, err := csv.NewReader(strings.NewReader(string(out.Bytes))).ReadAll()
		if err != nil || len(got) != 2 || strings.Join(got[1], "|") != strings.Join(want, "|") {
			t.Fatalf("%v: got %q, want %q", err, got, want)
		}
	})
}
