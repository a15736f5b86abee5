package agent

import (
	"context"
	"maps"
	"slices"

	"github.com/posternhealth/postern/consent"
)

// Mend lists what of the protective inputs of an exchange keeps records back
// until somebody has mended it: rows and resources that cannot be understood, and
// those that cannot be told apart. It reads the inputs as a dry run does.
func (a *Agent) Mend(ctx context.Context, name string) ([]consent.Doubt, error) {
	x, err := a.load(name)
	if err != nil {
		return nil, err
	}
	r := a.newRun(x, RunOptions{DryRun: true})
	if err := r.loadInputs(ctx); err != nil {
		return nil, err
	}
	return r.doubts(), nil
}

func (r *run) doubts() []consent.Doubt {
	t := r.tables
	list := slices.Concat(t.Merges.Doubts(), t.Directives.Doubts(), t.Restrictions.Doubts())
	for _, name := range slices.Sorted(maps.Keys(t.Rosters)) {
		list = append(list, t.Rosters[name].Doubts()...)
	}
	return list
}
