package deid

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/keyring"
)

// keyed makes tokens and shifts: by HMAC-SHA-256 (RFC 2104) under keys of their
// own, each derived by HKDF from the epoch's secret, so that neither tells
// anything of the other, of another recipient's, or of another person's.
type keyed struct {
	token, shift hash.Hash
	sum          [sha256.Size]byte
	days         int
	whose        []byte // of days
}

func newKeyed(secret keyring.Secret) keyed {
	token, shift := secret.Key("token"), secret.Key("shift")
	return keyed{token: hmac.New(sha256.New, token[:]), shift: hmac.New(sha256.New, shift[:])}
}

// Kinds of things that have tokens. Things of two kinds never share one, though
// a clinic may number both from one.
var (
	ofPerson   = []byte("person\x00")
	ofProvider = []byte("provider\x00")
	ofRecord   = []byte("record\x00")
	ofNumber   = []byte("number\x00")
)

func tokenKind(c extract.Class) []byte {
	switch c {
	case extract.SubjectKey:
		return ofPerson
	case extract.ProviderKey:
		return ofProvider
	case extract.OtherUnique:
		return ofNumber
	}
	return ofRecord
}

// crockford is the alphabet of codes: base32 without i, l, o, u.
const crockford = "0123456789abcdefghjkmnpqrstvwxyz"

// appendToken appends the token of a thing: CodeLen characters, 100 bits, so
// that among 10^8 things two alike have odds of 4 in 10^15.
func (k *keyed) appendToken(b, kind, id []byte) []byte {
	k.token.Reset()
	k.token.Write(kind)
	k.token.Write(id)
	for _, c := range k.token.Sum(k.sum[:0])[:CodeLen] {
		b = append(b, crockford[c&31])
	}
	return b
}

// coded appends the token of a thing, or leaves a hole for its ordinal. id may
// lie behind b in the same array.
func (e *Engine) coded(b []byte, do action, kind, id []byte) []byte {
	if do == tokenOf {
		return e.keyed.appendToken(b, kind, id)
	}
	ref := RefHash(id)
	b = append(b, unfilled[:OrdinalLen]...)
	e.holes = append(e.holes, Hole{Kind: Ordinal, Start: uint32(len(b) - OrdinalLen), End: uint32(len(b)), Ref: ref})
	return b
}

// codedID appends the token or ordinal of the value of a FHIR id or identifier.
// An id of a record is known by "Type/id", as references to it are; of a patient
// the person is known, by the id that stands.
func (e *Engine) codedID(b []byte, c *node, id []byte) []byte {
	b = append(b, '"')
	at := len(b)
	switch c.class {
	case extract.SubjectKey:
		person := personOf(e.rec, e.subject)
		if person == nil || !bytes.Equal(id, e.facts.Subjects[0]) {
			return b[:at-1]
		}
		b = e.coded(b, c.action, ofPerson, person)
	case extract.RecordKey:
		b = append(append(append(b, e.plan.dataset...), '/'), id...)
		b = e.coded(b[:at], c.action, ofRecord, b[at:])
	default:
		b = e.coded(b, c.action, tokenKind(c.class), id)
	}
	return append(b, '"')
}

// shiftOf is by how many days all dates of the person move: one of -most to -1
// and 1 to most, each as likely as any other to within 2·most in 2^64.
func (k *keyed) shiftOf(person []byte, most int) int {
	if k.days != 0 && bytes.Equal(k.whose, person) {
		return k.days
	}
	k.shift.Reset()
	k.shift.Write(person)
	n := int(binary.BigEndian.Uint64(k.shift.Sum(k.sum[:0])) % uint64(2*most))
	if k.days = n - most; n >= most {
		k.days++
	}
	k.whose = append(k.whose[:0], person...)
	return k.days
}

// personOf is the id of the record's one person that stands, whichever of
// theirs the record has; nil of a record about several people or nobody.
func personOf(rec *extract.Record, s *Subject) []byte {
	switch {
	case len(rec.Facts.Subjects) != 1:
		return nil
	case len(s.ID) > 0:
		return s.ID
	}
	return rec.Facts.Subjects[0]
}

// shifted appends the day, moved as all of the record's person are. A year or a
// month cannot be moved by days, so it gives none; nor does a day by which, as
// it was or as it would be shown, the person is over 89.
func (e *Engine) shifted(b []byte, date extract.Span, rec *extract.Record, s *Subject, most int) []byte {
	person := personOf(rec, s)
	if person == nil || !date.Known() || date.From != date.To {
		return b
	}
	day := date.From + extract.Day(e.keyed.shiftOf(person, most))
	if min(date.From, day).Year() < max(e.plan.rules.firstYear, earliestYear) || day.Year() > latestYear {
		return b
	}
	return day.Time().AppendFormat(b, time.DateOnly)
}

// shiftedTime is shifted for a FHIR date, dateTime or instant, of which the time
// of day and its zone stay: the instant moves by whole days, exactly.
func (e *Engine) shiftedTime(b, text []byte, most int) []byte {
	date, ok := extract.ParseSpan(text)
	if !ok || len(text) > len(time.DateOnly) && !isTimeOfDay(text[len(time.DateOnly):]) {
		return b
	}
	start := len(b)
	if b = e.shifted(append(b, '"'), date, e.rec, e.subject, most); len(b) == start+1 {
		return b[:start]
	}
	return append(append(b, text[len(time.DateOnly):]...), '"')
}
