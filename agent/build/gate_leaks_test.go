package build

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// A leak is a kind of value that the engine must never let out, and its
// invented values, all different.
type leak struct {
	values []string
	whole  bool // counts only where it is the whole of a string
	own    bool // counts only in a row of the person whose it is
}

const leaksOfAKind = 50

func many(value func(i int) string) leak {
	l := leak{}
	for i := range leaksOfAKind {
		l.values = append(l.values, value(i))
	}
	return l
}

// invented is a name that nobody has, another for each n below ten thousand.
func invented(n int) string {
	parts := strings.Fields("quab brix zelm thorv mipp vunk keshl lorq drazz wexf")
	name := parts[n/1000%10] + "o" + parts[n/100%10] + "i" + parts[n/10%10] + "u" + parts[n%10]
	return strings.ToUpper(name[:1]) + name[1:]
}

// withLuhn writes the check digit of 45 CFR 162.406 behind nine digits.
func withLuhn(nine string) string {
	sum, text := 0, "80840"+nine
	for i := range len(text) {
		d := int(text[len(text)-1-i] - '0')
		if i%2 == 0 {
			d = d/5 + d*2%10
		}
		sum += d
	}
	return nine + fmt.Sprint((10-sum%10)%10)
}

// patternLeaks identify somebody by their form alone, whoever it is.
func patternLeaks() map[string]leak {
	form := func(i int, forms ...string) string { return forms[i%len(forms)] }
	return map[string]leak{
		"social security number": many(func(i int) string {
			return fmt.Sprintf(form(i, "9%02d-%02d-%04d", "9%02d %02d %04d", "9%02d.%02d.%04d", "9%02d%02d%04d"), i, 10+i, 9000-37*i)
		}),
		"provider number": many(func(i int) string { return withLuhn(fmt.Sprintf("1%08d", 91234567+i*7919%8000000)) }),
		"Medicare number": many(func(i int) string {
			letter := func(n int) byte { return "ACDEFGHJKMNPQRTUVWXY"[n%20] }
			return fmt.Sprintf(form(i, "%d%c%c%d-%c%d%d-%c%c%d%d", "%d%c%c%d%c%d%d%c%c%d%d"), 1+i%9, letter(i), letter(i+3), i%10, letter(i+5), i/10, i%10, letter(i+7), letter(i/20), i%10, 9-i%10)
		}),
		"telephone": many(func(i int) string {
			return fmt.Sprintf(form(i, "(6%02d) 555-01%02[1]d", "6%02d-555-01%02[1]d", "6%02d.555.01%02[1]d", "+1 6%02d 555 01%02[1]d", "1-6%02d-555-01%02[1]d", "6%02d55501%02[1]d", "+44 20 7946 %04[1]d"), i)
		}),
		"e-mail": many(func(i int) string {
			return invented(900+i%100) + form(i, ".", "_", "+", "") + fmt.Sprint(i) + form(i, "@mail.example", "@a.co")
		}),
		"network address": many(func(i int) string {
			return fmt.Sprintf(form(i, "10.%d.7.%d", "2001:db8::%x:%x", "fe80::1:%x:%x", "192.168.%d.%d"), i, 190+i)
		}),
		"web address": many(func(i int) string {
			return form(i, "https://", "http://", "www.", "ftp://", "portal.") + invented(i) + ".org/" + invented(i+7)
		}),
		"date": many(func(i int) string {
			y, m, d := 1931+i, 1+i%12, 1+i%28
			month := form(i, "January", "Feb", "APRIL", "jun", "September", "Sept", "Dec")
			return form(i, fmt.Sprintf("%d-%02d-%02d", y, m, d), fmt.Sprintf("%d-%02d-%02dT10:15:00Z", y, m, d), fmt.Sprintf("%d/%d/%d", m, d, y),
				fmt.Sprintf("%d.%d.%d", d, m, y), fmt.Sprintf("%d-%02d", y, m), fmt.Sprintf("%d/%d/%02d", m, d, y%100), fmt.Sprintf("%d%02d%02d", y, m, d),
				fmt.Sprintf("%s %d, %d", month, d, y), fmt.Sprintf("%d %s %d", d, month, y), fmt.Sprintf("%s %d", month, y), fmt.Sprintf("March %drd, %d", d, y),
				fmt.Sprintf("%d%02d%02d101500", y, m, d))
		}),
		"age of 90 and more": many(func(i int) string {
			return fmt.Sprintf(form(i, "aged %d", "age: %d", "%d years old", "%d-year-old", "%dyo"), 90+i%30) + strings.Repeat("!", i/30)
		}),
		"ZIP code": many(func(i int) string {
			return fmt.Sprintf(form(i, "0%d-4307", "MA 0%d", "Massachusetts 0%d", "zip 0%d", "ZIP: 0%d"), 2100+i)
		}),
		"clinic's record number": many(func(i int) string {
			return fmt.Sprintf(form(i, "MRN-77%04d", "MRN 77%04d", "MRN77%04d", "mrn:77%04d", "H77%04d", "h-77%04d"), i)
		}),
	}
}

