package bruteforce

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// Compare says neither more nor less than the oracle, in both directions: of
// each piece that newly leaves there is a change that says so, and each change
// comes with a situation in which what it names does newly leave.
func TestCompare(t *testing.T) {
	c, r, env := newClinic(t), rendering{leaves: fhirLeaves(t)}, newEnvs(t)
	met, without := map[string]int{}, 0
	for _, p := range pairs(pairsWanted()) {
		for _, construct := range p.constructs {
			met[construct]++
		}
		got := policies.Compare(rendering{r.leaves, p.was}.policy(), rendering{r.leaves, p.is}.policy(), env.of(p.was), env.of(p.is))
		if len(got.Widens) == 0 {
			without++
		}
		for direction, list := range map[string][]policies.Change{"widens": got.Widens, "narrows": got.Narrows} {
			was, is := p.was, p.is
			if direction == "narrows" {
				was, is = is, was
			}
			q, pieces := newQuestion(t, was, is, c, r)
			index := sync.OnceValue(func() map[string]string { return indexKeys(r, env, was, is) })
			for _, complaint := range q.disagrees(pieces, list, func(s *policies.Situation) situation {
				x := read(s, index())
				if direction == "narrows" { // old and new are as Compare was given them
					x["group:was"], x["group:is"] = x["group:is"], x["group:was"]
				}
				return x
			}) {
				t.Errorf("pair %d of %s %v, %s: %s", p.number, p.was.Name, p.constructs, direction, complaint)
			}
		}
	}
	if without < 150 {
		t.Errorf("only %d pairs are without widening", without)
	}
	for _, e := range edits() {
		if met[e.construct] < 5 {
			t.Errorf("%s is edited in %d pairs only", e.construct, met[e.construct])
		}
	}
}

// envs are what policies meet, by the values that their schemas list.
type envs struct {
	t    testing.TB
	made map[string]policies.Env
}

func newEnvs(t testing.TB) envs { return envs{t, map[string]policies.Env{}} }

func (e envs) of(s *spec) policies.Env {
	key := fmt.Sprint(s.Listed)
	if _, known := e.made[key]; !known {
		e.made[key] = policies.Env{Recipients: kinds, Schemas: map[string]*extract.Schema{
			"scores": e.schema("scores", columns["scores"], s.Listed), "visits": e.schema("visits", columns["visits"], nil), "episodes": e.schema("episodes", tableColumns, nil),
		}}
	}
	return e.made[key]
}

