package policies

// purposes are the codes of HL7 v3 PurposeOfUse (code system v3-ActReason of
// FHIR R4, 2018-08-12), each with the code above it.
var purposes = map[string]string{
	"HMARKT": "", "HOPERAT": "", "HPAYMT": "", "HRESCH": "", "PATRQT": "", "PUBHLTH": "", "TREAT": "",

	"CAREMGT": "HOPERAT", "DONAT": "HOPERAT", "FRAUD": "HOPERAT", "GOV": "HOPERAT", "HACCRED": "HOPERAT",
	"HCOMPL": "HOPERAT", "HDECD": "HOPERAT", "HDIRECT": "HOPERAT", "HDM": "HOPERAT", "HLEGAL": "HOPERAT",
	"HOUTCOMS": "HOPERAT", "HPRGRP": "HOPERAT", "HQUALIMP": "HOPERAT", "HSYSADMIN": "HOPERAT",
	"MEMADMIN": "HOPERAT", "MILCDM": "HOPERAT", "PATADMIN": "HOPERAT", "PATSFTY": "HOPERAT",
	"PERFMSR": "HOPERAT", "RECORDMGT": "HOPERAT", "SYSDEV": "HOPERAT", "TRAIN": "HOPERAT",
	"LABELING": "HSYSADMIN", "METAMGT": "HSYSADMIN", "HTEST": "SYSDEV",

	"CLMATTCH": "HPAYMT", "COVAUTH": "HPAYMT", "COVERAGE": "HPAYMT", "REMITADV": "HPAYMT",
	"ELIGDTRM": "COVERAGE", "ELIGVER": "COVERAGE", "ENROLLM": "COVERAGE", "MILDCRG": "COVERAGE",

	"BIORCH": "HRESCH", "CLINTRCH": "HRESCH", "DSRCH": "HRESCH", "POARCH": "HRESCH", "TRANSRCH": "HRESCH",
	"CLINTRCHNPC": "CLINTRCH", "CLINTRCHPC": "CLINTRCH", "PRECLINTRCH": "CLINTRCH",

	"FAMRQT": "PATRQT", "PWATRNY": "PATRQT", "SUPNWK": "PATRQT",
	"DISASTER": "PUBHLTH", "THREAT": "PUBHLTH",
	"CLINTRL": "TREAT", "COC": "TREAT", "ETREAT": "TREAT", "POPHLTH": "TREAT",
	"BTG": "ETREAT", "ERTREAT": "ETREAT",
}

// KnownPurpose tells whether the code is one of HL7 v3 PurposeOfUse.
func KnownPurpose(code string) bool {
	_, ok := purposes[code]
	return ok
}

// PurposeWithin tells whether a purpose of use is another one or lies under it:
// HQUALIMP is within HOPERAT.
func PurposeWithin(code, wider string) bool {
	for ok := KnownPurpose(code); ok && code != ""; code = purposes[code] {
		if code == wider {
			return true
		}
	}
	return false
}

// ground is a legal basis that a policy may name, with what it asks of the policy.
type ground struct {
	name         string
	standard     Standard
	purpose      []string // the purposes it covers; nil: any
	relationship bool     // both parties have or had a relationship with the person
	permission   bool     // the person's own authorization is the ground
}

var grounds = []ground{
	{name: "45 CFR 164.506(c)(1)", standard: Identified, purpose: []string{"TREAT", "HPAYMT", "HOPERAT"}},
	{name: "45 CFR 164.506(c)(2)", standard: Identified, purpose: []string{"TREAT"}},
	{name: "45 CFR 164.506(c)(3)", standard: Identified, purpose: []string{"HPAYMT"}},
	{name: "45 CFR 164.506(c)(4)", standard: Identified, purpose: []string{"HOPERAT"}, relationship: true},
	{name: "45 CFR 164.506(c)(5)", standard: Identified, purpose: []string{"HOPERAT"}},
	{name: "45 CFR 164.508", standard: Identified, permission: true},
	{name: "45 CFR 164.512(a)", standard: Identified},
	{name: "45 CFR 164.512(b)", standard: Identified, purpose: []string{"PUBHLTH"}},
	{name: "45 CFR 164.512(d)", standard: Identified},
	{name: "45 CFR 164.502(d)", standard: SafeHarbor},
}

func groundOf(basis string) (g ground, ok bool) {
	for _, g := range grounds {
		if g.name == basis {
			return g, true
		}
	}
	return ground{}, false
}

func groundNames(std Standard) []string {
	var names []string
	for _, g := range grounds {
		if g.standard == std {
			names = append(names, g.name)
		}
	}
	return names
}
