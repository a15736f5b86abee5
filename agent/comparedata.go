package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// Moved is how many records, and of how many people, leave under one policy
// and not under another.
type Moved struct {
	Records int64 `json:"records"`
	People  int64 `json:"people"`
}

// OnData is what two policies differ in about the records of one extract.
type OnData struct {
	Source int64 `json:"source_records"`
	Leave  Moved `json:"newly_leave"`
	Stay   Moved `json:"newly_stay"`
}

// CompareOnData decides the records of an exchange's source, or of another
// folder laid like it, under two policies by dry runs at the same clocks. What
// leaves under both, if with other fields, counts in neither.
func (a *Agent) CompareOnData(ctx context.Context, exchange, folder string, older, newer *policies.Policy, opt RunOptions) (*OnData, error) {
	x, err := a.load(exchange)
	if err != nil {
		return nil, err
	}
	x.readFrom(folder)
	if opt.DryRun = true; opt.DecidedAt.IsZero() {
		opt.DecidedAt = a.Now()
	}
	before, err := a.leaving(ctx, x, older, opt, nil)
	if err != nil {
		return nil, err
	}
	after, err := a.leaving(ctx, x, newer, opt, before)
	if err != nil {
		return nil, err
	}
	again, err := a.leaving(ctx, x, older, opt, after)
	if err != nil {
		return nil, err
	}
	return &OnData{Source: after.n, Leave: after.others, Stay: again.others}, nil
}

// readFrom takes another folder, laid like the exchange's source, unless it is
// "". It was laid there by hand, so no completeness rule is kept for it.
func (x *exchange) readFrom(folder string) {
	if folder == "" {
		return
	}
	source := *x.source
	source.Ignore = append(slices.Clone(source.Ignore), source.Complete.Marker, source.Complete.Manifest)
	source.Folder, source.Complete = folder, extract.Completeness{StableFor: time.Nanosecond}
	x.source = &source
}

// leaving is the records that leave under a policy, a bit for each in the order
// of the source, and those of them that do not leave under another one.
type leaving struct {
	bits   []uint64
	n      int64
	others Moved
	people map[consent.Subject]struct{}
}

// leaving finds what leaves under a policy, and of that what is not in other.
func (a *Agent) leaving(ctx context.Context, x *exchange, policy *policies.Policy, opt RunOptions, other *leaving) (*leaving, error) {
	under := *x
	under.policy = policy
	if _, err := policies.Check(policy, a.Config.policyEnv(x.schemas, x.tables, a.Now())); err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	l := &leaving{people: map[consent.Subject]struct{}{}}
	r := a.newRun(&under, opt)
	r.observe = func(n int64, about consent.Subject, reason extract.Reason) { l.take(n, about, reason, other) }
	err := r.execute(ctx)
	return l, errors.Join(err, r.clean(err != nil))
}

func (l *leaving) take(n int64, about consent.Subject, reason extract.Reason, other *leaving) {
	at := l.n
	l.n += n
	for int64(len(l.bits))*64 < l.n {
		l.bits = append(l.bits, 0)
	}
	if reason != extract.NoReason { // n is 1 of what leaves
		return
	}
	l.bits[at/64] |= 1 << (at % 64)
	if other == nil || other.has(at) {
		return
	}
	l.others.Records++
	if _, known := l.people[about]; !known && about != consent.NoSubject {
		l.people[about] = struct{}{}
		l.others.People++
	}
}

func (l *leaving) has(at int64) bool { return at < l.n && l.bits[at/64]>>(at%64)&1 == 1 }
