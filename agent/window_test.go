package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// A record that is withheld begins no window: the weeks of the released rows
// would tell how long before them there was one.
func TestWithheldRecordBeginsNoWindow(t *testing.T) {
	t.Parallel()
	base := build(t, synthetic.Options{Patients: 40})
	base.run(outcomes, agent.RunOptions{})
	_, npi := base.plainMember()
	var rows []string
	for i := range 10 {
		person := fmt.Sprintf("WIN-P%d", i)
		rows = append(rows, score(fmt.Sprintf("WIN-%d", i), person, "", "2024-09-02", 7, npi))
		// The person keeps one kind of scores out of registries.
		base.add(consentsCSV, fmt.Sprintf("%s,registry-opt-out,deny,active,,,code:70274-6,,,2024-01-02,,form.pdf,,", person))
	}
	base.scatter(scoresCSV, 1, rows)
	one, two := base.copied(), base.copied()
	for i := range 10 {
		earlier := score(fmt.Sprintf("HID-%d", i), fmt.Sprintf("WIN-P%d", i), "", "2024-08-05", 9, npi)
		two.add(scoresCSV, strings.Replace(earlier, "44261-6", "70274-6", 1))
	}
	a, b := one.run(outcomes, agent.RunOptions{}), two.run(outcomes, agent.RunOptions{})
	if got := grown(a, b)["clinic-choice"]; got != 10 || a.Released != b.Released || a.Released == 0 {
		t.Fatalf("released %d and %d; %d more were withheld", a.Released, b.Released, got)
	}
	sameForRecipient(t, one.drop(outcomes, 2), two.drop(outcomes, 2))
}
