package deid

import (
	"slices"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// What is counted of each record apart adds up to what is counted of all at
// once, and a record that does not leave is in neither.
func TestTalliesOfARecordAddUp(t *testing.T) {
	plan := compile(t, fhirPolicy(policies.Identified, "Organization", "keep id", "keep name"), "Organization")
	records := []string{
		`{"resourceType":"Organization","id":"o1","name":"North Clinic","active":true}`,
		`{"resourceType":"Organization","id":"o2","alias":["a","b"],"unheard":1}`,
		`{"resourceType":"Organization","id":"o3","name":7}`,
	}
	whole, apart, sum := plan.Engine(), plan.Engine(), plan.Engine().Counts()
	for i, text := range records {
		var out Output
		if err := apart.Apply(recordOf([]byte(text)), nil, &out); err != nil {
			t.Fatal(err)
		}
		taken := apart.Take()
		if i == 1 {
			continue
		}
		sum.AddTallies(taken)
		if err := whole.Apply(recordOf([]byte(text)), nil, &out); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(sum, whole.Counts()) {
		t.Errorf("one by one %v, at once %v", sum, whole.Counts())
	}
	if at := slices.IndexFunc(sum, func(c Count) bool { return c.Path == "Organization.id" }); sum[at] != (Count{"Organization.id", 2, 2}) {
		t.Errorf("the id is counted as %v", sum[at])
	}
}
