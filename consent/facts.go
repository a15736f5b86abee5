package consent

import (
	"encoding/binary"
	"errors"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

const factsVersion = 1

var errFacts = errors.New("an entry of the decision index cannot be read: it was altered, or written by a newer postern")

// AppendFacts appends the facts of a record in the form of the decision index,
// from which everything in a drop is judged again before it is delivered.
func AppendFacts(dst []byte, f *extract.Facts) []byte {
	dst = append(dst, factsVersion)
	dst = appendString(dst, f.Dataset)
	dst = appendString(dst, f.ID)
	dst = appendStrings(dst, f.Subjects)
	dst = binary.AppendVarint(dst, int64(f.Date.From))
	dst = binary.AppendVarint(dst, int64(f.Date.To)-int64(f.Date.From))
	dst = appendString(dst, f.Encounter)
	dst = appendStrings(dst, f.Providers)
	dst = appendStrings(dst, f.Codes)
	dst = appendStrings(dst, f.Labels)
	return appendString(dst, f.Status)
}

// ReadFacts reads what AppendFacts wrote into f, whose slices it reuses, and
// gives the bytes that follow. The values of f alias b.
func ReadFacts(b []byte, f *extract.Facts) (rest []byte, err error) {
	r := reader{b: b}
	if r.byte() != factsVersion {
		return nil, errFacts
	}
	if dataset := r.bytes(); string(dataset) != f.Dataset {
		f.Dataset = string(dataset)
	}
	f.ID = r.bytes()
	f.Subjects = r.list(f.Subjects)
	from := r.int()
	f.Date = extract.Span{From: extract.Day(from), To: extract.Day(from + r.int())}
	f.Encounter = r.bytes()
	f.Providers = r.list(f.Providers)
	f.Codes = r.list(f.Codes)
	f.Labels = r.list(f.Labels)
	f.Status = r.bytes()
	if r.bad {
		return nil, errFacts
	}
	return r.b, nil
}

func (r *reader) list(into []phi.Bytes) []phi.Bytes {
	into = into[:0]
	n := r.uint()
	for i := uint64(0); i < n && !r.bad; i++ {
		into = append(into, r.bytes())
	}
	return into
}
