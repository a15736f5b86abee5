package deid

import (
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// Subject is what is known about the person of a record. Its zero value is
// not "unknown" (day 0 is a date): start from UnknownSubject.
type Subject struct {
	ID           phi.Bytes // the person's id that stands; empty: the record's own
	Birth, Death extract.Span
	Index        extract.Day // the person's first day in the cohort; NoDay when none
	Lookup       []phi.Bytes // values of Plan.Lookups, in that order; nil where there is none
}

var unknownSubject = UnknownSubject()

// UnknownSubject is a person of whom nothing is known.
func UnknownSubject() Subject {
	return Subject{Birth: extract.NoSpan, Death: extract.NoSpan, Index: extract.NoDay}
}

// Output collects lines. Apply appends; the caller resets.
type Output struct {
	Bytes []byte
	Holes []Hole // in the order of their place
}

// Reset empties the output and keeps its memory.
func (o *Output) Reset() { o.Bytes, o.Holes = o.Bytes[:0], o.Holes[:0] }

// CodeLen is the width of a person's code and of a row key.
const CodeLen = 20

// unfilled stands in a hole until the caller writes the code. It is in no code
// alphabet, so a hole that is forgotten stops at the gate.
const unfilled = "????????????????????"

// HoleKind says what belongs into a hole.
type HoleKind uint8

const (
	PersonCode HoleKind = iota // Start..End await the code of the record's one subject, CodeLen bytes
	RowKey                     // Start..End await the key of the row, CodeLen bytes
	Reference                  // Start..End hold a reference, with its quotes, that stays only if record Ref is in the drop
	Ordinal                    // Start..End await the number, in OrdinalLen digits, of the value Ref within the drop
)

// OrdinalLen is the width of an ordinal: with its leading zeros it sorts as
// text, too, and its place in the row is known before its number is.
const OrdinalLen = 10

func (k HoleKind) width() int {
	if k == Ordinal {
		return OrdinalLen
	}
	return CodeLen
}

// Hole is a place in Output.Bytes that only the seal pass can settle.
type Hole struct {
	Kind       HoleKind
	Start, End uint32
	Ref        uint64 // of a Reference: RefHash of its "Type/id"; of an Ordinal: RefHash of its value
}
