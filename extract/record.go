package extract

import "github.com/posternhealth/postern/internal/phi"

// Limits of what is read. A record or Bundle beyond them is rejected too-large.
const (
	MaxRecord = 16 << 20
	MaxBundle = 256 << 20
)

// Place is where a record stood in the extract.
type Place struct {
	File  int   // index into the list that Source.List gave
	Line  int64 // 1-based, of the record's first byte
	Entry int   // 1-based entry of a Bundle; 0 elsewhere
}

// Unreadable is the dataset name under which a record is counted whose
// dataset cannot be told.
const Unreadable = "(unreadable)"

// Record is one resource or row: the unit that is accounted for. A Record
// belongs to the Scanner that filled it; its bytes hold until the Scanner
// reads the next one.
type Record struct {
	Place   Place
	Ordinal int64  // 0-based over the whole extract, the same in every pass
	Dataset string // FHIR resource type, or name of a delimited dataset
	Reject  Reason // NoReason when the record can be read
	Detail  string // why it was rejected, without any value of it

	Raw phi.Bytes // the record's bytes, without the line end
	Doc Doc       // its tokens, when it is FHIR
	Row Row       // its cells, when it is delimited

	Facts Facts

	urls    fullURLs // of the Bundle it came in; nil elsewhere
	servers Servers
}

// Resolve gives what a reference of the record stands for: Type/id where a
// fullUrl of the record's Bundle says so, nil where two do or it is an address
// of another server, else the reference as it is.
func (r *Record) Resolve(ref []byte) []byte {
	if r.servers.foreign(ref) {
		return nil
	}
	if name, met := r.urls[string(ref)]; met {
		return name
	}
	return ref
}

// Facts are what decisions need of a record. They are found by the scan, so
// no later step parses a record again to decide about it.
type Facts struct {
	Dataset   string      // as Record.Dataset: a directive may name a class of resources
	ID        phi.Bytes   // the resource's id, or the primary key of the row; empty when there is none
	Subjects  []phi.Bytes // ids of the patients it is about, in the clinic's numbering, each once
	Date      Span        // civil date of the service or event
	Encounter phi.Bytes   // id of its encounter, empty when none
	Wholes    []phi.Bytes // none of a record; of facts that were kept, see consent.AppendFacts
	Providers []phi.Bytes // organizations, locations, practitioners it names: Type/id, bare ids of delimited columns, and as written what names none by id (conditional, #contained, unresolved urn:)
	Codes     []phi.Bytes // codes of its main code element (Observation.code, Condition.code, the instrument column, …)
	Labels    []phi.Bytes // codes in meta.security
	Status    phi.Bytes   // status element or column, empty when none
	Evidence  []phi.Bytes // records it is derived from or sums up: Type/id, bare ids or DATASET/id of delimited columns, and as written what names none by id
}

// Doc is the token tape of one JSON value: a pre-order list in which each
// token knows where the next sibling starts. Offsets are into Record.Raw.
type Doc []Token

// Token is one token of a Doc.
type Token struct {
	Kind       Kind
	Escaped    bool  // a string (or name) with at least one backslash
	Start, End int32 // bytes of the token; of a string and a name without its quotes; of an object or array with its brackets
	Next       int32 // index of the token after this value (of a name: of the name's value + its subtree)
}

// Kind is the kind of a JSON token.
type Kind uint8

const (
	Object Kind = iota
	Array
	MemberName
	String
	Numeral
	True
	False
	Null
)

// Row is one row of a delimited file: one value per column of its schema,
// without quotes, as bytes. Values are not trimmed.
type Row []phi.Bytes
