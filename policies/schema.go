package policies

import (
	_ "embed"
	"reflect"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// JSONSchema is the JSON Schema (draft 7, which all editors read) of policies and value sets, by
// which editors name the keys and values there are, and underline others. What
// it lets pass is not right yet: Load and Check decide.
func JSONSchema() []byte { return policySchema }

//go:embed policy.schema.json
var policySchema []byte

// buildSchema makes the schema from the structs that files are read into.
func buildSchema() map[string]any {
	return map[string]any{
		"$schema":     "http://json-schema.org/draft-07/schema#",
		"title":       "Postern: policies (policy/v1) and value sets (value-set/v1)",
		"definitions": map[string]any{"policy": schemaOf[file](), "value-set": schemaOf[valueSetFile]()},
		"if":          map[string]any{"properties": map[string]any{"postern": map[string]any{"const": "value-set/v1"}}, "required": []any{"postern"}},
		"then":        map[string]any{"$ref": "#/definitions/value-set"},
		"else":        map[string]any{"$ref": "#/definitions/policy"},
	}
}

func schemaOf[T any]() map[string]any { return strictyaml.Schema(reflect.TypeFor[T]()) }

func oneOf(shapes ...any) map[string]any { return map[string]any{"anyOf": shapes} }
