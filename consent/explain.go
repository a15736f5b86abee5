package consent

import (
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// Explanation is a decision taken apart: what each directive and restriction of
// the people whom a record is about says about it.
type Explanation struct {
	Directives   []Heard // in no order that means anything
	Restrictions []Heard
}

// Heard is what one directive or restriction says about one record.
type Heard struct {
	Number int // for Decider.Directive and Decider.Restriction
	Says   Says
}

// Says is what a directive or a restriction says about a record.
type Says string

// What can be said. Only Permits is a ground to release, and only if nothing
// else keeps the record back.
const (
	Permits        Says = "permits"
	PermitsPart2   Says = "permits-part2" // it grounds records under 42 CFR Part 2, too
	PermitsPerhaps Says = "may-permit"    // a criterion cannot be told, so it is no ground
	Denies         Says = "denies"
	DeniesPerhaps  Says = "may-deny" // a criterion cannot be told, so it counts
	TakenBack      Says = "taken-back"
	RunOut         Says = "run-out"
	Overtaken      Says = "overtaken" // a denial, by a newer permit of the same scope and source
	Nothing        Says = "nothing"   // it is about something else
)

// Explain judges each directive and restriction by itself, by the same code as
// Decide and much slower: it is for answers about single people.
func (d *Decider) Explain(f *extract.Facts, part2Record bool) (x Explanation) {
	for _, id := range f.Subjects {
		s, known := d.tables.People.Find(id)
		if !known {
			continue
		}
		heard, _ := d.hear(s, f, part2Record)
		x.Directives = append(x.Directives, heard...)
		for _, i := range d.RestrictionsOf(s) {
			said := Nothing
			switch min(d.bound[i], d.tables.Parts.covers(&d.tables.Restrictions.list[i], f)) {
			case yes:
				said = Denies
			case unsure:
				said = DeniesPerhaps
			}
			x.Restrictions = append(x.Restrictions, Heard{i, said})
		}
	}
	return x
}

// hear is consent, with what each directive has said.
func (d *Decider) hear(s Subject, f *extract.Facts, part2Record bool) (heard []Heard, all tally) {
	bound := d.steps.Consent || d.steps.Part2 && part2Record
	ds := d.tables.Directives
	var cast votes
	var said []tally
	for i := ds.head(s); i != 0 && (bound || d.listed); i = ds.list[i-1].next {
		var one tally
		if bound {
			d.take(&one, i, f, part2Record)
		} else {
			one.reasons = d.optsOut(&ds.list[i-1], f)
		}
		said = append(said, one)
		heard = append(heard, Heard{Number: int(i - 1)})
		if bound && d.rules.MostRecent {
			cast.take(ds, i, &one)
		}
	}
	for k, h := range heard {
		one := &said[k]
		overtaken := cast.overtook(ds, h.Number)
		heard[k].Says = one.says()
		if overtaken && one.reasons != 0 {
			one.reasons, heard[k].Says = 0, Overtaken
		}
		all.reasons |= one.reasons
		all.join(one)
	}
	return heard, all
}

// says puts what one directive has added to a tally into a word.
func (t *tally) says() Says {
	switch r := t.reasons; {
	case r.Has(extract.ConsentIndeterminate):
		return DeniesPerhaps
	case r != 0:
		return Denies
	case t.revoked.found:
		return TakenBack
	case t.part2.found:
		return PermitsPart2
	case t.general.found:
		return Permits
	case t.unclear:
		return PermitsPerhaps
	case t.expired:
		return RunOut
	}
	return Nothing
}

// overtook tells whether a newer permit has overtaken what the directive denies.
func (v *votes) overtook(ds *Directives, number int) bool {
	n := &ds.list[number]
	b := v.find(n.scope, ds.sources[number].file)
	return n.mayBeOvertaken() && b != nil && b.permit > b.against
}

// Paper is the head of a directive or a restriction, in words. It holds no
// value of a record and names nobody.
type Paper struct {
	File     string // "" of one that only an earlier reading of the clinic's lists held
	Line     int
	Scope    string      // of a directive: general, part2, …; of a restriction: self-pay, agreed
	Decision string      // permit, deny; unreadable of what cannot be understood
	Excepts  bool        // it has exceptions
	Status   string      // of a directive
	Signed   extract.Day // NoDay when it does not say
	SignedBy []string    // patient, guardian; none where it is not told
	From, To extract.Day // on which days it holds; NoDay where it does not say
	Ended    extract.Day // NoDay when it was not ended
	Forms    []string    // the versions of the form that was signed
	Limits   []string    // of a restriction: one visit, one service, certain days
	Here     bool        // it may be about this recipient and this purpose
}

var (
	scopeNames  = [...]string{"general", "part2", "registry-opt-out", "state", "research", "other", "treatment"}
	statusNames = [...]string{"active", "pending", "revoked", "expired", "refused", "entered-in-error"}
)

// Directive gives the head of a directive, by its number.
func (d *Decider) Directive(number int) Paper {
	ds := d.tables.Directives
	n := &ds.list[number]
	p := Paper{Scope: scopeNames[n.scope], Status: statusNames[n.status], Signed: n.signed, Ended: n.ended,
		From: extract.NoDay, To: extract.NoDay, Forms: ds.forms.values[n.form].names, Decision: "unreadable", Here: true}
	p.File, p.Line = ds.Place(number)
	for by, word := range map[signer]string{byPatient: "patient", byGuardian: "guardian"} {
		if n.signer&by != 0 {
			p.SignedBy = append(p.SignedBy, word)
		}
	}
	slices.Sort(p.SignedBy)
	if n.unreadable() {
		p.Forms = nil
		return p
	}
	tree := ds.tree(n)
	root := &tree[0]
	p.Decision, p.Excepts = [...]string{"permit", "deny"}[root.effect], len(tree) > 1
	p.Here = slices.ContainsFunc(tree, func(v provision) bool { return d.who[v.who] != no })
	if root.from != anytimeFrom {
		p.From = dayAt(root.from)
	}
	if root.to != anytimeTo {
		p.To = dayAt(root.to - 1)
	}
	return p
}

// RestrictionsOf are the numbers of a person's restrictions, in the order of their rows.
func (d *Decider) RestrictionsOf(s Subject) (numbers []int) {
	rs := d.tables.Restrictions
	for i := rs.heads.of(s); i != 0; i = rs.list[i-1].next {
		numbers = append(numbers, int(i-1))
	}
	slices.Reverse(numbers)
	return numbers
}

// Restriction gives the head of a restriction, by its number.
func (d *Decider) Restriction(number int) Paper {
	rs := d.tables.Restrictions
	r := &rs.list[number]
	p := Paper{Line: int(r.line), Scope: [...]string{"self-pay", "agreed", "unreadable"}[r.kind], Decision: "deny",
		Signed: extract.NoDay, From: extract.NoDay, To: extract.NoDay, Ended: r.ended, Here: d.bound[number] != no}
	if p.File = rs.files[r.file]; r.earlier {
		p.File, p.Line = "", 0
	}
	if len(r.why) > 0 {
		p.Decision = "unreadable"
	}
	for _, limit := range []struct {
		is   bool
		what string
	}{{r.encounter != "", "one visit"}, {r.service != "", "one service"}, {r.from != extract.NoDay || r.to != anyDayTo, "certain days"}} {
		if limit.is {
			p.Limits = append(p.Limits, limit.what)
		}
	}
	return p
}

// DirectivesOf are the numbers of a person's directives, in the order of their rows.
func (d *Decider) DirectivesOf(s Subject) (numbers []int) {
	for i := d.tables.Directives.head(s); i != 0; i = d.tables.Directives.list[i-1].next {
		numbers = append(numbers, int(i-1))
	}
	slices.Reverse(numbers)
	return numbers
}

// Covered is a time for which a roster shows a person.
type Covered struct {
	From, To  extract.Day // To is NoDay while it is open
	Ambiguous bool
}

// Coverage gives when the policy's roster shows a person as covered, the
// earliest first.
func (d *Decider) Coverage(s Subject) (spans []Covered) {
	if d.roster == nil {
		return nil
	}
	for i := d.roster.heads.of(s); i != 0; i = d.roster.list[i-1].next {
		row := &d.roster.list[i-1]
		c := Covered{row.from, row.to, row.ambiguous}
		if c.To == anyDayTo {
			c.To = extract.NoDay
		}
		spans = append(spans, c)
	}
	slices.Reverse(spans)
	return spans
}

// Sensitivities are the labels of a record, as this package has them: a code
// that it does not know is "other", so no value of a record leaves with them.
func Sensitivities(f *extract.Facts) string {
	var known []string
	for _, label := range f.Labels {
		word := "other"
		for code := range sensitivities {
			if isLabel(label, code) {
				word = code
			}
		}
		if confidentialityRank(string(label)) == 0 && !slices.Contains(known, word) {
			known = append(known, word)
		}
	}
	slices.Sort(known)
	return strings.Join(known, ", ")
}
