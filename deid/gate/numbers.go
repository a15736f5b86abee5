package gate

import "strings"

// figures are neighbouring runs of digits, at most four, with the bytes
// between them: "617-555-0134" is 3, 3, 4 with "-", "-".
type figures struct {
	length  [4]int
	between [3]byte // 0 where it is not a single byte of "-./ "
	count   int
}

// longestBetween is how far apart two runs of digits may stand and still be
// one number: ") " and the three bytes of a long dash.
const longestBetween = 3

func (g *Gate) figuresAt(v []byte, i int) (f figures) {
	tokens := g.text.tokens
	for ; f.count < 4 && i < len(tokens) && tokens[i].digits; i++ {
		if f.count > 0 {
			gap := v[tokens[i-1].to:tokens[i].from]
			if len(gap) == 0 || len(gap) > longestBetween || !joinsFigures(gap) {
				break
			}
			if len(gap) == 1 {
				f.between[f.count-1] = gap[0]
			}
		}
		f.length[f.count] = int(tokens[i].end - tokens[i].start)
		f.count++
	}
	return f
}

func joinsFigures(gap []byte) bool {
	for _, c := range gap {
		switch {
		case c == '-', c == '.', c == '/', c == ' ', c == '(', c == ')', c == '_', c == '\t', kindOf[c]&isWide != 0:
		default:
			return false
		}
	}
	return true
}

func (f *figures) begins(lengths ...int) bool {
	if f.count < len(lengths) {
		return false
	}
	for i, n := range lengths {
		if f.length[i] != n {
			return false
		}
	}
	return true
}

func (g *Gate) numberAt(v []byte, i int, m mode) string {
	t := &g.text.tokens[i]
	joined := t.from > 0 && kindOf[v[t.from-1]]&isLetter != 0
	if joined && m == codes {
		return ""
	}
	if g.isBeneficiaryAt(i, v) {
		return ruleBeneficiary
	}
	f := g.figuresAt(v, i)
	if rule := g.dateAt(v, i, &f, m); rule != "" {
		return rule
	}
	if rule := g.oneFigure(v, i, m); rule != "" {
		return rule
	}
	if !g.exact && m == prose && g.isHighAge(i) {
		return ruleAge
	}
	plus := t.from > 0 && v[t.from-1] == '+'
	return g.grouped(v, i, &f, plus, m)
}

func (g *Gate) grouped(v []byte, i int, f *figures, plus bool, m mode) string {
	divided := m != codes || f.between[0] != '/'
	switch {
	case f.begins(3, 2, 4) && divided:
		return ruleSSN
	case (f.begins(3, 3, 4) || f.begins(1, 3, 3, 4)) && divided:
		return rulePhone
	case plus && f.length[0]+f.length[1]+f.length[2]+f.length[3] >= 8:
		return rulePhone
	case m == codes:
		return g.networkAt(v, i)
	case f.count == 2 && f.begins(3, 4) && f.between[0] == '-' && g.tokenText(i)[0] >= '2' && m == prose:
		return rulePhone
	case f.begins(5, 4) && f.between[0] == '-':
		return ruleZIP
	}
	return g.networkAt(v, i)
}

// networkAt finds four numbers up to 255 between dots that are not part of a
// longer dotted number, such as an object identifier.
func (g *Gate) networkAt(v []byte, i int) string {
	tokens := g.text.tokens
	if i+4 > len(tokens) || isDottedBefore(v, int(tokens[i].from)) || isDottedAfter(v, int(tokens[i+3].to)) {
		return ""
	}
	for j := i; j < i+4; j++ {
		octet := tokens[j].digits && tokens[j].end-tokens[j].start <= 3 && g.numberOf(j) <= 255
		if !octet || j > i && (tokens[j].from-tokens[j-1].to != 1 || v[tokens[j-1].to] != '.') {
			return ""
		}
	}
	return ruleNetwork
}

func isDottedBefore(v []byte, at int) bool {
	return at > 1 && v[at-1] == '.' && isAlphanumeric(v[at-2])
}

func isDottedAfter(v []byte, at int) bool {
	return at+1 < len(v) && v[at] == '.' && isAlphanumeric(v[at+1])
}

func (g *Gate) oneFigure(v []byte, i int, m mode) string {
	digits := g.tokenText(i)
	switch len(digits) {
	case 10:
		if isProviderNumber(digits) && (m == prose || !isConceptID(digits)) {
			return ruleNPI
		}
		if m == prose && digits[0] >= '2' && digits[3] >= '2' {
			return rulePhone
		}
	case 11:
		if m == prose && digits[0] == '1' && digits[1] >= '2' && digits[4] >= '2' {
			return rulePhone
		}
	case 9:
		if m == prose && !isConceptID(digits) {
			return ruleSSN // or a ZIP+4 without its dash
		}
	case 5:
		if m == prose && g.isPostcode(v, i) {
			return ruleZIP
		}
	}
	return ""
}

