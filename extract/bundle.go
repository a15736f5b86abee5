package extract

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// bundleCutter cuts a fhir-json file: one resource, or a Bundle entry by
// entry. The frame of a Bundle is read once before any entry is given out: its
// type may stand last, and its entries may refer forward.
type bundleCutter struct {
	frame  frame
	limits limits
	urls   fullURLs
	whole  *item // the file is one record, or one that is rejected
	done   bool
	held   piece // read, and not yet in a chunk
	holds  bool
}

func newBundleCutter(file *File, in *input, limits limits) (cutter, error) {
	first, err := openInput(file)
	if err != nil {
		return nil, err
	}
	defer first.Close()
	s, err := surveyOf(first, limits)
	if err != nil {
		return nil, err
	}
	return s.cutter(in), nil
}

// cutter reads the same bytes again, entry by entry.
func (s *survey) cutter(r io.Reader) *bundleCutter {
	return &bundleCutter{frame: frame{r: r, limit: s.limits.record, line: 1}, limits: s.limits, urls: s.urls, whole: s.verdict()}
}

func (b *bundleCutter) next(c *Chunk) error {
	if b.done {
		return io.EOF
	}
	if b.whole != nil {
		b.done = true
		return b.single(c)
	}
	c.urls = b.urls
	data := c.data[:0]
	for {
		if !b.holds {
			if err := b.frame.next(&b.held); errors.Is(err, io.EOF) {
				b.done = true
				break
			} else if err != nil {
				return b.changed(err, c)
			}
		}
		p := &b.held
		if b.holds = p.entry > 0 && len(data) > 0 && len(data)+len(p.raw) > b.limits.chunk; b.holds {
			break
		}
		if p.entry > 0 {
			it := item{start: len(data), line: p.line, entry: p.entry}
			if p.large {
				it.dataset, it.reject, it.detail = Unreadable, TooLarge, tooLong
			}
			data = append(data, p.raw...)
			it.end = len(data)
			c.items = append(c.items, it)
		}
	}
	if c.data = data; len(c.items) == 0 {
		return io.EOF
	}
	return nil
}

func (b *bundleCutter) single(c *Chunk) error {
	it := *b.whole
	data := c.data[:0]
	if it.reject == NoReason {
		var p piece
		if err := b.frame.value(&p); err != nil {
			return b.changed(err, c)
		}
		data = append(data, p.raw...)
		it.line, it.end = p.line, len(data)
	}
	c.data, c.items = data, append(c.items, it)
	return nil
}

// changed is the error of a file that was read twice with two outcomes.
func (b *bundleCutter) changed(err error, c *Chunk) error {
	if errors.Is(err, errFrame) {
		return &FileError{File: c.file.Name, Reason: "changed while it was read; let the extract finish before the run begins"}
	}
	return err
}

// survey is the first reading of a fhir-json file.
type survey struct {
	limits limits
	tape   tape
	names  map[string]bool
	urls   fullURLs

	kind, typ string // resourceType and type of the outermost object
	line      int64  // of its first byte
	wrong     Reason
	detail    string
}

// surveyOf reads the whole of a file. What is wrong with its contents is kept;
// the error is of reading.
func surveyOf(r io.Reader, limits limits) (*survey, error) {
	s := &survey{limits: limits, names: make(map[string]bool), urls: make(fullURLs)}
	f := frame{r: r, limit: limits.record, line: 1}
	_ = f.peek()
	s.line = f.line
	var p piece
	for s.wrong == NoReason {
		err := f.next(&p)
		switch {
		case errors.Is(err, io.EOF):
			if s.kind != "Bundle" && f.total > int64(limits.record) {
				s.reject(TooLarge, tooLong) // the file is one resource
			}
			return s, nil
		case errors.Is(err, errFrame):
			s.reject(Malformed, "not one JSON object, or ends too early")
		case err != nil:
			return nil, err
		case p.entry > 0:
			s.entry(&p)
		default:
			s.member(&p)
		}
		if f.total > int64(limits.bundle) {
			s.reject(TooLarge, "Bundle over the size limit")
		}
	}
	return s, nil
}

func (s *survey) reject(why Reason, detail string) {
	if s.wrong == NoReason {
		s.wrong, s.detail = why, detail
	}
}

func (s *survey) member(p *piece) {
	if p.large {
		s.reject(TooLarge, tooLong)
		return
	}
	if f := s.tape.read(p.name); f.why != "" || s.tape.doc[0].Escaped {
		s.reject(Malformed, "a member name that is not JSON, or has a backslash")
		return
	}
	name := string(p.name[1 : len(p.name)-1])
	if s.names[name] {
		s.reject(Malformed, doubledName)
		return
	}
	s.names[name] = true
	if p.raw == nil {
		return // its entries follow
	}
	if f := s.tape.read(p.raw); f.why != "" {
		s.reject(Malformed, f.why)
		return
	}
	if doc := s.tape.doc; doc[0].Kind == String {
		switch value := string(p.raw[1 : len(p.raw)-1]); name {
		case "resourceType":
			s.kind = value
		case "type":
			s.typ = value
		}
	}
}

// entry notes which resource the fullUrl of an entry names. An entry that is
// not JSON is left to the scanner, which rejects it alone.
func (s *survey) entry(p *piece) {
	if p.large || s.tape.read(p.raw).why != "" {
		return
	}
	doc := s.tape.doc
	url := text(p.raw, doc, member(p.raw, doc, 0, "fullUrl"))
	resource := member(p.raw, doc, 0, "resource")
	kind := known(text(p.raw, doc, member(p.raw, doc, resource, "resourceType")))
	if len(url) == 0 || kind == "" {
		return
	}
	at := member(p.raw, doc, resource, "id")
	id := text(p.raw, doc, at)
	untold := at >= 0 && id == nil && doc[at].Kind != Null // it has another than its address says
	if len(id) == 0 {
		id = lastSegment(url)
	}
	if len(id) == 0 {
		return
	}
	name, says := slices.Concat([]byte(kind), []byte("/"), id), literal(url)
	if bytes.Equal(says.name, name) && !untold {
		return
	}
	if before, met := s.urls[string(url)]; untold || says.kind != "" || met && !bytes.Equal(before, name) {
		name = nil // it cannot be told which resource is meant
	}
	s.urls[string(url)] = name
}

// text gives the value of a string without escapes, nil when at is none.
func text(raw []byte, doc Doc, at int32) []byte {
	if at < 0 || doc[at].Kind != String || doc[at].Escaped {
		return nil
	}
	return raw[doc[at].Start:doc[at].End]
}

// verdict tells whether the file is one record; nil for a Bundle to be read
// entry by entry.
func (s *survey) verdict() *item {
	dataset := Unreadable
	if s.kind == "Bundle" {
		dataset = "Bundle"
		switch s.typ {
		case "transaction", "batch", "collection", "searchset":
		default:
			s.reject(SchemaMismatch, "a Bundle whose type is not transaction, batch, collection or searchset")
		}
	}
	if s.kind == "Bundle" && s.wrong == NoReason {
		return nil
	}
	return &item{line: s.line, dataset: dataset, reject: s.wrong, detail: s.detail}
}
