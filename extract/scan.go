package extract

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may nest. FHIR needs about 20.
const maxDepth = 64

// maxTokens bounds the memory of a Doc to 32 MiB. A record of the largest size
// may have a token every eight bytes; FHIR has one every twelve.
const maxTokens = MaxRecord / 8

// fewNames is the number of member names up to which an object is checked for
// doubles name by name; a larger one is checked at its end, by a hash table.
const fewNames = 16

// tape turns the bytes of one JSON value into a Doc in one pass. It accepts
// what RFC 8259 and RFC 3629 allow, and of that only what has one meaning for
// every reader: no member name twice in an object (RFC 7493 §2.3), no lone
// surrogate (§2.1), no member name written with a backslash, no nesting
// deeper than maxDepth. Its buffers are kept from record to record.
type tape struct {
	doc   Doc
	refs  []int32 // tokens of member names "reference", which facts are found by
	names []memberName
	slots []int32
	open  [maxDepth]level
}

type level struct {
	token int32  // where it began in doc
	names int32  // where its member names begin in names
	maybe uint64 // a bit per name met: when a new name's bit is clear, the name is new
	end   byte   // '}' or ']'
}

type memberName struct {
	key        uint64
	start, end int32
}

// flaw is why bytes are not a JSON value, with the offset. The zero flaw is none.
type flaw struct {
	why string
	at  int
}

const (
	cutShort    = "ends too early"
	notJSON     = "not JSON"
	tooDeep     = "nested too deep"
	doubledName = "duplicate member name"
	escapedName = "member name with a backslash"
	trailing    = "more than one JSON value"
	tooMany     = "too many JSON tokens"
)

var hashSeed = maphash.MakeSeed()

// read fills doc from b. After a flaw doc holds nothing of use. This is the
// path that every byte takes: tokens are written by index into room that is
// there, and the next byte is looked at before white space is looked for.
func (t *tape) read(b []byte) flaw {
	doc, n, depth, i := t.doc[:cap(t.doc)], 0, 0, 0
	var top *level
	t.refs, t.names = t.refs[:0], t.names[:0]
value:
	if uint(i) >= uint(len(b)) || b[i] <= ' ' {
		if i = skipSpace(b, i); i >= len(b) {
			return flaw{cutShort, i}
		}
	}
	if n+2 > len(doc) {
		if doc = growDoc(doc); doc == nil {
			return flaw{tooMany, i}
		}
	}
	switch c := b[i]; c {
	case '"':
		end, escaped := scanString(b, i+1)
		if end < 0 {
			return stringFlaw(b, ^end)
		}
		doc[n] = Token{String, escaped, int32(i + 1), int32(end), int32(n + 1)}
		n++
		i = end + 1
	case '{', '[':
		if depth == maxDepth {
			return flaw{tooDeep, i}
		}
		top = &t.open[depth]
		top.token, top.names, top.maybe, top.end = int32(n), int32(len(t.names)), 0, c+2 // '{'+2 is '}', '['+2 is ']'
		depth++
		doc[n] = Token{Kind: kindOf[c], Start: int32(i)}
		n++
		if i = skipSpace(b, i+1); i < len(b) && b[i] == top.end {
			break
		}
		if c == '[' {
			goto value
		}
		goto name
	default:
		end := scanScalar(b, i)
		if end < 0 {
			return flaw{notJSON, ^end}
		}
		doc[n] = Token{kindOf[c], false, int32(i), int32(end), int32(n + 1)}
		n++
		i = end
	}
next:
	if depth == 0 {
		if i = skipSpace(b, i); i < len(b) {
			return flaw{trailing, i}
		}
		t.doc = doc[:n]
		return flaw{}
	}
	if uint(i) >= uint(len(b)) || b[i] <= ' ' {
		if i = skipSpace(b, i); i >= len(b) {
			return flaw{cutShort, i}
		}
	}
	if b[i] == top.end {
		i++
		if !t.close(b, doc[:n], top, i) {
			return flaw{doubledName, i - 1}
		}
		if depth--; depth > 0 {
			top = &t.open[depth-1]
		}
		goto next
	}
	if b[i] != ',' {
		return flaw{notJSON, i}
	}
	i++
	if top.end == ']' {
		goto value
	}
name:
	if i = skipSpace(b, i); i >= len(b) || b[i] != '"' {
		return flaw{notJSON, i}
	}
	start := i + 1
	end, key := scanName(b, start)
	if end < 0 {
		return nameFlaw(b, ^end)
	}
	if key == referenceKey && string(b[start:end]) == "reference" {
		t.refs = append(t.refs, int32(n))
	}
	if bit := keyBit(key); top.maybe&bit == 0 {
		top.maybe |= bit
	} else if t.met(b, top, key, start, end) {
		return flaw{doubledName, i}
	}
	t.names = append(t.names, memberName{key, int32(start), int32(end)})
	if n+2 > len(doc) {
		if doc = growDoc(doc); doc == nil {
			return flaw{tooMany, i}
		}
	}
	doc[n] = Token{MemberName, false, int32(start), int32(end), int32(n + 2)}
	n++
	if i = end + 1; uint(i) >= uint(len(b)) || b[i] != ':' {
		if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
			return flaw{notJSON, i}
		}
	}
	i++
	goto value
}

