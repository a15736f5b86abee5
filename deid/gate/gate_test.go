package gate

import (
	"strings"
	"testing"
)

// person builds a roster with two invented people and one whose names are
// everyday words.
func people(t testing.TB) *Roster {
	t.Helper()
	r := NewRoster(4)
	add := func(subject uint32, kind Kind, values ...string) {
		for _, v := range values {
			if err := r.Add(subject, kind, []byte(v)); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(1, Name, "Quenby", "Larkspurre", "Quenby Larkspurre", "D'Artoña", "Xu")
	add(1, StreetAddress, "12 Nonesuch Lane Apt 4", "12 Nonesuch Lane")
	add(1, City, "Clearview", "Township 12", "Township 123", "4 Nonesuch")
	add(1, Postcode, "02139", "02139-4307")
	add(1, Phone, "(617) 555-0134")
	add(1, Email, "quenby.l@mail.example")
	add(1, SSN, "900-12-3456")
	add(1, RecordNumber, "CV-104233", "e925b0f3-8006-43f6-aa31-94bd215e55e7", "42", "44261", "0087654321")
	add(1, MemberNumber, "ACM00112233")
	add(1, BirthDate, "1951-03-02")
	add(2, Name, "Zebulon", "Thistlewick", "Zebulon Thistlewick")
	add(2, RecordNumber, "CV-209944", "7654321")
	add(2, BirthDate, "1960-07-04")
	add(3, Name, "May", "White", "May White", "Hope", "Spanish")
	r.Freeze()
	return r
}

func observationSpec() Spec {
	return Spec{Format: NDJSON, Positions: []Position{
		{"Observation.resourceType", Closed("Observation")},
		{"Observation.id", OwnCode(12)},
		{"Observation.status", Closed("final", "amended")},
		{"Observation.code.coding.system", URI("http://loinc.org", "http://snomed.info/sct")},
		{"Observation.code.coding.code", CodeToken()},
		{"Observation.code.text", Any()},
		{"Observation.category.text", Term()},
		{"Observation.subject.reference", ReferenceTo(OwnCode(12), "Patient")},
		{"Observation.effectiveDateTime", Year(2020, 2026)},
		{"Observation.valueQuantity.value", Number(0, 1000, false)},
		{"Observation.valueInteger", Number(0, 30, true)},
		{"Observation.component.code.coding.code", CodeToken()},
		{"Observation.component.valueInteger", Number(0, 3, true)},
		{"Observation.extension(http://example.org/age).valueString", AgeBand(5, 90)},
		{Path("Observation", "extension:http://example.org/race", "extension:ombCategory", "valueCoding", "code"), CodeToken()},
	}}
}

func rowSpec() Spec {
	return Spec{Format: CSV, Positions: []Position{
		{"person", OwnCode(12)}, {"instrument", CodeToken()}, {"race", Term()}, {"note", Any()}, {"total", Number(0, 27, true)},
	}}
}

func newGate(t testing.TB, spec Spec, r *Roster) *Gate {
	t.Helper()
	g, err := New(spec, r)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

const cleanObservation = `{"resourceType":"Observation","id":"0123456789ab","extension":[{"extension":[{"url":"ombCategory","valueCoding":{"code":"2106-3"}}],"url":"http://example.org/race"},{"url":"http://example.org/age","valueString":"85-89"}],"status":"final","category":[{"text":"survey"}],"code":{"coding":[{"system":"http://loinc.org","code":"44261-6"},{"system":"http://snomed.info/sct","code":"313182004"}],"text":"Patient Health Questionnaire 9 item total score"},"subject":{"reference":"Patient/abcdefghjkmn"},"effectiveDateTime":"2025","valueQuantity":{"value":12.5},"component":[{"code":{"coding":[{"code":"44250-9"}]},"valueInteger":3}]}`

// What a grammar decides alone is judged; what it leaves open is also searched,
// met for the first time or again.
func TestGateCountsWhatItJudges(t *testing.T) {
	r := people(t)
	g := newGate(t, rowSpec(), r)
	for range 3 {
		if hit := g.Row([]byte("abcdefghjkmn,44261-6,White,,5\n"), []uint32{1}); hit != nil {
			t.Fatal(hit)
		}
	}
	one := g.Counts()
	if want := (Counts{Rows: 3, Values: 12, Searched: 6}); one != want { // the instrument, the race
		t.Errorf("counts %+v, not %+v", one, want)
	}
	if hit := g.Row([]byte("abcdefghjkmn,44261-6,White,quenby.l@mail.example,5\n"), []uint32{1}); hit == nil {
		t.Fatal("an address passed")
	}
	one.Add(g.Counts())
	if want := (Counts{Rows: 7, Values: 28, Searched: 15}); one != want {
		t.Errorf("counts %+v, not %+v", one, want)
	}
}

func TestCleanRowsPass(t *testing.T) {
	r := people(t)
	g := newGate(t, observationSpec(), r)
	for range 2 { // the second time from memory
		if hit := g.Row([]byte(cleanObservation+"\n"), []uint32{1}); hit != nil {
			t.Fatal(hit)
		}
	}
	c := newGate(t, rowSpec(), r)
	if hit := c.Header([]byte("person,instrument,race,note,total\n")); hit != nil {
		t.Fatal(hit)
	}
	for _, row := range []string{
		"0123456789ab,44261-6,White,,12\n", "0123456789ab,313182004,Not Hispanic or Latino,\"said \"\"fine\"\", twice\",27", ",,,,\n",
	} {
		if hit := c.Row([]byte(row), []uint32{3}); hit != nil {
			t.Errorf("%s: %v", row, hit)
		}
	}
}

// Whatever is not of our own shape is stopped.
func TestShapeOfRows(t *testing.T) {
	r := people(t)
	g := newGate(t, observationSpec(), r)
	for name, c := range map[string][2]string{
		"empty":                {``, RuleUnparseable},
		"array":                {`[]`, RuleUnparseable},
		"type not first":       {`{"id":"0123456789ab","resourceType":"Observation"}`, RuleUnparseable},
		"undeclared type":      {`{"resourceType":"Patient"}`, RuleUndeclared},
		"undeclared member":    {`{"resourceType":"Observation","issued":"2025"}`, RuleUndeclared},
		"type twice":           {`{"resourceType":"Observation","resourceType":"Observation"}`, RuleUndeclared},
		"primitive extension":  {`{"resourceType":"Observation","_status":{"id":"x"}}`, RuleUndeclared},
		"undeclared extension": {`{"resourceType":"Observation","extension":[{"url":"http://example.org/other","valueString":"x"}]}`, RuleUndeclared},
		"extension, no url":    {`{"resourceType":"Observation","extension":[{"valueString":"x"}]}`, RuleUndeclared},
		"extension, two urls":  {`{"resourceType":"Observation","extension":[{"url":"http://example.org/age","url":"Quenby","valueString":"85-89"}]}`, RuleUnparseable},
		"object for a value":   {`{"resourceType":"Observation","status":{"x":"y"}}`, RuleUndeclared},
		"value for an object":  {`{"resourceType":"Observation","code":"x"}`, RuleUndeclared},
		"space":                {`{"resourceType":"Observation", "status":"final"}`, RuleUnparseable},
		"null":                 {`{"resourceType":"Observation","status":null}`, RuleUnparseable},
		"empty string":         {`{"resourceType":"Observation","status":""}`, RuleUnparseable},
		"empty object":         {`{"resourceType":"Observation","code":{}}`, RuleUnparseable},
		"empty array":          {`{"resourceType":"Observation","category":[]}`, RuleUnparseable},
		"array in array":       {`{"resourceType":"Observation","category":[[{"text":"survey"}]]}`, RuleUnparseable},
		"cut":                  {`{"resourceType":"Observation","status":"fin`, RuleUnparseable},
		"cut after a name":     {`{"resourceType":"Observation","status":`, RuleUnparseable},
		"more behind":          {`{"resourceType":"Observation","status":"final"}{}`, RuleUnparseable},
		"control character":    {"{\"resourceType\":\"Observation\",\"status\":\"fi\tnal\"}", RuleUnparseable},
		"bad UTF-8":            {"{\"resourceType\":\"Observation\",\"code\":{\"text\":\"\xff\"}}", RuleUnparseable},
		"lone surrogate":       {`{"resourceType":"Observation","code":{"text":"\ud800x"}}`, RuleUnparseable},
		"bad escape":           {`{"resourceType":"Observation","code":{"text":"\x41"}}`, RuleUnparseable},
		"escaped name":         {`{"resourceType":"Observation","st\u0061tus":"final"}`, RuleUnparseable},
		"number with zero":     {`{"resourceType":"Observation","valueInteger":03}`, RuleUnparseable},
	} {
		hit := g.Row([]byte(c[0]), []uint32{1})
		if hit == nil || hit.Rule != c[1] {
			t.Errorf("%s: %v, want %s", name, hit, c[1])
		}
	}
	rows := newGate(t, rowSpec(), r)
	for name, row := range map[string]string{
		"column missing": "0123456789ab,44261-6,,", "column more": "0123456789ab,44261-6,,,12,",
		"open quote": `0123456789ab,44261-6,,"x,12`, "stray quote": `0123456789ab,44261-6,,x"y,12`,
		"after quote": `0123456789ab,44261-6,,"x"y,12`, "CR": "0123456789ab,44261-6,,,12\r", "bad UTF-8": "0123456789ab,44261-6,,\xff,12",
	} {
		if hit := rows.Row([]byte(row), nil); hit == nil || hit.Rule != RuleUnparseable {
			t.Errorf("%s: %v", name, hit)
		}
	}
	for _, header := range []string{"", "person,instrument,race,note", "person,instrument,race,note,Total", "person;instrument"} {
		if rows.Header([]byte(header)) == nil {
			t.Errorf("header %q passed", header)
		}
	}
	if g.Header([]byte("person")) == nil {
		t.Error("a header passed in NDJSON")
	}
}

func TestSpecsThatAreRefused(t *testing.T) {
	r := people(t)
	for name, spec := range map[string]Spec{
		"no positions":     {Format: CSV},
		"no format":        {Positions: []Position{{"a", Any()}}},
		"no grammar":       {Format: CSV, Positions: []Position{{Path: "a"}}},
		"no path":          {Format: CSV, Positions: []Position{{"", Any()}}},
		"column twice":     {Format: CSV, Positions: []Position{{"a", Any()}, {"a", Any()}}},
		"path twice":       {Format: NDJSON, Positions: []Position{{"A.b", Any()}, {"A.b", Any()}}},
		"value and parent": {Format: NDJSON, Positions: []Position{{"A.b.c", Any()}, {"A.b", Any()}}},
		"parent and value": {Format: NDJSON, Positions: []Position{{"A.b", Any()}, {"A.b.c", Any()}}},
		"type alone":       {Format: NDJSON, Positions: []Position{{"A", Any()}}},
		"empty step":       {Format: NDJSON, Positions: []Position{{"A..b", Any()}}},
		"open parenthesis": {Format: NDJSON, Positions: []Position{{"A.extension(x", Any()}}},
	} {
		if _, err := New(spec, r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, unready := range []*Roster{nil, NewRoster(0)} {
		if _, err := New(rowSpec(), unready); err == nil {
			t.Error("a gate without a frozen roster")
		}
	}
}

func TestHeaderIsQuotedWhereItMustBe(t *testing.T) {
	g := newGate(t, Spec{Format: CSV, Positions: []Position{{`score, "raw"`, Any()}, {"b", Any()}}}, people(t))
	if hit := g.Header([]byte(`"score, ""raw""",b`)); hit != nil {
		t.Error(hit)
	}
}

// Each way of writing a character in a JSON string comes to the same value.
func TestEscapes(t *testing.T) {
	g := newGate(t, Spec{Format: NDJSON, Positions: []Position{{"A.b", Closed("é\"\\/\b\f\n\r\tAé😀z", "other", "3", "4", "5", "6", "7", "8", "9")}}}, people(t))
	if hit := g.Row([]byte(`{"resourceType":"A","b":"é\"\\\/\b\f\n\r\t\u0041\u00E9\ud83d\ude00z"}`), nil); hit != nil {
		t.Error(hit)
	}
	for _, bad := range []string{`\`, `\u12`, `\uzzzz`, `\ud83d\u0041`, `\ud83dxxxxxxx`, `\n` + "\t"} {
		if hit := g.Row([]byte(`{"resourceType":"A","b":"`+bad+`"}`), nil); hit == nil || hit.Rule != RuleUnparseable {
			t.Errorf("%q: %v", bad, hit)
		}
	}
}

// A name that is a declared closed value of the release is no alarm inside a
// longer string.
func TestDeclaredValuesAreNoNames(t *testing.T) {
	r := NewRoster(1)
	_ = r.Add(1, Name, []byte("Zamended"))
	r.Freeze()
	for _, closed := range []string{"zamended", "final"} {
		g := newGate(t, Spec{Format: CSV, Positions: []Position{{"status", Closed(closed)}, {"note", Any()}}}, r)
		if hit := g.Row([]byte(",was Zamended later"), []uint32{1}); (hit == nil) != (closed == "zamended") {
			t.Errorf("%s: %v", closed, hit)
		}
	}
}

// A hit names declared places and rules, never what stood there.
func TestHitHoldsNoValue(t *testing.T) {
	r := people(t)
	g := newGate(t, observationSpec(), r)
	for _, row := range []string{
		`{"resourceType":"Observation","Quenby":"x"}`,
		`{"resourceType":"Observation","code":{"text":"Quenby Larkspurre"}}`,
		`{"resourceType":"Quenby"}`,
		`{"resourceType":"Observation","extension":[{"url":"Quenby"}]}`,
	} {
		hit := g.Row([]byte(row), []uint32{1})
		if hit == nil {
			t.Fatalf("%s passed", row)
		}
		if strings.Contains(hit.Error(), "Quenby") {
			t.Errorf("%q shows a value", hit.Error())
		}
	}
}

func TestNoAllocation(t *testing.T) {
	r := people(t)
	g, rows := newGate(t, observationSpec(), r), newGate(t, rowSpec(), r)
	line, row := []byte(cleanObservation), []byte(`0123456789ab,44261-6,White,"a ""note"" of 12 words",12`)
	subjects := []uint32{1}
	if n := testing.AllocsPerRun(100, func() { g.Row(line, subjects); rows.Row(row, subjects) }); n != 0 {
		t.Errorf("%v allocations a row", n)
	}
}

func FuzzRow(f *testing.F) {
	f.Add(cleanObservation, "Quenby")
	f.Add(`0123456789ab,44261-6,White,"x",12`, `\u0053\\u0053 UXVlbmJ5IExhcmtzcHVycmU= 617-555-0134 ::1 1.2.3.4 3 May 2020`)
	r := people(f)
	g, rows := newGate(f, observationSpec(), r), newGate(f, rowSpec(), r)
	f.Fuzz(func(t *testing.T, line, value string) {
		g.Row([]byte(line), []uint32{1, 2})
		rows.Row([]byte(line), nil)
		for m := prose; m <= codes; m++ {
			g.text.matched = false
			g.scanAt([]byte(value), m, 0)
		}
	})
}
