package extract

import (
	"slices"
	"strings"
)

// resource is what facts need to know of a FHIR R4 resource type. Providers
// and patients need no list: every Reference of a record is looked at,
// wherever it stands, which covers the patient compartment of R4
// (CompartmentDefinition/patient) and what an extension or a contained
// resource adds to it.
type resource struct {
	name        string
	mustConcern bool // a patient must be named, else no-subject
	nested      bool // holds other resources; read only as a file of its own
	ofPatients  bool // may be about a patient
	derives     bool // has elements that name what it is derived from
	elements    []element
	maybe       uint64 // a bit per element, as in a level: most members are none
}

// element is an element at the top of a resource that facts are taken from.
type element struct {
	key  uint64
	name string
	role elementRole
	rank uint8  // of dates: the lowest that is present is the date of service
	step string // of dates: the member of a Period
}

type elementRole uint8

const (
	plain elementRole = iota
	whole             // the patient that the resource as a whole is about
	date
	encounter
	code
	id
	meta
	status
	contained
	evidence // records that this one is derived from, or that it sums up
)

// find gives the element that a member name stands for, nil when facts do not
// need it.
func (r *resource) find(b []byte, name Token) *element {
	key := nameKey(b, int(name.Start), int(name.End))
	if r.maybe&keyBit(key) == 0 {
		return nil
	}
	for i := range r.elements {
		if e := &r.elements[i]; e.key == key && string(b[name.Start:name.End]) == e.name {
			return e
		}
	}
	return nil
}

var resources = readResources(resourceTable)

func readResources(table string) map[string]*resource {
	all := make(map[string]*resource)
	for line := range strings.Lines(table) {
		columns := strings.Split(strings.TrimSpace(line), "|")
		name := strings.TrimSpace(columns[0])
		r := &resource{name: strings.TrimRight(name, "!*"), mustConcern: strings.HasSuffix(name, "!"), nested: strings.HasSuffix(name, "*")}
		add := func(name string, role elementRole, rank int) {
			name, step, _ := strings.Cut(name, ".")
			r.elements = append(r.elements, element{keyOf(name), name, role, uint8(rank), step})
			r.maybe |= keyBit(keyOf(name))
		}
		add("id", id, 0)
		add("meta", meta, 0)
		add("status", status, 0)
		for i, role := range []elementRole{whole, date, encounter, code, evidence} {
			if i+1 < len(columns) {
				for rank, name := range strings.Fields(columns[i+1]) {
					add(name, role, rank)
				}
			}
		}
		add("contained", contained, 0)
		r.ofPatients = r.mustConcern || slices.ContainsFunc(r.elements, func(e element) bool { return e.role == whole })
		r.derives = slices.ContainsFunc(r.elements, func(e element) bool { return e.role == evidence })
		all[r.name] = r
	}
	return all
}

