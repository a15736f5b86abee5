// Package strictyaml reads the YAML files that people write for Postern
// (postern.yaml, policies, case files) into Go structs, and says everything
// that is wrong with them at once, each mistake with its place.
//
// It accepts a subset of YAML 1.2 (yaml.org/spec/1.2.2): one document of
// mappings, lists and plain or quoted scalars. Anchors, aliases, tags, merge
// keys, doubled keys, keys that are not text and empty values are mistakes,
// because each of them makes a file mean something else than it seems to say.
// Keys that the target does not know are mistakes too: nothing is ignored.
//
// Struct fields carry a tag: `yaml:"name"` or `yaml:"name,required"`; a field
// without one is not read. A second tag, `words:"keep|year"`, lists the only
// values there are, and `why:"…"` says why where that is not plain; `about:"…"`
// describes the key to people. From the same tags Schema makes a JSON Schema,
// by which editors help while the file is being written. Targets may be string, int, int64, float64, bool
// (true, false, yes, no), time.Time (RFC 3339), Percent, Duration, Date,
// slices, map[string]T, Ordered[T], pointers, structs, Node, and any type
// that has UnmarshalNode. A string takes a scalar as it is written, so that
// 44261-6 and 007 stay what they are.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Limits of what is read.
const (
	MaxSize  = 1 << 20 // bytes of a file
	MaxDepth = 32      // mappings and lists inside one another
)

// Unmarshaler is a type that reads itself from a node: for values that may
// have one of several shapes. Mistakes are reported with Node.Fail.
type Unmarshaler interface{ UnmarshalNode(n Node) }

// Option changes how Decode reads.
type Option func(*Source)

// Drafts lets scalars that begin with PlaceholderPrefix stand anywhere: their
// targets keep their zero value (strings take the text), and
// Source.Placeholders lists them. Without this option they are mistakes.
func Drafts(s *Source) { s.drafts = true }

// PlaceholderPrefix begins a value that a person has still to fill in.
const PlaceholderPrefix = "FILL IN"

// ErrPlaceholder is the cause of a mistake that is a value still to fill in.
var ErrPlaceholder = errors.New("a placeholder is not filled in")

// Source is a file that was read: it knows where each key path stands.
type Source struct {
	File   string
	errs   *Errors
	drafts bool
	values map[string]Pos // of each key path
	keys   map[string]Pos
	holes  []Mistake
}

// Files are the YAML files (*.yaml) of a folder and the folders below it, in
// byte order; of a file, that file.
func Files(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(name) == ".yaml" {
			files = append(files, name)
		}
		return err
	})
	return files, err
}

// Decode reads data into the struct, map or list that into points to. The
// error is an *Errors that holds all mistakes; the Source is never nil, so
// that what was understood can be checked further and reported with it.
func Decode(file string, data []byte, into any, options ...Option) (*Source, error) {
	s := &Source{File: file, values: map[string]Pos{}, keys: map[string]Pos{}}
	s.errs = &Errors{File: file, texts: map[string][]byte{file: data}, seen: map[Mistake]bool{}}
	for _, o := range options {
		o(s)
	}
	if root := s.parse(data); root != nil {
		Node{yaml: root, source: s}.Decode(into)
	}
	return s, s.errs.Err()
}

// parse gives the root of the one document of data after checking its form.
// It is nil when nothing of it can be trusted.
func (s *Source) parse(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		s.errs.Add(Pos{1, 1}, "", fmt.Sprintf("the file has more than %d bytes", MaxSize), "split it")
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	err := decoder.Decode(&document)
	if errors.Is(err, io.EOF) || err == nil && len(document.Content) == 0 {
		s.errs.Add(Pos{1, 1}, "", "the file is empty", "")
		return nil
	}
	if err != nil {
		s.addSyntax(err)
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		s.errs.Add(Pos{second.Line, max(second.Column, 1)}, "", "a second document begins here", "one file holds one document: remove the line ---")
	} else if !errors.Is(err, io.EOF) {
		s.addSyntax(err)
		return nil
	}
	root := document.Content[0]
	if !s.checkForm(root, "", 1) {
		return nil
	}
	return root
}

func (s *Source) addSyntax(err error) {
	pos, message := Pos{1, 1}, err.Error()
	var syntax *yaml.LoadError
	if errors.As(err, &syntax) {
		message = syntax.Message
		if syntax.Mark.Line > 0 {
			pos = Pos{syntax.Mark.Line, max(syntax.Mark.Column, 1)}
		}
	}
	s.errs.Add(pos, "", "not readable as YAML: "+message, "look at indentation, quotes and brackets here and on the line above; tabs cannot indent")
}

