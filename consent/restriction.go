package consent

import (
	"encoding/binary"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// The columns of a list of restrictions.
var (
	restrictionRequired = []string{"subject", "kind"}
	restrictionOptional = []string{"recipient", "plan", "encounter", "service", "from", "to", "ended_on", "ended_by"}
)

// Restrictions are what patients have restricted under 45 CFR 164.522(a): the
// item or service they paid for themselves, towards a health plan (1)(vi), and
// what the clinic has agreed to besides. It is filled by a loader and then
// only read.
type Restrictions struct {
	people  *People
	heads   heads // the newest restriction of each subject
	list    []restriction
	files   files
	mending mending
}

// NewRestrictions gives an empty list about these people.
func NewRestrictions(people *People) *Restrictions {
	return &Restrictions{people: people, mending: mending{list: restrictionList, required: restrictionRequired, optional: restrictionOptional, people: people,
		names: func(c *cells) []nameCell { _, by := restrictionRow(c); return by }}}
}

// restriction binds the records that meet all the criteria it names; one that
// names none binds everything of the person.
type restriction struct {
	subject            Subject
	next               uint32
	line               uint32
	file               uint16 // index into Restrictions.files
	kind               restrictionKind
	earlier            bool        // it stood there at an earlier reading, and vanished
	why                []string    // what of it cannot be understood
	from, to           extract.Day // of the service
	ended              extract.Day // NoDay while it has no explicit end
	recipient, plan    string
	encounter, service phi.Text
	identity           identity
}

type restrictionKind uint8

const (
	selfPay restrictionKind = iota
	agreed
	anyKind // which it is cannot be told
)

// Load takes in one more list of restrictions:
//
//	subject        the clinic's id
//	kind           self-pay or agreed
//	recipient,plan towards whom, by name or number; both empty: towards every recipient it can bind
//	encounter      the service by its encounter
//	service        the service by its code
//	from, to       the service by its date
//	ended_on, _by  explicit end; without both the restriction stays
//
// Whom a restriction is about must be told, or it is an *InputError. What else
// cannot be understood makes it one that may concern every record of that patient.
func (rs *Restrictions) Load(path string) (Input, error) {
	number := rs.files.number(path)
	return rs.mending.load(path, func(c *cells) {
		r, by := restrictionRow(c)
		if by == nil {
			return
		}
		r.subject, r.file, r.line = rs.people.Intern([]byte(by[0].value)), number, uint32(c.Line())
		if !c.sound() {
			r.identity = identifyInDoubt(restrictionList, by, c.why)
			r.ended, r.why, c.why = extract.NoDay, c.why, nil
		}
		rs.add(r)
	})
}

const restrictionList = "restriction"

// restrictionRow reads a row, and what names it, with the subject first. It
// gives nothing when the subject cannot be told.
func restrictionRow(c *cells) (r restriction, by []nameCell) {
	subject := c.patient("subject")
	if !c.sound() {
		return r, nil
	}
	r = restriction{ended: c.end(), recipient: c.text("recipient"), plan: c.text("plan"),
		encounter: phi.Text(c.id("encounter", "Encounter")), service: phi.Text(bareCode(c.text("service")))}
	r.kind = restrictionKind(c.oneOf("kind", "self-pay", "agreed")) // anyKind comes next
	span := c.span()
	r.from, r.to = span.From, span.To
	by = []nameCell{{"subject", subject}, {"kind", c.text("kind")}, {"recipient", r.recipient}, {"plan", r.plan},
		{"encounter", string(r.encounter)}, {"service", string(r.service)}, {"from", c.text("from")}, {"to", c.text("to")}}
	parts := []string{restrictionList}
	for _, n := range by {
		parts = append(parts, n.value)
	}
	r.identity = identify(parts...)
	return r, by
}

func (rs *Restrictions) add(r restriction) {
	r.next = rs.heads.of(r.subject)
	rs.list = append(rs.list, r)
	rs.heads.set(r.subject, uint32(len(rs.list)))
}

// concerns tells whether the restriction is towards the recipient. One that
// names nobody is towards everybody; one that cannot be understood may be
// towards anybody, since a cell may have slipped into the next column.
func (r *restriction) concerns(names map[string]match) match {
	if len(r.why) > 0 {
		return unsure
	}
	m, named := no, false
	for _, towards := range []string{r.recipient, r.plan} {
		if towards != "" {
			m, named = max(m, meant(names, towards)), true
		}
	}
	if !named {
		return yes
	}
	return m
}

// covers tells whether a record is of what is restricted.
func (r *restriction) covers(f *extract.Facts) match {
	if len(r.why) > 0 {
		return unsure
	}
	m := yes
	if r.encounter != "" {
		m = min(m, r.ofEncounter(f))
	}
	if r.service != "" {
		m = min(m, codes([]string{string(r.service)}, f))
	}
	if r.from != extract.NoDay || r.to != anyDayTo {
		m = min(m, within(f.Date, r.from, r.to))
	}
	return m
}

// ofEncounter tells whether a record is of the restricted encounter. A record
// that names no encounter, or names it otherwise than by id, may be.
func (r *restriction) ofEncounter(f *extract.Facts) match {
	switch {
	case string(f.Encounter) == string(r.encounter), f.Dataset == "Encounter" && string(f.ID) == string(r.encounter):
		return yes
	case f.Dataset == "Encounter":
		return no
	case len(f.Encounter) == 0, extract.TypeOf(f.Dataset) != nil && !isPlainID(f.Encounter):
		return unsure
	}
	return no
}

// isPlainID tells an id (FHIR R4 §2.24.0.1, and the underscore that clinics add
// to it) from what else a reference may hold: a search, a urn, an address, the
// name of a contained resource.
func isPlainID(id []byte) bool {
	for _, c := range id {
		if alphanumeric := c-'0' < 10 || c|0x20-'a' < 26; !alphanumeric && c != '-' && c != '.' && c != '_' {
			return false
		}
	}
	return true
}

// within tells whether a date lies in from … to.
func within(date extract.Span, from, to extract.Day) match {
	switch {
	case !date.Known():
		return unsure
	case date.To < from || date.From > to:
		return no
	case date.From >= from && date.To <= to:
		return yes
	}
	return unsure
}

// Closing gives the restrictions that have no explicit end.
func (rs *Restrictions) Closing() []ClosingRow {
	var rows []ClosingRow
	for i := range rs.list {
		r := &rs.list[i]
		if r.ended != extract.NoDay {
			continue
		}
		b := append([]byte(nil), closingVersion, byte(r.kind))
		b = appendString(b, rs.people.ID(r.subject))
		b = binary.AppendVarint(b, int64(r.from))
		b = binary.AppendVarint(b, int64(r.to))
		b = appendStrings(b, []string{r.recipient, r.plan, string(r.encounter), string(r.service), rs.files[r.file]})
		b = binary.AppendUvarint(b, uint64(r.line))
		b = appendStrings(b, r.why)
		b = binary.AppendUvarint(b, uint64(rs.mending.others[r.identity]))
		rows = append(rows, ClosingRow{r.identity, b})
	}
	return rows
}

// Restore takes in what an earlier reading held and this one does not. It must
// come when everything has been loaded.
func (rs *Restrictions) Restore(rows []ClosingRow) error {
	present, kept := make(map[identity]bool, len(rs.list)), map[identity]int{}
	var doubts []inDoubt
	for i := range rs.list {
		r := &rs.list[i]
		if present[r.identity] = true; len(r.why) > 0 {
			doubts = append(doubts, inDoubt{r.subject, r.identity, r.why})
		}
	}
	var gone []restriction
	for _, row := range rows {
		n, others, err := rs.decode(row)
		if err != nil {
			return err
		}
		if !present[row.Key] {
			gone = append(gone, n)
		}
		if len(n.why) > 0 {
			kept[row.Key] = others
			doubts = append(doubts, inDoubt{n.subject, row.Key, n.why})
		}
	}
	mended, err := rs.mending.settle(kept, doubts)
	if err != nil {
		return err
	}
	for _, n := range gone {
		if len(n.why) == 0 || !mended(n.identity) {
			rs.add(n)
		}
	}
	return nil
}

func (rs *Restrictions) decode(row ClosingRow) (n restriction, others int, err error) {
	r := reader{b: row.Data}
	version := r.byte()
	n = restriction{kind: restrictionKind(r.byte()), earlier: true, ended: extract.NoDay, identity: row.Key}
	subject := r.bytes()
	n.from, n.to = extract.Day(r.int()), extract.Day(r.int())
	words := r.strings()
	n.line, n.why, others = uint32(r.uint()), r.strings(), int(r.uint())
	if version != closingVersion || r.bad || len(r.b) != 0 || len(words) != 5 || len(subject) == 0 || n.kind > anyKind {
		return n, 0, errClosing
	}
	n.recipient, n.plan, n.encounter, n.service = words[0], words[1], phi.Text(words[2]), phi.Text(words[3])
	n.file, n.subject = rs.files.number(words[4]), rs.people.Intern(subject)
	return n, others, nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
