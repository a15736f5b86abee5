package consent

import "github.com/posternhealth/postern/extract"

// maxBallots bounds the scopes and sources of one person that are told apart.
// What does not fit is combined as everything else is: a denial beats a permit.
const maxBallots = 8

// ballot is what the directives of one scope and source say together, where the
// policy lets the most recent one decide (people.consent.general.conflict).
type ballot struct {
	scope   scope
	file    uint16
	permit  extract.Day       // signature of the newest that permits with certainty; NoDay when none does
	against extract.Day       // of the newest that denies or cannot be evaluated; anyDayTo when one says no date
	reasons extract.ReasonSet // of those
}

// votes are the ballots of one person about one record.
type votes struct {
	cast [maxBallots]ballot
	n    int
}

// take counts what directive number (1-based) says; false where it is to count
// as ever: a newer permit overtakes no unreadable directive, no restriction of
// state law and no opt-out.
func (v *votes) take(ds *Directives, number uint32, one *tally) bool {
	n, file := &ds.list[number-1], ds.sources[number-1].file
	if !n.mayBeOvertaken() {
		return false
	}
	b := v.find(n.scope, file)
	if b == nil {
		if v.n == maxBallots {
			return false
		}
		b = &v.cast[v.n]
		v.n++
		*b = ballot{scope: n.scope, file: file, permit: extract.NoDay, against: extract.NoDay}
	}
	b.cast(n.signed, one.reasons, one)
	return true
}

func (d *directive) mayBeOvertaken() bool {
	return !d.unreadable() && d.scope != stateLaw && d.scope != registryOptOut
}

// mostRecent is take for all directives of a person, with the denials left out
// that a newer permit of the same scope and source has overtaken. A tie, a
// directive without a date and a newest one that cannot be evaluated overtake
// nothing. A revocation counts as ever.
func (d *Decider) mostRecent(s Subject, f *extract.Facts, part2Record bool) (t tally) {
	var cast votes
	ds := d.tables.Directives
	for i := ds.head(s); i != 0; i = ds.list[i-1].next {
		var one tally
		d.take(&one, i, f, part2Record)
		if t.join(&one); !cast.take(ds, i, &one) {
			t.reasons |= one.reasons
		}
	}
	for _, b := range cast.cast[:cast.n] {
		if b.permit <= b.against {
			t.reasons |= b.reasons
		}
	}
	return t
}

func (v *votes) find(s scope, file uint16) *ballot {
	for i := range v.cast[:v.n] {
		if b := &v.cast[i]; b.scope == s && b.file == file {
			return b
		}
	}
	return nil
}

// cast adds what one directive says.
func (b *ballot) cast(signed extract.Day, reasons extract.ReasonSet, one *tally) {
	switch {
	case reasons != 0 || one.unclear:
		if signed == extract.NoDay {
			signed = anyDayTo
		}
		b.against, b.reasons = max(b.against, signed), b.reasons|reasons
	case one.general.found:
		b.permit = max(b.permit, signed)
	}
}

// join adds the grounds of another tally, and not its reasons.
func (t *tally) join(o *tally) {
	for _, g := range [...]struct{ to, from *ground }{{&t.general, &o.general}, {&t.part2, &o.part2}, {&t.revoked, &o.revoked}, {&t.patient, &o.patient}, {&t.guardian, &o.guardian}} {
		if g.from.found {
			g.to.add(g.from.signed, uint32(g.from.relied))
		}
	}
	t.expired, t.unclear = t.expired || o.expired, t.unclear || o.unclear
}
