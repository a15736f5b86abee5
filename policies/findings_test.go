package policies

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
)

func TestRightPoliciesHaveNoFindings(t *testing.T) {
	env := testEnv(t)
	for _, file := range list(t, "testdata/right/*.yaml") {
		if found := Findings(right(t, file), env); len(found) > 0 {
			t.Errorf("%s: %+v", file, found)
		}
	}
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name, base string
		edit       func(*Policy, *Env)
		want       string // kind and path, in order
	}{
		{"papers that never hold together", "outcomes-registry", func(p *Policy, _ *Env) { p.Agreement.To = p.Attest.On - 1 }, "contradiction agreement"},
		{"periods that never meet", "acme-phq9-gad7", func(p *Policy, _ *Env) {
			p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "date", Period: LastClosedYear})
		}, "contradiction release.scores.only.service_date"},
		{"members of a dataset without dates", "acme-phq9-gad7", func(p *Policy, env *Env) {
			p.Release[0].Dataset, p.Release[0].Only = "visits", nil
		}, "contradiction release.visits"},
		{"values that the schema does not list", "acme-phq9-gad7", func(p *Policy, env *Env) {
			env.Schemas["scores"] = enumerated(t, "female", "male")
			p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "sex", Codes: Codes("f")})
		}, "contradiction release.scores.only.sex; gap release.scores.only.sex"},
		{"rows that do not say whom they concern", "public-health-limited", func(p *Policy, _ *Env) {
			p.Release = []Release{{Dataset: "wards"}}
		}, "contradiction release.wards"},
		{"a condition that another holds", "public-health-limited", func(p *Policy, _ *Env) {
			p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "service_date", Period: "2025-01-01..2027-12-31"})
		}, "dead-rule release.scores.only.service_date"},
		{"all values of the schema", "acme-phq9-gad7", func(p *Policy, env *Env) {
			env.Schemas["scores"] = enumerated(t, "female", "male")
			p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "sex", Codes: Codes("female", "male")})
		}, ""}, // it leaves out who has none
		{"a code below a prefix", "acme-phq9-gad7", func(p *Policy, _ *Env) {
			p.Release[0].Only[0].Codes = Union(Codes("44261-6"), CodePrefix("44"))
		}, "shadowing release.scores.only.instrument"},
		{"a numerator that is the denominator", "acme-equity-strata", func(p *Policy, _ *Env) {
			p.Tables[0].Numerator = p.Tables[0].Denominator
		}, "dead-rule tables.remission-by-stratum.denominator.in_denominator; dead-rule tables.remission-by-stratum.numerator.in_denominator"},
		{"inputs that nobody reads", "outcomes-registry", func(p *Policy, env *Env) {
			p.Inputs["restrictions"], p.Inputs["acme-roster"], p.Inputs["programs"] = Guard{}, Guard{}, Guard{}
			env.Inputs["programs"] = InputInfo{Kind: "programs"}
		}, "dead-rule inputs.acme-roster; dead-rule inputs.programs; dead-rule inputs.restrictions"},
		{"rules of a step that does not bind", "acme-phq9-gad7", func(p *Policy, env *Env) {
			p.Basis, p.People.Minors = "45 CFR 164.512(a)", "us-ca"
		}, "dead-rule inputs.restrictions; dead-rule people.consent.general"},
		{"rules for minors in de-identified data", "outcomes-registry", func(p *Policy, _ *Env) { p.People.Minors = "us-ca" }, "dead-rule people.consent.minors"},
		{"no consent under an authorization", "acme-phq9-gad7", func(p *Policy, _ *Env) { p.Basis = "45 CFR 164.508" }, "gap people.consent.general"},
		{"a basis that the table does not know", "acme-phq9-gad7", func(p *Policy, _ *Env) { p.Basis = "45 CFR 164.512(d)" },
			"contradiction agreement; dead-rule inputs.consents; dead-rule inputs.restrictions; dead-rule people.consent.part2.accept_forms"},
		{"forms for rows that stay", "acme-phq9-gad7", func(p *Policy, _ *Env) { p.People.Part2LeaveOut = true }, "gap people.consent.part2.accept_forms"},
		{"grounds for rows that stay", "acme-program-audit", func(p *Policy, _ *Env) { p.Output.Part2Rows = "leave-out" }, "gap people.consent.part2.grounds"},
		{"a notice with a ground alone", "acme-program-audit", func(p *Policy, _ *Env) { p.Notices.Part2 = "notice.txt" }, "dead-rule notices.part2"},
		{"a notice without forms", "acme-phq9-gad7", func(p *Policy, _ *Env) { p.People.AcceptForms = nil }, "dead-rule notices.part2"},
		{"a file that nothing uses", "outcomes-expert", func(p *Policy, _ *Env) {
			p.ValueSets["moods"] = &ValueSet{To: extract.NoDay, Codes: Union(Codes("F32.1"), CodePrefix("F32"))}
		}, "dead-rule include.moods; shadowing include.moods"},
		{"a total over a constant", "acme-phq9-gad7", func(p *Policy, _ *Env) { theField(p, "total_score").Do = Constant }, "dead-rule totals[2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, env := right(t, "testdata/right/"+c.base+".yaml"), testEnv(t)
			c.edit(p, &env)
			var got []string
			contradictions(p, env, func(path, hint, format string, _ ...any) {
				got = append(got, "contradiction "+path)
				if hint == "" || format == "" {
					t.Error(path)
				}
			})
			for _, f := range Findings(p, env) {
				if text := f.Kind + " " + f.Path; !slices.Contains(got, text) {
					got = append(got, text)
				}
				if f.Says == "" || f.Remedy == "" {
					t.Errorf("%+v", f)
				}
			}
			if text := strings.Join(got, "; "); text != c.want {
				t.Errorf("found %q, want %q", text, c.want)
			}
		})
	}
}

func TestFindingsHaveTheirPlace(t *testing.T) {
	p := right(t, "testdata/right/acme-phq9-gad7.yaml")
	p.People.AcceptForms, p.source = nil, right(t, "testdata/right/acme-phq9-gad7.yaml").source
	f := Findings(p, testEnv(t))[0]
	if want := p.source.At("notices.part2"); f.Line != want.Line || f.Column != want.Column || f.Line == 0 {
		t.Error(fmt.Sprint(f))
	}
	p.source = nil
	if f := Findings(p, testEnv(t))[0]; f.Line != 0 {
		t.Error(fmt.Sprint(f))
	}
}

// A layout takes one type of a choice; of the others nothing leaves.
func TestTypesOfAChoiceThatNoColumnTakes(t *testing.T) {
	totals := "totals: [people, rows, sum of component.valueQuantity.value, rows by component.code.coding.code]"
	for name, left := range map[string]bool{"component.valueQuantity.value": false, "component.value[x]": true} {
		p, err := laidFHIR(t, fhirLayout, "component.valueQuantity.value: {do", name+": {do", totals, noTotals)
		if err != nil {
			t.Fatal(err)
		}
		found := Findings(p, layoutEnv(t))
		if !left && found != nil {
			t.Errorf("%s: %+v", name, found)
		}
		if left && (len(found) != 1 || found[0].Path != `release.Observation.fields."component.value[x]"` || found[0].Line == 0 ||
			!strings.Contains(found[0].Says, "valueInteger") || strings.Contains(found[0].Says, "valueQuantity")) {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
