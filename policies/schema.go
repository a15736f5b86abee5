package policies

import (
	_ "embed"
	"reflect"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// JSONSchema is the JSON Schema (draft 7, which all editors read) of policies, value sets, rules for minors and layouts, by
// which editors name the keys and values there are, and underline others. What
// it lets pass is not right yet: Load and Check decide.
func JSONSchema() []byte { return policySchema }

//go:embed policy.schema.json
var policySchema []byte

// buildSchema makes the schema from the structs that files are read into.
func buildSchema() map[string]any {
	return map[string]any{
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"title":       "Postern: policies (policy/v1), value sets (value-set/v1), rules for minors (minor-rules/v1) and layouts (layout/v1)",
		"definitions": map[string]any{"policy": schemaOf[file](), "value-set": schemaOf[valueSetFile](), "minor-rules": schemaOf[minorRulesFile](), "layout": schemaOf[layoutFile]()},
		"if":          isA("value-set/v1"),
		"then":        map[string]any{"$ref": "#/definitions/value-set"},
		"else": map[string]any{
			"if":   isA("minor-rules/v1"),
			"then": map[string]any{"$ref": "#/definitions/minor-rules"},
			"else": map[string]any{
				"if":   isA("layout/v1"),
				"then": map[string]any{"$ref": "#/definitions/layout"},
				"else": map[string]any{"$ref": "#/definitions/policy"},
			},
		},
	}
}

func isA(language string) map[string]any {
	return map[string]any{"properties": map[string]any{"postern": map[string]any{"const": language}}, "required": []any{"postern"}}
}

func schemaOf[T any]() map[string]any { return strictyaml.Schema(reflect.TypeFor[T]()) }

func oneOf(shapes ...any) map[string]any { return map[string]any{"anyOf": shapes} }
