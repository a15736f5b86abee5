package gate

import (
	"strings"
	"testing"
)

func TestGrammars(t *testing.T) {
	r := people(t)
	for name, c := range map[string]struct {
		grammar   Grammar
		good, bad string // separated by |
	}{
		"closed":          {Closed("final", "amended"), "final|amended", "Final|fin|final "},
		"uri":             {URI("http://loinc.org"), "http://loinc.org", "http://loinc.org/|http://x.example"},
		"uris below":      {URI("http://example.org/x/", "urn:y", ""), "urn:y|http://example.org/x/v3-ActCode", "http://example.org/x/a/b|http://example.org/x/CV-209944|http://example.org/x/900-12-3456|http://example.org/x/Larkspurre|http://example.net/x/y"},
		"code":            {CodeToken(), "44261-6|F32.1|{score}|mm[Hg]|10*3/uL|313182004|AMB|255604002", "two words|a@b|a<b|" + strings.Repeat("x", 65)},
		"term":            {Term(), "Not Hispanic or Latino|en-US|Black or African American", strings.Repeat("x", 65)},
		"number":          {Number(-1, 100.5, false), "0|-1|100.5|12.25|3.0|1e2|1.5E-3|12e+0", "-1.1|101|1e3|1e999|-1e1|1e|x|01|+1|.5|1.|NaN"},
		"integer":         {Number(0, 27, true), "0|27", "27.0|28|-1|1e1"},
		"multiple":        {Multiple(5, -100, 100), "0|5|-100|100", "1|-0|105|5.0|05|5e1|x"},
		"multiple of 1":   {Multiple(1, -1e12, 1e12), "7|123456", "6175550134x|1.0"},
		"ordinal":         {Ordinal(4), "0001|9999", "0000|1|00001|00x1"},
		"year":            {Year(1936, 2026), "1936|2026", "1935|2027|26|02026|2025-01"},
		"interval":        {Interval(-4, 104), "-4|0|104", "-5|105|1.5|--1|+1|-"},
		"age band":        {AgeBand(5, 90), "0-4|5-9|85-89|90+", "1-5|5-10|90-94|93|89+|90|95+|-"},
		"wide age band":   {AgeBand(20, 90), "80-89|0-19", "80-99"},
		"single ages":     {AgeBand(1, 90), "17|17-17|89|90+", "90|91|17-18"},
		"zip3":            {ZIP3(), "021|000|945", "036|02139|21|893|0a1"},
		"state":           {State(), "MA|Massachusetts|massachusetts|PR|US|USA|MX|MEX|DC", "Boston|02139|Quenby"},
		"code of ours":    {OwnCode(8), "0123abcd", "0123abc|0123abcde|0123abcI|0123abci|0123-bcd"},
		"row key":         {RowKey(4), "zzzz", "zzz"},
		"boolean":         {Boolean(), "true|false", "True|1|yes"},
		"date":            {Date(), "2025|2025-03|2025-03-02", "2025-13|2025-3-2|2025-03-02T10:00:00Z|1700-01-01"},
		"day":             {Day(false), "2025-03-02", "2025|2025-03|2025-13-02|2025-03-02T10:00:00Z"},
		"day and time":    {Day(true), "2025-03-02|2025-03-02T10:00:00Z", "2025|2025-03|2025-03-02T10:00:00|2025-03T10:00Z|10:00:00.12345"},
		"dateTime":        {DateTime(), "2025|2025-03-02|2025-03-02T10:00:00Z|2013-03-21T00:05:30.395+10:00|2025-03-02T10:00-05:00|22:30:00|07:05:09.125", "22:30|22:30:00Z|22:30:00.|22:30:00.1234567890|2025-03-02T10:00:00|2025-03T10:00Z|2025-03-02T|2025-03-02T10:00:00.Z"},
		"provider":        {ProviderNumber(), "1234567893", "1234567890|3234567893|123456789"},
		"own number":      {OwnIdentifier(RecordNumber), "CV-104233", "CV-209944|Quenby|CV-10423"},
		"own any":         {OwnIdentifier(Name, Phone), "quenby|617-555-0134", "Zebulon"},
		"own town":        {OwnTown(), "Clearview|CLEARVIEW|Township 12", "Township 123|Eastlake|12 Nonesuch Lane|Quenby|4 Nonesuch|04101|Clearview 02139"},
		"own ZIP code":    {OwnPostcode(), "02139|02139-4307", "02140|44261|0213|02139-43|021394307|2139|ACM00112233|02139 "},
		"own reference":   {OwnReference("Patient", RecordNumber), "Patient/CV-104233", "Patient/CV-209944|CV-104233|Group/CV-104233"},
		"code reference":  {ReferenceTo(OwnCode(4), "Patient"), "Patient/00zz", "Patient/00zzz|00zz|Group/00zz|Patient|Patient/00zz/00zz"},
		"region":          {Region(false), "Northeast|Midwest|South|West", "Mountain|northeast|MA|West "},
		"division":        {Region(true), "New England|Pacific|West South Central", "Northeast|MA|02139"},
		"numbered":        {ReferenceTo(Ordinal(4), "Group", "Encounter"), "Encounter/0001|Group/0012", "Encounter/0000|Encounter/001|0001|Patient/0001|Encounter/e001"},
		"other reference": {Reference("Encounter", "Practitioner"), "Encounter/fd314f62-e1d8-8af6-0170-5d90411eb7b2|Practitioner/9", "Patient/x|Encounter/|Encounter/a b|Encounter/CV-209944|Practitioner?identifier=9"},
	} {
		g := newGate(t, Spec{Format: CSV, Positions: []Position{{"v", c.grammar}, {"end", Boolean()}}}, r)
		for v := range strings.SplitSeq(c.good, "|") {
			if hit := g.Row([]byte(v+",true"), []uint32{1}); hit != nil {
				t.Errorf("%s: %q stopped: %v", name, v, hit)
			}
		}
		for v := range strings.SplitSeq(c.bad, "|") {
			if hit := g.Row([]byte(v+",true"), []uint32{1}); hit == nil {
				t.Errorf("%s: %q passed", name, v)
			}
		}
	}
}

