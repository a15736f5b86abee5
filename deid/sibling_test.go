package deid

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// applied is what leaves of a resource by the lines of a policy that is made so,
// each with a number of days, or a step.
func applied(t *testing.T, standard policies.Standard, step int, in string, lines ...string) string {
	t.Helper()
	rec := recordOf([]byte(in))
	p := fhirPolicy(standard, rec.Dataset, lines...)
	for i := range p.Release[0].Fields {
		p.Release[0].Fields[i].Days = step
	}
	var out Output
	if err := compile(t, p, rec.Dataset).Engine().Apply(rec, nil, &out); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(out.Bytes)), `{"resourceType":"`+rec.Dataset+`"`), "}")
}

// "Less than 5" is no number: it is not rounded, and its number leaves only
// beside the words that bound it.
func TestComparators(t *testing.T) {
	const comparator, value, component = "valueQuantity comparator", "valueQuantity value", "component valueQuantity value"
	in := func(quantity string) string {
		return `{"resourceType":"Observation","valueQuantity":{` + quantity + `}}`
	}
	for _, c := range []struct{ in, fields, want string }{
		{in(`"value":7,"comparator":"<"`), "round " + value, ``},
		{in(`"comparator":"\u003e=","value":7,"unit":"x"`), "round " + value, ``},
		{in(`"value":7,"comparator":"<"`), "round " + value + ", keep " + comparator, `,"valueQuantity":{"comparator":"<"}`},
		{in(`"value":7`), "round " + value, `,"valueQuantity":{"value":5}`},
		{in(`"value":7,"comparator":"<"`), "keep " + value, ``},
		{in(`"value":7,"code":"a"`), "keep " + value, `,"valueQuantity":{"value":7}`},
		{in(`"value":7,"comparator":"<"`), "keep " + value + ", keep " + comparator, `,"valueQuantity":{"value":7,"comparator":"<"}`},
		{`{"resourceType":"Observation","valueQuantity":{"comparator":"<"},"component":[{"valueQuantity":{"value":12}},{"valueQuantity":{"comparator":">","value":12}}]}`, "round " + component, `,"component":[{"valueQuantity":{"value":10}}]`},
		{`{"resourceType":"Observation","valueInteger":12,"referenceRange":[{"low":{"comparator":"<","value":3}}]}`, "round valueInteger", `,"valueInteger":10`},
	} {
		if got := applied(t, policies.Identified, 5, c.in, strings.Split(c.fields, ", ")...); got != c.want {
			t.Errorf("%s by %s: %s, want %s", c.in, c.fields, got, c.want)
		}
	}
}

// A postal code of another country is no ZIP code, whatever it looks like.
func TestPostalCodesAbroad(t *testing.T) {
	for address, want := range map[string]string{
		`"postalCode":"02139"`:                                                           `"postalCode":"021"`,
		`"postalCode":"02139","country":"US"`:                                            `"postalCode":"021"`,
		`"country":"united states","postalCode":"02139-4307"`:                            `"postalCode":"021"`,
		`"country":"U\u0053A","postalCode":"02139"`:                                      `"postalCode":"021"`,
		`"country":"","postalCode":"02139"`:                                              `"postalCode":"021"`,
		`"country":"DE","postalCode":"02139"`:                                            `"postalCode":"000"`,
		`"postalCode":"02139","line":["1 Elm St"],"country":"Deutschland"`:               `"postalCode":"000"`,
		`"postalCode":"02139","country":"Mexico"},{"postalCode":"02139","country":"USA"`: `"postalCode":"000"},{"postalCode":"021"`,
		`"postalCode":"0213"`:                                                            `"postalCode":"000"`,
		`"postalCode":"K1A"`:                                                             `"postalCode":"000"`,
		`"postalCode":"03601"`:                                                           `"postalCode":"000"`,
	} {
		got := applied(t, policies.SafeHarbor, 0, `{"resourceType":"Patient","address":[{`+address+`}]}`, "zip3 address postalCode")
		if got != `,"address":[{`+want+`}]` {
			t.Errorf("%s: %s", address, got)
		}
	}
}

// Every FHIR type of a date gives its year; what is contained, and extensions
// that nobody knows, give nothing. (TestShiftedDatesKeepIntervals shifts them.)
func TestDatesOfAllTypes(t *testing.T) {
	const observation = "Observation"
	for _, c := range []struct{ path, in, year string }{
		{"effectiveDateTime", `"2025-03-04T05:06:07-05:00"`, `"2025"`},
		{"effectiveDateTime", `"2025-03-04"`, `"2025"`},
		{"effectiveDateTime", `"2025-03"`, `"2025"`},
		{"effectiveDateTime", `"2025"`, `"2025"`},
		{"effectiveDateTime", `"1920-01-01"`, ``}, // shows that somebody is over 89
		{"effectiveDateTime", `"2025-02-30"`, ``},
		{"effectiveDateTime", `20250304`, ``},
		{"effectiveInstant", `"2025-12-31T23:59:59.999Z"`, `"2025"`},
		{"issued", `"2026-01-01T00:00:00+14:00"`, `"2026"`},
		{"effectivePeriod start", `{"start":"2024-12-31","end":"2025-01-01"}`, `{"start":"2024"}`},
		{"effectivePeriod end", `{"start":"2024-12-31","end":"2025-01-01"}`, `{"end":"2025"}`},
		{"effectiveTiming event", `{"event":["2024-05-01","2025-05","x"]}`, `{"event":["2024","2025"]}`},
		{"component valueDateTime", `[{"valueDateTime":"2025-03-04"}]`, `[{"valueDateTime":"2025"}]`},
	} {
		member := strings.Fields(c.path)[0]
		want := c.year
		if want != "" {
			want = `,"` + member + `":` + want
		}
		in := `{"resourceType":"` + observation + `","` + member + `":` + c.in + `,"contained":[{"resourceType":"Patient","birthDate":"1980-01-01"}],"extension":[{"url":"http://x","valueDate":"2025-01-01"}]}`
		if got := applied(t, policies.SafeHarbor, 0, in, "year "+c.path); got != want {
			t.Errorf("year of %s: %s, want %s", in, got, want)
		}
	}
	for birth, want := range map[string]string{`"1980-07-01"`: "1980", `"1980-07"`: "1980", `"1936-06-30"`: "1936", `"1931-05-06"`: "1936", `"1850"`: "1936"} {
		if got := applied(t, policies.SafeHarbor, 0, `{"resourceType":"Patient","birthDate":`+birth+`}`, "year birthDate"); got != `,"birthDate":"`+want+`"` {
			t.Errorf("born %s: %s", birth, got)
		}
	}
	if got := applied(t, policies.SafeHarbor, 0, `{"resourceType":"Patient","deceasedDateTime":"2024-05-06T07:08:09Z"}`, "year deceasedDateTime"); got != `,"deceasedDateTime":"2024"` {
		t.Errorf("died: %s", got)
	}
}
