package deid

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// loadPolicy reads a policy file and checks it as `postern policy check` does.
func loadPolicy(t *testing.T, name string) (*policies.Policy, *extract.Schema) {
	t.Helper()
	p, err := policies.Load("testdata/policy/"+name, policies.Env{})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := extract.LoadSchema("testdata/policy/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	_, err = policies.Check(p, policies.Env{
		Schemas: map[string]*extract.Schema{"scores": schema},
		Inputs: map[string]policies.InputInfo{
			"acme-roster": {Kind: "roster", Columns: []string{"subject", "member_id", "from", "to"}},
			"consents":    {Kind: "consents"}, "restrictions": {Kind: "restrictions"},
		},
		Recipients: map[string]string{"acme-health-plan": "health-plan", "national-outcomes-registry": "registry"},
		Today:      day("2026-12-01"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, schema
}

// scores runs the file of scores through a policy. The index of each person is
// found as a run finds it: the first day in scope.
func scores(t *testing.T, name string, lookup map[string]string) string {
	t.Helper()
	p, schema := loadPolicy(t, name)
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	people := map[string]*Subject{}
	out := Output{Bytes: plan.Header()}
	engine := plan.Engine()
	for _, pass := range []string{"index", "stream"} {
		each(t, "testdata/policy/scores.csv", schema, func(rec *extract.Record) {
			if rec.Reject != extract.NoReason {
				t.Fatalf("line %d: %s", rec.Place.Line, rec.Detail)
			}
			if plan.InScope(rec) != extract.NoReason {
				return
			}
			id := string(rec.Facts.Subjects[0])
			s := people[id]
			if s == nil {
				unknown := UnknownSubject()
				s = &unknown
				for range plan.Lookups() {
					s.Lookup = append(s.Lookup, phi.Bytes(lookup[id]))
				}
				people[id] = s
			}
			if pass == "index" {
				if s.Index == extract.NoDay || rec.Facts.Date.From < s.Index {
					s.Index = rec.Facts.Date.From
				}
			} else if plan.InCohort(rec, s) == extract.NoReason {
				if err := engine.Apply(rec, s, &out); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	return string(out.Bytes)
}

func each(t *testing.T, path string, schema *extract.Schema, do func(*extract.Record)) {
	t.Helper()
	rule := &extract.FileRule{Pattern: "*", Format: extract.Delimited, Dataset: "scores", Schema: schema}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	r := extract.OpenChunks([]extract.File{{Name: filepath.Base(path), Path: path, Rule: rule, Size: info.Size()}})
	defer r.Close()
	scanner, chunk, rec := extract.NewScanner(), extract.Chunk{}, extract.Record{}
	for {
		if err := r.Next(&chunk); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		for scanner.Reset(&chunk); scanner.Next(&rec); {
			do(&rec)
		}
	}
}

// A closed cohort leaves with weeks, bands and codes; of the two who are in it
// one is over 89, of the others one began after the index year.
func TestRegistryPolicy(t *testing.T) {
	const want = `person,index_year,week,instrument,total_score,age,sex,race,state
????????????????????,2024,0,44261-6,17,40-44,female,2106-3,MA
????????????????????,2024,13,44261-6,9,40-44,female,2106-3,MA
????????????????????,2024,0,70274-6,4,90+,male,,MA
`
	if got := scores(t, "registry.yaml", nil); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestPlanPolicy(t *testing.T) {
	const want = `member_id,birth_date,service_date,instrument,total_score,row_key
A-4,1990-01-01,2026-04-01,44261-6,3,????????????????????
`
	if got := scores(t, "plan-scores.yaml", map[string]string{"p4": "A-4"}); got != want {
		t.Errorf("got\n%s", got)
	}
}

// What is left of a resource full of identifiers under a Safe Harbor policy.
func TestPopulationPolicy(t *testing.T) {
	p, _ := loadPolicy(t, "population.yaml")
	scanner, rec, out := extract.NewScanner(), extract.Record{}, Output{}
	for _, line := range []string{
		`{"resourceType":"Patient","id":"p1","name":[{"family":"May"}],"birthDate":"1931-05-06","gender":"female","address":[{"line":["1 Elm St"],"city":"Boston","state":"MA","postalCode":"02139","period":{"start":"2010-02-03"}}],"telecom":[{"value":"617-555-0101"}],"communication":[{"language":{"text":"English"}}]}`,
		`{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"code":"44261-6","display":"PHQ-9"}],"text":"PHQ-9"},"subject":{"reference":"Patient/p1","display":"May"},"effectivePeriod":{"start":"2025-03-04","end":"2025-03-05"},"valueQuantity":{"value":12,"unit":"points","system":"http://unitsofmeasure.org","code":"{score}"}}`,
		`{"resourceType":"Observation","id":"o2","status":"final","code":{"coding":[{"code":"44261-6"}]},"subject":{"reference":"Patient/p1"},"effectiveInstant":"2025-03-04T01:02:03.004Z","valueDateTime":"2025-01-01","valueString":"Ann May"}`,
	} {
		scanner.Resource([]byte(line), &rec)
		plan, err := Compile(p, rec.Dataset, Options{AsOf: asOf})
		if err != nil {
			t.Fatal(err)
		}
		if why := plan.InScope(&rec); why != extract.NoReason {
			t.Errorf("%s: out of scope: %s", rec.Dataset, why)
		}
		if err := plan.Engine().Apply(&rec, nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"resourceType":"Patient","id":"????????????????????","birthDate":"1936","gender":"female","address":[{"state":"MA","postalCode":"021"}]}
{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"44261-6"}]},"subject":{"reference":"Patient/????????????????????"},"effectivePeriod":{"start":"2025","end":"2025"},"valueQuantity":{"value":12,"system":"http://unitsofmeasure.org","code":"{score}"}}
{"resourceType":"Observation","status":"final","code":{"coding":[{"code":"44261-6"}]},"subject":{"reference":"Patient/????????????????????"},"effectiveInstant":"2025"}
`
	if got := string(out.Bytes); got != want {
		t.Errorf("got\n%s", got)
	}
}
