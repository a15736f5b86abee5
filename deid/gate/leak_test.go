package gate

import (
	"encoding/base64"
	"fmt"
	"go/parser"
	gotoken "go/token"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
)

func letters(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz"[r.IntN(26)]
	}
	return string(b)
}

func beneficiary(r *rand.Rand) string {
	const letters, digits = "ACDEFGHJKMNPQRTUVWXY", "0123456789"
	v := ""
	for _, c := range "CAXNAXNAANN" {
		from := digits
		if c == 'A' || c == 'X' && r.IntN(2) == 0 {
			from = letters
		}
		if c == 'C' {
			from = digits[1:]
		}
		v += string(from[r.IntN(len(from))])
	}
	if r.IntN(2) == 0 {
		v = v[:4] + "-" + v[4:7] + "-" + v[7:]
	}
	return v
}

// Where codes stand, what cannot be a code is still found.
func TestLeaksAmongCodes(t *testing.T) {
	r := people(t)
	g := newGate(t, Spec{Format: CSV, Positions: []Position{{"code", CodeToken()}, {"race", Term()}}}, r)
	random := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		y, m, d := 1930+random.IntN(90), 1+random.IntN(12), 1+random.IntN(28)
		for _, leak := range []string{
			fmt.Sprintf("900-%02d-%04d", 10+random.IntN(89), random.IntN(9999)), fmt.Sprintf("617-555-01%02d", random.IntN(99)),
			fmt.Sprintf("%d-%02d-%02d", y, m, d), fmt.Sprintf("%02d/%02d/%d", m, d, y), beneficiary(random),
			fmt.Sprintf("10.1.2.%d", random.IntN(256)), "https://example.org/" + letters(random, 3),
			"CV-104233", "CV-209944", "larkspurre", "THISTLEWICK", "QuenbyLarkspurre", "87654321",
			base64.RawURLEncoding.EncodeToString([]byte("Quenby Larkspurre")),
		} {
			for _, row := range []string{leak + ",White", "44261-6," + leak} {
				if hit := g.Row([]byte(row), []uint32{1}); hit == nil {
					t.Fatalf("%q passed", row)
				}
			}
		}
	}
}

func TestNoFalseAlarm(t *testing.T) {
	r := people(t)
	g := newGate(t, Spec{Format: CSV, Positions: []Position{{"code", CodeToken()}, {"race", Term()}, {"note", Any()}}}, r)
	for _, code := range []string{"44261-6", "70274-6", "75626-2", "2019-8", "2106-3", "313182004", "900000000000207008", "1119302008", "84114007",
		"44054006", "F32.1", "F10.20", "99213", "44261", "7654321", "104233", "42", "AMB", "final", "may", "en", "0069-2587-10", "00069258710", "12345-6789-01",
		"{score}", "10*3/uL", "fec700dd-9489-0f61-f77b-f43003428d85", "20190412-0101-4fff-8abc-123456789012", "1.2.840.10008.5.1.4.1.1.2", "survey"} {
		if hit := g.Row([]byte(code+",White,"), []uint32{1}); hit != nil {
			t.Errorf("code %s: %v", code, hit)
		}
	}
	for _, term := range []string{"White", "Spanish", "Not Hispanic or Latino", "Black or African American", "Spanish; Castilian", "M", "2106-3 White", "mm[Hg]"} {
		if hit := g.Row([]byte("44261-6,"+term+","), []uint32{3}); hit != nil {
			t.Errorf("term %s: %v", term, hit)
		}
	}
	for _, note := range []string{"White matter hyperintensity", "may improve; hope expressed", "score 12 of 27", "PHQ-9 total 44261-6", "room 42, bed 3",
		"improved by 50 percent in 2025", "over 12 weeks", "version 1.2.3", "ratio 3/4 at 10:15:00", "5 of 7 days", "CPT 99213", "hospitalization with counterproductive results",
		"codes 90837 and 99213, pt 99213, no 44261 in 99213 or 44261", "ID 44261", "SNOMED CT 313182004", "object 2.16.840.1.113883.6.238", "from 2019 to 2025", "aged 45", "Clearview Elementary"} {
		if hit := g.Row([]byte("44261-6,White,\""+note+"\""), []uint32{3}); hit != nil {
			t.Errorf("note %q: %v", note, hit)
		}
	}
	// A whole free string that is a common name is a name.
	if hit := g.Row([]byte("44261-6,White,Hope"), []uint32{3}); hit == nil {
		t.Error("a name alone in a free string passed")
	}
}

// What is clean for one person is not therefore clean for another, whatever
// stood at the position in between.
func TestNothingIsRememberedForAnother(t *testing.T) {
	r := people(t)
	g := newGate(t, Spec{Format: CSV, ExactDates: true, Positions: []Position{{"note", Any()}, {"end", Boolean()}}}, r)
	for i, step := range []struct {
		note    string
		subject uint32
		passes  bool
	}{
		{"seen on 1960-07-04", 1, true}, {"a long note of nothing in particular that is not kept in mind", 1, true}, {"seen on 1960-07-04", 1, true}, {"seen on 1960-07-04", 2, false},
	} {
		if hit := g.Row([]byte(step.note+",true"), []uint32{step.subject}); (hit == nil) != step.passes {
			t.Errorf("step %d: %v", i+1, hit)
		}
	}
}

