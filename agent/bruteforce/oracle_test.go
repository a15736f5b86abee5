package bruteforce

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/policies"
)

// piece is one thing that a policy lets out where all its gates hold.
type piece struct {
	dataset, source string
	part, name      string // as Compare calls them: the dataset, or part of a table; the field, or the dimension
	form            *form  // of a released field
	index           string // which index date its form reads; "" when none
	stratum         *dimension
	sets            map[string]set
	presence        bool   // tells only that there is a record
	run, gates      []gate // of the run; of the record and its person
	control         []gate // of the disclosure control

	covering []piece // of the old policy, once asked for
	order    []gate  // what is known of the two policies' groups
}

func (p piece) all() []gate { return slices.Concat(p.run, p.gates, p.control) }

func (p piece) String() string {
	text := p.dataset + ": " + p.source
	if p.form != nil {
		text += fmt.Sprintf(" %s %d %d %s %s %d", p.form.Do, p.form.Width, p.form.Top, p.form.Unit, p.form.At, p.form.Days)
	}
	return text
}

// covers tells whether the old piece tells at least what the new one does.
func (p piece) covers(n piece) bool {
	switch {
	case p.dataset != n.dataset:
		return false
	case n.presence:
		return true
	case p.source != n.source || n.index != "" && p.index != n.index:
		return false
	case n.form != nil:
		return p.form.covers(*n.form)
	case n.stratum != nil:
		return stratumCovers(*p.stratum, p.sets, *n.stratum, n.sets)
	}
	return true
}

// letsOut lists the pieces of a policy with their gates. The role keeps the
// groups of two policies apart.
func letsOut(t testing.TB, s *spec, role string, c *clinic, r rendering) (list []piece) {
	r.spec = s
	run, control, permits := runGates(s), controlGates(s, role), c.permits(t, r.policy())
	for _, rel := range s.Release {
		gates := slices.Concat(peopleGates(s, rel.Dataset, permits), recordGates(s, rel))
		add := func(p piece) {
			p.dataset, p.run, p.gates, p.control = rel.Dataset, run, gates, control
			list = append(list, p)
		}
		for _, f := range rel.Fields {
			for _, p := range fieldPieces(rel, f, r) {
				p.part, p.name = rel.Dataset, f.Name
				add(p)
			}
		}
		if s.RowKey {
			add(piece{source: "row key", part: rel.Dataset, name: "row key"})
		}
		if s.Shuffle == "" {
			add(piece{source: "order", part: rel.Dataset, name: "order of the rows"})
		}
	}
	for _, t := range s.Tables {
		list = append(list, tablePieces(s, t, permits, run, control)...)
	}
	return list
}

func fieldPieces(rel release, f field, r rendering) (list []piece) {
	s := r.spec
	if f.Do == "constant" {
		return []piece{{dataset: rel.Dataset, source: "constant", presence: true}}
	}
	if isFHIR(rel.Dataset) {
		for _, l := range r.release(release{Dataset: rel.Dataset, Fields: []field{f}}).Fields[0].Leaves {
			list = append(list, piece{dataset: rel.Dataset, source: strings.Join(l.Path, "."), form: &form{f, l.Class, s.Standard, nil, 0}})
		}
		return list
	}
	p := piece{dataset: rel.Dataset, source: f.From, form: &form{f, classOf(rel.Dataset, f.From), s.Standard, s.Sets[f.To].Map, 0}}
	if p.form.readsIndex() {
		p.index = indexOf(s)
	}
	return []piece{p}
}

// tablePieces are the statistics of a table: whoever is in the denominator is
// counted by each dimension, and in the numerator too when its conditions
// hold. A rate tells of both, and both together tell the rate.
func tablePieces(s *spec, t table, permits map[string]bool, run, control []gate) (list []piece) {
	in := slices.Concat(peopleGates(s, t.Dataset, permits), dayOfService(s, t.Dataset), valueGates(s, t.Dataset, t.In))
	met := slices.Concat(in, valueGates(s, t.Dataset, t.Met))
	by := t.By
	if t.Totals {
		by = append(slices.Clone(by), dimension{Path: "everyone"})
	}
	for _, d := range by {
		add := func(what, part string, gates []gate) {
			list = append(list, piece{dataset: t.Name + "/" + t.Dataset, source: d.Path + " " + what, part: "table " + t.Name + part, name: d.Path, stratum: &d, sets: s.Sets, run: run, gates: gates, control: control})
		}
		for _, show := range t.Show {
			if show == "denominator" || show == "rate" {
				add(show+" in", "", in)
			}
			if show == "numerator" || show == "rate" {
				add(show+" met", ", numerator", met)
			}
		}
	}
	return list
}

