package bruteforce

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

func scores(t testing.TB) *extract.Schema {
	schema, err := extract.LoadSchema("../../policies/testdata/schemas/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// The oracle's conditions, periods and windows are those of the engine that
// selects records.
func TestScope(t *testing.T) {
	schema, kept, left := scores(t), 0, 0
	for _, p := range pairs(pairsWanted() / 4) {
		rel, s := p.is.dataset("scores"), p.is.clone()
		if rel == nil || s.Cohort != nil && s.Cohort.Dataset != "scores" {
			continue
		}
		s.Standard, s.People.Roster, s.Layout = "identified", "", "csv" // a plain release with the same scope
		s.Release = []release{{"scores", rel.Only, []field{{Name: "status", From: "status", Do: "keep"}}}}
		policy, gates, domain := (rendering{nil, s}).policy(), recordGates(s, s.Release[0]), domains(s)
		r, around := rand.New(rand.NewPCG(9, uint64(p.number))), uncovered(gates, nil, domain)
		for range 12 {
			x := (&question{domain: domain}).aside(r, around)
			want := !slices.ContainsFunc(gates, func(g gate) bool { return !g.holds(x) })
			if want {
				kept++
			} else {
				left++
			}
			if got := inEngineScope(t, policy, schema, x, indexOf(s)); got != want {
				t.Errorf("pair %d: %v: engine %v, oracle %v", p.number, x, got, want)
			}
		}
	}
	if kept < 100 || left < 100 {
		t.Errorf("only %d records in scope and %d out of it", kept, left)
	}
}

func inEngineScope(t *testing.T, p *policies.Policy, schema *extract.Schema, x situation, index string) bool {
	plan, err := deid.Compile(p, "scores", deid.Options{AsOf: extract.Day(x["as-of"].(int)), Schema: schema})
	if err != nil {
		if !strings.Contains(err.Error(), "last window") {
			t.Fatal(err)
		}
		return false
	}
	rec := &extract.Record{Dataset: "scores", Facts: extract.Facts{Dataset: "scores", Subjects: []phi.Bytes{phi.Bytes("p")}, Date: extract.NoSpan}}
	person := deid.UnknownSubject()
	for i := range schema.Fields {
		text, _ := x[valueAt("scores", schema.Fields[i].Name)].(string)
		if day, known := x["date"].(int); known && schema.Fields[i].Role == extract.RoleDate {
			text, rec.Facts.Date = dateOf(day).Format("2006-01-02"), extract.Span{From: extract.Day(day), To: extract.Day(day)}
		}
		rec.Row = append(rec.Row, phi.Bytes(text))
	}
	if day, known := x[index].(int); known {
		person.Index = extract.Day(day)
	}
	return plan.InScope(rec) == extract.NoReason && plan.InCohort(rec, &person) == extract.NoReason
}

// The oracle's transforms tell the same values apart as the engine's.
func TestTransforms(t *testing.T) {
	schema, base := scores(t), harborCohort()
	base.Protect = nil
	for _, standard := range []string{"identified", "safe-harbor"} {
		for from, class := range columns["scores"] {
			for _, f := range forms(base, field{Name: "out", From: from}) {
				s := base.clone()
				s.Standard = standard
				s.Release[0].Fields = []field{f}
				if slices.Contains([]string{"code", "token", "ordinal", "age", "round", "map", "shift-date"}, f.Do) || !policies.Permits(policies.Standard(standard), class, policies.Transform(f.Do)) {
					continue // secrets are no function of the value; the engine lacks the others, or refuses
				}
				sameParts(t, schema, s, form{f, class, standard, nil, s.Cohort.Follow})
			}
		}
	}
}

func sameParts(t *testing.T, schema *extract.Schema, s *spec, f form) {
	there, back := map[string]string{}, map[string]string{}
	for _, x := range samples(f.class) {
		plan, err := deid.Compile(rendering{nil, s}.policy(), "scores", deid.Options{AsOf: extract.Day(x.asOf), Schema: schema})
		if err != nil {
			t.Fatalf("%s %s: %v", f.From, f.Do, err)
		}
		rec, person := &extract.Record{Dataset: "scores"}, deid.UnknownSubject()
		person.Index = extract.Day(x.index)
		for i := range schema.Fields {
			text := ""
			if schema.Fields[i].Name == f.From {
				text = x.text
			}
			rec.Row = append(rec.Row, phi.Bytes(text))
		}
		var out deid.Output
		if err := plan.Engine().Apply(rec, &person, &out); err != nil {
			t.Fatal(err)
		}
		engine, oracle := fmt.Sprint(x.asOf, string(out.Bytes)), fmt.Sprint(x.asOf, f.apply(x))
		if was, met := there[engine]; met && was != oracle {
			t.Fatalf("%s %s %d %d %s under %s, %s: the engine does not tell apart what the oracle does", f.From, f.Do, f.Width, f.Top, f.At, f.standard, x.text)
		}
		if was, met := back[oracle]; met && was != engine {
			t.Fatalf("%s %s %d %d %s under %s, %s: the oracle does not tell apart what the engine does", f.From, f.Do, f.Width, f.Top, f.At, f.standard, x.text)
		}
		there[engine], back[oracle] = oracle, engine
	}
}
