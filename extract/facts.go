package extract

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/posternhealth/postern/internal/phi"
)

// finder finds the facts of one FHIR resource on its tape. Its buffers are
// kept from record to record.
type finder struct {
	rec     *Record
	raw     []byte
	doc     Doc
	urls    fullURLs // of the Bundle the resource came in; nil elsewhere
	servers Servers
	fullURL []byte // of its entry, empty elsewhere
	scratch []byte // values that had escapes
	kind    *resource

	dateRank   int
	noID       bool   // what stands as its id is none
	unresolved string // why a patient that the record names cannot be told
}

// find fills rec.Dataset, rec.Facts and, when the resource cannot be used,
// rec.Reject. refs are the tokens of the member names "reference", in order,
// numbered from base before the first token of rec.Doc.
func (f *finder) find(rec *Record, refs []int32, base int32) {
	f.rec, f.raw, f.doc = rec, rec.Raw, rec.Doc
	f.scratch, f.dateRank, f.noID, f.unresolved = f.scratch[:0], 255, false, ""
	if !f.dataset() {
		return
	}
	doc, end := f.doc, f.doc[0].Next
	for i, next := int32(1), int32(0); i < end; i = next {
		next = doc[i].Next
		e := f.kind.find(f.raw, doc[i])
		role := plain
		if e != nil {
			role = e.role
			f.element(e, i+1)
		}
		named := false
		for ; len(refs) > 0 && refs[0]-base < next; refs = refs[1:] {
			if r := refs[0] - base; r > i && doc[r+1].Kind == String {
				f.reference(role, f.text(doc[r+1]))
				named = true
			}
		}
		if !named && doc[i+1].Kind != Null {
			f.withoutReference(role)
		}
	}
	f.conclude()
}

// dataset tells the resource type, which may stand last.
func (f *finder) dataset() bool {
	rec := f.rec
	rec.Dataset = Unreadable
	if f.doc[0].Kind != Object {
		return rec.reject(SchemaMismatch, "not a JSON object")
	}
	at := member(f.raw, f.doc, 0, "resourceType")
	if at < 0 || f.doc[at].Kind != String {
		return rec.reject(SchemaMismatch, "no resourceType")
	}
	f.kind = resources[string(f.text(f.doc[at]))]
	if f.kind == nil {
		return rec.reject(UnknownDataset, "resourceType is no resource type of FHIR R4")
	}
	rec.Dataset = f.kind.name
	if f.kind.nested {
		return rec.reject(SchemaMismatch, "a resource that holds others is read only as a file of format fhir-json")
	}
	return true
}

// reject marks the record; it gives false so that a caller can stop with it.
func (r *Record) reject(why Reason, detail string) bool {
	r.Reject, r.Detail = why, detail
	return false
}

func (f *finder) element(e *element, value int32) {
	facts := &f.rec.Facts
	switch tok := f.doc[value]; e.role {
	case id:
		if tok.Kind == String {
			facts.ID = f.text(tok)
		} else if tok.Kind != Null {
			f.rec.reject(SchemaMismatch, "its id is no string")
			f.noID = true
		}
	case status:
		if tok.Kind == String {
			facts.Status = f.text(tok)
		}
	case date:
		f.date(e, value)
	case code:
		f.each(value, func(concept int32) {
			facts.Codes = f.codes(facts.Codes, concept, "coding")
		})
	case evidence:
		f.each(value, f.evidenceWithoutReference)
	case meta:
		f.labels(value)
	case contained:
		f.each(value, func(inner int32) {
			if m := member(f.raw, f.doc, inner, "meta"); m >= 0 {
				f.labels(m)
			}
		})
	}
}

// date takes the date of service: of the elements that are present the one
// that the table names first, even when it cannot be read.
func (f *finder) date(e *element, value int32) {
	if int(e.rank) >= f.dateRank {
		return
	}
	if e.step != "" {
		if value = member(f.raw, f.doc, value, e.step); value < 0 {
			return
		}
	}
	switch tok := f.doc[value]; tok.Kind {
	case Null:
	case String:
		f.dateRank = int(e.rank)
		f.rec.Facts.Date, _ = ParseSpan(f.text(tok))
	default:
		f.dateRank, f.rec.Facts.Date = int(e.rank), NoSpan
	}
}

