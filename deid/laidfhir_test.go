package deid

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

const usCoreRace = "extension:http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"

// leafColumn takes the leaf at a path; when is PATH=VALUE.
func leafColumn(path, when string) policies.Column {
	at := func(path string) *policies.Leaf {
		steps := strings.Fields(path)
		return &policies.Leaf{Path: steps, Class: classAt("Observation", steps)}
	}
	c := policies.Column{Name: path, From: strings.ReplaceAll(path, " ", "."), Leaf: at(path)}
	if field, value, is := strings.Cut(when, "="); is {
		c.When = &policies.When{From: field, Leaf: at(field), Value: value}
	}
	return c
}

func laidObservation(l policies.Layout, per []string, columns ...policies.Column) *policies.Policy {
	var lines []string
	for _, c := range columns {
		leaves := []*policies.Leaf{c.Leaf}
		if c.When != nil {
			leaves = append(leaves, c.When.Leaf)
		}
		for _, leaf := range leaves {
			if leaf != nil {
				if line := "keep " + strings.Join(leaf.Path, " "); !slices.Contains(lines, line) {
					lines = append(lines, line)
				}
			}
		}
	}
	p := fhirPolicy(policies.Identified, "Observation", append(lines, "keep status")...)
	l.LineEnd = "\n"
	l.Files = []policies.LaidOut{{Dataset: "Observation", Per: per, Columns: columns}}
	p.Layout, p.Output.Layout = &l, "x"
	return p
}

const panel = `{"resourceType":"Observation","id":"o1","meta":{"security":[{"code":"PSY"}]},"extension":[{"url":"http://example.org/other","valueCode":"x"},{"url":"http://hl7.org/fhir/us/core/StructureDefinition/us-core-race","extension":[{"url":"detailed","valueCoding":{"code":"2108-9"}},{"url":"ombCategory","valueCoding":{"system":"urn:oid:2.16","code":"2106-3"}}]}],` +
	`"status":"final","code":{"coding":[{"system":"http://loinc.org","code":"44249-1"}],"text":"a \"b\"\\, c"},"subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"effectiveDateTime":"2026-01-02T10:00:00Z",` +
	`"component":[{"code":{"coding":[{"system":"urn:oid:1.2","code":"local"},{"system":"http://loinc.org","code":"A"}]},"valueQuantity":{"value":1.50}},{"code":{"coding":[{"code":"B"}]},"valueBoolean":true},{"code":{"coding":[{"code":"C"}]},"valueQuantity":{"value":2}}]}`

