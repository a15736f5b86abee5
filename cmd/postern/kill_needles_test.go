package main_test

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// shortest is the length below which a value may be in ciphertext by chance.
const shortest = 8

// needles are values of records, to be searched for in one pass: by their
// first eight bytes, with a bit set before the map.
type needles struct {
	byStart map[uint64][]string
	maybe   [1 << 15]uint64
	count   int
}

func slot(start uint64) (word, bit uint64) {
	h := start * 0x9e3779b97f4a7c15 >> 43
	return h >> 6, 1 << (h & 63)
}

func (n *needles) add(value string) {
	start := binary.BigEndian.Uint64([]byte(value))
	for _, known := range n.byStart[start] {
		if known == value {
			return
		}
	}
	n.byStart[start] = append(n.byStart[start], value)
	word, bit := slot(start)
	n.maybe[word] |= bit
	n.count++
}

// search tells found of every place at which a value stands.
func (n *needles) search(text []byte, found func(value string)) {
	var start uint64
	for i, b := range text {
		if start = start<<8 | uint64(b); i < shortest-1 {
			continue
		}
		if word, bit := slot(start); n.maybe[word]&bit == 0 {
			continue
		}
		for _, value := range n.byStart[start] {
			if bytes.HasPrefix(text[i-shortest+1:], []byte(value)) {
				found(value)
			}
		}
	}
}

// plant gathers what identifies people in the clinic's extract and inputs,
// except what its configuration says anyhow.
func (k *killing) plant() *needles {
	n := &needles{byStart: map[uint64][]string{}}
	var public []byte
	k.eachFile(func(path string, text []byte) {
		if ext := filepath.Ext(path); ext == ".yaml" || ext == ".txt" {
			public = append(public, text...)
		}
	}, ".", "policies")
	add := func(value string, always bool) {
		for _, piece := range strings.FieldsFunc(value, func(r rune) bool { return r < ' ' || strings.ContainsRune(`"\<>`, r) }) {
			if len(piece) >= shortest && (always || strings.ContainsAny(piece, "0123456789")) &&
				!strings.HasPrefix(piece, "http") && !strings.HasPrefix(piece, "urn:") && !bytes.Contains(public, []byte(piece)) {
				n.add(piece)
			}
		}
	}
	k.eachFile(func(path string, text []byte) {
		switch filepath.Ext(path) {
		case ".csv":
			rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
			if err != nil {
				return // one of the files has broken rows; their ids stand elsewhere too
			}
			for _, row := range rows[1:] {
				for _, cell := range row {
					add(cell, false)
				}
			}
		case ".ndjson":
			for line := range bytes.Lines(text) {
				var resource any
				if json.Unmarshal(line, &resource) == nil {
					eachString(resource, func(s string) { add(s, filepath.Base(path) == "Patient.ndjson") })
				}
			}
		}
	}, "extract", "inputs")
	return n
}

// eachFile reads the files below folders of the clinic, of "." itself only.
func (k *killing) eachFile(do func(path string, text []byte), folders ...string) {
	for _, folder := range folders {
		root := filepath.Join(k.clinic, folder)
		k.ok(filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				if folder == "." && path != root {
					return fs.SkipDir
				}
				return err
			}
			text, err := os.ReadFile(path)
			if err == nil {
				do(path, text)
			}
			return err
		}))
	}
}

func eachString(v any, do func(string)) {
	switch v := v.(type) {
	case string:
		do(v)
	case []any:
		for _, e := range v {
			eachString(e, do)
		}
	case map[string]any:
		for _, e := range v {
			eachString(e, do)
		}
	}
}

// checkSearches: the search finds every value in the source.
func (k *killing) checkSearches() {
	found := map[string]bool{}
	k.eachFile(func(_ string, text []byte) {
		k.needles.search(text, func(value string) { found[value] = true })
	}, "extract", "inputs")
	if len(found) != k.needles.count || k.needles.count < 1000 {
		k.t.Fatalf("of %d values the search finds %d in the source", k.needles.count, len(found))
	}
	k.t.Logf("%d values are searched for", k.needles.count)
}

func (k *killing) searchText(what string, text []byte) {
	k.t.Helper()
	n := 0
	k.needles.search(text, func(string) { n++ })
	if n > 0 {
		k.t.Errorf("%s: values of records stand in %s, %d times", k.where, what, n)
	}
}
