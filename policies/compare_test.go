package policies

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/extract"
)

func TestAPolicyComparedWithItselfDoesNotChange(t *testing.T) {
	env := testEnv(t)
	for _, file := range list(t, "testdata/right/*.yaml") {
		p := right(t, file)
		if c := Compare(p, p, env, env); len(c.Widens)+len(c.Narrows)+len(c.Also) != 0 {
			t.Error(c)
		}
	}
}

func right(t *testing.T, file string) *Policy {
	t.Helper()
	p, err := Load(file, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// brief is what the changes of one side are, without their words.
func brief(changes []Change) string {
	var all []string
	for _, c := range changes {
		if text := strings.Join(strings.Fields(c.Kind+" "+c.Dimension+" "+strings.Join(c.Fields, "+")), " "); !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}

// everyGroup is the change of a population of whom smaller groups leave.
const everyGroup = "population group person+row+service_date+instrument+total_score+age+sex+race"

// everyField is the change when no field is left.
const everyField = "field person; field row; field service_date; field instrument; field total_score; field age; field sex; field race"

// edits are one change of each construct, with what it lets out and keeps in.
var edits = []struct {
	name, base     string
	edit           func(*Policy)
	widens, narrow string
}{
	{"another recipient", "acme-phq9-gad7", func(p *Policy) { p.Recipient = "valley-care-group" }, "recipient", "recipient"},
	{"a purpose within", "acme-phq9-gad7", func(p *Policy) { p.Purpose = "HQUALIMP" }, "", "purpose"},
	{"a purpose that the basis does not cover", "acme-phq9-gad7", func(p *Policy) { p.Purpose = "TREAT" }, "", "purpose"},
	{"a recipient that the basis does not cover", "acme-phq9-gad7", func(p *Policy) { p.Basis = "45 CFR 164.512(d)" }, "", "dataset"},
	{"an agreement renewed", "outcomes-registry", func(p *Policy) { p.Agreement.To += 365 }, "", ""}, // the attestation ends before either
	{"a review left out", "acme-phq9-gad7", func(p *Policy) { p.Agreement.ReviewBy = extract.NoDay }, "", "population decided-on"},
	{"an attestation that ends sooner", "outcomes-registry", func(p *Policy) { p.Attest.ReviewBy-- }, "", "population decided-on"},
	{"a certificate renewed", "outcomes-expert", func(p *Policy) { p.Certificate.Expires++ }, "population decided-on", ""},
	{"a value set without end", "outcomes-expert", func(p *Policy) { p.ValueSets["omb-race"].From -= 900 }, "", ""},
	{"no data use agreement", "public-health-limited", func(p *Policy) { p.Agreement.Kind = "baa" }, "", "dataset"},
	{"a basis with fewer steps", "acme-phq9-gad7", func(p *Policy) { p.Basis = "45 CFR 164.512(a)" }, "population people", ""},

	{"one more code", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only[0].Codes = Codes("44261-6", "70274-6", "55758-7") }, "population value:instrument", ""},
	{"a prefix instead of a code", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only[1].Codes = CodePrefix("final") }, "population value:status", "population value:status"},
	{"another calendar", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only[2].Period = LastClosedMonth }, "population dates", "population dates"},
	{"last year instead of this", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only[2].Period = LastClosedYear }, "population dates", "population dates"},
	{"a written year under Safe Harbor", "population-fhir", func(p *Policy) { p.Release[1].Only[1].Period = "2024-01-01..2024-12-31" },
		"population dates", "population dates"},
	{"a written year that is not over", "population-fhir", func(p *Policy) { p.Release[1].Only[1].Period = "2026-01-01..2026-12-31" },
		"population dates", "population decided-on; population dates"},
	{"a value instead of a period", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only[2] = Condition{Path: "service_date", Codes: Codes("2026-03-02")} },
		"population dates", "population value:service_date"},
	{"no condition on the date", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only = p.Release[0].Only[:2] }, "population dates", ""},
	{"the column by its role", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Only[2].Path = "date" }, "", ""},
	{"a range of numbers", "acme-phq9-gad7", func(p *Policy) {
		p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "total_score", Range: &Range{10, 27}})
	}, "", "population value:total_score"},
	{"a concept by its codes", "care-group-fhir", func(p *Policy) { p.Release[1].Only[0].Path = "code.coding.code" }, "", ""},
	{"a dataset less", "care-group-fhir", func(p *Policy) { p.Release = p.Release[:1] }, "", "dataset"},

	{"a field less", "acme-phq9-gad7", func(p *Policy) { p.Release[0].Fields = p.Release[0].Fields[1:] }, "", "field member_id"},
	{"the year of a date", "acme-phq9-gad7", func(p *Policy) { theField(p, "birth_date").Do = Year }, "", "form birth_date"},
	{"a token of a number", "acme-phq9-gad7", func(p *Policy) { theField(p, "provider_npi").Do = Token }, "", "form provider_npi"},
	{"a field by another name", "acme-phq9-gad7", func(p *Policy) { theField(p, "birth_date").Name = "born" }, "", ""},
	{"a code instead of a token", "outcomes-expert", func(p *Policy) { theField(p, "person").Do = CodePerson }, "", "form person"},
	{"a wider shift", "outcomes-expert", func(p *Policy) { theField(p, "service_date").Days = 400 }, "", "form service_date"},
	{"bands instead of an age", "outcomes-expert", func(p *Policy) { f := theField(p, "age"); f.Do, f.Width, f.Top = AgeBand, 5, 90 }, everyGroup, "form age"},
	{"a map that tells less", "outcomes-expert", func(p *Policy) {
		p.ValueSets["omb-race"].Map = map[string]string{"1002-5": "some", "2028-9": "some", "2054-5": "other", "2106-3": "other"}
	}, everyGroup, "form race"},
	{"a map that is not there", "outcomes-expert", func(p *Policy) { p.ValueSets = nil }, everyGroup, "form race"},
	{"another field and no other", "outcomes-expert", func(p *Policy) {
		p.Release[0].Fields, p.Release[0].Only = []Field{{Name: "zip", From: "zip", Do: Keep}}, nil
	},
		"field zip", everyField},
	{"a constant more", "outcomes-expert", func(p *Policy) {
		p.Release[0].Fields = append(p.Release[0].Fields, Field{Name: "sender", From: "sender", Do: Constant, To: "clinic"})
	}, "", ""},
	{"the row key", "acme-phq9-gad7", func(p *Policy) { p.Output.RowKey = false }, "", "field row key"},
	{"the order", "outcomes-registry", func(p *Policy) { p.Output.Shuffle = "" }, "field order of the rows", ""},
	{"days instead of weeks", "outcomes-registry", func(p *Policy) { theField(p, "week").Unit = "days" }, "form week", ""},
	{"ages as of the run", "outcomes-registry", func(p *Policy) { theField(p, "age").At = "" }, "form age", "form age"},
	{"wider bands", "outcomes-registry", func(p *Policy) { f := theField(p, "age"); f.Width, f.Top = 10, 80 }, "", "form age"},
	{"bands that end elsewhere", "outcomes-registry", func(p *Policy) { theField(p, "age").Width = 6 }, "form age", "form age"},
	{"rounded numbers", "outcomes-registry", func(p *Policy) { f := theField(p, "total_score"); f.Do, f.Days = Round, 5 }, "", "form total_score"},
	{"the region of a division", "words-of-rows", func(p *Policy) { theField(p, "division").To = WholeRegion }, "", "form division"},
	{"the division for both", "words-of-rows", func(p *Policy) { theField(p, "region").To = Division }, "", ""},
	{"bands of bands", "words-of-rows", func(p *Policy) { theField(p, "severity").Bands = []string{"0-9", "10-19", "20-27"} }, "form severity", "form severity"},
	{"a band less", "words-of-rows", func(p *Policy) { theField(p, "severity").Bands = []string{"5-9", "10-14", "15-19", "20-27"} }, "", "form severity"},
	{"an open band", "words-of-rows", func(p *Policy) { theField(p, "severity").Bands[4] = "20+" }, "form severity", "form severity"},
	{"a word less", "words-of-rows", func(p *Policy) { p.ValueSets["clinic-words"].Codes = Codes("in person", "on paper") }, "", "form comment"},
	{"two codes by one word", "words-of-rows", func(p *Policy) { p.ValueSets["instruments"].Display["70274-6"] = "PHQ-9 total score" }, "", "form instrument"},
	{"all text", "words-of-rows", func(p *Policy) { theField(p, "comment").Do = Keep }, "form comment", ""},
	{"a longer window", "outcomes-registry", func(p *Policy) { p.Cohort.FollowDays += 7 }, "population dates", "population dates"},
	{"a written index year", "outcomes-registry", func(p *Policy) { p.Cohort.IndexYear = "2024" }, "population dates", "population dates"},
	{"an index of other records", "outcomes-registry", func(p *Policy) { p.Release[0].Only = p.Release[0].Only[:1] },
		"form index_year; form week; form age; population dates; population value:status", "form index_year; form week; form age; population dates"},
	{"an index of other numbers and dates", "outcomes-registry", func(p *Policy) {
		p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "total_score", Range: &Range{0, 27}}, Condition{Path: "date", Period: LastClosedYear})
	}, "form index_year; form week; form age; population dates", "form index_year; form week; form age; population dates; population value:total_score"},
	{"an index of another dataset", "outcomes-registry", func(p *Policy) { p.Cohort.Dataset = "visits" },
		"form index_year; form week; form age; population dates", "form index_year; form week; form age; population dates"},
	{"no cohort", "outcomes-registry", func(p *Policy) {
		p.Cohort = nil
		p.Release[0].Fields = slices.DeleteFunc(p.Release[0].Fields, func(f Field) bool { return f.From == FromIndex || f.Do == RelativeTime })
	}, "form age; population dates", "field index_year; field week; form age"},

	{"consent needed", "acme-phq9-gad7", func(p *Policy) { p.People.General = DenyWithout }, "", "population people"},
	{"another form of consent", "acme-phq9-gad7", func(p *Policy) { p.People.AcceptForms = []string{"tpo-2026", "tpo-2027"} }, "population people", ""},
	{"a ground other than consent", "acme-phq9-gad7", func(p *Policy) { p.People.Grounds = []Part2Ground{audit("2026-01-01", "2026-06-30")} }, "population people", ""},
	{"a longer ground", "acme-program-audit", func(p *Policy) { p.People.Grounds[0].From-- }, "population people", ""},
	{"a ground without its review", "acme-program-audit", func(p *Policy) { p.People.Grounds[1].ReviewBy = extract.NoDay }, "", ""}, // none now, and the other one holds longer
	{"a ground reviewed before it ends", "acme-program-audit", func(p *Policy) {
		p.People.Grounds = p.People.Grounds[:1]
		p.People.Grounds[0].ReviewBy = day("2026-08-01")
	}, "", "population people"},
	{"another ground, as long", "acme-program-audit", func(p *Policy) { p.People.Grounds[0].Paper = "AUDIT-2026-4" }, "", ""},
	{"a ground of another section", "acme-program-audit", func(p *Policy) {
		p.People.Grounds = []Part2Ground{audit("2026-01-01", "2026-12-31")}
		p.People.Grounds[0].Section = "2.52"
	}, "", "population people"},
	{"a ground for days without an agreement", "acme-program-audit", func(p *Policy) { p.People.Grounds[0].To = day("2030-12-31") }, "", ""},
	{"consent instead of a ground", "acme-program-audit", func(p *Policy) { p.People.Grounds, p.People.AcceptForms = nil, []string{"tpo-2026"} }, "population people", "population people"},
	{"Part 2 rows left out", "acme-phq9-gad7", func(p *Policy) { p.Output.Part2Rows = "leave-out" }, "", "population people"},
	{"rules for minors", "acme-phq9-gad7", func(p *Policy) { p.People.Minors = "us-ca" }, "", "population people"},
	{"opt-outs", "outcomes-registry", func(p *Policy) { p.People.RegistryOptOut = false }, "population people", ""},
	{"any day of the period", "acme-phq9-gad7", func(p *Policy) { p.People.Covered = "any-day-of-period" }, "population standing:acme-roster", ""},
	{"no roster where one is asked for", "acme-phq9-gad7", func(p *Policy) { p.People.Roster = "" }, "", "dataset"},
	{"an older input", "acme-phq9-gad7", func(p *Policy) { p.Inputs["consents"] = Guard{MaxAge: 49 * time.Hour, ShrinkLimit: 0.01} }, "population age:consents", ""},
	{"an input without guard", "acme-phq9-gad7", func(p *Policy) { delete(p.Inputs, "consents") }, "population age:consents; population gone:consents", ""},
	{"fewer rows", "acme-phq9-gad7", func(p *Policy) { p.Inputs["consents"] = Guard{MaxAge: 24 * time.Hour, ShrinkLimit: 0.5} }, "population gone:consents", ""},
	{"more rejected", "acme-phq9-gad7", func(p *Policy) { p.Tolerate.Rejected = 0.02 }, "population rejected", ""},

	{"smaller groups", "outcomes-expert", func(p *Policy) { p.Protect.K = 5 }, everyGroup, ""},
	{"groups of fewer fields", "outcomes-expert", func(p *Policy) { p.Protect.Over = []string{"age", "sex"} }, everyGroup, ""},
	{"rows instead of people", "outcomes-expert", func(p *Policy) { p.Protect.Then = "suppress" }, everyGroup, ""},
	{"nothing coarsened first", "outcomes-expert", func(p *Policy) { p.Protect.First = nil }, "", everyGroup},
	{"no protection", "outcomes-expert", func(p *Policy) { p.Protect = nil }, everyGroup, ""},

	{"a dimension less", "acme-equity-strata", func(p *Policy) { p.Tables[0].By = p.Tables[0].By[1:] }, "", "field race"},
	{"finer bands", "acme-equity-strata", func(p *Policy) { p.Tables[0].By[3].Bands = []string{"12-17", "18-34", "35-44", "45-64", "65+"} }, "form age", "population group age"},
	{"the languages themselves", "acme-equity-strata", func(p *Policy) { p.Tables[0].By[2].Coarsen = "" }, "form language", "population group language"},
	{"languages by bands", "acme-equity-strata", func(p *Policy) { d := &p.Tables[0].By[2]; d.Coarsen, d.Bands = "", []string{"1-2"} }, "form language", "form language"},
	{"other languages", "acme-equity-strata", func(p *Policy) { p.ValueSets["languages-to-top-10"].Map = map[string]string{"en": "English"} }, "population group language", "form language"},
	{"only a rate", "acme-equity-strata", func(p *Policy) { p.Tables[0].Show = []string{"rate"} }, "", "form everyone; form race; form ethnicity; form language; form age; form sex"},
	{"no totals", "acme-equity-strata", func(p *Policy) { p.Tables[0].Totals = false }, "", "field everyone"},
	{"another numerator", "acme-equity-strata", func(p *Policy) { p.Tables[0].Numerator[0].Codes = Codes("false") },
		"population value:in_numerator; population group everyone+race+ethnicity+language+age+sex", "population value:in_numerator; population group everyone+race+ethnicity+language+age+sex"},
	{"smaller cells", "acme-equity-strata", func(p *Policy) { p.Protect.Smallest = 5 }, "population group everyone+race+ethnicity+language+age+sex", ""},
	{"against earlier drops of fewer years", "acme-equity-strata", func(p *Policy) { p.Protect.Years = 2 }, "population derivable", ""},
	{"against this table only", "acme-equity-strata", func(p *Policy) { p.Protect.Against = []string{thisTable} }, "population derivable", ""},
	{"no disclosure control", "acme-equity-strata", func(p *Policy) { p.Protect = nil },
		"population audit; population derivable; population group everyone+race+ethnicity+language+age+sex", ""},
	{"a newer permit overtakes a denial", "acme-phq9-gad7", func(p *Policy) { p.People.MostRecent = true }, "population people", ""},
	{"a denial beats a newer permit", "acme-phq9-delta", func(p *Policy) { p.People.MostRecent = false }, "", "population people"},
	{"no audit", "acme-equity-strata", func(p *Policy) { p.Protect.Audit = false }, "population audit", ""},
}