// commonNames are family names that are also everyday words.
const commonNames = "White Young May Hope Green Rose Day Long Brown Black Gray King Price Banks Woods Field Fields Stone Rivers Lake Hill Hall Park Parks Street " +
	"Church Bishop Abbott Pope Baker Cook Carpenter Mason Taylor Miller Fisher Hunter Shepherd Gardner Butler Page Best Good Rich Small Little Strong Swift Sharp " +
	"Wise Moody Grace Faith Joy Summer Winter April June August Dawn Ivy Lily Violet Amber Ruby Pearl"

// peopleLeaks are what an extract tells of its people and of their relatives.
// The index pass reads the text; the roster that it makes is the gate's. All
// values of a kind are of people 0 to 49 in this order, and 50 is one more.
func peopleLeaks(t *testing.T) (map[string]leak, *gate.Roster) {
	t.Helper()
	type m = map[string]any
	leaks, names := map[string]leak{}, 0
	say := func(kind, value string) string {
		l := leaks[kind]
		l.values = append(l.values, value)
		leaks[kind] = l
		return value
	}
	newName := func() string { names++; return invented(names) }
	var text bytes.Buffer
	for i := range leaksOfAKind {
		address := func(of string, n int) m {
			return m{
				"line": []string{say(of+"street", fmt.Sprintf("%d %s Lane", 12+i, newName()))}, "city": say(of+"town", newName()+" Falls"),
				"district": say(of+"county", newName()), "postalCode": say(of+"ZIP code of the roster", fmt.Sprintf("%05d", 2139+100*n+i)),
			}
		}
		telecom := func(of string, n int) []m {
			return []m{
				{"system": "phone", "value": say(of+"telephone of the roster", fmt.Sprintf("040 %04d %03d", 3000+n, i))},
				{"system": "email", "value": say(of+"e-mail of the roster", fmt.Sprintf("%s%d.%s@posti", newName(), i, newName()))},
			}
		}
		id := say("resource id", fmt.Sprintf("e925b0f3-8006-43f6-aa31-94bd215e55%02x", i))
		patient := m{
			"resourceType": "Patient", "id": id, "address": []m{address("", 0)}, "telecom": telecom("", 0),
			"name": []m{{"family": say("family name", newName()), "given": []string{
				say("given name", newName()), say("accented name", "D'Ç"+newName()+"ñø"), say("short name", string([]byte{'X' + byte(i%3), "aeiou"[i/3%5], 'k' + byte(i/15)})),
				say("name that is a word", strings.Fields(commonNames)[i]),
			}}},
			"birthDate": say("birth date", fmt.Sprintf("19%02d-%02d-%02d", 30+i, 1+i%12, 1+i%28)), "deceasedDateTime": say("date of death", fmt.Sprintf("2024-%02d-%02d", 1+i%12, 1+i/12)),
			"extension": []m{{"url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName", "valueString": say("mother's maiden name", newName())}},
			"identifier": []m{
				{"value": say("record number", fmt.Sprintf("CV-104%03d", i))}, {"value": say("record number in digits", fmt.Sprintf("0087654%03d", i))},
				{"value": say("record number of six digits", fmt.Sprintf("7043%02d", i))}, {"value": say("record number of four digits", fmt.Sprintf("81%02d", i))},
				{"value": say("social security number of the roster", fmt.Sprintf("078-05-11%02d", i))},
				{"value": say("licence", fmt.Sprintf("S999%05d", 77*i))}, {"value": say("passport", fmt.Sprintf("X%07dX", 1234567+i))},
			},
			"contact": []m{{
				"name":    m{"family": say("contact's family name", newName()), "given": []string{say("contact's given name", newName())}},
				"telecom": telecom("contact's ", 1), "address": address("contact's ", 1),
			}},
		}
		relative := m{
			"resourceType": "RelatedPerson", "id": fmt.Sprintf("related-%d", i), "patient": m{"reference": "Patient/" + id},
			"name":    []m{{"family": say("relative's family name", newName()), "given": []string{say("relative's given name", newName())}}},
			"telecom": telecom("relative's ", 2), "address": []m{address("relative's ", 2)},
			"birthDate":  say("relative's birth date", fmt.Sprintf("19%02d-%02d-%02d", 35+i, 1+i%12, 28-i%28)),
			"identifier": []m{{"value": say("relative's number", fmt.Sprintf("REL/55%03d", i))}},
		}
		for _, resource := range []m{patient, relative} {
			raw, err := json.Marshal(resource)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(append(raw, '\n'))
		}
	}
	text.WriteString(`{"resourceType":"Patient","id":"one-more"}` + "\n")
	for kind, l := range leaks {
		switch {
		case strings.HasSuffix(kind, "town"), strings.HasSuffix(kind, "county"), kind == "short name", kind == "name that is a word":
			l.whole = true
		case strings.HasSuffix(kind, "ZIP code of the roster"), kind == "record number of four digits":
			l.own = true
		}
		leaks[kind] = l
	}
	return leaks, rosterOf(t, text.Bytes())
}

