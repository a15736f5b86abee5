package deid

import (
	"testing"

	"github.com/posternhealth/postern/policies"
)

// Beside the code that a policy asks for stand codings of the clinic's own, in
// which there may be anything. They stay, and with them what the gate would stop
// a drop for; so does a component of a code that nobody asked for, which may be an
// age. An identified release has them all, but a system that is none, such as one with a
// blank, and its code.
func TestCodesOfTheClinicsOwn(t *testing.T) {
	const in = `{"resourceType":"Observation","code":{"coding":[{"code":"MAY-20250304"},{"system":"urn:oid:1.2.3","code":"44249-1x"},{"system":"http://loinc.org","code":"44249-1"},{"system":"http://terminology.hl7.org/CodeSystem/x y","code":"Z"}]},` +
		`"category":[{"coding":[{"code":"44249-1"},{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"survey"}]}],"valueQuantity":{"value":3,"system":"urn:clinic","code":"pts"},` +
		`"component":[{"code":{"coding":[{"system":"http://loinc.org","code":"30525-0"}]},"valueInteger":93},{"code":{"coding":[{"code":"44250-9"}]},"valueInteger":2}]}`
	lines := []string{"keep code coding system", "keep code coding code", "keep category coding code", "keep valueQuantity value", "keep valueQuantity system", "keep component code coding code", "keep component valueInteger"}
	for standard, want := range map[policies.Standard]string{
		policies.Identified: `{"resourceType":"Observation","code":{"coding":[{"code":"MAY-20250304"},{"system":"urn:oid:1.2.3","code":"44249-1x"},{"system":"http://loinc.org","code":"44249-1"}]},` +
			`"category":[{"coding":[{"code":"44249-1"},{"code":"survey"}]}],"valueQuantity":{"value":3},"component":[{"code":{"coding":[{"code":"30525-0"}]},"valueInteger":93},{"code":{"coding":[{"code":"44250-9"}]},"valueInteger":2}]}`,
		policies.LimitedDataSet: `{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org","code":"44249-1"}]},"category":[{"coding":[{"code":"survey"}]}],"valueQuantity":{"value":3},` +
			`"component":[{"code":{"coding":[{"code":"30525-0"}]},"valueInteger":93},{"code":{"coding":[{"code":"44250-9"}]},"valueInteger":2}]}`,
		policies.SafeHarbor: `{"resourceType":"Observation","code":{"coding":[{"system":"http://loinc.org","code":"44249-1"}]},"category":[{"coding":[{"code":"survey"}]}],"valueQuantity":{"value":3},` +
			`"component":[{"code":{"coding":[{"code":"44250-9"}]},"valueInteger":2}]}`,
	} {
		p := fhirPolicy(standard, "Observation", lines...)
		p.Release[0].Only = []policies.Condition{{Path: "code", Codes: policies.Codes("44249-1")}, {Path: "component.code", Codes: policies.Codes("44250-9")}}
		engine := compile(t, p, "Observation").Engine()
		var out Output
		if err := engine.Apply(recordOf([]byte(in)), nil, &out); err != nil {
			t.Fatal(err)
		}
		if got := string(out.Bytes); got != want+"\n" {
			t.Errorf("%s: got\n%swant\n%s", standard, got, want)
		}
	}
}
