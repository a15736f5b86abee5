package gate

import "strings"

// Choose gives a value that may stand at a position of a row about these people:
// the n-th of a closed set, or else the first of others that the position's own
// grammar admits; false when none fits. Rows that hold nothing about anybody are
// made with it: what is chosen is judged again, like every row.
func (g *Gate) Choose(position Grammar, n int, others []string, people []uint32) (string, bool) {
	if all := position.values; len(all) > 0 {
		v := all[n%len(all)]
		if strings.HasSuffix(v, "/") { // of URIs: it stands for those that begin so
			v = all[0]
		}
		others = append([]string{v}, others...)
	}
	g.subjects = people
	for _, v := range others {
		if position.judge(g, []byte(v)) == "" {
			return v, true
		}
	}
	return "", false
}
