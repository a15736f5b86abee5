package agent

import (
	"fmt"
	"path/filepath"

	"github.com/posternhealth/postern/policies"
)

// compare says what changed since the last approval and who must agree. All is
// judged by the previous closure: by its approvers, and by what it let out.
// Only a change of the policy by which nothing newly leaves takes one of them.
func (a *Agent) compare(p *Approval, x *exchange, now *Closure, previous string) error {
	was, err := a.approvedClosure(previous)
	if err != nil {
		return err
	}
	p.Changes, p.may, p.Needed = changes(was, now), was.approvers(), enough
	for _, c := range p.Changes {
		if c.Part != policyPart {
			p.Why = "more than the policy changed: " + c.Part
			return nil
		}
	}
	// Schemas, inputs and recipient are parts of their own: here they are the same.
	env := a.Config.policyEnv(x.schemas, x.tables, a.Now())
	approved, err := a.approvedPolicy(previous, was, env)
	if err != nil {
		p.Why = fmt.Sprintf("the policy changed, and the approved one cannot be compared with it: %v", err)
		return nil
	}
	found := policies.Compare(approved, x.policy, env, env)
	if len(found.Widens) > 0 {
		p.Why = found.Widens[0].Says
		return nil
	}
	p.Needed, p.Why = 1, "the policy changed, and nothing newly leaves"
	return nil
}

// approvedPolicy loads the policy of an approved closure from where it is kept,
// if it is still what was approved.
func (a *Agent) approvedPolicy(digest string, closure *Closure, env policies.Env) (*policies.Policy, error) {
	p, err := policies.Load(filepath.Join(a.approvedDir(digest), "policy", keptPolicy), env)
	if err != nil {
		return nil, err
	}
	kept := &Closure{}
	kept.policy(p, "")
	for _, part := range kept.Parts {
		if approved, _ := closure.part(part.Name); approved.SHA256 != part.SHA256 {
			return nil, fail(Altered, nil, "restore the state from its backup", "%s of the approved closure was altered", part.Name)
		}
	}
	return p, nil
}
