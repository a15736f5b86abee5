package casefile

import (
	"context"
	"testing"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// Every case of the public suite is decided as the rules ask.
func TestPublicSuite(t *testing.T) {
	files, err := strictyaml.Files("../../testdata/consent-cases")
	if err != nil {
		t.Fatal(err)
	}
	held := 0
	for _, file := range files {
		results, err := RunFile(context.Background(), file)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if held++; !r.Passed {
				t.Errorf("%s:%d: %s: %s%v", r.File, r.Line, r.Case, r.Failed, r.Diffs)
			}
		}
	}
	if t.Logf("%d cases", held); held < 600 {
		t.Error("where are the cases?")
	}
}
