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

// made is a policy of each standard that Check finds right.
func made(std Standard) *Policy {
	p := &Policy{Name: "made", Version: 1, Standard: std, Recipient: "national-outcomes-registry", Purpose: "HRESCH", Basis: "45 CFR 164.502(d)",
		Agreement: Agreement{"dua", "X-1", day("2026-01-01"), day("2027-12-31"), extract.NoDay},
		Inputs:    map[string]Guard{"consents": {}}, Output: Output{Layout: "csv", Mode: "full", Part2Rows: "leave-out", Shuffle: "people"},
		Release: []Release{{Dataset: "scores", Only: []Condition{{Path: "service_date", Period: LastClosedYear}},
			Fields: []Field{{Name: "total_score", From: "total_score", Do: Keep, Because: "the outcome"}}}}}
	switch std {
	case Identified:
		p.Basis, p.Purpose, p.People.General = "45 CFR 164.512(b)", "PUBHLTH", DenyWithout
	case LimitedDataSet:
		p.Basis, p.People.General = "45 CFR 164.514(e)", PermitWithout
	case SafeHarbor:
		p.Attest = &Attestation{"the officer", day("2026-11-20"), day("2027-11-20")}
	case ExpertDetermination:
		p.Certificate = &Certificate{Expert: "an expert", On: day("2026-01-10"), Method: "k = 11", Conditions: []string{"no linking"}, Expires: day("2027-01-10")}
	case Aggregate:
		p.Release, p.Ground = nil, "safe-harbor-dimensions"
		p.Tables = []Table{{Name: "strata", Dataset: "scores", Period: "calendar-year", Show: []string{"denominator"}, Totals: true,
			By: []Dimension{{Path: "sex", Class: extract.Sex}, {Path: "birth_date", Class: extract.BirthDate, Bands: []string{"0-64", "65-89", "90+"}}, {Path: "race", Class: extract.Race, Coarsen: "omb"}}}}
		p.Protect = &Protect{Smallest: 11, First: []string{"coarsen"}, Then: "suppress", Against: []string{"this-table", "linked-tables", "earlier-drops"}, Years: 5, Audit: true}
	}
	return p
}

func field(name string, do Transform) Field {
	return Field{Name: name, From: name, Do: do, Because: "a test", Width: 5, Top: 90, Days: 365, Unit: "weeks"}
}

// element is the release of one leaf of a resource.
func element(resource, path string, do Transform, class extract.Class) Release {
	return Release{Dataset: resource, Fields: []Field{{Name: path, From: path, Do: do, Because: "a test", Leaves: []Leaf{{strings.Split(path, "."), class}}}}}
}