// growDoc gives a Doc with more room, nil when a record may have no more tokens.
func growDoc(doc Doc) Doc {
	if len(doc) >= maxTokens {
		return nil
	}
	larger := make(Doc, min(maxTokens, max(1024, 2*len(doc))))
	copy(larger, doc)
	return larger
}

// scanName is scanString for a member name, which has no escapes; it gives
// its key as well.
func scanName(b []byte, start int) (end int, key uint64) {
	if start+8 > len(b) {
		end, escaped := scanString(b, start)
		if end < 0 || escaped {
			return ^start, 0
		}
		return end, nameKey(b, start, end)
	}
	x := binary.LittleEndian.Uint64(b[start:])
	if m := specials(x); m != 0 {
		n := uint(bits.TrailingZeros64(m) >> 3)
		if end = start + int(n); b[end] == '"' {
			return end, x&(1<<(8*n)-1) ^ uint64(n)<<56
		}
	}
	end, escaped := scanString(b, start)
	if end < 0 || escaped {
		return ^start, 0
	}
	return end, nameKey(b, start, end)
}

func nameFlaw(b []byte, start int) flaw {
	if end, _ := scanString(b, start); end < 0 {
		return stringFlaw(b, ^end)
	}
	return flaw{escapedName, start - 1}
}

// close ends the innermost object or array, whose last byte is b[end-1];
// false when a name stands twice in it.
func (t *tape) close(b []byte, doc Doc, top *level, end int) bool {
	names := t.names[top.names:]
	if len(names) > fewNames && t.doubled(b, names) {
		return false
	}
	t.names = t.names[:top.names]
	next := int32(len(doc))
	open := &doc[top.token]
	open.End, open.Next = int32(end), next
	if top.token > 0 {
		if before := &doc[top.token-1]; before.Kind == MemberName {
			before.Next = next
		}
	}
	return true
}

// met tells whether the innermost object, while small, has the name already.
func (t *tape) met(b []byte, top *level, key uint64, start, end int) bool {
	names := t.names[top.names:]
	if len(names) > fewNames {
		return false // seen to by close
	}
	for _, n := range names {
		if n.key == key && bytes.Equal(b[n.start:n.end], b[start:end]) {
			return true
		}
	}
	return false
}

func (t *tape) doubled(b []byte, names []memberName) bool {
	size := 1 << bits.Len(uint(2*len(names)))
	if cap(t.slots) < size {
		t.slots = make([]int32, size)
	}
	slots := t.slots[:size]
	clear(slots)
	for i, n := range names {
		name := b[n.start:n.end]
		at := int(maphash.Bytes(hashSeed, name)) & (size - 1)
		for ; slots[at] != 0; at = (at + 1) & (size - 1) {
			if o := names[slots[at]-1]; o.key == n.key && bytes.Equal(b[o.start:o.end], name) {
				return true
			}
		}
		slots[at] = int32(i + 1)
	}
	return false
}

// nameKey is made of the first eight bytes of a name and its length; equal
// names have equal keys.
func nameKey(b []byte, start, end int) uint64 {
	n := end - start
	if start+8 <= len(b) {
		x := binary.LittleEndian.Uint64(b[start:])
		if n < 8 {
			x &= 1<<(8*uint(n)) - 1
		}
		return x ^ uint64(n)<<56
	}
	var head [8]byte
	copy(head[:], b[start:end])
	return binary.LittleEndian.Uint64(head[:]) ^ uint64(n)<<56
}

