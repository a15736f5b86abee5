package gate

// dateLength says how many bytes at the beginning of v are YYYY, YYYY-MM or
// YYYY-MM-DD; 0 means none.
func dateLength(v []byte) int {
	if len(v) < 4 || digitsLength(v[:4]) != 4 {
		return 0
	}
	if len(v) < 7 || v[4] != '-' || digitsLength(v[5:7]) != 2 {
		return 4
	}
	if len(v) < 10 || v[7] != '-' || digitsLength(v[8:10]) != 2 {
		return validDate(two(v)*100+two(v[2:]), two(v[5:]), 1) * 7
	}
	return validDate(two(v)*100+two(v[2:]), two(v[5:]), two(v[8:])) * 10
}

func two(v []byte) int { return int(v[0]-'0')*10 + int(v[1]-'0') }

// validDate is 1 for a day in the lives of people now treated, else 0.
func validDate(year, month, day int) int {
	if year < 1880 || year > 2120 || month < 1 || month > 12 || day < 1 || day > 31 {
		return 0
	}
	return 1
}

// isDateTime judges a FHIR dateTime or instant: with a time comes a zone. A FHIR
// time, of any day, has none.
func isDateTime(v []byte) bool {
	n := dateLength(v)
	switch {
	case n == 0 && len(v) > 9 && v[8] == '.':
		return matchesForm(v[:8], "##:##:##") && len(v) <= 18 && digitsLength(v[9:]) == len(v)-9
	case n == 0:
		return matchesForm(v, "##:##:##")
	case n == len(v):
		return true
	}
	rest := v[n:]
	if n != 10 || len(rest) < 7 || !matchesForm(rest[:6], "T##:##") {
		return false
	}
	rest = rest[6:]
	if len(rest) > 3 && matchesForm(rest[:3], ":##") {
		rest = rest[3:]
		if rest[0] == '.' {
			fraction := digitsLength(rest[1:])
			if fraction == 0 || fraction > 9 {
				return false
			}
			rest = rest[1+fraction:]
		}
	}
	return string(rest) == "Z" || matchesForm(rest, "+##:##") || matchesForm(rest, "-##:##")
}

// matchesForm compares v with a form in which # is a digit, x a hexadecimal one.
func matchesForm(v []byte, form string) bool {
	if len(v) != len(form) {
		return false
	}
	for i, c := range v {
		switch digit := c >= '0' && c <= '9'; form[i] {
		case '#':
			if !digit {
				return false
			}
		case 'x':
			if !digit && (c|0x20 < 'a' || c|0x20 > 'f') {
				return false
			}
		default:
			if c != form[i] {
				return false
			}
		}
	}
	return true
}

// monthOf is the number of an English month name or abbreviation in lower
// case, 0 for any other word.
func monthOf(word []byte) int {
	if len(word) < 3 || len(word) > len("september") {
		return 0
	}
	if string(word) == "sept" {
		return 9
	}
	for i, name := range months {
		if word[0] == name[0] && (string(word) == name || string(word) == name[:3]) {
			return i + 1
		}
	}
	return 0
}

var months = [...]string{"january", "february", "march", "april", "may", "june", "july",
	"august", "september", "october", "november", "december"}