func audit(from, to string) Part2Ground {
	return Part2Ground{Section: "2.53", Paper: "AUDIT-1", From: day(from), To: day(to), ReviewBy: extract.NoDay}
}

// Policies that are in force on no common day are told apart by the day alone.
func TestGroundsOfPoliciesThatNeverMeet(t *testing.T) {
	old, new := right(t, "testdata/right/acme-program-audit.yaml"), right(t, "testdata/right/acme-program-audit.yaml")
	new.Agreement.From, new.Agreement.To = day("2027-01-01"), day("2027-12-31")
	env := testEnv(t)
	if c := Compare(old, new, env, env); brief(c.Widens) != "population decided-on" || brief(c.Narrows) != "population decided-on" {
		t.Error(c)
	}
}

func theField(p *Policy, name string) *Field { return p.Release[0].Field(name) }

func TestEachConstructIsCompared(t *testing.T) {
	env := testEnv(t)
	for _, e := range edits {
		t.Run(e.name, func(t *testing.T) {
			old, new := right(t, "testdata/right/"+e.base+".yaml"), right(t, "testdata/right/"+e.base+".yaml")
			e.edit(new)
			c := Compare(old, new, env, env)
			if w, n := brief(c.Widens), brief(c.Narrows); w != e.widens || n != e.narrow {
				t.Errorf("widens  %q, want %q\nnarrows %q, want %q", w, e.widens, n, e.narrow)
			}
			for i, changes := range [][]Change{c.Widens, c.Narrows} {
				for _, x := range changes {
					confirm(t, x, []*Policy{new, old}[i], []*Policy{old, new}[i], env)
				}
			}
		})
	}
}

