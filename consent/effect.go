package consent

import "github.com/posternhealth/postern/extract"

// Effect is what a decision comes to. Only EffectPermit and EffectNotApplicable
// let a record leave.
type Effect string

// The four values of a decision (DESIGN, Decisions).
const (
	EffectPermit        Effect = "permit"
	EffectDeny          Effect = "deny"           // something keeps the record back with certainty
	EffectIndeterminate Effect = "indeterminate"  // nothing but doubts keeps it back
	EffectNotApplicable Effect = "not-applicable" // nothing was asked: no step binds this disclosure, or the record is about nobody
)

// doubts are the reasons that say that something could not be told.
const doubts = 1<<extract.RestrictionIndeterminate | 1<<extract.MemberAmbiguous | 1<<extract.ConsentIndeterminate | 1<<extract.MergeUnresolved

// Effect tells what a decision of this decider comes to.
func (d *Decider) Effect(out Decision) Effect {
	s := &d.steps
	switch {
	case out.Reasons&^doubts != 0:
		return EffectDeny
	case out.Reasons != 0:
		return EffectIndeterminate
	case out.Subjects == 0 || !s.Consent && !s.Part2 && !s.Agreed && !s.SelfPay && d.roster == nil && !d.listed && !d.leave2:
		return EffectNotApplicable
	}
	return EffectPermit
}
