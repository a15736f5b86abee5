package consent

import (
	"encoding/binary"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// The columns of a list of restrictions.
var (
	restrictionRequired = []string{"subject", "kind"}
	restrictionOptional = []string{"recipient", "encounter", "service", "from", "to", "plan", "ended_on", "ended_by"}
)

// Restrictions are what patients have restricted under 45 CFR 164.522(a): the
// item or service they paid for themselves, towards a health plan (1)(vi), and
// what the clinic has agreed to besides. It is filled by a loader and then
// only read.
type Restrictions struct {
	Input  // of LoadRestrictions
	people *People
	heads  heads // the newest restriction of each subject
	list   []restriction
	files  []string
}

// NewRestrictions gives an empty list about these people.
func NewRestrictions(people *People) *Restrictions {
	return &Restrictions{people: people}
}

// restriction binds the records that meet all the criteria it names; one that
// names none binds everything of the person.
type restriction struct {
	subject            Subject
	next               uint32
	line               uint32
	file               uint16 // index into Restrictions.files
	kind               restrictionKind
	unreadable         bool        // a criterion cannot be read
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
)

// read takes in a list of restrictions:
//
//	subject        the clinic's id
//	kind           self-pay or agreed
//	recipient,plan towards whom, by name or number; both empty: towards every recipient it can bind
//	encounter      the service by its encounter
//	service        the service by its code
//	from, to       the service by its date
//	ended_on, _by  explicit end; without both the restriction stays
//
// Whom a restriction is about and of which kind it is must be readable. A
// date that is not makes the restriction itself indeterminate.
func (rs *Restrictions) read(file string, t table) (Input, error) {
	rs.files = append(rs.files, file)
	return readTable(file, t, func(c *cells) {
		r := restriction{kind: agreed, line: uint32(c.Line()), file: uint16(len(rs.files) - 1), ended: c.end(), recipient: c.text("recipient"), plan: c.text("plan"),
			encounter: phi.Text(c.id("encounter", "Encounter")), service: phi.Text(bareCode(c.text("service")))}
		switch c.text("kind") {
		case "self-pay":
			r.kind = selfPay
		case "agreed":
		default:
			c.fail("kind is none of self-pay, agreed")
		}
		from, fromOK := readDate(c.text("from"), extract.NoDay)
		to, toOK := readDate(c.text("to"), anyDayTo)
		r.from, r.to, r.unreadable = from, to, !fromOK || !toOK || to < from
		c.required("subject")
		r.identity = identify("restriction", c.id("subject", "Patient"), c.text("kind"), r.recipient, r.plan,
			string(r.encounter), string(r.service), c.text("from"), c.text("to"))
		if c.err == nil {
			r.subject = rs.people.Intern([]byte(c.id("subject", "Patient")))
			rs.add(r)
		}
	})
}

func (rs *Restrictions) add(r restriction) {
	r.next = rs.heads.of(r.subject)
	rs.list = append(rs.list, r)
	rs.heads.set(r.subject, uint32(len(rs.list)))
}

// concerns tells whether the restriction is towards the recipient. One that
// names nobody is towards everybody.
func (r *restriction) concerns(names map[string]match) match {
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
	if r.unreadable {
		return unsure
	}
	m := yes
	if r.encounter != "" {
		m = min(m, r.ofEncounter(f))
	}
	if r.service != "" {
		m = min(m, holds(f.Codes, string(r.service)))
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

// holds tells whether a record has a code; one without codes may.
func holds(codes []phi.Bytes, code string) match {
	for _, c := range codes {
		if string(c) == code {
			return yes
		}
	}
	if len(codes) == 0 {
		return unsure
	}
	return no
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
		b := append([]byte(nil), closingVersion, byte(r.kind), boolByte(r.unreadable))
		b = appendString(b, rs.people.ID(r.subject))
		b = binary.AppendVarint(b, int64(r.from))
		b = binary.AppendVarint(b, int64(r.to))
		b = appendStrings(b, []string{r.recipient, r.plan, string(r.encounter), string(r.service)})
		rows = append(rows, ClosingRow{r.identity, b})
	}
	return rows
}

// Restore takes in what an earlier reading held and this one does not.
func (rs *Restrictions) Restore(rows []ClosingRow) error {
	present := make(map[identity]bool, len(rs.list))
	for i := range rs.list {
		present[rs.list[i].identity] = true
	}
	for _, row := range rows {
		r := reader{b: row.Data}
		version := r.byte()
		n := restriction{kind: restrictionKind(r.byte()), unreadable: r.byte() != 0, ended: extract.NoDay, identity: row.Key}
		subject := r.bytes()
		n.from, n.to = extract.Day(r.int()), extract.Day(r.int())
		words := r.strings()
		if version != closingVersion || r.bad || len(r.b) != 0 || len(words) != 4 || len(subject) == 0 || n.kind > agreed {
			return errClosing
		}
		n.recipient, n.plan, n.encounter, n.service = words[0], words[1], phi.Text(words[2]), phi.Text(words[3])
		if !present[row.Key] {
			n.subject = rs.people.Intern(subject)
			rs.add(n)
		}
	}
	return nil
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