// orRate adds what a reader of the numbers of a table can work out: who is
// counted below the line of a rate, and who above it.
func orRate(list []piece) []piece {
	for _, p := range slices.Clone(list) {
		at, what, _ := strings.Cut(p.source, " ")
		if _, part, _ := strings.Cut(what, " "); p.stratum != nil {
			p.source = at + " rate " + part
			list = append(list, p)
		}
	}
	return list
}

// groupPieces are the values that the people of a group share, in one dataset.
func groupPieces(r rendering, dataset string) (list []piece) {
	if rel := r.spec.dataset(dataset); rel != nil && r.spec.Protect != nil {
		for _, f := range rel.Fields {
			if slices.Contains(r.spec.Protect.Over, f.Name) {
				list = append(list, fieldPieces(*rel, f, r)...)
			}
		}
	}
	return list
}

// coversAll tells whether some piece of the first list covers each of the second.
func coversAll(was, is []piece) bool {
	return !slices.ContainsFunc(is, func(n piece) bool {
		return !slices.ContainsFunc(was, func(o piece) bool { return o.covers(n) })
	})
}

// groupOrder holds the sizes of two policies' groups against each other, where
// the doc says that one is known to be no larger.
func groupOrder(was, is *spec, finer bool, admitsMore func() bool) []gate {
	a, b := was.Protect, is.Protect
	if a == nil || b == nil || max(a.K, a.Smallest) == 0 || max(b.K, b.Smallest) == 0 || !finer ||
		len(b.First) > 0 && !slices.Equal(a.First, b.First) || a.Then == "suppress-person" && b.Then != "suppress-person" || admitsMore() {
		return nil
	}
	return []gate{{[]string{"group:is", "group:was"}, func(x situation) bool { return x["group:is"].(int) <= x["group:was"].(int) }}}
}

// finding is a piece that newly leaves, and where.
type finding struct {
	piece piece
	where situation
}

// question is that of compare, asked of the oracle.
type question struct {
	was, is *spec
	old     []piece
	domain  map[string][]any
	known   map[string]situation
	more    map[string]bool       // by dataset: records are let in that were not
	parts   map[string][][]string // in which alone more is let in
}

func newQuestion(t testing.TB, was, is *spec, c *clinic, r rendering) (*question, []piece) {
	q := &question{was: was, is: is, old: orRate(letsOut(t, was, "was", c, r)), domain: domains(was, is), known: map[string]situation{}, more: map[string]bool{}, parts: map[string][][]string{}}
	pieces := letsOut(t, is, "is", c, r)
	held := was.Recipient == is.Recipient && policies.PurposeWithin(is.Purpose, was.Purpose)
	for i := range pieces {
		for _, o := range q.old {
			if held && o.covers(pieces[i]) {
				pieces[i].covering = append(pieces[i].covering, o)
			}
		}
	}
	for i := range pieces {
		if p := &pieces[i]; p.stratum == nil {
			finer := coversAll(groupPieces(rendering{r.leaves, is}, p.dataset), groupPieces(rendering{r.leaves, was}, p.dataset))
			p.order = groupOrder(was, is, finer, func() bool { return q.admitsMore(*p) })
		} else {
			p.order = groupOrder(was, is, coversAll([]piece{*p}, p.covering), func() bool { return q.admits(*p, p.covering) })
		}
	}
	return q, pieces
}

// newlyLeaves answers by enumeration which pieces leave under the new policy
// that would not have left under the old one.
func (q *question) newlyLeaves(pieces []piece) (list []finding) {
	for _, p := range pieces {
		if where := q.ask(p); where != nil {
			list = append(list, finding{p, where})
		}
	}
	return list
}

