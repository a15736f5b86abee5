package deid

import (
	"bytes"
	"errors"

	"github.com/posternhealth/postern/extract"
)

// ErrUnsafe is returned for a record with a modifierExtension, wherever it
// stands: none is known to this version, and one in what does not leave may
// still say what the rest means. The record is rejected with extract.Unsafe.
var ErrUnsafe = errors.New("the record has a modifierExtension, and no part of it may be read without knowing what that changes (FHIR R4 §2.4.0.1)")

// Engine applies a plan. It belongs to one worker; its output refers to
// nothing of its own, so it may be used again at once.
type Engine struct {
	plan   *Plan
	counts []tally
	rows   uint64

	// of the record at hand
	rec     *extract.Record
	subject *Subject
	keyed   keyed
	raw     []byte
	doc     extract.Doc
	facts   *extract.Facts
	holes   []Hole
	unsafe  bool
	plain   []byte // a string with its escapes undone
	reader  reader // of a layout
	step    uint64 // what one value adds to a counter; -1 while a rejected record is taken back
}

// Engine makes an engine for the plan.
func (pl *Plan) Engine() *Engine {
	return &Engine{plan: pl, counts: make([]tally, len(pl.paths)), step: 1, keyed: newKeyed(pl.secret)}
}

// Apply appends what may leave of the record to out: one line. On ErrUnsafe, and
// on a *LayoutError, out and the counters are as they were. The subject may be nil when nothing
// is known about the person; the record must not have been rejected.
func (e *Engine) Apply(rec *extract.Record, s *Subject, out *Output) error {
	if s == nil {
		s = &unknownSubject
	}
	e.subject = s
	start, holes := len(out.Bytes), len(out.Holes)
	err := e.line(rec, s, out)
	if err == nil {
		return nil
	}
	// Walk the same way again to the same place, taking back each count.
	out.Bytes, out.Holes, e.step = out.Bytes[:start], out.Holes[:holes], ^uint64(0)
	_ = e.line(rec, s, out)
	out.Bytes, out.Holes, e.step = out.Bytes[:start], out.Holes[:holes], 1
	return err
}

// line appends a line that may turn out to be none.
func (e *Engine) line(rec *extract.Record, s *Subject, out *Output) error {
	switch {
	case e.plan.laid != nil && e.plan.root != nil:
		return e.laidResource(rec, s, out)
	case e.plan.laid != nil:
		return e.laidRow(rec, s, out)
	case e.plan.root == nil:
		return e.row(rec, s, out)
	}
	if e.resource(rec, out); e.unsafe {
		return ErrUnsafe
	}
	return nil
}

func (e *Engine) resource(rec *extract.Record, out *Output) {
	e.rec, e.raw, e.doc, e.facts, e.holes, e.unsafe = rec, rec.Raw, rec.Doc, &rec.Facts, out.Holes, modified(rec)
	if e.unsafe {
		return
	}
	b := append(out.Bytes, e.plan.start...)
	b = e.idOfEntry(e.members(b, e.plan.root, 0))
	b[len(b)-1] = '}'
	out.Bytes, out.Holes = append(b, '\n'), e.holes
	e.rec, e.raw, e.doc, e.facts, e.holes = nil, nil, nil, nil, nil
}

// members appends the named members of the object at token at, each followed
// by a comma that the caller turns into the closing bracket.
func (e *Engine) members(b []byte, n *node, at int32) []byte {
	end := e.doc[at].Next
	for i := at + 1; i < end; {
		name := &e.doc[i]
		c := n.names.find(e.raw, int(name.Start), int(name.End))
		switch {
		case c == nil:
			e.stranger(n, i)
		case c.action == drop:
			e.counts[c.counter].in += e.step
		case c.action == written:
		default:
			mark := len(b)
			b = append(b, c.prefix...)
			full := len(b)
			if b = e.value(b, c, i+1); len(b) == full {
				b = b[:mark]
			} else {
				b = append(b, ',')
			}
		}
		i = name.Next
	}
	return b
}

// stranger counts a member that the plan knows nothing of.
func (e *Engine) stranger(n *node, at int32) {
	name := &e.doc[at]
	if name.Start == name.End || e.raw[name.Start] != '_' {
		e.counts[n.unknown].in += e.step
		return
	}
	e.counts[n.primitives].in += e.step
}

