package transfer

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ResponseFile is how one kind of a recipient's own answers is named and read:
// a code for each row, counts for the whole drop, or one verdict on it.
type ResponseFile struct {
	// Match is the form of its name: * is any text, {exchange} the exchange's
	// id, {sender} the sender's code, {sequence} the drop's number with zeros
	// before it or without, {date} the day on which the drop was made, as
	// 20260705 or 2026-07-05, {file} the name of the one file that it answers, with
	// its endings or without some. Capitals make no difference.
	Match     string `yaml:"match,required"`
	Says      string `yaml:"says"`      // accepted or rejected: the name alone tells, nothing is read
	Format    string `yaml:"format"`    // csv, delimited, fixed-width
	Delimiter string `yaml:"delimiter"` // one character; a comma when empty
	LineEnd   string `yaml:"line_end"`  // one character; a line feed when empty
	Header    int    `yaml:"header"`    // lines before the first row; the last of them names the columns
	Only      string `yaml:"only"`      // rows are the lines that begin with it, or whose first cell is it
	Last      string `yaml:"last"`      // begins the last line, without which the file is not whole
	Lists     string `yaml:"lists"`     // all: each row of the drop; refused: rows that are not named were taken

	// Columns are a name, a number from 1, or FROM-TO in a fixed-width file.
	Key      string            `yaml:"key"`
	Code     string            `yaml:"code"`
	Accepted string            `yaml:"accepted"` // counts of rows, in place of codes
	Rejected string            `yaml:"rejected"`
	Codes    map[string]string `yaml:"codes"` // code → accepted, warning, rejected
}

// Verdict is what a recipient says of a row, or of a drop. They ascend.
type Verdict int

// A row with a warning was taken.
const (
	Taken Verdict = iota
	TakenWithWarning
	Refused
)

var verdictNames = []string{Accepted, "warning", Rejected}

func (v Verdict) String() string { return verdictNames[v] }

// RowAnswer is what a response file says of one row, on which line.
type RowAnswer struct {
	Line    int64
	Key     string
	Code    string
	Verdict Verdict
}

// Statement is what a response file says of the drop as a whole: the worst
// verdict that stands in it, and the counts of one that has them.
type Statement struct {
	Verdict            Verdict
	Accepted, Rejected int64
	Partial            bool // it ends in mid-line, or before what it must have: it may still be written
}

// Kinds of response files, the least telling first.
const (
	VerdictResponse = iota
	CountResponse
	RowResponse
)

// Kind tells how much a file of this kind says.
func (f *ResponseFile) Kind() int {
	switch {
	case f.Key != "":
		return RowResponse
	case f.Accepted != "" || f.Rejected != "":
		return CountResponse
	}
	return VerdictResponse
}

// ListsRefused tells whether rows that the file does not name were taken.
func (f *ResponseFile) ListsRefused() bool { return f.Lists == "refused" }

const (
	fixedWidth = "fixed-width"
	delimited  = "delimited"
)

var (
	tokenPattern  = regexp.MustCompile(`\{[^}]*\}|\*`)
	rangePattern  = regexp.MustCompile(`^([1-9][0-9]{0,4})-([1-9][0-9]{0,4})$`)
	numberPattern = regexp.MustCompile(`^[1-9][0-9]{0,3}$`)
)

var nameTokens = map[string]string{"*": `[ -.0-~]*`, "{sequence}": `0*(?P<sequence>[1-9][0-9]{0,14})`, "{date}": `(?P<date>[0-9]{4}-?[0-9]{2}-?[0-9]{2})`, "{file}": `(?P<file>[A-Za-z0-9][A-Za-z0-9._@+,=-]*)`}

// Answered is what the name of a response file tells of what it answers.
type Answered struct {
	Sequence int64  // of the drop; 0: not told
	Day      string // on which the drop was made, as 20060102
	About    string // what it calls the one file that it answers; "": it answers the drop
}

