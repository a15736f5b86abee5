package consent

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// The columns that every roster, and every list of attribution, has; others are
// look-ups. A list of attribution need not say under which number somebody is a
// member.
var (
	rosterRequired      = []string{"subject", "member_id", "from", "to"}
	attributionRequired = []string{"patient", "from", "to"}
)

// Roster tells who was a member when, and under which id: the relationship
// that 45 CFR 164.506(c)(4) asks for. It comes from a payer's roster, a list of
// attribution or FHIR Coverages, is filled by a loader and then only read.
type Roster struct {
	Input
	columns []string
	heads   heads // each subject's last row, by end of coverage
	list    []coverage
	values  []byte // the cells of all rows
	files   files
}

// coverage is one row of a roster.
type coverage struct {
	subject   Subject
	next      uint32
	from, to  extract.Day
	cells     uint64 // where its cells begin in Roster.values
	line      uint32
	file      uint16 // index into Roster.files
	standing  standing
	ambiguous bool // its number stands for several people, or its person has two numbers
}

// standing is what a row says about membership.
type standing uint8

const (
	noCover  standing = iota // it says that there is none, or is of another payer
	mayCover                 // it cannot be told; it takes nothing from a row that can
	covers
)

// LoadRoster reads a roster: subject (the clinic's id), member_id, from, to
// (empty is open); columns beyond its own are for look-ups. Any defect is an
// *InputError.
func LoadRoster(path string, people *People) (*Roster, error) {
	return loadRoster(path, rosterRequired, people)
}

// LoadAttribution reads a list of the patients who are attributed to the clinic,
// with patient, from and to; columns beyond these, member_id among them, are for
// look-ups. Any defect is an *InputError.
func LoadAttribution(path string, people *People) (*Roster, error) {
	return loadRoster(path, attributionRequired, people)
}

func loadRoster(path string, required []string, people *People) (*Roster, error) {
	r := &Roster{files: []string{path}}
	in, err := readTable(path, required, []string{"*"}, func(c *cells) {
		if r.columns == nil {
			r.columns = append([]string{"member_id"}, slices.DeleteFunc(slices.Clone(c.Columns()), func(column string) bool {
				return slices.Contains(rosterRequired, column) || slices.Contains(required, column)
			})...)
		}
		subject, span := c.patient(required[0]), c.span()
		if slices.Contains(required, "member_id") {
			c.required("member_id")
		}
		if span.From == extract.NoDay {
			c.fail("from is empty: coverage needs its first day")
		}
		if !c.sound() {
			return
		}
		row := coverage{subject: people.Intern([]byte(subject)), from: span.From, to: span.To, cells: uint64(len(r.values)), line: uint32(c.Line()), standing: covers}
		for _, column := range r.columns {
			r.values = appendString(r.values, c.text(column))
		}
		r.list = append(r.list, row)
	})
	if r.Input = in; err != nil {
		return nil, err
	}
	r.settle()
	return r, nil
}

// settle finds the ambiguous rows and chains each subject's rows, the latest
// first.
func (r *Roster) settle() {
	r.list = slices.DeleteFunc(r.list, func(row coverage) bool { return row.standing == noCover })
	r.findShared()
	slices.SortFunc(r.list, func(a, b coverage) int {
		return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.to, b.to), cmp.Compare(a.from, b.from), bytes.Compare(r.member(&a), r.member(&b)))
	})
	for i := range r.list {
		row := &r.list[i]
		for j := i - 1; j >= 0 && r.list[j].subject == row.subject; j-- {
			if other := &r.list[j]; other.standing == covers && row.standing == covers && other.to >= row.from && !bytes.Equal(r.member(other), r.member(row)) {
				other.ambiguous, row.ambiguous = true, true
			}
		}
		row.next = r.heads.of(row.subject)
		r.heads.set(row.subject, uint32(i+1))
	}
}