// rosterOf is the gate's roster of an extract.
func rosterOf(t *testing.T, extracted []byte) *gate.Roster {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "people.ndjson")
	if err := os.WriteFile(path, extracted, 0o600); err != nil {
		t.Fatal(err)
	}
	tables := consent.NewTables()
	tables.Encounters = consent.NewEncounters(tables.Programs, tables.People)
	r := newRun(&Job{
		Policy: &policies.Policy{}, Scratch: dir, Workers: 1, Tables: tables,
		Files: []extract.File{{Name: "people.ndjson", Path: path, Size: int64(len(extracted)), Rule: &extract.FileRule{Format: extract.FHIRNDJSON}}},
	})
	finder := newDuplicateFinder(dir)
	if _, err := r.readIndex(context.Background(), &finder, newIdentityHash()); err != nil {
		t.Fatal(err)
	}
	if r.index.people.Len() != leaksOfAKind+1 {
		t.Fatalf("%d people in the index", r.index.people.Len())
	}
	r.index.roster.Freeze()
	return r.index.roster
}

// disguises are ways in which a value gets through where it was not expected:
// n numbers the values of a kind.
var disguises = map[string]func(text string, n int) string{
	"as it is":            func(s string, _ int) string { return s },
	"in capitals":         func(s string, _ int) string { return strings.ToUpper(s) },
	"in small letters":    func(s string, _ int) string { return strings.ToLower(s) },
	"escaped once more":   func(s string, _ int) string { return escaped(s) },
	"escaped twice more":  func(s string, _ int) string { return strings.ReplaceAll(escaped(s), `\`, `\\`) },
	"slashes escaped":     func(s string, _ int) string { return `\/` + strings.ReplaceAll(s, "/", `\/`) + `\n` },
	"full width":          func(s string, _ int) string { return widened(s) },
	"no-break spaces":     func(s string, _ int) string { return strings.NewReplacer(" ", "\u00a0", "-", "\u2011").Replace(s) },
	"thin spaces, dashes": func(s string, _ int) string { return strings.NewReplacer(" ", "\u2009", "-", "\u2013").Replace(s) },
	"zero-width space":    func(s string, _ int) string { return between(s, "\u200b") },
	"soft hyphens":        func(s string, _ int) string { return between(s, "\u00ad") },
	"underscores":         func(s string, _ int) string { return strings.ReplaceAll(s, " ", "_") },
	"accents apart":       func(s string, _ int) string { return strings.NewReplacer("Ç", "C\u0327", "ñ", "n\u0303").Replace(s) },
	"base64":              func(s string, _ int) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 of URLs":      func(s string, _ int) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64, no padding":  func(s string, _ int) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 of capitals":  func(s string, _ int) string { return base64.StdEncoding.EncodeToString([]byte(strings.ToUpper(s))) },
	"base64 twice": func(s string, n int) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.RawURLEncoding.EncodeToString([]byte(s))))
	},
	"base64 in a sentence": func(s string, _ int) string {
		return "see file " + base64.StdEncoding.EncodeToString([]byte(s)) + ", page 2"
	},
	"base64 of escapes": func(s string, _ int) string { return base64.StdEncoding.EncodeToString([]byte(escaped(s))) },
	"escaped base64":    func(s string, _ int) string { return escaped(base64.StdEncoding.EncodeToString([]byte(s))) },
	"base64 behind a path": func(s string, _ int) string {
		return "Binary/attachment/" + base64.RawURLEncoding.EncodeToString([]byte(s))
	},
	"base64 in a data URI": func(s string, _ int) string {
		return "data:text/plain;base64," + base64.StdEncoding.EncodeToString([]byte(s))
	},
}

// moreDisguises put other text before the value, so that none is of those that
// count only as a whole.
var moreDisguises = map[string]func(text string, n int) string{
	"base64 at each alignment": func(s string, n int) string {
		return base64.StdEncoding.EncodeToString([]byte("pt. "[:1+n%3] + " " + s + " ok"))
	},
	"base64 behind letters": func(s string, n int) string {
		return "attachment"[:1+n%10] + base64.RawURLEncoding.EncodeToString([]byte("the note says "+s+" and no more"))
	},
	"base64 in lines": func(s string, n int) string {
		var lines []byte
		for i, c := range []byte(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("the note of the visit ", 3)[:45+n%20] + " " + s + " and so on"))) {
			if i > 0 && i%76 == 0 {
				lines = append(lines, "\r\n"...)
			}
			lines = append(lines, c)
		}
		return string(lines)
	},
	"behind much text": func(s string, n int) string { return strings.Repeat("fine ", 7)[:n%32] + " " + s },
	"between signs":    func(s string, _ int) string { return "(" + s + ")" },
	"in a list":        func(s string, _ int) string { return "x=" + s + ", y=2; z" },
}

func escaped(s string) string {
	var b strings.Builder
	for _, c := range s {
		fmt.Fprintf(&b, `\u%04x`, c)
	}
	return b.String()
}

func widened(s string) string {
	return strings.Map(func(c rune) rune {
		if c > ' ' && c <= '~' {
			return c + 0xff01 - '!'
		}
		return c
	}, s)
}

func between(s, sign string) string { return strings.Join(strings.Split(s, ""), sign) }

// rowForm is a form of rows with one string that nothing but the gate's search
// decides, and how a text is written there.
type rowForm struct {
	spec gate.Spec
	row  func(text string) string
}

const (
	openWidth   = 1600
	escapedForm = "NDJSON, all escaped"
)

func rowForms() map[string]rowForm {
	quoted := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	oneLine := strings.NewReplacer("\r", `\r`, "\n", `\n`)
	positions := func(in func(int, gate.Grammar) gate.Grammar) []gate.Position {
		return []gate.Position{{Path: "person", Grammar: in(12, gate.OwnCode(12))}, {Path: "note", Grammar: in(openWidth, gate.Any())}, {Path: "total", Grammar: in(2, gate.Number(0, 27, true))}}
	}
	as := func(_ int, g gate.Grammar) gate.Grammar { return g }
	return map[string]rowForm{
		"NDJSON": {gate.Spec{Format: gate.NDJSON, Positions: []gate.Position{
			{Path: "Observation.id", Grammar: gate.OwnCode(12)}, {Path: "Observation.code.text", Grammar: gate.Any()}, {Path: "Observation.valueInteger", Grammar: gate.Number(0, 27, true)}}},
			func(text string) string {
				raw, _ := json.Marshal(text) // with < > & escaped
				return `{"resourceType":"Observation","id":"0123456789ab","code":{"text":` + string(raw) + "},\"valueInteger\":12}\n"
			}},
		escapedForm: {gate.Spec{Format: gate.NDJSON, Positions: []gate.Position{
			{Path: "Observation.id", Grammar: gate.OwnCode(12)}, {Path: "Observation.code.text", Grammar: gate.Any()}, {Path: "Observation.valueInteger", Grammar: gate.Number(0, 27, true)}}},
			func(text string) string {
				return `{"resourceType":"Observation","id":"0123456789ab","code":{"text":"` + escaped(text) + "\"},\"valueInteger\":12}\n"
			}},
		"CSV": {gate.Spec{Format: gate.CSV, Positions: positions(as)},
			func(text string) string { return "0123456789ab," + quoted(oneLine.Replace(text)) + ",12\n" }},
		"delimited layout": {gate.Spec{Format: gate.Laid, Positions: positions(as), Layout: &gate.Layout{Delimiter: '|', Quotes: gate.QuotesAlways, LineEnd: "\r\n"}},
			func(text string) string { return `"0123456789ab"|` + quoted(oneLine.Replace(text)) + "|\"12\"\r\n" }},
		"fixed width": {gate.Spec{Format: gate.Laid, Positions: positions(gate.InWidth), Layout: &gate.Layout{LineEnd: "\n"}},
			func(text string) string {
				return fmt.Sprintf("0123456789ab%-*s12\n", openWidth-len(oneLine.Replace(text))+len([]rune(oneLine.Replace(text))), oneLine.Replace(text))
			}},
	}
}

// planted is a row in the spool and what it holds.
type planted struct{ kind, value, disguise, text string }

// Every value of every kind, in every disguise and in every form of rows, put
// into the spool behind the engine and read from it as the seal pass does, is
// found where it stands; and so is each that lies across a boundary of the
// spool's pages.
func TestEveryLeakIsFound(t *testing.T) {
	kinds, roster := peopleLeaks(t)
	maps.Copy(kinds, patternLeaks())
	for name, form := range rowForms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := newSpill(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			spool := newPartSpool("notes", false, nil, s, false)
			var plants []planted
			add := func(subject int, p planted) {
				plants = append(plants, p)
				if err := spool.add(&row{subject: consent.Subject(subject), bytes: []byte(form.row(p.text))}); err != nil {
					t.Fatal(err)
				}
			}
			for _, kind := range slices.Sorted(maps.Keys(kinds)) {
				l := kinds[kind]
				for i, value := range l.values {
					subject := leaksOfAKind // nobody's value is this person's own
					if l.own {
						subject = i
					}
					for disguise, put := range disguises {
						if name == escapedForm && disguise != "as it is" && disguise != "in capitals" && disguise != "full width" && disguise != "base64" {
							continue
						}
						text := value
						if !l.whole {
							text = "pt " + value + " seen"
						}
						if l.whole && (strings.HasSuffix(disguise, "sentence") || strings.HasSuffix(disguise, "path") || strings.HasSuffix(disguise, "URI") ||
							len(value) < 4 && strings.Contains(disguise, "base64")) {
							continue // three letters are looked for in no encoding
						}
						add(subject, planted{kind, value, disguise, put(text, i)})
					}
					if l.whole || name == escapedForm {
						continue
					}
					add(subject, planted{kind, value, "alone", value})
					for disguise, put := range moreDisguises {
						add(subject, planted{kind, value, disguise, put(value, i)})
					}
					// So much before it that a page of the spool ends within it.
					const page = 1024
					at := len(spool.buckets[0].rows) + rowHeader + strings.Index(form.row("~"), "~") + 2 + i%(len(value)-1)
					add(subject, planted{kind, value, "across a page", strings.Repeat("fine ", page/5+1)[:page-at%page] + " " + value})
				}
			}
			judgePlanted(t, form.spec, roster, spool, plants)
		})
	}
}

// judgePlanted has the gate judge each row of the spool, and counts.
func judgePlanted(t *testing.T, spec gate.Spec, roster *gate.Roster, spool *partSpool, plants []planted) {
	t.Helper()
	spec.RecordNumbers = []string{"MRN-999999", "h999999"}
	guard, err := gate.New(spec, roster)
	if err != nil {
		t.Fatal(err)
	}
	position, found, met := spec.Positions[1].Path, map[string]int{}, 0
	missed := map[string][]string{}
	var b rowBatch
	for next := spool.reader(); ; {
		if err := next(&b); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.rows {
			one := sealBatch{rowBatch: rowBatch{rows: b.rows[i : i+1]}}
			one.judge(&Run{}, guard)
			p := plants[met]
			met++
			if len(one.hits) == 0 || one.hits[0].hits[0].Position != position || one.hits[0].hits[0].Rule == gate.RuleUnparseable {
				missed[p.kind+", "+p.disguise] = append(missed[p.kind+", "+p.disguise], fmt.Sprintf("%q: %v", p.text, one.hits))
			} else {
				found[p.kind]++
			}
		}
	}
	for _, which := range slices.Sorted(maps.Keys(missed)) {
		t.Errorf("%s: %d missed, such as %s", which, len(missed[which]), missed[which][0])
	}
	distinct := map[string]map[string]bool{}
	for _, p := range plants {
		if distinct[p.kind] == nil {
			distinct[p.kind] = map[string]bool{}
		}
		distinct[p.kind][p.value] = true
	}
	for kind, values := range distinct {
		if len(values) < 50 || found[kind] < 3*50 {
			t.Errorf("%s: only %d values, found %d times", kind, len(values), found[kind])
		}
	}
	if met != len(plants) || len(distinct) < 50 {
		t.Errorf("%d of %d rows judged, of %d kinds", met, len(plants), len(distinct))
	}
	t.Logf("%d leaks of %d kinds", met, len(found))
}

// The same rows pass with what identifies nobody, so that a hit says something.
func TestNothingIsFoundInHarmlessText(t *testing.T) {
	_, roster := peopleLeaks(t)
	all := maps.Clone(disguises)
	maps.Copy(all, moreDisguises)
	for name, form := range rowForms() {
		guard, err := gate.New(form.spec, roster)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			"White matter, young for the age; may improve, hope expressed", "PHQ-9 score 44261-6 of 2025 is 12 of 27", "313182004 at 10:15:00", "CPT 99213, H0031 and F32.1",
			"room 4261, bed 3, object 2.16.840.1.113883.6.238", "over 12 weeks, 3/4 better",
		} {
			for disguise, put := range all {
				for n := range 20 {
					if hit := guard.Row([]byte(form.row(put(text, n))), []uint32{leaksOfAKind}); hit != nil {
						t.Errorf("%s, %s: %q: %v", name, disguise, put(text, n), hit)
					}
				}
			}
		}
	}
}

