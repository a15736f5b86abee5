package build

import (
	"context"
	"sync"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
)

// releasePass decides and transforms every record, fills the spool and writes
// the clinic's book. The files must still be what the index pass read.
func (r *Run) releasePass(ctx context.Context) error {
	sums, counts, err := r.readRelease(ctx, func(chunk *extract.Chunk, b *batch) error {
		if p := b.plain; p != nil {
			if err := r.settlePlain(p); err != nil {
				return err
			}
		}
		if err := r.changes.lookUp(ctx, b.outcomes); err != nil {
			return err
		}
		if r.Policy.Output.RowKey {
			if err := r.rowKeys.lookUp(ctx, b.outcomes, r.changes.heldNow()); err != nil {
				return err
			}
		}
		for i := range b.outcomes {
			if err := r.settle(b, &b.outcomes[i]); err != nil {
				return err
			}
		}
		r.progress("release", chunk.Size())
		return nil
	})
	if err != nil {
		return err
	}
	r.counts = counts
	for i, sum := range sums {
		if sum.SHA256 != r.index.sums[i].SHA256 {
			return r.changed(sum.Name)
		}
	}
	if err := r.settleConditional(ctx); err != nil || r.changes == nil {
		return err
	}
	return r.findVoids(ctx)
}

// readRelease has several workers make batches of the chunks, and gives them to
// settle in their order. The counts are of what was done to each path.
func (r *Run) readRelease(ctx context.Context, settle func(*extract.Chunk, *batch) error) ([]extract.FileSum, pathCounts, error) {
	var mu sync.Mutex
	var workers []*releaseWorker
	sums, err := pass(ctx, r.Files, r.Workers,
		func() func(*extract.Chunk, *batch) (*batch, error) {
			w := &releaseWorker{run: r, scanner: extract.NewScanner(), engines: map[string]*deid.Engine{}, apart: map[string]*deid.Engine{}}
			mu.Lock()
			defer mu.Unlock()
			workers = append(workers, w)
			return w.work
		}, settle)
	counts := pathCounts{}
	for _, f := range r.ordered {
		counts[f.dataset] = f.plan.Engine().Counts()
	}
	for _, w := range workers {
		for dataset, engine := range w.engines {
			counts[dataset].Add(engine.Counts())
		}
	}
	return sums, counts, err
}

// changed is the failure of a run whose source is no longer what the index
// pass read.
func (r *Run) changed(file string) error {
	return failure.New(failure.Altered, nil, "let the extract be written before its completeness rule holds, then run again",
		"source file %s changed while it was being read; nothing was sent", file)
}