// Answers tells whether a file of this name answers a drop of the exchange, and
// which: by its number, its day, or one of its files.
func (f *ResponseFile) Answers(name, sender, exchange string) (told Answered, ok bool) {
	var form strings.Builder
	form.WriteString(`(?i)^`)
	at := 0
	for _, token := range tokenPattern.FindAllStringIndex(f.Match, -1) {
		form.WriteString(regexp.QuoteMeta(f.Match[at:token[0]]))
		switch t := f.Match[token[0]:token[1]]; t {
		case "{exchange}":
			form.WriteString(regexp.QuoteMeta(exchange))
		case "{sender}":
			form.WriteString(regexp.QuoteMeta(sender))
		default:
			form.WriteString(nameTokens[t])
		}
		at = token[1]
	}
	pattern, err := regexp.Compile(form.String() + regexp.QuoteMeta(f.Match[at:]) + `$`)
	if err != nil {
		return told, false
	}
	found := pattern.FindStringSubmatch(name)
	if found == nil {
		return told, false
	}
	if i := pattern.SubexpIndex("sequence"); i > 0 {
		told.Sequence, err = strconv.ParseInt(found[i], 10, 64)
	} else if i := pattern.SubexpIndex("date"); i > 0 {
		told.Day = strings.ReplaceAll(found[i], "-", "")
	}
	if i := pattern.SubexpIndex("file"); i > 0 {
		told.About = found[i]
	}
	return told, err == nil
}

// Check gives what is wrong with the definition: the member ("" for the whole),
// a hint, and why; why is empty when nothing is.
func (f *ResponseFile) Check() (member, hint, why string) {
	for _, token := range tokenPattern.FindAllString(f.Match, -1) {
		if nameTokens[token] == "" && token != "{exchange}" && token != "{sender}" {
			return "match", "tokens are {sender}, {exchange}, {sequence}, {date}, {file} and *", "unknown token " + token
		}
		if strings.Count(f.Match, token) > 1 && token != "*" {
			return "match", "write it once", token + " stands twice"
		}
	}
	switch {
	case !strings.Contains(f.Match, "{sequence}") && !strings.Contains(f.Match, "{date}") && !strings.Contains(f.Match, "{file}"):
		return "match", "write {sequence} where the drop's number stands, or {date}, or {file}", "the name does not tell which drop it answers"
	case strings.Contains(f.Match, "/"):
		return "match", "the folder stands under destination.…receipts", "a name has no folder"
	case f.Says != "":
		if f.Says != Accepted && f.Says != Rejected || f.Format != "" || f.Key+f.Code+f.Accepted+f.Rejected != "" {
			return "says", "write says: accepted or says: rejected and no format or columns, or leave it out", "what the name alone says is accepted or rejected"
		}
		return "", "", ""
	case f.Format != CSV && f.Format != delimited && f.Format != fixedWidth:
		return "format", "formats are csv, delimited and fixed-width; or write says: accepted or says: rejected", "unknown format of a response file"
	case utf8.RuneCountInString(f.Delimiter) > 1 || strings.ContainsAny(f.Delimiter, "\"\r\n\uFFFD"):
		return "delimiter", `write one character, such as "|"`, "no delimiter"
	case len(f.LineEnd) > 1:
		return "line_end", `write one character, such as "~"`, "no end of a line"
	case f.Header < 0 || f.Header > 1000:
		return "header", "write how many lines stand before the first row", "no number of lines"
	case f.Lists != "" && f.Lists != "all" && f.Lists != "refused":
		return "lists", "write all or refused", "unknown extent of a response file"
	case f.ListsRefused() && f.Header == 0 && f.Last == "":
		return "lists", "add header: 1 or last: TEXT", "an empty or half-written file would say that every row was taken"
	}
	return f.checkColumns()
}

func (f *ResponseFile) checkColumns() (member, hint, why string) {
	codes := f.Code != "" && len(f.Codes) > 0 && f.Accepted+f.Rejected == ""
	counts := f.Accepted != "" && f.Rejected != "" && f.Key+f.Code == "" && len(f.Codes) == 0
	if !codes && !counts {
		return "", "write code and codes, with a key when each row has a code; or accepted and rejected for counts", "it does not tell where the answer stands"
	}
	for _, c := range []struct{ member, column string }{{"key", f.Key}, {"code", f.Code}, {"accepted", f.Accepted}, {"rejected", f.Rejected}} {
		if c.column == "" {
			continue
		}
		place := rangePattern.FindStringSubmatch(c.column)
		if f.Format == fixedWidth && (place == nil || number(place[1]) > number(place[2])) {
			return c.member, "write FROM-TO, counted from 1, both included, such as 1-20", "no place in a fixed-width line"
		}
		if f.Format != fixedWidth && !numberPattern.MatchString(c.column) && f.Header == 0 {
			return c.member, "write the number of the column, from 1, or add header: 1", "a column has a name only where a header line tells it"
		}
	}
	for code, verdict := range f.Codes {
		if !slices.Contains(verdictNames, verdict) || strings.TrimSpace(code) != code {
			return "codes", "write CODE: accepted, warning or rejected", "unknown meaning of a code"
		}
	}
	return "", "", ""
}

func number(digits string) int {
	n, _ := strconv.Atoi(digits) // of at most five digits
	return n
}
