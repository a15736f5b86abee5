package gate

// isProviderNumber says that v is a National Provider Identifier: ten digits
// whose check digit is Luhn's over 80840 and the number (45 CFR 162.406).
func isProviderNumber(v []byte) bool {
	if len(v) != 10 || digitsLength(v) != 10 || v[0] != '1' && v[0] != '2' {
		return false
	}
	sum := 24 // what 80840 contributes
	for i, c := range v {
		d := int(c-'0') << (1 - i%2)
		sum += d/10 + d%10
	}
	return sum%10 == 0
}

// isConceptID says that v has the form of a SNOMED CT identifier: 6 to 18
// digits, a partition of 00–02 or 10–12, and Verhoeff's check digit.
func isConceptID(v []byte) bool {
	if len(v) < 6 || len(v) > 18 || digitsLength(v) != len(v) || v[0] == '0' {
		return false
	}
	if partition := v[len(v)-3 : len(v)-1]; partition[0] > '1' || partition[1] > '2' {
		return false
	}
	check := byte(0)
	for i := range v {
		permuted := permutations[i%8][v[len(v)-1-i]-'0']
		check = dihedral[check][permuted-'0'] - '0'
	}
	return check == 0
}

// dihedral is the multiplication of the group D5, permutations the powers of
// Verhoeff's permutation.
var (
	dihedral = [10]string{"0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
		"5987604321", "6598710432", "7659821043", "8765932104", "9876543210"}
	permutations = [8]string{"0123456789", "1576283094", "5803796142", "8916043527",
		"9453126870", "4286573901", "2793806415", "7046913258"}
)

// isBeneficiaryNumber says that v, in lower case and without dashes, has the
// form of a Medicare Beneficiary Identifier (CMS: C A AN N A AN N A A N N).
func isBeneficiaryNumber(v []byte) bool {
	const form = "CAXNAXNAANN"
	if len(v) != len(form) {
		return false
	}
	for i, c := range v {
		digit := c >= '0' && c <= '9'
		letter := c >= 'a' && c <= 'z' && c != 's' && c != 'l' && c != 'o' && c != 'i' && c != 'b' && c != 'z'
		switch form[i] {
		case 'C':
			letter, digit = false, digit && c != '0'
		case 'N':
			letter = false
		case 'A':
			digit = false
		}
		if !digit && !letter {
			return false
		}
	}
	return true
}
