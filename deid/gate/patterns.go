package gate

import (
	"bytes"
	"net/netip"
)

// The patterns are shapes of numbers and addresses that identify somebody
// whoever it is, so that a value which the roster does not know (a relative's
// telephone, a provider's mailbox) is found as well.
const (
	ruleSSN         = "pattern: social security number"
	ruleNPI         = "pattern: provider number"
	ruleBeneficiary = "pattern: Medicare beneficiary number"
	rulePhone       = "pattern: telephone"
	ruleEmail       = "pattern: e-mail"
	ruleWeb         = "pattern: web address"
	ruleNetwork     = "pattern: network address"
	ruleDate        = "pattern: date finer than a year"
	ruleBirthDate   = "roster: birth date"
	ruleAge         = "pattern: age of 90 or more"
	ruleZIP         = "pattern: ZIP code"
	ruleRecord      = "pattern: clinic's record number"
)

func (g *Gate) findPatterns(v []byte, m mode) string {
	seen := g.text.seen
	if seen&isAt != 0 && hasMailbox(v) && !g.passes(ruleEmail) {
		return ruleEmail
	}
	if seen&(isColon|isDot) != 0 {
		if g.hasWebAddress(v, m) && !g.passes(ruleWeb) {
			return ruleWeb
		}
		if seen&isColon != 0 && hasIPv6(v) && !g.passes(ruleNetwork) {
			return ruleNetwork
		}
	}
	if seen&(isDigit|isWide) == 0 {
		return ""
	}
	for i := range g.text.tokens {
		if g.forms != nil && g.isRecordNumberAt(i, m) && !g.passes(ruleRecord) {
			return ruleRecord
		}
		if !g.text.tokens[i].digits {
			if rule := g.datedWord(i, m); rule != "" && !g.passes(rule) {
				return rule
			}
		} else if rule := g.numberAt(v, i, m); rule != "" && !g.passes(rule) {
			return rule
		}
	}
	return ""
}

func isAlphanumeric(c byte) bool { return kindOf[c]&(isLetter|isDigit|isWide) != 0 }

func hasMailbox(v []byte) bool {
	for i := 1; i+1 < len(v); i++ {
		if v[i] == '@' && isAlphanumeric(v[i-1]) && isAlphanumeric(v[i+1]) {
			return true
		}
	}
	return false
}

var schemeMark = []byte("://")

// hasWebAddress finds scheme://, www., mailto: and tel:, and in prose a name
// under a common top-level domain.
func (g *Gate) hasWebAddress(v []byte, m mode) bool {
	if g.text.seen&isColon != 0 && bytes.Contains(v, schemeMark) {
		return true
	}
	for _, t := range g.text.tokens {
		after := byte(0)
		if int(t.to) < len(v) {
			after = v[t.to]
		}
		switch string(g.text.plain[t.start:t.end]) {
		case "www":
			if after == '.' {
				return true
			}
		case "mailto", "tel", "sip", "sftp", "ftp":
			if after == ':' && int(t.to)+1 < len(v) && v[t.to+1] != ' ' {
				return true
			}
		case "com", "org", "net", "edu", "gov", "health", "info", "io":
			if (m != codes || after == '/') && t.from > 1 && v[t.from-1] == '.' && isAlphanumeric(v[t.from-2]) && !isAlphanumeric(after) {
				return true
			}
		}
	}
	return false
}

// hasIPv6 tries each run of hexadecimal digits, colons and dots that could be
// an address (RFC 4291 §2.2).
func hasIPv6(v []byte) bool {
	for i := 0; i < len(v); i++ {
		start, colons, hex := i, 0, 0
		for ; i < len(v) && (v[i] == ':' || v[i] == '.' || matchesForm(v[i:i+1], "x")); i++ {
			if v[i] == ':' {
				colons++
			} else if v[i] != '.' {
				hex++
			}
		}
		if colons >= 2 && hex >= 2 && endsInIPv6(bytes.TrimRight(v[start:i], ".:")) {
			return true
		}
	}
	return false
}

// endsInIPv6 drops groups at the front that belong to the text before: "note:"
// ends in a hexadecimal digit.
func endsInIPv6(run []byte) bool {
	run = run[max(0, len(run)-64):]
	for len(run) >= 4 && (bytes.Contains(run, doubleColon) || bytes.Count(run, doubleColon[:1]) >= 7) {
		if len(run) <= 45 {
			if _, err := netip.ParseAddr(string(run)); err == nil {
				return true
			}
		}
		_, run, _ = bytes.Cut(run, doubleColon[:1])
	}
	return false
}

var doubleColon = []byte("::")

// datedWord finds a month with a day or a year beside it. "may" and "march" are
// also everyday words, and a code may have "feb3" within hexadecimal digits:
// these need a year.
func (g *Gate) datedWord(i int, m mode) string {
	tokens := g.text.tokens
	month := monthOf(g.tokenText(i))
	if month == 0 {
		return ""
	}
	next, before := g.numberOf(i+1), g.numberOf(i-1)
	word := g.text.plain[tokens[i].start:tokens[i].end]
	ambiguous := m == codes || string(word) == "may" || string(word) == "march" || string(word) == "mar"
	year := next
	if year < 1880 || year > 2120 {
		year = 0
		for j := i + 2; j <= i+3 && year == 0; j++ { // a suffix such as "rd" may stand between
			if n := g.numberOf(j); n >= 1880 && n <= 2120 {
				year = n
			}
		}
	}
	day := 0
	switch {
	case next >= 1 && next <= 31:
		day = next
	case before >= 1 && before <= 31:
		day = before
	}
	if day == 0 && year == 0 || ambiguous && year == 0 {
		return ""
	}
	return g.judgeDate(year, month, day)
}

func (g *Gate) tokenText(i int) []byte {
	return g.text.plain[g.text.tokens[i].start:g.text.tokens[i].end]
}

// numberOf is the value of the token, if it is a number of at most four
// digits; else 0.
func (g *Gate) numberOf(i int) int {
	if i < 0 || i >= len(g.text.tokens) || !g.text.tokens[i].digits {
		return 0
	}
	n := 0
	v := g.tokenText(i)
	if len(v) > 4 {
		return 0
	}
	for _, c := range v {
		n = n*10 + int(c-'0')
	}
	return n
}

// judgeDate says what a date found in scanned text means: where exact dates
// may not show it is a leak; where they may, it is one if it is the birth date
// of the row's own subject.
func (g *Gate) judgeDate(year, month, day int) string {
	if !g.exact {
		return ruleDate
	}
	digits := [8]byte{byte(year/1000) + '0', byte(year/100%10) + '0', byte(year/10%10) + '0', byte(year%10) + '0',
		byte(month/10) + '0', byte(month%10) + '0', byte(day/10) + '0', byte(day%10) + '0'}
	g.text.matched = true // what is clean for this subject is not for every one
	if g.roster.owns(g.roster.hash(digits[:]), g.subjects, BirthDate) {
		return ruleBirthDate
	}
	return ""
}
