package policies

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// languagePage is the reference that officers look things up in.
const languagePage = "../docs/policy-language.md"

// A block of yaml with the right policy that it is a part of, if not the first one.
var pageBlock = regexp.MustCompile("(?s)(?:<!-- within ([a-z0-9-]+) -->\n)?```yaml\n(.*?)```")

// Every block of the reference is right: a whole file by itself, a part of one
// in the place of the same keys of a right policy.
func TestLanguagePage(t *testing.T) {
	page, err := os.ReadFile(languagePage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := pageBlock.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 15 {
		t.Fatalf("the page has %d blocks: does the pattern find them?", len(blocks))
	}
	for _, block := range blocks {
		within, text := block[1], block[2]
		open := func(name string) ([]byte, error) { return os.ReadFile("testdata/right/" + name) }
		if set := []byte(text); strings.HasPrefix(text, "postern: value-set/v1") {
			open = func(string) ([]byte, error) { return set, nil }
			text = inPlace(t, "outcomes-registry", "include: {set: set.yaml}\n")
		} else if strings.HasPrefix(text, "postern: minor-rules/v1") {
			open = func(string) ([]byte, error) { return set, nil }
			text = inPlace(t, "", "people: {relationship: {roster: acme-roster, covered: at-service}, consent: {general: {without_directive: deny}, minors: {rules: us-ca}}}\noutput: {layout: csv, mode: full, part2_rows: leave-out}\nnotices: {}\n")
		} else if !strings.HasPrefix(text, "postern:") {
			text = inPlace(t, within, text)
		}
		p, err := parse("page.yaml", []byte(text), testEnv(t), open)
		if err == nil {
			_, err = Check(p, testEnv(t))
		}
		if err != nil {
			t.Errorf("%v in\n%s", err, block[0])
		}
	}
}

var topKey = regexp.MustCompile(`(?m)^[a-z_]+:`)

// inPlace is a right policy with the top keys of a part in the place of its own.
func inPlace(t *testing.T, policy, part string) string {
	if policy == "" {
		policy = "acme-phq9-gad7"
	}
	whole, err := os.ReadFile("testdata/right/" + policy + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	replaced := map[string]bool{}
	for _, key := range topKey.FindAllString(part, -1) {
		replaced[key] = true
	}
	var kept strings.Builder
	keys := append(topKey.FindAllIndex(whole, -1), []int{len(whole)})
	for i, at := range keys[:len(keys)-1] {
		if !replaced[string(whole[at[0]:at[1]])] {
			kept.Write(whole[at[0]:keys[i+1][0]])
		}
	}
	return kept.String() + part
}

// Every key and value that the schema knows stands on the page.
func TestLanguagePageIsWhole(t *testing.T) {
	page, err := os.ReadFile(languagePage)
	if err != nil {
		t.Fatal(err)
	}
	layouts, err := os.ReadFile(layoutPage)
	if err != nil {
		t.Fatal(err)
	}
	page = append(page, layouts...)
	var walk func(schema any)
	walk = func(schema any) {
		switch s := schema.(type) {
		case []any:
			for _, inner := range s {
				walk(inner)
			}
		case map[string]any:
			properties, _ := s["properties"].(map[string]any)
			for key := range properties {
				if !regexp.MustCompile("(?m)`" + key + "`|(^|[{ ])" + key + ":").Match(page) {
					t.Errorf("the page does not tell about the key %s", key)
				}
			}
			words, _ := s["enum"].([]any)
			for _, word := range words {
				if text, ok := word.(string); ok && !strings.Contains(string(page), text) {
					t.Errorf("the page does not tell about the value %s", text)
				}
			}
			for _, inner := range s {
				walk(inner)
			}
		}
	}
	for _, l := range languages {
		walk(l.shape)
	}
}
