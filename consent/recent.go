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

// mostRecent is take for all directives of a person, with the denials left out
// that a newer permit of the same scope and source has overtaken. A tie, a
// directive without a date and a newest one that cannot be evaluated overtake
// nothing. An unreadable directive, a restriction of state law, an opt-out and
// a revocation count as ever.
func (d *Decider) mostRecent(s Subject, f *extract.Facts, part2Record bool) (t tally) {
	var ballots [maxBallots]ballot
	used := 0
	ds := d.tables.Directives
	for i := ds.head(s); i != 0; i = ds.list[i-1].next {
		n := &ds.list[i-1]
		var one tally
		d.take(&one, i, f, part2Record)
		reasons := one.reasons
		one.reasons = 0
		t.join(&one)
		b := find(ballots[:used], n.scope, ds.sources[i-1].file)
		if b == nil && used < maxBallots {
			b = &ballots[used]
			*b = ballot{scope: n.scope, file: ds.sources[i-1].file, permit: extract.NoDay, against: extract.NoDay}
			used++
		}
		if b == nil || n.unreadable() || n.scope == stateLaw || n.scope == registryOptOut {
			t.reasons |= reasons
			continue
		}
		b.cast(n.signed, reasons, &one)
	}
	for _, b := range ballots[:used] {
		if b.permit <= b.against {
			t.reasons |= b.reasons
		}
	}
	return t
}

func find(ballots []ballot, s scope, file uint16) *ballot {
	for i := range ballots {
		if ballots[i].scope == s && ballots[i].file == file {
			return &ballots[i]
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

// join adds the grounds of another tally.
func (t *tally) join(o *tally) {
	for _, g := range [...]struct{ to, from *ground }{{&t.general, &o.general}, {&t.part2, &o.part2}, {&t.revoked, &o.revoked}, {&t.patient, &o.patient}, {&t.guardian, &o.guardian}} {
		if g.from.found {
			g.to.add(g.from.signed, uint32(g.from.relied))
		}
	}
	t.expired, t.unclear = t.expired || o.expired, t.unclear || o.unclear
}
