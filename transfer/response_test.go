package transfer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const rowA, rowB = "aaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb"

var cms = map[string]string{"00": "accepted", "10": "warning", "20": "rejected"}

var responses = map[string]*ResponseFile{
	"csv":    {Match: "{sender}_{sequence}_*.csv", Format: CSV, Header: 1, Key: "ROW_KEY", Code: "STATUS", Codes: cms},
	"pipe":   {Match: "{exchange}.{date}.txt", Format: "delimited", Delimiter: "|", Only: "D", Last: "T", Key: "2", Code: "3", Codes: cms},
	"fixed":  {Match: "{sequence}.rsp", Format: "fixed-width", Only: "D", Last: "TRL", Key: "2-21", Code: "22-23", Codes: cms},
	"errors": {Match: "{sequence}.err", Format: CSV, Header: 1, Lists: "refused", Key: "1", Code: "2", Codes: cms},
	"counts": {Match: "{sequence}.ctl", Format: CSV, Header: 1, Accepted: "LOADED", Rejected: "REFUSED"},
	"x12":    {Match: "{sequence}.999", Format: "delimited", Delimiter: "*", LineEnd: "~", Only: "AK9", Code: "2", Codes: map[string]string{"A": "accepted", "E": "warning", "R": "rejected"}},
	"name":   {Match: "{sequence}.acc", Says: "accepted"},
}

// What each file says, or why it cannot be taken; a fault is told by its line
// and shows nothing of what stands there.
func TestResponseFiles(t *testing.T) {
	for _, c := range []struct{ form, text, want string }{
		{"csv", "STATUS,NAME,ROW_KEY\n00,x," + rowA + "\r\n20,\"y, z\"," + rowB + "\n", "a=accepted/00 b=rejected/20: rejected 0 0"},
		{"csv", "\uFEFFSTATUS,NAME,ROW_KEY\n10,x," + rowA, "a=warning/10: warning 0 0"},
		{"csv", "STATUS,ROW_KEY\n99," + rowA + "\n", "f:2: its code is none"},
		{"csv", "STATUS,ROW_KEY\n00,Jane Doe\n", "f:2: what stands in column ROW_KEY is no row key"},
		{"csv", "STATUS,ROW_KEY\n00\n", "f:2: the line has 1 cells, those before it 2"},
		{"csv", "STATUS,STATUS,ROW_KEY\n", "f:1: the header does not name the column STATUS once"},
		{"csv", "STATUS,ROW_KEY\n00,\"Doe\" Jane\n", "f:2: the quotes"},
		{"csv", "STATUS,ROW_KEY\n00,\"Doe\nJane\"\n", "f:2: the quotes"},
		{"csv", "STATUS,ROW_KEY\n", "f:2: the file ends and has answered nothing"},
		{"csv", "", "f:1: the file ends before its header does"},
		{"csv", "STATUS,ROW_KEY\n00,\xff\n", "f:2: the line is no UTF-8"},
		{"csv", "STATUS,ROW_KEY\n" + strings.Repeat("0", maxResponseLine+1), "f:2: the line is longer"},
		{"pipe", "H|x\nD|" + rowA + "|00\nD|" + rowB + " |10|more\nT|2\n", "a=accepted/00 b=warning/10: warning 0 0"},
		{"pipe", "D|" + rowA + "|00\n", "f:2: the file ends before the line that ends it"},
		{"pipe", "T|0\nD|" + rowA + "|00\n", "f:2: a line stands after the one that ends the file"},
		{"pipe", "D|" + rowA + "\nT\n", "f:1: the line has no column 3"},
		{"fixed", "HDR 2026\nD" + rowA + "20\nD" + rowB + "00\nTRL2\n", "a=rejected/20 b=accepted/00: rejected 0 0"},
		{"fixed", "D" + rowA + "2\nTRL1\n", "f:1: the line ends before column 22-23"},
		{"errors", "key,code\n", ": accepted 0 0"},
		{"errors", "", "f:1: the file ends before its header does"},
		{"counts", "LOADED,REFUSED\n98,2\n", ": rejected 98 2"},
		{"counts", "LOADED,REFUSED\n98,0\n\n", ": accepted 98 0"},
		{"counts", "LOADED,REFUSED\n98,2\n1,0\n", "f:3: the file has more than one line of counts"},
		{"counts", "LOADED,REFUSED\n98,-2\n", "f:2: what stands in column REFUSED is no count"},
		{"x12", "ST*999*0001~\nAK1*HC*1~\nAK9*A*1*1*1~\nSE*4*0001~\n", ": accepted 0 0"},
		{"x12", "ST*999*0001~AK9*R*1*1*0~", ": rejected 0 0"},
		{"x12", "ST*999*0001~AK9*P*1*1*0~", "f:2: its code is none"},
		{"x12", "ST*999*0001~", "f:2: the file ends and has answered nothing"},
		{"name", "anything", ": accepted 0 0"},
	} {
		var rows []string
		said, err := responses[c.form].Read("f", strings.NewReader(c.text), func(a RowAnswer) error {
			rows = append(rows, fmt.Sprintf("%c=%s/%s", a.Key[0], a.Verdict, a.Code))
			return nil
		})
		got := ""
		if err != nil {
			if got = err.Error(); !errors.As(err, new(*ResponseError)) || strings.Contains(got, "Doe") {
				t.Errorf("%s %q: %v", c.form, c.text, err)
			}
		} else {
			got = fmt.Sprintf("%s: %s %d %d", strings.Join(rows, " "), said.Verdict, said.Accepted, said.Rejected)
		}
		if got != c.want && (err == nil || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s %.60q:\n got %s\nwant %s", c.form, c.text, got, c.want)
		}
	}
}

