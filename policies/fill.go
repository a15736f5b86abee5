package policies

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// LoadFilled is Load for a policy whose open places are filled in from
// elsewhere, by key path: by a case that tests it, or to try it out. It fills
// in what is still to be filled in and changes nothing else; a legal text that
// is still to be filled in reads SampleText.
func LoadFilled(path string, fill map[string]string, env Env) (*Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	if data, err = Fill(path, data, fill); err != nil {
		return nil, err
	}
	return parse(path, data, env, func(name string) ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(path), filepath.FromSlash(name)))
		if filepath.Ext(name) != ".yaml" && bytes.Contains(text, []byte(strictyaml.PlaceholderPrefix)) {
			text = []byte(SampleText)
		}
		return text, err
	})
}

// Fill gives the text of a policy, or a draft of one, with values in quotes in
// its open places; path is for diagnostics.
func Fill(path string, data []byte, fill map[string]string) ([]byte, error) {
	var root strictyaml.Node
	source, err := strictyaml.Decode(path, data, &root, strictyaml.Drafts)
	if err != nil {
		return nil, err
	}
	lines := strings.SplitAfter(string(data), "\n")
	errs := source.Errors()
	// From the end, so that a value leaves the places before it where they are.
	at := func(a, b string) int {
		one, two := source.At(a), source.At(b)
		return cmp.Or(cmp.Compare(two.Line, one.Line), cmp.Compare(two.Column, one.Column))
	}
	for _, key := range slices.SortedFunc(maps.Keys(fill), at) {
		pos := source.At(key)
		text := open(root, key)
		line := &lines[pos.Line-1]
		if text == "" || pos.Column > len(*line) || !strings.HasPrefix((*line)[pos.Column-1:], text) {
			errs.Add(pos, key, "this is not open: only what says "+strictyaml.PlaceholderPrefix+" on one line can be filled in", "remove it from fill:")
			continue
		}
		value := strconv.Quote(fill[key])
		if fill[key] == "true" {
			value = "true" // in quotes it would be text
		}
		*line = (*line)[:pos.Column-1] + value + (*line)[pos.Column-1+len(text):]
	}
	return []byte(strings.Join(lines, "")), errs.Err()
}

// open is the text that stands for a value still to be filled in, "" when
// there is none at the key path.
func open(n strictyaml.Node, key string) string {
	if n.Path() == key && strings.HasPrefix(n.Text(), strictyaml.PlaceholderPrefix) {
		return n.Text()
	}
	for _, below := range n.Items() {
		if text := open(below, key); text != "" {
			return text
		}
	}
	for _, e := range n.Entries() {
		if text := open(e.Value, key); text != "" {
			return text
		}
	}
	return ""
}
