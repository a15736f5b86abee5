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

// scanEncoded scans what the base64 runs of v decode to, where that is text.
// A run may have caught neighbours before its true beginning, so each of the
// four alignments is tried.
func (g *Gate) scanEncoded(v []byte, depth int) string {
	for i := 0; i < len(v); {
		end := i
		for end < len(v) && sixBits[v[end]] != 0xff {
			end++
		}
		for skip := 0; skip < 4 && end-i-skip >= shortestRun; skip++ {
			inner := decode(g.inner[depth][:0], v[i+skip:end])
			g.inner[depth] = inner
			if !isText(inner) {
				continue
			}
			if rule := g.scanAt(inner, prose, depth+1); rule != "" {
				return rule
			}
		}
		i = end + 1
	}
	return ""
}

func decode(dst, run []byte) []byte {
	var bits uint32
	for i, c := range run {
		bits = bits<<6 | uint32(sixBits[c])
		switch i % 4 {
		case 1:
			dst = append(dst, byte(bits>>4))
		case 2:
			dst = append(dst, byte(bits>>2))
		case 3:
			dst = append(dst, byte(bits))
		}
	}
	return dst
}

func isText(b []byte) bool {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || !unicode.IsPrint(r) && r >= ' ' {
			return false
		}
		b = b[size:]
	}
	return true
}
