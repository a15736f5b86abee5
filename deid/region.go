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

//go:embed places.txt
var placeLines string

// places gives region and division of a state, by its letters or its name in
// capitals, and of ZIP codes, by their first three digits or by all five; neither
// of what else may stand where a state does.
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
	for line := range strings.Lines(strings.ToUpper(placeLines)) {
		words := strings.Fields(line)
		switch {
		case line[0] == '#':
			continue
		case strings.Contains(line, ";"): // names
			words = strings.Split(strings.TrimSpace(line), ";")
		}
		for _, word := range words {
			all[word] = all[word]
		}
	}
	return all
})

// isPlace tells of a state, district or territory by its letters or name, and of
// a country by its code; in any case.
func isPlace(v []byte) bool {
	var room [32]byte
	upper := inCapitals(room[:], v)
	if len(upper) == 0 || upper[0] < 'A' {
		return false
	}
	_, known := places()[string(upper)]
	return known
}

// inCapitals writes a text in capitals, where there is room for it.
func inCapitals(room, text []byte) []byte {
	if len(text) > len(room) {
		return nil
	}
	for i, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		room[i] = c
	}
	return room[:len(text)]
}

// appendRegion appends the Census region, or the division, of a state or a ZIP
// code; nothing of what is in none. Each is larger than a state, so it is none of
// the subdivisions of 45 CFR 164.514(b)(2)(i)(B).
func appendRegion(b, text []byte, division bool) []byte {
	var room [32]byte
	upper := inCapitals(room[:], text)
	where, known := [2]string{}, false
	if isZIP(text) {
		if where, known = places()[string(upper[:5])]; !known {
			where = places()[string(upper[:3])]
		}
	} else if len(upper) > 0 && (upper[0] < '0' || upper[0] > '9') {
		where = places()[string(upper)]
	}
	if division {
		return append(b, where[1]...)
	}
	return append(b, where[0]...)
}
