package consent

import (
	"testing"

	"github.com/posternhealth/postern/internal/phi"
)

// A restricted service is told by its code as a denial is.
func TestServicesWrittenOtherwise(t *testing.T) {
	for _, c := range []struct{ listed, recorded, restriction string }{
		{"F10.20", "F10.20", "restriction-self-pay"},
		{"F10.20", "F1020", "restriction-indeterminate"},
		{"f10.20", "F10.20", "restriction-indeterminate"},
		{"F1020", "F10.20", "restriction-indeterminate"},
		{"F10", "F1020", "restriction-indeterminate"},
		{"F10.2", "F10.20", "restriction-indeterminate"},
		{"F10", "F11.20", ""},
		{"h0004", "H0004", "restriction-indeterminate"},
		{"H0004", "H0005", ""},
		{"96127", "961270", ""},
	} {
		o := score("p1", "2026-03-02")
		o.Codes = list([]string{c.recorded})
		newWorld(t).restrict("p1,self-pay,,,"+c.listed+",,,,,").expect(o, c.restriction)
	}
}

// A claim tells by its type what kind of claim it is, never which services it
// is for: a restricted one may be among them.
func TestClaimsTellNoService(t *testing.T) {
	for dataset, want := range map[string]string{"Claim": "restriction-indeterminate", "ExplanationOfBenefit": "restriction-indeterminate",
		"Encounter": "restriction-indeterminate", "Procedure": "", "Observation": ""} {
		f := score("p1", "2026-03-02")
		f.Dataset, f.Codes = dataset, list([]string{"professional"})
		newWorld(t).restrict("p1,self-pay,,,90837,,,,,").expect(f, want)
		f.Codes = append(f.Codes, phi.Bytes("90837"))
		newWorld(t).restrict("p1,self-pay,,,90837,,,,,").expect(f, "restriction-self-pay")
	}
}
