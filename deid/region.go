package deid

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

//go:embed regions.csv
var regionLines string

// places gives region and division of a state, by its letters or its name in
// capitals, and of ZIP codes, by their first three digits or by all five.
var places = sync.OnceValue(func() map[string][2]string {
	all := map[string][2]string{}
	for line := range strings.Lines(regionLines) {
		cells := strings.Split(strings.TrimSpace(line), ",")
		if strings.HasPrefix(line, "#") || len(cells) != 4 {
			continue
		}
		where := [2]string{cells[0], cells[1]}
		for state := range strings.SplitSeq(strings.ToUpper(cells[2]), ";") {
			letters, name, _ := strings.Cut(state, " ")
			all[letters], all[name] = where, where
		}
		for prefix := range strings.FieldsSeq(cells[3]) {
			from, to, several := strings.Cut(prefix, "-")
			all[from] = where
			first, _ := strconv.Atoi(from)
			last, _ := strconv.Atoi(to)
			for n := first; several && n <= last; n++ {
				all[fmt.Sprintf("%03d", n)] = where
			}
		}
	}
	return all
})

// appendRegion appends the Census region, or the division, of a state or a ZIP
// code; nothing of what is in none. Each is larger than a state, so it is none of
// the subdivisions of 45 CFR 164.514(b)(2)(i)(B).
func appendRegion(b, text []byte, division bool) []byte {
	var upper [32]byte
	if len(text) > len(upper) {
		return b
	}
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	where, known := [2]string{}, false
	if isZIP(text) {
		if where, known = places()[string(upper[:5])]; !known {
			where = places()[string(upper[:3])]
		}
	} else if len(text) > 0 && (text[0] < '0' || text[0] > '9') {
		where = places()[string(upper[:len(text)])]
	}
	if division {
		return append(b, where[1]...)
	}
	return append(b, where[0]...)
}