// A file that may still be written is told from one that is whole, right or wrong.
func TestPartialResponses(t *testing.T) {
	for _, c := range []struct {
		form, text string
		partial    bool
	}{
		{"csv", "", true},
		{"csv", "STATUS,ROW", true},
		{"csv", "STATUS,ROW_KEY\n", true},
		{"csv", "STATUS,ROW_KEY\n00," + rowA + "\n", false},
		{"csv", "STATUS,ROW_KEY\n00," + rowA, true},
		{"csv", "STATUS,ROW_KEY\n00," + rowA + "\n2", true},
		{"csv", "STATUS,ROW_KEY\n99," + rowA + "\n", false},
		{"csv", "STATUS,ROW_KEY\n99," + rowA + "\n2", false}, // its second line is wrong, whatever follows
		{"pipe", "D|" + rowA + "|00\n", true},
		{"pipe", "D|" + rowA + "|00\nT|1", false},
		{"errors", "key,code\n", false},
		{"errors", "key,code\n" + rowA + ",20", true},
		{"x12", "ST*999*0001~AK9*A*1*1*1~\n", false},
		{"x12", "ST*999*0001~AK9*A*1*1*1~SE*3", true},
		{"x12", "ST*999*0001~", true},
		{"name", "", false},
	} {
		said, _ := responses[c.form].Read("f", strings.NewReader(c.text), func(RowAnswer) error { return nil })
		if said.Partial != c.partial {
			t.Errorf("%s %q: partial is %v", c.form, c.text, said.Partial)
		}
	}
}

func TestNamesOfResponses(t *testing.T) {
	for _, c := range []struct {
		form, name string
		number     int64
		day        string
		ok         bool
	}{
		{"csv", "cv_42_x.csv", 42, "", true},
		{"csv", "CV_000042_2026.CSV", 42, "", true},
		{"csv", "cv_0_x.csv", 0, "", false},
		{"csv", "xx_42_x.csv", 0, "", false},
		{"csv", "cv_42_\x1b[2Jx.csv", 0, "", false},
		{"pipe", "x7.20260705.txt", 0, "20260705", true},
		{"pipe", "x7.2026-07-05.txt", 0, "20260705", true},
		{"pipe", "x8.20260705.txt", 0, "", false},
		{"pipe", "x7x20260705.txt", 0, "", false},
	} {
		if told, ok := responses[c.form].Answers(c.name, "cv", "x7"); told != (Answered{Sequence: c.number, Day: c.day}) || ok != c.ok {
			t.Errorf("%s: %+v %v", c.name, told, ok)
		}
	}
}

