package consent_test

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// caseFolder is the public suite (its README is the format).
const caseFolder = "../testdata/consent-cases"

// row is a line of a table, by column.
type row map[string]string

// situation is one case, or one random world: plain text, as a person would
// have written it down. Both the second opinion and the engine start from it.
type situation struct {
	name, rule, source, file string
	needs                    []string
	asOf, decidedAt          string
	request, consentRule     map[string]any
	choice, clinic           map[string]any
	agreement                row
	directives               []map[string]any // FHIR resources, rows of the registry, or one key: malformed
	restrictions, coverage   []row
	members                  []row // of coverage, those of the recipient's roster
	programs, grounds        []row
	patients                 []row
	encounters, records      []record
	expect                   []verdict
	stops                    string
	byPatient                map[string][]map[string]any // directives
	merges                   []row                       // of ids, as the list of the clinic has them
	links                    []row                       // between FHIR Patients: from, into, type
	rosterKind               string                      // roster (also when empty), attribution, fhir-coverage
	oneByOne                 bool                        // records are judged without the rest of the extract
	persons                  *persons
}

// record is what may leave; encounters are kept alike.
type record struct {
	id, dataset, date, encounter, status        string
	subjects, providers, codes, labels, derived []string
	data                                        map[string]any
}

type verdict struct {
	record, effect, part2 string
	reasons               []string
}

// situationKeys are the keys of a case; another one is a mistake.
var situationKeys = strings.Fields(`case rule source needs as_of decided_at request agreement consent_rule clinic_choice clinic
	directives restrictions coverage programs encounters patients grounds records expect stops`)

func loadSuite(t testing.TB) (all []*situation) {
	t.Helper()
	files, err := filepath.Glob(caseFolder + "/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no case files in %s: %v", caseFolder, err)
	}
	for _, file := range files {
		all = append(all, loadCases(t, file)...)
	}
	return all
}

func loadCases(t testing.TB, file string) (all []*situation) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var common map[string]any
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	for {
		var n yaml.Node
		if err := decoder.Decode(&n); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		doc := plain(t, file, n.Content[0]).(map[string]any)
		if shared, ok := doc["common"]; ok {
			common = shared.(map[string]any)
			continue
		}
		all = append(all, newSituation(t, filepath.Base(file), completed(doc, common)))
	}
}

// completed gives a case what its file says for all.
func completed(doc, common map[string]any) map[string]any {
	whole := maps.Clone(common)
	if whole == nil {
		whole = map[string]any{}
	}
	for key, value := range doc {
		if shared, ok := whole[key].(map[string]any); ok && slices.Contains([]string{"request", "consent_rule", "clinic"}, key) {
			value = merged(shared, value.(map[string]any))
		}
		whole[key] = value
	}
	return whole
}

func merged(under, over map[string]any) map[string]any {
	both := map[string]any{}
	maps.Copy(both, under)
	maps.Copy(both, over)
	return both
}

// plain turns YAML into maps, lists and scalars: true and false, numbers as
// they are written, all else as text.
func plain(t testing.TB, file string, n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if _, twice := m[key]; twice {
				t.Fatalf("%s:%d: %s stands here twice", file, n.Content[i].Line, key)
			}
			m[key] = plain(t, file, n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, plain(t, file, item))
		}
		return list
	case yaml.ScalarNode:
		switch n.ShortTag() {
		case "!!bool":
			return n.Value == "true"
		case "!!int", "!!float":
			return json.Number(n.Value)
		}
		return n.Value
	}
	t.Fatalf("%s:%d: neither a mapping, a list nor a value", file, n.Line)
	return nil
}

