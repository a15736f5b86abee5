package gate

import (
	"bytes"
	"slices"
	"time"
	"unicode/utf8"
)

// Quotes says which cells of a delimited layout stand in double quotes.
type Quotes uint8

const (
	QuotesWhereNeeded Quotes = iota // exactly those that hold the delimiter or a double quote
	QuotesAlways
	QuotesNever
	quotesFree // any, as RFC 4180 §2 has them; those that hold a control character, too
)

// Layout is the shape of a part in the recipient's own layout. The grammars of its
// positions are InWidth or ZeroFilled where it has no delimiter.
type Layout struct {
	Delimiter byte // 0: columns are told by their width
	Quotes    Quotes
	LineEnd   string
	ASCII     bool
	BOM       bool
	Header    []Position // the cells of the first line; nil: there is none
	Trailer   []Position // the cells of the last line; nil: there is none
}

// When says that a column holds values of one code only.
type When struct {
	Else   string // what it holds in other rows
	Column int    // the column that holds the code, counted from 0; -1 when none does
	Is     string // the code, as that column holds it
}

// laid is a compiled Layout.
type laid struct {
	*Layout
	header, trailer []column
	lineEnd         []byte
	bound           bool      // some column holds values of one code only
	special         [256]bool // the delimiter, and what may not stand in a cell without quotes
}

var byteOrderMark = []byte("\uFEFF")

func (g *Gate) addLayout(l *Layout) {
	g.laid = &laid{Layout: l, lineEnd: []byte(l.LineEnd), bound: slices.ContainsFunc(g.columns, func(c column) bool { return c.when != nil })}
	for c := range ' ' {
		g.laid.special[c] = l.Quotes == quotesFree && c != '\t'
	}
	g.laid.special[l.Delimiter], g.laid.special['"'] = true, true
	for i := range l.Header {
		g.laid.header = append(g.laid.header, columnOf(&l.Header[i]))
	}
	for i := range l.Trailer {
		g.laid.trailer = append(g.laid.trailer, columnOf(&l.Trailer[i]))
	}
}

func columnOf(p *Position) column {
	return column{name: p.Path, when: p.Grammar.when, width: p.Grammar.width, always: p.Grammar.always, site: site{path: p.Path, judge: p.Grammar.judge}}
}

// headOf judges what stands before the rows: the mark and the header, as far as
// the layout has them, and nothing else.
func (g *Gate) headOf(head []byte) bool {
	if g.laid.BOM {
		var marked bool
		if head, marked = bytes.CutPrefix(head, byteOrderMark); !marked {
			return g.stop("", RuleUndeclared)
		}
	}
	return g.around(head, g.laid.header)
}

// around judges a header or trailer.
func (g *Gate) around(line []byte, columns []column) bool {
	if columns == nil {
		return len(line) == 0 || g.stop("", RuleUndeclared)
	}
	return g.readLaid(line, columns)
}

// Trailer judges what stands behind the rows: nothing, or the trailer that the
// layout declares.
func (g *Gate) Trailer(line []byte) *Hit {
	g.found, g.subjects = Hit{}, nil
	if g.laid == nil {
		return g.hit(len(line) == 0 || g.stop("", RuleUndeclared))
	}
	return g.hit(g.around(line, g.laid.trailer))
}

// readLaid reads one line with its end. An empty cell is a missing value and
// fits every column but one that always holds something.
func (g *Gate) readLaid(line []byte, columns []column) bool {
	l := g.laid
	line, ended := bytes.CutSuffix(line, l.lineEnd)
	if !ended || !utf8.Valid(line) || l.Quotes != quotesFree && slices.ContainsFunc(line, func(c byte) bool {
		return c == 0x7f || c < ' ' && c != l.Delimiter || l.ASCII && c >= utf8.RuneSelf
	}) {
		return g.stop("", RuleUnparseable)
	}
	g.line, g.at = line, 0
	for i := range columns {
		c := &columns[i]
		cell, ok := g.laidCell(c.width, i == len(columns)-1, len(columns) == 1)
		rule := ""
		if l.bound {
			c.seen, c.filled = append(c.seen[:0], cell...), c.when != nil && string(cell) != c.when.Else
		}
		switch {
		case !ok:
			rule = RuleUnparseable
		case l.bound && c.when != nil && !c.filled:
		case len(cell) > 0:
			rule = g.admit(&c.site, cell)
		case c.always:
			rule = c.site.judge(g, cell)
		}
		if rule != "" {
			return g.stop(c.name, rule)
		}
	}
	for i := 0; l.bound && i < len(columns); i++ {
		if c := &columns[i]; c.filled && c.when.Column >= 0 && string(columns[c.when.Column].seen) != c.when.Is {
			return g.stop(c.name, RuleElsewhere)
		}
	}
	return true
}

// laidCell reads the next cell, and of the last one that the line ends with it.
// One alone stands in quotes when it is empty, or its line would be none.
func (g *Gate) laidCell(width int, last, alone bool) (cell []byte, ok bool) {
	rest, l := g.line[g.at:], g.laid
	if l.Delimiter == 0 {
		if len(rest) < width || last && len(rest) != width {
			return nil, false
		}
		g.at += width
		return bytes.Trim(rest[:width], " "), true
	}
	quoted, needed := len(rest) > 0 && rest[0] == '"', false
	if quoted {
		if cell, ok = g.readQuoted(l.Delimiter); !ok {
			return nil, false
		}
		needed = l.plain(cell) < len(cell)
	} else {
		cell = rest[:l.plain(rest)]
		g.at += len(cell)
		needed = g.at < len(g.line) && g.line[g.at] != l.Delimiter
	}
	needed = needed || alone && len(cell) == 0 && l.Quotes != quotesFree
	switch atEnd := g.at == len(g.line); {
	case atEnd != last:
		return nil, false
	case quoted && l.Quotes == QuotesNever, quoted && !needed && l.Quotes == QuotesWhereNeeded, !quoted && (needed || l.Quotes == QuotesAlways):
		return nil, false
	}
	g.at++ // the delimiter
	return cell, true
}

