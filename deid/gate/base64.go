package gate

import (
	"unicode"
	"unicode/utf8"
)

// sixBits is the value of a base64 character in either alphabet of RFC 4648.
var sixBits = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		t[c] = byte(i)
	}
	t['-'], t['_'] = 62, 63
	return t
}()

const (
	shortestRun  = 6  // characters of base64 that are decoded: four bytes, the shortest value that counts inside a string
	strayText    = 16 // bytes of text that count wherever they are decoded to
	longestWords = 22 // characters that cannot be decoded to as much
)

// scanEncoded scans what the base64 runs of v decode to, where that is text.
// Lines of a run may be broken (RFC 2045 §6.8).
func (g *Gate) scanEncoded(v []byte, depth int) string {
	for i := 0; i < len(v); {
		end := i
		for end < len(v) && (sixBits[v[end]] != 0xff || v[end] == '\n' || v[end] == '\r') {
			end++
		}
		if end-i >= shortestRun {
			if rule := g.scanRun(v[i:end], depth); rule != "" {
				return rule
			}
		}
		i = end + 1
	}
	return ""
}

// scanRun scans a run, which may have caught neighbours before the true
// beginning: at each of the four alignments, and from each sign on that could
// stand before it. What is text to the end is scanned, and what is long enough
// to be text between other things.
func (g *Gate) scanRun(run []byte, depth int) string {
	for at := range len(run) - shortestRun + 1 {
		if at > 3 && (kindOf[run[at-1]]&isBase64 == 0 || kindOf[run[at-1]]&(isLetter|isDigit) != 0) {
			continue
		}
		if beginsText(run[at:]) {
			g.inner[depth] = decode(g.inner[depth][:0], run[at:])
			if n := textLength(g.inner[depth]); n == len(g.inner[depth]) || n >= strayText {
				if rule := g.scanDecoded(g.inner[depth][:n], depth+1); rule != "" {
					return rule
				}
			}
		}
		if at <= 3 && len(run) >= longestWords {
			if rule := g.scanStray(run[at:], depth); rule != "" {
				return rule
			}
		}
	}
	return ""
}

// scanDecoded scans decoded text. A short one is held against the roster alone:
// it resembles a pattern by chance.
func (g *Gate) scanDecoded(v []byte, depth int) string {
	figures := 0
	for _, c := range v {
		if kindOf[c]&isDigit != 0 {
			figures++
		}
	}
	if len(v) >= 9 || figures >= 5 {
		return g.scanAt(v, prose, depth)
	}
	v = g.cut(v, depth)
	encoded := g.text.run && depth < deepest
	if rule := g.findPeople(prose); rule != "" || !encoded {
		return rule
	}
	return g.scanEncoded(v, depth)
}

// scanStray scans the text between other bytes that a run decodes to.
func (g *Gate) scanStray(run []byte, depth int) string {
	g.inner[depth] = decode(g.inner[depth][:0], run)
	for rest := g.inner[depth]; len(rest) >= strayText; {
		n := textLength(rest)
		if n >= strayText {
			if rule := g.scanAt(rest[:n], prose, depth+1); rule != "" {
				return rule
			}
		}
		rest = rest[min(n+1, len(rest)):]
	}
	return ""
}

// beginsText says that the first three bytes that a run decodes to may be the
// beginning of a text: most words are told by them.
func beginsText(run []byte) bool {
	a, b, c, d := sixBits[run[0]], sixBits[run[1]], sixBits[run[2]], sixBits[run[3]]
	if a|b|c|d == 0xff {
		return true
	}
	first, second, third := a<<2|b>>4, b<<4|c>>2, c<<6|d
	switch {
	case first < utf8.RuneSelf:
		return isTextual(first) && isTextual(second) && (second >= utf8.RuneSelf || isTextual(third))
	default:
		return isTextual(first) && second&0xc0 == 0x80
	}
}

// isTextual says that a byte may begin a character of a text.
func isTextual(c byte) bool {
	return c >= ' ' && c < 0x7f || c >= 0xc2 && c <= 0xf4 || isBlank(c)
}

func decode(dst, run []byte) []byte {
	var bits uint32
	n := 0
	for _, c := range run {
		six := sixBits[c]
		if six == 0xff { // the end of a line
			continue
		}
		bits = bits<<6 | uint32(six)
		switch n % 4 {
		case 1:
			dst = append(dst, byte(bits>>4))
		case 2:
			dst = append(dst, byte(bits>>2))
		case 3:
			dst = append(dst, byte(bits))
		}
		n++
	}
	return dst
}

// textLength says how many bytes at the beginning of b are text.
func textLength(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 || !unicode.IsPrint(r) && !isBlank(b[i]) && !unicode.In(r, unicode.Cf, unicode.Z) {
			return i
		}
		i += size
	}
	return len(b)
}

func isBlank(c byte) bool { return c == '\n' || c == '\r' || c == '\t' }
