package consent

import (
	"context"
	"errors"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// The columns of a list of merges.
var (
	mergeRequired = []string{"from", "into"}
	mergeOptional = []string{"status", "ended_on", "ended_by"}
)

// Merges are the ids that the clinic has found to stand for one person. Whoever
// is merged carries along what was decided under either id: consents,
// restrictions, membership and codes. It is filled by loaders, then Settle gives
// it to the people, before anything else names one of them.
type Merges struct {
	On     extract.Day // the day of decision: an end that comes later is none yet
	people *People
	list   []merge
}

type merge struct {
	from, into phi.Text
	unresolved bool        // they may be one person
	ended      extract.Day // since when they are not; NoDay while nobody has said so
	file       string      // "" of one that has vanished
	line       int
	identity   identity
}

// NewMerges gives an empty list about these people, of whom none is known yet.
// Every end in it has come, unless On says otherwise.
func NewMerges(people *People) *Merges { return &Merges{On: anyDayTo, people: people} }

// Load takes in one more list of merges. Any defect is an *InputError.
//
//	from, into     the id that is given up, and the one that stands for it
//	status         merged (also when empty), or unresolved: nobody has decided yet
//	ended_on, _by  explicit end: they are two people after all
func (m *Merges) Load(path string) (Input, error) {
	return readTable(path, mergeRequired, mergeOptional, func(c *cells) {
		n := merge{from: phi.Text(c.patient("from")), into: phi.Text(c.patient("into")), ended: c.end(), file: path, line: c.Line()}
		n.unresolved = c.text("status") != "" && c.oneOf("status", "merged", "unresolved") > 0
		if n.from == n.into {
			c.fail("from and into are the same id")
		}
		if c.sound() {
			m.add(n)
		}
	})
}

// LoadPatients takes in the links of FHIR Patients (R4 §8.1.2.2): replaced-by
// and replaces merge, any other leaves open whether the two are one person.
func (m *Merges) LoadPatients(ctx context.Context, files []extract.File) (Input, error) {
	return readResources(ctx, files, "Patient", func(file string, rec *extract.Record) error {
		switch {
		case rec.Reject != extract.NoReason:
			return &InputError{file, int(rec.Place.Line), "cannot be read: " + rec.Detail}
		case rec.Dataset != "Patient":
			return nil
		}
		return m.links(file, rec)
	})
}

// links takes in Patient.link of one Patient.
func (m *Merges) links(file string, rec *extract.Record) error {
	self := string(rec.Facts.ID)
	for link := range (node{raw: rec.Raw, doc: rec.Doc}).member("link").elements {
		kind, other := splitReference(link.member("other").member("reference").text())
		switch {
		case kind == "RelatedPerson", kind == "Patient" && other == self:
			continue // a relative's record of the same person holds no consent of its own
		case kind != "Patient" || other == "" || self == "":
			return &InputError{file, int(rec.Place.Line), "Patient.link does not tell which two Patients it links; write both by id"}
		}
		n := merge{from: phi.Text(self), into: phi.Text(other), ended: extract.NoDay, file: file, line: int(rec.Place.Line)}
		switch link.member("type").text() {
		case "replaced-by":
		case "replaces":
			n.from, n.into = n.into, n.from
		default:
			n.unresolved = true
		}
		m.add(n)
	}
	return nil
}

func (m *Merges) add(n merge) {
	n.identity = identify("merge", string(n.from), string(n.into))
	m.list = append(m.list, n)
}

// errMergesLate is a mistake of the program: ids that were taken for two people
// would keep what was read under each of them to itself.
var errMergesLate = errors.New("merges must be settled before anything else names a patient")

// Settle makes one person of the ids that were merged. An id that is given up
// for two others, or through others for itself, is a contradiction: none of
// these rows merges anybody, and all whom they name stay unresolved. An end
// takes back every row from the one id into the other.
func (m *Merges) Settle() error {
	if m.people.Len() > 0 {
		return errMergesLate
	}
	into, open := m.resolve()
	for _, n := range m.inForce() {
		if into[n.from] == n.into && !n.unresolved {
			m.people.merge(m.people.Intern([]byte(n.from)), m.people.Intern([]byte(n.into)))
			delete(into, n.from)
		}
	}
	for _, n := range open {
		for _, id := range []phi.Text{n.from, n.into} {
			m.people.Link(m.people.Intern([]byte(id)))
		}
	}
	return nil
}

// resolve gives for each id that is given up the one that stands for it, and the
// rows that say nothing certain.
func (m *Merges) resolve() (into map[phi.Text]phi.Text, open []merge) {
	targets := map[phi.Text][]phi.Text{}
	for _, n := range m.inForce() {
		if !n.unresolved && !slices.Contains(targets[n.from], n.into) {
			targets[n.from] = append(targets[n.from], n.into)
		}
	}
	into = map[phi.Text]phi.Text{}
	for from, list := range targets {
		if len(list) == 1 && !leadsTo(targets, from, from, map[phi.Text]bool{}) {
			into[from] = list[0]
		}
	}
	for _, n := range m.inForce() {
		if into[n.from] == "" || n.unresolved {
			open = append(open, n)
		}
	}
	return into, open
}

// leadsTo tells whether an id is given up for another, or through others for it.
func leadsTo(targets map[phi.Text][]phi.Text, from, id phi.Text, met map[phi.Text]bool) bool {
	return slices.ContainsFunc(targets[from], func(next phi.Text) bool {
		if next == id {
			return true
		}
		if met[next] {
			return false
		}
		met[next] = true
		return leadsTo(targets, next, id, met)
	})
}

// Doubts are the rows and links that leave open whether two ids are one person.
func (m *Merges) Doubts() (list []Doubt) {
	_, open := m.resolve()
	for _, n := range open {
		why := "contradicts another row: an id is given up for two others, or for itself"
		if n.unresolved {
			why = "leaves open whether the two are one person"
		}
		list = append(list, Doubt{n.file, n.line, n.file == "", why})
	}
	return list
}

// inForce are the rows that were not taken back, in their order.
func (m *Merges) inForce() []merge {
	ended := map[identity]bool{}
	for _, n := range m.list {
		ended[n.identity] = ended[n.identity] || n.ended != extract.NoDay && n.ended <= m.On
	}
	return slices.DeleteFunc(slices.Clone(m.list), func(n merge) bool { return ended[n.identity] })
}

// Closing gives the merges that have not been taken back.
func (m *Merges) Closing() []ClosingRow {
	var rows []ClosingRow
	for _, n := range m.inForce() {
		b := append([]byte(nil), closingVersion, boolByte(n.unresolved))
		rows = append(rows, ClosingRow{n.identity, appendStrings(b, []string{string(n.from), string(n.into)})})
	}
	return rows
}

// Restore takes in what an earlier reading held and this one does not. It must
// come before Settle.
func (m *Merges) Restore(rows []ClosingRow) error {
	present := make(map[identity]bool, len(m.list))
	for i := range m.list {
		present[m.list[i].identity] = true
	}
	for _, row := range rows {
		r := reader{b: row.Data}
		version, unresolved := r.byte(), r.byte() != 0
		ids := r.strings()
		if version != closingVersion || r.bad || len(r.b) != 0 || len(ids) != 2 {
			return errClosing
		}
		if !present[row.Key] {
			m.list = append(m.list, merge{from: phi.Text(ids[0]), into: phi.Text(ids[1]), unresolved: unresolved, ended: extract.NoDay, identity: row.Key})
		}
	}
	return nil
}
