package strictyaml

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Node is a value as it stands in the file, before it is read into anything.
// The zero Node stands for an absent value and is empty.
type Node struct {
	yaml   *yaml.Node
	path   string
	source *Source
}

// NodeEntry is one key of a mapping with its value.
type NodeEntry struct {
	Key    string
	KeyPos Pos
	Value  Node
}

// Path is the key path of the node.
func (n Node) Path() string { return n.path }

// Key is the last key of the path.
func (n Node) Key() string { return strings.TrimPrefix(n.path[len(parent(n.path)):], ".") }

// Pos is the place where the node begins.
func (n Node) Pos() Pos {
	if n.yaml == nil {
		return Pos{1, 1}
	}
	return Pos{n.yaml.Line, n.yaml.Column}
}

// IsEmpty tells whether the value is absent or null.
func (n Node) IsEmpty() bool {
	return n.yaml == nil || n.yaml.Kind == yaml.ScalarNode && n.yaml.Tag == "!!null"
}

func (n Node) IsMap() bool    { return n.yaml != nil && n.yaml.Kind == yaml.MappingNode }
func (n Node) IsList() bool   { return n.yaml != nil && n.yaml.Kind == yaml.SequenceNode }
func (n Node) IsScalar() bool { return n.yaml != nil && n.yaml.Kind == yaml.ScalarNode }

// Text is a scalar as it is written, without quotes; "" of anything else.
func (n Node) Text() string {
	if !n.IsScalar() {
		return ""
	}
	return n.yaml.Value
}

// Items are the values of a list.
func (n Node) Items() []Node {
	if !n.IsList() {
		return nil
	}
	items := make([]Node, len(n.yaml.Content))
	for i, c := range n.yaml.Content {
		items[i] = Node{c, fmt.Sprintf("%s[%d]", n.path, i), n.source}
	}
	return items
}

// Entries are the keys of a mapping in the order of the file. Keys that are
// no text, and second ones, are left out: they are mistakes already.
func (n Node) Entries() []NodeEntry {
	if !n.IsMap() {
		return nil
	}
	seen := map[string]bool{}
	var list []NodeEntry
	for i := 0; i+1 < len(n.yaml.Content); i += 2 {
		key := n.yaml.Content[i]
		if key.Kind != yaml.ScalarNode || key.Tag != "!!str" || seen[key.Value] {
			continue
		}
		seen[key.Value] = true
		value := Node{n.yaml.Content[i+1], Join(n.path, key.Value), n.source}
		list = append(list, NodeEntry{key.Value, Pos{key.Line, key.Column}, value})
	}
	return list
}

// TextAt is the text of the entry with a key; "" when there is none.
func (n Node) TextAt(key string) string {
	for _, e := range n.Entries() {
		if e.Key == key {
			return e.Value.Text()
		}
	}
	return ""
}

// Decode reads the node into what the pointer points to; mistakes join those
// of the file.
func (n Node) Decode(into any) {
	if n.yaml != nil {
		n.into(reflect.ValueOf(into).Elem())
	}
}

// Fail notes a mistake at the node.
func (n Node) Fail(hint, format string, args ...any) {
	if n.source != nil {
		n.source.errs.Add(n.Pos(), n.path, fmt.Sprintf(format, args...), hint)
	}
}

// Entry is one key of an Ordered mapping.
type Entry[T any] struct {
	Key   string
	Path  string
	Value T
}

// Ordered is a mapping whose order counts.
type Ordered[T any] []Entry[T]

func (o *Ordered[T]) UnmarshalNode(n Node) {
	if !n.want(yaml.MappingNode) {
		return
	}
	for _, e := range n.Entries() {
		entry := Entry[T]{Key: e.Key, Path: e.Value.path}
		e.Value.into(reflect.ValueOf(&entry.Value).Elem())
		*o = append(*o, entry)
	}
}