func TestRecordNumbersOfTheClinic(t *testing.T) {
	r := people(t)
	g := newGate(t, Spec{Format: CSV, RecordNumbers: []string{"MRN-999999", "9999-9999", "H/99999"}, Positions: []Position{{"code", CodeToken()}, {"note", Any()}, {"own", OwnIdentifier(RecordNumber)}}}, r)
	for cells, passes := range map[string]bool{
		",seen as MRN-771234 today,": false, ",mrn771234,": false, ",MRN: 771234,": false, ",MRN 77-1234,": false, ",1234-5678,": false, ",x 12345678 y,": false, ",h-71234;,": false,
		"MRN-771234,,": false, "mrn771234,,": false, "H71234,,": false, "enc-MRN-771234-2,,": false,
		",MRN-7712345,": true, ",MRN-77123,": true, ",1234-567,": true, ",H0031 and H7123,": true, "12345678,,": true, "H0031,,": true, ",mrn and then much later 771234,": true,
	} {
		if hit := g.Row([]byte(cells), []uint32{1}); (hit == nil) != passes {
			t.Errorf("%s: %v", cells, hit)
		}
	}
	own := newGate(t, Spec{Format: CSV, RecordNumbers: []string{"CV-999999"}, Positions: []Position{{"id", CodeToken()}, {"own", OwnIdentifier(RecordNumber)}}}, r)
	for row, passes := range map[string]bool{"CV-104233-e1,CV-104233": true, "CV-209944-e1,CV-104233": false, "CV-555555-e1,CV-104233": false} {
		if hit := own.Row([]byte(row), []uint32{1}); (hit == nil) != passes {
			t.Errorf("%s: %v", row, hit)
		}
	}
	for form, right := range map[string]bool{"MRN-999999": true, "A99999": true, "9999999": true, "H9999": false, "999999": false, "MRN": false, "": false, "MRN 999999": false, "12-99999999": false, "É-999999": false, strings.Repeat("9", 65): false} {
		if err := CheckRecordNumber(form); (err == nil) != right {
			t.Errorf("%q: %v", form, err)
		}
		if _, err := New(Spec{Format: CSV, RecordNumbers: []string{form}, Positions: []Position{{"v", Any()}}}, r); (err == nil) != right {
			t.Errorf("%q: %v", form, err)
		}
	}
}

// A number of nine digits and more that somebody of the extract has is no
// measurement of somebody else.
func TestNumbersOfOthers(t *testing.T) {
	r := people(t)
	g := newGate(t, Spec{Format: NDJSON, Positions: []Position{{"O.n", Number(-1e12, 1e12, false)}}}, r)
	for value, passes := range map[string]bool{"900123456": false, "9.00123456e8": false, "6175550134": false, "87654321": true, "900123457": true} {
		if hit := g.Row([]byte(`{"resourceType":"O","n":`+value+`}`), []uint32{2}); (hit == nil) != passes {
			t.Errorf("%s: %v", value, hit)
		}
	}
}

// A long address is found by its first words.
func TestLongAddress(t *testing.T) {
	r := NewRoster(1)
	if err := r.Add(0, StreetAddress, []byte("Apt. 4 in the rear, 12 Old Mill Pond Road")); err != nil {
		t.Fatal(err)
	}
	r.Freeze()
	g := newGate(t, Spec{Format: CSV, Positions: []Position{{"note", Any()}, {"end", Boolean()}}}, r)
	if hit := g.Row([]byte(`"lives at Apt 4 in the rear, 12 Old Mill Pond Road now",true`), []uint32{9}); hit == nil {
		t.Error("it passes")
	}
}

// Digits of any script are digits.
func TestFold(t *testing.T) {
	if got := string(fold(nil, []byte("٠٩ ०९ ０９ 𝟘𝟡 Ñandú\u200b–\u00a0’x Жø"))); got != "09 09 09 09 nandu- 'x Жo" {
		t.Errorf("%q", got)
	}
}

// The gate imports nothing of the engine whose work it judges, nor of any other
// room: it shares no code with it but Go's own library.
func TestImportsNothingOfTheHouse(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) < 10 {
		t.Fatal(err, len(files))
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range file.Imports {
			if strings.Contains(i.Path.Value, ".") {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
	}
}

func TestConceptIDs(t *testing.T) {
	for _, id := range []string{"313182004", "84114007", "900000000000207008", "1119302008", "44054006"} {
		if !isConceptID([]byte(id)) {
			t.Errorf("%s is a SNOMED CT identifier", id)
		}
	}
	for _, id := range []string{"313182005", "12345", "7654321", "84114070"} {
		if isConceptID([]byte(id)) {
			t.Errorf("%s is none", id)
		}
	}
}
