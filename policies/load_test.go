package policies

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

func mustLoad(t *testing.T, file string) *Policy {
	t.Helper()
	p, err := Load(file, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLoadedValues(t *testing.T) {
	p := mustLoad(t, "testdata/right/acme-phq9-gad7.yaml")
	if p.Agreement.From.String() != "2026-01-01" || p.Agreement.To.String() != "no date" || p.Agreement.ReviewBy.String() != "2026-12-31" {
		t.Errorf("agreement: %+v", p.Agreement)
	}
	if p.People.Roster != "acme-roster" || p.People.General != PermitWithout || p.People.Part2 != DenyWithout || p.People.AcceptForms[0] != "tpo-2026" {
		t.Errorf("people: %+v", p.People)
	}
	if g := p.Inputs["acme-roster"]; g.MaxAge.Hours() != 35*24 || g.ShrinkLimit != 0.1 {
		t.Errorf("guard: %+v", g)
	}
	only := p.Release[0].Only
	if len(only) != 3 || !slices.Equal(single(only[0].Codes), []string{"44261-6", "70274-6"}) || only[2].Period != MeasureYear || !only[2].Codes.Empty() {
		t.Errorf("only: %+v", only)
	}
	member := p.Release[0].Fields[0]
	if member.Name != "member_id" || member.From != "acme-roster.member_id" || member.Do != Keep {
		t.Errorf("look-up: %+v", member)
	}
	if !p.Output.RowKey || p.Output.Part2Rows != "own-file" || p.Totals[2] != (Total{"sum", "total_score"}) || p.Tolerate.Rejected != 0.01 {
		t.Errorf("output: %+v %+v", p.Output, p.Totals)
	}
}

// A ground is in force from its first day to its last, or to its review,
// whichever comes first, for the purposes and recipients of its section.
func TestPart2GroundsInForce(t *testing.T) {
	p := mustLoad(t, "testdata/right/acme-program-audit.yaml")
	paper := func(kind, on string) string {
		if g := p.Part2Ground(kind, day(on)); g != nil {
			return g.Paper
		}
		return ""
	}
	p.People.Grounds[0].ReviewBy = day("2026-12-31")
	for on, want := range map[string]string{"2026-05-31": "", "2026-06-01": "AUDIT-2026-3", "2026-12-31": "AUDIT-2026-3", "2027-01-01": "REVIEW-7", "2027-03-31": "REVIEW-7", "2027-04-01": ""} {
		if got := paper("health-plan", on); got != want {
			t.Errorf("on %s: %q, want %q", on, got, want)
		}
	}
	if paper("oversight", "2026-06-01") == "" || paper("registry", "2026-06-01") != "" {
		t.Error("to whom")
	}
	for purpose, want := range map[string]bool{"HPAYMT": true, "HQUALIMP": true, "TREAT": false, "HRESCH": false} {
		if p.Purpose = purpose; (paper("health-plan", "2026-06-01") != "") != want {
			t.Errorf("for %s: %v", purpose, !want)
		}
	}
	if got := p.People.Grounds[1].Explained(); got != "ground: 42 CFR 2.53, an audit or evaluation\npaper: REVIEW-7\nin force from: 2026-09-01\nin force until: 2027-03-31" {
		t.Error(got)
	}
	g := &p.People.Grounds[0]
	if g.What() != "an audit or evaluation" || (&Part2Ground{Section: "2.99"}).What() != "42 CFR 2.99" {
		t.Error(g.What())
	}
	if g.From = extract.NoDay; paper("health-plan", "2026-06-01") != "" {
		t.Error("a paper without a first day")
	}
	g.Section, p.Purpose = "2.99", "HOPERAT"
	if g.From = day("2026-01-01"); paper("health-plan", "2026-06-01") != "" {
		t.Error("a section that is no ground")
	}
}

// Whoever made a row is told by the columns of that role: another one that names
// a provider would tell the recipient of a program that the decision has not seen.
func TestProvidersWithoutTheirRole(t *testing.T) {
	p, env := mustLoad(t, "testdata/right/acme-phq9-gad7.yaml"), testEnv(t)
	text, err := os.ReadFile("testdata/schemas/scores.json")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "scores.json")
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), `"class": "provider-key", "role": "provider"`, `"class": "provider-key"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if env.Schemas["scores"], err = extract.LoadSchema(file); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(p, env); err != nil {
		t.Errorf("a clinic without programs: %v", err)
	}
	env.Inputs["programs"] = InputInfo{Kind: "programs"}
	if _, err := Check(p, env); err == nil || !strings.Contains(err.Error(), "release.scores: the column provider_npi names a provider without the role") {
		t.Error(err)
	}
	env.Schemas["scores"] = testEnv(t).Schemas["scores"]
	if _, err := Check(p, env); err != nil {
		t.Error(err)
	}
}

// Check fills in what only schemas tell, and gives the same when called again.
func TestCheckCompletes(t *testing.T) {
	p := mustLoad(t, "testdata/right/outcomes-registry.yaml")
	if p.Cohort.Dataset != "scores" || p.Cohort.FollowDays != 364 {
		t.Errorf("cohort: %+v", p.Cohort)
	}
	first, err := Check(p, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	for _, f := range p.Release[0].Fields {
		sources[f.Name] = f.From + " " + f.Class.String()
	}
	if sources["person"] != "patient_id subject-key" || sources["age"] != "birth_date birth-date" || sources["index_year"] != "index date" {
		t.Errorf("sources: %v", sources)
	}
	second, err := Check(p, testEnv(t))
	if err != nil || first.String() != second.String() {
		t.Errorf("the second check differs: %v", err)
	}
}

func TestPlaceholdersStopTheCheckOnly(t *testing.T) {
	for _, name := range []string{"placeholders", "placeholder-in-notice"} {
		p := mustLoad(t, "testdata/wrong/"+name+".yaml")
		_, err := Check(p, testEnv(t))
		var mistakes *strictyaml.Errors
		if !errors.Is(err, ErrPlaceholder) || !errors.As(err, &mistakes) || !mistakes.Only(ErrPlaceholder) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The digest changes with the policy and with every text it names, and not
// with where the folder lies.
func TestDigest(t *testing.T) {
	text, _ := os.ReadFile("testdata/right/acme-phq9-gad7.yaml")
	write := func(policy, notice string) string {
		dir := t.TempDir()
		_ = os.Mkdir(filepath.Join(dir, "texts"), 0o755)
		_ = os.WriteFile(filepath.Join(dir, "texts/part2-notice.txt"), []byte(notice), 0o644)
		file := filepath.Join(dir, "p.yaml")
		_ = os.WriteFile(file, []byte(policy), 0o644)
		return mustLoad(t, file).Digest()
	}
	first := write(string(text), "a")
	if first != write(string(text), "a") || first == write(string(text), "b") || first == write(string(text)+"\n", "a") {
		t.Error("the digest does not follow what it covers")
	}
	sets := mustLoad(t, "testdata/right/acme-phq9-delta.yaml")
	lines := fmt.Sprintf("%s  policy\n%s  minors/us-ca.yaml\n%s  texts/part2-notice.txt\n%s  value-sets/instruments.yaml\n%s  value-sets/mood.yaml\n",
		sha(t, sets.File), sha(t, "testdata/right/minors/us-ca.yaml"), sha(t, "testdata/right/texts/part2-notice.txt"), sha(t, "testdata/right/value-sets/instruments.yaml"), sha(t, "testdata/right/value-sets/mood.yaml"))
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(lines))); sets.Digest() != want {
		t.Errorf("the digest is not that of the lines of sha256sum: %s", sets.Digest())
	}
}

func sha(t *testing.T, file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))
}

// What a dataset, a column or a class alone tells is found by Check.
func TestCheckMeetsSchemas(t *testing.T) {
	env := testEnv(t)
	env.Schemas["Patient"] = env.Schemas["scores"]
	for name, want := range map[string]string{
		"care-group-fhir":   "Patient is a FHIR resource type and a delimited dataset",
		"outcomes-registry": "a column is called index",
	} {
		scores := *env.Schemas["scores"]
		scores.Fields = append(slices.Clip(scores.Fields), extract.Field{Name: "index", Type: extract.TypeString, Class: extract.Code})
		env.Schemas["scores"] = &scores
		if _, err := Check(mustLoad(t, "testdata/right/"+name+".yaml"), env); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A range is one of codes or of numbers as the class of its path says, each
// time that a policy is checked.
func TestRangesFollowTheClass(t *testing.T) {
	p := mustLoad(t, "testdata/right/acme-phq9-delta.yaml")
	env := testEnv(t)
	only := &p.Release[0].Only[2]
	for _, class := range []extract.Class{extract.Number, extract.Code, extract.Number} {
		scores := *env.Schemas["scores"]
		scores.Fields = slices.Clone(scores.Fields)
		scores.Fields[scores.Column("total_score")].Class = class
		_, _ = Check(p, Env{Schemas: map[string]*extract.Schema{"scores": &scores}, Inputs: env.Inputs, Recipients: env.Recipients, Today: env.Today, Unbuilt: true})
		switch {
		case class == extract.Number && (only.Range == nil || *only.Range != Range{10, 27} || !only.Codes.Empty()):
			t.Errorf("of numbers: %+v", only)
		case class == extract.Code && (only.Range != nil || !only.Codes.Contains("25.4") || !only.Codes.Contains("27x") || only.Codes.Contains("28")):
			t.Errorf("of codes: %+v", only)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	if _, err := Load("testdata/none.yaml", Env{}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// The engine alone has no recipient, no inputs and no date.
func TestCheckAlone(t *testing.T) {
	env := testEnv(t)
	for _, name := range []string{"right/acme-phq9-gad7", "right/outcomes-registry", "right/care-group-fhir", "right/population-fhir", "wrong/harbor-attestation-expired", "wrong/environment"} {
		if _, err := Check(mustLoad(t, "testdata/"+name+".yaml"), Env{Schemas: env.Schemas, Alone: true, Demo: true}); err != nil {
			t.Error(name, err)
		}
	}
	for _, name := range []string{"harbor-identifiers", "column-unknown", "harbor-endless", "placeholders"} {
		if _, err := Check(mustLoad(t, "testdata/wrong/"+name+".yaml"), Env{Schemas: env.Schemas, Alone: true, Demo: true}); err == nil {
			t.Error(name)
		}
	}
	if _, err := Check(mustLoad(t, "testdata/right/acme-phq9-gad7.yaml"), Env{Alone: true, Demo: true}); err != nil {
		t.Error("a dataset without a schema is not looked at:", err)
	}
}

// A policy that was put together in code can be checked too.
func TestCheckWithoutFile(t *testing.T) {
	p := &Policy{Name: "made", Standard: SafeHarbor, Recipient: "acme-health-plan", Output: Output{Layout: "csv"},
		Release: []Release{{Dataset: "scores", Fields: []Field{{Name: "comment", From: "comment", Do: Keep}}}}}
	_, err := Check(p, testEnv(t))
	if err == nil || !strings.Contains(err.Error(), "release.scores.fields.comment") {
		t.Error(err)
	}
	if _, err := Check(&Policy{}, testEnv(t)); err == nil || !strings.Contains(err.Error(), "the policy has no standard") {
		t.Error(err)
	}
}

// The examples of the design load and are proved, once a comma stands in
// quotes and the maps that they name are included.
func TestExamples(t *testing.T) {
	const folder = "../../shared/examples"
	if _, err := os.Stat(folder); err != nil {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer missing: shared examples")
		}
		t.Skip("peer missing: shared examples")
	}
	mended := strings.NewReplacer(
		"because: joins the rows of one person; random, kept here", `because: "joins the rows of one person; random, kept here"`,
		"policy: outcomes-registry\n", "policy: outcomes-registry\ninclude: {omb-7: value-sets/omb-race.yaml}\n",
		"policy: acme-equity-strata\n", "policy: acme-equity-strata\ninclude: {languages-to-top-10: value-sets/languages.yaml}\n")
	for _, name := range []string{"acme-phq9-gad7.yaml", "outcomes-registry.yaml", "acme-equity-strata.yaml"} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := parse(name, []byte(mended.Replace(string(text))), testEnv(t), func(name string) ([]byte, error) { return os.ReadFile("testdata/right/" + name) })
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := Check(p, testEnv(t)); err != nil {
			t.Error(err)
		}
		if len(p.Unbuilt()) == 0 {
			t.Errorf("%s: can all of it be carried out? Then say so in unbuilt.go", name)
		}
	}
}

// Whatever is written in a policy and a value set: no panic, every refusal has
// its place, also where a half-read policy was held against an environment, and
// what Load and Check accept the prover permits field by field.
func FuzzLoad(f *testing.F) {
	set, err := os.ReadFile("testdata/right/value-sets/instruments.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range slices.Concat(list(f, "testdata/right/*.yaml"), list(f, "testdata/wrong/*.yaml"), list(f, "library/*.yaml")) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), string(set))
	}
	whole, err := os.ReadFile("testdata/right/acme-phq9-delta.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range slices.Concat(list(f, "testdata/right/value-sets/*.yaml"), list(f, "testdata/wrong/value-sets/*.yaml")) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(whole), string(text))
	}
	env := testEnv(f)
	f.Fuzz(func(t *testing.T, text, set string) {
		open := func(string) ([]byte, error) { return []byte(set), nil }
		p, err := parse("p.yaml", []byte(text), env, open)
		if err != nil {
			placed(t, err)
			if _, err := parse("p.yaml", []byte(text), Env{Alone: true}, open); err == nil {
				t.Fatal("what is wrong in itself loads for an engine that stands alone")
			}
			return
		}
		proof, err := Check(p, env)
		if err != nil {
			placed(t, err)
			return
		}
		_ = proof.String()
		_ = p.Digest()
		_ = p.Unbuilt()
		mayLeave(t, p)
	})
}

// placed fails unless an error is a list of mistakes, each with its place.
func placed(t *testing.T, err error) {
	var mistakes *strictyaml.Errors
	if !errors.As(err, &mistakes) || len(mistakes.List) == 0 {
		t.Fatalf("an error without a mistake: %v", err)
	}
	for _, m := range mistakes.List {
		if m.Line < 1 || m.Column < 1 || m.Message == "" {
			t.Fatalf("no place or no message: %+v", m)
		}
	}
	_ = mistakes.Render(&strings.Builder{})
}

// mayLeave fails unless all that a policy releases may leave.
func mayLeave(t *testing.T, p *Policy) {
	for _, rel := range p.Release {
		for _, field := range rel.Fields {
			if field.Because == "" || field.Leaves == nil && !Permits(p.Standard, field.Class, field.Do) && field.From != FromIndex {
				t.Fatalf("%s.%s left the check as %+v", rel.Dataset, field.Name, field)
			}
			for _, l := range field.Leaves {
				if !Permits(p.Standard, l.Class, field.Do) {
					t.Fatalf("%s.%s left the check with %v", rel.Dataset, field.Name, l.Path)
				}
			}
		}
		for _, c := range rel.Only {
			if c.Codes.Empty() && c.Range == nil && c.Period == "" {
				t.Fatalf("%s.%s compares with nothing", rel.Dataset, c.Path)
			}
		}
	}
	for _, table := range p.Tables {
		for _, d := range table.By {
			if why, _ := dimensionRefusal(p.judgedBy(), d); why != "" {
				t.Fatalf("%s is counted by %+v: %s", table.Name, d, why)
			}
		}
	}
}

func single(s CodeSet) []string {
	codes, _ := s.Single()
	return codes
}
