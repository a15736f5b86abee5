package consent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
)

var acme = Payor{Ours: []string{"acme", "Organization/acme", "http://npi|1234567893"}, Others: []string{"Organization/other"}}

// cover is a Coverage of p1, by Acme unless more says otherwise.
func cover(id, status, more string) string {
	if !strings.Contains(more, `"payor"`) {
		more += `,"payor":[{"reference":"Organization/acme"}]`
	}
	if !strings.Contains(more, `"period"`) {
		more += `,"period":{"start":"2026-01-01"}`
	}
	return `{"resourceType":"Coverage","id":"` + id + `","status":"` + status + `","beneficiary":{"reference":"Patient/p1"},"subscriberId":"S7"` + more + `}`
}

func loadCoverage(path string, people *People) (*Roster, error) {
	file, err := extract.FileAt(path, &extract.FileRule{Format: extract.FHIRNDJSON})
	if err != nil {
		return nil, err
	}
	return LoadCoverage(context.Background(), []extract.File{file}, acme, people)
}

// coverages makes the recipient's roster of Coverages.
func (w *world) coverages(ndjson ...string) *world {
	w.t.Helper()
	r, err := loadCoverage(w.file("coverage.ndjson", ndjson[0], ndjson[1:]), w.tables.People)
	w.must(err)
	w.tables.Rosters["members"] = r
	return w
}

func TestFHIRCoverage(t *testing.T) {
	const active, elsewhere = "active", `,"payor":[{"reference":"Organization/other"}]`
	for name, c := range map[string]struct {
		lines   []string
		reasons string
	}{
		"active":                         {[]string{cover("c", active, "")}, ""},
		"cancelled":                      {[]string{cover("c", "cancelled", "")}, "not-a-member"},
		"entered in error":               {[]string{cover("c", "entered-in-error", "")}, "not-a-member"},
		"a draft":                        {[]string{cover("c", "draft", "")}, "member-ambiguous"},
		"a status that nobody knows":     {[]string{cover("c", "on", "")}, "member-ambiguous"},
		"over before the service":        {[]string{cover("c", active, `,"period":{"start":"2026-01","end":"2026-02"}`)}, "not-a-member"},
		"its last month is the service":  {[]string{cover("c", active, `,"period":{"start":"2025-07-01T00:00:00-05:00","end":"2026-03"}`)}, ""},
		"begun after the service":        {[]string{cover("c", active, `,"period":{"start":"2026-03-03"}`)}, "not-a-member"},
		"one after the other":            {[]string{cover("c", active, `,"period":{"start":"2026-01-01","end":"2026-03-01"}`), cover("d", active, `,"period":{"start":"2026-03-02"}`)}, ""},
		"no period":                      {[]string{cover("c", active, `,"period":{}`)}, "member-ambiguous"},
		"no first day":                   {[]string{cover("c", active, `,"period":{"end":"2026-12-31"}`)}, "member-ambiguous"},
		"no first day, over before":      {[]string{cover("c", active, `,"period":{"end":"2026-02-01"}`)}, "not-a-member"},
		"a period that cannot be read":   {[]string{cover("c", active, `,"period":{"start":"2026-01-01","end":"soon"}`)}, "member-ambiguous"},
		"a period the wrong way round":   {[]string{cover("c", active, `,"period":{"start":"2026-05-01","end":"2026-03-02"}`)}, "member-ambiguous"},
		"another payer":                  {[]string{cover("c", active, elsewhere)}, "not-a-member"},
		"the patient pays":               {[]string{cover("c", active, `,"payor":[{"reference":"Patient/p1"}]`)}, "not-a-member"},
		"a payer that nobody knows":      {[]string{cover("c", active, `,"payor":[{"reference":"Organization/77"}]`)}, "member-ambiguous"},
		"a payer by words alone":         {[]string{cover("c", active, `,"payor":[{"display":"Acme"}]`)}, "member-ambiguous"},
		"a payer within the resource":    {[]string{cover("c", active, `,"payor":[{"reference":"#acme"}]`)}, "member-ambiguous"},
		"no payer":                       {[]string{cover("c", active, `,"payor":[]`)}, "member-ambiguous"},
		"a payer by identifier":          {[]string{cover("c", active, `,"payor":[{"identifier":{"system":"http://npi","value":"1234567893"}}]`)}, ""},
		"two payers, one of them":        {[]string{cover("c", active, `,"payor":[{"reference":"Organization/other"},{"reference":"Organization/acme"}]`)}, ""},
		"a modifier":                     {[]string{cover("c", active, `,"modifierExtension":[{"url":"x","valueBoolean":true}]`)}, "member-ambiguous"},
		"rules of its own":               {[]string{cover("c", active, `,"implicitRules":"x"`)}, "member-ambiguous"},
		"told twice":                     {[]string{cover("c", active, ""), cover("c", active, "")}, ""},
		"one id, two contents":           {[]string{cover("c", active, ""), cover("c", "cancelled", "")}, "member-ambiguous"},
		"one id, the other way round":    {[]string{cover("c", "cancelled", ""), cover("c", active, "")}, "member-ambiguous"},
		"no ids, two contents":           {[]string{cover("", active, ""), cover("", "cancelled", "")}, ""},
		"a doubt takes nothing away":     {[]string{cover("c", active, ""), cover("d", "draft", `,"dependent":"01"`)}, ""},
		"two numbers at one time":        {[]string{cover("c", active, ""), cover("d", active, `,"dependent":"01"`)}, "member-ambiguous"},
		"a number that others have, too": {[]string{cover("c", active, ""), strings.Replace(cover("d", active, ""), "/p1", "/p2", 1)}, "member-ambiguous"},
		"no number at all": {[]string{strings.Replace(cover("c", active, ""), `,"subscriberId":"S7"`, "", 1),
			strings.Replace(strings.Replace(cover("d", active, ""), `,"subscriberId":"S7"`, "", 1), "/p1", "/p2", 1)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).coverages(c.lines...)
			w.expect(score("p1", "2026-03-02"), c.reasons)
			if doubts := len(w.tables.Rosters["members"].Doubts()) > 0; doubts != (c.reasons == "member-ambiguous" || name == "a doubt takes nothing away" || name == "no first day, over before") {
				t.Errorf("listed for mending: %v", doubts)
			}
			w.req.Policy.People.Covered, w.req.Period = "any-day-of-period", extract.Span{From: day("2026-03-02"), To: day("2026-03-02")}
			w.expect(score("p1", "2020-01-01"), c.reasons)
		})
	}
}

