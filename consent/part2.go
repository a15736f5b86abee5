package consent

import (
	"slices"

	"github.com/posternhealth/postern/extract"
)

// legalProceedings is the purpose nearest to proceedings against a patient.
const legalProceedings = "HLEGAL"

// underPart2 tells whether a permit is a consent under Part 2 (42 CFR 2.31): its
// form is attested, the day of signature known. One for legal proceedings is for
// nothing else (2.31(d)).
func (d *Decider) underPart2(n *directive) bool {
	return d.accepted[n.form] && n.signed != extract.NoDay && (n.scope == part2 || n.scope == general) &&
		(d.request.Policy.Purpose != legalProceedings || d.tables.Directives.isFor(d.tables.Directives.tree(n), 0, legalProceedings))
}

// isFor tells whether all that a provision permits, and those nested in it, is
// for one purpose that it names.
func (ds *Directives) isFor(tree []provision, i uint16, purpose string) bool {
	p := &tree[i]
	named := ds.who.values[p.who].purposes
	if len(named) > 0 && !slices.ContainsFunc(named, func(other string) bool { return other != purpose }) {
		return true
	}
	for child := i + 1; child < p.next; child = tree[child].next {
		if !ds.isFor(tree, child, purpose) {
			return false
		}
	}
	return p.effect == deny
}
