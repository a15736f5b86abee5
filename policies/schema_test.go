package policies

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// What editors are given is what was looked at last.
func TestSchemaIsCurrent(t *testing.T) {
	matchGolden(t, "testdata/policy.schema.json", string(JSONSchema()))
}

// An editor with the schema finds nothing to say about a right file, and
// underlines what is wrong with the shape of another.
func TestSchemaJudges(t *testing.T) {
	s := newSchema(t)
	for _, file := range slices.Concat(list(t, "testdata/right/*.yaml"), list(t, "testdata/right/value-sets/*.yaml"), list(t, "testdata/right/minors/*.yaml")) {
		if wrong := s.judge(s.root, read(t, file), ""); wrong != "" {
			t.Errorf("%s: %s", file, wrong)
		}
	}
	for name, at := range map[string]string{
		"unknown-keys": ".recipent", "unknown-standard": ".standard", "wrong-types": ".agreement.from", "clinic-choice": ".people.clinic_choice.registry_opt_out",
		"no-basis": "basis", "comma": ".release.scores.fields.person", "drop-written": ".release.scores.fields.provider_npi.do",
		"part2-by-default": ".people.consent.part2.without_directive", "cohort-of-nothing": ".cohort.release_after", "odd-words": ".agreement.kind",
		"not-this-format": ".postern", "condition-of-two-sets": ".release.scores.only.instrument", "protect-against": ".protect.against", "table-of-rows": ".tables",
	} {
		file := "testdata/wrong/" + name + ".yaml"
		if wrong := s.judge(s.root, read(t, file), ""); !strings.Contains(wrong, at) {
			t.Errorf("%s: the schema says %q, and should speak of %s", file, wrong, at)
		}
	}
}

// read gives a YAML file as an editor sees it: YAML 1.2, with dates as text.
func read(t *testing.T, file string) any {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	var document yaml.Node
	if err == nil {
		err = yaml.Unmarshal(text, &document)
	}
	if err != nil {
		t.Fatal(err)
	}
	return plain(document.Content[0])
}

func plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		list := []any{}
		for _, c := range n.Content {
			list = append(list, plain(c))
		}
		return list
	}
	switch number, err := strconv.ParseFloat(n.Value, 64); {
	case err == nil && (n.Tag == "!!int" || n.Tag == "!!float"):
		return number
	case n.Tag == "!!bool":
		return n.Value == "true"
	case n.Tag == "!!null":
		return nil
	}
	return n.Value
}

// schema is a validator of JSON Schema as far as ours uses it; it knows no
// other keyword and fails on one.
type schema struct {
	t    *testing.T
	root map[string]any
}

func newSchema(t *testing.T) *schema {
	s := &schema{t: t}
	if err := json.Unmarshal(JSONSchema(), &s.root); err != nil {
		t.Fatal(err)
	}
	return s
}

// judge gives the first thing that is wrong, with its path; "" when nothing is.
func (s *schema) judge(schema map[string]any, value any, at string) string {
	for _, keyword := range slices.Sorted(maps.Keys(schema)) {
		if wrong := s.keyword(keyword, schema, value, at); wrong != "" {
			return wrong
		}
	}
	return ""
}

func (s *schema) keyword(keyword string, schema map[string]any, value any, at string) string {
	rule := schema[keyword]
	object, isObject := value.(map[string]any)
	items, _ := value.([]any)
	ok := true
	switch keyword {
	case "$schema", "title", "description", "definitions", "then", "else":
	case "properties", "additionalProperties", "required":
		return s.members(keyword, schema, object, isObject, at)
	case "items":
		for i, item := range items {
			if wrong := s.judge(rule.(map[string]any), item, at+"["+strconv.Itoa(i)+"]"); wrong != "" {
				return wrong
			}
		}
	case "anyOf":
		ok = slices.ContainsFunc(rule.([]any), func(one any) bool { return s.judge(one.(map[string]any), value, at) == "" })
	case "if":
		branch := map[bool]string{true: "then", false: "else"}[s.judge(rule.(map[string]any), value, at) == ""]
		return s.judge(schema[branch].(map[string]any), value, at)
	case "$ref":
		name := strings.TrimPrefix(rule.(string), "#/definitions/")
		return s.judge(s.root["definitions"].(map[string]any)[name].(map[string]any), value, at)
	case "type":
		ok = hasType(rule, value)
	case "enum":
		ok = slices.Contains(rule.([]any), value)
	case "const":
		ok = reflect.DeepEqual(rule, value)
	case "pattern":
		text, isText := value.(string)
		ok = !isText || regexp.MustCompile(rule.(string)).MatchString(text)
	case "minProperties":
		ok = !isObject || float64(len(object)) >= rule.(float64)
	case "maxProperties":
		ok = !isObject || float64(len(object)) <= rule.(float64)
	default:
		s.t.Fatalf("the schema uses %s, which this validator does not know", keyword)
	}
	if !ok {
		return at + ": " + keyword
	}
	return ""
}

// members judges what a mapping holds, and what it lacks.
func (s *schema) members(keyword string, schema, object map[string]any, isObject bool, at string) string {
	known, _ := schema["properties"].(map[string]any)
	others, _ := schema["additionalProperties"].(map[string]any)
	if keyword == "required" {
		for _, key := range schema[keyword].([]any) {
			if _, is := object[key.(string)]; isObject && !is {
				return at + ": lacks " + key.(string)
			}
		}
		return ""
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		inner, is := known[key].(map[string]any)
		switch {
		case is != (keyword == "properties"):
			continue
		case !is && others == nil:
			return at + "." + key + ": unknown"
		case !is:
			inner = others
		}
		if wrong := s.judge(inner, object[key], at+"."+key); wrong != "" {
			return wrong
		}
	}
	return ""
}

func hasType(rule, value any) bool {
	if several, ok := rule.([]any); ok {
		return slices.ContainsFunc(several, func(one any) bool { return hasType(one, value) })
	}
	switch number, isNumber := value.(float64); rule {
	case "object":
		_, ok := value.(map[string]any)
		return ok
	case "array":
		_, ok := value.([]any)
		return ok
	case "string":
		_, ok := value.(string)
		return ok
	case "boolean":
		_, ok := value.(bool)
		return ok
	case "integer":
		return isNumber && number == float64(int64(number))
	default:
		return isNumber && rule == "number"
	}
}