func keyBit(key uint64) uint64 { return 1 << (key * 0x9E3779B97F4A7C15 >> 58) }

func keyOf(name string) uint64 { return nameKey([]byte(name), 0, len(name)) }

var referenceKey = keyOf("reference")

var kindOf = func() (k [256]Kind) {
	for c := range k {
		k[c] = Numeral
	}
	k['{'], k['['], k['t'], k['f'], k['n'] = Object, Array, True, False, Null
	return k
}()

const (
	ones   = 0x0101010101010101
	highs  = 0x8080808080808080
	spaces = 0x2020202020202020
	quotes = 0x2222222222222222
	slants = 0x5C5C5C5C5C5C5C5C
)

func skipSpace(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	for i < len(b) {
		switch b[i] {
		case ' ':
			for i+8 <= len(b) && binary.LittleEndian.Uint64(b[i:]) == spaces {
				i += 8
			}
			if i < len(b) && b[i] == ' ' {
				i++
			}
		case '\n', '\t', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// specials sets the high bit of each byte of x that is a quote, a backslash, a
// control or not ASCII. A borrow can set bits only above the first true one,
// so only the first is to be used.
func specials(x uint64) uint64 {
	return ((x - spaces) | ((x ^ quotes) - ones) | ((x ^ slants) - ones) | x) & highs
}

// scanString gives the offset of the quote that ends the string whose first
// byte is b[i], or the complement of the offset of what may not stand there.
// Eight bytes are looked at together.
func scanString(b []byte, i int) (end int, escaped bool) {
	for {
		if i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			m := specials(x)
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		} else if i >= len(b) {
			return ^i, escaped
		}
		n := 1
		switch c := b[i]; {
		case c == '"':
			return i, escaped
		case c == '\\':
			n, escaped = escapeLen(b, i), true
		case c < ' ':
			n = 0
		case c >= utf8.RuneSelf:
			n = runeLen(b[i:])
		}
		if n == 0 {
			return ^i, escaped
		}
		i += n
	}
}

func stringFlaw(b []byte, i int) flaw {
	switch {
	case i >= len(b):
		return flaw{cutShort, len(b)}
	case b[i] == '\\':
		return flaw{"bad escape in a string", i}
	case b[i] < ' ':
		return flaw{"control character in a string", i}
	default:
		return flaw{"not UTF-8", i}
	}
}

// runeLen is the length of the character that b begins with, 0 when it is not
// well-formed UTF-8.
func runeLen(b []byte) int {
	r, n := utf8.DecodeRune(b)
	if r == utf8.RuneError && n == 1 {
		return 0
	}
	return n
}

// escapeLen is the length of the escape at b[i], 0 when it is none. The two
// halves of a surrogate pair are one escape; a lone half is none.
func escapeLen(b []byte, i int) int {
	if i+1 >= len(b) {
		return 0
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
	default:
		return 0
	}
	u, ok := hex4(b, i+2)
	switch {
	case !ok || u >= 0xDC00 && u < 0xE000:
		return 0
	case u < 0xD800 || u >= 0xE000:
		return 6
	}
	if i+7 >= len(b) || b[i+6] != '\\' || b[i+7] != 'u' {
		return 0
	}
	if low, ok := hex4(b, i+8); !ok || low < 0xDC00 || low >= 0xE000 {
		return 0
	}
	return 12
}

func hex4(b []byte, i int) (u rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[i:i+4]), 16, 16)
	return rune(n), err == nil
}

// scanScalar gives the end of the number, true, false or null at b[i], or the
// complement of the offset where it goes wrong.
func scanScalar(b []byte, i int) int {
	for _, word := range [...]string{"true", "false", "null"} {
		if b[i] == word[0] {
			if i+len(word) <= len(b) && string(b[i:i+len(word)]) == word {
				return i + len(word)
			}
			return ^i
		}
	}
	return scanNumber(b, i)
}

// scanNumber follows RFC 8259 §6.
func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = scanDigits(b, i); i < 0 {
		return i
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i < 0 {
			return i
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		i = scanDigits(b, i)
	}
	return i
}

// scanDigits gives the end of the digits at b[i], of which there must be one.
func scanDigits(b []byte, i int) int {
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == start {
		return ^i
	}
	return i
}
