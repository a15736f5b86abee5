package gate

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// leaks makes invented values of each kind that a pattern must find without
// the roster's help.
var leaks = map[string]func(*rand.Rand) string{
	ruleSSN: func(r *rand.Rand) string {
		return fmt.Sprintf("%03d%s%02d%[2]s%04[4]d", 900+r.IntN(99), pick(r, "-", " ", "."), 10+r.IntN(89), r.IntN(9999))
	},
	"nine digits":   func(r *rand.Rand) string { return fmt.Sprintf("%09d", 900000000+r.IntN(99999999)) },
	ruleNPI:         func(r *rand.Rand) string { return npi(r) },
	ruleBeneficiary: beneficiary,
	rulePhone: func(r *rand.Rand) string {
		return fmt.Sprintf(pick(r, "(%03d) 555-01%02d", "%03d-555-01%02d", "%03d.555.01%02d", "+1 %03d 555 01%02d", "1-%03d-555-01%02d", "%03d55501%02d", "tel:+1%03d55501%02d"), 201+r.IntN(700), r.IntN(99))
	},
	"local telephone":         func(r *rand.Rand) string { return fmt.Sprintf("555-01%02d", r.IntN(99)) },
	"international telephone": func(r *rand.Rand) string { return fmt.Sprintf("+44 20 7946 0%03d", r.IntN(999)) },
	ruleEmail: func(r *rand.Rand) string {
		return letters(r, 5) + pick(r, ".", "_", "+") + letters(r, 4) + "@" + letters(r, 6) + ".example"
	},
	ruleWeb: func(r *rand.Rand) string {
		return pick(r, "https://", "http://", "www.", "ftp://", "portal.") + letters(r, 8) + ".org/" + letters(r, 4)
	},
	ruleNetwork: func(r *rand.Rand) string {
		if r.IntN(2) == 0 {
			return fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256))
		}
		return fmt.Sprintf(pick(r, "2001:db8::%x:%x", "fe80::1:%x:%x", "2001:db8:0:0:0:0:%x:%x"), 1+r.IntN(0xfffe), 1+r.IntN(0xfffe))
	},
	ruleDate: func(r *rand.Rand) string {
		y, m, d := 1930+r.IntN(95), 1+r.IntN(12), 1+r.IntN(28)
		month := pick(r, "January", "Feb", "APRIL", "jun", "September", "Sept", "Dec")
		return pick(r, fmt.Sprintf("%d-%02d-%02d", y, m, d), fmt.Sprintf("%d-%02d-%02dT10:15:00Z", y, m, d),
			fmt.Sprintf("%d/%d/%d", m, d, y), fmt.Sprintf("%d.%d.%d", d, m, y), fmt.Sprintf("%d-%02d", y, m),
			fmt.Sprintf("%d/%d/%02d", m, d, y%100), fmt.Sprintf("%d%02d%02d", y, m, d), fmt.Sprintf("%02d%02d%d", m, d, y),
			fmt.Sprintf("%s %d, %d", month, d, y), fmt.Sprintf("%d %s %d", d, month, y), fmt.Sprintf("%s %d", month, y),
			fmt.Sprintf("%dth of %s", d, "May "+fmt.Sprint(y)), fmt.Sprintf("March 3rd, %d", y), fmt.Sprintf("%d%02d%02d101500", y, m, d))
	},
	ruleAge: func(r *rand.Rand) string {
		return fmt.Sprintf(pick(r, "aged %d", "age: %d", "%d years old", "%d-year-old", "%dyo", "%d y.o."), 90+r.IntN(25))
	},
	ruleZIP: func(r *rand.Rand) string {
		return fmt.Sprintf(pick(r, "0%d-%04[2]d", "MA 0%[1]d", "Massachusetts 0%[1]d", "zip 0%[1]d", "ZIP: 0%[1]d"), 2100+r.IntN(99), r.IntN(9999))
	},
	"roster": func(r *rand.Rand) string {
		return pick(r, "Larkspurre", "Quenby", "Zebulon", "Thistlewick", "Thistle-wick", "Zebulon Thistlewick", "May White", "D'Artoña", "DArtona", "d\u2019Arton\u0303a",
			"12 Nonesuch Lane", "12, Nonesuch Lane, Apt. 4", "CV-104233", "CV 209944", "cv209944", "0087654321", "87654321",
			"e925b0f3-8006-43f6-aa31-94bd215e55e7", "ACM00112233", "ACM-00112233")
	},
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

func letters(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz"[r.IntN(26)]
	}
	return string(b)
}

func npi(r *rand.Rand) string {
	first := fmt.Sprintf("1%08d", r.IntN(99999999))
	for d := '0'; d <= '9'; d++ {
		if v := first + string(d); isProviderNumber([]byte(v)) {
			return v
		}
	}
	return ""
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

// escape writes each character as \uXXXX; those outside the corpus' plane do
// not occur.
func escape(s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, `\u%04x`, c)
	}
	return b.String()
}

var carriers = []string{"%s", "pt %s seen", "note:%s;", "(%s)", "x=%s, y=2", "see %s."}

// Sixty leaks of every kind, in six surroundings, in both cases, escaped and
// encoded, in both formats.
func TestEveryLeakIsFound(t *testing.T) {
	r := people(t)
	g, rows := newGate(t, observationSpec(), r), newGate(t, rowSpec(), r)
	random := rand.New(rand.NewPCG(1, 2))
	for kind, leak := range leaks {
		for range 60 {
			value := leak(random)
			for _, carrier := range carriers {
				plain := fmt.Sprintf(carrier, value)
				for form, text := range map[string]string{
					"plain": plain, "upper": strings.ToUpper(plain), "lower": strings.ToLower(plain), "escaped": escape(plain),
					"twice escaped": strings.ReplaceAll(escape(plain), `\`, `\\`),
					"base64":        "att " + base64.StdEncoding.EncodeToString([]byte("Name: "+plain+" ok")),
					"base64 url":    base64.RawURLEncoding.EncodeToString([]byte("the note " + plain)),
					"base64 joined": "data/" + base64.StdEncoding.EncodeToString([]byte("the note "+plain)),
					"base64 twice":  base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte("the note " + plain)))),
				} {
					line := `{"resourceType":"Observation","code":{"text":"` + text + `"}}`
					if hit := g.Row([]byte(line), []uint32{1}); hit == nil || hit.Position != "Observation.code.text" {
						t.Errorf("%s, %s: %q in NDJSON: %v", kind, form, text, hit)
					}
					cell := strings.ReplaceAll(text, `"`, `""`)
					if hit := rows.Row([]byte(`0123456789ab,44261-6,White,"`+cell+`",12`), []uint32{1}); hit == nil || hit.Position != "note" {
						t.Errorf("%s, %s: %q in CSV: %v", kind, form, text, hit)
					}
				}
			}
		}
	}
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
		"object 2.16.840.1.113883.6.238", "from 2019 to 2025", "aged 45", "Clearview Elementary"} {
		if hit := g.Row([]byte("44261-6,White,\""+note+"\""), []uint32{3}); hit != nil {
			t.Errorf("note %q: %v", note, hit)
		}
	}
	// A whole free string that is a common name is a name.
	if hit := g.Row([]byte("44261-6,White,Hope"), []uint32{3}); hit == nil {
		t.Error("a name alone in a free string passed")
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
