package extract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// oracle counts the tokens of b by another implementation: names, scalars,
// and the start of every object and array. ok is false when it refuses b.
func oracle(b []byte) (tokens, depth int, ok bool) {
	d := jsontext.NewDecoder(bytes.NewReader(b))
	for {
		tok, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return tokens, depth, tokens > 0
		}
		if err != nil {
			return 0, depth, false
		}
		depth = max(depth, d.StackDepth())
		if k := tok.Kind(); k != '}' && k != ']' {
			tokens++
		}
		if d.StackDepth() == 0 {
			_, err := d.ReadToken()
			return tokens, depth, errors.Is(err, io.EOF)
		}
	}
}

// wellFormed checks what a Doc promises: siblings are chained, offsets nest.
func wellFormed(t *testing.T, doc Doc, from, to int32) {
	t.Helper()
	for i := from; i < to; i = doc[i].Next {
		tok := doc[i]
		if tok.Next <= i || tok.Next > to || tok.Start > tok.End {
			t.Fatalf("token %d: %+v does not fit in %d..%d", i, tok, from, to)
		}
		switch tok.Kind {
		case Object, Array, MemberName:
			wellFormed(t, doc, i+1, tok.Next)
		default:
			if tok.Next != i+1 {
				t.Fatalf("scalar %d: %+v", i, tok)
			}
		}
	}
}

func FuzzTape(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `{"a":1,"b":[true,false,null,-0.5e+3],"c":{"d":"e\u00e9\n"}}`, ` [ 1 , 2 ] `, `"\ud83d\ude00"`, `"\ud83d"`,
		`{"a":1,"a":2}`, "\"\xff\"", "\"a\x01\"", `01`, `-`, `1.`, `1e`, `{"a"}`, `{"a":}`, `[1,]`, `{,}`, `1 2`, "\ufeff{}", `"\x"`, `tru`,
		strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 65),
		`{"abcdefgh1":1,"abcdefgh2":2,"abcdefgh":3}`,
	} {
		f.Add([]byte(s))
	}
	var tp tape
	f.Fuzz(func(t *testing.T, b []byte) {
		flaw := tp.read(b)
		tokens, depth, ok := oracle(b)
		switch {
		case flaw.why == escapedName || flaw.why == tooDeep && depth > maxDepth:
			return // refused by choice
		case (flaw.why == "") != ok:
			t.Fatalf("%q: we say %+v, the oracle says %v", b, flaw, ok)
		case ok && len(tp.doc) != tokens:
			t.Fatalf("%q: %d tokens, the oracle has %d", b, len(tp.doc), tokens)
		case ok:
			wellFormed(t, tp.doc, 0, int32(len(tp.doc)))
		}
	})
}

func TestTapeFlaws(t *testing.T) {
	many := func(last string) string {
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, `"sameprefix%02d":1,`, i)
		}
		return "{" + b.String() + last + ":1}"
	}
	for _, c := range []struct{ in, why string }{
		{``, cutShort}, {`{`, notJSON}, {`{"a":1`, cutShort}, {`["a`, cutShort}, {`[1`, cutShort},
		{`invalid-row`, notJSON}, {`{"a" 1}`, notJSON}, {`{"a":1 "b":2}`, notJSON}, {`[1 2]`, notJSON}, {`[1}`, notJSON},
		{`{"a":1}x`, trailing}, {`nul`, notJSON}, {`+1`, notJSON}, {`.5`, notJSON}, {`00`, trailing}, {`-a`, notJSON}, {`1.e3`, notJSON},
		{`"\q"`, "bad escape in a string"}, {`"\u12g4"`, "bad escape in a string"}, {`"\udc00"`, "bad escape in a string"},
		{`"\ud800\u0041"`, "bad escape in a string"}, {`"\ud800`, "bad escape in a string"},
		{"\"tab\there\"", "control character in a string"}, {"\"\x00\"", "control character in a string"},
		{"\"caf\xe9\"", "not UTF-8"}, {"\"\xed\xa0\x80\"", "not UTF-8"}, {"\"\xc0\xaf\"", "not UTF-8"},
		{`{"a":1,"a":1}`, doubledName}, {`{"a":{"b":1,"c":2,"b":3}}`, doubledName}, {many(`"sameprefix02"`), doubledName},
		{`{"\u0061":1}`, escapedName},
		{strings.Repeat("[", 65) + strings.Repeat("]", 65), tooDeep},
		{many(`"sameprefix"`), ""}, {`{"a":1,"b":{"a":1}}`, ""}, {strings.Repeat("[", 64) + strings.Repeat("]", 64), ""},
		{`{"":1,"` + "\u00e9" + `":2}`, ""}, {`"\ud83d\ude00 \/ \b"`, ""}, {"\t{\r\n}  ", ""},
	} {
		var tp tape
		if got := tp.read([]byte(c.in)); got.why != c.why {
			t.Errorf("%q: got %+v, want %q", c.in, got, c.why)
		}
	}
}