// In a row that is about somebody each value of another person, and each of a
// pattern, is a leak where the person's own would be none; so it is in place of
// a member, a column or a header.
func TestAnotherPersonsValueIsALeak(t *testing.T) {
	kinds, roster := peopleLeaks(t)
	own := map[string]gate.Grammar{
		"family name": gate.OwnIdentifier(gate.Name), "street": gate.OwnIdentifier(gate.StreetAddress), "town": gate.OwnTown(), "ZIP code of the roster": gate.OwnPostcode(),
		"telephone of the roster": gate.OwnIdentifier(gate.Phone), "birth date": gate.OwnIdentifier(gate.BirthDate), "resource id": gate.OwnIdentifier(gate.RecordNumber),
		"record number": gate.OwnIdentifier(gate.RecordNumber, gate.Other), "record number in digits": gate.OwnIdentifier(gate.RecordNumber, gate.Other),
	}
	forms := rowForms()
	names := slices.Sorted(maps.Keys(forms))
	stopped := 0
	for _, kind := range slices.Sorted(maps.Keys(own)) {
		for _, name := range names {
			form := forms[name]
			grammar := own[kind]
			if form.spec.Layout != nil && form.spec.Layout.Delimiter == 0 {
				grammar = gate.InWidth(openWidth, grammar)
			}
			spec := form.spec
			spec.Positions = slices.Clone(spec.Positions)
			spec.Positions[1].Grammar = grammar
			guard, err := gate.New(spec, roster)
			if err != nil {
				t.Fatal(err)
			}
			must := func(text string, i int, passes bool) {
				t.Helper()
				if hit := guard.Row([]byte(form.row(text)), []uint32{uint32(i)}); (hit == nil) != passes {
					t.Errorf("%s, %s: %q: %v", name, kind, text, hit)
				}
				stopped++
			}
			values := kinds[kind].values
			for i, value := range values {
				must(value, i, true)
				must(values[(i+1)%len(values)], i, false)
				for other, leaks := range kinds {
					if other != kind && leaks.values[i] != value {
						must(leaks.values[i], (i+1)%leaksOfAKind, false)
					}
				}
			}
		}
	}
	if stopped < 9*5*leaksOfAKind*40 {
		t.Errorf("only %d rows", stopped)
	}
	for kind, leaks := range kinds {
		for _, value := range leaks.values {
			for name, text := range map[string]string{
				"NDJSON": `{"resourceType":"Observation","` + value + `":1}`, "NDJSON, all escaped": `{"resourceType":"Observation","valueInteger":12}` + value,
				"CSV": "0123456789ab,,12," + value, "delimited layout": value + `|"0123456789ab"|""|"12"` + "\r\n", "fixed width": "0123456789ab" + fmt.Sprintf("%*s", openWidth, "") + "12" + value + "\n",
			} {
				guard, err := gate.New(forms[name].spec, roster)
				if err != nil {
					t.Fatal(err)
				}
				if guard.Row([]byte(text), nil) == nil || guard.Header([]byte(value+"\n")) == nil || guard.Trailer([]byte(value+"\n")) == nil {
					t.Errorf("%s: a %s passes for a member, column, header or trailer", name, kind)
				}
			}
		}
	}
}

