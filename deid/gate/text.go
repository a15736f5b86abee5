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

// text is a string cut into tokens, with its letters and digits alone, in
// lower case and without accents.
type text struct {
	plain  []byte
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
			t.cut(b)
			return t.plain
		}
	}
	return t.plain
}

// shortestRun is the length from which a run of base64 characters is decoded.
const shortestRun = 12

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
		} else {
			run = 0
		}
		before := len(t.plain)
		if kind&isWide != 0 {
			kind, size = t.appendWide(b[i:])
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
		case kind&(isJoin|isWide) == 0:
			word++
		}
		if kind&isWide == 0 || now != 0 {
			last = now
		}
		i += size
	}
}

// appendWide appends a rune above ASCII: letters without accents and in lower
// case, full-width and other digits as ASCII, nothing for marks and signs.
func (t *text) appendWide(b []byte) (kind uint16, size int) {
	r, size := utf8.DecodeRune(b)
	if r >= 0xff01 && r <= 0xff5e { // full-width forms of ASCII
		r -= 0xff01 - '!'
	}
	if r >= 0xc0 && r < 0xc0+rune(len(unaccented)) && unaccented[r-0xc0] != ' ' {
		r = rune(unaccented[r-0xc0])
	}
	switch {
	case unicode.IsLetter(r):
		t.plain = utf8.AppendRune(t.plain, unicode.ToLower(r))
		return isLetter, size
	case r >= '0' && r <= '9':
		t.plain = append(t.plain, byte(r))
		return isDigit, size
	case unicode.IsMark(r):
		return isWide, size // a combining accent does not end its token
	}
	return 0, size
}

// unaccented has the base letter of U+00C0–U+017F; a space where there is none.
const unaccented = "aaaaaaaceeeeiiiidnooooo ouuuuy saaaaaaaceeeeiiiidnooooo ouuuuy y" +
	"aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiiiiijjkkklllllll" +
	"lllnnnnnnnnnoooooooorrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs"
