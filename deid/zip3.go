package deid

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"strconv"
	"strings"
	"sync"
)

// The first three digits of a ZIP code may stay where the area of all ZIP
// codes that share them holds more than 20,000 people "according to the
// current publicly available data from the Bureau of the Census", and become
// 000 elsewhere: 45 CFR 164.514(b)(2)(i)(B).
//
// The Bureau counts by ZCTA, an approximation that moves from census to
// census, so a prefix must pass in every vintage shipped. A prefix that is in
// no table is 000.

// zip3Census2020 holds "prefix,population" lines below comment lines that name
// the source.
//
//go:embed zip3-census2020.csv
var zip3Census2020 string

// zip3RestrictedCensus2000 are the prefixes that the HHS guidance on
// de-identification (2012) lists as holding 20,000 people or fewer, from the
// 2000 Census.
const zip3RestrictedCensus2000 = "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893"

const zip3Least = 20_000

// ZIP3Vintages are the counts under each of which a prefix must pass.
const ZIP3Vintages = "Census 2020, and Census 2000 as in the HHS guidance of 2012"

// ZIP3SHA256 names both: hex, of the table of 2020 and the list of 2000.
func ZIP3SHA256() string {
	sum := sha256.Sum256([]byte(zip3Census2020 + zip3RestrictedCensus2000))
	return hex.EncodeToString(sum[:])
}

// zip3Open tells, by the number of a prefix, whether it may stay.
var zip3Open = sync.OnceValue(func() *[1000]bool {
	var open [1000]bool
	for line := range strings.Lines(zip3Census2020) {
		prefix, population, ok := strings.Cut(strings.TrimSpace(line), ",")
		if !ok || strings.HasPrefix(line, "#") || len(prefix) != 3 {
			continue
		}
		number, err := strconv.ParseUint(prefix, 10, 16)
		people, bad := strconv.Atoi(population)
		if err == nil && bad == nil {
			open[number] = people > zip3Least
		}
	}
	for prefix := range strings.FieldsSeq(zip3RestrictedCensus2000) {
		number, _ := strconv.Atoi(prefix)
		open[number] = false
	}
	return &open
})

// ZIP3 gives the first three digits of a US ZIP code written as 12345,
// 12345-6789 or 123456789, or 000 where they must not be shown or zip is none
// of these. It cannot know a foreign postal code of five or nine digits from a
// ZIP code: where a country is given, the caller looks at it first.
func ZIP3(zip []byte) [3]byte {
	if isZIP(zip) && zip3Open()[100*int(zip[0]-'0')+10*int(zip[1]-'0')+int(zip[2]-'0')] {
		return [3]byte(zip)
	}
	return [3]byte{'0', '0', '0'}
}

func isZIP(b []byte) bool {
	switch len(b) {
	case 5, 9:
		return allDigits(b)
	case 10:
		return b[5] == '-' && allDigits(b[:5]) && allDigits(b[6:])
	}
	return false
}

func allDigits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