// Another patient's value in an identified row is a hit, whoever's it is.
func TestOwnSubjectRule(t *testing.T) {
	r := people(t)
	g := newGate(t, Spec{Format: NDJSON, ExactDates: true, Positions: []Position{
		{"Patient.birthDate", OwnIdentifier(BirthDate)}, {"Patient.name.family", OwnIdentifier(Name)},
		{"Patient.address.line", OwnIdentifier(StreetAddress)}, {"Patient.note", Any()},
	}}, r)
	row := []byte(`{"resourceType":"Patient","birthDate":"1951-03-02","name":[{"family":"D\u0027Arto\u00f1a"}],"address":[{"line":["12 Nonesuch Lane","12 NONESUCH LANE, Apt. 4"]}]}`)
	for subjects, clean := range map[uint32]bool{1: true, 2: false} {
		if hit := g.Row(row, []uint32{subjects}); (hit == nil) != clean {
			t.Errorf("subject %d: %v", subjects, hit)
		}
	}
	if hit := g.Row(row, nil); hit == nil || hit.Rule != RuleNotOwn {
		t.Errorf("no subject: %v", hit)
	}
	for note, clean := range map[string]bool{"seen 2025-03-02": true, "born 1951-03-02": false, "born 3/2/1951": false,
		"born 2 March 1951": false, "July 4, 1960": true} {
		line := []byte(`{"resourceType":"Patient","note":"` + note + `"}`)
		if hit := g.Row(line, []uint32{1}); (hit == nil) != clean {
			t.Errorf("%s: %v", note, hit)
		}
	}
}

// Record ids built on the patient's id pass where the release lets that id out,
// for that patient.
func TestRecordIDsBuiltOnThePatients(t *testing.T) {
	r := people(t)
	for _, own := range []Grammar{OwnIdentifier(RecordNumber), OwnIdentifier(Phone)} {
		g := newGate(t, Spec{Format: CSV, Positions: []Position{{"id", CodeToken()}, {"person", own}}}, r)
		for id, subject := range map[string]uint32{"CV-104233-007": 1, "CV-209944-007": 2} {
			hit := g.Row([]byte(id+","), []uint32{1})
			if clean := subject == 1 && own.own[0] == RecordNumber; (hit == nil) != clean {
				t.Errorf("%s beside %v: %v", id, own.own, hit)
			}
		}
	}
}

func TestWideNumberBoundsDoNotHideIdentifiers(t *testing.T) {
	g := newGate(t, Spec{Format: CSV, Positions: []Position{{"n", Number(0, 1e12, false)}}}, people(t))
	if hit := g.Row([]byte("87654321"), []uint32{1}); hit == nil {
		t.Error("the subject's own record number passed as a number")
	}
	for _, written := range []string{"87654321.0", "87654321.000", "8.7654321e7", "8.7654321E+07", "87654321e0", "876543210e-1"} {
		if hit := g.Row([]byte(written), []uint32{1}); hit == nil {
			t.Errorf("the subject's own record number passed as %s", written)
		}
	}
	for _, other := range []string{"87654320", "87654320.0", "8765432.1", "8.7654321e6", "87654321.5", "1e12", "0.0000001"} {
		if hit := g.Row([]byte(other), []uint32{1}); hit != nil {
			t.Errorf("%s: %v", other, hit)
		}
	}
}