// resourceTable lists the resource types of FHIR R4 (4.0.1): name (! must
// concern a patient, * holds other resources) | whom it is about | date of
// service, the first present counts | encounter | main code | what it is
// derived from.
const resourceTable = `Account | subject | servicePeriod.start | | type
ActivityDefinition
AdverseEvent! | subject | date detected recordedDate | encounter | event
AllergyIntolerance! | patient | recordedDate onsetDateTime onsetPeriod.start lastOccurrence | encounter | code
Appointment | participant | start | | appointmentType
AppointmentResponse | actor | start
AuditEvent | | recorded | | type
Basic | subject | created | | code
Binary! | securityContext
BiologicallyDerivedProduct
BodyStructure! | patient | | | morphology
Bundle*
CapabilityStatement
CarePlan! | subject | period.start created | encounter | category
CareTeam! | subject | period.start | encounter | category
CatalogEntry
ChargeItem! | subject | occurrenceDateTime occurrencePeriod.start enteredDate | context | code
ChargeItemDefinition
Claim! | patient | billablePeriod.start created | item | type
ClaimResponse! | patient | created | | type
ClinicalImpression! | subject | effectiveDateTime effectivePeriod.start date | encounter | code | investigation finding supportingInfo
CodeSystem
Communication! | subject | sent received | encounter | category
CommunicationRequest! | subject | occurrenceDateTime occurrencePeriod.start authoredOn | encounter | category
CompartmentDefinition
Composition! | subject | date | encounter | type | section
ConceptMap
Condition! | subject | recordedDate onsetDateTime onsetPeriod.start | encounter | code | evidence stage
Consent! | patient | dateTime | | category
Contract | subject | applies.start issued | | type
Coverage! | beneficiary | period.start | | type
CoverageEligibilityRequest! | patient | servicedDate servicedPeriod.start created
CoverageEligibilityResponse! | patient | servicedDate servicedPeriod.start created
DetectedIssue! | patient | identifiedDateTime identifiedPeriod.start | | code | evidence implicated
Device | patient | | | type
DeviceDefinition
DeviceMetric
DeviceRequest! | subject | authoredOn occurrenceDateTime occurrencePeriod.start | encounter | codeCodeableConcept
DeviceUseStatement! | subject | timingDateTime timingPeriod.start recordedOn
DiagnosticReport! | subject | effectiveDateTime effectivePeriod.start issued | encounter | code | result
DocumentManifest! | subject | created | | type
DocumentReference! | subject | date | context | type
EffectEvidenceSynthesis
Encounter! | subject | period.start | | type
Endpoint
EnrollmentRequest! | candidate | created
EnrollmentResponse
EpisodeOfCare! | patient | period.start | | type
EventDefinition
Evidence
EvidenceVariable
ExampleScenario
ExplanationOfBenefit! | patient | billablePeriod.start created | item | type
FamilyMemberHistory! | patient | date
Flag! | subject | period.start | encounter | code
Goal! | subject | startDate statusDate | | description
GraphDefinition
Group | member | | | code
GuidanceResponse! | subject | occurrenceDateTime | encounter
HealthcareService
ImagingStudy! | subject | started | encounter | procedureCode
Immunization! | patient | occurrenceDateTime recorded | encounter | vaccineCode
ImmunizationEvaluation! | patient | date
ImmunizationRecommendation! | patient | date
ImplementationGuide
InsurancePlan
Invoice! | subject | date | | type
Library | subjectReference
Linkage | item
List | subject | date | encounter | code | entry
Location
Measure | subjectReference
MeasureReport | subject | period.start date | | | evaluatedResource group
Media! | subject | createdDateTime createdPeriod.start issued | encounter | type
Medication
MedicationAdministration! | subject | effectiveDateTime effectivePeriod.start | context | medicationCodeableConcept
MedicationDispense! | subject | whenHandedOver whenPrepared | context | medicationCodeableConcept
MedicationKnowledge
MedicationRequest! | subject | authoredOn | encounter | medicationCodeableConcept
MedicationStatement! | subject | effectiveDateTime effectivePeriod.start dateAsserted | context | medicationCodeableConcept
MedicinalProduct
MedicinalProductAuthorization
MedicinalProductContraindication
MedicinalProductIndication
MedicinalProductIngredient
MedicinalProductInteraction
MedicinalProductManufactured
MedicinalProductPackaged
MedicinalProductPharmaceutical
MedicinalProductUndesirableEffect
MessageDefinition
MessageHeader
MolecularSequence! | patient
NamingSystem
NutritionOrder! | patient | dateTime | encounter
Observation! | subject | effectiveDateTime effectivePeriod.start effectiveInstant issued | encounter | code | derivedFrom hasMember
ObservationDefinition
OperationDefinition
OperationOutcome
Organization
OrganizationAffiliation
Parameters*
Patient!
PaymentNotice
PaymentReconciliation
Person | link
PlanDefinition
Practitioner
PractitionerRole
Procedure! | subject | performedDateTime performedPeriod.start | encounter | code
Provenance | | occurredDateTime occurredPeriod.start recorded | | activity
Questionnaire
QuestionnaireResponse! | subject | authored | encounter
RelatedPerson! | patient
RequestGroup! | subject | authoredOn | encounter | code
ResearchDefinition | subjectReference
ResearchElementDefinition | subjectReference
ResearchStudy
ResearchSubject! | individual | period.start
RiskAssessment! | subject | occurrenceDateTime occurrencePeriod.start | encounter | code | basis
RiskEvidenceSynthesis
Schedule | actor | planningHorizon.start
SearchParameter
ServiceRequest! | subject | authoredOn occurrenceDateTime occurrencePeriod.start | encounter | code
Slot | | start
Specimen! | subject | receivedTime | | type
SpecimenDefinition
StructureDefinition
StructureMap
Subscription
Substance
SubstanceNucleicAcid
SubstancePolymer
SubstanceProtein
SubstanceReferenceInformation
SubstanceSourceMaterial
SubstanceSpecification
SupplyDelivery! | patient | occurrenceDateTime occurrencePeriod.start | | type
SupplyRequest | | authoredOn occurrenceDateTime | | itemCodeableConcept
Task | for | authoredOn | encounter | code
TerminologyCapabilities
TestReport
TestScript
ValueSet
VerificationResult
VisionPrescription! | patient | dateWritten created | encounter`
