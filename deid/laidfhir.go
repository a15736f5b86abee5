package deid

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// A layout of FHIR reads its cells out of the line that the engine has made of
// the resource: nothing but what may leave, as it leaves, can stand in one.

// spot is a place of the line that is looked at: a member below another, or an
// extension below "extension" by its URL.
type spot struct {
	name  string
	url   bool // it is an extension
	id    int32
	below []*spot
}

// met is what was met at a spot: a value or an object, with the bytes that it
// takes in the line.
type met struct {
	spot     int32
	from, to int
}

func (m met) holds(o met) bool { return m.from <= o.from && o.to <= m.to }

// place is where a column of a layout finds its value in a line.
type place struct {
	spot int32
	each bool // it stands below the element that makes a row
}

// laidWhen binds a column to a value.
type laidWhen struct {
	value  []byte
	cell   *cell // delimited: the field
	counts bool  // no other column holds the field, so it is counted here
	place        // FHIR: the field
	within int32 // FHIR: the innermost element that holds both
}

// reader reads lines for a layout; it belongs to an engine.
type reader struct {
	line Output
	at   int
	met  []met
	row  met // what makes the row at hand
	text []byte
}

// at gives the spot of a path, which it makes if it must.
func (l *laid) at(path []string) int32 {
	s := &l.top
	for _, step := range path {
		url, is := strings.CutPrefix(step, extensionStep)
		if is {
			s = s.child("extension", false)
		}
		s = s.child(url, is)
	}
	if s.id == 0 {
		l.spots++
		s.id = l.spots
	}
	return s.id
}

func (s *spot) child(name string, url bool) *spot {
	for _, c := range s.below {
		if c.name == name && c.url == url {
			return c
		}
	}
	c := &spot{name: name, url: url}
	s.below = append(s.below, c)
	return c
}

// placeOf is where the one value of a leaf stands.
func (l *laid) placeOf(leaf *policies.Leaf) place {
	return place{l.at(leaf.Path), l.file.Per != nil && len(leaf.Path) > len(l.file.Per) && slices.Equal(leaf.Path[:len(l.file.Per)], l.file.Per)}
}

// whenOf compiles a condition of a column of FHIR.
func (l *laid) whenOf(column *policies.Column) *laidWhen {
	a, b := column.Leaf.Path, column.When.Leaf.Path
	n := 0
	for n < len(a)-1 && n < len(b)-1 && a[n] == b[n] {
		n++
	}
	return &laidWhen{value: []byte(column.When.Value), place: l.placeOf(column.When.Leaf), within: l.at(a[:n])}
}

// takes tells whether a layout takes the value of a leaf, or goes by it; what it
// does not take does not leave.
func takes(l *policies.Layout, dataset string, path []string) bool {
	if l == nil || l.File(dataset) == nil {
		return true
	}
	return slices.ContainsFunc(l.File(dataset).Columns, func(c policies.Column) bool {
		return c.Leaf != nil && slices.Equal(c.Leaf.Path, path) || c.When != nil && c.When.Leaf != nil && slices.Equal(c.When.Leaf.Path, path)
	})
}

// laidResource appends the rows of a resource.
func (e *Engine) laidResource(rec *extract.Record, s *Subject, out *Output) error {
	l, r := e.plan.laid, &e.reader
	r.line.Reset()
	if e.resource(rec, &r.line); e.unsafe {
		return ErrUnsafe
	}
	r.at, r.met = 0, r.met[:0]
	r.value(&l.top)
	rows := 0
	for i := range r.met {
		if r.row = r.met[i]; r.row.spot != l.each {
			continue
		}
		rows++
		if err := e.laidRow(rec, s, out); err != nil {
			return err
		}
	}
	if rows == 0 {
		return &LayoutError{Why: fmt.Sprintf("of the record nothing is left of %s to make a row", strings.Join(l.file.Per, "."))}
	}
	return nil
}

