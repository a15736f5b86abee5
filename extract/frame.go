package extract

import (
	"cmp"
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
	err   error // that ended the reading; io.EOF at the end

	begun, entries bool // within the object, within its entry array
	first          bool // nothing stands before the next value in them
	entry          int
}

type piece struct {
	name  []byte // of a member, with its quotes; nil for an entry
	entry int    // of an entry, from 1
	raw   []byte // the value; holds until the next piece is read; nil when too large
	line  int64  // of its first byte
	large bool   // over the limit, and passed over
}

// errFrame means that the frame itself is not JSON, or ends too early.
var errFrame = errors.New("not JSON")

func (f *frame) next(p *piece) error {
	*p = piece{}
	if !f.begun {
		if !f.take('{') {
			return f.broken()
		}
		f.begun, f.first = true, true
	}
	if f.entries {
		done, err := f.ends(']')
		if err != nil {
			return err
		}
		if !done {
			f.entry++
			p.entry = f.entry
			return f.value(p)
		}
		f.entries = false
	}
	switch done, err := f.ends('}'); {
	case err != nil:
		return err
	case !done:
		return f.member(p)
	case f.peek() == 0 && errors.Is(f.err, io.EOF):
		return io.EOF
	}
	return f.broken()
}

// member reads a name and, unless it is `entry` with an array, its value.
func (f *frame) member(p *piece) error {
	if f.peek() != '"' {
		return f.broken()
	}
	if err := f.value(p); err != nil || p.large {
		return cmp.Or(err, errFrame)
	}
	p.name = slices.Clone(p.raw)
	if !f.take(':') {
		return f.broken()
	}
	if string(p.name) == `"entry"` && f.entry == 0 && f.take('[') {
		f.entries, f.first, p.raw = true, true, nil
		return nil
	}
	return f.value(p)
}

// ends reads the end of an object or array, or what stands before its next value.
func (f *frame) ends(end byte) (done bool, err error) {
	first := f.first
	f.first = false
	done = f.take(end)
	if !done && !first && !f.take(',') {
		err = f.broken()
	}
	return done, err
}

// take passes over a byte, if it is the next that is not white space.
func (f *frame) take(want byte) bool {
	if f.peek() != want {
		return false
	}
	f.pos++
	return true
}

// broken is why the frame cannot be read on: the text, or the reading of it.
func (f *frame) broken() error {
	if f.err != nil && !errors.Is(f.err, io.EOF) {
		return f.err
	}
	return errFrame
}

// peek gives the next byte that is not white space; 0 when there is none.
func (f *frame) peek() byte {
	for {
		at := skipSpace(f.buf, f.pos)
		f.pass(at)
		if at < len(f.buf) {
			return f.buf[at]
		}
		if !f.fill() {
			return 0
		}
	}
}

func (f *frame) pass(at int) {
	for _, c := range f.buf[f.pos:at] {
		if c == '\n' {
			f.line++
		}
	}
	f.pos = at
}

// fill reads more behind buf, dropping what was passed; false when there is
// no more.
func (f *frame) fill() bool {
	if f.err != nil {
		return false
	}
	if f.pos > 0 {
		f.buf = f.buf[:copy(f.buf, f.buf[f.pos:])]
		f.pos = 0
	}
	if len(f.buf) == cap(f.buf) {
		f.buf = slices.Grow(f.buf, max(64<<10, len(f.buf)))
	}
	n, err := f.r.Read(f.buf[len(f.buf):cap(f.buf)])
	f.buf, f.total, f.err = f.buf[:len(f.buf)+n], f.total+int64(n), err
	return n > 0 || err == nil
}

func (f *frame) value(p *piece) error {
	_ = f.peek()
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
		if !f.fill() {
			return f.broken()
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
	depth        int
	text, escape bool // within a string, after its backslash
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
