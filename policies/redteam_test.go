package policies

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// A cohort has years of its own. Beside it the year of an event, or a period
// that ends within people's windows, tells a day: who has a row in the 52nd week
// of a year that is known began in its first days.
func TestNoSecondYearBesideACohort(t *testing.T) {
	followed := func(days int) *Policy {
		p := made(SafeHarbor)
		p.Release[0].Only, p.Cohort = nil, &Cohort{"scores", "2024", days}
		p.Release[0].Fields = []Field{field("service_date", RelativeTime), {Name: "index_year", From: FromIndex, Do: Year}}
		return p
	}
	for name, c := range map[string]struct {
		edit func(p *Policy)
		path string // "": it is right
	}{
		"intervals and the index year": {func(*Policy) {}, ""},
		"a period": {func(p *Policy) {
			p.Release[0].Only = []Condition{{Path: "service_date", Period: "2024-01-01..2024-12-31"}}
		}, "release.scores.only.service_date"},
		"the year of an event, without intervals": {func(p *Policy) { p.Release[0].Fields = []Field{field("service_date", Year)} }, "release.scores.fields.service_date.do"},
		"the year of birth, without intervals":    {func(p *Policy) { p.Release[0].Fields = []Field{field("birth_date", Year)} }, ""},
		"the year of an event of a resource": {func(p *Policy) {
			p.Release = append(p.Release, Release{Dataset: "Observation", Fields: []Field{{Name: "effective[x]", From: "effective[x]",
				Do: Year, Because: "x", Leaves: []Leaf{{[]string{"effectiveDateTime"}, extract.Date}}}}})
			p.Release[0].Fields = p.Release[0].Fields[1:]
		}, `release.Observation.fields."effective[x]".do`},
	} {
		p := followed(360)
		c.edit(p)
		_, err := Check(p, testEnv(t))
		var mistakes *strictyaml.Errors
		if c.path == "" && err != nil || c.path != "" && (!errors.As(err, &mistakes) || len(mistakes.List) != 1 || mistakes.List[0].Path != c.path) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An element of a resource repeats. Two conditions on it could be met by two of
// its values, and compare takes it for one: {code: [A, B]} with
// {code.coding.code: [B, C]} lets out a record with the codings A and C.
func TestOneConditionOnAnElement(t *testing.T) {
	base := readFile(t, "testdata/right/population-fhir.yaml")
	const condition = "only: {code: [44261-6]"
	if !strings.Contains(base, condition) {
		t.Fatal("the policy has changed")
	}
	for _, second := range []string{"code.coding.code: [44261-6, B]", "code.coding: [44261-6]"} {
		text := strings.Replace(base, condition, condition+", "+second, 1)
		_, err := parse("x.yaml", []byte(text), testEnv(t), os.ReadFile)
		if err == nil || !strings.Contains(err.Error(), "asks about the same as code") {
			t.Errorf("%s: %v", second, err)
		}
	}
}

// Whoever is new in a dataset of people came since the last drop. The proof says
// so of people, and of nobody else.
func TestProofTellsOfGrowingPeople(t *testing.T) {
	for name, c := range map[string]struct {
		release []Release
		said    bool
	}{
		"people alone":            {[]Release{{Dataset: "Patient"}}, true},
		"people beside events":    {[]Release{{Dataset: "Observation", Only: []Condition{{Path: "date", Period: LastClosedYear}}}, {Dataset: "Patient"}}, true},
		"events and nobody":       {[]Release{{Dataset: "Observation", Only: []Condition{{Path: "date", Period: LastClosedYear}}}, {Dataset: "Organization"}}, false},
		"delimited and undated":   {[]Release{{Dataset: "people"}}, true},
		"a period of whole years": {[]Release{{Dataset: "scores", Only: []Condition{{Path: "date", Period: "2024-01-01..2024-12-31"}}}}, false},
	} {
		answer := tellsOfSteps(&Policy{Standard: SafeHarbor, Release: c.release})
		if strings.Contains(answer, "less than a year apart") != c.said {
			t.Errorf("%s: %s", name, answer)
		}
	}
}

// One name cannot mean a column of the roster here and a column of the extract to
// the engine.
func TestColumnCalledLikeALookUp(t *testing.T) {
	env := testEnv(t)
	p := made(Identified)
	p.Basis, p.Purpose, p.Recipient = "45 CFR 164.506(c)(4)", "HOPERAT", "valley-care-group"
	p.People = People{Roster: "acme-roster", General: PermitWithout}
	p.Inputs = map[string]Guard{"acme-roster": {}, "consents": {}}
	p.Release[0].Fields = []Field{{Name: "member", From: "acme-roster.member_id", Do: Keep, Because: "x"}}
	if _, err := Check(p, env); err != nil {
		t.Fatal(err)
	}
	schema := *env.Schemas["scores"]
	schema.Fields = append(slices.Clone(schema.Fields), extract.Field{Name: "acme-roster.member_id", Type: extract.TypeString, Class: extract.SSN})
	env.Schemas["scores"] = &schema
	if _, err := Check(p, env); err == nil || !strings.Contains(err.Error(), "release.scores.fields.member.from: a column is called acme-roster.member_id") {
		t.Error(err)
	}
}

// A component has a code of its own: that of its record says nothing of whether
// its value is an age.
func TestValuesOfComponentsUnderSafeHarbor(t *testing.T) {
	base := readFile(t, "testdata/right/population-fhir.yaml")
	const field = "    fields:\n"
	at := strings.Index(base, "only: {code: [44261-6]")
	if at < 0 || !strings.Contains(base[at:], field) {
		t.Fatal("the policy has changed")
	}
	for only, wrong := range map[string]bool{"": true, ", component.code: [44250-9]": false} {
		text := base[:at] + strings.Replace(strings.Replace(base[at:], "only: {code: [44261-6]", "only: {code: [44261-6]"+only, 1), field, field+"      component.valueInteger: {do: keep, because: x}\n", 1)
		_, err := parse("x.yaml", []byte(text), testEnv(t), os.ReadFile)
		if told := err != nil && strings.Contains(err.Error(), "add only: {component.code: [44261-6]}"); told != wrong {
			t.Errorf("%q: %v", only, err)
		}
	}
}

// What a table holds for a date or a ZIP code tells of it, whatever class its
// column has: of a day its week, of a ZIP code its town.
func TestLookUpByAnIdentifier(t *testing.T) {
	for column, letter := range map[string]string{"service_date": "(C)", "birth_date": "(C)", "zip": "(B)", "provider_npi": "", "sex": ""} {
		env := testEnv(t)
		if find(env.Schemas["scores"], named(column)) == nil {
			t.Fatalf("the schema has no %s", column)
		}
		env.Inputs["practices"] = InputInfo{Kind: "table", Schema: &extract.Schema{Fields: []extract.Field{{Name: "key"}, {Name: "group", Class: extract.Code}}}}
		p := made(SafeHarbor)
		p.Inputs["practices"] = Guard{}
		p.Release[0].Fields = append(p.Release[0].Fields, Field{Name: "group", From: "practices.group", By: column, Do: Keep, Because: "x"})
		_, err := Check(p, env)
		if told := err != nil && strings.Contains(err.Error(), "fields.group.by: what is looked up by"); told != (letter != "") || told && !strings.Contains(err.Error(), letter) {
			t.Errorf("by %s: %v", column, err)
		}
	}
}

// A text of the policy's own stands beside every row, so it tells when as a date does.
func TestTextsThatTellWhen(t *testing.T) {
	for text, dated := range map[string]bool{"March 2026": true, "2026 Q3": true, "sept. 26": true, "2026-03": true, "202603": true, "20260302": true, "3/2026": true, "03/02/2026": true, "2.3.2026": true, "measured 2026-03-02T08:00Z": true,
		"2026": false, "44261-6": false, "PHQ-9": false, "CLV001": false, "2025-26": false, "v2.1": false, "May": false, "marching 2": false, "123-45": false} {
		if finerThanAYear.MatchString(text) != dated {
			t.Errorf("%q: %v", text, !dated)
		}
	}
	p, err := laidFHIR(t, strings.NewReplacer("as of YYYYMMDD", "as of YYYY", "t: CLV", "t: March 2026").Replace(fhirLayout))
	if err != nil {
		t.Fatal(err)
	}
	p.Standard = ExpertDetermination
	if _, err := Check(p, layoutEnv(t)); err == nil || !strings.Contains(err.Error(), `control: the text "March 2026" tells a date finer than its year`) {
		t.Errorf("got %v", err)
	}
}

// The gate lets an identifier out only as the row's own patient's. What is
// nobody's in an extract would stop each drop.
func TestIdentifiersOfNobody(t *testing.T) {
	for _, c := range []struct {
		resource, path string
		class          extract.Class
		nobodys        bool
	}{
		{"InsurancePlan", "plan.identifier.value", extract.OtherUnique, true}, {"Practitioner", "name.family", extract.Name, true}, {"Organization", "address.city", extract.Town, true},
		{"Encounter", "identifier.value", extract.OtherUnique, true}, {"Encounter", "subject.identifier.value", extract.OtherUnique, false}, {"Patient", "name.family", extract.Name, false},
		{"Coverage", "subscriberId", extract.MemberNumber, false}, {"RelatedPerson", "name.family", extract.Name, false}, {"Practitioner", "gender", extract.Sex, false}, {"Observation", "subjectOf.identifier.value", extract.OtherUnique, true},
	} {
		if got := ofNobody(c.resource, Leaf{strings.Split(c.path, "."), c.class}); got != c.nobodys {
			t.Errorf("%s.%s: %v", c.resource, c.path, got)
		}
	}
	text := readFile(t, "testdata/layout/fhir.yaml")
	text = strings.Replace(text, "release:\n", "release:\n  Practitioner:\n    because: x\n    fields:\n      name: {do: keep}\n", 1)
	_, err := parse("testdata/layout/fhir.yaml", []byte(strings.Replace(text, "layout: fhir", "layout: ndjson", 1)), layoutEnv(t), func(string) ([]byte, error) { return nil, os.ErrNotExist })
	if err == nil || !strings.Contains(err.Error(), "of Practitioner is nobody's of whom the rows are, and the gate lets such a value out only as the own one of the patient: each drop would be stopped (name the leaves that may leave instead of the whole)") {
		t.Errorf("got %v", err)
	}
}
