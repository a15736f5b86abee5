package policies

import (
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

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

// mainPurposes are the codes that policies mostly name, with what they mean.
var mainPurposes = [][2]string{
	{"TREAT", "treatment"}, {"HPAYMT", "payment"}, {"HOPERAT", "health care operations, such as measuring quality"},
	{"PUBHLTH", "public health"}, {"HRESCH", "research"}, {"PATRQT", "the patient's own request"}, {"HMARKT", "marketing"},
}

// PurposeMeaning gives the purpose itself or the nearest above it that has words
// of its own, and these; nothing of a code that is not known.
func PurposeMeaning(code string) (wider, words string) {
	for wider = code; wider != ""; wider = purposes[wider] {
		for _, p := range mainPurposes {
			if p[0] == wider {
				return wider, p[1]
			}
		}
	}
	return "", ""
}

// purposeHint is what to write instead of something that is no code: the one
// that is spelled or called nearly so, or the main ones.
func purposeHint(text string) string {
	if strictyaml.Nearest(text, sortedNames(purposes)) != "" {
		return strictyaml.DidYouMean(text, sortedNames(purposes))
	}
	hint, list := "", []string{}
	for _, p := range mainPurposes {
		name, _, _ := strings.Cut(p[1], ",")
		if asked := strings.ToLower(strings.TrimSpace(text)); asked != "" && hint == "" && strings.Contains(p[1], asked) {
			hint = "write " + p[0] + " for " + name + "; "
		}
		list = append(list, p[0]+" ("+name+")")
	}
	return hint + "the main codes are " + strings.Join(list, ", ")
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
