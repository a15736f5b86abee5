package strictyaml

import (
	"reflect"
	"time"
)

// Schemer is a type that describes itself to editors, because it reads itself.
type Schemer interface{ Schema() map[string]any }

// Schema is the JSON Schema (draft 7) of the files that Decode reads into
// a value of the type. It accepts every file that Decode accepts; Decode, and
// what is checked after it, may refuse more.
func Schema(t reflect.Type) map[string]any {
	switch described := reflect.New(t).Interface().(type) {
	case Schemer:
		return described.Schema()
	case *time.Time:
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return Schema(t.Elem())
	case reflect.Struct:
		return structSchema(t)
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": Schema(t.Elem())}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": Schema(t.Elem())}
	case reflect.Bool:
		return map[string]any{"enum": []any{true, false, "yes", "no"}}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	}
	return map[string]any{"type": []any{"string", "number", "boolean"}} // text as it is written
}

func structSchema(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []any{}
	for _, f := range fields(t) {
		property := Schema(t.Field(f.index).Type)
		if len(f.words) > 0 {
			property = wordsSchema(f.words, t.Field(f.index).Type)
		}
		if f.about != "" {
			property["description"] = f.about
		}
		properties[f.name] = property
		if f.required {
			required = append(required, f.name)
		}
	}
	schema := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		schema["required"] = required
	}
	return schema
}

func wordsSchema(words []string, t reflect.Type) map[string]any {
	list := make([]any, len(words))
	for i, w := range words {
		list[i] = w
	}
	if t.Kind() == reflect.Slice {
		return map[string]any{"type": "array", "items": map[string]any{"enum": list}}
	}
	return map[string]any{"enum": list}
}

func textLike(pattern string) map[string]any {
	return map[string]any{"type": "string", "pattern": pattern}
}

func (*Percent) Schema() map[string]any { return textLike(`^[0-9.]+ *%$`) }

func (*Duration) Schema() map[string]any {
	return textLike(`^[0-9]+ ?(s|seconds?|m|minutes?|h|hours?|d|days?|w|weeks?|years?)$`)
}

func (*Date) Schema() map[string]any { return textLike(`^([0-9]{4}-[0-9]{2}-[0-9]{2}|open)$`) }

func (*Ordered[T]) Schema() map[string]any {
	return map[string]any{"type": "object", "additionalProperties": Schema(reflect.TypeFor[T]())}
}