// what each standard asks, broken once: one edit, one mistake at its place.
var broken = []struct {
	name       string
	std        Standard
	edit       func(p *Policy)
	path, says string
}{
	{"a lapsed agreement", Identified, func(p *Policy) { p.Agreement.To = day("2026-11-30") }, "agreement.to", "agreement"},
	{"a purpose the basis does not cover", Identified, func(p *Policy) { p.Purpose = "HMARKT" }, "purpose", "does not cover"},
	{"an unknown basis", Identified, func(p *Policy) { p.Basis = "45 CFR 1.1" }, "basis", "no legal basis"},
	{"a basis of another standard", LimitedDataSet, func(p *Policy) { p.Basis = "45 CFR 164.512(b)" }, "basis", "no basis for the standard limited-data-set"},
	{"no authorization", Identified, func(p *Policy) { p.Basis, p.People.General = "45 CFR 164.508", PermitWithout }, "people.consent.general.without_directive", "authorization"},
	{"no relationship", Identified, func(p *Policy) {
		p.Basis, p.Purpose, p.Recipient = "45 CFR 164.506(c)(4)", "HOPERAT", "valley-care-group"
	}, "people.relationship.roster", "164.506(c)(4) needs a relationship"},
	{"a recipient the basis does not reach", Identified, func(p *Policy) { p.Basis, p.Purpose = "45 CFR 164.506(c)(2)", "TREAT" }, "basis", "nothing leaves to a recipient of kind registry"},
	{"no rule without directive", LimitedDataSet, func(p *Policy) { p.People.General = "" }, "people.consent.general", "without a directive"},
	{"no notice", LimitedDataSet, func(p *Policy) {
		p.People.AcceptForms, p.Output.Part2Rows, p.Notices.ScopeOfConsent = []string{"f"}, "own-file", "per-row"
	}, "notices.part2", "42 CFR 2.32"},
	{"no scope of consent", LimitedDataSet, func(p *Policy) {
		p.People.AcceptForms, p.Output.Part2Rows, p.Notices.Part2 = []string{"f"}, "own-file", "notice.txt"
	}, "notices.scope_of_consent", "42 CFR 2.32(b)"},
	{"no consents", LimitedDataSet, func(p *Policy) { p.Inputs = nil }, "inputs", "consents"},
	{"no restrictions", LimitedDataSet, func(p *Policy) { p.Recipient = "acme-health-plan" }, "inputs", "164.522(a)(1)(vi)"},
	{"opted out, and nobody knows", SafeHarbor, func(p *Policy) { p.Inputs, p.People.RegistryOptOut = nil, true }, "inputs", "opted out"},

	{"a limited data set for marketing", LimitedDataSet, func(p *Policy) { p.Purpose = "HMARKT" }, "purpose", "164.514(e) does not cover"},
	{"a limited data set for treatment", LimitedDataSet, func(p *Policy) { p.Purpose = "TREAT" }, "purpose", "164.514(e) does not cover"},
	{"a limited data set without data use agreement", LimitedDataSet, func(p *Policy) { p.Agreement.Kind = "participation" }, "agreement.kind", "164.514(e)(4)"},
	{"a member id in a limited data set", LimitedDataSet, func(p *Policy) {
		p.People.Roster, p.Inputs = "acme-roster", map[string]Guard{"acme-roster": {}, "consents": {}}
		p.Release[0].Fields = append(p.Release[0].Fields, Field{Name: "member_id", From: "acme-roster.member_id", Do: Keep})
	}, "release.scores.fields.member_id.from", "164.514(e)(2)(viii)"},
	{"selected by name in a limited data set", LimitedDataSet, func(p *Policy) {
		p.Release[0].Only = append(p.Release[0].Only, Condition{Path: "patient_name", Codes: Codes("x")})
	}, "release.scores.only.patient_name", "164.514(e)(2)(i)"},

	{"no attestation", SafeHarbor, func(p *Policy) { p.Attest = nil }, "attest.actual_knowledge", "164.514(b)(2)(ii)"},
	{"an expired attestation", SafeHarbor, func(p *Policy) { p.Attest.ReviewBy = day("2026-11-30") }, "attest.actual_knowledge.review_by", "164.514(b)(2)(ii)"},
	{"a row key", SafeHarbor, func(p *Policy) { p.Output.RowKey = true }, "output.row_key", "164.514(b)(2)(i)(R)"},
	{"changes only", SafeHarbor, func(p *Policy) { p.Output.Mode = "delta" }, "output.mode", "164.514(b)(2)(i)(C)"},
	{"the order of the extract", SafeHarbor, func(p *Policy) { p.Output.Shuffle = "" }, "output.shuffle", "164.514(b)(2)(i)(C)"},
	{"the order of the extract, by an expert", ExpertDetermination, func(p *Policy) { p.Output.Shuffle = "" }, "output.shuffle", "164.514(b)(2)(i)(C)"},
	{"a month", SafeHarbor, func(p *Policy) { p.Release[0].Only[0].Period = LastClosedMonth }, "release.scores.only.service_date", "164.514(b)(2)(i)(C)"},
	{"a year that runs", SafeHarbor, func(p *Policy) { p.Release[0].Only[0].Period = "2026-01-01..2026-12-31" }, "release.scores.only.service_date", "164.514(b)(2)(i)(C)"},
	{"followed without end", SafeHarbor, func(p *Policy) { p.Release[0].Only = nil }, "release.scores.only", "164.514(b)(2)(i)(C)"},
	{"a second year beside intervals", SafeHarbor, func(p *Policy) {
		p.Release[0].Only, p.Cohort = nil, &Cohort{"scores", "last-closed", 364}
		p.Release[0].Fields = []Field{field("service_date", RelativeTime), {Name: "born", From: "birth_date", Do: Year}, {Name: "index_year", From: FromIndex, Do: Year}}
	}, "release.scores.fields.born.do", "164.514(b)(2)(i)(C)"},
	{"an age as of each drop", SafeHarbor, func(p *Policy) { p.Release[0].Fields = append(p.Release[0].Fields, field("birth_date", AgeBand)) }, "release.scores.fields.birth_date", "164.514(b)(2)(i)(C)"},
	{"a year of birth beside an age", SafeHarbor, func(p *Policy) {
		p.Release[0].Only, p.Cohort = nil, &Cohort{"scores", "last-closed", 364}
		p.Release[0].Fields = []Field{field("birth_date", Year), {Name: "age", From: "age", Do: Age, At: FromIndex}}
	}, "release.scores.fields.birth_date.do", "164.514(b)(2)(i)(C)"},
	{"a constant month", SafeHarbor, func(p *Policy) {
		p.Release[0].Fields = append(p.Release[0].Fields, Field{Name: "sex", From: "sex", Do: Constant, To: "2025-03"})
	}, "release.scores.fields.sex.value", "164.514(b)(2)(i)(C)"},
	{"a token", SafeHarbor, func(p *Policy) { p.Release[0].Fields = []Field{field("patient_id", Token)} }, "release.scores.fields.patient_id.do", "164.514(c)"},
	{"a shifted date", SafeHarbor, func(p *Policy) { p.Release[0].Fields = []Field{field("service_date", ShiftDate)} }, "release.scores.fields.service_date.do", "164.514(c)"},
	{"a shifted date in a limited data set", LimitedDataSet, func(p *Policy) { p.Release[0].Fields = []Field{field("service_date", ShiftDate)} }, "release.scores.fields.service_date.do", "164.514(b)(1)"},
	{"counted by token", LimitedDataSet, func(p *Policy) {
		p.Release[0].Fields, p.Totals = []Field{field("patient_id", Token)}, []Total{{"rows-by", "patient_id"}}
	}, "totals[0]", "list people"},

	{"changes without row keys", Identified, func(p *Policy) { p.Output.Mode = "delta" }, "output.row_key", "names rows by their keys"},
	{"changes of a cohort", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey, p.Cohort = "delta", true, &Cohort{"scores", "last-closed", 364}
	}, "output.mode", "first record of a person"},
	{"changes of ordinals", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey = "delta", true
		p.Release[0].Fields = []Field{field("score_id", Ordinal)}
	}, "release.scores.fields.score_id.do", "of one drop"},
	{"changes of references", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey = "delta", true
		p.Release = []Release{element("Observation", "encounter.reference", Keep, extract.Link)}
	}, `release.Observation.fields."encounter.reference"`, "when that is withheld"},
	{"changes of rows without an id", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey = "delta", true
		p.Release = []Release{{Dataset: "wards", Fields: []Field{field("ward", Keep)}}}
	}, "release.wards", "no id"},
	{"changes by a period of another date", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey = "delta", true
		p.Release = []Release{element("Observation", "subject.reference", Keep, extract.Link)}
		p.Release[0].Only = []Condition{{Path: "issued", Period: LastClosedYear}}
	}, "release.Observation.only.issued", "not one of the record's date"},

	{"ids and references in two forms", LimitedDataSet, func(p *Policy) {
		p.Release = []Release{element("Encounter", "id", Token, extract.RecordKey), element("Observation", "encounter.reference", Ordinal, extract.Link)}
	}, `release.Observation.fields."encounter.reference".do`, "of records and references"},
	{"patients in two forms", LimitedDataSet, func(p *Policy) {
		p.Release = []Release{element("Patient", "id", CodePerson, extract.SubjectKey), element("Observation", "subject.reference", Token, extract.Link)}
	}, `release.Observation.fields."subject.reference".do`, "of patients and references"},

	{"no certificate", ExpertDetermination, func(p *Policy) { p.Certificate = nil }, "certificate", "164.514(b)(1)"},
	{"a certificate without expert", ExpertDetermination, func(p *Policy) { p.Certificate.Expert = "" }, "certificate.expert", "164.514(b)(1)"},
	{"a certificate without date", ExpertDetermination, func(p *Policy) { p.Certificate.On = extract.NoDay }, "certificate.on", "164.514(b)(1)"},
	{"a certificate without method", ExpertDetermination, func(p *Policy) { p.Certificate.Method = "" }, "certificate.method", "164.514(b)(1)"},
	{"a certificate without conditions", ExpertDetermination, func(p *Policy) { p.Certificate.Conditions = nil }, "certificate.conditions", "164.514(b)(1)"},
	{"a certificate without end", ExpertDetermination, func(p *Policy) { p.Certificate.Expires = extract.NoDay }, "certificate.expires", "164.514(b)(1)"},
	{"an expired certificate", ExpertDetermination, func(p *Policy) { p.Certificate.Expires = day("2026-11-30") }, "certificate.expires", "164.514(b)(1)"},
	{"steps within the shift", ExpertDetermination, func(p *Policy) {
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate)}, LastClosedMonth
	}, "release.scores.only", "164.514(b)(1)"},
	{"another year each year", ExpertDetermination, func(p *Policy) {
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate)}, LastClosedYear
	}, "release.scores.only", "164.514(b)(1)"},
	{"one year, as long as the shift", ExpertDetermination, func(p *Policy) {
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate)}, "2025-01-01..2025-12-31"
	}, "release.scores.only", "at least 730 days"},
	{"two ranges", ExpertDetermination, func(p *Policy) {
		other := field("service_date", ShiftDate)
		other.Name, other.Days = "again", 30
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate), other}, "2024-01-01..2025-12-31"
	}, "release.scores.fields.again.range", "one range"},
	{"the year beside a shifted date", ExpertDetermination, func(p *Policy) {
		other := field("service_date", Year)
		other.Name = "again"
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate), other}, "2024-01-01..2025-12-31"
	}, "release.scores.fields.again.do", "the year of an event"},
	{"steps of changes", ExpertDetermination, func(p *Policy) {
		p.Release[0].Fields, p.Output.Mode, p.Output.RowKey = []Field{field("service_date", ShiftDate)}, "delta", true
	}, "release.scores.only", "164.514(b)(1)"},
	{"a year that runs, with shifted dates", ExpertDetermination, func(p *Policy) {
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate)}, MeasureYear
	}, "release.scores.only", "164.514(b)(1)"},
	{"years to come, with shifted dates", ExpertDetermination, func(p *Policy) {
		p.Release[0].Fields, p.Release[0].Only[0].Period = []Field{field("service_date", ShiftDate)}, "2026-01-01..2026-12-31"
	}, "release.scores.only", "164.514(b)(1)"},

	{"no ground", Aggregate, func(p *Policy) { p.Ground = "" }, "aggregate_ground", "no standard of HIPAA"},
	{"an unknown ground", Aggregate, func(p *Policy) { p.Ground = "trust" }, "aggregate_ground", "no ground for aggregates"},
	{"a ground on another basis", Aggregate, func(p *Policy) { p.Ground, p.People.General = "contract", PermitWithout }, "basis", "164.506(c)(4)"},
	{"an aggregate by expert, without one", Aggregate, func(p *Policy) { p.Ground = "expert-determination" }, "certificate", "164.514(b)(1)"},
	{"no protection", Aggregate, func(p *Policy) { p.Protect = nil }, "protect", "small cells"},
	{"small cells", Aggregate, func(p *Policy) { p.Protect.Smallest = 10 }, "protect.smallest_count", "1 to 10"},
	{"no suppression", Aggregate, func(p *Policy) { p.Protect.Then = "" }, "protect.then", "suppressed"},
	{"reckoned from earlier drops", Aggregate, func(p *Policy) { p.Protect.Against = p.Protect.Against[:2] }, "protect.against", "earlier drops"},
	{"no audit", Aggregate, func(p *Policy) { p.Protect.Audit = false }, "protect.audit", "proved"},
	{"a table by ZIP code", Aggregate, func(p *Policy) { p.Tables[0].By[0] = Dimension{Path: "zip", Class: extract.Postcode} }, "tables.strata.by[0]", "164.514(b)(2)(i)(B)"},
	{"a table by name, by contract", Aggregate, func(p *Policy) {
		byContract(p)
		p.Tables[0].By[0] = Dimension{Path: "patient_name", Class: extract.Name}
	}, "tables.strata.by[0]", "one by one"},
	{"ages over 89 apart", Aggregate, func(p *Policy) { p.Tables[0].By[1].Bands = []string{"0-89", "90-94", "95+"} }, "tables.strata.by[1]", "164.514(b)(2)(i)(C)"},
	{"ages up to 90 apart", Aggregate, func(p *Policy) { p.Tables[0].By[1].Bands = []string{"0-90"} }, "tables.strata.by[1]", "164.514(b)(2)(i)(C)"},
	{"a table of a month", Aggregate, func(p *Policy) {
		p.Tables[0].Denominator = []Condition{{Path: "service_date", Period: LastClosedMonth}}
	}, "tables.strata.denominator.service_date", "164.514(b)(2)(i)(C)"},
}

