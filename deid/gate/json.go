package gate

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// node is one step of the declared paths. It is either a leaf, with a grammar,
// or has children; the paths are finite, so the depth of a row is bounded.
type node struct {
	name     string
	url      string // of an extension step
	path     string
	site     *site // of a leaf
	children []*node
}

func (n *node) child(name []byte) *node {
	for _, c := range n.children {
		if c.name == string(name) && c.url == "" {
			return c
		}
	}
	return nil
}

func (n *node) extension(url []byte) *node {
	for _, c := range n.children {
		if c.url == string(url) {
			return c
		}
	}
	return nil
}

func (g *Gate) addPath(p *Position) error {
	steps, err := splitPath(p.Path)
	if err != nil {
		return err
	}
	if len(steps) < 2 {
		return fmt.Errorf("%s names no element below the resource type", p.Path)
	}
	nodes := &g.types
	var last *node
	if steps[1] == "resourceType" {
		steps = steps[:1] // it chooses the type, and stands once
	}
	for _, step := range steps {
		last = findOrAdd(nodes, step, last)
		if last.site != nil {
			return fmt.Errorf("%s stands twice, or below a position", p.Path)
		}
		nodes = &last.children
	}
	if len(steps) == 1 {
		return nil
	}
	if len(last.children) > 0 {
		return fmt.Errorf("%s is both a value and a parent of values", p.Path)
	}
	last.site = &site{path: last.path, judge: p.Grammar.judge}
	return nil
}

func findOrAdd(nodes *[]*node, step string, parent *node) *node {
	name, url := step, ""
	if open := strings.IndexByte(step, '('); open >= 0 {
		name, url = step[:open], step[open+1:len(step)-1]
	}
	for _, n := range *nodes {
		if n.name == name && n.url == url {
			return n
		}
	}
	n := &node{name: name, url: url, path: step}
	if parent != nil {
		n.path = parent.path + "." + step
	}
	*nodes = append(*nodes, n)
	return n
}

func splitPath(path string) ([]string, error) {
	var steps []string
	for path != "" {
		end := strings.IndexByte(path, '.')
		if open := strings.IndexByte(path, '('); open >= 0 && (end < 0 || open < end) {
			end = strings.IndexByte(path, ')') + 1
			if end == 0 || end < len(path) && path[end] != '.' {
				return nil, errors.New("a step with a parenthesis is written name(URL)")
			}
		}
		if end < 0 {
			end = len(path)
		}
		if end == 0 {
			return nil, errors.New("the path has an empty step")
		}
		steps = append(steps, path[:end])
		path = strings.TrimPrefix(path[end:], ".")
	}
	return steps, nil
}

// readResource reads one line: {"resourceType":"T",…}, that member first, as
// the engine writes it.
func (g *Gate) readResource() bool {
	const opening = `{"resourceType":"`
	if len(g.line) < len(opening) || string(g.line[:len(opening)]) != opening {
		return g.stop("", RuleUnparseable)
	}
	g.at = len(opening) - 1
	name, ok := g.readString()
	if !ok {
		return g.stop("", RuleUnparseable)
	}
	var root *node
	for _, t := range g.types {
		if t.name == string(name) {
			root = t
		}
	}
	if root == nil {
		return g.stop("", RuleUndeclared)
	}
	if !g.readMembers(root, false) {
		return false
	}
	if g.at != len(g.line) {
		return g.stop(root.path, RuleUnparseable)
	}
	return true
}

// readMembers reads to the end of an object. first says that nothing but the
// brace has been read of it.
func (g *Gate) readMembers(n *node, first bool) bool {
	for g.at < len(g.line) {
		if !first {
			c := g.line[g.at]
			g.at++
			if c == '}' {
				return true
			}
			if c != ',' {
				break
			}
		}
		first = false
		name, ok := g.readName()
		if !ok {
			break
		}
		if !g.readMember(n, name) {
			return false
		}
	}
	return g.stop(n.path, RuleUnparseable)
}

