package build

import "context"

// Index reads what decisions need of the whole extract (people, their links,
// encounters) and decides nothing: for questions about single records.
func (r *Run) Index(ctx context.Context) error {
	return r.Stages.Do(ctx, "index", r.Tables, r.indexPass)
}