func TestCoverageNumbers(t *testing.T) {
	for more, want := range map[string]string{
		"":                  "S7",
		`,"dependent":"02"`: "S702",
		`,"identifier":[{"value":"x"},{"type":{"coding":[{"code":"MB"}]},"value":"M9"}],"dependent":"02"`: "M9",
	} {
		w := newWorld(t).coverages(cover("draft", "draft", `,"period":{"start":"2026-02-01"},"dependent":"99"`), cover("c", "active", more))
		p1, _ := w.tables.People.Find([]byte("p1"))
		r := w.tables.Rosters["members"]
		for _, on := range []string{"2026-03-02", "2025-01-01"} {
			if got := string(r.Value(p1, "member_id", extract.Span{From: day(on), To: day(on)})); got != want {
				t.Errorf("%s: number %q, want %q", more, got, want)
			}
		}
		if r.Value(p1, "plan", extract.NoSpan) != nil {
			t.Error("a Coverage has no column plan")
		}
	}
	w := newWorld(t).coverages(cover("draft", "draft", ""))
	p1, _ := w.tables.People.Find([]byte("p1"))
	if got := w.tables.Rosters["members"].Value(p1, "member_id", extract.NoSpan); got != nil {
		t.Error("the number of a Coverage that cannot be told is told")
	}
}

func TestCoverageStops(t *testing.T) {
	good := cover("c", "active", "")
	for name, line := range map[string]string{
		"cut short":              good[:len(good)-9],
		"no beneficiary":         strings.Replace(good, `"beneficiary"`, `"subscriber"`, 1),
		"a beneficiary in words": strings.Replace(good, `"reference":"Patient/p1"`, `"display":"Jane"`, 1),
		"a search":               strings.Replace(good, "Patient/p1", "Patient?identifier=1", 1),
		"nearly a patient":       strings.Replace(good, "Patient/p1", "Patient/p1 ", 1),
		"somebody else":          strings.Replace(good, "Patient/p1", "RelatedPerson/p1", 1),
	} {
		w := newWorld(t)
		_, err := loadCoverage(w.file("coverage.ndjson", `{"resourceType":"Organization","id":"acme"}`, []string{good, line}), w.tables.People)
		var defect *InputError
		if !errors.As(err, &defect) || defect.Line != 3 || strings.Contains(err.Error(), "Jane") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Coverage that appears or goes afterwards changes what is decided from then on.
func TestAttribution(t *testing.T) {
	w := newWorld(t)
	load := func(rows ...string) {
		r, err := LoadAttribution(w.file("attribution.csv", "patient,from,to,member_id,practice", rows), w.tables.People)
		w.must(err)
		w.tables.Rosters["members"] = r
	}
	load("p1,2026-01-01,2026-02-28,,north", "p2,2026-01-01,,M2,south", "p3,2026-01-01,,,")
	w.expect(score("p1", "2026-03-02"), "not-a-member")
	w.expect(score("p2", "2026-03-02"), "")
	w.expect(score("p3", "2026-03-02"), "")
	p1, _ := w.tables.People.Find([]byte("p1"))
	if got := string(w.tables.Rosters["members"].Value(p1, "practice", extract.NoSpan)); got != "north" {
		t.Errorf("practice %q", got)
	}
	load("p1,2026-01-01,,,north")
	w.expect(score("p1", "2026-03-02"), "")
	w.expect(score("p2", "2026-03-02"), "not-a-member")
}

func TestRowsThatCannotBeToldApart(t *testing.T) {
	w := newWorld(t).roster("p1,M1,2026-01-01,", "p2,M1,2026-01-01,", "p3,M3,2026-01-01,", "p4,M4,2026-01-01,", "p4,M5,2026-02-01,")
	var got []string
	for _, d := range w.tables.Rosters["members"].Doubts() {
		got = append(got, fmt.Sprint(filepath.Base(d.File), ":", d.Line))
	}
	if strings.Join(got, " ") != "roster.csv:2 roster.csv:3 roster.csv:6 roster.csv:5" && strings.Join(got, " ") != "roster.csv:2 roster.csv:3 roster.csv:5 roster.csv:6" {
		t.Errorf("doubts: %v", got)
	}
}