// Where codes and coded words stand, what cannot be one of them is found, plain
// or encoded. What a code may be is not: a common word, a town, a ZIP code, a
// short number; nine and more digits without a mark, unless they are somebody's
// of this extract; a date of two-digit year.
func TestLeaksAmongCodes(t *testing.T) {
	kinds, roster := peopleLeaks(t)
	patterns := patternLeaks()
	maps.Copy(kinds, patterns)
	maps.DeleteFunc(kinds, func(kind string, l leak) bool {
		return l.own || l.whole || kind == "age of 90 and more" || kind == "ZIP code" || kind == "record number of six digits"
	})
	for name, grammar := range map[string]gate.Grammar{"code": gate.CodeToken(), "term": gate.Term(), "reference": gate.Reference("Encounter")} {
		guard, err := gate.New(gate.Spec{Format: gate.CSV, RecordNumbers: []string{"MRN-999999", "H999999"}, Positions: []gate.Position{{Path: "v", Grammar: grammar}, {Path: "end", Grammar: gate.Boolean()}}}, roster)
		if err != nil {
			t.Fatal(err)
		}
		for kind, l := range kinds {
			for i, value := range l.values {
				if pattern := patterns[kind].values != nil; pattern && (len(value) > 8 && len(strings.Trim(value, "0123456789")) == 0 && kind != "provider number" || kind == "date" && len(value) < 9 && strings.Count(value, "/") == 2) {
					continue
				}
				if name != "term" {
					value = strings.NewReplacer(" ", "-", ",", "").Replace(value)
				}
				for how, put := range map[string]func(string, int) string{
					"as it is": disguises["as it is"], "in capitals": disguises["in capitals"], "in small letters": disguises["in small letters"], "base64": disguises["base64, no padding"],
				} {
					text := put(value, i)
					if name == "reference" {
						text = "Encounter/" + text
					}
					if hit := guard.Row([]byte(`"`+text+`",true`), []uint32{uint32(i)}); hit == nil && len(text) <= 64 && (how != "base64" || len(value) > 8) { // less resembles a pattern by chance
						t.Errorf("%s, %s, %s: %q passes", name, kind, how, text)
					}
				}
			}
		}
	}
}
