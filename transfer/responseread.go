package transfer

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a response file, which is written by others.
const (
	MaxResponse     = 256 << 20
	maxResponseLine = 64 << 10
)

var (
	rowKeyPattern = regexp.MustCompile(`^[0-9a-z]{8,40}$`)
	countPattern  = regexp.MustCompile(`^[0-9]{1,12}$`)
)

// ResponseError is why a response file cannot be taken. It shows nothing of
// what stands in the file.
type ResponseError struct {
	File string
	Line int64 // 0: the file as a whole
	Why  string
}

func (e *ResponseError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Why
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Why)
}

// Read reads a response file of the given name to its end, strictly, and tells
// of each row that it answers. What is wrong with the file is a ResponseError;
// then what was told before it counts for nothing, but that it is partial.
func (f *ResponseFile) Read(name string, from io.Reader, row func(RowAnswer) error) (*Statement, error) {
	r := &responseReader{ResponseFile: f, name: name, row: row, said: new(Statement)}
	if f.Says != "" {
		r.said.Verdict = Verdict(slices.Index(verdictNames, f.Says))
		return r.said, nil
	}
	lines := bufio.NewScanner(io.LimitReader(from, MaxResponse+1))
	lines.Buffer(nil, maxResponseLine)
	lines.Split(r.split)
	for lines.Scan() {
		if err := r.take(lines.Bytes()); err != nil {
			return r.said, err
		}
	}
	r.line++
	r.said.Partial = !r.ended && (r.said.Partial || f.Last != "" || r.header < f.Header || r.rows == 0 && !f.ListsRefused())
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return r.said, r.fault("the line is longer than %d bytes", maxResponseLine)
	case err != nil:
		return r.said, fmt.Errorf("read %s: %w", name, err)
	case r.size > MaxResponse:
		return r.said, &ResponseError{name, 0, fmt.Sprintf("it is longer than %d bytes", MaxResponse)}
	case f.Last != "" && !r.ended:
		return r.said, r.fault("the file ends before the line that ends it: it is not whole")
	case r.header < f.Header:
		return r.said, r.fault("the file ends before its header does")
	case r.rows == 0 && !f.ListsRefused():
		return r.said, r.fault("the file ends and has answered nothing")
	}
	return r.said, nil
}

type responseReader struct {
	*ResponseFile
	name   string
	row    func(RowAnswer) error
	said   *Statement
	line   int64
	size   int64
	header int
	names  []string // of the columns
	width  int      // cells of a row; 0 before the first
	rows   int64
	ended  bool
	csv    *csv.Reader    // of all lines
	text   strings.Reader // the line that it is to read
}

func (r *responseReader) fault(why string, args ...any) error {
	return &ResponseError{r.name, r.line, fmt.Sprintf(why, args...)}
}

// split cuts at the line end. The last line may lack it.
func (r *responseReader) split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	end := byte('\n')
	if r.LineEnd != "" {
		end = r.LineEnd[0]
	}
	if i := bytes.IndexByte(data, end); i >= 0 {
		r.size += int64(i + 1)
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		r.said.Partial = len(bytes.TrimSpace(data)) > 0
		r.size += int64(len(data))
		return len(data), data, nil
	}
	return 0, nil, nil
}

func (r *responseReader) take(text []byte) error {
	if r.line++; r.line == 1 {
		text = bytes.TrimPrefix(text, []byte("\uFEFF"))
	}
	line := strings.Trim(string(text), "\r\n")
	switch {
	case !utf8.ValidString(line):
		return r.fault("the line is no UTF-8")
	case r.header < r.Header:
		return r.heading(line)
	case strings.TrimSpace(line) == "":
		return nil
	case r.ended:
		return r.fault("a line stands after the one that ends the file")
	case r.Last != "" && strings.HasPrefix(line, r.Last):
		r.ended = true
		return nil
	}
	cells, err := r.cells(line)
	if err != nil {
		return err
	}
	if r.Only != "" && (r.Format == fixedWidth && !strings.HasPrefix(line, r.Only) || r.Format != fixedWidth && cells[0] != r.Only) {
		return nil
	}
	if r.width == 0 {
		r.width = len(cells)
	}
	if r.Format != fixedWidth && r.Only == "" && len(cells) != r.width {
		return r.fault("the line has %d cells, those before it %d", len(cells), r.width)
	}
	r.rows++
	return r.answer(line, cells)
}

