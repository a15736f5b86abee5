package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// valueSetFile is the shape of a value set: codes, or a map from code to code.
type valueSetFile struct {
	Postern   string `yaml:"postern,required" words:"value-set/v1" why:"this version of Postern reads value-set/v1" about:"the language and its version"`
	Title     string `yaml:"title,required"`
	Source    string `yaml:"source,required" about:"where the codes were taken from, with the release or date"`
	Licence   string `yaml:"licence,required" about:"under which licence they are used"`
	System    string `yaml:"system" about:"the URI of the code system"`
	Effective struct {
		From strictyaml.Date `yaml:"from,required"`
		To   strictyaml.Date `yaml:"to,required" about:"its last day, or open"`
	} `yaml:"effective,required" about:"when it may be used; outside of it, the exchange stops"`
	Codes    []codeFile                 `yaml:"codes" about:"single codes"`
	Prefixes []string                   `yaml:"prefixes" about:"every code that begins so"`
	Ranges   []string                   `yaml:"ranges" about:"every code from one to another, such as F10..F19, with those below the last"`
	Map      strictyaml.Ordered[string] `yaml:"map" about:"instead of codes: what each code becomes"`
}

// codeFile is a code, alone or with the words that people know it by.
type codeFile struct {
	Code    string `yaml:"code,required"`
	Display string `yaml:"display"`
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (c *codeFile) UnmarshalNode(n strictyaml.Node) {
	type both codeFile // without this method
	if n.IsMap() {
		n.Decode((*both)(c))
		return
	}
	n.Decode(&c.Code)
}

// Schema implements strictyaml.Schemer.
func (*codeFile) Schema() map[string]any {
	type both codeFile
	return oneOf(schemaOf[string](), schemaOf[both]())
}

// read reads a file that the policy names at a key path and makes it a part of
// the closure; ok is false, and a mistake noted, when it cannot.
func (r *reading) read(path, name string) (data []byte, ok bool) {
	if !filepath.IsLocal(filepath.FromSlash(name)) {
		r.add(path, "keep it beside the policy and name it by a relative path", "%q leaves the policy's folder", name)
		return nil, false
	}
	data, err := r.open(name)
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err // the path is said already
		}
		r.add(path, "paths are relative to the policy file", "cannot read %q: %v", name, err)
		return nil, false
	}
	sum := sha256.Sum256(data)
	r.policy.includes = append(r.policy.includes, Include{name, hex.EncodeToString(sum[:])})
	return data, true
}

func (r *reading) includes() {
	r.policy.ValueSets = map[string]*ValueSet{}
	for _, in := range r.file.Include {
		r.policy.ValueSets[in.Key] = nil // named, if it cannot be read
		if r.broken[in.Path] || r.source.IsPlaceholder(in.Path) {
			continue
		}
		if data, ok := r.read(in.Path, in.Value); ok {
			before := len(r.errs.List)
			r.policy.ValueSets[in.Key] = r.valueSet(in.Value, data)
			r.broken[in.Path] = len(r.errs.List) > before
		}
	}
}

// valueSet reads one included file; its mistakes join those of the policy.
func (r *reading) valueSet(name string, data []byte) *ValueSet {
	var f valueSetFile
	source, _ := strictyaml.Decode(filepath.Join(filepath.Dir(r.policy.File), filepath.FromSlash(name)), data, &f, strictyaml.Drafts)
	in := newReading(source, nil)
	if source.Has("") {
		in.text("title", f.Title)
		in.text("source", f.Source)
		in.text("licence", f.Licence)
	}
	set := &ValueSet{Title: f.Title, Source: f.Source, Licence: f.Licence, System: f.System, To: extract.NoDay,
		From: in.date("effective.from", f.Effective.From)}
	if !f.Effective.To.Open {
		set.To = in.date("effective.to", f.Effective.To)
		in.must(set.To >= set.From || set.To == extract.NoDay, "effective.to", "", "it ends before it begins")
	}
	set.Codes, set.Display = in.codes(&f), map[string]string{}
	for _, c := range f.Codes {
		if c.Display != "" {
			set.Display[c.Code] = c.Display
		}
	}
	if in.source.Has("map") {
		set.Map = in.mapping(&f)
	}
	r.errs.Join(in.errs)
	r.policy.unfilled = append(r.policy.unfilled, source.Placeholders()...)
	return set
}

// codes are all that the file lists, one by one, by prefix and by range.
func (in *reading) codes(f *valueSetFile) CodeSet {
	var single []string
	for i, c := range f.Codes {
		path := fmt.Sprintf("codes[%d]", i)
		if !in.broken[path+".code"] {
			in.text(path, c.Code)
		}
		in.must(!slices.Contains(single, c.Code), path, "keep one of them", "the code %s is there twice", c.Code)
		single = append(single, c.Code)
	}
	sets := []CodeSet{Codes(single...)}
	for i, prefix := range f.Prefixes {
		in.text(fmt.Sprintf("prefixes[%d]", i), prefix)
		sets = append(sets, CodePrefix(prefix))
	}
	for i, text := range f.Ranges {
		from, to, ok := strings.Cut(text, "..")
		set := CodeRange(from, to)
		in.must(ok && from != "" && !set.Empty(), fmt.Sprintf("ranges[%d]", i), "write it like F10..F19, the first code first", "%q is no range of codes", text)
		sets = append(sets, set)
	}
	all := Union(sets...)
	if all.Empty() && !in.source.Has("map") && len(in.errs.List) == 0 && len(in.source.Placeholders()) == 0 {
		in.add("", "add codes:, prefixes:, ranges: or map:", "the value set is empty")
	}
	return all
}

func (in *reading) mapping(f *valueSetFile) map[string]string {
	to := map[string]string{}
	for _, e := range f.Map {
		in.text(e.Path, e.Value)
		to[e.Key] = e.Value
	}
	in.must(len(to) > 0, "map", "write CODE: WHAT IT BECOMES", "nothing is mapped")
	for _, key := range []string{"codes", "prefixes", "ranges"} {
		in.must(false, key, "make two files of it", "a file holds codes or a map, not both")
	}
	return to
}

// included is the value set, or the map, that the policy includes by a name.
func (r *reading) included(path, name string, mapped bool) *ValueSet {
	set, named := r.policy.ValueSets[name]
	kind := map[bool]string{true: "map", false: "value set"}
	switch {
	case r.broken["include"]:
		return nil
	case !named:
		hint := "add it there, with the path of its file"
		if near := strictyaml.Nearest(name, sortedNames(r.policy.ValueSets)); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		r.add(path, hint, "the %s %q is not under include", kind[mapped], name)
	case set != nil && (set.Map != nil) != mapped:
		r.add(path, "name a "+kind[mapped], "%q is a %s", name, kind[!mapped])
		return nil
	}
	return set
}

// Words are what a field's values become by an included file, each to the byte:
// of a map, what it says; of code-display, the file's own words; of a kept value
// that must be in it, the value. It is nil for the other transforms.
func (p *Policy) Words(f *Field) map[string]string {
	if !slices.Contains([]Transform{Map, CodeDisplay, KeepIn}, f.Do) {
		return nil
	}
	words := map[string]string{}
	switch set := p.ValueSets[f.To]; {
	case set == nil:
	case f.Do == Map:
		return set.Map
	case f.Do == CodeDisplay:
		return set.Display
	default:
		codes, _ := set.Codes.Single()
		for _, code := range codes {
			words[code] = code
		}
	}
	return words
}
