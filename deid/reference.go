package deid

import (
	"bytes"
	"hash/maphash"

	"github.com/posternhealth/postern/extract"
)

var refSeed = maphash.MakeSeed()

// RefHash is the keyed hash of "Type/id" by which a reference meets the record
// it points to. Its key lives as long as the process: it is never stored.
func RefHash(typeAndID []byte) uint64 { return maphash.Bytes(refSeed, typeAndID) }

// link appends a reference in its normal form, "Type/id", or with the token or
// ordinal of the record that it names in place of the id. A reference to the
// record's own patient stays. Any other is a Reference hole: it stays only if
// its target is in the drop. One that cannot be brought to Type/id (a search,
// a contained resource, a urn that nothing in its Bundle resolves) is dropped;
// so is one to another patient, unless it is kept: which person that is, is not
// known here.
func (e *Engine) link(b []byte, c *node, t *extract.Token) []byte {
	text := e.rec.Resolve(e.text(t))
	if own := e.ownPatient(c, text); own != nil {
		if c.action == keepLink {
			return appendReference(b, patientType, own)
		}
		return e.patientLink(b, c.action)
	}
	typ, id, ok := splitReference(text)
	if !ok && c.element == "encounter" && isURN(text) && plainID(e.facts.Encounter) {
		typ, id, ok = encounterType, e.facts.Encounter, true // the Bundle's fullUrl map resolved it
	}
	if !ok || c.action != keepLink && bytes.Equal(typ, patientType) {
		return b
	}
	start := len(b)
	b = appendReference(b, typ, id)
	name := b[start+1 : len(b)-1]
	e.holes = append(e.holes, Hole{Kind: Reference, Start: uint32(start), Ref: RefHash(name)})
	hole := len(e.holes) - 1
	if c.action != keepLink {
		b = append(e.coded(b[:start+1+len(typ)+1], c.action, ofRecord, name), '"')
	}
	e.holes[hole].End = uint32(len(b))
	return b
}

// patientLink appends a reference to the record's one patient by token. An
// ordinal numbers records, not people.
func (e *Engine) patientLink(b []byte, do action) []byte {
	person := personOf(e.rec, e.subject)
	if person == nil || do != tokenOf {
		return b
	}
	return append(e.coded(append(b, `"Patient/`...), do, ofPerson, person), '"')
}

// codedLink appends a reference to the record's own patient with a hole for
// the person's code in place of the id. Every other reference is dropped, and
// so is each one in a record about several people.
func (e *Engine) codedLink(b []byte, c *node, t *extract.Token) []byte {
	if len(e.facts.Subjects) != 1 || e.ownPatient(c, e.rec.Resolve(e.text(t))) == nil {
		return b
	}
	return append(e.codeHole(append(b, `"Patient/`...)), '"')
}

var (
	idName        = []byte("id")
	patientType   = []byte("Patient")
	encounterType = []byte("Encounter")
)

// idOfEntry appends the id of a Bundle's entry that has one by its fullUrl
// alone, as a resource that is to be created has (FHIR R4 Bundle §2.36.4.1):
// references are brought to that id, so without it they would name nothing.
func (e *Engine) idOfEntry(b []byte) []byte {
	if e.rec.Place.Entry == 0 || !plainID(e.facts.ID) {
		return b
	}
	n := e.plan.root.names.find(idName, 0, len(idName))
	if n == nil || n.action < keep {
		return b
	}
	for i := int32(1); i < e.doc[0].Next; i = e.doc[i].Next {
		if bytes.Equal(e.raw[e.doc[i].Start:e.doc[i].End], idName) {
			return b
		}
	}
	if n.action == codeSubject && (len(e.facts.Subjects) != 1 || !bytes.Equal(e.facts.ID, e.facts.Subjects[0])) {
		return b
	}
	e.counts[n.counter].in += e.step
	full := len(b) + len(n.prefix)
	switch b = append(b, n.prefix...); n.action {
	case codeSubject:
		b = append(e.codeHole(append(b, '"')), '"')
	case tokenOf, ordinalOf:
		b = e.codedID(b, n, e.facts.ID)
	default:
		b = append(append(append(b, '"'), e.facts.ID...), '"')
	}
	if len(b) == full {
		return b[:full-len(n.prefix)]
	}
	e.counts[n.counter].out += e.step
	return append(b, ',')
}

