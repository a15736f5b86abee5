package gate

import (
	"errors"
	"strings"
)

// recordForm is how a clinic writes its record numbers: letters in lower case,
// and a 9 for any digit. What stands between them does not count.
type recordForm []byte

func formOf(form string) recordForm {
	plain := strings.Map(func(r rune) rune {
		if r < 0x80 && kindOf[byte(r)]&(isLetter|isDigit) != 0 {
			return r
		}
		return -1
	}, form)
	return recordForm(strings.ToLower(plain))
}

// CheckRecordNumber says what is wrong with the form of a clinic's record
// numbers, in which a 9 stands for any digit and all else for itself, such as
// "MRN-999999". One that common codes have too would stop every drop: letters
// with fewer than five digits (HCPCS has H0031), digits alone with fewer than seven.
func CheckRecordNumber(form string) error {
	digits := strings.Count(form, "9")
	switch {
	case strings.ContainsFunc(form, func(r rune) bool { return r <= ' ' || r > '~' || r >= '0' && r < '9' }):
		return errors.New("write a 9 for each digit, and letters and signs of ASCII as they are")
	case digits < 5 || digits < 7 && digits == len(formOf(form)):
		return errors.New("common codes have this form: it needs five digits beside letters, or seven")
	case len(form) > longestValue:
		return errors.New("no record number is so long")
	}
	return nil
}

// isRecordNumberAt looks at the tokens from one on for a number of the clinic's
// form. Among codes, digits alone may be a code, and the row's own subject's
// number may leave where the release lets it out.
func (g *Gate) isRecordNumberAt(i int, m mode) bool {
	tokens, plain := g.text.tokens, g.text.plain
	first := &tokens[i]
	for _, form := range g.forms {
		end := first.start + int32(len(form))
		if int(end) > len(plain) || !form.fits(plain[first.start:end]) || m != prose && digitsLength(form) == len(form) {
			continue
		}
		last := i
		for tokens[last].end < end {
			last++
		}
		if part := plain[first.start:end]; tokens[last].end == end && int(tokens[last].to-first.from) <= len(part)+2*longestBetween {
			if g.text.matched = true; m != codes || !g.releasedByRow(g.roster.hash(part)) {
				return true
			}
		}
	}
	return false
}

func (f recordForm) fits(v []byte) bool {
	for i, c := range f {
		if c == '9' && (v[i] < '0' || v[i] > '9') || c != '9' && c != v[i] {
			return false
		}
	}
	return true
}