// value reads the value that stands next; s is nil where nothing is looked for.
// The line is one of ours: without blanks, and the names in it without escapes.
func (r *reader) value(s *spot) {
	line, start := r.line.Bytes, r.at
	switch line[start] {
	case '{':
		for line[r.at] != '}' {
			name := r.string()
			r.at++ // the colon
			r.value(s.find(name))
		}
		r.at++
	case '[':
		for line[r.at] != ']' {
			r.at++
			r.value(s.extension(line[r.at:]))
		}
		r.at++
		return // its elements have been met
	case '"':
		r.at--
		r.string()
	default:
		r.at += bytes.IndexAny(line[r.at:], ",]}")
	}
	if s != nil && s.id > 0 {
		r.met = append(r.met, met{s.id, start, r.at})
	}
}

// string reads the string behind a bracket, comma or quote, and gives what
// stands between its quotes.
func (r *reader) string() []byte {
	line, from := r.line.Bytes, r.at+2
	at := from
	for line[at] != '"' {
		if line[at] == '\\' {
			at++
		}
		at++
	}
	r.at = at + 1
	return line[from:at]
}

func (s *spot) find(name []byte) *spot {
	if s == nil {
		return nil
	}
	for _, c := range s.below {
		if !c.url && c.name == string(name) {
			return c
		}
	}
	return nil
}

var urlMember = []byte(`{"url":"`)

// extension gives the spot of an element of an array: the array's own, or of an
// extension the one of its URL, which stands first in it.
func (s *spot) extension(element []byte) *spot {
	if s == nil || s.name != "extension" || s.url {
		return s
	}
	url, _ := bytes.CutPrefix(element, urlMember)
	for _, c := range s.below {
		if len(url) > len(c.name) && string(url[:len(c.name)]) == c.name && url[len(c.name)] == '"' {
			return c
		}
	}
	return nil
}

// stands tells whether something met belongs to the row at hand.
func (r *reader) stands(m met, at place) bool {
	return m.spot == at.spot && (!at.each || r.row.holds(m))
}

// find finds the value of a column in the row at hand; several tells that there
// is more than one.
func (r *reader) find(c *laidColumn) (value met, present, several bool) {
	for _, m := range r.met {
		if r.stands(m, c.place) && (c.when == nil || r.bound(c.when, m)) {
			value, present, several = m, true, present
		}
	}
	return value, present, several
}

// bound tells whether the innermost element that holds a value and the field that
// it is bound to has the right one.
func (r *reader) bound(w *laidWhen, value met) bool {
	for _, within := range r.met {
		if within.spot == w.within && within.holds(value) {
			return r.has(w, within)
		}
	}
	return false
}

// has tells whether the field that a column is bound to has the right value, in
// an element and in the row at hand.
func (r *reader) has(w *laidWhen, within met) bool {
	return slices.ContainsFunc(r.met, func(m met) bool {
		return r.stands(m, w.place) && within.holds(m) && bytes.Equal(r.plain(m), w.value)
	})
}

// plain is what was met at a leaf, a string without quotes and escapes. It holds
// until the next call.
func (r *reader) plain(m met) []byte {
	text := r.line.Bytes[m.from:m.to]
	if text[0] != '"' {
		return text
	}
	if text = text[1 : len(text)-1]; bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	r.text = extract.Unescape(r.text[:0], text)
	return r.text
}

// move takes the holes of a value over to the cell that it was written to, which
// begins at start: it stands there as it is, behind blanks or a quote.
func (r *reader) move(value met, out *Output, start int) {
	first := value.from
	if r.line.Bytes[first] == '"' {
		first++
	}
	for _, h := range r.line.Holes {
		from, to := max(int(h.Start), first), min(int(h.End), value.to-(first-value.from))
		if from >= to {
			continue
		}
		text := r.line.Bytes[first : value.to-(first-value.from)]
		moved := start + bytes.Index(out.Bytes[start:], text) - first
		h.Start, h.End = uint32(from+moved), uint32(to+moved)
		out.Holes = append(out.Holes, h)
	}
}
