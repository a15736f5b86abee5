package gate

import (
	"bytes"
	_ "embed"
	"math"
	"strings"
)

// longestCode is the longest code, in bytes; FHIR ids have the same bound.
const longestCode = 64

const (
	inCode = 1 << iota
	inID
	inOwnCode
)

var alphabets = func() (t [256]uint8) {
	for c := '!'; c <= '~'; c++ {
		if !strings.ContainsRune("\"\\<>@,;`&", c) {
			t[c] |= inCode
		}
	}
	const digits, letters = "0123456789", "abcdefghijklmnopqrstuvwxyz"
	for _, c := range digits + letters + strings.ToUpper(letters) + "-." {
		t[c] |= inID
	}
	for _, c := range digits + "abcdefghjkmnpqrstvwxyz" {
		t[c] |= inOwnCode
	}
	return t
}()

func madeOf(v []byte, alphabet uint8) bool {
	for _, c := range v {
		if alphabets[c]&alphabet == 0 {
			return false
		}
	}
	return true
}

// wholeNumber reads up to nine digits without a sign or a leading zero.
func wholeNumber(v []byte) (int, bool) {
	if len(v) == 0 || len(v) > 9 || len(v) > 1 && v[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// decimal is the value of a JSON number, exact enough for bounds. An exponent
// beyond all bounds gives an infinity, which none holds.
func decimal(v []byte) float64 {
	n, places, sign, fraction := 0.0, 0, 1.0, false
	for i, c := range v {
		switch {
		case c == '-':
			sign = -1
		case c == '.':
			fraction = true
		case c|0x20 == 'e':
			power, ok := wholeNumber(bytes.TrimLeft(v[i+1:], "+-0"))
			if !ok {
				power = 0 // nothing but zeros
			}
			if v[i+1] == '-' {
				power = -power
			}
			return sign * n * math.Pow10(min(power, 400)-places)
		default:
			n = n*10 + float64(c-'0')
			if fraction {
				places++
			}
		}
	}
	return sign * n / math.Pow10(places)
}

// fewPeople are the prefixes of 164.514(b)(2)(i)(B) with 20,000 people or
// fewer: Census 2000 (17) and Census 2020 (18). The gate has its own list, so
// that one wrong table is not believed by both engine and gate.
var fewPeople = setOf(strings.Fields("036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893 " +
	"202 204 205 369 753 772"))

//go:embed places.txt
var placeList string

var places = func() map[string]struct{} {
	set := make(map[string]struct{})
	for line := range strings.Lines(placeList) {
		if !strings.HasPrefix(line, "#") {
			set[strings.ToUpper(strings.TrimSpace(line))] = struct{}{}
		}
	}
	return set
}()

func isPlace(v []byte) bool {
	var upper [32]byte
	if len(v) > len(upper) {
		return false
	}
	for i, c := range v {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		upper[i] = c
	}
	_, in := places[string(upper[:len(v)])]
	return in
}
