package extract

// Class says what kind of information a field holds, as far as the law tells
// kinds apart: the identifiers of 45 CFR 164.514(b)(2)(i)(A)–(R), and what is
// none. FHIR leaves get theirs from the element table, delimited columns from
// their schema. The zero value is Unclassed, and what is unclassed never leaves.
type Class uint8

const (
	Unclassed Class = iota

	// identifiers, by paragraph of 164.514(b)(2)(i)
	Name           // (A)
	Geography      // (B) street, county, precinct, coordinates: what 164.514(e)(2)(ii) calls other postal address
	Town           // (B) town or city, which a limited data set may hold
	Postcode       // (B) ZIP code
	Date           // (C) a date of an event or of care
	BirthDate      // (C)
	DeathDate      // (C)
	AgeYears       // (C) an age in years
	Phone          // (D)
	Fax            // (E)
	Email          // (F)
	SSN            // (G)
	RecordNumber   // (H) medical record number
	MemberNumber   // (I) health plan beneficiary number
	Account        // (J)
	Licence        // (K)
	Vehicle        // (L)
	DeviceSerial   // (M)
	WebAddress     // (N)
	NetworkAddress // (O)
	Biometric      // (P)
	Photograph     // (Q)
	OtherUnique    // (R) any other unique number, characteristic or code

	// links inside an extract
	SubjectKey  // the id of the patient, in the clinic's own numbering
	RecordKey   // the id of a record
	Link        // a reference to another record
	ProviderKey // a provider's number (NPI, TIN): identifies no patient

	// what may carry anything
	FreeText // strings, notes, narrative, annotations, display texts, attachments

	// what identifies nobody by itself
	State      // US state or country
	Code       // a code of a published code system, or of a closed set
	CodeSystem // the URI that names a code system
	Number     // a measured value, score or count
	Boolean
	Sex
	Race
	Ethnicity
	Language
	Unit

	Classes = int(Unit) + 1
)

var classNames = [Classes]string{
	"unclassed",
	"name", "geography", "town", "postcode", "date", "birth-date", "death-date", "age", "phone", "fax", "email", "ssn",
	"record-number", "member-number", "account", "licence", "vehicle", "device-serial", "web-address",
	"network-address", "biometric", "photograph", "other-unique",
	"subject-key", "record-key", "link", "provider-key",
	"free-text",
	"state", "code", "code-system", "number", "boolean", "sex", "race", "ethnicity", "language", "unit",
}

func (c Class) String() string { return classNames[c] }

// ParseClass is the inverse of Class.String; ok is false for an unknown name.
func ParseClass(name string) (c Class, ok bool) {
	for i, n := range classNames {
		if n == name {
			return Class(i), true
		}
	}
	return Unclassed, false
}
