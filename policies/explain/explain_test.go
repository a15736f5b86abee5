package explain

import (
	"bytes"
	"html"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

func explained(t *testing.T, name string, edit func(p *policies.Policy, env *policies.Env)) string {
	t.Helper()
	p, env := mustLoad(t, right+"/"+name+".yaml", testEnv(t)), testEnv(t)
	if _, err := policies.Check(p, env); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(p, &env)
	}
	return strings.Join(strings.Fields(explain(p, env, nil).Text()), " ")
}

// What the clauses mean together, case by case.
func TestExplainSays(t *testing.T) {
	const plan, care, registry = "acme-phq9-gad7", "care-group-fhir", "outcomes-registry"
	for _, c := range []struct {
		name, policy string
		edit         func(p *policies.Policy, env *policies.Env)
		says, not    string
	}{
		{"self-pay binds a health plan", plan, nil, "forbid us to tell a health plan", ""},
		{"and nobody else", care, nil, "Ask us for a restriction.", "health plan of it"},
		{"a combination without a line", care, func(p *policies.Policy, env *policies.Env) { env.Recipients[p.Recipient] = "registry" }, "nothing leaves at all", "Say no."},
		{"a layout", plan, func(p *policies.Policy, _ *policies.Env) {
			p.Layout = &policies.Layout{Title: "Supplemental data, 2026"}
		}, "It leaves as the recipient's own layout, Supplemental data, 2026.", "tables"},
		{"a layout of rows, codes and a list", plan, func(p *policies.Policy, _ *policies.Env) {
			of := func(code string) policies.Column {
				return policies.Column{Name: "score_" + code, From: "total_score", When: &policies.When{From: "instrument", Value: code}}
			}
			p.Layout = &policies.Layout{Files: []policies.LaidOut{{Dataset: "scores", Per: []string{"answer"}, Columns: []policies.Column{of("a"), of("b")}}}, Control: &policies.LaidOut{}}
		}, "Each answer of scores makes a row of its own. Columns of scores hold a value in some rows only: score_a where instrument is a and score_b where instrument is b. A control file lists the files; those with records of substance use programs have one of their own.", ""},
		{"a list of what holds no Part 2 records", plan, func(p *policies.Policy, _ *policies.Env) {
			p.Layout, p.Output.Part2Rows = &policies.Layout{Control: &policies.LaidOut{}}, "leave-out"
		}, "A control file lists the files. Each", "one of their own"},
		{"an authorization", plan, func(p *policies.Policy, _ *policies.Env) {
			p.Basis, p.People.General = "45 CFR 164.508", policies.DenyWithout
		}, "who have authorized it", "has decided nothing"},
		{"a relationship that the law does not ask for", plan, func(p *policies.Policy, _ *policies.Env) { p.Basis = "45 CFR 164.506(c)(3)" }, "the law does not ask for it", ""},
		{"required by law, Part 2 still binds", plan, func(p *policies.Policy, _ *policies.Env) { p.Basis = "45 CFR 164.512(a)" }, "Whether a patient has decided anything makes no difference here.", "Say no."},
		{"but Part 2 asks for consent even then", plan, func(p *policies.Policy, _ *policies.Env) { p.Basis = "45 CFR 164.512(a)" }, "Give, refuse or take back consent to records of a substance use program.", "Say no."},
		{"none of which is released", plan, func(p *policies.Policy, _ *policies.Env) { p.Basis, p.People.AcceptForms = "45 CFR 164.512(a)", nil }, "accepts no form", "Give, refuse"},
		{"no form of Part 2 consent", plan, func(p *policies.Policy, _ *policies.Env) { p.People.AcceptForms = nil }, "accepts no form of consent for them", "on the form"},
		{"Part 2 in de-identified data", registry, nil, "are included, in the same form as others", "42 CFR 2.31"},
		{"left out by choice", registry, func(p *policies.Policy, _ *policies.Env) { p.People.Part2LeaveOut = true }, "That people who opted out of registries and records of substance use programs are left out is our own choice, stricter than the law: promised", "are included"},
		{"rules for minors", "acme-phq9-delta", nil, "That is care labelled MH, PSY, PSYTHPN, EMOTDIS at 12 to 17 years, unless the minor has signed a permit (California Health and Safety Code 124260 and Family Code 6924; Health and Safety Code 123115(a)). What a guardian has permitted ends when the patient turns 18.", ""},
		{"all patients", registry, func(p *policies.Policy, _ *policies.Env) { p.Cohort = nil }, "Those of all our patients.", "closed group"},
		{"a written index year", registry, func(p *policies.Policy, _ *policies.Env) { p.Cohort.IndexYear = "2023" }, "lies in 2023", "latest calendar year"},
		{"a number of unknown kind may be any", care, func(p *policies.Policy, _ *policies.Env) {
			p.Release = []policies.Release{{Dataset: "Patient", Fields: []policies.Field{{Name: "identifier", From: "identifier", Do: policies.Keep, Leaves: []policies.Leaf{{Class: extract.OtherUnique}}}}}}
		}, "names: names, places below a state, dates and ages, telephone numbers, fax numbers, e-mail addresses, web addresses", "social security"},
		{"ages that people are counted by", "acme-equity-strata", nil, "names: names, places below a state, telephone numbers", "dates and ages"},
		{"text may hold anything", care, func(p *policies.Policy, _ *policies.Env) {
			p.Release = []policies.Release{{Dataset: "Patient", Fields: []policies.Field{{Name: "text", From: "text", Do: policies.Keep, Class: extract.FreeText}}}}
		}, "Every record of another kind than Patient.", "Of the identifiers"},
		{"one plain field", care, func(p *policies.Policy, _ *policies.Env) { p.Release[0].Fields = p.Release[0].Fields[:1] }, "- id, as it is.", "id, identifier"},
		{"a kept column under another name", plan, func(p *policies.Policy, _ *policies.Env) { p.Release[0].Fields[2].Name = "day" }, "day: service_date, as it is.", ""},
		{"prefixes and ranges", plan, func(p *policies.Policy, _ *policies.Env) {
			p.Release[0].Only[0].Codes = policies.Union(policies.CodePrefix("F32"), policies.CodeRange("F40", "F43"))
		}, "is a code that begins with F32 or a code from F40 to F43", ""},
		{"a purpose within another", plan, func(p *policies.Policy, _ *policies.Env) { p.Purpose = "HQUALIMP" }, "HQUALIMP, which is part of health care operations", ""},
		{"a purpose without words", plan, func(p *policies.Policy, _ *policies.Env) { p.Purpose = "XYZ" }, "The purpose is XYZ.", ""},
		{"the last closed month", plan, func(p *policies.Policy, _ *policies.Env) { p.Release[0].Only[2].Period = policies.LastClosedMonth }, "lies in the last full month", ""},
		{"a reason that is a sentence", plan, func(p *policies.Policy, _ *policies.Env) { p.Because = "They asked. " }, "The reason: They asked. The law", ""},
		{"grounds under Part 2 beside a form", plan, func(p *policies.Policy, _ *policies.Env) {
			p.People.Grounds = []policies.Part2Ground{{Section: "2.53", Paper: "A-1", From: 20500, To: 20600, ReviewBy: 20580}}
		}, "consent, on the form tpo-2026 (42 CFR 2.31) or for an audit or evaluation under the paper A-1 (42 CFR 2.53), from 2026-02-16 to 2026-05-27, until it is to be reviewed on 2026-05-07.", ""},
		{"grounds under Part 2 alone", "acme-program-audit", func(*policies.Policy, *policies.Env) {}, "leave only for an audit", "written consent"},
		{"hours", plan, func(p *policies.Policy, _ *policies.Env) {
			p.Inputs["consents"] = policies.Guard{MaxAge: 12 * time.Hour}
		}, "older than 12 hours, or has lost any of its rows", ""},
		{"seconds", plan, func(p *policies.Policy, _ *policies.Env) {
			p.Inputs["consents"] = policies.Guard{MaxAge: 90 * time.Second, ShrinkLimit: 0.005}
		}, "older than 1m30s, or has lost more than 0.5% of its rows", ""},
		{"no list of restrictions", plan, func(_ *policies.Policy, env *policies.Env) { delete(env.Inputs, "restrictions") }, "none would be noticed", ""},
		{"a window of days", registry, func(p *policies.Policy, _ *policies.Env) { p.Cohort.FollowDays = 10 }, "followed for 10 days", ""},
		{"resources about nobody", care, func(p *policies.Policy, _ *policies.Env) { p.Release[0].Dataset = "Organization" }, "Of Organization, those that a released record refers to.", "All of"},
		{"an input that the clinic does not have", plan, func(_ *policies.Policy, env *policies.Env) { delete(env.Inputs, "consents") }, "The file consents is missing", ""},
		{"a set whose file is not named yet", "acme-phq9-delta", func(p *policies.Policy, _ *policies.Env) { p.ValueSets["mood"] = nil }, "Which of their records", "Mood and anxiety"},
	} {
		text := explained(t, c.policy, c.edit)
		if !strings.Contains(text, c.says) || c.not != "" && strings.Contains(text, c.not) {
			t.Errorf("%s: %s", c.name, text)
		}
	}
}