// findShared marks the rows whose member id stands for several people.
func (r *Roster) findShared() {
	var order []uint32
	for i := range r.list {
		if r.list[i].standing == covers {
			order = append(order, uint32(i))
		}
	}
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(r.member(&r.list[a]), r.member(&r.list[b])) })
	for len(order) > 0 {
		first, n, shared := &r.list[order[0]], 1, false
		for ; n < len(order) && bytes.Equal(r.member(&r.list[order[n]]), r.member(first)); n++ {
			shared = shared || r.list[order[n]].subject != first.subject && len(r.member(first)) > 0
		}
		for _, i := range order[:n] {
			r.list[i].ambiguous = shared
		}
		order = order[n:]
	}
}

func (r *Roster) member(row *coverage) phi.Bytes { return r.cell(row, 0) }

func (r *Roster) cell(row *coverage, column int) phi.Bytes {
	cells := reader{b: r.values[row.cells:]}
	for range column {
		cells.bytes()
	}
	return cells.bytes()
}

// Value looks a column up for a subject, in the row that covers the day, and
// in the latest row when none does or no day is known; nil when the subject
// has no row that can be told or the roster was not loaded with the column. It
// does not allocate.
func (r *Roster) Value(s Subject, column string, on extract.Span) phi.Bytes {
	at := slices.Index(r.columns, column)
	if at < 0 {
		return nil
	}
	var latest *coverage
	for i := r.heads.of(s); i != 0; i = r.list[i-1].next {
		row := &r.list[i-1]
		switch {
		case row.standing != covers:
		case !on.Known() || row.from <= on.From && row.to >= on.To:
			return r.cell(row, at)
		case latest == nil:
			latest = row
		}
	}
	if latest == nil {
		return nil
	}
	return r.cell(latest, at)
}

// Members goes over the member ids of all rows.
func (r *Roster) Members(each func(s Subject, member []byte) error) error {
	for i := range r.list {
		if err := each(r.list[i].subject, r.member(&r.list[i])); err != nil {
			return err
		}
	}
	return nil
}

// covers tells whether a subject was a member on every day that a date may
// mean; rows that follow each other without a gap count as one.
func (r *Roster) covers(s Subject, date extract.Span) extract.Reason {
	if !date.Known() {
		return extract.NotAMember
	}
	missing, found := date.To, extract.NotAMember // the last day not yet known to be covered
	for i := r.heads.of(s); i != 0; i = r.list[i-1].next {
		row := &r.list[i-1]
		if row.to < date.From || row.from > date.To {
			continue
		}
		switch {
		case row.ambiguous:
			return extract.MemberAmbiguous
		case row.standing == mayCover:
			found = extract.MemberAmbiguous
		case row.to >= missing && row.from <= missing:
			missing = row.from - 1
		}
	}
	if missing >= date.From {
		return found
	}
	return extract.NoReason
}

// covered tells whether a subject was a member on any day of a period.
func (r *Roster) covered(s Subject, period extract.Span) extract.Reason {
	found := extract.NotAMember
	for i := r.heads.of(s); i != 0; i = r.list[i-1].next {
		row := &r.list[i-1]
		switch {
		case row.to < period.From || row.from > period.To:
		case row.ambiguous:
			return extract.MemberAmbiguous
		case row.standing == covers:
			found = extract.NoReason
		case found == extract.NotAMember:
			found = extract.MemberAmbiguous
		}
	}
	return found
}

// Doubts are the rows that cannot be told apart, or of which cannot be told
// whether they show a member of the recipient's.
func (r *Roster) Doubts() (list []Doubt) {
	for i := range r.list {
		switch row := &r.list[i]; {
		case row.ambiguous:
			list = append(list, Doubt{r.files[row.file], int(row.line), false, "its member id stands for several people, or its person has another one at the same time"})
		case row.standing == mayCover:
			list = append(list, Doubt{r.files[row.file], int(row.line), false, "the Coverage does not tell whether it holds: its status, payor or period, or another one of its id"})
		}
	}
	return list
}