// labels takes those of a meta, and of a list of them, which FHIR does not know: a
// label protects in whatever shape it comes.
func (f *finder) labels(value int32) {
	f.each(value, func(meta int32) { f.rec.Facts.Labels = f.codes(f.rec.Facts.Labels, meta, "security") })
}

func (f *finder) codes(to []phi.Bytes, value int32, name string) []phi.Bytes {
	list := member(f.raw, f.doc, value, name)
	if list < 0 {
		return to
	}
	f.each(list, func(coding int32) {
		if c := member(f.raw, f.doc, coding, "code"); c >= 0 {
			f.each(c, func(code int32) {
				if f.doc[code].Kind == String {
					to = append(to, f.text(f.doc[code]))
				}
			})
		}
	})
	return to
}

// each calls do for the elements of an array, or for the value itself when it
// is none.
func (f *finder) each(value int32, do func(int32)) {
	if f.doc[value].Kind != Array {
		do(value)
		return
	}
	for i := value + 1; i < f.doc[value].Next; i = f.doc[i].Next {
		f.each(i, do)
	}
}

// reference takes one Reference.reference (FHIR R4 §2.3.0) that stands within
// an element of the given role.
func (f *finder) reference(role elementRole, ref []byte) {
	t := f.resolve(ref)
	facts := &f.rec.Facts
	switch t.kind {
	case "Patient":
		f.patient(t)
	case "Organization", "Location", "Practitioner", "PractitionerRole", "HealthcareService", "CareTeam":
		facts.Providers = addOnce(facts.Providers, t.name)
	case "":
		if role == whole {
			f.patient(t)
		} else if role == plain || role == evidence { // it may be a provider: whoever decides by providers is to see it
			facts.Providers = addOnce(facts.Providers, t.name)
		}
	case "Group":
		if role == whole && f.kind.mustConcern {
			f.unresolved = "it is about a Group, not about patients that can be told"
		}
	}
	if role == evidence || role == contained && f.kind.derives {
		f.evidence(role, ref, t)
	}
	if role == encounter && (t.kind == "Encounter" || t.kind == "") {
		if t.id == nil {
			t.id = t.name
		}
		f.encounter(t.id)
	}
}

// evidence adds a record that this one is derived from. What it contains is part
// of itself, and names evidence in turn; a visit that is named there was named
// as its place. Who the patient is and who insures them is evidence of nothing.
func (f *finder) evidence(role elementRole, ref []byte, t target) {
	kind := resources[t.kind]
	switch {
	case len(ref) > 0 && ref[0] == '#', t.kind == "Patient", t.kind == "Coverage", role == contained && t.kind == "Encounter",
		kind != nil && !kind.ofPatients:
	default:
		f.rec.Facts.Evidence = addOnce(f.rec.Facts.Evidence, t.name)
	}
}

func (f *finder) patient(t target) {
	switch {
	case f.kind.name == "Patient": // is about itself; `link` names other records of it
	case !isOneWord(t.id):
		f.unresolved = "it names a patient otherwise than by id"
	default:
		if fragment := bytes.IndexByte(t.id, '#'); fragment > 0 {
			t.id = t.id[:fragment]
		}
		f.rec.Facts.Subjects = addOnce(f.rec.Facts.Subjects, t.id)
	}
}

// isOneWord tells an id from one with white space in it or around it, an
// escape, a version, or letters that only look like those of FHIR R4 §2.24.0.1:
// it would be somebody else, of whom no list knows anything.
func isOneWord(id []byte) bool {
	for _, c := range id {
		if c <= ' ' || c >= 0x7f || c == '%' || c == '|' {
			return false
		}
	}
	return len(id) > 0
}

