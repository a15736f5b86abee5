package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// structure is a StructureDefinition, as far as the table needs it.
type structure struct {
	ResourceType string
	ID           string
	Kind         string
	Derivation   string
	Abstract     bool
	FHIRVersion  string
	Snapshot     struct{ Element []elementDefinition }
}

type elementDefinition struct {
	Path             string
	Max              string
	ContentReference string
	Type             []struct {
		Code          string
		TargetProfile []string
	}
}

// typeDef is one line of the table.
type typeDef struct {
	resource bool
	elements map[string]element
}

type element struct {
	typ     string
	many    bool
	class   string // of a leaf
	targets []string
}

// notInFHIR are the elements that the package adds to FHIR 4.0.1.
var notInFHIR = map[string]bool{"Meta.project": true, "Meta.author": true, "Meta.account": true}

// openChoice is the fewest types by which value[x] may be of any type at all:
// FHIR R4 lists 50 of them (Data Types, Open Type Element); the widest closed
// choice has 12.
const openChoice = 30

func readStructures(files ...string) ([]structure, error) {
	var all []structure
	for _, file := range files {
		resources, err := readBundle[structure](file)
		if err != nil {
			return nil, err
		}
		for _, s := range resources {
			if s.ResourceType == "StructureDefinition" && s.FHIRVersion == "4.0.1" && s.Derivation != "constraint" && s.Kind != "logical" {
				all = append(all, s)
			}
		}
	}
	return all, nil
}

func readBundle[T any](file string) ([]T, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var bundle struct{ Entry []struct{ Resource T } }
	if err := json.Unmarshal(data, &bundle); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var all []T
	for _, e := range bundle.Entry {
		all = append(all, e.Resource)
	}
	return all, nil
}

// buildTypes gives the types of the table by name. Abstract types have no
// instances and are left out; their elements stand in every snapshot.
func buildTypes(structures []structure) (map[string]*typeDef, error) {
	types := map[string]*typeDef{}
	for _, s := range structures {
		if s.Kind == "primitive-type" {
			if _, ok := primitiveClasses[s.ID]; !ok {
				return nil, fmt.Errorf("primitive type %s has no class: add it to primitiveClasses", s.ID)
			}
		} else if !s.Abstract {
			addStructure(types, s)
		}
	}
	for _, path := range sortedKeys(narrowed) {
		if err := narrow(types, path, narrowed[path]); err != nil {
			return nil, err
		}
	}
	return types, nil
}

// addStructure adds the type of a snapshot and one for each element of it
// that has elements of its own.
func addStructure(types map[string]*typeDef, s structure) {
	for _, e := range s.Snapshot.Element {
		parent, name := cutLast(e.Path)
		if parent == "" || notInFHIR[e.Path] {
			continue
		}
		if types[parent] == nil {
			types[parent] = &typeDef{resource: s.Kind == "resource" && parent == s.ID, elements: map[string]element{}}
		}
		elements := types[parent].elements
		many := e.Max != "1"
		if e.ContentReference != "" {
			elements[name] = element{typ: strings.TrimPrefix(e.ContentReference, "#"), many: many}
			continue
		}
		stem, choice := strings.CutSuffix(name, "[x]")
		for _, t := range e.Type {
			one := element{typ: t.Code, many: many, targets: targets(t.Code, t.TargetProfile)}
			switch {
			case t.Code == "BackboneElement" || t.Code == "Element":
				one.typ = e.Path
			case strings.HasPrefix(t.Code, "http://hl7.org/fhirpath/System."): // Element.id, Resource.id, Extension.url
				one.typ = map[string]string{"id": "string", "url": "uri"}[name]
				if s.Kind == "resource" && parent == s.ID {
					one.typ = "id"
				}
			}
			member := stem
			if choice {
				member += strings.ToUpper(t.Code[:1]) + t.Code[1:]
			}
			one.class = classOf(parent, member, one.typ, len(e.Type) >= openChoice, s.Kind == "resource")
			elements[member] = one
		}
	}
}

// targets names the resource types that a Reference may point to; Resource
// stands for any.
func targets(code string, profiles []string) []string {
	if code != "Reference" {
		return nil
	}
	if len(profiles) == 0 {
		return []string{"Resource"}
	}
	var names []string
	for _, p := range profiles {
		names = append(names, p[strings.LastIndexByte(p, '/')+1:])
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (t *typeDef) write(name string, b *bytes.Buffer) {
	kind := "type "
	if t.resource {
		kind = "resource "
	}
	b.WriteString(kind + name)
	for _, name := range sortedKeys(t.elements) {
		e := t.elements[name]
		b.WriteString(" " + name + ":" + e.typ)
		if e.many {
			b.WriteByte('*')
		}
		if e.class != "" && e.class != primitiveClasses[e.typ] {
			b.WriteString("=" + e.class)
		}
		if len(e.targets) > 0 {
			b.WriteString(">" + strings.Join(e.targets, "|"))
		}
	}
	b.WriteByte('\n')
}

func cutLast(path string) (parent, name string) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