func (r *responseReader) heading(line string) error {
	if r.header++; r.header < r.Header || r.Format == fixedWidth {
		return nil
	}
	names, err := r.cells(line)
	for _, column := range []string{r.Key, r.Code, r.Accepted, r.Rejected} {
		if err != nil || column == "" || numberPattern.MatchString(column) {
			continue
		}
		if at := slices.Index(names, column); at < 0 || slices.Contains(names[at+1:], column) {
			err = r.fault("the header does not name the column %s once", column)
		}
		r.width = len(names)
	}
	r.names = slices.Clone(names)
	return err
}

// cells are those of a line, without blanks around them.
func (r *responseReader) cells(line string) ([]string, error) {
	delimiter := ","
	if r.Delimiter != "" {
		delimiter = r.Delimiter
	}
	var cells []string
	switch r.Format {
	case fixedWidth:
		return nil, nil
	case delimited:
		cells = strings.Split(line, delimiter)
	default:
		if r.csv == nil {
			r.csv = csv.NewReader(&r.text)
			r.csv.Comma, _ = utf8.DecodeRuneInString(delimiter)
			r.csv.FieldsPerRecord, r.csv.ReuseRecord = -1, true
		}
		r.text.Reset(line + "\n") // a quote that stays open meets the end
		var err error
		if cells, err = r.csv.Read(); err != nil {
			return nil, r.fault("the quotes of its cells cannot be read") // csv's own words may quote nothing, but need not
		}
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	return cells, nil
}

// cell is what stands in a column of the line.
func (r *responseReader) cell(column, line string, cells []string) (string, error) {
	if r.Format == fixedWidth {
		place := rangePattern.FindStringSubmatch(column)
		from, to := number(place[1])-1, number(place[2])
		if to > len(line) {
			return "", r.fault("the line ends before column %s", column)
		}
		return strings.TrimSpace(line[from:to]), nil
	}
	at := number(column) - 1
	if !numberPattern.MatchString(column) {
		at = slices.Index(r.names, column)
	}
	if at < 0 || at >= len(cells) {
		return "", r.fault("the line has no column %s", column)
	}
	return cells[at], nil
}

func (r *responseReader) answer(line string, cells []string) error {
	if r.Kind() == CountResponse {
		return r.counts(line, cells)
	}
	answer := RowAnswer{Line: r.line}
	var err error
	if answer.Code, err = r.cell(r.Code, line, cells); err != nil {
		return err
	}
	verdict, known := r.Codes[answer.Code]
	if !known {
		return r.fault("its code is none that the configuration gives a meaning")
	}
	answer.Verdict = Verdict(slices.Index(verdictNames, verdict))
	r.said.Verdict = max(r.said.Verdict, answer.Verdict)
	if r.Key == "" {
		return nil
	}
	if answer.Key, err = r.cell(r.Key, line, cells); err != nil {
		return err
	}
	if !rowKeyPattern.MatchString(answer.Key) {
		return r.fault("what stands in column %s is no row key", r.Key)
	}
	return r.row(answer)
}

func (r *responseReader) counts(line string, cells []string) error {
	if r.rows > 1 {
		return r.fault("the file has more than one line of counts")
	}
	for _, c := range []struct {
		column string
		into   *int64
	}{{r.Accepted, &r.said.Accepted}, {r.Rejected, &r.said.Rejected}} {
		text, err := r.cell(c.column, line, cells)
		if err != nil {
			return err
		}
		if !countPattern.MatchString(text) {
			return r.fault("what stands in column %s is no count", c.column)
		}
		*c.into, _ = strconv.ParseInt(text, 10, 64) // of at most twelve digits
	}
	if r.said.Rejected > 0 {
		r.said.Verdict = Refused
	}
	return nil
}