// Cells are read out of the de-identified line, by paths, and by the element in
// which another path has a value.
func TestLaidResources(t *testing.T) {
	bars := policies.Layout{Delimiter: '|', Quotes: policies.WhereNeeded}
	date := leafColumn("effectiveDateTime", "")
	date.Date = "YYYYMMDD"
	missed := leafColumn("component valueQuantity value", "component code coding code=D")
	missed.Others = other("none")
	for _, c := range []struct {
		name    string
		per     []string
		columns []policies.Column
		want    string
	}{
		{"one row", nil, []policies.Column{leafColumn("id", ""), date, leafColumn("code text", ""), leafColumn("component valueBoolean", ""), leafColumn(usCoreRace+" extension:ombCategory valueCoding code", ""), leafColumn("bodySite text", ""), {Text: "k"}},
			"o1|20260102|\"a \"\"b\"\"\\, c\"|true|2106-3||k\n"},
		{"one row by codes", nil, []policies.Column{leafColumn("component valueQuantity value", "component code coding code=A"), leafColumn("component valueQuantity value", "component code coding code=B"),
			leafColumn("component valueQuantity value", "component code coding code=C"), leafColumn("component code coding code", "component code coding system=urn:oid:1.2"), leafColumn("id", "code coding code=44249-1"), leafColumn("id", "code coding code=other"), missed},
			"1.50||2|local|o1||none\n"},
		{"a row for each", []string{"component"}, []policies.Column{leafColumn("id", ""), leafColumn("component valueQuantity value", ""), leafColumn("component code coding code", "component code coding system=http://loinc.org"),
			leafColumn("id", "component code coding code=B"), leafColumn("component valueBoolean", "code coding code=44249-1"), leafColumn("encounter reference", "")},
			"o1|1.50|A|||Encounter/e1\no1|||o1|true|Encounter/e1\no1|2||||Encounter/e1\n"},
	} {
		engine := compile(t, laidObservation(bars, c.per, c.columns...), "Observation").Engine()
		var out Output
		rec := recordOf([]byte(panel))
		for range 2 {
			if err := engine.Apply(rec, nil, &out); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if got := string(out.Bytes); got != c.want+c.want {
			t.Errorf("%s: got\n%s\nwant twice\n%s", c.name, got, c.want)
		}
		for _, h := range out.Holes {
			if string(out.Bytes[h.Start:h.End]) != "Encounter/e1" || h.Ref != RefHash([]byte("Encounter/e1")) {
				t.Errorf("%s: hole %+v", c.name, h)
			}
		}
		if want := strings.Count(c.want, "Encounter/e1") * 2; len(out.Holes) != want {
			t.Errorf("%s: %d holes, want %d", c.name, len(out.Holes), want)
		}
		for _, n := range engine.Counts() {
			if n.Path == "Observation.status" && (n.In != 2 || n.Out != 0) || n.Path == "Observation.id" && n.Out > 2 {
				t.Errorf("%s: %+v", c.name, n)
			}
		}
		if allocs := testing.AllocsPerRun(100, func() {
			out.Reset()
			if err := engine.Apply(rec, nil, &out); err != nil {
				t.Error(err)
			}
		}); allocs > 0 {
			t.Errorf("%s: %v allocations a record", c.name, allocs)
		}
	}
}

// Codes of people, references and keys of rows keep their places in padded cells.
func TestHolesOfLaidResources(t *testing.T) {
	wide := policies.Layout{}
	subject, encounter := leafColumn("subject reference", ""), leafColumn("encounter reference", "")
	value := leafColumn("component valueQuantity value", "")
	subject.Width, encounter.Width, encounter.Right, value.Width = 32, 14, true, 4
	p := laidObservation(wide, []string{"component"}, subject, encounter, policies.Column{RowKey: true, Width: 20}, value)
	p.Output.RowKey = true
	for i := range p.Release[0].Fields {
		if p.Release[0].Fields[i].Name == "subject.reference" {
			p.Release[0].Fields[i].Do = policies.CodePerson
		}
	}
	var out Output
	if err := compile(t, p, "Observation").Engine().Apply(recordOf([]byte(panel)), nil, &out); err != nil {
		t.Fatal(err)
	}
	line := "Patient/" + unfilled + "    " + "  Encounter/e1" + unfilled
	if got, want := string(out.Bytes), line+"1.50\n"+line+"2   \n"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var held []string
	for _, h := range out.Holes {
		held = append(held, string(out.Bytes[h.Start:h.End]))
	}
	if one := []string{unfilled, "Encounter/e1", unfilled}; !slices.Equal(held, slices.Concat(one, one)) {
		t.Errorf("holes hold %q", held)
	}
}

// What no element can hold leaves in cells: an age, a value of the roster and the
// index year, which are the person's, intervals and bands.
func TestWhatNoElementHolds(t *testing.T) {
	columns := []policies.Column{{Name: "a", From: "age"}, {Name: "m", From: "member"}, {Name: "f", From: "first"}, leafColumn("effectiveDateTime", ""), leafColumn("component valueQuantity value", "component code coding code=A")}
	p := laidObservation(policies.Layout{Delimiter: '|', Quotes: policies.Never}, nil, columns...)
	p.Inputs = map[string]policies.Guard{"roster": {}}
	p.People.Roster = "roster"
	p.Release[0].Fields = append(p.Release[0].Fields,
		policies.Field{Name: "age", From: "age", Do: policies.AgeBand, Width: 5, Top: 90, At: policies.FromIndex},
		policies.Field{Name: "member", From: "roster.member_id", Do: policies.Keep},
		policies.Field{Name: "first", From: policies.FromIndex, Do: policies.Year})
	for i := range p.Release[0].Fields {
		switch f := &p.Release[0].Fields[i]; f.Name {
		case "effectiveDateTime":
			f.Do, f.Unit = policies.RelativeTime, "weeks"
		case "component.valueQuantity.value":
			f.Do, f.Bands = policies.Band, []string{"0-1", "1.5-3"}
		}
	}
	plan := compile(t, p, "Observation")
	if got := plan.Lookups(); !slices.Equal(got, []LookUp{{"roster", "member_id", ByPerson}}) {
		t.Errorf("looks up %v", got)
	}
	oldest, _ := extract.ParseSpan([]byte("1934-12-20"))
	older, _ := extract.ParseSpan([]byte("1940-12-20"))
	engine := plan.Engine()
	for _, c := range []struct {
		who  *Subject
		want string
	}{
		{&Subject{Birth: oldest, Death: extract.NoSpan, Index: day("2025-12-19"), Lookup: []phi.Bytes{phi.Bytes("M-1")}}, "90+|M-1|2025|2|1.5-3\n"},
		{&Subject{Birth: older, Death: extract.NoSpan, Index: day("2024-12-19"), Lookup: []phi.Bytes{nil}}, "80-84||2024|54|1.5-3\n"},
		{nil, "||||1.5-3\n"},
	} {
		var out Output
		if err := engine.Apply(recordOf([]byte(panel)), c.who, &out); err != nil || string(out.Bytes) != c.want {
			t.Errorf("got %q (%v), want %q", out.Bytes, err, c.want)
		}
	}
	for _, n := range engine.Counts() {
		if n.Path == "Observation.member" && (n.In != 1 || n.Out != 1) || n.Path == "Observation.age" && (n.In != 2 || n.Out != 2) {
			t.Errorf("%+v", n)
		}
	}
	p.Layout, p.Output.Layout = nil, "ndjson"
	if _, err := Compile(p, "Observation", Options{AsOf: asOf}); err == nil || !strings.Contains(err.Error(), "that no FHIR element can hold") {
		t.Errorf("without a layout: %v", err)
	}
}

// What is no row of one value a cell rejects the record, without a trace.
func TestWhatALayoutOfResourcesRejects(t *testing.T) {
	bars := policies.Layout{Delimiter: '|', Quotes: policies.Never, ASCII: true}
	twice := leafColumn("component valueQuantity value", "code coding code=44249-1")
	right := strings.NewReplacer(`\"b\"`, "b").Replace(panel)
	for _, c := range []struct {
		per    []string
		column policies.Column
		wrong  string
		want   string
	}{
		{nil, leafColumn("component valueQuantity value", ""), panel, "column component valueQuantity value of the layout: the value is one of several, and a cell holds one"},
		{nil, twice, panel, "column component valueQuantity value of the layout: the value is one of several, and a cell holds one"},
		{nil, leafColumn("code text", ""), panel, "column code text of the layout: the value needs quotes, which the layout forbids"},
		{nil, leafColumn("code text", ""), strings.Replace(right, `a b`, `a\nb`, 1), "column code text of the layout: the value holds a control character or a line end"},
		{[]string{"component"}, leafColumn("component valueBoolean", ""), strings.Replace(right, `"valueBoolean"`, `"valueString"`, 1), "the layout: of the record nothing is left of component to make a row"},
		{[]string{"component"}, leafColumn("component code coding code", ""), right, "column component code coding code of the layout: the value is one of several, and a cell holds one"},
		{nil, leafColumn("id", ""), strings.Replace(right, `"status"`, `"modifierExtension":[{}],"status"`, 1), ErrUnsafe.Error()},
	} {
		engine := compile(t, laidObservation(bars, c.per, leafColumn("id", ""), leafColumn("encounter reference", ""), c.column), "Observation").Engine()
		out := Output{Bytes: []byte("x\n")}
		err := engine.Apply(recordOf([]byte(c.wrong)), nil, &out)
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
		var unfit *LayoutError
		if errors.As(err, &unfit) == errors.Is(err, ErrUnsafe) || string(out.Bytes) != "x\n" || len(out.Holes) > 0 {
			t.Errorf("%s leaves %q", c.want, out.Bytes)
		}
		for _, n := range engine.Counts() {
			if n.In+n.Out > 0 {
				t.Errorf("%s: %s is counted", c.want, n.Path)
			}
		}
	}
}

// A row of each component, read back by encoding/csv, holds what encoding/json
// finds in the resource.
func TestLaidResourcesAsOthersReadThem(t *testing.T) {
	p := laidObservation(policies.Layout{Delimiter: ',', Quotes: policies.WhereNeeded}, []string{"component"}, leafColumn("id", ""), leafColumn("code text", ""), leafColumn("component valueString", ""), leafColumn("component valueInteger", ""))
	engine := compile(t, p, "Observation").Engine()
	text := rapid.StringOf(rapid.SampledFrom([]rune(`ab",\{}[]:é😀 /`)))
	rapid.Check(t, func(t *rapid.T) {
		type component struct {
			Other string `json:"valueCode,omitempty"`
			Text  string `json:"valueString,omitempty"`
			N     int    `json:"valueInteger,omitempty"`
		}
		resource := struct {
			Type       string            `json:"resourceType"`
			ID         string            `json:"id"`
			Code       map[string]string `json:"code"`
			Components []component       `json:"component"`
		}{"Observation", "o1", map[string]string{"text": text.Draw(t, "text")}, nil}
		var want [][]string
		for range rapid.IntRange(1, 4).Draw(t, "components") {
			c := component{text.Draw(t, "other"), text.Draw(t, "string"), rapid.IntRange(-9, 9).Draw(t, "integer")}
			resource.Components = append(resource.Components, c)
			row := []string{"o1", resource.Code["text"], c.Text, ""}
			if c.N != 0 {
				row[3] = fmt.Sprint(c.N)
			}
			if c.N != 0 || c.Text != "" {
				want = append(want, row)
			}
		}
		line, err := json.Marshal(resource)
		if err != nil {
			t.Fatal(err)
		}
		var out Output
		if err := engine.Apply(recordOf(line), nil, &out); (err != nil) != (want == nil) {
			t.Fatalf("%v of %s", err, line)
		}
		rows, err := csv.NewReader(bytes.NewReader(out.Bytes)).ReadAll()
		if err != nil || fmt.Sprint(rows) != fmt.Sprint(want) {
			t.Fatalf("%v: of %s\ngot  %q\nwant %q", err, line, rows, want)
		}
	})
}

// A column of a delimited row that is bound to a code holds nothing, or the word
// for it, in rows of another code; the code counts as what leaves.
func TestColumnsOfOneCode(t *testing.T) {
	bound := func(code string, others *string) policies.Column {
		return policies.Column{Name: code, From: "total", When: &policies.When{From: "instrument", Value: code}, Others: others}
	}
	l := policies.Layout{Delimiter: '|', Quotes: policies.Never, LineEnd: "\n"}
	p := laidPolicy(&l, policies.Column{From: "instrument"}, bound("44261-6", nil), bound("70274-6", other("-")), policies.Column{From: "sex"})
	l.Files[0].Columns = l.Files[0].Columns[1:]
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	engine, out := plan.Engine(), Output{}
	row := strings.Split(laidRowText, "|")
	for _, code := range []string{"44261-6", "70274-6", "another", ""} {
		row[4] = code
		if err := engine.Apply(rowOf(row...), nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	if want := "17|-|female\n|17|female\n|-|female\n|-|female\n"; string(out.Bytes) != want {
		t.Errorf("got\n%s\nwant\n%s", out.Bytes, want)
	}
	for _, n := range engine.Counts() {
		if (n.Path == "scores.total" || n.Path == "scores.instrument") && (n.In != 2 || n.Out != 2) {
			t.Errorf("%+v", n)
		}
	}
	p.Layout.Files[0].Columns[0].When.From = "sex"
	p.Release[0].Fields = slices.DeleteFunc(p.Release[0].Fields, func(f policies.Field) bool { return f.Name == "instrument" || f.Name == "sex" })
	l.Files[0].Columns = l.Files[0].Columns[:1]
	if _, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()}); err == nil || !strings.Contains(err.Error(), "bound to sex, which is not released") {
		t.Errorf("bound to nothing released: %v", err)
	}
}
