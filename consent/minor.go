package consent

import (
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// signer tells who has signed a directive: several may have, nobody where it is
// not told.
type signer uint8

const (
	byPatient signer = 1 << iota
	byGuardian
)

// NoteBirth notes when a person was born. Of a person who is noted to be born
// at several times, any day from the first to the last of them may be true.
func (p *People) NoteBirth(s Subject, birth extract.Span) {
	if !birth.Known() {
		return
	}
	for int(s) >= len(p.births) {
		p.births = append(p.births, extract.NoSpan)
	}
	if known := &p.births[s]; known.Known() {
		known.From, known.To = min(known.From, birth.From), max(known.To, birth.To)
	} else {
		*known = birth
	}
}

func (p *People) birth(s Subject) extract.Span {
	if int(s) >= len(p.births) {
		return extract.NoSpan
	}
	return p.births[s]
}

// age gives the fewest and the most whole years that somebody may have lived on
// a day. A birth after that day does not tell.
func age(birth, on extract.Span) (least, most int, told bool) {
	if !birth.Known() || !on.Known() || birth.From > on.To {
		return 0, 0, false
	}
	return years(birth.To, on.From), years(birth.From, on.To), true
}

// years counts the birthdays from a birth to a day. Who is born on 29 February
// has them on 1 March of other years.
func years(birth, on extract.Day) int {
	born, now := birth.Time(), on.Time()
	n := now.Year() - born.Year()
	if now.Month() < born.Month() || now.Month() == born.Month() && now.Day() < born.Day() {
		n--
	}
	return n
}

// mayBeOfAge tells whether a person may have come of age by the day of decision.
func (d *Decider) mayBeOfAge(s Subject) bool {
	_, most, told := age(d.tables.People.birth(s), extract.Span{From: d.today, To: d.today})
	return !told || most >= d.minors.Majority
}

// overAtMajority tells whether what a directive permits is over because nobody
// but a guardian has signed it, of a patient who may have come of age.
func (d *Decider) overAtMajority(number uint32) bool {
	ds := d.tables.Directives
	return ds.list[number-1].signer == byGuardian && d.mayBeOfAge(ds.sources[number-1].subject)
}

// sign notes who has signed a permit that grounds this release. Of a record
// under Part 2 only one that counts there does.
func (d *Decider) sign(t *tally, n *directive, number uint32, part2Record bool) {
	if n.scope == stateLaw || part2Record && d.steps.Part2 && !d.underPart2(n) {
		return
	}
	if n.signer&byPatient != 0 {
		t.patient.add(n.signed, number)
	}
	if n.signer&byGuardian != 0 {
		t.guardian.add(n.signed, number)
	}
}

// minorControls is the part of step 5 that is about minors who control the
// release of their own records (docs/consent.md, Minors). It binds wherever a
// consent is asked for, be it under Part 2 alone (42 CFR 2.14), where no other
// ground stands for it.
func (d *Decider) minorControls(t *tally, s Subject, f *extract.Facts) (r extract.ReasonSet) {
	if d.minors == nil {
		return 0
	}
	asked := d.controllers(s, f)
	signed := (asked&byPatient == 0 || t.stands(t.patient)) && (asked&byGuardian == 0 || t.stands(t.guardian))
	if !signed && !d.treatedByGuardian(s, f) {
		r = r.With(extract.MinorControls)
	}
	return r
}

// controllers are those whose signatures the rules ask for before a record of a
// person is released. A rule that may be about it counts. A guardian is asked no
// more once the patient is of age with certainty.
func (d *Decider) controllers(s Subject, f *extract.Facts) (asked signer) {
	birth := d.tables.People.birth(s)
	for i := range d.minors.Rules {
		rule := &d.minors.Rules[i]
		if !d.ruleIsAbout(rule, birth, f) {
			continue
		}
		if asked |= byPatient; rule.Both {
			asked |= byGuardian
		}
	}
	if least, _, told := age(birth, extract.Span{From: d.today, To: d.today}); told && least >= d.minors.Majority {
		asked &^= byGuardian
	}
	return asked
}

func (d *Decider) ruleIsAbout(rule *policies.MinorRule, birth extract.Span, f *extract.Facts) bool {
	if least, most, told := age(birth, f.Date); told && (most < rule.FromAge || least > rule.ToAge) {
		return false
	}
	to := rule.To
	if to == extract.NoDay {
		to = anyDayTo
	}
	j := judgement{d: d, f: f}
	return min(within(f.Date, rule.From, to), j.labels(rule.Labels, deny)) != no
}

// treatedByGuardian tells whether the guardian consented to the care that a
// record is about. A row that the patient has signed, or nobody who is told,
// gives the patient control again if it may be about that care.
func (d *Decider) treatedByGuardian(s Subject, f *extract.Facts) (treated bool) {
	ds := d.tables.Directives
	for i := ds.head(s); i != 0; i = ds.list[i-1].next {
		n := &ds.list[i-1]
		if !ds.consentsToCare(n) || d.over(n) {
			continue
		}
		j := judgement{d: d, f: f, tree: ds.tree(n)}
		switch about := min(j.ofData(&j.tree[0]), j.what(&j.tree[0])); {
		case n.signer != byGuardian && about != no:
			return false
		case about == yes:
			treated = true
		}
	}
	return treated
}

// consentsToCare tells whether a directive is a consent to be treated that was
// not taken back.
func (d *Directives) consentsToCare(n *directive) bool {
	return n.scope == treatment && !n.unreadable() && n.status != revoked && n.status != inError && d.tree(n)[0].effect == permit
}

// signer tells who has given a Consent: the patient itself, or a relative, who
// is taken for the guardian. R4 calls the element performer, R5 grantor.
func (c *consentReader) signer(people *People, rec *extract.Record, patient Subject) (by signer) {
	name := "performer"
	if c.r5 {
		name = "grantor"
	}
	for ref := range c.root.member(name).elements {
		kind, id := splitReference(string(rec.Resolve([]byte(ref.member("reference").text()))))
		switch s, known := people.Find([]byte(id)); {
		case kind == "RelatedPerson":
			by |= byGuardian
		case kind == "Patient" && known && s == patient:
			by |= byPatient
		}
	}
	return by
}