// checkForm records where every key path stands and refuses what the subset
// leaves out. It is false when the tree is too deep to walk.
func (s *Source) checkForm(n *yaml.Node, path string, depth int) bool {
	at := Pos{n.Line, n.Column}
	if depth > MaxDepth {
		s.errs.Add(at, path, fmt.Sprintf("more than %d levels deep", MaxDepth), "")
		return false
	}
	s.values[path] = at
	if n.Anchor != "" {
		s.errs.Add(at, path, "anchors (&"+n.Anchor+") are not read", "write the value out where it is needed")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		s.errs.Add(at, path, "tags ("+n.Tag+") are not read", "remove the tag; put text in quotes")
	}
	switch n.Kind {
	case yaml.AliasNode:
		s.errs.Add(at, path, "aliases (*"+n.Value+") are not read", "write the value out here")
	case yaml.SequenceNode:
		for i, item := range n.Content {
			if !s.checkForm(item, fmt.Sprintf("%s[%d]", path, i), depth+1) {
				return false
			}
		}
	case yaml.MappingNode:
		return s.checkMapping(n, path, depth)
	}
	return true
}

func (s *Source) checkMapping(n *yaml.Node, path string, depth int) bool {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		at, inner := Pos{key.Line, key.Column}, Join(path, key.Value)
		switch line, doubled := first[key.Value]; {
		case key.Tag == "!!merge":
			s.errs.Add(at, path, "merge keys (<<) are not read", "write the keys out here")
		case key.Kind != yaml.ScalarNode || key.Tag != "!!str" || key.Anchor != "":
			s.errs.Add(at, path, "a key must be plain text", "put it in quotes")
		case doubled:
			s.errs.Add(at, inner, fmt.Sprintf("the key is written twice, first on line %d", line), "keep one of them")
			continue
		}
		first[key.Value] = key.Line
		s.keys[inner] = at
		value := n.Content[i+1]
		if !s.checkForm(value, inner, depth+1) {
			return false
		}
		if value.Line > key.Line { // what begins below its key is found by its key
			s.values[inner] = at
		}
	}
	return true
}

// At gives the place of the value at a key path, or of the nearest thing that
// encloses it when the path is not in the file. A nil Source holds nothing.
func (s *Source) At(path string) Pos {
	for s != nil {
		if pos, ok := s.values[path]; ok {
			return pos
		}
		if path == "" {
			return Pos{1, 1}
		}
		path = parent(path)
	}
	return Pos{}
}

// AtKey gives the place of the key itself, else what At gives.
func (s *Source) AtKey(path string) Pos {
	if pos, ok := s.keys[path]; ok {
		return pos
	}
	return s.At(path)
}

// Has tells whether the file holds the key path.
func (s *Source) Has(path string) bool {
	if s == nil {
		return false
	}
	_, ok := s.values[path]
	return ok
}

// Errors gives the mistakes found so far, to add later ones to.
func (s *Source) Errors() *Errors { return s.errs }

// NewErrors is an empty list for mistakes of this file that are found later.
func (s *Source) NewErrors() *Errors { return &Errors{File: s.File, texts: s.errs.texts} }

// Placeholders lists the values that are still to be filled in; see Drafts.
func (s *Source) Placeholders() []Mistake {
	if s == nil {
		return nil
	}
	return s.holes
}

// IsPlaceholder tells whether the value at the path is still to be filled in,
// or one that would hold it.
func (s *Source) IsPlaceholder(path string) bool {
	return slices.ContainsFunc(s.Placeholders(), func(m Mistake) bool { return m.Path == path || strings.HasPrefix(path, m.Path+".") })
}

// Join is the path of a key inside a path. Keys with characters that paths
// use themselves stand in quotes.
func Join(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".[]\"\\ \n\t") {
		key = fmt.Sprintf("%q", key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func parent(path string) string {
	if path == "" {
		return ""
	}
	end := len(path)
	switch path[end-1] {
	case ']':
		return path[:max(strings.LastIndexByte(path, '['), 0)]
	case '"':
		for end--; end > 0; end-- {
			if path[end-1] == '"' && (end < 2 || path[end-2] != '\\') {
				return strings.TrimSuffix(path[:end-1], ".")
			}
		}
		return ""
	}
	return path[:max(strings.LastIndexByte(path, '.'), 0)]
}