// plain is how many bytes at the beginning of b need no quotes.
func (l *laid) plain(b []byte) int {
	for i, c := range b {
		if l.special[c] {
			return i
		}
	}
	return len(b)
}

// Constant is one text, which is never missing.
func Constant(text string) Grammar {
	g := Closed(text)
	g.always = true
	return g
}

// Nothing is a cell that is always empty.
func Nothing() Grammar { return decided(func([]byte) bool { return false }) }

// Listed is a set of values like Closed, of which none is harmless elsewhere.
func Listed(values ...string) Grammar { return decided(among(values)) }

// Mapped is a code that a layout writes for every value, the missing one too.
func Mapped(codes ...string) Grammar {
	g := Closed(codes...)
	g.always = !slices.Contains(codes, "")
	return g
}

// Count is a whole number without leading zeros, and never missing.
func Count() Grammar {
	g := decided(func(v []byte) bool {
		_, ok := wholeNumber(v)
		return ok && (v[0] != '0' || len(v) == 1)
	})
	g.always = true
	return g
}

// Sum is a decimal number as it is written without an exponent, and never missing.
func Sum() Grammar {
	g := decided(func(v []byte) bool {
		return len(v) > 0 && numberLength(v) == len(v) && !bytes.ContainsAny(v, "eE")
	})
	g.always = true
	return g
}

// InWidth is a value in a column of this many characters, filled with blanks.
func InWidth(width int, of Grammar) Grammar {
	of.width = width
	return of
}

// Bound is a value in a column of a layout that holds values of one code only.
func Bound(when When, of Grammar) Grammar {
	of.when = &when
	return of
}

// ZeroFilled is a value that a layout writes behind zeros, in exactly this
// width. What its grammar scans must pass with the zeros and without.
func ZeroFilled(width int, of Grammar) Grammar {
	whole := InWidth(width, of)
	whole.judge = func(g *Gate, v []byte) string {
		if len(v) != width || digitsLength(v) != len(v) {
			return RuleGrammar
		}
		stopped := RuleGrammar
		for at := range v {
			last := at == len(v)-1 || v[at] != '0'
			switch rule := of.judge(g, v[at:]); {
			case rule == "":
				stopped = ""
			case rule != RuleGrammar && rule != RuleNotOwn && (at == 0 || last): // a scan has found something
				return rule
			}
			if last {
				break
			}
		}
		return stopped
	}
	return whole
}

// The forms in which a layout writes a date.
var dateShapes = map[string]string{
	"YYYY-MM-DD": "0123-45-67", "YYYYMMDD": "01234567", "MM/DD/YYYY": "45/67/0123", "M/D/YYYY": "", "YYYY": "0123",
}

// DateIn is a day, or a year, in exactly one form of docs/layouts.md.
func DateIn(form string) Grammar {
	return decided(func(v []byte) bool {
		_, ok := readDate(form, v)
		return ok
	})
}

// OwnDateIn is a date of the row's own subject, in exactly one form. Of a year
// alone nobody can tell whose it is.
func OwnDateIn(form string, as ...Kind) Grammar {
	if form == "YYYY" {
		return DateIn(form)
	}
	return Grammar{own: as, judge: func(g *Gate, v []byte) string {
		digits, ok := readDate(form, v)
		if !ok {
			return RuleGrammar
		}
		h := g.roster.hash(digits[:])
		g.text.matched = true
		if !slices.ContainsFunc(as, func(kind Kind) bool { return g.roster.owns(h, g.subjects, kind) }) {
			return RuleNotOwn
		}
		return ""
	}}
}

// readDate gives the digits of a date as YYYYMMDD; of a year alone, with zeros.
func readDate(form string, v []byte) (digits [8]byte, ok bool) {
	digits = [8]byte{'0', '0', '0', '0', '0', '1', '0', '1'}
	shape := dateShapes[form]
	if form == "M/D/YYYY" {
		shape = shortShape(v)
	}
	if len(shape) < len("0123") || len(v) != len(shape) {
		return digits, false
	}
	for i := range v {
		switch at := shape[i]; {
		case at < '0' || at > '9':
			if v[i] != at {
				return digits, false
			}
		case v[i] < '0' || v[i] > '9':
			return digits, false
		default:
			digits[at-'0'] = v[i]
		}
	}
	n := 0
	for _, c := range digits {
		n = n*10 + int(c-'0')
	}
	year, month, day := n/10000, n/100%100, n%100
	date := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return digits, year > 0 && int(date.Month()) == month && date.Day() == day
}

// shortShape is the shape of a date whose month and day have no leading zeros.
func shortShape(v []byte) string {
	month, rest, _ := bytes.Cut(v, slash)
	day, _, _ := bytes.Cut(rest, slash)
	if len(month) == 0 || len(day) == 0 || month[0] == '0' || day[0] == '0' {
		return ""
	}
	return []string{"", "5", "45"}[min(len(month), 2)] + "/" + []string{"", "7", "67"}[min(len(day), 2)] + "/0123"
}
