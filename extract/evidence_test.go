package extract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestEvidence(t *testing.T) {
	for name, c := range map[string]struct{ resource, evidence string }{
		"an Observation": {`{"resourceType":"Observation","subject":{"reference":"Patient/p"},"derivedFrom":[{"reference":"Observation/a"}],
			"hasMember":[{"reference":"https://ehr.example/fhir/QuestionnaireResponse/q/_history/2"},{"reference":"Observation/a"}]}`,
			"Observation/a QuestionnaireResponse/q"},
		"a MeasureReport, not its patient, payer and clinic": {`{"resourceType":"MeasureReport","subject":{"reference":"Patient/p"},"reporter":{"reference":"Organization/o"},
			"evaluatedResource":[{"reference":"Patient/p"},{"reference":"Coverage/c"},{"reference":"Organization/o"},{"reference":"Encounter/e"},{"reference":"Observation/a"}],
			"group":[{"population":[{"subjectResults":{"reference":"List/l"}}]}]}`, "Encounter/e Observation/a List/l"},
		"evidence within what the record contains": {`{"resourceType":"MeasureReport","evaluatedResource":[{"reference":"#l"}],
			"contained":[{"resourceType":"List","id":"l","encounter":{"reference":"Encounter/e"},"entry":[{"item":{"reference":"Observation/a"}}]}]}`, "Observation/a"},
		"evidence that cannot be told": {`{"resourceType":"DiagnosticReport","subject":{"reference":"Patient/p"},
			"result":[{"identifier":{"value":"7"}},{"display":"the first score"},{"reference":"Observation?identifier=8"},{"reference":"urn:uuid:0"}]}`,
			"? Observation?identifier=8 urn:uuid:0"},
		"a resource that sums up nothing": {`{"resourceType":"Procedure","subject":{"reference":"Patient/p"},"reasonReference":[{"reference":"Condition/c"}],
			"contained":[{"resourceType":"Observation","derivedFrom":[{"reference":"Observation/a"}]}]}`, ""},
		"a code as evidence": {`{"resourceType":"Condition","subject":{"reference":"Patient/p"},"evidence":[{"code":[{"text":"x"}]},{"detail":[{"reference":"Observation/a"}]}]}`, "Observation/a"},
	} {
		t.Run(name, func(t *testing.T) {
			var rec Record
			NewScanner().Resource([]byte(c.resource), &rec)
			if got := words(rec.Facts.Evidence); rec.Reject != NoReason || got != c.evidence {
				t.Errorf("%q (%s), want %q", got, rec.Detail, c.evidence)
			}
		})
	}
}

func words[T ~[]byte](list []T) string {
	var all []string
	for _, v := range list {
		all = append(all, string(v))
	}
	return strings.Join(all, " ")
}

func TestEvidenceOfARow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "change.json")
	if err := os.WriteFile(path, []byte(`{"fields":[{"name":"id","class":"record-key","role":"record"},{"name":"was","class":"link","role":"derived-from"},
		{"name":"now","class":"link","role":"derived-from"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := LoadSchema(path)
	if err != nil {
		t.Fatal(err)
	}
	var r rowReader
	var rec Record
	r.follow(schema)
	for _, raw := range []string{"c0,,", "c1, s1 ,scores/s2"} {
		rec.clear()
		rec.Raw = []byte(raw)
		r.read(&rec)
	}
	if got := words(rec.Facts.Evidence); rec.Reject != NoReason || got != "s1 scores/s2" {
		t.Errorf("evidence %q", got)
	}
}