// A draft is explained too, and says what it lacks; a wrong policy is not.
func TestExplainDrafts(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(right)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "outcomes-registry.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte("from: 2026-01-01, to: 2028-12-31"), []byte("from: FILL IN first day, to: FILL IN last day"), 1)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	page, err := Of(mustLoad(t, file, testEnv(t)), testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	if said := page.said(); !strings.Contains(said, "in force from (date to be filled in) to (date to be filled in)") || strings.Contains(said, "no end") {
		t.Error(said)
	}
	if first := page.Sections[0]; first.Heading != "What is missing before it can run" || len(first.Sentences) != 2 {
		t.Errorf("%+v", first)
	}
	if page, err := Of(mustLoad(t, "../testdata/wrong/environment.yaml", testEnv(t)), testEnv(t)); err == nil {
		t.Errorf("a wrong policy is explained: %+v", page)
	}
}

// The library as shipped is explained as far as it goes: what depends on a
// recipient who is still to be filled in is not told as if there were none.
func TestExplainLibraryAsShipped(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, policies.Library()); err != nil {
		t.Fatal(err)
	}
	env := libraryEnv(t, dir)
	for _, shipped := range policies.ShippedPolicies() {
		page, err := Of(mustLoad(t, filepath.Join(dir, shipped.Name+".yaml"), env), env)
		if err != nil {
			t.Errorf("%s: %v", shipped.Name, err)
			continue
		}
		text := page.said()
		if !strings.HasPrefix(page.Sections[1].Sentences[0].Text, "(to be filled in: the ") || strings.Contains(text, "knows no disclosure") || strings.Contains(text, "FILL IN") {
			t.Errorf("%s: %s", shipped.Name, text)
		}
		if shipped.Name == "members-scores" && (!strings.Contains(text, "Whether a patient who has decided nothing is included is still to be filled in.") || !strings.Contains(text, "The law asks for this relationship")) {
			t.Error(text)
		}
	}
}

