package policies

import (
	"encoding/json"
	"reflect"
	"slices"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// languages are those of the files that officers write beside each other, by
// the word before the version on their first line, with the shape of each.
var languages = []struct {
	name  string
	shape map[string]any
}{
	{"value-set", schemaOf[valueSetFile]()}, {"minor-rules", schemaOf[minorRulesFile]()}, {"layout", schemaOf[layoutFile]()}, {"policy", schemaOf[file]()},
}

// JSONSchema is the JSON Schema (draft 7, which all editors read) of policies,
// value sets, rules for minors and layouts, by which editors name the keys and
// values there are, and underline others. What it lets pass is not right yet:
// Load and Check decide.
func JSONSchema() []byte {
	definitions := map[string]any{}
	var choice any
	for _, l := range slices.Backward(languages) { // the last is what a file is that names none
		definitions[l.name] = l.shape
		this := map[string]any{"$ref": "#/definitions/" + l.name}
		if choice == nil {
			choice = this
			continue
		}
		is := map[string]any{"properties": map[string]any{"postern": map[string]any{"const": l.name + "/v1"}}, "required": []any{"postern"}}
		choice = map[string]any{"if": is, "then": this, "else": choice}
	}
	whole := choice.(map[string]any)
	whole["$schema"], whole["definitions"] = "http://json-schema.org/draft-07/schema#", definitions
	whole["title"] = "Postern: policies (policy/v1), value sets (value-set/v1), rules for minors (minor-rules/v1) and layouts (layout/v1)"
	text, _ := json.MarshalIndent(whole, "", " ") // of maps and texts: it cannot fail
	return append(text, '\n')
}

func schemaOf[T any]() map[string]any { return strictyaml.Schema(reflect.TypeFor[T]()) }

func oneOf(shapes ...any) map[string]any { return map[string]any{"anyOf": shapes} }
