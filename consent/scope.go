package consent

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// RestsOn explains on what a permitted record under Part 2 rests, for the
// recipient (42 CFR 2.32(b)): the scope of the consent, or the section and paper
// of another ground; of a record about several people, each that there is. It
// says what was permitted, never what was not, to nobody but this recipient, and
// in no words of a record or directive: lists of codes are not spelled out.
// Nothing is said of records that rest on nothing of the kind.
func (d *Decider) RestsOn(f *extract.Facts) string {
	var all []string
	for _, id := range f.Subjects {
		s, known := d.tables.People.Find(id)
		if !known {
			continue
		}
		text := ""
		if _, relied := d.consent(s, f, true); relied > 0 && d.underPart2(&d.tables.Directives.list[relied-1]) {
			text = d.scopeOf(&d.tables.Directives.list[relied-1], f)
		} else if d.ground != nil {
			text = d.ground.Explained()
		}
		if text != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n\n")
}

// scopeOf explains a consent, as far as it is what permits this record.
func (d *Decider) scopeOf(n *directive, f *extract.Facts) string {
	ds, t := d.tables.Directives, &d.tables.Directives.trees[n.tree]
	j := judgement{d: d, f: f, tree: ds.at(n.tree), bears: d.bears[t.first:][:t.count]}
	from, to := int64(anytimeFrom), int64(anytimeTo)
	dataFrom, dataTo := extract.NoDay, anyDayTo
	var purposes, what []string
	add := func(words string, of []string, known func(string) bool) {
		if of = slices.DeleteFunc(slices.Clone(of), func(w string) bool { return !known(w) }); len(of) > 0 {
			what = append(what, words+strings.Join(of, ", "))
		}
	}
	for _, p := range j.permitting(0, nil) {
		from, to, dataFrom, dataTo = max(from, p.from), min(to, p.to), max(dataFrom, p.dataFrom), min(dataTo, p.dataTo)
		if named := ds.who.values[p.who].purposes; len(named) > 0 {
			purposes = slices.DeleteFunc(slices.Clone(named), func(code string) bool { return !policies.KnownPurpose(code) })
		}
		w := &ds.what.values[p.what]
		add("labelled ", w.labels, func(l string) bool { return isSensitivity(l) || confidentialityRank(l) > 0 })
		add("of the types ", w.classes, func(c string) bool { return extract.TypeOf(c) != nil })
		if len(w.codes) > 0 {
			what = append(what, "of certain codes")
		}
		if len(w.data) > 0 {
			what = append(what, "named in it one by one")
		}
	}
	if dataFrom != extract.NoDay {
		what = append(what, "made from "+dataFrom.String())
	}
	if dataTo != anyDayTo {
		what = append(what, "made until "+dataTo.String())
	}
	text := fmt.Sprintf("consent: 42 CFR 2.31\nfrom whom: %s\nwhat: %s\nto whom: %s\nfor what: %s\n",
		slices.Concat(d.request.Self, []string{"the sender"})[0], cmp.Or(strings.Join(slices.Compact(what), "; "), "all records"), d.request.Policy.Recipient, cmp.Or(strings.Join(purposes, ", "), "all purposes"))
	if from > math.MinInt64 {
		text += "in force from: " + dayAt(from).String() + "\n"
	}
	if to < math.MaxInt64 {
		text += "in force until: " + dayAt(to-1).String() + "\n"
	}
	return text + "form: " + d.formOf(n) + "\nsigned: " + n.signed.String()
}

// dayAt is the day on which a second of provision.period lies.
func dayAt(second int64) extract.Day { return extract.DayOf(time.Unix(second, 0).UTC()) }

// permitting appends the provisions by which provision i permits: itself, and
// the exceptions in it that do.
func (j *judgement) permitting(i uint16, path []*provision) []*provision {
	p := &j.tree[i]
	path = append(path, p)
	for child := i + 1; child < p.next; child = j.tree[child].next {
		if (p.effect == deny || j.tree[child].effect == deny) && j.of(child) == permits {
			return j.permitting(child, path)
		}
	}
	return path
}

// formOf is the accepted version of the form, as the policy writes it.
func (d *Decider) formOf(n *directive) string {
	names := d.tables.Directives.forms.values[n.form].names
	return d.rules.AcceptForms[slices.IndexFunc(d.rules.AcceptForms, func(form string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return name == form || lastSegment(name) == form })
	})]
}