func newSituation(t testing.TB, file string, doc map[string]any) *situation {
	for key := range doc {
		if !slices.Contains(situationKeys, key) {
			t.Fatalf("%s: %v: unknown key %s", file, doc["case"], key)
		}
	}
	s := &situation{file: file, name: text(doc["case"]), rule: text(doc["rule"]), source: text(doc["source"]), needs: texts(doc["needs"]),
		asOf: text(doc["as_of"]), decidedAt: text(doc["decided_at"]), agreement: rowOf(doc["agreement"]), stops: text(doc["stops"]),
		restrictions: rowsOf(doc["restrictions"]), coverage: rowsOf(doc["coverage"]), programs: rowsOf(doc["programs"]),
		grounds: rowsOf(doc["grounds"]), patients: rowsOf(doc["patients"])}
	for _, p := range s.patients {
		if p["merged_into"] != "" {
			s.merges = append(s.merges, row{"from": p["id"], "into": p["merged_into"], "status": "merged"})
		}
	}
	s.request, _ = doc["request"].(map[string]any)
	s.members = ownMembers(s)
	s.consentRule, _ = doc["consent_rule"].(map[string]any)
	s.choice, _ = doc["clinic_choice"].(map[string]any)
	s.clinic, _ = doc["clinic"].(map[string]any)
	for _, d := range listOf(doc["directives"]) {
		s.directives = append(s.directives, d.(map[string]any))
	}
	for _, r := range listOf(doc["encounters"]) {
		s.encounters = append(s.encounters, newRecord(r.(map[string]any), "Encounter"))
	}
	for _, r := range listOf(doc["records"]) {
		s.records = append(s.records, newRecord(r.(map[string]any), "Observation"))
	}
	for _, e := range listOf(doc["expect"]) {
		m := e.(map[string]any)
		s.expect = append(s.expect, verdict{text(m["record"]), text(m["effect"]), text(m["part2"]), texts(m["reasons"])})
	}
	return s
}

func newRecord(m map[string]any, dataset string) record {
	r := record{id: text(m["id"]), dataset: text(m["dataset"]), date: text(m["date"]), encounter: text(m["encounter"]), status: text(m["status"]),
		subjects: texts(m["subjects"]), providers: texts(m["providers"]), codes: texts(m["codes"]), labels: texts(m["labels"]), derived: texts(m["derived_from"])}
	if r.dataset == "" {
		r.dataset = dataset
	}
	if one := text(m["subject"]); one != "" {
		r.subjects = append(r.subjects, one)
	}
	if r.data, _ = m["data"].(map[string]any); r.data != nil {
		r.dataset = text(r.data["resourceType"])
	}
	return r
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func texts(v any) (all []string) {
	for _, item := range listOf(v) {
		all = append(all, text(item))
	}
	return all
}

func listOf(v any) []any {
	list, _ := v.([]any)
	return list
}

func rowOf(v any) row {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	r := row{}
	for key, value := range m {
		r[key] = text(value)
	}
	return r
}

func rowsOf(v any) (all []row) {
	for _, item := range listOf(v) {
		all = append(all, rowOf(item))
	}
	return all
}

// The index names every case of the suite with its rule and source, each once
// and in order. UPDATE_GOLDEN=1 writes it.
func TestCaseIndexIsComplete(t *testing.T) {
	want := [][]string{{"file", "case", "rule", "source"}}
	seen := map[string]bool{}
	for _, s := range loadSuite(t) {
		if seen[s.name] || s.name == "" || s.rule == "" || s.source == "" {
			t.Errorf("%s: %q: a case has a name of its own, a rule and a source", s.file, s.name)
		}
		seen[s.name] = true
		want = append(want, []string{s.file, s.name, s.rule, s.source})
	}
	if len(want) <= 300 {
		t.Errorf("%d cases", len(want)-1)
	}
	var index strings.Builder
	if err := csv.NewWriter(&index).WriteAll(want); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE_GOLDEN") != "" {
		writeFile(t, caseFolder, "index.csv", index.String())
	}
	file, err := os.Open(caseFolder + "/index.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("the index has %d lines, the files %d cases", len(got), len(want)-1)
	}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("index.csv:%d: %q, and the files say %q", i+1, got[i], want[i])
		}
	}
}
