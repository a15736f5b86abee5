package policies

import (
	"slices"
)

// Words for what a person may have decided, and for where one may stand.
const (
	given   = "permit"
	refused = "deny"
	unsure  = "unsure"
	changed = "deny, then permit" // of the same scope and source

	selfPay = "self-pay"
	agreed  = "agreed"

	atService = "at-service" // covered on the day of service
	inPeriod  = "in-period"  // covered on another day of the period only
	ambiguous = "ambiguous"
	noMember  = "none"
)

// permits is steps 3 and 5 of the decision for one person and record, but for
// the roster: what restrictions, directives, consents for Part 2, opt-outs and
// the clinic's choices say together. A test in consent holds it against the
// engine that decides.
func (v *view) permits(s *Situation) bool {
	switch {
	case s.Part2 && v.leavesPart2Out():
		return false
	case v.about == unsaid:
		return !v.steps.Consent && !v.steps.Part2
	case v.about == nobody:
		return true
	case s.Restriction == selfPay && v.steps.SelfPay, s.Restriction == agreed && v.steps.Agreed:
		return false
	case s.OptedOut && v.optOutBinds():
		return false
	case v.steps.Consent || v.steps.Part2 && s.Part2:
		return v.consents(s)
	}
	return !(v.optOutBinds() && s.Directive == unsure)
}

// consents is step 5 where it binds (45 CFR 164.508, 42 CFR 2.31).
func (v *view) consents(s *Situation) bool {
	if v.People.controlled(s.minor) {
		return false
	}
	if v.People.overAtMajority(s.minor) {
		s = s.withoutPermits()
	}
	if s.Directive == refused || s.Directive == unsure || s.Directive == changed && !v.People.MostRecent {
		return false
	}
	if v.steps.Consent {
		without := v.People.General == PermitWithout && !v.steps.Authorization
		if !without && s.Directive != given && s.Directive != changed && !(s.Part2 && s.Part2Form != "") {
			return false
		}
	}
	return !s.Part2 || !v.steps.Part2 || slices.Contains(v.People.AcceptForms, s.Part2Form) || v.People.Part2 == PermitWithout ||
		v.Part2Ground(v.kind, s.DecidedOn) != nil
}

func (v *view) leavesPart2Out() bool {
	return v.People.Part2LeaveOut || v.Output.Part2Rows == "leave-out"
}

func (v *view) optOutBinds() bool {
	return v.People.RegistryOptOut || v.kind == "registry" && v.steps.Consent
}

func (v *view) asksPeople() bool {
	s := v.steps
	return s.Consent || s.Part2 || s.SelfPay || s.Agreed || v.optOutBinds() || v.leavesPart2Out()
}

// people is the dimension of all that the person decided, which only together
// tells anything. One who decided nothing comes first.
func people(a, b *view) dimension {
	forms := []string{""}
	for _, v := range []*view{a, b} {
		forms = append(forms, v.People.AcceptForms...)
	}
	forms, minors := append(each(forms), "another-form"), minorities(&a.People, &b.People)
	return onDaysOfGrounds(a, b, dimension{dimPeople, func(s *Situation, try func() bool) {
		for _, s.Part2 = range []bool{false, true} {
			for _, s.OptedOut = range []bool{false, true} {
				for _, s.Restriction = range []string{"", selfPay, agreed} {
					for _, s.Directive = range []string{"", given, refused, unsure, changed} {
						for _, s.Part2Form = range forms {
							for _, s.minor = range minors {
								s.Minor = s.minor.says
								if try() {
									return
								}
							}
						}
					}
				}
			}
		}
	}})
}

// each is a list with each value once, in its order.
func each(list []string) (once []string) {
	for _, x := range list {
		if !slices.Contains(once, x) {
			once = append(once, x)
		}
	}
	return once
}

// asksRoster tells whether step 4 is asked: 45 CFR 164.506(c)(4), or a roster
// that the policy names.
func (v *view) asksRoster() bool { return v.People.Roster != "" && v.about == aPerson }

// atService tells whether a member must be one on the day of service.
func (v *view) atService() bool {
	return v.asksRoster() && v.People.Covered != "any-day-of-period"
}

// related judges the standing in one roster.
func (v *view) related(roster, standing string) bool {
	return !v.asksRoster() || v.People.Roster != roster || standing == atService || standing == inPeriod && !v.atService()
}

// standings are the dimensions of the rosters.
func standings(a, b *view) (list []dimension) {
	for _, v := range []*view{a, b} {
		name := dimStanding + ":" + v.People.Roster
		if v.asksRoster() && !slices.ContainsFunc(list, func(d dimension) bool { return d.name == name }) {
			list = append(list, over(name, []string{atService, inPeriod, ambiguous, noMember}, func(s *Situation, standing string) {
				s.Standing = with(s.Standing, v.People.Roster, standing)
			}))
		}
	}
	return list
}
