package consent

import (
	"encoding/binary"
	"errors"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

const factsVersion = 2

var errFacts = errors.New("an entry of the decision index cannot be read: it was altered, or written by a newer postern")

// AppendFacts appends the facts of a record in the form of the decision index,
// from which everything in a drop is judged again before it is delivered, with
// the births of those whom it is about, where they were noted, and the encounters
// of which its own is part (Facts.Wholes): later extracts may not tell of them.
func AppendFacts(dst []byte, f *extract.Facts, people *People, parts Parts) []byte {
	dst = append(dst, factsVersion)
	dst = appendString(dst, f.Dataset)
	dst = appendString(dst, f.ID)
	dst = appendStrings(dst, f.Subjects)
	dst = people.appendBirths(dst, f.Subjects)
	dst = appendSpan(dst, f.Date)
	dst = appendString(dst, f.Encounter)
	dst = appendStrings(dst, f.Providers)
	dst = appendStrings(dst, f.Codes)
	dst = appendStrings(dst, f.Labels)
	dst = appendString(dst, f.Status)
	return appendStrings(dst, parts.wholes(f))
}

// ReadFacts reads what AppendFacts wrote into f, whose slices it reuses, and
// gives the bytes that follow. The values of f alias b. Those whom the record is
// about are among the people from then on, with their births; people may be nil.
func ReadFacts(b []byte, f *extract.Facts, people *People) (rest []byte, err error) {
	r := reader{b: b}
	if r.byte() != factsVersion {
		return nil, errFacts
	}
	if dataset := r.bytes(); string(dataset) != f.Dataset {
		f.Dataset = string(dataset)
	}
	f.ID = r.bytes()
	f.Subjects = r.list(f.Subjects)
	births := r.byte() != 0
	for _, id := range f.Subjects {
		birth := extract.NoSpan
		if births {
			birth = r.span()
		}
		if people == nil {
			continue
		}
		if s := people.Intern(id); births {
			people.NoteBirth(s, birth)
		}
	}
	f.Date = r.span()
	f.Encounter = r.bytes()
	f.Providers = r.list(f.Providers)
	f.Codes = r.list(f.Codes)
	f.Labels = r.list(f.Labels)
	f.Status = r.bytes()
	f.Wholes = r.list(f.Wholes)
	if r.bad {
		return nil, errFacts
	}
	return r.b, nil
}

func (p *People) appendBirths(dst []byte, ids []phi.Bytes) []byte {
	if p.births == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for _, id := range ids {
		birth := extract.NoSpan
		if s, known := p.Find(id); known {
			birth = p.birth(s)
		}
		dst = appendSpan(dst, birth)
	}
	return dst
}

func appendSpan(dst []byte, s extract.Span) []byte {
	dst = binary.AppendVarint(dst, int64(s.From))
	return binary.AppendVarint(dst, int64(s.To)-int64(s.From))
}

func (r *reader) span() extract.Span {
	from := r.int()
	return extract.Span{From: extract.Day(from), To: extract.Day(from + r.int())}
}

func (r *reader) list(into []phi.Bytes) []phi.Bytes {
	into = into[:0]
	n := r.uint()
	for i := uint64(0); i < n && !r.bad; i++ {
		into = append(into, r.bytes())
	}
	return into
}
