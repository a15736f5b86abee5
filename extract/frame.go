package extract

import (
	"errors"
	"io"
	"slices"
)

// frame reads the outermost object of a JSON text member by member, and the
// array `entry` in it element by element, so that a Bundle of any size needs
// no more memory than its largest entry. It finds where values end by their
// brackets and quotes alone; whether they are right JSON is for a tape to say.
type frame struct {
	r     io.Reader
	limit int // of a value's size
	buf   []byte
	pos   int   // of the next byte in buf
	line  int64 // of buf[pos]
	total int64 // bytes passed
	eof   bool
	in    frameState
	entry int
}

type frameState uint8

const (
	beforeObject frameState = iota
	firstMember
	nextMember
	firstEntry
	nextEntry
)

// piece is a member of the frame, or one entry of it.
type piece struct {
	name  []byte // of a member, with its quotes; nil for an entry
	entry int    // of an entry, from 1
	raw   []byte // the value; holds until the next piece is read; nil when too large
	line  int64  // of its first byte
	large bool   // over the limit, and passed over
}

// errFrame means that the frame itself is not JSON, or ends too early.
var errFrame = errors.New("not JSON")

// next gives the next piece; io.EOF after a clean end.
func (f *frame) next(p *piece) error {
	*p = piece{}
	switch f.in {
	case beforeObject:
		if err := f.expect('{'); err != nil {
			return err
		}
		f.in = firstMember
	case firstEntry, nextEntry:
		done, err := f.separator(']', f.in == firstEntry)
		if err != nil {
			return err
		}
		if !done {
			f.in = nextEntry
			f.entry++
			p.entry = f.entry
			return f.value(p)
		}
		f.in = nextMember
	}
	done, err := f.separator('}', f.in == firstMember)
	if err != nil {
		return err
	}
	if done {
		return f.end()
	}
	f.in = nextMember
	return f.member(p)
}

// member reads a name and, unless it is `entry` with an array, its value.
func (f *frame) member(p *piece) error {
	if c, err := f.peek(); err != nil || c != '"' {
		return orFrame(err)
	}
	if err := f.value(p); err != nil || p.large {
		return orFrame(err)
	}
	name := slices.Clone(p.raw)
	if err := f.expect(':'); err != nil {
		return err
	}
	c, err := f.peek()
	if err != nil {
		return orFrame(err)
	}
	if string(name) == `"entry"` && c == '[' && f.entry == 0 {
		f.pos++
		f.in = firstEntry
		*p = piece{name: name, line: f.line}
		return nil
	}
	p.name = name
	return f.value(p)
}

// separator reads what stands between two values, or the end after the last.
func (f *frame) separator(end byte, first bool) (done bool, err error) {
	c, err := f.peek()
	switch {
	case err != nil:
		return false, orFrame(err)
	case c == end:
		f.pos++
		return true, nil
	case first:
		return false, nil
	case c != ',':
		return false, errFrame
	}
	f.pos++
	return false, nil
}

func (f *frame) expect(want byte) error {
	c, err := f.peek()
	if err != nil || c != want {
		return orFrame(err)
	}
	f.pos++
	return nil
}

// end sees that nothing stands behind the object.
func (f *frame) end() error {
	if _, err := f.peek(); err != nil {
		return err // io.EOF
	}
	return errFrame
}

// orFrame makes an early end, or no error at all, one of the frame.
func orFrame(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errFrame
	}
	return err
}

// peek gives the next byte that is not white space; io.EOF at the end.
func (f *frame) peek() (byte, error) {
	for {
		at := skipSpace(f.buf, f.pos)
		f.pass(at)
		if at < len(f.buf) {
			return f.buf[at], nil
		}
		if err := f.fill(); err != nil {
			return 0, err
		}
	}
}

// pass moves on to offset at.
func (f *frame) pass(at int) {
	for _, c := range f.buf[f.pos:at] {
		if c == '\n' {
			f.line++
		}
	}
	f.pos = at
}

// fill reads more behind buf, dropping what was passed; io.EOF at the end.
func (f *frame) fill() error {
	if f.eof {
		return io.EOF
	}
	if f.pos > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.pos:])]
		f.pos = 0
	}
	if len(f.buf) == cap(f.buf) {
		f.buf = slices.Grow(f.buf, max(64<<10, len(f.buf)))
	}
	n, err := f.r.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf = f.buf[:len(f.buf)+n]
	f.total += int64(n)
	if errors.Is(err, io.EOF) {
		f.eof = true
		if n > 0 {
			return nil
		}
	}
	return err
}

// value reads the next value into p.
func (f *frame) value(p *piece) error {
	if _, err := f.peek(); err != nil {
		return orFrame(err)
	}
	p.line = f.line
	var end valueEnd
	scanned := 0 // bytes behind pos that end has seen
	for {
		n, found := end.find(f.buf[f.pos+scanned:])
		scanned += n
		if scanned > f.limit {
			p.large = true
		}
		if p.large {
			f.pass(f.pos + scanned)
			scanned = 0
		}
		if found {
			break
		}
		if err := f.fill(); err != nil {
			return orFrame(err)
		}
	}
	if !p.large {
		if scanned == 0 {
			return errFrame
		}
		p.raw = f.buf[f.pos : f.pos+scanned : f.pos+scanned]
		f.pass(f.pos + scanned)
	}
	return nil
}

// valueEnd finds where a JSON value ends; it can follow it over several reads.
type valueEnd struct {
	depth            int
	text, escape, on bool // within a string, after its backslash; begun
}

// find gives the offset behind the value that b goes on with; when the value
// does not end within b, found is false and n is all of it.
func (e *valueEnd) find(b []byte) (n int, found bool) {
	for i, c := range b {
		switch {
		case e.escape:
			e.escape = false
		case e.text:
			e.escape = c == '\\'
			if c == '"' {
				if e.text = false; e.depth == 0 {
					return i + 1, true
				}
			}
		case c == '"':
			e.text = true
		case c == '{' || c == '[':
			e.depth++
		case c == '}' || c == ']':
			if e.depth == 0 {
				return i, true // of what is around it
			}
			if e.depth--; e.depth == 0 {
				return i + 1, true
			}
		case e.depth == 0 && (c == ',' || c <= ' '):
			return i, true
		}
	}
	return len(b), false
}