func (q *question) ask(p piece) situation {
	key := fmt.Sprintf("%p %v", p.gates, p.order != nil)
	var was [][]gate
	for _, o := range p.covering {
		key += fmt.Sprintf(" %p", o.gates)
		was = append(was, o.all())
	}
	where, met := q.known[key]
	if !met {
		where = uncovered(append(p.all(), p.order...), was, q.domain)
		q.known[key] = where
	}
	return where
}

// admitsMore tells whether a record of the piece's dataset is let in that the
// old policy does not let in, both before disclosure control.
func (q *question) admitsMore(p piece) bool {
	if more, known := q.more[p.dataset]; known {
		return more
	}
	var old []piece
	for _, o := range q.old {
		if o.dataset == p.dataset && len(old) == 0 { // of one dataset all pieces have the same gates
			old = append(old, o)
		}
	}
	q.more[p.dataset] = q.admits(p, old)
	return q.more[p.dataset]
}

func (q *question) admits(p piece, old []piece) bool {
	var was [][]gate
	for _, o := range old {
		was = append(was, o.gates)
	}
	return uncovered(p.gates, was, q.domain) != nil
}

// wider lists what is read together in which alone the new policy lets in more
// than the old one did, where the piece is covered at all.
func (q *question) wider(p piece) [][]string {
	if len(p.covering) == 0 {
		return nil
	}
	key := fmt.Sprintf("%p %p", p.gates, p.covering[0].gates)
	if list, known := q.parts[key]; known {
		return list
	}
	q.parts[key] = [][]string{}
	is, was := p.all(), p.covering[0].all()
	if uncovered(is, nil, q.domain) == nil {
		return nil
	}
	for _, part := range parts(is, [][]gate{was}) {
		sized := slices.ContainsFunc(part, func(name string) bool { return strings.HasPrefix(name, "group:") })
		within := func(gates []gate) []gate {
			return slices.DeleteFunc(slices.Clone(gates), func(g gate) bool { return !reads(part, g) })
		}
		if !sized && uncovered(within(is), [][]gate{within(was)}, q.domain) != nil {
			q.parts[key] = append(q.parts[key], part)
		}
	}
	return q.parts[key]
}

// uncovered finds a situation in which all gates of the new piece hold and, of
// each old one, some gate does not; nil when there is none. What no gate reads
// together is enumerated apart.
func uncovered(is []gate, was [][]gate, domain map[string][]any) situation {
	found := map[uint64]situation{0: {}} // by the old pieces that fail
	for _, part := range parts(is, was) {
		next := map[uint64]situation{}
		enumerate(part, domain, func(x situation) {
			for _, g := range is {
				if reads(part, g) && !g.holds(x) {
					return
				}
			}
			var failed uint64
			for i, gates := range was {
				if slices.ContainsFunc(gates, func(g gate) bool { return reads(part, g) && !g.holds(x) }) {
					failed |= 1 << i
				}
			}
			for before, y := range found {
				if _, met := next[before|failed]; !met {
					z := maps.Clone(y)
					maps.Copy(z, x)
					next[before|failed] = z
				}
			}
		})
		found = next
	}
	return found[1<<len(was)-1]
}

func reads(part []string, g gate) bool { return slices.Contains(part, g.reads[0]) }

// parts are the sets of things that are read together, by some chain of gates.
func parts(is []gate, was [][]gate) (list [][]string) {
	for _, g := range slices.Concat(append(was, is)...) {
		joined := slices.Clone(g.reads)
		list = slices.DeleteFunc(list, func(part []string) bool {
			meets := slices.ContainsFunc(part, func(name string) bool { return slices.Contains(g.reads, name) })
			if meets {
				joined = append(joined, part...)
			}
			return meets
		})
		slices.Sort(joined)
		list = append(list, slices.Compact(joined))
	}
	return list
}

func enumerate(names []string, domain map[string][]any, visit func(situation)) {
	x := situation{}
	var set func(i int)
	set = func(i int) {
		if i == len(names) {
			visit(x)
			return
		}
		for _, v := range domain[names[i]] {
			x[names[i]] = v
			set(i + 1)
		}
	}
	set(0)
}
