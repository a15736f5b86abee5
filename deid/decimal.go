package deid

import "bytes"

// decimal is a number as it was written. Numbers of records are compared with
// the bounds of a policy digit by digit: as floating point, what is beyond a
// bound in its seventeenth digit would lie within it.
type decimal struct {
	sign   int    // -1, 0, 1
	power  int    // of ten: the first digit stands just behind the point of 0.d × 10^power
	digits []byte // from the first that is not zero on; a point may be among them
}

// mostPower bounds what an exponent may say; whatever is beyond is as large, or
// as small.
const mostPower = 1 << 30

// parseDecimal reads a number as JSON (RFC 8259 §6) or Table Schema writes it.
func parseDecimal(text []byte) (d decimal, ok bool) {
	d.sign = 1
	text, negative := cutSign(text)
	if negative {
		d.sign = -1
	}
	digits, exponent := text, 0
	if at := bytes.IndexAny(text, "eE"); at >= 0 {
		digits = text[:at]
		if exponent, ok = parseExponent(text[at+1:]); !ok {
			return d, false
		}
	}
	point, first, figures := len(digits), -1, 0
	for i, c := range digits {
		switch {
		case c == '.' && point == len(digits):
			point = i
		case c < '0' || c > '9':
			return d, false
		default:
			if figures++; c != '0' && first < 0 {
				first = i
			}
		}
	}
	if first < 0 {
		return decimal{}, figures > 0
	}
	if d.digits, d.power = digits[first:], exponent+point-first; first > point {
		d.power++
	}
	return d, true
}

func cutSign(text []byte) (_ []byte, negative bool) {
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		return text[1:], text[0] == '-'
	}
	return text, false
}

func parseExponent(text []byte) (exponent int, ok bool) {
	text, negative := cutSign(text)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		exponent = min(10*exponent+int(c-'0'), mostPower)
	}
	if negative {
		exponent = -exponent
	}
	return exponent, len(text) > 0
}

// compare is negative when d is less than e, zero when they are equal.
func (d decimal) compare(e decimal) int {
	switch {
	case d.sign != e.sign:
		return d.sign - e.sign
	case d.power != e.power:
		return d.sign * (d.power - e.power)
	}
	for i, j := 0, 0; i < len(d.digits) || j < len(e.digits); {
		var a, b int
		a, i = nextDigit(d.digits, i)
		b, j = nextDigit(e.digits, j)
		if a != b {
			return d.sign * (a - b)
		}
	}
	return 0
}

// nextDigit gives the digit at a place, the point left out; behind the last
// digit are zeros.
func nextDigit(digits []byte, at int) (digit, next int) {
	if at < len(digits) && digits[at] == '.' {
		at++
	}
	if at >= len(digits) {
		return 0, at
	}
	return int(digits[at] - '0'), at + 1
}
