package deid

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/policies"
)

// What is counted of each record apart adds up to what is counted of all at
// once, and a record that does not leave is in neither.
func TestTalliesOfARecordAddUp(t *testing.T) {
	plan := compile(t, fhirPolicy(policies.Identified, "Organization", "keep id", "keep name"), "Organization")
	records := []string{
		`{"resourceType":"Organization","id":"o1","name":"North Clinic","active":true}`,
		`{"resourceType":"Organization","id":"o2","alias":["a","b"],"unheard":1}`,
		`{"resourceType":"Organization","id":"o3","name":7}`,
	}
	whole, apart, sum := plan.Engine(), plan.Engine(), plan.Engine().Counts()
	for i, text := range records {
		var out Output
		if err := apart.Apply(recordOf([]byte(text)), nil, &out); err != nil {
			t.Fatal(err)
		}
		taken := apart.Take()
		if i == 1 {
			continue
		}
		sum.AddTallies(taken)
		if err := whole.Apply(recordOf([]byte(text)), nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(sum, whole.Counts()) {
		t.Errorf("one by one %v, at once %v", sum, whole.Counts())
	}
	if at := slices.IndexFunc(sum, func(c Count) bool { return c.Path == "Organization.id" }); sum[at] != (Count{"Organization.id", 2, 2}) {
		t.Errorf("the id is counted as %v", sum[at])
	}
}

// Whatever a policy names: at each path as many values are counted as stand
// there, as many leave as are in the line, and what is left out is counted
// once. Another reading of JSON, which knows no plan, counts them.
func TestCountsOfRandomPolicies(t *testing.T) {
	candidates := map[string][]string{
		"Observation":           {"status", "subject", "performer", "specimen", "focus", "basedOn", "value[x]", "component.value[x]", "effectivePeriod", "subject.display", "subject.identifier.value", "performer.type", "performer.display"},
		"Condition":             {"id", "code", "subject", "meta.lastUpdated", "meta.security.code", "code.text", "code.coding.display", "language"},
		"QuestionnaireResponse": {"status", "subject", "authored", "source", "item.linkId", "item.text", "item.answer.value[x]", "item.answer.valueString", "item.item.linkId", "item.item.answer.valueInteger", "item.answer.item.linkId"},
		"MeasureReport":         {"id", "status", "type", "date", "period", "subject", "evaluatedResource", "evaluatedResource.type", "group.population.code", "group.population.count", "group.measureScore", "measure"},
	}
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dataset := rapid.SampledFrom(slices.Sorted(maps.Keys(candidates))).Draw(t, "dataset")
		keep := rapid.SliceOfNDistinct(rapid.SampledFrom(candidates[dataset]), 1, -1, rapid.ID).Draw(t, "fields")
		fields := ""
		for _, name := range keep {
			do := "keep"
			if slices.Contains([]string{"authored", "date", "period", "effectivePeriod"}, name) {
				do = rapid.SampledFrom([]string{"keep", "year"}).Draw(t, "do")
			}
			fields += "      " + name + ": {do: " + do + "}\n"
		}
		file := filepath.Join(dir, "counts.yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, shapePolicy, dataset, fields), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := policies.Load(file, policies.Env{})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := Compile(p, dataset, Options{AsOf: asOf})
		if err != nil {
			t.Fatal(err)
		}
		engine, want := plan.Engine(), recount{released: map[string]bool{}, met: map[string]uint64{}, left: map[string]uint64{}}
		for _, f := range p.Release[0].Fields {
			for _, l := range f.Leaves {
				want.released[dataset+"."+strings.Join(l.Path, ".")] = true
			}
		}
		for _, c := range shapes {
			rec := recordOf([]byte(strings.NewReplacer("\n", "", "\t", "").Replace(c.file)))
			if c.want == "unsafe" || c.dataset != dataset || rec == nil || rec.Dataset != dataset {
				continue
			}
			var out Output
			if err := engine.Apply(rec, nil, &out); err != nil {
				t.Fatal(err)
			}
			want.enter(rec.Raw, dataset, want.meet)
			want.enter(out.Bytes, dataset, want.leave)
		}
		dropped := uint64(0)
		for _, c := range engine.Counts() {
			switch {
			case !want.released[c.Path]:
				dropped += c.In
				if c.Out != 0 {
					t.Errorf("%s left", c.Path)
				}
			case c.In != want.met[c.Path] || c.Out != want.left[c.Path]:
				t.Errorf("%s: counted %d of %d, there are %d of %d", c.Path, c.Out, c.In, want.left[c.Path], want.met[c.Path])
			}
			delete(want.left, c.Path)
		}
		if dropped != want.dropped || len(want.left) > 0 {
			t.Errorf("counted %d as left out, there are %d; left uncounted: %v", dropped, want.dropped, want.left)
		}
	})
}

// recount counts the values of resources by path; lists do not show in it.
type recount struct {
	released  map[string]bool
	met, left map[string]uint64
	dropped   uint64 // members and values that no released path leads to
}

func (r *recount) enter(raw []byte, dataset string, each func(string, any)) {
	var resource map[string]any
	if err := json.Unmarshal(raw, &resource); err != nil {
		panic(err)
	}
	delete(resource, "resourceType")
	for name, v := range resource {
		each(dataset+"."+name, v)
	}
}

// meet counts what stands at a path and below it.
func (r *recount) meet(path string, v any) {
	leads := slices.ContainsFunc(slices.Collect(maps.Keys(r.released)), func(p string) bool { return strings.HasPrefix(p, path+".") })
	if !leads && !r.released[path] {
		r.dropped++
		return
	}
	list, many := v.([]any)
	if !many {
		list = []any{v}
	}
	for _, one := range list {
		object, inner := one.(map[string]any)
		switch {
		case r.released[path]:
			r.met[path]++
		case inner:
			for name, below := range object {
				r.meet(path+"."+name, below)
			}
		default:
			r.dropped++
		}
	}
}

// leave counts the values that left.
func (r *recount) leave(path string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, below := range v {
			r.leave(path+"."+name, below)
		}
	case []any:
		for _, one := range v {
			r.leave(path, one)
		}
	default:
		r.left[path]++
	}
}
