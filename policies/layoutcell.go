package policies

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// byteOrderMark is U+FEFF in UTF-8.
const byteOrderMark = "\uFEFF"

// Append writes a value as a cell of a column. If it does not fit, why says so in
// words that go on after "the value", and what was appended is of no use. It
// never cuts a value, and allocates nothing but what the cell needs.
func (l *Layout) Append(b, value []byte, c *Column) (_ []byte, why string) {
	special := c.alone && len(value) == 0 && l.Delimiter != 0 // else the line would be no row
	for _, x := range value {
		switch {
		case x < ' ' || x == 0x7f:
			return b, "holds a control character or a line end"
		case x >= utf8.RuneSelf && l.ASCII:
			return b, "is not in ASCII"
		case x == '"' || x == l.Delimiter:
			special = true
		}
	}
	switch {
	case l.Delimiter == 0:
		return appendPadded(b, value, c)
	case special && l.Quotes == Never:
		return b, "needs quotes, which the layout forbids"
	case !special && l.Quotes != Always:
		return append(b, value...), ""
	}
	b = append(b, '"')
	for _, x := range value {
		if x == '"' {
			b = append(b, '"')
		}
		b = append(b, x)
	}
	return append(b, '"'), ""
}

func appendPadded(b, value []byte, c *Column) (_ []byte, why string) {
	fill := byte(' ')
	if c.Zeros && len(value) > 0 { // no value is no number, so it stays blank
		fill = '0'
		if slices.ContainsFunc(value, func(x byte) bool { return x < '0' || x > '9' }) {
			return b, "is not of digits only, so zeros cannot stand before it"
		}
	}
	rest := c.Width - len(value)
	if rest < 0 {
		return b, fmt.Sprintf("is longer than the width of %d", c.Width)
	}
	if !c.Right {
		b = append(b, value...)
	}
	for range rest {
		b = append(b, fill)
	}
	if c.Right {
		b = append(b, value...)
	}
	return b, ""
}

// Line writes a header or trailer, with its line end. The texts are those of the
// cells, in their order.
func (l *Layout) Line(b []byte, cells []Column, texts []string) ([]byte, error) {
	for i := range cells {
		if i > 0 && l.Delimiter != 0 {
			b = append(b, l.Delimiter)
		}
		var why string
		if b, why = l.Append(b, []byte(texts[i]), &cells[i]); why != "" {
			return nil, fmt.Errorf("cell %d of a header or trailer of the layout %s: the value %s", i+1, l.Name, why)
		}
	}
	return append(b, l.LineEnd...), nil
}

// Head is what stands before the rows of a file: byte order mark and header, as
// far as it has them.
func (l *Layout) Head(f *LaidOut) ([]byte, error) {
	var b []byte
	if l.BOM {
		b = append(b, byteOrderMark...)
	}
	if f.Header == nil {
		return b, nil
	}
	var texts []string
	for _, c := range f.Header {
		texts = append(texts, c.Text)
	}
	return l.Line(b, f.Header, texts)
}