func (g *Gate) readMember(n *node, name []byte) bool {
	if n.url != "" && string(name) == "url" {
		// The URL chose this node; a second one would be another extension.
		url, ok := g.readString()
		if !ok || string(url) != n.url {
			return g.stop(n.path, RuleUnparseable)
		}
		return true
	}
	if string(name) == "extension" {
		return g.readArray(n, true)
	}
	child := n.child(name)
	if child == nil {
		return g.stop(n.path, RuleUndeclared)
	}
	return g.readValue(child)
}

// readName reads `"name":`. Our names need no escapes, so one with a
// backslash is not ours.
func (g *Gate) readName() ([]byte, bool) {
	if g.at >= len(g.line) || g.line[g.at] != '"' {
		return nil, false
	}
	start := g.at + 1
	for i := start; i < len(g.line); i++ {
		switch c := g.line[i]; {
		case c == '"':
			g.at = i + 2
			return g.line[start:i], i+1 < len(g.line) && g.line[i+1] == ':'
		case c == '\\' || c < ' ':
			return nil, false
		}
	}
	return nil, false
}

func (g *Gate) readValue(n *node) bool {
	if g.at >= len(g.line) {
		return g.stop(n.path, RuleUnparseable)
	}
	switch g.line[g.at] {
	case '{':
		if n.site != nil {
			return g.stop(n.path, RuleUndeclared)
		}
		g.at++
		return g.readMembers(n, true)
	case '[':
		return g.readArray(n, false)
	}
	if n.site == nil {
		return g.stop(n.path, RuleUndeclared)
	}
	value, ok := g.readScalar()
	if !ok || len(value) == 0 {
		return g.stop(n.path, RuleUnparseable)
	}
	if rule := g.admit(n.site, value); rule != "" {
		return g.stop(n.path, rule)
	}
	return true
}

// readArray reads the elements of an array: values of n, or, where they are
// extensions, each under the child of n that has its URL. FHIR has neither
// empty arrays nor arrays of arrays.
func (g *Gate) readArray(n *node, extensions bool) bool {
	if g.at >= len(g.line) || g.line[g.at] != '[' {
		return g.stop(n.path, RuleUnparseable)
	}
	for {
		g.at++
		if g.at >= len(g.line) || g.line[g.at] == '[' || g.line[g.at] == ']' {
			return g.stop(n.path, RuleUnparseable)
		}
		element := n
		if extensions {
			element = g.chooseExtension(n)
			if element == nil {
				return g.stop(n.path, RuleUndeclared)
			}
		}
		if !g.readValue(element) {
			return false
		}
		if g.at < len(g.line) && g.line[g.at] == ']' {
			g.at++
			return true
		}
		if g.at >= len(g.line) || g.line[g.at] != ',' {
			return g.stop(n.path, RuleUnparseable)
		}
	}
}

// chooseExtension looks ahead for the member url of the object that begins
// here; it may stand last (US Core race often has it there).
func (g *Gate) chooseExtension(n *node) *node {
	begin := g.at
	defer func() { g.at = begin }()
	depth := 0
	for g.at < len(g.line) {
		switch g.line[g.at] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return nil
			}
		case '"':
			isName := g.line[g.at-1] == '{' || g.line[g.at-1] == ','
			value, ok := g.readString()
			if !ok {
				return nil
			}
			if depth == 1 && isName && string(value) == "url" {
				g.at++
				if url, ok := g.readString(); ok {
					return n.extension(url)
				}
				return nil
			}
			continue
		}
		g.at++
	}
	return nil
}

// readScalar reads a string, a number or a boolean; null is not ours.
func (g *Gate) readScalar() ([]byte, bool) {
	start := g.at
	switch c := g.line[start]; {
	case c == '"':
		return g.readString()
	case c == '-' || c >= '0' && c <= '9':
		g.at += numberLength(g.line[start:])
		return g.line[start:g.at], g.at > start
	}
	for _, word := range literals {
		if bytes.HasPrefix(g.line[start:], word) {
			g.at += len(word)
			return g.line[start:g.at], true
		}
	}
	return nil, false
}

var literals = [...][]byte{[]byte("true"), []byte("false")}
