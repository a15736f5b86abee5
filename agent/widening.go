package agent

// compare says what changed since the last approval and who must agree. All is
// judged by the previous closure: by its approvers, and by what it let out.
// Only a policy that lets nothing more out can do with one of them.
func (a *Agent) compare(p *Approval, x *exchange, now *Closure, previous string) error {
	was, err := a.approvedClosure(previous)
	if err != nil {
		return err
	}
	p.Changes, p.may = changes(was, now), was.approvers()
	p.Needed = enough
	for _, c := range p.Changes {
		if c.Part != policyPart {
			p.Why = "more than the policy changed: " + c.Part
			return nil
		}
	}
	p.Why = "the policy was changed"
	return nil
}