// isPostcode says that five digits are the whole string, or stand behind a
// state or the word ZIP. Five digits elsewhere may be a CPT code.
func (g *Gate) isPostcode(v []byte, i int) bool {
	tokens := g.text.tokens
	if int(tokens[i].to-tokens[i].from) == len(v) {
		return true
	}
	if i == 0 || tokens[i-1].digits {
		return false
	}
	switch before := string(g.tokenText(i - 1)); before {
	case "zip", "zipcode", "usa":
		return true
	case "in", "or", "me", "hi", "ok", "oh": // everyday words, unless in capitals
		if v[tokens[i-1].from] >= 'a' {
			return false
		}
		fallthrough
	default:
		if len(before) == 2 {
			return zipStates[before] == g.tokenText(i)[0]
		}
	}
	for j := i - 1; j >= max(0, i-3); j-- { // District of Columbia
		if name := v[tokens[j].from:tokens[i-1].to]; len(name) > 3 && isPlace(name) {
			return true
		}
	}
	return false
}

// zipStates has the first digit of a state's ZIP codes.
var zipStates = func() map[string]byte {
	first := map[string]byte{}
	for digit, states := range []string{"ct ma me nh nj pr ri vt vi ae", "de ny pa", "dc md nc sc va wv", "al fl ga ms tn aa", "in ky mi oh",
		"ia mn mt nd sd wi", "il ks mo ne", "ar la ok tx", "az co id nm nv ut wy", "ak as ca gu hi mh fm mp or pw wa ap"} {
		for state := range strings.FieldsSeq(states) {
			first[state] = byte('0' + digit)
		}
	}
	return first
}()

// dateAt finds ISO dates and months, American and European dates, and dates
// written as eight digits (with a time behind them: 12 or 14).
func (g *Gate) dateAt(v []byte, i int, f *figures, m mode) string {
	a, b, c := g.numberOf(i), g.numberOf(i+1), g.numberOf(i+2)
	joined := f.between[0] == '-' || f.between[0] == '/' || f.between[0] == '.'
	same := f.between[0] == f.between[1]
	switch {
	case joined && same && f.count >= 3 && f.length[0] == 4 && f.length[1] <= 2 && f.length[2] <= 2 && validDate(a, b, c) == 1:
		return g.judgeDate(a, b, c)
	case joined && same && f.count >= 3 && f.length[0] <= 2 && f.length[1] <= 2 && f.length[2] == 4:
		if validDate(c, a, b) == 1 {
			return g.judgeDate(c, a, b)
		}
		if validDate(c, b, a) == 1 {
			return g.judgeDate(c, b, a)
		}
	case m == prose && same && f.between[0] == '/' && f.count == 3 && f.length[2] == 2 && validDate(1900+c, a, b) == 1:
		return g.judgeDate(1900+c, a, b)
	case joined && f.count == 2 && f.begins(4, 2) && validDate(a, b, 1) == 1:
		return g.judgeDate(a, b, 1)
	case m == prose && f.between[0] == '/' && f.count == 2 && f.begins(2, 4) && validDate(b, a, 1) == 1:
		return g.judgeDate(b, a, 1)
	}
	return g.compactDate(v, i, m)
}

func (g *Gate) compactDate(v []byte, i int, m mode) string {
	d := g.tokenText(i)
	if len(d) != 8 && (m == codes || len(d) != 12 && len(d) != 14) {
		return ""
	}
	if m != prose && (isConceptID(d) || !standsAlone(v, &g.text.tokens[i])) {
		return ""
	}
	year, month, day := two(d)*100+two(d[2:]), two(d[4:]), two(d[6:])
	if validDate(year, month, day) == 1 && year <= 2060 {
		return g.judgeDate(year, month, day)
	}
	year, month, day = two(d[4:])*100+two(d[6:]), two(d), two(d[2:])
	if m == prose && validDate(year, month, day) == 1 {
		return g.judgeDate(year, month, day)
	}
	return ""
}

// standsAlone says that a token is the whole of its string: the groups of a
// UUID do not.
func standsAlone(v []byte, t *token) bool { return t.from == 0 && int(t.to) == len(v) }

// isBeneficiaryAt looks at eleven letters and digits from a token on, with at
// most the two customary dashes between them.
func (g *Gate) isBeneficiaryAt(i int, v []byte) bool {
	tokens := g.text.tokens
	first := tokens[i]
	if int(first.start)+11 > len(g.text.plain) || first.from > 0 && isAlphanumeric(v[first.from-1]) ||
		!isBeneficiaryNumber(g.text.plain[first.start:first.start+11]) {
		return false
	}
	for j := i; j < len(tokens); j++ {
		if tokens[j].end-first.start == 11 {
			return tokens[j].to-first.from <= 13 && (int(tokens[j].to) == len(v) || !isAlphanumeric(v[tokens[j].to]))
		}
	}
	return false
}

// isHighAge finds 90 and above with a word for age beside it (164.514(b)(2)(i)(C)).
func (g *Gate) isHighAge(i int) bool {
	if n := g.numberOf(i); n < 90 || n > 130 {
		return false
	}
	tokens := g.text.tokens
	if i > 0 && !tokens[i-1].digits {
		switch string(g.tokenText(i - 1)) {
		case "age", "aged":
			return true
		}
	}
	if i+1 < len(tokens) && !tokens[i+1].digits {
		switch string(g.tokenText(i + 1)) {
		case "y", "yo", "yr", "yrs", "year", "years":
			return true
		}
	}
	return false
}
