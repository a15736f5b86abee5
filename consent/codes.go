package consent

import (
	"strings"

	"github.com/posternhealth/postern/policies"
)

// sensitivities are the labels that a registry may name in `categories`, each
// with the one it is nested in: HL7 v3 ActCode, as far as it binds behavioral
// health. What a rule says about a label it says about those in it. ETH is the
// older code for what SUD now names.
var sensitivities = map[string]string{
	"BH": "", "COGN": "BH", "DVD": "BH", "EMOTDIS": "BH", "MH": "BH", "PSY": "BH", "PSYTHPN": "BH",
	"SUD": "BH", "ETH": "SUD", "ETHUD": "ETH", "OPIOIDUD": "ETH", "42CFRPart2": "",
	"HIV": "", "STD": "", "SEX": "", "SDV": "", "GDIS": "", "MST": "", "PREGNANT": "",
	"SCA": "", "TBOO": "", "VIO": "", "SICKLE": "",
}

func isSensitivity(code string) bool {
	_, is := sensitivities[code]
	return is
}

// confidentialityRank orders the high-water mark U < L < M < N < R < V; it is
// 0 for any other code.
func confidentialityRank(code string) int {
	if len(code) != 1 {
		return 0
	}
	return strings.IndexByte("ULMNRV", code[0]) + 1
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
