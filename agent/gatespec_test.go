package agent

import (
	"testing"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// A number has no pattern that tells a telephone, a social security number or a
// day from a measurement: of de-identified data the size must.
func TestNumbersOfDeidentifiedData(t *testing.T) {
	for standard, most := range map[policies.Standard]string{policies.SafeHarbor: "9999999", policies.Identified: "123456789012"} {
		r := &run{policy: &policies.Policy{Standard: standard}}
		grammar, err := r.keptGrammar(extract.Number, false)
		if err != nil {
			t.Fatal(err)
		}
		roster := gate.NewRoster(0)
		roster.Freeze()
		guard, err := gate.New(gate.Spec{Format: gate.CSV, Positions: []gate.Position{{Path: "n", Grammar: grammar}}, ExactDates: standard == policies.Identified}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{"0", "27", "-3.5", "250000", "0.000012", most, "-" + most} {
			if hit := guard.Row([]byte(value+"\n"), nil); hit != nil {
				t.Errorf("%s: %s: %v", standard, value, hit)
			}
		}
		for _, value := range []string{"20240305", "19800102.0", "078051120", "6175550134", "6.175550134e9", "-20240305", "1709596800"} {
			if hit := guard.Row([]byte(value+"\n"), nil); hit == nil && standard == policies.SafeHarbor {
				t.Errorf("%s: %s passes", standard, value)
			}
		}
	}
}
