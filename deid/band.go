package deid

import (
	"fmt"
	"strings"
)

// numberBand is a closed range of numbers, as the policy writes it: 5-9, or 20+.
type numberBand struct {
	least, most decimal
	open        bool // at its upper end
	text        string
}

func numberBands(list []string) (bands []numberBand, err error) {
	for _, text := range list {
		low, open := strings.CutSuffix(text, "+")
		high := low
		if !open {
			low, high, _ = strings.Cut(text, "-")
		}
		least, ok := parseDecimal([]byte(low))
		most, both := parseDecimal([]byte(high))
		if !ok || !both || least.compare(most) > 0 {
			return nil, fmt.Errorf("band: %q is no band of numbers", text)
		}
		bands = append(bands, numberBand{least, most, open, text})
	}
	return bands, nil
}

// appendNumberBand appends the band in which a number lies; nothing of one that
// lies in none, such as 4.5 between 0-4 and 5-9.
func appendNumberBand(b, text []byte, bands []numberBand) []byte {
	n, ok := parseDecimal(text)
	for i := range bands {
		if band := &bands[i]; ok && n.compare(band.least) >= 0 && (band.open || n.compare(band.most) <= 0) {
			return append(b, band.text...)
		}
	}
	return b
}