// schema declares columns: the day of service and the patient by their roles,
// and the values that a column may have.
func (e envs) schema(name string, columns map[string]extract.Class, listed map[string][]string) *extract.Schema {
	type column struct {
		Name        string              `json:"name"`
		Type        string              `json:"type"`
		Class       string              `json:"class"`
		Role        string              `json:"role,omitempty"`
		Constraints map[string][]string `json:"constraints,omitempty"`
	}
	roles := map[string]string{"patient_id": "subject", "service_date": "date", "episode_on": "date"}
	list := []column{}
	for _, n := range slices.Sorted(maps.Keys(columns)) {
		c := column{Name: n, Type: "string", Class: columns[n].String(), Role: roles[n]}
		if columns[n] == extract.Date || columns[n] == extract.BirthDate {
			c.Type = "date"
		}
		if listed[n] != nil {
			c.Constraints = map[string][]string{"enum": listed[n]}
		}
		list = append(list, c)
	}
	text, err := json.Marshal(map[string]any{"fields": list})
	if err != nil {
		e.t.Fatal(err)
	}
	path := filepath.Join(e.t.TempDir(), name+".json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		e.t.Fatal(err)
	}
	schema, err := extract.LoadSchema(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return schema
}

// indexKeys tell by which name Compare calls the index date of each policy: by
// that which it uses where the policy alone is concerned.
func indexKeys(r rendering, env envs, specs ...*spec) map[string]string {
	keys := map[string]string{}
	for _, s := range specs {
		if s.Cohort == nil {
			continue
		}
		other := s.clone()
		other.Recipient = "nobody"
		c := policies.Compare(rendering{r.leaves, other}.policy(), rendering{r.leaves, s}.policy(), env.of(s), env.of(s))
		for _, w := range c.Widens {
			for key := range w.Situation.Index {
				keys[indexOf(s)] = key
			}
		}
	}
	return keys
}

// disagrees holds the changes that Compare lists against the oracle's.
func (q *question) disagrees(pieces []piece, list []policies.Change, read func(*policies.Situation) situation) (complaints []string) {
	for _, p := range pieces {
		if where := q.ask(p); where != nil && !slices.ContainsFunc(list, func(c policies.Change) bool { return concerns(c, p) }) {
			complaints = append(complaints, fmt.Sprintf("%s is not listed, and newly leaves in %v", p, where))
		}
		for _, part := range q.wider(p) {
			if !slices.ContainsFunc(list, func(c policies.Change) bool { return by(c, p, part) }) {
				complaints = append(complaints, fmt.Sprintf("of %s it is not listed that more leaves by %v", p, part))
			}
		}
	}
	for _, c := range list {
		x := q.whole(read(c.Situation))
		if !slices.ContainsFunc(leavesNewly(pieces, x), func(p piece) bool { return concerns(c, p) }) {
			complaints = append(complaints, fmt.Sprintf("%q: nothing of it newly leaves in %+v", c.Says, *c.Situation))
		}
	}
	return complaints
}

// by tells whether a change says that more leaves by a dimension of which
// the oracle has one or several things in a part of its own.
func by(c policies.Change, p piece, part []string) bool {
	ours := map[string][]string{"decided-on": {"day"}, "dates": {"as-of", "date"}, "people": {"part2", "minor"}}[c.Dimension]
	switch what, which, _ := strings.Cut(c.Dimension, ":"); what {
	case "value":
		ours = []string{valueAt(c.Situation.Dataset, which)}
	case "standing":
		ours = []string{"in:" + which}
	}
	return c.Dataset == p.part && (c.Kind == policies.NewDataset || slices.ContainsFunc(append(ours, c.Dimension), func(name string) bool { return slices.Contains(part, name) }))
}

// concerns tells whether a change is about a piece: about its dataset as a
// whole, or about what it names.
func concerns(c policies.Change, p piece) bool {
	return c.Dataset == p.part && (len(c.Fields) == 0 || slices.Contains(c.Fields, p.name))
}

// read puts a situation of Compare into the oracle's words.
func read(s *policies.Situation, index map[string]string) situation {
	day := func(d extract.Day) any {
		if d == extract.NoDay {
			return nil
		}
		return int(d)
	}
	yes := map[bool]string{false: "no", true: "yes"}
	or := func(text, otherwise string) string {
		if text == "" {
			return otherwise
		}
		return text
	}
	x := situation{
		"day": int(s.DecidedOn), "as-of": int(s.AsOf), "part2": yes[s.Part2], "directive": or(s.Directive, "none"), "form": or(s.Part2Form, "none"),
		"opted-out": yes[s.OptedOut], "restricted": or(s.Restriction, "no"), "minor": or(s.Minor, "none"), "rejected": s.Rejected,
		"group:was": s.GroupOld, "group:is": s.GroupNew, "derivable": or(s.Derivable, "no"), "audit": map[bool]string{false: "passed", true: "failed"}[s.AuditFailed],
	}
	if s.Derivable == "earlier-drops" {
		x["derivable"] = s.YearsBack
	}
	for path, d := range s.Dates {
		if isDate(s.Dataset, path) || path == "episode_on" {
			x["date"] = day(d)
		}
		x[valueAt(s.Dataset, path)] = day(d)
	}
	for ours, theirs := range index {
		x[ours] = day(s.Index[theirs])
	}
	for path, text := range s.Values {
		x[valueAt(s.Dataset, path)] = text
	}
	for roster, standing := range s.Standing {
		x["in:"+roster] = map[string]string{"none": "not-in-it", "": "not-in-it", "at-service": "on-the-day", "in-period": "another-day", "ambiguous": "ambiguous"}[standing]
	}
	for input, age := range s.Age {
		x["age:"+input] = age.Hours()
	}
	for input, gone := range s.Gone {
		x["gone:"+input] = gone
	}
	return x
}
