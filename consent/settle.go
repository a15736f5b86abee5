package consent

import (
	"encoding/binary"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// bearing is what a request settles of a provision for all records: whom, from
// whom, for what and by which act it is, and whether it holds now.
type bearing uint8

const (
	apart   bearing = iota // it matches no record
	perhaps                // one that meets its other criteria may match
	whole                  // such a record matches
	lapsed                 // such a record would have matched a permit whose period is over
)

// settleDirectives judges once what no record changes: how each provision
// bears on the request, what a directive says whose criteria ask nothing of the
// record, and which forms are attested.
func (d *Decider) settleDirectives() {
	ds, names := d.tables.Directives, d.names()
	d.who = make([]match, len(ds.who.values))
	for i := range d.who {
		w := &ds.who.values[i]
		d.who[i] = min(w.action,
			anyOf(w.recipients, func(want string) match { return d.recipient(want, names) }),
			anyOf(w.custodians, func(want string) match { return sameReference(want[1:], d.request.Self, nil) }),
			anyOf(w.purposes, func(want string) match { return purposeMatches(want, d.request.Policy.Purpose) }))
	}
	d.bears = make([]bearing, len(ds.provisions))
	for i := range d.bears {
		d.bears[i] = d.bearing(&ds.provisions[i], d.who[ds.provisions[i].who])
	}
	d.settleTrees()
	d.accepted = make([]bool, len(ds.forms.values))
	for i := range d.accepted {
		for _, name := range ds.forms.values[i].names {
			d.accepted[i] = d.accepted[i] || contains(d.rules.AcceptForms, []byte(name)) || contains(d.rules.AcceptForms, []byte(lastSegment(name)))
		}
	}
}

func (d *Decider) bearing(p *provision, concerned match) bearing {
	clock := func(instant flags) int64 {
		if p.flags&instant != 0 {
			return d.now
		}
		return d.civil
	}
	switch {
	case concerned == no:
		return apart
	case p.flags&periodUnclear != 0:
		return perhaps
	case clock(fromInstant) < p.from:
		return apart
	case clock(toInstant) < p.to:
		return bearing(concerned)
	case concerned == yes && p.effect == permit:
		return lapsed
	}
	return apart
}

// settleTrees gives one plan to all trees that differ by nothing but by what the
// request has settled: of thousands of dates and forms, a few remain.
func (d *Decider) settleTrees() {
	ds := d.tables.Directives
	var plans interned[plan]
	var key []byte
	d.planned = make([]uint32, len(ds.trees))
	for number := uint32(1); int(number) < len(ds.trees); number++ {
		p := plan{tree: number}
		key = key[:0]
		for i, v := range ds.at(number) {
			b := d.bears[int(ds.trees[number].first)+i]
			p.asks = p.asks || b != apart && !(v.everyDay() && ds.what.values[v.what].everything())
			key = append(key, byte(b), byte(v.effect), byte(v.flags))
			key = binary.LittleEndian.AppendUint16(key, v.next)
			key = binary.LittleEndian.AppendUint32(key, v.what)
			key = binary.LittleEndian.AppendUint32(key, uint32(v.dataFrom))
			key = binary.LittleEndian.AppendUint32(key, uint32(v.dataTo))
		}
		d.planned[number] = plans.intern(key, p)
	}
	d.plans = plans.values
	for i := range d.plans {
		d.plans[i].verdict = d.judge(d.plans[i].tree, &extract.Facts{}, false)
	}
}

// anyOf is how well the best of a rule's values matches; a rule without any asks
// for nothing.
func anyOf(rule []string, matches func(want string) match) match {
	m := no
	for _, want := range rule {
		m = max(m, matches(want))
	}
	if len(rule) == 0 {
		return yes
	}
	return m
}

func (d *Decider) recipient(want string, names map[string]match) match {
	switch value := want[1:]; {
	case want == unclear:
		return unsure
	case want[0] == byKind && value == d.request.RecipientKind:
		return yes
	case want[0] == byName:
		return meant(names, value)
	case want[0] == byReference:
		return sameReference(value, d.request.Organizations, d.request.Others)
	}
	return no
}

// sameReference tells whether a reference means one of ours. One that is
// neither ours nor known to be another's cannot be told; a patient or a
// relative is no organization.
func sameReference(ref string, ours, others []string) match {
	switch kind, _ := splitReference(ref); {
	case named(ref, ours):
		return yes
	case named(ref, others), kind == "Patient" || kind == "RelatedPerson":
		return no
	}
	return unsure
}

// named compares a reference with names: as written, by type and id, or by the
// value of an identifier.
func named(ref string, names []string) bool {
	kind, id := splitReference(ref)
	for _, n := range names {
		if n == "" {
			continue
		}
		if n == ref || kind != "" && n == kind+"/"+id || strings.Contains(ref, "|") && n == lastSegment(ref) {
			return true
		}
	}
	return false
}
