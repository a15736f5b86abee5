package build

import (
	"bytes"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
)

// rosterKinds says under which kind a value of an identifier class enters the
// gate's roster.
var rosterKinds = map[extract.Class]gate.Kind{
	extract.Name:         gate.Name,
	extract.BirthDate:    gate.BirthDate,
	extract.Phone:        gate.Phone,
	extract.Fax:          gate.Phone,
	extract.Email:        gate.Email,
	extract.SSN:          gate.SSN,
	extract.RecordNumber: gate.RecordNumber,
	extract.SubjectKey:   gate.RecordNumber,
	extract.MemberNumber: gate.MemberNumber,
	extract.Account:      gate.Other,
	extract.Licence:      gate.Other,
	extract.OtherUnique:  gate.Other,
	extract.Postcode:     gate.Postcode,
	extract.Geography:    gate.StreetAddress,
	extract.Town:         gate.City,
}

// notePerson takes from a record what it says of its person: the values that
// the gate must find again, and the dates that ages are reckoned from.
func (w *indexWorker) notePerson(c *clues, subject []byte) {
	rec := &w.rec
	if columns := w.run.rowClues[rec.Dataset]; columns != nil {
		w.noteRow(c, subject, columns)
		return
	}
	if rec.Dataset != "Patient" && rec.Dataset != "RelatedPerson" && rec.Dataset != "Coverage" {
		return
	}
	id := c.put(subject)
	clue := peopleClue{id: id, birth: extract.NoSpan, death: extract.NoSpan}
	own := rec.Dataset == "Patient"
	w.leaves.walk(rec, func(path string, class extract.Class, value []byte) {
		switch {
		case own && path == "birthDate":
			clue.birth, _ = extract.ParseSpan(value)
		case own && path == "deceasedDateTime":
			clue.death, _ = extract.ParseSpan(value)
		case own && path == "link.other.reference":
			other, _, _ := bytes.Cut(rec.Resolve(value), []byte("/_history/"))
			c.links = append(c.links, [2][2]int{id, c.put(bytes.TrimPrefix(other[bytes.LastIndexByte(other, '/')+1:], []byte("urn:uuid:")))})
		}
		kind, ok := rosterKinds[class]
		switch {
		case path == "address.district" || path == "contact.address.district":
			kind = gate.City
		case path == "extension.valueString" && string(w.leaves.url) == maidenName:
			kind, ok = gate.Name, true
		}
		if ok && len(value) > 0 {
			c.values = append(c.values, valueClue{id: id, value: c.put(value), kind: kind})
		}
	})
	c.people = append(c.people, clue)
}

// noteRow does the same for a delimited row, by the classes of its schema. A
// run of rows of one person with one birth date is noted once.
func (w *indexWorker) noteRow(c *clues, subject []byte, columns []rowClue) {
	w.scratch = w.scratch[:0]
	for _, column := range columns {
		w.scratch = append(append(w.scratch, w.rec.Row[column.at]...), 0)
	}
	w.scratch = append(w.scratch, subject...)
	if bytes.Equal(w.scratch, w.lastRow) {
		return
	}
	w.lastRow = append(w.lastRow[:0], w.scratch...)
	id := c.put(subject)
	c.values = append(c.values, valueClue{id: id, value: id, kind: gate.RecordNumber})
	for _, column := range columns {
		value := w.rec.Row[column.at]
		if len(value) == 0 {
			continue
		}
		if column.field.Class == extract.BirthDate {
			if birth, ok := column.field.Span(value); ok {
				c.people = append(c.people, peopleClue{id: id, birth: birth, death: extract.NoSpan})
				if birth.From == birth.To { // a layout may write it in another form than the extract
					c.values = append(c.values, valueClue{id: id, value: c.put([]byte(birth.From.String())), kind: gate.BirthDate})
				}
			}
		}
		c.values = append(c.values, valueClue{id: id, value: c.put(value), kind: rosterKinds[column.field.Class]})
	}
}

// rowClue is a delimited column that identifies people.
type rowClue struct {
	at    int
	field *extract.Field
}

// maidenName is the extension in which a Patient has a name of a relative.
const maidenName = "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName"

// leafWalk visits the leaves of a resource that the element table knows, those
// of extensions among them.
type leafWalk struct {
	url   []byte // of the extension of whose leaves one is visited
	path  []byte
	plain []byte
	visit func(path string, class extract.Class, value []byte)
	rec   *extract.Record
}

func (l *leafWalk) walk(rec *extract.Record, visit func(string, extract.Class, []byte)) {
	l.rec, l.visit, l.path = rec, visit, l.path[:0]
	if typ := extract.TypeOf(rec.Dataset); typ != nil && len(rec.Doc) > 0 {
		l.object(0, typ)
	}
}

func (l *leafWalk) object(at int32, typ *extract.TypeDef) {
	doc := l.rec.Doc
	depth := len(l.path)
	l.url = l.url[:0]
	for i := at + 1; i < doc[at].Next && typ.Name == "Extension"; i = doc[i].Next {
		if string(l.rec.Raw[doc[i].Start:doc[i].End]) == "url" {
			l.url = append(l.url, l.rec.Raw[doc[i+1].Start:doc[i+1].End]...)
		}
	}
	for i := at + 1; i < doc[at].Next; i = doc[i].Next {
		name := l.rec.Raw[doc[i].Start:doc[i].End]
		element := typ.Element(string(name))
		if element == nil {
			continue
		}
		if depth > 0 {
			l.path = append(l.path, '.')
		}
		l.path = append(l.path, name...)
		l.value(i+1, element)
		l.path = l.path[:depth]
	}
}

func (l *leafWalk) value(at int32, element *extract.Element) {
	doc := l.rec.Doc
	switch t := doc[at]; t.Kind {
	case extract.Array:
		for i := at + 1; i < t.Next; i = doc[i].Next {
			l.value(i, element)
		}
	case extract.Object:
		if typ := extract.TypeOf(element.Type); typ != nil && element.Name != "contained" {
			l.object(at, typ)
		}
	case extract.String, extract.Numeral:
		value := []byte(l.rec.Raw[t.Start:t.End])
		if t.Escaped {
			l.plain = extract.Unescape(l.plain[:0], value)
			value = l.plain
		}
		l.visit(string(l.path), element.Class, value)
	}
}
