package extract

// CodeSystems are the published code systems. A URI that ends in a slash stands
// for all that HL7 publishes below it. De-identified data names no other: a
// clinic's own numbering is none of them.
var CodeSystems = []string{
	"http://loinc.org",
	"http://snomed.info/sct",
	"http://www.nlm.nih.gov/research/umls/rxnorm",
	"http://www.nlm.nih.gov/research/umls/sop",
	"http://hl7.org/fhir/sid/icd-10-cm",
	"http://hl7.org/fhir/sid/icd-10",
	"http://hl7.org/fhir/sid/icd-9-cm",
	"http://hl7.org/fhir/sid/cvx",
	"http://hl7.org/fhir/sid/ndc",
	"http://www.ama-assn.org/go/cpt",
	"https://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets",
	"http://www.cms.gov/Medicare/Coding/ICD10",
	"http://unitsofmeasure.org",
	"http://nucc.org/provider-taxonomy",
	"http://www.nubc.org/patient-discharge",
	"https://nahdo.org/sopt",
	"urn:ietf:bcp:47",
	"urn:iso:std:iso:3166",
	"urn:oid:2.16.840.1.113883.6.238", // CDC race and ethnicity
	"http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
	"http://terminology.hl7.org/CodeSystem/",
	"http://hl7.org/fhir/us/core/CodeSystem/",
	"http://hl7.org/fhir/",
}
