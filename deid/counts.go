package deid

type tally struct{ in, out uint64 }

// Count is what an engine did at one path: how many values it met and how many
// of them left. A member that the plan does not name counts once, however
// much is below it. Paths are made of the policy's names and the element
// table's, never of a record's.
type Count struct {
	Path    string
	In, Out uint64
}

// Counts are the counts of one plan, in plan order.
type Counts []Count

// Counts gives what this engine has counted so far.
func (e *Engine) Counts() Counts {
	counts := make(Counts, len(e.counts))
	for i, n := range e.counts {
		counts[i] = Count{e.plan.paths[i], n.in, n.out}
	}
	if e.plan.root == nil {
		for i := e.plan.unnamed; i < len(counts); i++ {
			counts[i].In = e.rows
		}
	}
	return counts
}

// Add adds the counts of another engine of the same plan.
func (c Counts) Add(other Counts) {
	for i := range c {
		c[i].In += other[i].In
		c[i].Out += other[i].Out
	}
}

// Tallies are counts apart from those of their plan: they are of one record,
// and count only if it leaves.
type Tallies []oneTally

type oneTally struct {
	path    int32
	in, out uint32
}

// Take gives what this engine has counted, and forgets it.
func (e *Engine) Take() (taken Tallies) {
	for i, c := range e.Counts() {
		if c.In > 0 {
			taken = append(taken, oneTally{int32(i), uint32(c.In), uint32(c.Out)})
		}
	}
	clear(e.counts)
	e.rows = 0
	return taken
}

// AddTallies adds what an engine of the same plan has counted of one record.
func (c Counts) AddTallies(taken Tallies) {
	for _, t := range taken {
		c[t.path].In += uint64(t.in)
		c[t.path].Out += uint64(t.out)
	}
}
