package consent

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// The columns of a map of Part 2 programs.
var (
	programRequired = []string{"kind", "id", "from", "to"}
	programOptional = []string{"ended_on", "ended_by"}
)

// Programs are the clinic's federally assisted substance use disorder programs
// (42 CFR 2.11): organizations, locations and practitioners, with their dates.
// Part 2 attaches to them, not to a diagnosis. Filled by a loader, then only
// read.
type Programs struct {
	list  []program
	kinds [programKinds]bool
	byID  map[string]uint32 // 1 + the last program with this id
}

type program struct {
	kind     programKind
	next     uint32
	id       string
	from, to extract.Day // of the service
	ended    bool        // taken from the map, by whom and when
	identity identity
}

type programKind uint8

const (
	organization programKind = iota
	location
	practitioner
	column // the numbering of the provider columns of delimited datasets
	programKinds
)

// programTypes are the resource types that programs of each kind are.
var programTypes = [programKinds]string{organization: "Organization", location: "Location", practitioner: "Practitioner"}

// NewPrograms gives an empty map.
func NewPrograms() *Programs { return &Programs{byID: map[string]uint32{}} }

// Load takes in one more map of programs: kind (organization, location,
// practitioner; column for ids as the provider columns of delimited datasets
// have them), id, from and to (of the service; empty is open). ended_on
// with ended_by takes an entry back that should not have been made. Any defect is
// an *InputError.
func (ps *Programs) Load(path string) (Input, error) {
	return readTable(path, programRequired, programOptional, func(c *cells) {
		p := program{id: c.required("id"), kind: programKind(c.oneOf("kind", "organization", "location", "practitioner", "column"))}
		if p.kind < column { // the numbering of columns is taken as it is
			p.id = bareID(p.id, programTypes[p.kind])
		}
		span := c.span()
		p.from, p.to, p.ended = span.From, span.To, c.end() != extract.NoDay
		p.identity = identify("program", c.text("kind"), p.id, c.text("from"))
		if c.sound() {
			ps.add(p)
		}
	})
}

func (ps *Programs) add(p program) {
	if !p.ended {
		ps.kinds[p.kind] = true
		p.next = ps.byID[p.id]
	}
	ps.list = append(ps.list, p)
	if !p.ended {
		ps.byID[p.id] = uint32(len(ps.list))
	}
}

// none tells whether the clinic has declared no program, so that no record of
// its own is under Part 2 but by label.
func (ps *Programs) none() bool { return len(ps.byID) == 0 }

// treats tells from the providers that a record names whether a program made
// it: unsure when they do not settle it. References settle it only when they
// name one of each kind among the declared programs, and all of that kind by id:
// that a practitioner is no program says nothing about the organization, and one
// organization nothing about another that is searched for. A bare id settles it only when
// programs are declared in the numbering of such columns.
func (ps *Programs) treats(f *extract.Facts) match {
	var named, vague [programKinds]bool
	for _, p := range f.Providers {
		kind, id, exact := splitProvider(p)
		if ps.has(kind, id, f.Date) {
			return yes
		}
		switch {
		case exact:
			named[kind] = true
		case kind != column:
			vague[kind] = true
		case isOfAnyKind(p):
			vague = [programKinds]bool{organization: true, location: true, practitioner: true}
		}
	}
	if named[column] && ps.kinds[column] {
		return no
	}
	settled := false
	for kind := organization; kind < column; kind++ {
		if ps.kinds[kind] && (!named[kind] || vague[kind]) {
			return unsure
		}
		settled = settled || ps.kinds[kind]
	}
	if !settled {
		return unsure
	}
	return no
}

// has tells whether a provider is a program at a date. Where either is an id of
// a column, the id alone decides; an unknown date may be any.
func (ps *Programs) has(kind programKind, id []byte, date extract.Span) bool {
	for i := ps.byID[string(id)]; i != 0; i = ps.list[i-1].next {
		p := &ps.list[i-1]
		if (kind == p.kind || kind == column || p.kind == column) && within(date, p.from, p.to) != no {
			return true
		}
	}
	return false
}

// splitProvider takes apart Type/id, Type?identifier=system|value, and the
// bare ids of delimited columns. It is exact when one that is not declared is
// no program: a conditional reference may mean one that is declared by its id,
// and a role or a contained resource may be of a program.
func splitProvider(p phi.Bytes) (kind programKind, id []byte, exact bool) {
	sep := bytes.IndexAny(p, "/?")
	if sep < 0 {
		return column, p, len(p) > 0 && p[0] != '#' && !bytes.HasPrefix(p, []byte("urn:"))
	}
	id, exact = p[sep+1:], p[sep] == '/'
	if !exact {
		id = id[max(bytes.LastIndexByte(id, '|'), bytes.LastIndexByte(id, '='))+1:]
	}
	if at := slices.Index(programTypes[:column], string(p[:sep])); at >= 0 {
		return programKind(at), id, exact
	}
	return column, id, false
}

// isOfAnyKind tells of a provider that is not exact whether it may be an
// organization, location or practitioner: one that the record holds itself, or
// one behind a urn or address that nothing resolves.
func isOfAnyKind(p phi.Bytes) bool {
	sep := bytes.IndexAny(p, "/?")
	return sep < 0 || bytes.IndexByte(p[:sep], '#') >= 0 || bytes.IndexByte(p[:sep], ':') >= 0
}

// Keys name the programs and their dates, in 16 bytes each: what a drop is
// sealed by.
func (ps *Programs) Keys() (keys []byte) {
	for i := range ps.list {
		if p := &ps.list[i]; !p.ended {
			key := p.key()
			keys = append(keys, key[:]...)
		}
	}
	return keys
}

// DeclaredSince tells whether a program, or a day of one, is not among those
// that Keys gave earlier.
func (ps *Programs) DeclaredSince(keys []byte) bool {
	known := map[identity]bool{}
	for key := range slices.Chunk(keys, len(identity{})) {
		if len(key) == len(identity{}) {
			known[identity(key)] = true
		}
	}
	return slices.ContainsFunc(ps.list, func(p program) bool { return !p.ended && !known[p.key()] })
}

func (p *program) key() identity {
	return identify(string('0'+rune(p.kind)), p.id, p.from.String(), p.to.String())
}

// Closing gives the programs that have not been taken back.
func (ps *Programs) Closing() []ClosingRow {
	var rows []ClosingRow
	for _, p := range ps.list {
		if p.ended {
			continue
		}
		b := append([]byte(nil), closingVersion, byte(p.kind))
		b = appendString(b, p.id)
		b = binary.AppendVarint(b, int64(p.from))
		b = binary.AppendVarint(b, int64(p.to))
		rows = append(rows, ClosingRow{p.identity, b})
	}
	return rows
}

// Restore takes in what an earlier reading held and this one does not. It must
// come before the first Encounters.Add.
func (ps *Programs) Restore(rows []ClosingRow) error {
	present := make(map[identity]bool, len(ps.list))
	for i := range ps.list {
		present[ps.list[i].identity] = true
	}
	for _, row := range rows {
		r := reader{b: row.Data}
		version := r.byte()
		p := program{kind: programKind(r.byte()), id: string(r.bytes()), from: extract.Day(r.int()), to: extract.Day(r.int()), identity: row.Key}
		if version != closingVersion || r.bad || len(r.b) != 0 || p.kind >= programKinds {
			return errClosing
		}
		if !present[row.Key] {
			ps.add(p)
		}
	}
	return nil
}
