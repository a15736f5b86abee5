package extract

import (
	"math/bits"
	"strings"
)

// Disposition is the one outcome of a record. Every source record ends in
// exactly one, and their sum equals the number of source records.
type Disposition uint8

const (
	Released Disposition = iota
	OutOfScope
	Withheld
	Suppressed
	Rejected
	Duplicate

	Dispositions = int(Duplicate) + 1
)

var dispositionNames = [Dispositions]string{"released", "out-of-scope", "withheld", "suppressed", "rejected", "duplicate"}

func (d Disposition) String() string { return dispositionNames[d] }

// Reason says why a record was not released. The constants stand in decision
// order: of all reasons that apply, the lowest is the counted one.
type Reason uint8

const (
	NoReason Reason = iota

	// rejected: the record itself cannot be used
	Malformed
	TooLarge
	NoSubject
	UnknownDataset
	SchemaMismatch
	Unsafe
	Conflict // one id, two contents: every copy is rejected

	// duplicate: the same id with the same content, met before
	Repeated

	// out of scope: the policy does not ask for it
	Period
	Measure
	Population
	Unchanged
	NotNamed // a dataset that the policy does not name

	// withheld: decision steps 1 to 6
	AgreementMissing
	AgreementLapsed
	PurposeNotPermitted
	PsychotherapyNotes
	SUDCounselingNotes
	RestrictionSelfPay
	RestrictionAgreed
	RestrictionIndeterminate
	NotAMember
	MemberAmbiguous
	ConsentMissing
	ConsentDenied
	ConsentExpired
	ConsentRevoked
	ConsentIndeterminate
	Part2NoConsent
	MinorControls
	StateLawConsent
	MergeUnresolved
	DerivedFromWithheld
	ClinicChoice // the clinic is stricter than the law asks

	// suppressed: decision step 8
	KAnonymity
	Diversity
	SmallCell
	Differencing
	Presence

	Reasons = int(Presence) + 1
)

// ReasonNames are the names of all reasons.
func ReasonNames() []string { return reasonNames[1:] }

var reasonNames = [Reasons]string{
	"", "malformed", "too-large", "no-subject", "unknown-dataset", "schema", "unsafe", "conflict",
	"repeated",
	"period", "measure", "population", "unchanged", "not-named",
	"agreement-missing", "agreement-lapsed", "purpose-not-permitted",
	"psychotherapy-notes", "sud-counseling-notes",
	"restriction-self-pay", "restriction-agreed", "restriction-indeterminate",
	"not-a-member", "member-ambiguous",
	"consent-missing", "consent-denied", "consent-expired", "consent-revoked", "consent-indeterminate",
	"part2-no-consent", "minor-controls", "state-law-consent", "merge-unresolved",
	"derived-from-withheld", "clinic-choice",
	"k-anonymity", "diversity", "small-cell", "differencing", "presence",
}

func (r Reason) String() string { return reasonNames[r] }

// Disposition tells which disposition a record has whose first reason is r.
func (r Reason) Disposition() Disposition {
	switch {
	case r == NoReason:
		return Released
	case r <= Conflict:
		return Rejected
	case r == Repeated:
		return Duplicate
	case r <= NotNamed:
		return OutOfScope
	case r <= ClinicChoice:
		return Withheld
	default:
		return Suppressed
	}
}

// ReasonSet is a set of reasons.
type ReasonSet uint64

func (s ReasonSet) With(r Reason) ReasonSet {
	if r == NoReason {
		return s
	}
	return s | 1<<r
}

func (s ReasonSet) Has(r Reason) bool { return s&(1<<r) != 0 }

// First is the counted reason: the first in decision order.
func (s ReasonSet) First() Reason {
	if s == 0 {
		return NoReason
	}
	return Reason(bits.TrailingZeros64(uint64(s)))
}

// Names gives the names of the reasons in decision order, comma separated.
func (s ReasonSet) Names() string {
	names := make([]string, 0, 4)
	for ; s != 0; s &= s - 1 {
		names = append(names, s.First().String())
	}
	return strings.Join(names, ",")
}
