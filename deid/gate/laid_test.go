package gate

import (
	"strings"
	"testing"
)

func nobody() *Roster {
	r := NewRoster(0)
	r.Freeze()
	return r
}

// laidGate knows two people and the layout of a member file, delimited or of
// fixed widths.
func laidGate(t *testing.T, l *Layout, wide bool) *Gate {
	t.Helper()
	r := NewRoster(2)
	for i, values := range []map[Kind]string{
		{MemberNumber: "AC0000417", Name: "Okonkwo", BirthDate: "1984-11-30", Postcode: "06390", Other: "00417", SSN: "219-09-9999"},
		{MemberNumber: "AC0000988", Name: "Castellanos", BirthDate: "1971-03-05", Postcode: "10027"},
	} {
		for kind, value := range values {
			if err := r.Add(uint32(i), kind, []byte(value)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.Freeze()
	in := func(width int, g Grammar) Grammar {
		if wide {
			return InWidth(width, g)
		}
		return g
	}
	number := Number(0, 200, true)
	if wide {
		number = ZeroFilled(3, number)
	}
	spec := Spec{Format: Laid, ExactDates: true, Layout: l, Positions: []Position{
		{"plan", in(4, Constant("CLV1"))}, {"member", in(12, OwnIdentifier(MemberNumber))}, {"born", in(10, OwnDateIn("MM/DD/YYYY", BirthDate))},
		{"seen", in(8, DateIn("YYYYMMDD"))}, {"sex", in(1, Mapped("F", "M", "U"))}, {"none", in(2, Nothing())}, {"tin", in(9, Listed("061234567"))},
		{"code", in(10, CodeToken())}, {"score", number},
	}}
	if l.Trailer != nil {
		l.Trailer = []Position{{"t1", in(3, Constant("TRL"))}, {"t2", in(4, Count())}, {"t3", in(6, Sum())}}
	}
	if l.Header != nil {
		l.Header = []Position{{"h1", in(3, Constant("HDR"))}, {"h2", in(6, Constant("A, \"B"))}}
	}
	return newGate(t, spec, r)
}

// Whatever is put into a row behind the engine, in the wrong column, in another
// form or one more, stops it; the row itself passes.
func TestPlantedInLayouts(t *testing.T) {
	right := []string{"CLV1", "AC0000417", "11/30/1984", "20260107", "F", "", "061234567", "44261-6", "18"}
	wrong := []struct {
		at     int
		values []string
	}{
		{0, []string{"", "CLV2", "clv1", "CLV", "AC0000417"}},
		{1, []string{"AC0000988", "Okonkwo", "219-09-9999", "11/30/1984"}},
		{2, []string{"03/05/1971", "1984-11-30", "11/30/84", "11/31/1984", "30/11/1984", "AC0000417"}},
		{3, []string{"2026-01-07", "20260230", "202601", "20260107T1", "11/30/1984", "219099999"}},
		{4, []string{"", "f", "X", "1"}},
		{5, []string{"x", "0", "F"}},
		{6, []string{"987654321", "219099999", "61234567", "AC0000417"}},
		{7, []string{"Okonkwo", "219-09-9999", "AC0000988", "Castellanos", "a b"}},
		{8, []string{"201", "-1", "1.5", "ab", "417", "2190999"}},
	}
	for name, c := range map[string]struct {
		layout Layout
		line   func(cells []string) (string, bool)
	}{
		"comma": {Layout{Delimiter: ',', LineEnd: "\r\n"}, func(cells []string) (string, bool) { return strings.Join(cells, ",") + "\r\n", true }},
		"bar":   {Layout{Delimiter: '|', Quotes: QuotesNever, LineEnd: "\n", ASCII: true}, func(cells []string) (string, bool) { return strings.Join(cells, "|") + "\n", true }},
		"tab":   {Layout{Delimiter: '\t', Quotes: QuotesAlways, LineEnd: "\n"}, func(cells []string) (string, bool) { return `"` + strings.Join(cells, "\"\t\"") + "\"\n", true }},
		"fixed": {Layout{LineEnd: "\r\n", ASCII: true}, func(cells []string) (string, bool) {
			var line strings.Builder
			for i, width := range []int{4, 12, 10, 8, 1, 2, 9, 10, 3} {
				cell := cells[i]
				if i == 8 && len(cell) < width {
					cell = strings.Repeat("0", width-len(cell)) + cell
				}
				if len(cell) > width {
					return "", false
				}
				line.WriteString(cell + strings.Repeat(" ", width-len(cell)))
			}
			return line.String() + "\r\n", true
		}},
	} {
		g := laidGate(t, &c.layout, name == "fixed")
		line, _ := c.line(right)
		if hit := g.Row([]byte(line), []uint32{0}); hit != nil {
			t.Fatalf("%s: %v", name, hit)
		}
		if hit := g.Row([]byte(line), []uint32{1}); hit == nil {
			t.Errorf("%s: another person's row passes", name)
		}
		for _, w := range wrong {
			for _, value := range w.values {
				cells := append([]string(nil), right...)
				cells[w.at] = value
				line, fits := c.line(cells)
				if hit := g.Row([]byte(line), []uint32{0}); fits && hit == nil {
					t.Errorf("%s: %q passes in column %d", name, value, w.at)
				}
			}
		}
		for _, odd := range []string{
			strings.TrimSuffix(line, c.layout.LineEnd), line[1:], line + " ", line + line, "x" + line, "\n" + line, "",
			strings.Replace(line, "44261-6", "44261\x006", 1), strings.Replace(line, "F", "\xff", 1), strings.Replace(line, "18", "18 ", 1) + "x",
		} {
			if hit := g.Row([]byte(odd), []uint32{0}); hit == nil {
				t.Errorf("%s: %q passes", name, odd)
			}
		}
		if hit := g.Row([]byte(line), []uint32{0}); hit != nil {
			t.Errorf("%s: the row no longer passes: %v", name, hit)
		}
	}
}

// Quotes stand exactly where the layout has them.
func TestQuotesOfLayouts(t *testing.T) {
	for _, c := range []struct {
		quotes Quotes
		passes string // with blanks between lines
		stops  string
	}{
		{QuotesWhereNeeded, "a,b a, \"x,y\",b \"x\"\"y\",b ,\"\"\"\"", "\"a\",b a,b,c a x\"y,b \"a,b \"a\"b,c \"a\"x,b a,\"\" \"a\",\"b\""},
		{QuotesAlways, "\"a\",\"b\" \"\",\"\" \"x,y\",\"\"\"\"", "a,b \"a\",b \"a\", \"a\",\"b\",\"c\" \"a\""},
		{QuotesNever, "a,b , a,", "\"a\",b a\"b,c a,b,c a \"x,y\",b"},
	} {
		g := newGate(t, Spec{Format: Laid, Layout: &Layout{Delimiter: ',', Quotes: c.quotes, LineEnd: "\n"}, Positions: []Position{{"a", Any()}, {"b", Any()}}}, nobody())
		for i, lines := range []string{c.passes, c.stops} {
			for _, line := range strings.Split(lines, " ") {
				if hit := g.Row([]byte(line+"\n"), nil); (hit == nil) != (i == 0) {
					t.Errorf("%v: %q: %v", c.quotes, line, hit)
				}
			}
		}
	}
	// One column that is empty stands in quotes, or its line would be none.
	g := newGate(t, Spec{Format: Laid, Layout: &Layout{Delimiter: ',', LineEnd: "\n"}, Positions: []Position{{"a", Any()}}}, nobody())
	if g.Row([]byte("\"\"\n"), nil) != nil || g.Row([]byte("\n"), nil) == nil {
		t.Error("an empty line is taken for a row, or an empty row for none")
	}
}

// Header, mark and trailer are what was declared, and stand where it was.
func TestAroundTheRows(t *testing.T) {
	delimited := laidGate(t, &Layout{Delimiter: ',', LineEnd: "\n", BOM: true, Header: []Position{{}}, Trailer: []Position{{}}}, false)
	fixed := laidGate(t, &Layout{LineEnd: "\n", Header: []Position{{}}, Trailer: []Position{{}}}, true)
	none := laidGate(t, &Layout{Delimiter: ',', LineEnd: "\n"}, false)
	plain := newGate(t, Spec{Format: NDJSON, Positions: []Position{{"X.a", Any()}}}, nobody())
	for _, c := range []struct {
		g       *Gate
		header  bool
		line    string
		passes  bool
		comment string
	}{
		{delimited, true, "\ufeffHDR,\"A, \"\"B\"\n", true, "header"},
		{delimited, true, "HDR,\"A, \"\"B\"\n", false, "no mark"},
		{delimited, true, "\ufeff\ufeffHDR,\"A, \"\"B\"\n", false, "two marks"},
		{delimited, true, "\ufeffHDR,AC0000417\n", false, "a number in the header"},
		{delimited, true, "\ufeff", false, "no header"},
		{delimited, false, "TRL,12,46.5\n", true, "trailer"},
		{delimited, false, "TRL,0,-3\n", true, "trailer of nothing"},
		{delimited, false, "TRL,012,46\n", false, "a count with zeros"},
		{delimited, false, "TRL,12,\n", false, "no sum"},
		{delimited, false, "TRL,12,AC0000417\n", false, "a member number as sum"},
		{delimited, false, "TRX,12,46\n", false, "another constant"},
		{delimited, false, "TRL,12,46\nTRL,12,46\n", false, "two trailers"},
		{delimited, false, "", false, "no trailer"},
		{fixed, true, "HDRA, \"B \n", true, "fixed header"},
		{fixed, true, "HDR\n", false, "short header"},
		{fixed, false, "TRL12  46.5  \n", true, "fixed trailer"},
		{fixed, false, "TRL12  46.5   \n", false, "long trailer"},
		{none, true, "", true, "nothing"},
		{none, true, "x\n", false, "a header that none declared"},
		{none, false, "", true, "nothing"},
		{none, false, "TRL,12,46\n", false, "a trailer that none declared"},
		{plain, false, "", true, "nothing"},
		{plain, false, "TRL\n", false, "a trailer of FHIR"},
	} {
		judge := c.g.Trailer
		if c.header {
			judge = c.g.Header
		}
		if hit := judge([]byte(c.line)); (hit == nil) != c.passes {
			t.Errorf("%s: %v", c.comment, hit)
		}
	}
}

// A date in a form is a day of the calendar, and in that form only.
func TestDatesInForms(t *testing.T) {
	days := map[string]string{"YYYY-MM-DD": "2026-02-03", "YYYYMMDD": "20260203", "MM/DD/YYYY": "02/03/2026", "M/D/YYYY": "2/3/2026", "YYYY": "2026"}
	for form := range days {
		g := newGate(t, Spec{Format: CSV, Positions: []Position{{"d", DateIn(form)}}}, nobody())
		for other, text := range days {
			if hit := g.Row([]byte(text+"\n"), nil); (hit == nil) != (form == other) {
				t.Errorf("%s: %s: %v", form, text, hit)
			}
		}
		for _, text := range []string{"2026-02-30", "20260230", "02/30/2026", "2/30/2026", "13/1/2026", "0/1/2026", "/1/2026", "1//2026", "2/3/26", "2/3", "02/3/2026", "123/4/2026", "20x6", "2026-02-03T10:00", "2/3/2026 ", "x2/3/2026"} {
			if hit := g.Row([]byte(text+"\n"), nil); hit == nil {
				t.Errorf("%s: %s passes", form, text)
			}
		}
	}
	r := NewRoster(1)
	if err := r.Add(0, BirthDate, []byte("1984-11-03")); err != nil {
		t.Fatal(err)
	}
	r.Freeze()
	for form, text := range map[string]string{"YYYY-MM-DD": "1984-11-03", "YYYYMMDD": "19841103", "MM/DD/YYYY": "11/03/1984", "M/D/YYYY": "11/3/1984", "YYYY": "1984"} {
		g := newGate(t, Spec{Format: CSV, ExactDates: true, Positions: []Position{{"d", OwnDateIn(form, BirthDate)}}}, r)
		if hit := g.Row([]byte(text+"\n"), []uint32{0}); hit != nil {
			t.Errorf("%s: %v", form, hit)
		}
		if hit := g.Row([]byte(text+"\n"), []uint32{1}); (hit == nil) != (form == "YYYY") {
			t.Errorf("%s of another person: %v", form, hit)
		}
	}
}

// Zeros before a value do not hide it from the roster.
func TestZerosHideNothing(t *testing.T) {
	r := NewRoster(1)
	if err := r.Add(0, RecordNumber, []byte("87654321")); err != nil {
		t.Fatal(err)
	}
	r.Freeze()
	for name, grammar := range map[string]Grammar{"any": Any(), "code": CodeToken(), "number": Number(0, 1e12, true)} {
		g := newGate(t, Spec{Format: Laid, Layout: &Layout{LineEnd: "\n"}, Positions: []Position{{"n", ZeroFilled(12, grammar)}}}, r)
		if hit := g.Row([]byte("000087654321\n"), []uint32{0}); hit == nil {
			t.Errorf("%s: the record number passes behind zeros", name)
		}
		if hit := g.Row([]byte("000000000042\n"), []uint32{0}); hit != nil {
			t.Errorf("%s: %v", name, hit)
		}
	}
	g := newGate(t, Spec{Format: Laid, Layout: &Layout{LineEnd: "\n"}, Positions: []Position{{"n", ZeroFilled(3, Closed("1", "061"))}}}, r)
	for line, passes := range map[string]bool{"001": true, "061": true, "   ": true, "1  ": false, "  1": false, "002": false, "000": false, "61 ": false} {
		if hit := g.Row([]byte(line+"\n"), nil); (hit == nil) != passes {
			t.Errorf("%q: %v", line, hit)
		}
	}
}

// A value stands in the column of its own code only, whichever column comes
// first; where no column holds the code, its own grammar is all there is.
func TestColumnsOfOneCode(t *testing.T) {
	score := func(other string, column int, is string) Grammar {
		return Bound(When{Else: other, Column: column, Is: is}, Number(0, 27, true))
	}
	of := func(l *Layout, in func(int, Grammar) Grammar, column int) *Gate {
		return newGate(t, Spec{Format: Laid, Layout: l, Positions: []Position{
			{"phq", in(2, score("", column, "44261-6"))}, {"code", in(7, Closed("44261-6", "70274-6", "55758-7"))}, {"gad", in(2, score("-", column, "70274-6"))},
		}}, nobody())
	}
	bars := &Layout{Delimiter: '|', Quotes: QuotesNever, LineEnd: "\n"}
	wide := &Layout{LineEnd: "\n"}
	plain := func(_ int, g Grammar) Grammar { return g }
	for _, c := range []struct{ line, rule, unseen string }{
		{"18|44261-6|-", "", ""},
		{"  |44261-6|- ", "", ""}, // the value is missing
		{"  |70274-6|12", "", ""},
		{"  |70274-6|  ", "", ""},
		{"  |55758-7|- ", "", ""},
		{"18|70274-6|12", RuleElsewhere, ""},
		{"18|55758-7|- ", RuleElsewhere, ""},
		{"18|       |- ", RuleElsewhere, ""},
		{"18|44261-6|12", RuleElsewhere, ""},
		{"18|44261-6|  ", RuleElsewhere, ""}, // it says nothing instead of the word for it
		{"- |44261-6|- ", RuleGrammar, RuleGrammar},
		{"99|44261-6|- ", RuleGrammar, RuleGrammar},
	} {
		narrow, fixed := strings.ReplaceAll(c.line, " ", "")+"\n", strings.ReplaceAll(c.line+" ", "|", "")[:11]+"\n"
		for _, at := range []struct {
			g    *Gate
			line string
			want string
		}{{of(bars, plain, 1), narrow, c.rule}, {of(wide, InWidth, 1), fixed, c.rule}, {of(bars, plain, -1), narrow, c.unseen}, {of(wide, InWidth, -1), fixed, c.unseen}} {
			got := ""
			if hit := at.g.Row([]byte(at.line), nil); hit != nil {
				got = hit.Rule
			}
			if got != at.want {
				t.Errorf("%q: %q, want %q", at.line, got, at.want)
			}
		}
	}
}