// modified tells whether the record has a modifierExtension anywhere. Most
// records are settled by a search for an E. A name has no escapes: the scanner
// refuses one that has.
func modified(rec *extract.Record) bool {
	for rest := rec.Raw; ; {
		at := bytes.Index(rest, []byte(`Extension"`))
		if at < 0 {
			return false
		}
		if bytes.HasSuffix(rest[:at], []byte(`"modifier`)) {
			break
		}
		rest = rest[at+1:]
	}
	for i := range rec.Doc { // a text may say it, too
		if t := &rec.Doc[i]; t.Kind == extract.MemberName && string(rec.Raw[t.Start:t.End]) == "modifierExtension" {
			return true
		}
	}
	return false
}

// value appends the value at token at. Nothing is appended when nothing of it
// may leave: FHIR knows no empty object or array.
func (e *Engine) value(b []byte, c *node, at int32) []byte {
	if e.doc[at].Kind != extract.Array {
		return e.single(b, c, at)
	}
	if !c.many {
		e.counts[c.counter].in += e.step
		return b
	}
	open := len(b)
	b = append(b, '[')
	for i := at + 1; i < e.doc[at].Next; i = e.doc[i].Next {
		before := len(b)
		if b = e.single(b, c, i); len(b) > before {
			b = append(b, ',')
		}
	}
	if len(b) == open+1 {
		return b[:open]
	}
	b[len(b)-1] = ']'
	return b
}

func (e *Engine) single(b []byte, c *node, at int32) []byte {
	t := &e.doc[at]
	switch {
	case c.action == extensions && t.Kind == extract.Object:
		return e.extension(b, c, at)
	case c.action == descend && t.Kind == extract.Object && (c.only == nil || c.only.find(e.rec, at, 1)):
		return e.object(b, c, at)
	case c.action < keep || c.kinds&(1<<t.Kind) == 0:
		e.counts[c.counter].in += e.step
		return b
	}
	n := &e.counts[c.counter]
	n.in += e.step
	before := len(b)
	if c.fits != nil && !c.fits(e.text(t)) {
		return e.dayOf(b, c, t)
	}
	if c.action == keep {
		b = e.copy(b, t)
	} else {
		b = e.transform(b, c, t)
	}
	if len(b) > before {
		n.out += e.step
	}
	return b
}

// dayOf appends the day of a time that no FHIR time is; of any other value that
// has not the form of its class, nothing.
func (e *Engine) dayOf(b []byte, c *node, t *extract.Token) []byte {
	if c.class != extract.Date && c.class != extract.DeathDate {
		return b
	}
	mark := len(b)
	if b = quotedJSON(b, func(b []byte) []byte { return appendDay(b, e.text(t)) }); len(b) > mark {
		e.counts[c.counter].out += e.step
	}
	return b
}

// copy appends a value as it is; of an empty string, which FHIR does not know
// (R4 §2.6.2), nothing.
func (e *Engine) copy(b []byte, t *extract.Token) []byte {
	if t.Kind == extract.String {
		if t.Start == t.End {
			return b
		}
		return append(b, e.raw[t.Start-1:t.End+1]...)
	}
	return append(b, e.raw[t.Start:t.End]...)
}

// object appends an object. Of a code whose system is not published nothing
// leaves: without its system it would be taken for another.
func (e *Engine) object(b []byte, n *node, at int32) []byte {
	if n.bare != nil && e.unpublished(n, at) {
		e.counts[n.counter].in += e.step
		return b
	}
	open := len(b)
	b = append(b, '{')
	if b = e.members(b, n, at); len(b) == open+1 {
		return b[:open]
	}
	b[len(b)-1] = '}'
	return b
}

// unpublished tells of a coding whose system may not leave, and of one without
// a system unless its code needs none.
func (e *Engine) unpublished(n *node, at int32) bool {
	bare := false
	for i := at + 1; i < e.doc[at].Next; i = e.doc[i].Next {
		name, t := &e.doc[i], &e.doc[i+1]
		switch {
		case t.Kind != extract.String || t.Start == t.End:
		case string(e.raw[name.Start:name.End]) == "system":
			return !n.system(e.text(t))
		case string(e.raw[name.Start:name.End]) == "code":
			bare = n.bare(e.text(t))
		}
	}
	return !bare
}

