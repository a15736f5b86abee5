package consent

import "github.com/posternhealth/postern/policies"

// sensitivityParent is the nesting of HL7 v3 ActCode sensitivity labels, as
// far as it binds behavioral health: what a rule says about a parent it says
// about the child. ETH is the older code for what SUD now names.
func sensitivityParent(code string) string {
	switch code {
	case "COGN", "DVD", "EMOTDIS", "MH", "PSY", "PSYTHPN", "SUD":
		return "BH"
	case "ETH":
		return "SUD"
	case "ETHUD", "OPIOIDUD":
		return "ETH"
	}
	return ""
}

// sensitivities are the labels that a registry may name in `categories`.
var sensitivities = map[string]bool{
	"BH": true, "COGN": true, "DVD": true, "EMOTDIS": true, "MH": true, "PSY": true, "PSYTHPN": true,
	"SUD": true, "ETH": true, "ETHUD": true, "OPIOIDUD": true, "42CFRPart2": true,
	"HIV": true, "STD": true, "SEX": true, "SDV": true, "GDIS": true, "MST": true, "PREGNANT": true,
	"SCA": true, "TBOO": true, "VIO": true, "SICKLE": true,
}

// confidentialityRank orders the high-water mark U < L < M < N < R < V; it is
// 0 for any other code.
func confidentialityRank(code string) int {
	switch code {
	case "U":
		return 1
	case "L":
		return 2
	case "M":
		return 3
	case "N":
		return 4
	case "R":
		return 5
	case "V":
		return 6
	}
	return 0
}

// purposeMatches tells whether a rule about purpose rule covers a request for
// purpose asked. A rule about a part of what is asked cannot be settled.
func purposeMatches(rule, asked string) match {
	switch {
	case policies.PurposeWithin(asked, rule):
		return yes
	case !policies.KnownPurpose(rule) || policies.PurposeWithin(rule, asked):
		return unsure
	}
	return no
}
