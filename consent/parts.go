package consent

import (
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// Parts tell of encounters of which other they are part (FHIR R4
// Encounter.partOf): what restricts a visit restricts its parts. The index pass
// fills them; then they are only read. The whole is empty where it cannot be told.
type Parts map[string]phi.Bytes

// PartOf gives the encounter of which an Encounter is part; false when it is none.
func PartOf(rec *extract.Record) (whole phi.Bytes, is bool) {
	of := node{raw: rec.Raw, doc: rec.Doc}.member("partOf")
	if of.kind() == extract.Null {
		return nil, false
	}
	kind, id := splitReference(string(rec.Resolve([]byte(of.member("reference").text()))))
	if kind != "Encounter" || !isPlainID([]byte(id)) {
		return nil, true
	}
	return phi.Bytes(id), true
}

// Add notes a part. Where one encounter is part of two, none can be told.
func (p Parts) Add(part, whole []byte) {
	if known, met := p[string(part)]; met && string(known) != string(whole) {
		whole = nil
	}
	if len(part) > 0 {
		p[string(part)] = append(phi.Bytes(nil), whole...)
	}
}

// maxNesting bounds how deep encounters are followed; in a longer chain, or a
// ring, the whole cannot be told.
const maxNesting = 32

// wholes gives the encounters of which a record's is part, as was kept with it and
// as is told now, from the nearest on; an empty one where it cannot be told.
func (p Parts) wholes(f *extract.Facts) []phi.Bytes {
	list, part := slices.Clip(f.Wholes), f.Encounter
	for range maxNesting {
		whole, is := p[string(part)]
		if !is {
			return list
		}
		if list = append(list, whole); len(whole) == 0 {
			return list
		}
		part = whole
	}
	return append(list, nil)
}

// covers tells whether a record is of what is restricted, by its own encounter
// or one of which that is part.
func (p Parts) covers(n *restriction, f *extract.Facts) match {
	m := n.covers(f)
	if n.encounter == "" || m == yes || len(p)+len(f.Wholes) == 0 {
		return m
	}
	of := *f
	for _, whole := range p.wholes(f) {
		if of.Encounter = whole; len(whole) == 0 {
			of.Dataset = ""
		}
		m = max(m, n.covers(&of))
	}
	return m
}
