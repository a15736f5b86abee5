package gate

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	everyByte = 0x0101010101010101
	highBits  = 0x8080808080808080
)

// special marks, in the high bit of each byte, the bytes of w that end or
// interrupt a plain ASCII string: quote, backslash, control, above ASCII. The
// lowest mark is always right; those above it may be false.
func special(w uint64) uint64 {
	quote := w ^ everyByte*'"'
	slash := w ^ everyByte*'\\'
	found := (quote - everyByte) &^ quote
	found |= (slash - everyByte) &^ slash
	found |= (w - everyByte*' ') &^ w
	return (found | w) & highBits
}

// readString reads a JSON string (RFC 8259 §7), well-formed UTF-8, and returns
// it without its escapes. The bytes are good until the next call.
func (g *Gate) readString() ([]byte, bool) {
	line := g.line
	if g.at >= len(line) || line[g.at] != '"' {
		return nil, false
	}
	start := g.at + 1
	i, ascii := start, true
	for i < len(line) {
		if i+8 <= len(line) {
			if found := special(binary.LittleEndian.Uint64(line[i:])); found == 0 {
				i += 8
				continue
			} else {
				i += bits.TrailingZeros64(found) / 8
			}
		}
		switch c := line[i]; {
		case c == '"':
			g.at = i + 1
			return line[start:i], ascii || utf8.Valid(line[start:i])
		case c == '\\':
			return g.readEscaped(start, i)
		case c < ' ':
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
		i++
	}
	return nil, false
}

func (g *Gate) readEscaped(start, i int) ([]byte, bool) {
	g.plain = append(g.plain[:0], g.line[start:i]...)
	for i < len(g.line) {
		switch c := g.line[i]; {
		case c == '"':
			g.at = i + 1
			return g.plain, utf8.Valid(g.plain)
		case c < ' ':
			return nil, false
		case c != '\\':
			g.plain = append(g.plain, c)
			i++
		default:
			r, n := unescape(g.line[i:])
			if n == 0 {
				return nil, false
			}
			g.plain = utf8.AppendRune(g.plain, r)
			i += n
		}
	}
	return nil, false
}

// unescape decodes the escape at the beginning of b and says how long it is;
// 0 means that it is none, a lone surrogate included.
func unescape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r := hex4(b[2:])
		if !utf16.IsSurrogate(r) {
			if r < 0 {
				return 0, 0
			}
			return r, 6
		}
		if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
			if pair := utf16.DecodeRune(r, hex4(b[8:])); pair != utf8.RuneError {
				return pair, 12
			}
		}
	}
	return 0, 0
}

// hex4 reads four hexadecimal digits; -1 means that they are not there.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// numberLength says how many bytes at the beginning of b are a JSON number
// (RFC 8259 §6); 0 means none.
func numberLength(b []byte) int {
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := digitsLength(b[i:])
	if whole == 0 || whole > 1 && b[i] == '0' {
		return 0
	}
	i += whole
	if i < len(b) && b[i] == '.' {
		fraction := digitsLength(b[i+1:])
		if fraction == 0 {
			return 0
		}
		i += 1 + fraction
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		j := i + 1
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		exponent := digitsLength(b[j:])
		if exponent == 0 {
			return 0
		}
		i = j + exponent
	}
	return i
}

func digitsLength(b []byte) int {
	for i, c := range b {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(b)
}