// The name of an answer may hold that of the file that it is about.
func TestResponseAboutAFile(t *testing.T) {
	for name, c := range map[string]struct{ match, about string }{
		"CV_PHQ_0001.csv.pgp.ack": {"{file}.ack", "CV_PHQ_0001.csv.pgp"}, "cv_phq_0001.ACK": {"{file}.ack", "cv_phq_0001"},
		"ACK-7-a.txt": {"ack-{sequence}-{file}.txt", "a"}, "ack-7-.hidden.txt": {"ack-{sequence}-{file}.txt", ""}, ".ack": {"{file}.ack", ""},
	} {
		f := ResponseFile{Match: c.match, Says: Accepted}
		if _, _, why := f.Check(); why != "" {
			t.Error(why)
		}
		if told, ok := f.Answers(name, "cv", "x7"); told.About != c.about || ok != (c.about != "") {
			t.Errorf("%s: %+v %v", name, told, ok)
		}
	}
}

func TestDefinitionsOfResponses(t *testing.T) {
	for name, f := range responses {
		if member, _, why := f.Check(); why != "" {
			t.Errorf("%s: %s: %s", name, member, why)
		}
	}
	for member, edits := range map[string][]func(*ResponseFile){
		"match": {func(f *ResponseFile) { f.Match = "x.csv" }, func(f *ResponseFile) { f.Match = "{sequence}{number}" },
			func(f *ResponseFile) { f.Match = "{sequence}{sequence}" }, func(f *ResponseFile) { f.Match = "a/{sequence}" }},
		"says":      {func(f *ResponseFile) { f.Says = "maybe" }, func(f *ResponseFile) { f.Says = "accepted" }},
		"format":    {func(f *ResponseFile) { f.Format = "xml" }},
		"delimiter": {func(f *ResponseFile) { f.Delimiter = "||" }, func(f *ResponseFile) { f.Delimiter = `"` }},
		"line_end":  {func(f *ResponseFile) { f.LineEnd = "\r\n" }},
		"header":    {func(f *ResponseFile) { f.Header = -1 }},
		"lists":     {func(f *ResponseFile) { f.Lists = "some" }, func(f *ResponseFile) { f.Lists, f.Header = "refused", 0 }},
		"key":       {func(f *ResponseFile) { f.Header = 0 }, func(f *ResponseFile) { f.Format = "fixed-width" }, func(f *ResponseFile) { f.Format, f.Key = "fixed-width", "9-3" }},
		"codes":     {func(f *ResponseFile) { f.Codes = map[string]string{"00": "fine"} }, func(f *ResponseFile) { f.Codes = map[string]string{" 00": "accepted"} }},
		"": {func(f *ResponseFile) { f.Code = "" }, func(f *ResponseFile) { f.Codes = nil },
			func(f *ResponseFile) { f.Accepted = "1" }, func(f *ResponseFile) { f.Key, f.Code, f.Codes, f.Accepted = "", "", nil, "1" }},
	} {
		for i, edit := range edits {
			f := *responses["csv"]
			edit(&f)
			if got, hint, why := f.Check(); got != member || why == "" || hint == "" {
				t.Errorf("%s %d: %q %q", member, i, got, why)
			}
		}
	}
}

// Whatever a recipient lays there: no panic, only rows that the definition
// lets through, and an error that shows nothing of the file.
func FuzzResponses(f *testing.F) {
	var names []string
	for name := range responses {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range names {
		f.Add(uint8(i), "STATUS,ROW_KEY\n00,"+rowA+"\n20,"+rowB+"\n")
		f.Add(uint8(i), "D|"+rowA+"|00\nT|1\n")
		f.Add(uint8(i), "D"+rowA+"20\nTRL")
		f.Add(uint8(i), "LOADED,REFUSED\n98,2\n")
		f.Add(uint8(i), "ST*999~AK9*A*1~")
	}
	f.Fuzz(func(t *testing.T, form uint8, text string) {
		r := responses[names[int(form)%len(names)]]
		last, worst := int64(0), Taken
		said, err := r.Read("f", strings.NewReader(text), func(a RowAnswer) error {
			if a.Line <= last || len(a.Key) < 8 || !strings.Contains(text, a.Key) || r.Codes[a.Code] != a.Verdict.String() {
				t.Errorf("row %+v", a)
			}
			last, worst = a.Line, max(worst, a.Verdict)
			return nil
		})
		if err != nil {
			if !errors.As(err, new(*ResponseError)) {
				t.Errorf("%v", err)
			}
			return
		}
		if r.Kind() == RowResponse && said.Verdict != worst || said.Accepted < 0 || said.Rejected < 0 {
			t.Errorf("said %+v of rows as bad as %s", said, worst)
		}
	})
}