// ownPatient gives the id of the patient that the reference names, if it is a
// subject of this record; nil otherwise. A urn in the element that holds a
// record's one patient was resolved by the scan through the Bundle's fullUrls.
func (e *Engine) ownPatient(c *node, text []byte) []byte {
	if isURN(text) {
		uuid := text[len("urn:uuid:"):]
		for _, s := range e.facts.Subjects {
			if bytes.Equal(s, uuid) {
				return plainOrNil(s)
			}
		}
		if len(e.facts.Subjects) == 1 && holdsThePatient(c.element) {
			return plainOrNil(e.facts.Subjects[0])
		}
		return nil
	}
	typ, id, ok := splitReference(text)
	if !ok || string(typ) != "Patient" {
		return nil
	}
	for _, s := range e.facts.Subjects {
		if bytes.Equal(s, id) {
			return s
		}
	}
	return nil
}

// holdsThePatient tells whether the element, wherever it occurs in R4's
// patient compartment, names the person whom the resource is about.
func holdsThePatient(element string) bool {
	return element == "subject" || element == "patient" || element == "beneficiary"
}

func plainOrNil(id []byte) []byte {
	if plainID(id) {
		return id
	}
	return nil
}

func isURN(text []byte) bool { return bytes.HasPrefix(text, []byte("urn:uuid:")) }

func appendReference(b, typ, id []byte) []byte {
	b = append(append(append(b, '"'), typ...), '/')
	return append(append(b, id...), '"')
}

// splitReference reads a literal reference, relative or absolute, with or
// without a version (FHIR R4 §2.3.0.1).
func splitReference(text []byte) (typ, id []byte, ok bool) {
	if i := bytes.Index(text, []byte("/_history/")); i >= 0 {
		text = text[:i]
	}
	slash := bytes.LastIndexByte(text, '/')
	if slash < 0 {
		return nil, nil, false
	}
	typ, id = text[:slash], text[slash+1:]
	if bytes.HasPrefix(text, []byte("http://")) || bytes.HasPrefix(text, []byte("https://")) {
		typ = typ[bytes.LastIndexByte(typ, '/')+1:]
	}
	return typ, id, plainType(typ) && plainID(id)
}

func plainType(typ []byte) bool {
	for i, c := range typ {
		if (c < 'a' || c > 'z' || i == 0) && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(typ) > 0
}

// plainID accepts what FHIR calls an id, and the underscore and colon that
// clinics add to it: bytes that mean nothing in JSON or in a reference.
func plainID(id []byte) bool {
	for _, c := range id {
		alphanumeric := c-'0' < 10 || c|0x20-'a' < 26
		if !alphanumeric && c != '-' && c != '.' && c != '_' && c != ':' {
			return false
		}
	}
	return len(id) > 0 && len(id) <= 128
}

// CutReference removes the member whose value stands in the hole, and every
// object and array that becomes empty by it, from finished bytes. The line's
// own resource is never empty. Holes that stand behind this one in buf move:
// cut from the last to the first, after the codes are filled in, and hand over
// one record's line at a time, for the rest of buf is moved at each cut.
func CutReference(buf []byte, h Hole) []byte {
	from, to := int(h.Start), int(h.End)
	for {
		if buf[from-1] == ':' { // a member: take its name, which has no escapes
			from = bytes.LastIndexByte(buf[:from-2], '"')
		}
		before, after := buf[from-1], buf[to]
		switch {
		case before == ',':
			return append(buf[:from-1], buf[to:]...)
		case after == ',':
			return append(buf[:from], buf[to+1:]...)
		}
		from, to = from-1, to+1 // the only member or element: take its holder
	}
}
