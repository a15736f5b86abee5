package build

import (
	"cmp"
	"math/big"
	"slices"
	"strconv"

	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// totals are the control totals of a drop: counts and sums over released rows,
// taken from the very lines that are sent.
type totals struct {
	asked []policies.Total
	rows  int64
	sums  map[string]*big.Rat
	by    map[string]map[string]int64
}

func newTotals(asked []policies.Total) *totals {
	return &totals{asked: asked, sums: map[string]*big.Rat{}, by: map[string]map[string]int64{}}
}

// partTotals adds the lines of one part, whose form it knows.
type partTotals struct {
	all   *totals
	form  form
	asked []partTotal
	cell  []byte
}

type partTotal struct {
	kind   string
	column int
	name   string
}

func (t *totals) of(f form, column func(policies.Total) int) *partTotals {
	p := &partTotals{all: t, form: f}
	for _, a := range t.asked {
		if at := column(a); at >= 0 {
			p.asked = append(p.asked, partTotal{a.Kind, at, a.Column})
		}
	}
	return p
}

func (p *partTotals) add(line []byte) {
	p.all.rows++
	for _, a := range p.asked {
		p.cell = p.form.cell(p.cell[:0], line, a.column)
		switch a.kind {
		case "sum":
			if value, ok := new(big.Rat).SetString(string(p.cell)); ok {
				sum := p.all.sums[a.name]
				if sum == nil {
					sum = new(big.Rat)
					p.all.sums[a.name] = sum
				}
				sum.Add(sum, value)
			}
		case "rows-by":
			counts := p.all.by[a.name]
			if counts == nil {
				counts = map[string]int64{}
				p.all.by[a.name] = counts
			}
			counts[string(p.cell)]++
		}
	}
}

// cellAt appends the unquoted cell of a column of one of our own lines without
// its end (RFC 4180), or nothing when the line has no such column.
func cellAt(dst, line []byte, delimiter byte, column int) []byte {
	at, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"' && quoted && i+1 < len(line) && line[i+1] == '"':
			i++
			if at == column {
				dst = append(dst, '"')
			}
		case c == '"':
			quoted = !quoted
		case c == delimiter && !quoted:
			if at++; at > column {
				return dst
			}
		case at == column:
			dst = append(dst, c)
		}
	}
	return dst
}

// decimal writes a sum of decimals with all its digits and no more.
func decimal(sum *big.Rat) string {
	digits, _ := sum.FloatPrec()
	return sum.FloatString(digits)
}

// list gives the totals in the order in which the policy asks for them.
func (t *totals) list(people int64) []transfer.Total {
	var list []transfer.Total
	for _, a := range t.asked {
		switch a.Kind {
		case "people":
			list = append(list, transfer.Total{Name: "people", Value: strconv.FormatInt(people, 10)})
		case "rows":
			list = append(list, transfer.Total{Name: "rows", Value: strconv.FormatInt(t.rows, 10)})
		case "sum":
			value := "0"
			if sum := t.sums[a.Column]; sum != nil {
				value = decimal(sum)
			}
			list = append(list, transfer.Total{Name: "sum of " + a.Column, Value: value})
		case "rows-by":
			type count struct {
				value string
				n     int64
			}
			var counts []count
			for value, n := range t.by[a.Column] {
				counts = append(counts, count{value, n})
			}
			slices.SortFunc(counts, func(a, b count) int { return cmp.Compare(a.value, b.value) })
			for _, c := range counts {
				list = append(list, transfer.Total{Name: "rows by " + a.Column + ": " + c.value, Value: strconv.FormatInt(c.n, 10)})
			}
		}
	}
	return list
}
