package gate

import (
	"unicode"
	"unicode/utf8"
)

// What a byte of text is, for deciding which patterns are worth looking for.
const (
	isLetter = 1 << iota
	isDigit
	isAt
	isColon
	isDot
	isBackslash
	isJoin   // stands inside a word: . - _ @ ' +
	isBase64 // may stand in a base64 run
	isWide   // begins or continues a rune above ASCII
)

var kindOf = func() (t [256]uint16) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			t[c] = isLetter | isBase64
		case c >= '0' && c <= '9':
			t[c] = isDigit | isBase64
		case c >= utf8.RuneSelf:
			t[c] = isWide
		}
	}
	t['@'] |= isAt | isJoin
	t[':'] |= isColon
	t['.'] |= isDot | isJoin
	t['\\'] |= isBackslash
	t['\''] |= isJoin
	for _, c := range "-_+/" {
		t[c] |= isBase64
	}
	for _, c := range "-_+" {
		t[c] |= isJoin
	}
	return t
}()

// token is a maximal run of letters, or of digits.
type token struct {
	from, to   int32 // in the text
	start, end int32 // in the normalized bytes
	word       int32 // number of the word it stands in
	digits     bool
}

// text is a folded string cut into tokens, with its letters and digits alone, in
// lower case.
type text struct {
	plain  []byte
	folded []byte // of read
	tokens []token
	seen   uint16
	run    bool // a base64 run worth decoding is in it

	// matched says that the judgement rests on whose row it is. Whoever begins
	// a judgement clears it.
	matched bool
}

// normalize gives the letters and digits of b; good until the next call.
func (t *text) normalize(b []byte) []byte {
	t.plain = t.plain[:0]
	for _, c := range b {
		switch kind := kindOf[c]; {
		case kind&isLetter != 0:
			t.plain = append(t.plain, c|0x20)
		case kind&isDigit != 0:
			t.plain = append(t.plain, c)
		case kind&isWide != 0:
			t.read(b)
			return t.plain
		}
	}
	return t.plain
}

// read folds and cuts.
func (t *text) read(b []byte) {
	if t.cut(b); t.seen&isWide != 0 {
		t.folded = fold(t.folded[:0], b)
		t.cut(t.folded)
	}
}

func (t *text) cut(b []byte) {
	t.plain, t.tokens, t.seen, t.run = t.plain[:0], t.tokens[:0], 0, false
	var last uint16 // isLetter or isDigit while a token is open
	word, run := int32(0), 0
	for i := 0; i < len(b); {
		kind, size := kindOf[b[i]], 1
		t.seen |= kind
		if kind&isBase64 != 0 {
			if run++; run == shortestRun {
				t.run = true
			}
		} else if b[i] != '\n' && b[i] != '\r' {
			run = 0
		}
		before := len(t.plain)
		if kind&isWide != 0 {
			kind, size = t.appendLetter(b[i:])
		} else if kind&isLetter != 0 {
			t.plain = append(t.plain, b[i]|0x20)
		} else if kind&isDigit != 0 {
			t.plain = append(t.plain, b[i])
		}
		now := kind & (isLetter | isDigit)
		switch {
		case now != 0 && now == last:
			open := &t.tokens[len(t.tokens)-1]
			open.to, open.end = int32(i+size), int32(len(t.plain))
		case now != 0:
			t.tokens = append(t.tokens, token{from: int32(i), to: int32(i + size),
				start: int32(before), end: int32(len(t.plain)), word: word, digits: now == isDigit})
		case kind&isJoin == 0:
			word++
		}
		last = now
		i += size
	}
}

// fold appends b as somebody reads it: accents and what is not seen (zero-width
// spaces, soft hyphens) are left out, forms in full width, digits of other
// scripts, spaces and dashes of all kinds are written in ASCII.
func fold(dst, b []byte) []byte {
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r < utf8.RuneSelf:
			dst = append(dst, byte(r))
		case r >= 0xff01 && r <= 0xff5e: // full-width forms of ASCII
			dst = append(dst, byte(r-0xff01+'!'))
		case r >= 0xc0 && r < 0xc0+rune(len(unaccented)) && unaccented[r-0xc0] != ' ':
			dst = append(dst, unaccented[r-0xc0])
		case unicode.In(r, unicode.Mn, unicode.Cf):
		case unicode.Is(unicode.Z, r):
			dst = append(dst, ' ')
		case unicode.Is(unicode.Pd, r) || r == '\u2212':
			dst = append(dst, '-')
		case r == '\u2018' || r == '\u2019' || r == '\u02bc':
			dst = append(dst, '\'')
		case unicode.Is(unicode.Nd, r):
			dst = append(dst, '0'+digitOf(r))
		default:
			dst = append(dst, b[:size]...)
		}
		b = b[size:]
	}
	return dst
}

// digitOf is the value of a decimal digit of any script: they stand in tens.
func digitOf(r rune) byte {
	for _, tens := range unicode.Nd.R16 {
		if r <= rune(tens.Hi) {
			return byte((r - rune(tens.Lo)) % 10)
		}
	}
	for _, tens := range unicode.Nd.R32 {
		if r <= rune(tens.Hi) {
			return byte((r - rune(tens.Lo)) % 10)
		}
	}
	return 0
}

// appendLetter appends a letter above ASCII in lower case; nothing for signs.
func (t *text) appendLetter(b []byte) (kind uint16, size int) {
	r, size := utf8.DecodeRune(b)
	if !unicode.IsLetter(r) {
		return 0, size
	}
	t.plain = utf8.AppendRune(t.plain, unicode.ToLower(r))
	return isLetter, size
}

// unaccented has the base letter of U+00C0–U+017F; a space where there is none.
const unaccented = "aaaaaaaceeeeiiiidnooooo ouuuuy saaaaaaaceeeeiiiidnooooo ouuuuy y" +
	"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll" +
	"lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"
