package policies

import "slices"

// Words for what numbers may be worked out from.
const (
	thisTable    = "this-table"
	linkedTables = "linked-tables"
	earlierDrops = "earlier-drops"
)

// controlled judges what disclosure control asks, but for the sizes of groups,
// which differ from piece to piece.
func (v *view) controlled(dimension string, s *Situation) bool {
	switch p := v.Protect; {
	case p == nil:
		return true
	case dimension == dimAudit:
		return !p.Audit || !s.AuditFailed
	case s.Derivable == earlierDrops && p.Years > 0 && s.YearsBack > p.Years:
		return true
	default:
		return !slices.Contains(p.Against, s.Derivable)
	}
}

// control are the dimensions of disclosure control, sizes of groups apart.
func control(a, b *view) (list []dimension) {
	years, audit, against := []int{1}, false, false
	for _, v := range []*view{a, b} {
		if p := v.Protect; p != nil {
			years = append(years, p.Years, p.Years+1)
			audit, against = audit || p.Audit, against || len(p.Against) > 0
		}
	}
	if audit {
		list = append(list, over(dimAudit, []bool{false, true}, func(s *Situation, failed bool) { s.AuditFailed = failed }))
	}
	if against {
		list = append(list, dimension{dimDerivable, func(s *Situation, try func() bool) {
			for _, s.Derivable = range []string{"", thisTable, linkedTables, earlierDrops} {
				for _, s.YearsBack = range years {
					if try() {
						return
					}
				}
			}
		}})
	}
	return list
}

// group is whose number counts for a piece: people who share what Over names,
// or who stand in a cell of a table.
type group struct {
	smallest int     // that leaves
	by       []piece // what its members share
	first    string  // it is counted after this coarsening
	person   bool    // the smallest of any record of the person
}

// noLargerThan tells whether a group can be known to be no larger than another,
// when the records that the first is made of are among those of the second.
func (g *group) noLargerThan(h *group) bool {
	shared := func(old piece) bool {
		return slices.ContainsFunc(g.by, func(p piece) bool { return p.covers(&old) })
	}
	for _, old := range h.by {
		if !shared(old) {
			return false
		}
	}
	return (g.first == "" || g.first == h.first) && (g.person || !h.person)
}

// sizes is the dimension of the sizes of two groups, of which the one of the
// new policy may be known to be no larger.
func sizes(new, old *group, ordered bool) dimension {
	return dimension{dimGroup, func(s *Situation, try func() bool) {
		for _, s.GroupNew = range []int{max(new.smallest, 1), max(new.smallest-1, 1), max(old.smallest, new.smallest)} {
			for _, s.GroupOld = range []int{max(old.smallest, s.GroupNew), max(old.smallest-1, 1), s.GroupNew} {
				if (!ordered || s.GroupNew <= s.GroupOld) && try() {
					return
				}
			}
		}
	}}
}

// smallest is the smallest group that any piece leaves in.
func (v *view) smallest() (n int) {
	for _, p := range v.pieces {
		n = max(n, p.group.smallest)
	}
	return n
}
