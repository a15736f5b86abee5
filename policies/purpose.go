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
