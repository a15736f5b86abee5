package deid

import (
	"strings"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// The seat of each state's government and another place or two, by state and ZIP
// code; the divisions are those of the Census Bureau's own map.
func TestRegions(t *testing.T) {
	regions := map[string]string{"New England": "Northeast", "Middle Atlantic": "Northeast", "East North Central": "Midwest", "West North Central": "Midwest",
		"South Atlantic": "South", "East South Central": "South", "West South Central": "South", "Mountain": "West", "Pacific": "West", "": ""}
	met := 0
	for division, list := range map[string]string{
		"New England":        "CT 06103 ME 04330 MA 02108 NH 03301 RI 02903 VT 05602 Vermont 05401 massachusetts 01002-9999",
		"Middle Atlantic":    "NJ 08608 NY 12207 PA 17101 NY 00501 NY 06390 ny 100011234",
		"East North Central": "IN 46204 IL 62701 MI 48933 OH 43215 WI 53703 Ohio 44101",
		"West North Central": "IA 50309 KS 66603 MN 55155 MO 65101 NE 68502 ND 58501 SD 57501 MN 55401",
		"South Atlantic":     "DE 19901 DC 20001 FL 32301 GA 30303 MD 21401 NC 27601 SC 29217 VA 23219 WV 25301 VA 20101 GA 39901 DC 56901 FL 33101",
		"East South Central": "AL 36104 KY 40601 MS 39205 TN 37219",
		"West South Central": "AR 72201 LA 70802 OK 73102 TX 78701 TX 88510 TX 73301",
		"Mountain":           "AZ 85001 CO 80202 ID 83702 MT 59623 NV 89701 NM 87501 UT 84111 WY 82001 WY 83414",
		"Pacific":            "AK 99801 CA 95814 HI 96813 OR 97301 WA 98501",
		"":                   "PR 00901 VI 00802 GU 96910 AS 96799 AA 34002 AP 96205 AE 09007 XX 00401 Bavaria 1234 060 021391 M5V Massachusetts-that-is-longer-than-any-name 0213x",
	} {
		for text := range strings.FieldsSeq(list) {
			for kind, want := range map[bool]string{true: division, false: regions[division]} {
				if got := string(appendRegion(nil, []byte(text), kind)); got != want {
					t.Errorf("%s: %q, want %q", text, got, want)
				}
			}
			met++
		}
	}
	for text, want := range map[string]string{"North Carolina": "South", "NEW YORK": "Northeast", "West Virginia": "South", "District of Columbia": "South", "": "", " ": ""} {
		if got := string(appendRegion(nil, []byte(text), false)); got != want {
			t.Errorf("%s: %q", text, got)
		}
	}
	if met < 120 {
		t.Errorf("only %d places", met)
	}
}

func TestBandsOfNumbers(t *testing.T) {
	bands, err := numberBands([]string{"0-4", "5-9", "10-14", "15-19", "20+"})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"0": "0-4", "-0": "0-4", "4": "0-4", "4.0": "0-4", "4.5": "", "5": "5-9", "0.9e1": "5-9", "9.0000000000000000001": "",
		"20": "20+", "27": "20+", "1e30": "20+", "19.99": "", "-1": "", "": "", "many": "", "1e": "", "012": "10-14"} {
		if got := string(appendNumberBand(nil, []byte(text), bands)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for _, wrong := range []string{"", "5", "9-5", "a-b", "+", "5-"} {
		if _, err := numberBands([]string{wrong}); err == nil {
			t.Errorf("%q is taken for a band", wrong)
		}
	}
}

// wordsOf gives a policy the lists of words that these tests go by.
func wordsOf(p *policies.Policy) *policies.Policy {
	p.ValueSets = map[string]*policies.ValueSet{
		"tools": {System: "http://loinc.org", Codes: policies.Codes("44261-6", "x"), Display: map[string]string{"44261-6": `PHQ-9, "total"`}},
		"any":   {Codes: policies.Codes("44261-6"), Display: map[string]string{"44261-6": "PHQ-9"}},
		"modes": {Codes: policies.Codes("by telephone", "in person, \"alone\"", "true")},
	}
	for i := range p.Release[0].Fields {
		f := &p.Release[0].Fields[i]
		f.To = map[policies.Transform]string{policies.CodeDisplay: "tools", policies.KeepIn: "modes", policies.Region: policies.Division}[f.Do]
	}
	return p
}

func TestWordsOfColumns(t *testing.T) {
	p := wordsOf(rowPolicy(policies.SafeHarbor,
		policies.Field{Name: "tool", From: "instrument", Do: policies.CodeDisplay},
		policies.Field{Name: "mode", From: "note", Do: policies.KeepIn},
		policies.Field{Name: "severity", From: "total", Do: policies.Band, Bands: []string{"0-4", "5-27"}},
		policies.Field{Name: "place", From: "zip", Do: policies.Region}))
	schema := scoresSchema()
	plan, err := Compile(p, "scores", Options{AsOf: asOf, Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	engine := plan.Engine()
	for _, c := range []struct{ instrument, note, total, zip, want string }{
		{"44261-6", "by telephone", "7", "02139", `"PHQ-9, ""total""",by telephone,5-27,New England`},
		{"x", `in person, "alone"`, "4", "96799", `,"in person, ""alone""",0-4,`},
		{"44261-60", "By telephone", "28", "K1A", `,,,`},
		{"", " by telephone", "", "", `,,,`},
	} {
		var cells []string
		for _, f := range schema.Fields {
			cells = append(cells, map[string]string{"instrument": c.instrument, "note": c.note, "total": c.total, "zip": c.zip}[f.Name])
		}
		var out Output
		s := UnknownSubject()
		if err := engine.Apply(rowOf(cells...), &s, &out); err != nil || string(out.Bytes) != c.want+"\n" {
			t.Errorf("%+v: %v, %s", c, err, out.Bytes)
		}
	}
	for _, n := range engine.Counts() {
		if want := map[string][2]uint64{"scores.tool": {3, 1}, "scores.mode": {4, 2}, "scores.severity": {3, 2}, "scores.place": {3, 1}}[n.Path]; want[0] > 0 && (n.In != want[0] || n.Out != want[1]) {
			t.Errorf("%+v, want %v", n, want)
		}
	}
}

func TestWordsOfElements(t *testing.T) {
	const coding = "code coding display"
	for _, c := range []struct {
		do                 policies.Transform
		to, path, in, want string
	}{
		{policies.CodeDisplay, "tools", coding, `"code":{"coding":[{"system":"http://loinc.org","code":"44261-6","display":"Ann May's PHQ"},{"display":"x","system":"urn:x","code":"44261-6"},{"display":"y","code":"44261-6"},{"display":"z","system":"http://loinc.org","code":"x"},{"display":"z"},{"system":"http://loinc.org","code":"44261-6"}]}`, `"code":{"coding":[{"display":"PHQ-9, \"total\""}]}`},
		{policies.CodeDisplay, "any", coding, `"code":{"coding":[{"display":"x","system":"urn:x","code":"44261\u002d6"},{"display":"y","code":"44261-6"},{"display":"y","code":44261}]}`, `"code":{"coding":[{"display":"PHQ-9"},{"display":"PHQ-9"}]}`},
		{policies.KeepIn, "modes", "code text", `"code":{"text":"by telephone"}`, `"code":{"text":"by telephone"}`},
		{policies.KeepIn, "modes", "code text", `"code":{"text":"in person, \u0022alone\u0022"}`, `"code":{"text":"in person, \"alone\""}`},
		{policies.KeepIn, "modes", "code text", `"code":{"text":"by telephone of Ann May"}`, ``},
		{policies.KeepIn, "modes", "valueString", `"valueString":true`, ``},
		{policies.Region, policies.Division, "address state", `"address":[{"state":"MA"},{"state":"texas","country":"US"},{"state":"WA","country":"AU"},{"state":"PR"}]`, `"address":[{"state":"New England"},{"state":"West South Central"}]`},
		{policies.Region, policies.WholeRegion, "address postalCode", `"address":[{"postalCode":"02139-4307"},{"country":"DE","postalCode":"02139"},{"postalCode":"969"}]`, `"address":[{"postalCode":"Northeast"}]`},
	} {
		dataset := "Observation"
		if strings.HasPrefix(c.path, "address") {
			dataset = "Patient"
		}
		p := wordsOf(fhirPolicy(policies.SafeHarbor, dataset, "keep "+c.path))
		f := &p.Release[0].Fields[0]
		if f.Do, f.To = c.do, c.to; len(f.Leaves) != 1 {
			t.Fatal(f.Leaves)
		}
		var out Output
		if err := compile(t, p, dataset).Engine().Apply(recordOf([]byte(`{"resourceType":"`+dataset+`",`+c.in+`}`)), nil, &out); err != nil {
			t.Fatal(err)
		}
		want := `{"resourceType":"` + dataset + `"}`
		if c.want != "" {
			want = `{"resourceType":"` + dataset + `",` + c.want + `}`
		}
		if got := strings.TrimSpace(string(out.Bytes)); got != want {
			t.Errorf("%s of %s:\n got %s\nwant %s", c.do, c.in, got, want)
		}
	}
	// Nothing of it around the check: no name by a list, no band in an element.
	for _, c := range []struct {
		do   policies.Transform
		path string
	}{{policies.KeepIn, "name family"}, {policies.Band, "multipleBirthInteger"}, {policies.Region, "address city"}} {
		p := wordsOf(fhirPolicy(policies.SafeHarbor, "Patient", "keep "+c.path))
		p.Release[0].Fields[0].Do, p.Release[0].Fields[0].To = c.do, "modes"
		if _, err := Compile(p, "Patient", Options{AsOf: asOf}); err == nil {
			t.Errorf("%s of %s compiles", c.do, c.path)
		}
	}
}