// byContract puts an aggregate on the ground of a contract.
func byContract(p *Policy) {
	p.Ground, p.Basis, p.Purpose, p.Recipient = "contract", "45 CFR 164.506(c)(4)", "HOPERAT", "valley-care-group"
	p.People = People{Roster: "acme-roster", General: PermitWithout}
	p.Inputs = map[string]Guard{"acme-roster": {}, "consents": {}}
}

func TestWhatStandardsAsk(t *testing.T) {
	for _, c := range broken {
		p := made(c.std)
		c.edit(p)
		_, err := Check(p, testEnv(t))
		var mistakes *strictyaml.Errors
		if !errors.As(err, &mistakes) || len(mistakes.List) != 1 || mistakes.List[0].Path != c.path || !strings.Contains(mistakes.List[0].Message, c.says) {
			t.Errorf("%s, %s: got %v", c.std, c.name, err)
		}
	}
}

// What the rules above leave open is right.
func TestWhatStandardsAllow(t *testing.T) {
	for name, p := range allowed() {
		if _, err := Check(p, testEnv(t)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func allowed() map[string]*Policy {
	list := map[string]*Policy{}
	for _, std := range []Standard{Identified, LimitedDataSet, SafeHarbor, ExpertDetermination, Aggregate} {
		list[string(std)] = made(std)
	}
	edit := func(name string, std Standard, edit func(p *Policy)) {
		list[name] = made(std)
		edit(list[name])
	}
	edit("aggregate by contract", Aggregate, func(p *Policy) {
		byContract(p)
		p.Tables[0].By = append(p.Tables[0].By, Dimension{Path: "zip", Class: extract.Postcode})
		p.Tables[0].Denominator = []Condition{{Path: "service_date", Period: LastClosedMonth}}
		p.Tables = append(p.Tables, Table{Name: "states", Dataset: "scores", Period: "calendar-year", By: []Dimension{{Path: "state", Class: extract.State}}})
	})
	edit("aggregate by an expert", Aggregate, func(p *Policy) {
		p.Ground, p.Certificate = "expert-determination", made(ExpertDetermination).Certificate
	})
	edit("no rule for steps that do not bind", Identified, func(p *Policy) {
		p.Basis, p.Recipient, p.People.General = "45 CFR 164.512(a)", "acme-health-plan", ""
	})
	shifted := func(p *Policy) {
		p.Release[0].Fields = []Field{field("service_date", ShiftDate), field("patient_id", Token), field("score_id", Ordinal)}
	}
	edit("shifted dates of two years", ExpertDetermination, func(p *Policy) {
		shifted(p)
		p.Release[0].Only[0].Period = "2024-01-01..2025-12-31"
	})
	edit("shifted dates in fine steps", ExpertDetermination, func(p *Policy) {
		shifted(p)
		p.Release[0].Only, p.Certificate.FineDates = nil, true
	})
	edit("shifted dates of a cohort", ExpertDetermination, func(p *Policy) {
		shifted(p)
		p.Release[0].Only, p.Cohort = nil, &Cohort{"scores", "last-closed", 364}
	})
	edit("a constant year", SafeHarbor, func(p *Policy) {
		p.Release[0].Fields = append(p.Release[0].Fields, Field{Name: "sex", From: "sex", Do: Constant, To: "2025"})
	})
	edit("a limited data set with Part 2", LimitedDataSet, func(p *Policy) {
		p.People.AcceptForms, p.Output = []string{"tpo-2026"}, Output{Layout: "csv", Mode: "full", Part2Rows: "same-file", RowKey: true}
		p.Notices = Notices{"notice.txt", "per-row"}
		p.Release[0].Fields = []Field{field("service_date", Keep), field("zip", Keep), field("birth_date", Age), field("provider_npi", Keep), field("race", Map)}
	})
	edit("references that lead to their records", LimitedDataSet, func(p *Policy) {
		p.Release = []Release{element("Patient", "id", CodePerson, extract.SubjectKey), element("Encounter", "id", Ordinal, extract.RecordKey),
			element("Observation", "subject.reference", CodePerson, extract.Link), element("Condition", "encounter.reference", Ordinal, extract.Link), element("Procedure", "asserter.reference", CodePerson, extract.Link)}
	})
	edit("changes of rows", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey = "delta", true
	})
	edit("changes of resources", LimitedDataSet, func(p *Policy) {
		p.Output.Mode, p.Output.RowKey = "delta", true
		p.Release = []Release{element("Observation", "subject.reference", Keep, extract.Link)}
		p.Release[0].Only = []Condition{{Path: "date", Period: LastClosedYear}}
	})
	edit("an identified look-up", Identified, func(p *Policy) {
		p.People.Roster, p.Inputs = "acme-roster", map[string]Guard{"acme-roster": {}, "consents": {}}
		p.Release[0].Fields = append(p.Release[0].Fields, Field{Name: "member_id", From: "acme-roster.member_id", Do: Keep, Because: "match"}, field("race", Map))
	})
	edit("groups of 11", SafeHarbor, func(p *Policy) {
		p.Protect, p.People.Part2LeaveOut = &Protect{K: 11, Over: []string{"sex", "race"}}, true
	})
	return list
}

// Rows of Part 2 programs lie in files of their own unless the policy says
// otherwise.
func TestPart2RowsByDefault(t *testing.T) {
	text, err := os.ReadFile("testdata/right/acme-phq9-gad7.yaml")
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(string(text), ", part2_rows: own-file", "", 1)
	p, err := parse("p.yaml", []byte(without), testEnv(t), func(string) ([]byte, error) { return []byte("a notice"), nil })
	if err != nil || without == string(text) || p.Output.Part2Rows != "own-file" {
		t.Errorf("%v: %+v", err, p)
	}
}

// A key of another standard is refused where it stands: each once, in a policy
// that is right without it.
func TestKeysOfOtherStandards(t *testing.T) {
	const registry, strata, scores = "outcomes-registry", "acme-equity-strata", "acme-phq9-gad7"
	asked := map[string]bool{}
	for _, c := range []struct{ file, after, key, text string }{
		{scores, "", "attest", "attest: {actual_knowledge: {none_known: true, by: x, on: 2026-01-01, review_by: 2027-01-01}}"},
		{registry, "", "certificate", "certificate: {expert: x, on: 2026-01-01, method: x, conditions: [x], expires: 2027-01-01}"},
		{registry, "", "aggregate_ground", "aggregate_ground: contract"},
		{registry, "", "tables", "tables: {}"},
		{strata, "", "release", "release: {}"},
		{strata, "", "cohort", "cohort: {index: first score of the person, index_year: last-closed, follow: 1 day, release_after: every window has closed}"},
		{strata, "", "totals", "totals: [people]"},
		{strata, "output: {", "output.row_key", "row_key: yes, "},
		{registry, "people:\n", "people.relationship", "  relationship: {roster: consents, covered: at-service}\n"},
		{registry, "people:\n", "people.consent", "  consent: {general: {without_directive: permit}}\n"},
		{registry, "", "notices", "notices: {scope_of_consent: per-row}"},
		{registry, "output: {", "output.part2_rows", "part2_rows: leave-out, "},
	} {
		text, err := os.ReadFile("testdata/right/" + c.file + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		with := strings.Replace(string(text), c.after, c.after+c.text, 1)
		if c.after == "" {
			with = string(text) + c.text + "\n"
		}
		_, err = parse("p.yaml", []byte(with), testEnv(t), func(name string) ([]byte, error) { return os.ReadFile("testdata/right/" + name) })
		var mistakes *strictyaml.Errors
		if !errors.As(err, &mistakes) || !slices.ContainsFunc(mistakes.List, func(m strictyaml.Mistake) bool {
			return m.Path == c.key && slices.ContainsFunc(keysOfStandards, func(k keyOfStandards) bool { return k.key == c.key && m.Message == k.why })
		}) {
			t.Errorf("%s in %s: %v", c.key, c.file, err)
		}
		asked[c.key] = true
	}
	if len(asked) != len(keysOfStandards) {
		t.Errorf("%d of %d keys were tried", len(asked), len(keysOfStandards))
	}
}
