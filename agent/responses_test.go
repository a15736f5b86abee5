package agent_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// The examples of the page are configurations that can be loaded, and what is
// wrong with one is said where it stands.
func TestExamplesOfResponseFiles(t *testing.T) {
	page, err := os.ReadFile("../docs/receipts.md")
	if err != nil {
		t.Fatal(err)
	}
	h := build(t, synthetic.Options{Patients: 1})
	config := h.read("postern.yaml")
	signed := regexp.MustCompile(`(?m)^    receipt: .*\n`).FindString(config[strings.Index(config, "  acme-health-plan:"):])
	load := func(receipt string) error {
		h.write("postern.yaml", strings.Replace(config, signed, "    "+strings.ReplaceAll(strings.TrimSpace(receipt), "\n", "\n    ")+"\n", 1))
		_, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml"))
		return err
	}
	examples := regexp.MustCompile("(?ms)^```yaml [^\n]*\n(.*?)^```$").FindAllStringSubmatch(string(page), -1)
	if len(examples) != 3 {
		t.Fatalf("the page has %d examples", len(examples))
	}
	for _, example := range examples {
		if err := load(example[1]); err != nil {
			t.Errorf("%v in\n%s", err, example[1])
		}
	}
	first := examples[0][1]
	for want, receipt := range map[string]string{
		"receipt.files: it is not told how":                          "receipt: {mode: response-file}",
		"receipt.files: only a recipient that answers with files":    strings.Replace(first, "response-file", "manual", 1),
		"receipt.files[0].match: the name does not tell":             strings.Replace(first, "{sequence}_", "", 1),
		"receipt.files[1].format: unknown format of a response file": strings.Replace(first, "format: delimited", "format: xlsx", 1),
		"receipt.files[0].codes: unknown meaning of a code":          strings.Replace(first, `"00": accepted`, `"00": fine`, 1),
		"receipt.files[1]: it does not tell where the answer stands": strings.Replace(first, `      rejected: "3"`, "", 1),
		"receipt.mode: unknown way of answering":                     "receipt: {mode: fax}",
	} {
		if err := load(receipt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
	several := strings.Replace(config, "recipient: valley-hie,", "recipient: acme-health-plan,", 1)
	config = several
	if err := load(strings.ReplaceAll(first, "{exchange}_", "")); err == nil || !strings.Contains(err.Error(), "files[0].match: 2 exchanges go to acme-health-plan") {
		t.Errorf("two exchanges: %v", err)
	}
}
