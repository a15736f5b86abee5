package deid

import (
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

func withMap(p *policies.Policy) *policies.Policy {
	p.ValueSets = map[string]*policies.ValueSet{"groups": {Map: map[string]string{"44261-6": `mood, "PHQ"`, "F": "women", "female": "w\"", "M": ""}}}
	return p
}

func TestReducedColumns(t *testing.T) {
	p := withMap(rowPolicy(policies.ExpertDetermination,
		policies.Field{Name: "source", Do: policies.Constant, To: `clinic, "west"`},
		policies.Field{Name: "row", From: "record", Do: policies.Ordinal},
		policies.Field{Name: "tool", From: "instrument", Do: policies.Map, To: "groups"},
		policies.Field{Name: "sex", Do: policies.Map, To: "groups"},
		policies.Field{Name: "total", Do: policies.Round, Days: 5},
		policies.Field{Name: "age", From: "birth_date", Do: policies.Age},
		policies.Field{Name: "then", From: "age_years", Do: policies.Age}))
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	engine := plan.Engine()
	var refs []uint64
	for _, c := range []struct{ row, want string }{
		{"r1|p1|2025-03-24|1980-07-01|44261-6|17|F|02139|n|46|May", `??????????,"mood, ""PHQ""",women,15,45,46`},
		{"r2|p1|2025-03-24|1936-06-30|x|12.5|f|02139|n|89|May", `??????????,,,15,90+,90+`}, // 89 a year before as-of,
		{"r1|p1|2025-03-24|1936-07-01|44261-60|many|M|02139|n|90|May", `??????????,,,,89,90+`},
		{"|p1|2025-03-24|1980|||||n||May", `,,,,,`},         // 45 or 46
		{"|p1|2025-03-24|1980||20250302|||n||May", `,,,,,`}, // a day, rounded
	} {
		var out Output
		s := UnknownSubject()
		if err := engine.Apply(rowOf(strings.Split(c.row, "|")...), &s, &out); err != nil {
			t.Fatal(err)
		}
		if got := string(out.Bytes); got != `"clinic, ""west""",`+c.want+"\n" {
			t.Errorf("%s: got %s", c.row, got)
		}
		for _, h := range out.Holes {
			if h.Kind != Ordinal || h.End-h.Start != OrdinalLen || strings.Trim(string(out.Bytes[h.Start:h.End]), "?") != "" {
				t.Errorf("hole %+v", h)
			}
			refs = append(refs, h.Ref)
		}
	}
	if len(refs) != 3 || refs[0] == refs[1] || refs[0] != refs[2] {
		t.Errorf("ordinals of %d", refs)
	}
	in, out := map[string]uint64{}, map[string]uint64{}
	for _, c := range engine.Counts() {
		in[c.Path], out[c.Path] = c.In, c.Out
	}
	for path, want := range map[string][2]uint64{"scores.tool": {3, 1}, "scores.sex": {3, 1}, "scores.total": {4, 2}, "scores.source": {5, 5}, "scores.row": {3, 3}, "scores.age": {5, 3}} {
		if in[path] != want[0] || out[path] != want[1] {
			t.Errorf("%s: %d in, %d out", path, in[path], out[path])
		}
	}
}

func TestReducedElements(t *testing.T) {
	p := withMap(fhirPolicy(policies.ExpertDetermination, "Observation", "map code coding code", "round valueQuantity value", "round component valueInteger"))
	for i := range p.Release[0].Fields {
		p.Release[0].Fields[i].To, p.Release[0].Fields[i].Days = "groups", 10
	}
	plan := compile(t, p, "Observation")
	for in, want := range map[string]string{
		`{"resourceType":"Observation","code":{"coding":[{"code":"44261\u002d6"},{"code":"x"}]},"valueQuantity":{"value":15.0},"component":[{"valueInteger":4},{"valueInteger":-5}]}`: `{"resourceType":"Observation","code":{"coding":[{"code":"mood, \"PHQ\""}]},"valueQuantity":{"value":20},"component":[{"valueInteger":0},{"valueInteger":-10}]}`,
		`{"resourceType":"Observation","code":{"coding":[{"code":7}]},"valueQuantity":{"value":"15"},"component":[{"valueInteger":1e30},{"valueInteger":20250302}]}`:                  `{"resourceType":"Observation"}`,
	} {
		var out Output
		if err := plan.Engine().Apply(recordOf([]byte(in)), nil, &out); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(out.Bytes)); got != want {
			t.Errorf("%s: got %s", in, got)
		}
	}
}