// confirm holds a counter-example against both policies as a whole.
func confirm(t *testing.T, c Change, lets, keeps *Policy, env Env) {
	t.Helper()
	if !Admits(lets, env, c.Situation) {
		t.Errorf("%s: the policy keeps what the counter-example says that it lets out: %s", c.Says, facts(c.Situation))
	}
	if c.Kind == NewPopulation && c.Dimension != dimGroup && c.Dataset == c.Situation.Dataset && Admits(keeps, env, c.Situation) {
		t.Errorf("%s: the other policy lets the counter-example out too: %s", c.Says, facts(c.Situation))
	}
}

func facts(s *Situation) string {
	var all []string
	for _, f := range s.Facts() {
		all = append(all, f.Says)
	}
	return strings.Join(all, "; ")
}

func TestDatasetsThatConcernNobody(t *testing.T) {
	env := testEnv(t)
	old := right(t, "testdata/right/care-group-fhir.yaml")
	new := *old
	new.Release = append(slices.Clone(old.Release), Release{Dataset: "Organization", Fields: []Field{{Name: "name", Do: Keep, Leaves: []Leaf{{Path: []string{"name"}}}}}})
	new.People.General = PermitWithout
	if got := brief(Compare(old, &new, env, env).Widens); got != "population people; dataset" && got != "population people; population people; dataset" {
		t.Error(got)
	}
	unsaid := *old
	unsaid.Release = []Release{{Dataset: "wards", Fields: []Field{{Name: "ward", From: "ward", Do: Keep}}}}
	if got := brief(Compare(old, &unsaid, env, env).Widens); got != "" {
		t.Errorf("rows that do not say whom they concern leave: %s", got)
	}
}

