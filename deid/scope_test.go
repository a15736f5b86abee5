package deid

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

func TestPeriods(t *testing.T) {
	for _, c := range []struct{ period, asOf, want string }{
		{"measure-year", "2026-06-30", "2026-01-01 2026-12-31"},
		{"last-closed-year", "2026-06-30", "2025-01-01 2025-12-31"},
		{"last-closed-year", "2026-12-31", "2025-01-01 2025-12-31"},
		{"last-closed-month", "2026-06-30", "2026-05-01 2026-05-31"},
		{"last-closed-month", "2026-01-01", "2025-12-01 2025-12-31"},
		{"2026-01-01..2026-06-30", "2020-01-01", "2026-01-01 2026-06-30"},
		{"2026-06-30..2026-01-01", "2020-01-01", ""},
		{"this-year", "2020-01-01", ""},
	} {
		got, err := periodAt(c.period, day(c.asOf))
		if text := got.From.String() + " " + got.To.String(); (err != nil) != (c.want == "") || err == nil && text != c.want {
			t.Errorf("%s as of %s: %s %v", c.period, c.asOf, text, err)
		}
	}
}

func TestInScope(t *testing.T) {
	policy := func(dataset string, only ...policies.Condition) *policies.Policy {
		p := fhirPolicy(policies.Identified, dataset, "keep id")
		p.Release[0].Only = only
		return p
	}
	code := policies.Condition{Path: "code", Codes: policies.Codes("44261-6", "a/b")}
	year := policies.Condition{Path: "date", Period: "measure-year"}
	for _, c := range []struct {
		only []policies.Condition
		raw  string
		want extract.Reason
	}{
		{[]policies.Condition{code, year}, `"code":{"text":"x","coding":[{"code":"x"},{"code":"44261-6"}]},"effectiveDateTime":"2026-02-03"`, extract.NoReason},
		{[]policies.Condition{code, year}, `"code":{"coding":[{"code":"a\/b"}]},"effectiveDateTime":"2026"`, extract.NoReason},
		{[]policies.Condition{code, year}, `"code":{"coding":[{"display":"44261-6"}]},"effectiveDateTime":"2026"`, extract.Measure},
		{[]policies.Condition{code, year}, `"code":{"text":"44261-6"},"effectiveDateTime":"2025-12-31"`, extract.Period},
		{[]policies.Condition{year}, `"code":{}`, extract.Period},
		{[]policies.Condition{{Path: "code.coding.code", Codes: policies.Codes("x")}}, `"code":{"coding":[{"code":"x"}]}`, extract.NoReason},
		{[]policies.Condition{{Path: "effective[x]", Period: "2026-01-01..2026-06-30"}}, `"effectivePeriod":{"start":"2026-06-30T23:00:00Z","end":"2027"}`, extract.NoReason},
		{[]policies.Condition{{Path: "effective[x]", Period: "2026-01-01..2026-06-30"}}, `"effectivePeriod":{"end":"2026-02-02"}`, extract.Period},
		{[]policies.Condition{{Path: "effectiveDateTime", Period: "2026-01-01..2026-06-30"}}, `"effectiveDateTime":"2026"`, extract.Period},
		{[]policies.Condition{{Path: "valueInteger", Codes: policies.Codes("3")}}, `"valueInteger":3`, extract.NoReason},
		{[]policies.Condition{{Path: "valueBoolean", Codes: policies.Codes("true")}}, `"valueBoolean":null`, extract.Measure},
	} {
		rec := recordOf([]byte(`{"resourceType":"Observation",` + c.raw + `}`))
		if got := compile(t, policy("Observation", c.only...), "Observation").InScope(rec); got != c.want {
			t.Errorf("%s: %s, want %s", c.raw, got, c.want)
		}
	}
	rec := recordOf([]byte(`{"resourceType":"Patient","id":"p","gender":"male"}`))
	if got := compile(t, policy("Patient", policies.Condition{Path: "gender", Codes: policies.Codes("female")}), "Patient").InScope(rec); got != extract.Population {
		t.Errorf("got %s", got)
	}
}

func TestRowScope(t *testing.T) {
	p := rowPolicy(policies.Identified, policies.Field{Name: "total", Do: policies.Keep})
	p.Release[0].Only = []policies.Condition{{Path: "sex", Codes: policies.Codes("F")}, {Path: "instrument", Codes: policies.Codes("44261-6")}, {Path: "service_date", Period: "last-closed-year"}}
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	for row, want := range map[string]extract.Reason{
		"r|p|2025-02-03||44261-6||F||||": extract.NoReason,
		"r|p|2025-02-03||44261-6||M||||": extract.Population,
		"r|p|2025-02-03||44261||M||||":   extract.Measure,
		"r|p|2026-02-03||44261||M||||":   extract.Period,
		"r|p|||44261-6||F||||":           extract.Period,
	} {
		if got := plan.InScope(rowOf(strings.Split(row, "|")...)); got != want {
			t.Errorf("%s: %s, want %s", row, got, want)
		}
	}
}

func TestCohort(t *testing.T) {
	p := fhirPolicy(policies.SafeHarbor, "Observation", "keep status")
	p.Cohort = &policies.Cohort{Dataset: "Observation", IndexYear: "last-closed", FollowDays: 364}
	plan := compile(t, p, "Observation")
	if plan.cohort.year != 2024 { // windows of 2025 end on 2026-12-29
		t.Fatalf("index year %d", plan.cohort.year)
	}
	for _, c := range []struct {
		index, date string
		want        extract.Reason
	}{
		{"2024-12-31", "2025-12-29", extract.NoReason},
		{"2024-12-31", "2025-12-30", extract.Period},
		{"2024-12-31", "2024-12-30", extract.Period},
		{"2024-12-31", "2025", extract.Period},
		{"2025-01-01", "2025-01-01", extract.Population},
		{"", "2025-01-01", extract.Population},
	} {
		s := UnknownSubject()
		s.Index = span(c.index).From
		rec := &extract.Record{Facts: extract.Facts{Date: span(c.date), Subjects: []phi.Bytes{phi.Bytes("p")}}}
		if got := plan.InCohort(rec, &s); got != c.want {
			t.Errorf("index %s, date %s: %s, want %s", c.index, c.date, got, c.want)
		}
	}
	p.Cohort.IndexYear = "2025"
	for _, p.Standard = range []policies.Standard{policies.SafeHarbor, policies.Identified} {
		if _, err := Compile(p, "Observation", Options{AsOf: asOf}); err == nil || !strings.Contains(err.Error(), "last closed year is 2024") {
			t.Errorf("%s: an open cohort was compiled: %v", p.Standard, err)
		}
	}
}