// encounter sets the record's encounter. What is decided by encounter is
// decided by one: a record that names two cannot be judged here.
func (f *finder) encounter(id phi.Bytes) {
	facts := &f.rec.Facts
	if len(facts.Encounter) > 0 && !bytes.Equal(facts.Encounter, id) {
		f.rec.reject(Unsafe, "names more than one encounter")
		return
	}
	facts.Encounter = id
}

// evidenceWithoutReference sees to evidence that is named by identifier or in
// words: it is there, and cannot be told.
func (f *finder) evidenceWithoutReference(value int32) {
	if member(f.raw, f.doc, value, "reference") < 0 &&
		(member(f.raw, f.doc, value, "identifier") >= 0 || member(f.raw, f.doc, value, "display") >= 0) {
		f.rec.Facts.Evidence = addOnce(f.rec.Facts.Evidence, unnamed)
	}
}

var unnamed = phi.Bytes("?") // an encounter, or evidence, that is there and has no reference

// withoutReference sees to an element that should hold a Reference and holds
// none: it may have an identifier or a display only.
func (f *finder) withoutReference(role elementRole) {
	switch {
	case role == whole && f.kind.mustConcern:
		f.unresolved = "it names its patient otherwise than by id"
	case role == encounter && f.kind.name != "Claim" && f.kind.name != "ExplanationOfBenefit" && f.kind.name != "DocumentReference":
		f.encounter(unnamed)
	}
}

// conclude settles what only the whole resource tells.
func (f *finder) conclude() {
	rec := f.rec
	if len(rec.Facts.ID) == 0 && !f.noID {
		rec.Facts.ID = lastSegment(f.fullURL)
	}
	switch f.kind.name {
	case "Patient":
		rec.Facts.Subjects = rec.Facts.Subjects[:0]
		if len(rec.Facts.ID) > 0 {
			rec.Facts.Subjects = append(rec.Facts.Subjects, rec.Facts.ID)
		}
	case "Encounter":
		rec.Facts.Encounter = rec.Facts.ID
	}
	if rec.Reject != NoReason {
		return
	}
	if f.unresolved != "" {
		rec.reject(NoSubject, f.unresolved)
	} else if f.kind.mustConcern && len(rec.Facts.Subjects) == 0 {
		rec.reject(NoSubject, "it must concern a patient and names none")
	}
}

func addOnce(list []phi.Bytes, value phi.Bytes) []phi.Bytes {
	for _, v := range list {
		if bytes.Equal(v, value) {
			return list
		}
	}
	return append(list, value)
}

// member gives the value of a member of the object at doc[at], -1 when at is
// no object or has no such member.
func member(raw []byte, doc Doc, at int32, name string) int32 {
	if at < 0 || doc[at].Kind != Object {
		return -1
	}
	for i := at + 1; i < doc[at].Next; i = doc[i].Next {
		if string(raw[doc[i].Start:doc[i].End]) == name {
			return i + 1
		}
	}
	return -1
}

// text gives the value of a string token, its escapes resolved. It holds as
// long as the record.
func (f *finder) text(tok Token) phi.Bytes {
	b := f.raw[tok.Start:tok.End]
	if !tok.Escaped {
		return b
	}
	start := len(f.scratch)
	f.scratch = Unescape(f.scratch, b)
	return f.scratch[start:len(f.scratch):len(f.scratch)]
}

// Unescape appends to dst the value of a JSON string that a Doc holds, given
// without its quotes.
func Unescape(dst, b []byte) []byte {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 {
			return append(dst, b...)
		}
		dst = append(dst, b[:i]...)
		n := escapeLen(b, i)
		if n == 0 {
			return dst // no string of a Doc ends up here
		}
		switch c := b[i+1]; c {
		case 'u':
			r, _ := hex4(b, i+2)
			if n == 12 {
				low, _ := hex4(b, i+8)
				r = utf16.DecodeRune(r, low)
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, plainOf[c])
		}
		b = b[i+n:]
	}
}

var plainOf = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}