// Both forms hold every sentence; the text fits a terminal, the page loads
// nothing and runs nothing.
func TestExplanationForms(t *testing.T) {
	for _, file := range list(t, right) {
		page, err := Of(mustLoad(t, file, testEnv(t)), testEnv(t))
		if err != nil {
			t.Fatal(err)
		}
		text, web := page.Text(), page.HTML()
		for line := range strings.SplitSeq(text, "\n") {
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: wider than a page: %s", file, line)
			}
		}
		plain := strings.Join(strings.Fields(text), " ")
		for _, s := range sentencesOf(page) {
			if !strings.Contains(plain, strings.Join(strings.Fields(s.Text), " ")) || !strings.Contains(html.UnescapeString(web), s.Text) {
				t.Errorf("%s: a sentence is lost: %s", file, s.Text)
			}
		}
		for _, bad := range []string{"<script", "<link", "url(", "src=", "href="} {
			if strings.Contains(web, bad) {
				t.Errorf("%s: the page holds %s", file, bad)
			}
		}
	}
}

// A line to copy stands alone, whole and as it is, in both forms.
func TestLinesToCopy(t *testing.T) {
	line := strings.Repeat("sign this, ", 20) + "<all> of it"
	page := &Page{Sections: []Section{{Heading: "Who approves it", Sentences: []Sentence{{Text: "Copy:"}, {Text: line, ToCopy: true}, {Text: line, ToCopy: true}, {Text: "Thanks."}}}}}
	if text := page.Text(); strings.Count(text, "\n\n    "+line+"\n\n") != 1 || !strings.Contains(text, "\n    "+line+"\n\nThanks.\n") {
		t.Error(text)
	}
	if web := page.HTML(); strings.Count(web, "<pre>"+html.EscapeString(line)+"</pre>\n") != 2 {
		t.Error(web)
	}
}
