package bruteforce

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

// pair is two versions of a policy, one to three edits apart. The first is a
// base, with up to two edits that both versions share.
type pair struct {
	number     int
	was, is    *spec
	constructs []string
}

// pairs are n of them, always the same ones. Each construct's turn comes once
// in as many pairs as there are constructs.
func pairs(n int) (list []pair) {
	all, from := edits(), bases()
	for i := range n {
		r := rand.New(rand.NewPCG(7, uint64(i)))
		p := pair{number: i}
		for try := 0; p.is == nil; try++ {
			p.was = from[(i+i/len(all)+try)%len(from)]
			for range r.IntN(3) {
				if next := p.was.clone(); pick(r, all...).apply(r, next) {
					p.was = next
				}
			}
			p.edit(r, all[i%len(all)])
		}
		for range r.IntN(3) {
			p.edit(r, pick(r, all...))
		}
		if r.IntN(2) == 0 {
			p.was, p.is = p.is, p.was
		}
		list = append(list, p)
	}
	return list
}

// edit does one edit, if the policy has what it changes.
func (p *pair) edit(r *rand.Rand, e edit) {
	next := p.was
	if p.is != nil {
		next = p.is
	}
	if next = next.clone(); e.apply(r, next) {
		p.is, p.constructs = next, append(p.constructs, e.construct)
	}
}

// pairsWanted is 600 in CI; the long lane says how many.
func pairsWanted() int {
	if n, err := strconv.Atoi(os.Getenv("POSTERN_PAIRS")); err == nil {
		return n
	}
	return 600
}

// leavesNewly evaluates both policies in one situation, gate by gate, and
// lists the pieces that leave under the new one and are not covered.
func leavesNewly(pieces []piece, x situation) (list []piece) {
	leaves := func(p piece) bool {
		return !slices.ContainsFunc(p.all(), func(g gate) bool { return !g.holds(x) })
	}
	for _, p := range pieces {
		possible := !slices.ContainsFunc(p.order, func(g gate) bool { return !g.holds(x) })
		if possible && leaves(p) && !slices.ContainsFunc(p.covering, leaves) {
			list = append(list, p)
		}
	}
	return list
}

// What the oracle finds, it finds in parts; here both policies are evaluated
// in whole situations. Each situation that it names is one of widening, and
// where it names none for a piece, none is met around one in which the piece
// leaves.
func TestWhole(t *testing.T) {
	c, leaves := newClinic(t), fhirLeaves(t)
	for _, p := range pairs(pairsWanted() / 4) {
		q, pieces := newQuestion(t, p.was, p.is, c, rendering{leaves: leaves})
		r, quiet := rand.New(rand.NewPCG(8, uint64(p.number))), []piece{}
		for i := range pieces {
			where := q.ask(pieces[i])
			if where != nil && len(leavesNewly(pieces[i:i+1], q.whole(where))) == 0 {
				t.Errorf("pair %d %v: %s does not leave newly in %v", p.number, p.constructs, pieces[i], where)
			}
			if where == nil {
				quiet = append(quiet, pieces[i])
			}
		}
		for i := range quiet {
			around := uncovered(quiet[i].all(), nil, q.domain)
			for range 40 {
				if x := q.aside(r, around); len(leavesNewly(quiet[i:i+1], x)) > 0 {
					t.Errorf("pair %d %v: %s leaves newly in %v", p.number, p.constructs, quiet[i], x)
				}
			}
		}
	}
}

// aside is a situation that differs in a few things from another.
func (q *question) aside(r *rand.Rand, x situation) situation {
	x = q.whole(x)
	names := slices.Sorted(maps.Keys(q.domain))
	for range 1 + r.IntN(4) {
		name := pick(r, names...)
		x[name] = pick(r, q.domain[name]...)
	}
	return x
}

// whole gives a value to what a situation leaves open.
func (q *question) whole(x situation) situation {
	out := situation{}
	for name, values := range q.domain {
		out[name] = values[0]
		if v, given := x[name]; given {
			out[name] = v
		}
	}
	return out
}
