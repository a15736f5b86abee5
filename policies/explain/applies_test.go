package explain

import (
	"html"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posternhealth/postern/policies"
)

// The printed table says of each line what the decision asks.
func TestApplicabilityText(t *testing.T) {
	text := ApplicabilityText()
	for line := range strings.SplitSeq(text, "\n") {
		if utf8.RuneCountInString(line) > 100 {
			t.Errorf("wider than a page: %s", line)
		}
	}
	for _, l := range policies.ApplicabilityTable() {
		_, row, _ := strings.Cut(text, "\n"+l.Basis)
		row, _, _ = strings.Cut(row, "\n")
		s := l.Steps
		want := []string{"-", "-", "-", "-", "-", "-"}
		for i, applies := range []bool{s.SelfPay, s.Agreed, s.Relationship, s.Consent, s.Part2, s.MinimumNecessary} {
			if applies {
				want[i] = "yes"
			}
		}
		if s.SelfPay {
			want[0] = "health-plan"
		}
		if s.Authorization {
			want[3] = "required"
		}
		if page := ApplicabilityHTML(); !strings.Contains(page, "<td>"+strings.Join(want, "</td><td>")+"</td></tr>\n<tr><td colspan=\"7\"><small>"+html.EscapeString(s.Source)) {
			t.Errorf("%s is not on the page with %v", l.Basis, want)
		}
		if !slices.Equal(strings.Fields(row), want) {
			t.Errorf("%s: got %s, want %v", l.Basis, row, want)
		}
	}
}
