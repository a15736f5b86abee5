package consent

import (
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// tally is what all directives of a person say together about one record.
type tally struct {
	reasons extract.ReasonSet
	general ground // permits
	part2   ground // permits whose form is attested for Part 2
	revoked ground // what was taken back

	patient, guardian ground // permits that they have signed; noted only where rules for minors hold

	expired bool
	unclear bool
}

// ground is a set of directives of one kind.
type ground struct {
	found  bool
	signed extract.Day // the latest
	relied int         // 1 + its number
}

func (g *ground) add(signed extract.Day, number uint32) {
	if !g.found || signed > g.signed {
		g.signed, g.relied = signed, int(number)
	}
	g.found = true
}

// consent is step 5 for one person: what the person decided, and what holds
// where nothing was. The number is that of the directive relied on.
func (d *Decider) consent(s Subject, f *extract.Facts, part2 bool) (extract.ReasonSet, int) {
	bound := d.steps.Consent || d.steps.Part2 && part2
	if !bound && !d.listed {
		return 0, 0
	}
	var t tally
	ds := d.tables.Directives
	if bound && d.rules.MostRecent {
		t = d.mostRecent(s, f, part2)
	} else {
		for i := ds.head(s); i != 0; i = ds.list[i-1].next {
			switch {
			case !bound:
				t.reasons |= d.optsOut(&ds.list[i-1], f)
			default:
				d.take(&t, i, f, part2)
			}
		}
	}
	if !bound {
		return t.reasons, 0
	}
	reasons, relied := d.conclude(&t, part2)
	if d.steps.Consent || d.ground == nil {
		reasons |= d.minorControls(&t, s, f)
	}
	return reasons, relied
}

// optsOut tells whether a directive keeps a person out of de-identified data
// for a registry, which the clinic has promised though the law does not ask it.
// A denial that names neither a recipient nor a purpose is about protected
// information and says nothing here.
func (d *Decider) optsOut(n *directive, f *extract.Facts) (r extract.ReasonSet) {
	if n.unreadable() {
		return r.With(extract.ClinicChoice)
	}
	asked := n.scope == registryOptOut || n.scope == research && d.forResearch() || n.scope == general && d.specific(n)
	if !asked || n.status == inError {
		return 0
	}
	v := d.says(n, f, false)
	takenBack := n.scope == research && v.root == permit && (n.status == revoked || n.status == refused)
	if v.said >= deniesPerhaps && !d.over(n) || v.said != silent && takenBack {
		r = r.With(extract.ClinicChoice)
	}
	return r
}

// specific tells whether a denial of a directive names whom or what for.
func (d *Decider) specific(n *directive) bool {
	ds := d.tables.Directives
	for _, p := range ds.tree(n) {
		if w := &ds.who.values[p.who]; p.effect == deny && len(w.recipients)+len(w.purposes) > 0 {
			return true
		}
	}
	return false
}

func (d *Decider) forResearch() bool {
	return policies.PurposeWithin(d.request.Policy.Purpose, "HRESCH")
}

// over tells whether a directive has an explicit end that has come.
func (d *Decider) over(n *directive) bool { return n.ended != extract.NoDay && n.ended <= d.today }

// relevant tells whether a directive's scope is about this record.
func (d *Decider) relevant(n *directive, part2Record bool) bool {
	switch n.scope {
	case part2:
		return part2Record
	case registryOptOut:
		return d.listed
	case research:
		return d.forResearch()
	}
	return n.scope < otherMatters
}

// take adds what directive number (1-based) says.
func (d *Decider) take(t *tally, number uint32, f *extract.Facts, part2Record bool) {
	n := &d.tables.Directives.list[number-1]
	if n.unreadable() {
		t.reasons = t.reasons.With(extract.ConsentIndeterminate)
		return
	}
	if !d.relevant(n, part2Record) || n.status == inError {
		return
	}
	over := d.minors != nil && d.overAtMajority(number)
	v := d.says(n, f, over)
	if v.root == permit && (n.status != active && n.status != pending || d.over(n)) {
		t.takeFormer(n, number, v.said, v.unclear)
		return
	}
	switch said := v.said; {
	case said >= deniesPerhaps && d.over(n):
	case said >= deniesPerhaps && (n.status == pending || n.status != active && n.ended == extract.NoDay):
		t.reasons = t.reasons.With(extract.ConsentIndeterminate)
	case said >= deniesPerhaps:
		t.reasons |= d.denial(n.scope, said)
	case n.status != active:
	case over:
		t.expired = t.expired || said == permits || v.unclear || v.lapsed
	case said == permits && (n.signed == extract.NoDay || n.signed <= d.today):
		d.permit(t, n, number)
		if d.minors != nil {
			d.sign(t, n, number, part2Record)
		}
	default:
		t.unclear = t.unclear || v.unclear || said == permits
		t.expired = t.expired || v.lapsed
	}
}

// denial gives the reasons of a denial. One that matches only perhaps counts,
// and says that it could not be evaluated. An opt-out of registries is the
// patient's own decision towards a registry, and the clinic's choice where it is
// honoured towards others.
func (d *Decider) denial(s scope, said outcome) (r extract.ReasonSet) {
	switch {
	case s == stateLaw:
		r = r.With(extract.StateLawConsent)
	case s == registryOptOut && !(d.request.RecipientKind == "registry" && d.steps.Consent):
		r = r.With(extract.ClinicChoice)
	default:
		r = r.With(extract.ConsentDenied)
	}
	if said == deniesPerhaps {
		r = r.With(extract.ConsentIndeterminate)
	}
	return r
}

// takeFormer adds a permit that is one no longer. What it said of a record,
// permit or exception, it was about that record: a revocation takes all of it
// back, and one that may be about it counts.
func (t *tally) takeFormer(n *directive, number uint32, said outcome, unclear bool) {
	switch about := said != silent || unclear; {
	case !about:
	case n.status == expired:
		t.expired = true
	case n.status == refused:
		t.reasons = t.reasons.With(extract.ConsentDenied)
	default:
		signed := n.signed
		if signed == extract.NoDay {
			signed = anyDayTo // nothing can be shown to be newer
		}
		t.revoked.add(signed, number)
	}
}

// permit adds a permit in force. A state opt-in grounds nothing by itself. One
// under Part 2, which is asked for records under Part 2 alone, meets the general
// need for them too.
func (d *Decider) permit(t *tally, n *directive, number uint32) {
	if n.scope == stateLaw {
		return
	}
	t.general.add(n.signed, number)
	if d.underPart2(n) {
		t.part2.add(n.signed, number)
	}
}

// stands tells whether a ground outlives the revocations: it must have been
// signed after what was revoked. Of one day nobody can tell the order.
func (t *tally) stands(g ground) bool {
	return g.found && (!t.revoked.found || g.signed > t.revoked.signed)
}

// conclude says what follows from all directives together.
func (d *Decider) conclude(t *tally, part2 bool) (extract.ReasonSet, int) {
	r := t.reasons
	missing := func(why extract.Reason) {
		before := r
		if t.expired {
			r = r.With(extract.ConsentExpired)
		}
		if t.unclear {
			r = r.With(extract.ConsentIndeterminate)
		}
		if why == extract.Part2NoConsent || r == before && r&taken == 0 {
			r = r.With(why)
		}
	}
	generalStands, part2Stands := t.stands(t.general), t.stands(t.part2)
	if t.revoked.found && !generalStands {
		r = r.With(extract.ConsentRevoked)
	}
	if d.steps.Consent && !generalStands && (d.rules.General != policies.PermitWithout || d.steps.Authorization) {
		missing(extract.ConsentMissing)
	}
	relied := 0
	if generalStands {
		relied = t.general.relied
	}
	if part2 && d.steps.Part2 {
		if !part2Stands && d.ground == nil && d.rules.Part2 != policies.PermitWithout {
			missing(extract.Part2NoConsent)
		}
		if part2Stands {
			relied = t.part2.relied
		}
	}
	return r, relied
}

// taken are the reasons that already say why there is no consent.
const taken = 1<<extract.ConsentDenied | 1<<extract.ConsentRevoked | 1<<extract.ConsentIndeterminate | 1<<extract.StateLawConsent
