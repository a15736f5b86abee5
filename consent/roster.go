package consent

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// rosterRequired are the columns that every roster has; others are look-ups.
var rosterRequired = []string{"subject", "member_id", "from", "to"}

// Roster tells who was a member when, and under which id: the relationship
// that 45 CFR 164.506(c)(4) asks for. It is filled by a loader and then only
// read.
type Roster struct {
	Input
	columns []string
	heads   heads // each subject's last row, by end of coverage
	list    []coverage
	values  []byte // the cells of all rows
}

// coverage is one row of a roster.
type coverage struct {
	subject   Subject
	next      uint32
	from, to  extract.Day
	cells     uint64 // where its cells begin in Roster.values
	ambiguous bool
}

// readRoster takes in a roster: subject (the clinic's id), member_id, from, to
// (empty is open), and the columns that look-ups may ask for.
func readRoster(file string, t table, lookups []string, people *People) (*Roster, error) {
	r := &Roster{columns: append([]string{"member_id"}, lookups...)}
	in, err := readTable(file, t, func(c *cells) {
		subject, span := c.patient("subject"), c.span()
		c.required("member_id")
		if span.From == extract.NoDay {
			c.fail("from is empty: coverage needs its first day")
		}
		if !c.sound() {
			return
		}
		row := coverage{subject: people.Intern([]byte(subject)), from: span.From, to: span.To, cells: uint64(len(r.values))}
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
	r.findShared()
	slices.SortFunc(r.list, func(a, b coverage) int {
		return cmp.Or(cmp.Compare(a.subject, b.subject), cmp.Compare(a.to, b.to), cmp.Compare(a.from, b.from), bytes.Compare(r.member(&a), r.member(&b)))
	})
	for i := range r.list {
		row := &r.list[i]
		for j := i - 1; j >= 0 && r.list[j].subject == row.subject; j-- {
			if other := &r.list[j]; other.to >= row.from && !bytes.Equal(r.member(other), r.member(row)) {
				other.ambiguous, row.ambiguous = true, true
			}
		}
		row.next = r.heads.of(row.subject)
		r.heads.set(row.subject, uint32(i+1))
	}
}

// findShared marks the rows whose member id stands for several people.
func (r *Roster) findShared() {
	order := make([]uint32, len(r.list))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(a, b uint32) int { return bytes.Compare(r.member(&r.list[a]), r.member(&r.list[b])) })
	for len(order) > 0 {
		first, n, shared := &r.list[order[0]], 1, false
		for ; n < len(order) && bytes.Equal(r.member(&r.list[order[n]]), r.member(first)); n++ {
			shared = shared || r.list[order[n]].subject != first.subject
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
// has no row or the roster was not loaded with the column. It does not allocate.
func (r *Roster) Value(s Subject, column string, on extract.Span) phi.Bytes {
	first, at := r.heads.of(s), slices.Index(r.columns, column)
	if first == 0 || at < 0 {
		return nil
	}
	row := &r.list[first-1]
	for i := first; i != 0 && on.Known(); i = r.list[i-1].next {
		if r.list[i-1].from <= on.From && r.list[i-1].to >= on.To {
			row = &r.list[i-1]
			break
		}
	}
	return r.cell(row, at)
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
	missing := date.To // the last day not yet known to be covered
	for i := r.heads.of(s); i != 0; i = r.list[i-1].next {
		row := &r.list[i-1]
		if row.to < date.From || row.from > date.To {
			continue
		}
		if row.ambiguous {
			return extract.MemberAmbiguous
		}
		if row.to >= missing && row.from <= missing {
			missing = row.from - 1
		}
	}
	if missing >= date.From {
		return extract.NotAMember
	}
	return extract.NoReason
}

// covered tells whether a subject was a member on any day of a period.
func (r *Roster) covered(s Subject, period extract.Span) extract.Reason {
	found := extract.NotAMember
	for i := r.heads.of(s); i != 0; i = r.list[i-1].next {
		if row := &r.list[i-1]; row.to >= period.From && row.from <= period.To {
			if row.ambiguous {
				return extract.MemberAmbiguous
			}
			found = extract.NoReason
		}
	}
	return found
}
