package policies

import (
	"slices"
	"strings"
)

// Comparison is what one policy would let out and another would not. It is
// exact: what it does not list does not change (docs/comparing-policies.md).
type Comparison struct {
	Old     string   `json:"old"` // name and version
	New     string   `json:"new"`
	Widens  []Change `json:"widens"`  // leaves under the new policy and did not under the old
	Narrows []Change `json:"narrows"` // left under the old policy and stays under the new
	Also    []string `json:"also_changed"`
}

// Kinds of changes.
const (
	NewRecipient  = "recipient"
	NewPurpose    = "purpose"
	NewDataset    = "dataset"
	NewField      = "field"
	NewForm       = "form"       // a field leaves already, in a form that tells less
	NewPopulation = "population" // what leaves already leaves in more situations
)

// Change is one way in which more leaves, with a situation that shows it.
type Change struct {
	Kind      string     `json:"kind"`
	Dataset   string     `json:"dataset"` // or table
	Fields    []string   `json:"fields,omitempty"`
	Dimension string     `json:"dimension,omitempty"` // of a population: what makes the difference
	Says      string     `json:"says"`
	Situation *Situation `json:"situation"`
}

// Compare finds what leaves under a new policy and did not under an old one,
// and the reverse. Each is a policy that Load gave, with the environment it
// meets: the schemas of its datasets and the kind of its recipient; placeholders
// in it are compared as they stand.
func Compare(old, new *Policy, was, is Env) *Comparison {
	return &Comparison{
		Old: old.title(), New: new.title(),
		Widens:  said(beyond(new, old, is, was), "newly leaves", new),
		Narrows: said(swapped(beyond(old, new, was, is)), "newly stays", old),
		Also:    alsoChanged(old, new),
	}
}

// swapped gives the groups of situations to the policies they belong to.
func swapped(changes []Change) []Change {
	for _, c := range changes {
		c.Situation.GroupOld, c.Situation.GroupNew = c.Situation.GroupNew, c.Situation.GroupOld
	}
	return changes
}

// beyond lists what a policy lets out beyond another.
func beyond(wide, narrow *Policy, is, was Env) []Change {
	changes, others := []Change{}, views(narrow, was)
	for _, v := range views(wide, is) {
		i := slices.IndexFunc(others, func(o *view) bool { return o.name == v.name })
		switch {
		case wide.Recipient != narrow.Recipient:
			changes = append(changes, v.whole(NewRecipient)...)
		case !PurposeWithin(wide.Purpose, narrow.Purpose):
			changes = append(changes, v.whole(NewPurpose)...)
		case i < 0 || others[i].never():
			changes = append(changes, v.whole(NewDataset)...)
		default:
			changes = append(changes, v.beyond(others[i])...)
		}
	}
	return changes
}

// whole is the change when nothing of a dataset left before.
func (v *view) whole(kind string) []Change {
	base, ok := v.meet(v)
	if !ok {
		return nil
	}
	return []Change{v.change(kind, base)}
}

func (v *view) beyond(other *view) (changes []Change) {
	base, ok := v.meet(other)
	if !ok {
		return nil
	}
	var covered []piece
	for _, p := range v.pieces {
		kind := p.beyond(other.pieces)
		told := func(c Change) bool { return c.Kind == kind && c.Fields[0] == p.field }
		switch {
		case kind == "":
			covered = append(covered, p)
		case !slices.ContainsFunc(changes, told):
			changes = append(changes, v.change(kind, base, p.field))
		}
	}
	if len(covered) == 0 {
		return changes
	}
	wider := v.wider(other, base)
	return slices.Concat(changes, wider, v.smallerGroups(covered, other, base, !slices.ContainsFunc(wider, moreRecords)))
}

// moreRecords tells of a wider population whether other records are in it, rather
// than the same ones on other days or under other guards.
func moreRecords(c Change) bool {
	what, _, _ := strings.Cut(c.Dimension, ":")
	return slices.Contains([]string{dimDates, dimValue, dimPeople, dimStanding}, what)
}

// beyond tells in which way a piece is covered by none of others; "" when it is
// covered.
func (p *piece) beyond(others []piece) (kind string) {
	kind = NewField
	for i := range others {
		switch {
		case others[i].covers(p):
			return ""
		case others[i].source == p.source:
			kind = NewForm
		}
	}
	return kind
}

// meet is a situation that a view admits, and another too in every dimension
// where that is possible; ok is false when it admits none.
func (v *view) meet(other *view) (s *Situation, ok bool) {
	s = &Situation{Dataset: v.dataset}
	for _, d := range dimensions(v, other) {
		s.asked = append(s.asked, d.name)
		own := func(s *Situation) bool { return v.admits(d.name, s) }
		if !d.find(s, func(s *Situation) bool { return own(s) && other.admits(d.name, s) }) && !d.find(s, own) {
			return nil, false
		}
	}
	s.GroupNew = max(v.smallest(), other.smallest(), 1)
	s.GroupOld = s.GroupNew
	return s, true
}

// wider lists the dimensions in which a view admits more than another.
func (v *view) wider(other *view, base *Situation) (changes []Change) {
	for _, d := range dimensions(v, other) {
		s := base.clone()
		if d.find(s, func(s *Situation) bool { return v.admits(d.name, s) && !other.admits(d.name, s) }) {
			c := v.change(NewPopulation, s)
			c.Dimension = d.name
			changes = append(changes, c)
		}
	}
	return changes
}

// smallerGroups is the change when pieces leave in groups that were too small
// for every piece that covers them. within tells that the groups are of no other
// records than those of the other view.
func (v *view) smallerGroups(covered []piece, other *view, base *Situation, within bool) []Change {
	var shows *Situation
	var fields []string
	for _, p := range covered {
		s := base.clone()
		less := true
		for i := range other.pieces {
			if o := &other.pieces[i]; less && o.covers(&p) {
				d := sizes(&p.group, &o.group, within && p.group.noLargerThan(&o.group))
				less = d.find(s, func(s *Situation) bool { return s.GroupNew >= p.group.smallest && s.GroupOld < o.group.smallest })
			}
		}
		if less && !slices.Contains(fields, p.field) {
			shows, fields = s, append(fields, p.field)
		}
	}
	if shows == nil {
		return nil
	}
	shows.asked = append(shows.asked, dimGroup)
	c := v.change(NewPopulation, shows, fields...)
	c.Dimension = dimGroup
	return []Change{c}
}
