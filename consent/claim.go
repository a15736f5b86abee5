package consent

import (
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// By says who or what keeps a record back. The order is that of how much it
// counts where several do: what the law forbids stays whatever the clinic likes.
type By uint8

// Who keeps a record back. The zero value is nobody: the record cannot be used,
// or nobody asked for it.
const (
	ByNobody   By = iota
	ByLaw         // a law forbids it, or asks for something that is not there
	ByPatient     // the patient asked for it
	ByEvidence    // what it is derived from stays, and so it does, by whatever keeps that back
	ByDoubt       // something cannot be told
	ByClinic      // the clinic is stricter than law and patient ask
)

var byNames = [...]string{"nobody", "law", "patient", "evidence", "doubt", "clinic"}

func (b By) String() string { return byNames[b] }

// MarshalText implements encoding.TextMarshaler.
func (b By) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// Claim is what stands behind a reason. Check in Exception marks a point that
// the clinic's officer has to settle; no exception holds by the paragraph
// alone, each has conditions of its own.
type Claim struct {
	By        By     `json:"by"`
	Law       string `json:"law,omitempty"`
	Exception string `json:"exception,omitempty"` // to information blocking, 45 CFR Part 171
	Says      string `json:"says"`                // the reason in plain words, a sentence
	Mend      string `json:"mend,omitempty"`      // what would change it, a sentence
}

// The exceptions to information blocking that reasons claim (45 CFR Part 171).
const (
	precondition    = "45 CFR 171.202(b), a precondition of the law is not met"
	patientsRequest = "45 CFR 171.202(e), the patient asked not to share it"
	forbidden       = "none is needed where the law forbids it (45 CFR 171.103; check)"
	unsettled       = "none by itself; 45 CFR 171.202(b) if the precondition is sought with reasonable effort (check)"
	noException     = "none: a choice of the clinic claims no exception"
	notHealthRecord = "none is needed: what is de-identified is no electronic health information (45 CFR 171.102; check)"
	unlessState     = "none, unless a state's law asks for this consent: then 45 CFR 171.202(b) (check)"
)

// claims has an entry for every reason. That of a reason which the clinic's
// own strictness can give too is the law's; see Decider.Claim.
var claims = [extract.Reasons]Claim{
	extract.Malformed:      {Says: "The record cannot be read.", Mend: "Have the extract written again."},
	extract.TooLarge:       {Says: "The record is too large.", Mend: "Have the extract written with smaller records."},
	extract.NoSubject:      {Says: "The record does not tell whom it is about.", Mend: "Have the extract name the patient by id."},
	extract.UnknownDataset: {Says: "The record is of no kind that is known.", Mend: "Have the extract written with known kinds of records."},
	extract.SchemaMismatch: {Says: "The record is not as its schema says.", Mend: "Mend the extract or the schema."},
	extract.Unsafe:         {Says: "The record holds something that may change what it means.", Mend: "Have the extract written without it, or have it looked at."},
	extract.Conflict:       {Says: "Two records have the same id and say different things.", Mend: "Have the wrong one taken out of the extract."},
	extract.Repeated:       {Says: "The same record was met before and is counted there."},
	extract.Period:         {Law: "45 CFR 164.502(b)", Says: "Its date is outside the time that is asked for."},
	extract.Measure:        {Law: "45 CFR 164.502(b)", Says: "It is not of the kind that is asked for."},
	extract.Population:     {Law: "45 CFR 164.502(b)", Says: "It is not about one of the people who are asked for."},
	extract.Unchanged:      {Says: "The recipient has it already.", Mend: "Nothing: it was sent before."},
	extract.NotNamed:       {Law: "45 CFR 164.502(b)", Says: "The policy does not ask for this kind of record."},

	extract.AgreementMissing: {ByLaw, "45 CFR 164.502(e), 164.514(e)(4)", precondition + " (check)",
		"The agreement that it would have to rest on is not in force.", "Have the agreement signed, and write it into the policy."},
	extract.AgreementLapsed: {ByLaw, "45 CFR 164.502(e), 164.514(e)(4)", precondition + " (check)",
		"The agreement that it would have to rest on has ended.", "Have the agreement renewed or reviewed, and write its new dates into the policy."},
	extract.PurposeNotPermitted: {ByLaw, "45 CFR 164.502(a), 164.506(c)", forbidden,
		"The law does not allow it for this purpose.", "Nothing, unless another basis in law fits: have the policy looked at."},
	extract.PsychotherapyNotes: {ByLaw, "45 CFR 164.508(a)(2)", "none is needed: psychotherapy notes are no electronic health information (45 CFR 171.102)",
		"It is, or may be, a therapist's own notes on a session, which are never sent.", "Nothing: such notes never leave this way."},
	extract.SUDCounselingNotes: {ByLaw, "42 CFR 2.31(b)", precondition,
		"It is, or may be, a counselor's notes on a session in a substance use program, which are never sent.", "Nothing: such notes never leave this way."},
	extract.RestrictionSelfPay: {ByPatient, "45 CFR 164.522(a)(1)(vi)", patientsRequest,
		"The patient paid for this care in full and asked us not to tell the health plan.", "The patient takes the restriction back: end its row with ended_on and ended_by."},
	extract.RestrictionAgreed: {ByPatient, "45 CFR 164.522(a)(1)(iii)", patientsRequest,
		"The patient asked us to restrict it, and we agreed.", "The restriction is ended (45 CFR 164.522(a)(2)): end its row with ended_on and ended_by."},
	extract.RestrictionIndeterminate: {ByDoubt, "45 CFR 164.522(a)", "none by itself; 45 CFR 171.202(e) if the patient meant this record (check)",
		"The patient has restricted something, and it cannot be told whether this is it.",
		"Write into the row of the restriction which visit, service or days it is about and whom it binds, and have the extract tell visit, code and date of the record."},
	extract.NotAMember: {ByLaw, "45 CFR 164.506(c)(4)", forbidden,
		"The patient is not known to have been one of the recipient's people at that time.", "The recipient's list shows the patient as covered on that day."},
	extract.MemberAmbiguous: {ByDoubt, "45 CFR 164.506(c)(4)", unsettled,
		"The recipient's list does not tell clearly who this patient is.", "Have the rows of the list mended: one member id stands for one person, and one person has one at a time."},
	extract.ConsentMissing: {ByLaw, "45 CFR 164.508", precondition,
		"The patient has to agree first, and has not.", "The patient signs a consent for this recipient and purpose, and it is entered with the day of signature."},
	extract.ConsentDenied: {ByPatient, "45 CFR 164.522(a)(1)(i)", patientsRequest,
		"The patient said no.", "The patient takes it back: end the row with ended_on and ended_by, or write the end into the Consent's own period."},
	extract.ConsentExpired: {ByLaw, "45 CFR 164.508(c)(1)(v); 42 CFR 2.31", precondition,
		"The patient agreed, but that consent has run out.", "The patient signs a new consent, and it is entered with the day of signature."},
	extract.ConsentRevoked: {ByPatient, "45 CFR 164.508(b)(5); 42 CFR 2.31", patientsRequest,
		"The patient agreed once and took it back.", "The patient signs a new consent, after the day of the one that was taken back."},
	extract.ConsentIndeterminate: {ByDoubt, "45 CFR 164.508; 42 CFR 2.31", unsettled,
		"Something that was decided cannot be understood or cannot be matched with this record, so it may be a no.",
		"Mend the row or the Consent that cannot be understood, ask the patient, or have the extract tell what the record is about (date, code, label, visit, patient)."},
	extract.Part2NoConsent: {ByLaw, "42 CFR 2.13, 2.31", precondition,
		"It comes from a substance use program, and its own written consent is not there.", "The patient signs a form that the policy accepts for such records, and it is entered with form and day of signature."},
	extract.MinorControls: {ByLaw, "45 CFR 164.502(g)(3) and the state's law", precondition + " (check)",
		"The patient was a minor who decides about this care, and has not signed for it.", "The minor signs a consent; where the law asks for both, the guardian too."},
	extract.StateLawConsent: {ByLaw, "the state's law", precondition + " (check)",
		"The state's law asks for a consent that is not there, or was refused.", "What the state's law asks for is entered, or the refusal is ended with ended_on and ended_by."},
	extract.MergeUnresolved: {ByDoubt, "45 CFR 164.508; 42 CFR 2.31", unsettled,
		"The patient may be known here under another id too, and may have decided something under it.", "Decide whether the ids are one person: `postern subject merge`."},
	extract.DerivedFromWithheld: {ByEvidence, "that of what it is made from", "that of what it is made from",
		"It is made from a record that stays here, or that is not in the extract.", "What it is made from may leave, and is in the extract."},
	extract.ClinicChoice: {ByClinic, "none: the clinic is stricter than the law", noException + "; where it honors what the patient asked, 45 CFR 171.202(e) (check)",
		"The clinic has chosen not to send it, though the law would allow it.", "Change the policy, if the choice is no longer meant."},

	extract.KAnonymity:   {By: ByLaw, Law: "45 CFR 164.514(b)", Exception: forbidden, Says: "Too few people share what it shows."},
	extract.Diversity:    {By: ByLaw, Law: "45 CFR 164.514(b)", Exception: forbidden, Says: "Those who share what it shows would all be known to be alike."},
	extract.SmallCell:    {By: ByLaw, Law: "45 CFR 164.514(b)", Exception: forbidden, Says: "The number would be so small that it could show a person."},
	extract.Differencing: {By: ByLaw, Law: "45 CFR 164.514(b)", Exception: forbidden, Says: "With what was sent before it could show a person."},
	extract.Presence:     {By: ByLaw, Law: "45 CFR 164.514(b)", Exception: forbidden, Says: "That somebody is in it could be told."},
}

// Claim gives what stands behind a reason in this disclosure. Where the law
// does not ask for what the policy asks for, the clinic has chosen it.
func (d *Decider) Claim(r extract.Reason) Claim {
	c, p := claims[r], d.request.Policy
	own := false
	switch r {
	case extract.AgreementMissing, extract.AgreementLapsed:
		own = p.Standard != policies.LimitedDataSet && p.Agreement.Kind != "baa" && d.request.RecipientKind != "vendor"
	case extract.NotAMember, extract.MemberAmbiguous:
		own = !d.steps.Relationship
	case extract.ConsentMissing, extract.ConsentExpired:
		if own = !d.steps.Authorization; own {
			c.Mend += " Or the policy asks for no consent here (people.consent.general.without_directive)."
			c.By, c.Law, c.Exception = ByClinic, "none in HIPAA (45 CFR 164.506(b) leaves it to the clinic); a state's law may ask for it (check)", unlessState
			return c
		}
	}
	if own {
		c.By, c.Law, c.Exception = ByClinic, claims[extract.ClinicChoice].Law, noException
	}
	if c.By == ByClinic && policies.Section(p.Basis) == "164.502(d)" {
		c.Exception = notHealthRecord
	}
	return c
}

// Counted gives the one reason under which a withheld record stands in the
// report of what is withheld, and its claim: that which weighs most, of equal
// ones the first. A denial that matches only perhaps is a doubt.
func (d *Decider) Counted(f *extract.Facts, part2 bool, reasons extract.ReasonSet) (counted extract.Reason, claim Claim) {
	if reasons.Has(extract.ConsentIndeterminate) && !d.deniedSurely(f, part2) {
		reasons &^= 1<<extract.ConsentDenied | 1<<extract.StateLawConsent
	}
	for r := extract.AgreementMissing; r <= extract.ClinicChoice; r++ {
		if c := d.Claim(r); reasons.Has(r) && (counted == extract.NoReason || c.By < claim.By) {
			counted, claim = r, c
		}
	}
	return counted, claim
}

func (d *Decider) deniedSurely(f *extract.Facts, part2 bool) bool {
	for _, h := range d.Explain(f, part2).Directives {
		if h.Says == Denies {
			return true
		}
	}
	return false
}
