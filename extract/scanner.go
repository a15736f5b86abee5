package extract

import (
	"bytes"
	"fmt"

	"github.com/posternhealth/postern/internal/phi"
)

// Scanner gives the records of a chunk. A run has one per worker: its buffers
// are kept, so that in steady state a record costs no allocation. It is not
// safe for concurrent use.
type Scanner struct {
	chunk   *Chunk
	pos     int   // in chunk.data
	item    int   // in chunk.items
	line    int64 // of chunk.data[pos]
	ordinal int64

	tape tape
	find finder
	rows rowReader
}

// NewScanner makes a scanner without a chunk.
func NewScanner() *Scanner { return &Scanner{} }

// Reset begins with the first record of a chunk.
func (s *Scanner) Reset(c *Chunk) {
	s.chunk, s.pos, s.item, s.line, s.ordinal = c, 0, 0, c.line, 0
	s.find.urls, s.find.servers = c.urls, c.file.Rule.Servers
	if c.file.Rule.Format == Delimited {
		s.rows.begin(c)
	}
}

// Next fills rec with the next record of the chunk, read or rejected; false
// when there is none. Record.Ordinal counts from the chunk's first record.
func (s *Scanner) Next(rec *Record) bool {
	found := false
	switch {
	case s.item < len(s.chunk.items):
		found = s.nextItem(rec)
	case s.chunk.file.Rule.Format == Delimited:
		found = s.nextRow(rec)
	case s.chunk.file.Rule.Format == FHIRNDJSON:
		found = s.nextLine(rec)
	}
	if found {
		rec.Place.File, rec.Ordinal, rec.Facts.Dataset = s.chunk.file.Index, s.ordinal, rec.Dataset
		rec.urls, rec.servers = s.chunk.urls, s.chunk.file.Rule.Servers
		s.ordinal++
	}
	return found
}

// Resource reads one FHIR resource that stands alone in raw. It sets all of
// rec but Place and Ordinal.
func (s *Scanner) Resource(raw []byte, rec *Record) {
	rec.clear()
	rec.Raw = raw
	s.find.fullURL = nil
	if s.read(raw, rec) {
		rec.Doc = s.tape.doc
		s.find.find(rec, s.tape.refs, 0)
	}
	rec.Facts.Dataset = rec.Dataset
}

func (r *Record) clear() {
	r.Place, r.Ordinal, r.Dataset, r.Reject, r.Detail = Place{}, 0, Unreadable, NoReason, ""
	r.Raw, r.Doc, r.Row, r.urls, r.servers = nil, nil, r.Row[:0], nil, nil
	f := &r.Facts
	f.Dataset, f.ID, f.Date, f.Encounter, f.Status = Unreadable, nil, NoSpan, nil, nil
	f.Subjects, f.Providers, f.Codes, f.Labels, f.Evidence = f.Subjects[:0], f.Providers[:0], f.Codes[:0], f.Labels[:0], f.Evidence[:0]
}

func (s *Scanner) read(raw []byte, rec *Record) bool {
	f := s.tape.read(raw)
	if f.why == "" {
		return true
	}
	return rec.reject(Malformed, fmt.Sprintf("%s, at byte %d of the record", f.why, f.at+1))
}

func (s *Scanner) nextLine(rec *Record) bool {
	data := s.chunk.data
	for s.pos < len(data) {
		end, next := len(data), len(data)
		if n := bytes.IndexByte(data[s.pos:], '\n'); n >= 0 {
			end, next = s.pos+n, s.pos+n+1
		}
		if end > s.pos && data[end-1] == '\r' {
			end--
		}
		raw, line := data[s.pos:end:end], s.line
		s.pos = next
		s.line++
		if skipSpace(raw, 0) == len(raw) {
			continue
		}
		if len(raw) > s.chunk.limit {
			rec.clear()
			rec.reject(TooLarge, tooLong)
		} else {
			s.Resource(raw, rec)
		}
		rec.Place = Place{Line: line}
		return true
	}
	return false
}

// nextItem takes the next item that is a record: an entry of a Bundle without
// a resource is none.
func (s *Scanner) nextItem(rec *Record) bool {
	for s.item < len(s.chunk.items) {
		it := &s.chunk.items[s.item]
		s.item++
		raw := s.chunk.data[it.start:it.end:it.end]
		switch {
		case it.reject != NoReason:
			rec.clear()
			rec.Dataset, rec.Raw = it.dataset, raw
			rec.reject(it.reject, it.detail)
		case it.entry == 0:
			s.Resource(raw, rec)
		case !s.entry(raw, rec):
			continue
		}
		rec.Place = Place{Line: it.line + rec.Place.Line, Entry: it.entry}
		return true
	}
	return false
}

// entry reads an entry of a Bundle; false when it holds no resource.
// rec.Place.Line is left as the number of lines before the resource.
func (s *Scanner) entry(raw phi.Bytes, rec *Record) bool {
	rec.clear()
	rec.Raw = raw
	if !s.read(raw, rec) {
		return true
	}
	doc := s.tape.doc
	if doc[0].Kind != Object {
		rec.reject(SchemaMismatch, "an entry of the Bundle is no object")
		return true
	}
	at := member(raw, doc, 0, "resource")
	if at < 0 {
		return false
	}
	s.find.fullURL = nil
	if u := member(raw, doc, 0, "fullUrl"); u >= 0 && doc[u].Kind == String && !doc[u].Escaped {
		s.find.fullURL = raw[doc[u].Start:doc[u].End]
		if s.find.servers.foreign(s.find.fullURL) {
			rec.reject(NoSubject, "its fullUrl is the address of another server, where others may have the same ids")
			return true
		}
	}
	start, end := doc[at].Start, doc[at].End
	if doc[at].Kind == String {
		start, end = start-1, end+1
	}
	rec.Place.Line = int64(bytes.Count(raw[:start], newline))
	rec.Raw, rec.Doc = raw[start:end:end], rebase(doc[at:doc[at].Next], at, start)
	refs := s.tape.refs
	for len(refs) > 0 && refs[0] < at {
		refs = refs[1:]
	}
	s.find.find(rec, refs, at)
	return true
}

// rebase makes a Doc of a part of one, whose tokens and bytes were counted
// from further ahead.
func rebase(part Doc, tokens, bytes int32) Doc {
	for i := range part {
		t := &part[i]
		t.Start, t.End, t.Next = t.Start-bytes, t.End-bytes, t.Next-tokens
	}
	return part
}