// A policy that came around the check compiles to nothing.
func TestReducedRefuses(t *testing.T) {
	for what, field := range map[string]policies.Field{
		"a name by a map":        {Name: "family", Do: policies.Map, To: "groups"},
		"a date rounded":         {Name: "service_date", Do: policies.Round, Days: 5},
		"a number without step":  {Name: "total", Do: policies.Round},
		"an ordinal of a person": {Name: "subject", Do: policies.Ordinal},
		"an age of a date":       {Name: "service_date", Do: policies.Age},
	} {
		if _, err := Compile(rowPolicy(policies.ExpertDetermination, field), "scores", Options{AsOf: asOf, Schema: scoresSchema()}); err == nil {
			t.Errorf("%s compiles", what)
		}
	}
	for _, line := range []string{"age birthDate", "constant gender", "ordinal id"} {
		if _, err := Compile(fhirPolicy(policies.ExpertDetermination, "Patient", line), "Patient", Options{AsOf: asOf}); err == nil {
			t.Errorf("%s of a resource compiles", line)
		}
	}
}

// Rounded by the arithmetic of rationals it is the same.
func TestRoundedIsNearest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`-?[0-9]{1,12}(\.[0-9]{1,6})?([eE][-+]?[0-9])?`).Draw(t, "number")
		step := rapid.Int64Range(1, 1000).Draw(t, "step")
		value, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("%q is no number", text)
		}
		got := string(appendRounded(nil, []byte(text), int(step)))
		if new(big.Rat).Abs(value).Cmp(big.NewRat(1e15, 1)) >= 0 {
			if got != "" {
				t.Fatalf("%s, too large, became %s", text, got)
			}
			return
		}
		q := new(big.Rat).Quo(new(big.Rat).Abs(value), big.NewRat(step, 1))
		q.Add(q, big.NewRat(1, 2))
		n := new(big.Int).Quo(q.Num(), q.Denom())
		n.Mul(n, big.NewInt(step*int64(value.Sign())))
		if got != n.String() {
			t.Fatalf("%s to %d: %s, want %s", text, step, got, n)
		}
	})
}

// Whatever the dates, an age is the number of birthdays, or 90+, or nothing.
func TestAgeInYears(t *testing.T) {
	plan, err := Compile(rowPolicy(policies.Identified, policies.Field{Name: "age", From: "birth_date", Do: policies.Age}), "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	engine := plan.Engine()
	rapid.Check(t, func(t *rapid.T) {
		born := asOf - extract.Day(rapid.IntRange(-400, 45000).Draw(t, "days"))
		s, out := UnknownSubject(), Output{}
		s.Birth = extract.Span{From: born, To: born}
		if err := engine.Apply(rowOf("r", "p", "", born.String(), "", "", "", "", "", "", ""), &s, &out); err != nil {
			t.Fatal(err)
		}
		years := 0
		for asOf.Time().AddDate(-years-1, 0, 0).Compare(born.Time()) >= 0 { // counted by the calendar of package time
			years++
		}
		want := big.NewInt(int64(years)).String()
		switch {
		case born > asOf:
			want = ""
		case years >= 90:
			want = "90+"
		}
		if got := strings.Trim(string(out.Bytes), "\"\n"); got != want {
			t.Fatalf("born %s: %s, want %s", born, got, want)
		}
	})
}