// enumerated is the schema of scores with a list of the sexes.
func enumerated(t *testing.T, values ...string) *extract.Schema {
	text, err := os.ReadFile("testdata/schemas/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "scores.json")
	list := `"constraints": {"enum": ["` + strings.Join(values, `", "`) + `"]}, "class": "sex"`
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"class": "sex"`, list, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := extract.LoadSchema(file)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// A value that only the newer schema lists was rejected before.
func TestSchemasThatListOtherValues(t *testing.T) {
	p := right(t, "testdata/right/acme-phq9-gad7.yaml")
	was, is := testEnv(t), testEnv(t)
	was.Schemas["scores"] = enumerated(t, "female", "male")
	is.Schemas["scores"] = enumerated(t, "female", "male", "other")
	c := Compare(p, p, was, is)
	if brief(c.Widens) != "population value:sex" || len(c.Narrows) != 0 || c.Widens[0].Situation.Values["sex"] != "other" {
		t.Error(c)
	}
}

// An age that no column of the dataset gives is taken from the person's birth
// date, whatever the field is called.
func TestAgesOfPeopleKnownElsewhere(t *testing.T) {
	env := testEnv(t)
	env.Today = 0 // and examples lie near the agreement
	old := right(t, "testdata/right/outcomes-registry.yaml")
	old.Release[0] = Release{Dataset: "visits", Fields: []Field{{Name: "age", From: "age", Do: AgeBand, Width: 5, Top: 90}}}
	old.Cohort = nil
	new := *old
	new.Release = []Release{{Dataset: "visits", Fields: []Field{{Name: "years", From: "years", Do: AgeBand, Width: 10, Top: 90}}}}
	c := Compare(old, &new, env, env)
	if brief(c.Widens) != "" || brief(c.Narrows) != "form age" || c.Narrows[0].Situation.DecidedOn.Year() != 2026 {
		t.Error(c)
	}
}

func TestPathsOfOneMeaning(t *testing.T) {
	env := testEnv(t)
	for path, want := range map[string]string{
		"Observation code": "code.coding.code", "Observation status": "status", "Encounter class": "class.code", "Encounter period": "period.start",
		"Encounter nothing": "nothing", "scores date": "service_date", "visits date": "date", "scores sex": "sex",
	} {
		dataset, path, _ := strings.Cut(path, " ")
		if got := newView(&Policy{}, env, dataset, nil).pathOf(path); got != want {
			t.Errorf("%s of %s is %s, want %s", path, dataset, got, want)
		}
	}
}

func TestEveryFactHasWords(t *testing.T) {
	s := &Situation{Dataset: "scores", Dates: map[string]extract.Day{"date": extract.NoDay}, Values: map[string]string{"sex": "", "race": "a\x00"},
		Restriction: selfPay, OptedOut: true, Part2: true, Part2Form: "tpo", Minor: "us-ca", Directive: unsure, Age: map[string]time.Duration{"consents": 48 * time.Hour},
		asked: []string{dimDates, dimValue + ":sex", dimValue + ":race", dimPeople, dimAge + ":consents"}}
	want := "a record of scores; as of 1970-01-01; date is missing; sex is missing; race is \"a\\x00\"; the record is under 42 CFR Part 2; the person's directive cannot be read; " +
		"the person has signed a consent for Part 2 on the form tpo; the person has opted out of registries; " +
		"the person paid for the service and forbade that the plan learns of it; a minor controls the record under the rules of us-ca; consents is 2 days old"
	if got := facts(s); got != want {
		t.Error(got)
	}
}

func TestComparisonInWords(t *testing.T) {
	env := testEnv(t)
	var b strings.Builder
	for _, name := range []string{"a purpose within", "an agreement renewed", "an index of other records", "one more code", "rules for minors", "opt-outs", "a basis with fewer steps",
		"another form of consent", "fewer rows", "an older input", "more rejected", "smaller groups", "against this table only", "against earlier drops of fewer years", "no audit", "any day of the period",
		"another recipient", "a field by another name", "days instead of weeks", "a range of numbers", "a prefix instead of a code"} {
		e := edits[slices.IndexFunc(edits, func(e struct {
			name, base     string
			edit           func(*Policy)
			widens, narrow string
		}) bool {
			return e.name == name
		})]
		old, new := right(t, "testdata/right/"+e.base+".yaml"), right(t, "testdata/right/"+e.base+".yaml")
		e.edit(new)
		fmt.Fprintf(&b, "=== %s\n%s\n", e.name, Compare(old, new, env, env))
	}
	matchGolden(t, "testdata/compared.txt", b.String())
}

func TestComparisonAsJSON(t *testing.T) {
	env := testEnv(t)
	old, new := right(t, "testdata/right/acme-phq9-gad7.yaml"), right(t, "testdata/right/acme-phq9-gad7.yaml")
	new.Release[0].Only[1].Codes = Codes("final", "amended", "preliminary")
	new.Version, new.Keep.SealedDrop, new.Because, new.Release[0].Fields[0].Because = 4, 0, strings.Repeat("another reason ", 12), "better said"
	new.Notices = Notices{}
	text, err := json.Marshal(Compare(old, new, env, env))
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Old, New string
		Widens   []struct {
			Kind, Dataset, Dimension, Says string
			Situation                      []Fact
		}
		Also []string `json:"also_changed"`
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	w := back.Widens[0]
	i := slices.IndexFunc(w.Situation, func(f Fact) bool { return f.Dimension == "value:status" })
	if w.Kind != "population" || w.Dataset != "scores" || w.Dimension != "value:status" || w.Situation[i].Value != "preliminary" {
		t.Error(string(text))
	}
	want := []string{"version: 3, now 4", "reason", "notices: texts/part2-notice.txt, per-row, now none", "retention: 2562 days, now 0 days", "reason of scores.member_id"}
	if !slices.Equal(back.Also, want) {
		t.Errorf("%q", back.Also)
	}
}