// extension appends a known extension, its URL first.
func (e *Engine) extension(b []byte, list *node, at int32) []byte {
	n := e.extensionNode(list, at)
	if n == nil {
		e.counts[list.unknown].in += e.step
		return b
	}
	open := len(b)
	b = append(b, n.prefix...)
	full := len(b)
	if b = e.members(b, n, at); len(b) == full {
		return b[:open]
	}
	b[len(b)-1] = '}'
	return b
}

func (e *Engine) extensionNode(list *node, at int32) *node {
	for i := at + 1; i < e.doc[at].Next; i = e.doc[i].Next {
		t := &e.doc[i]
		if string(e.raw[t.Start:t.End]) != "url" || e.doc[i+1].Kind != extract.String {
			continue
		}
		url := e.text(&e.doc[i+1])
		for _, n := range list.byURL {
			if string(url) == n.name {
				return n
			}
		}
		return nil
	}
	return nil
}

func (e *Engine) transform(b []byte, c *node, t *extract.Token) []byte {
	switch c.action {
	case keepLink:
		return e.link(b, c, t)
	case codeLink:
		return e.codedLink(b, c, t)
	case codeSubject:
		if len(e.facts.Subjects) != 1 || !bytes.Equal(e.text(t), e.facts.Subjects[0]) {
			return b
		}
		return quotedJSON(b, e.codeHole)
	case yearOf:
		if year, ok := e.plan.rules.year(c.class, e.text(t)); ok {
			b = append(appendYear(append(b, '"'), year), '"')
		}
	case tokenOf, ordinalOf:
		if c.class == extract.Link {
			return e.link(b, c, t)
		}
		return e.codedID(b, c, e.text(t))
	case shiftOf:
		return e.shiftedTime(b, e.text(t), c.step)
	case roundOf:
		if t.Kind == extract.Numeral && !e.bounded(t) {
			return e.rounded(b, e.raw[t.Start:t.End], c.step)
		}
	case keepExact:
		if !e.bounded(t) {
			return e.copy(b, t)
		}
	case regionOf:
		if e.abroad(t) {
			return b
		}
		return quotedJSON(b, func(b []byte) []byte { return appendRegion(b, e.text(t), c.step > 0) })
	case relativeOf:
		if span, ok := extract.ParseSpan(e.text(t)); ok {
			return quotedJSON(b, func(b []byte) []byte { return e.plan.rules.relative(b, span, e.subject.Index, c.unit) })
		}
	case bandOf:
		if !e.bounded(t) {
			return quotedJSON(b, func(b []byte) []byte { return appendNumberBand(b, e.raw[t.Start:t.End], c.bands) })
		}
	case displayOf:
		return e.display(b, c, t)
	case mapOf:
		if t.Kind == extract.String {
			return append(b, c.codes[string(e.text(t))]...)
		}
	case zip3Of:
		zip := [3]byte{'0', '0', '0'}
		if !e.abroad(t) {
			zip = ZIP3(e.text(t))
		}
		b = append(append(append(b, '"'), zip[:]...), '"')
	}
	return b
}

// quotedJSON appends a text that needs no escapes as a JSON string; of none
// nothing.
func quotedJSON(b []byte, text func([]byte) []byte) []byte {
	mark := len(b)
	if b = text(append(b, '"')); len(b) == mark+1 {
		return b[:mark]
	}
	return append(b, '"')
}

func (e *Engine) codeHole(b []byte) []byte {
	b = append(b, unfilled...)
	e.holes = append(e.holes, Hole{Kind: PersonCode, Start: uint32(len(b) - CodeLen), End: uint32(len(b))})
	return b
}

// text is the value of a string token, its escapes undone. It holds until the
// next call.
func (e *Engine) text(t *extract.Token) []byte {
	if !t.Escaped {
		return e.raw[t.Start:t.End]
	}
	e.plain = extract.Unescape(e.plain[:0], e.raw[t.Start:t.End])
	return e.plain
}
