package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	links    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	headings = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fences   = regexp.MustCompile("(?ms)^```.*?^```$")
)

// Every link of our documents leads to a file that is there, and its fragment
// to a heading of it.
func TestLinksOfDocuments(t *testing.T) {
	root := filepath.Join("..", "..")
	found, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"} {
		found = append(found, filepath.Join(root, name))
	}
	checked := 0
	for _, document := range found {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, link := range links.FindAllSubmatch(fences.ReplaceAll(text, nil), -1) {
			checked++
			checkLink(t, document, string(link[1]))
		}
	}
	if checked == 0 {
		t.Error("no link was found")
	}
}

func checkLink(t *testing.T, document, link string) {
	t.Helper()
	if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
		return // the outside is not ours to test
	}
	path, fragment, _ := strings.Cut(link, "#")
	target := document
	if path != "" {
		target = filepath.Join(filepath.Dir(document), filepath.FromSlash(path))
	}
	info, err := os.Stat(target)
	if err != nil {
		t.Errorf("%s links to %s, which is not there", document, link)
		return
	}
	if fragment == "" || info.IsDir() {
		return
	}
	text, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headings.FindAllSubmatch(text, -1) {
		if anchor(string(h[1])) == fragment {
			return
		}
	}
	t.Errorf("%s links to %s, which has no such heading", document, link)
}

// anchor is the fragment that GitHub gives a heading.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return -1
	}, strings.ToLower(heading))
}
