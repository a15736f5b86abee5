package build

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/posternhealth/postern/extract"
)

// pass reads an extract once: chunks are cut by one goroutine, worked on by
// several, and their results handed to sink in file order, on the caller's
// goroutine. So what workers do must depend on the chunk alone, and all that
// depends on order happens in sink.
//
// make builds one worker per goroutine. A result that sink has seen comes back
// to a worker for reuse as `old` (nil at first).
func pass[R any](ctx context.Context, files []extract.File, workers int,
	make func() func(chunk *extract.Chunk, old *R) (*R, error),
	sink func(chunk *extract.Chunk, result *R) error) ([]extract.FileSum, error) {

	type piece struct {
		chunk  extract.Chunk
		result *R
	}
	reader := extract.OpenChunks(files)
	defer reader.Close()
	err := inOrder(ctx, workers,
		func(p *piece) error { return reader.Next(&p.chunk) },
		func() func(*piece) error {
			work := make()
			return func(p *piece) (err error) {
				p.result, err = work(&p.chunk, p.result)
				return err
			}
		},
		func(p *piece) error { return sink(&p.chunk, p.result) })
	if err != nil {
		return nil, err
	}
	return reader.Sums(), nil
}

// inOrder fills pieces of work on one goroutine until next gives io.EOF, works
// on them on several, and hands them to sink in the order of next, on the
// caller's goroutine. Pieces are used again; the few in flight bound the
// memory of a run. The error is that of the first piece that has one.
func inOrder[P any](ctx context.Context, workers int, next func(*P) error, make func() func(*P) error, sink func(*P) error) error {
	ctx, cancel := context.WithCancel(ctx)
	type job struct {
		piece P
		err   error
		done  chan struct{}
	}
	depth := workers + 2
	todo := newQueue[*job](depth)
	order := newQueue[*job](depth)
	free := newQueue[*job](depth)
	for range depth {
		free <- &job{done: newQueue[struct{}](1)}
	}

	var nextErr error
	var group sync.WaitGroup
	group.Go(func() {
		defer close(todo)
		defer close(order)
		for {
			var j *job
			select {
			case <-ctx.Done():
				return
			case j = <-free:
			}
			if err := next(&j.piece); err != nil {
				if !errors.Is(err, io.EOF) {
					nextErr = err
				}
				return
			}
			todo <- j
			order <- j
		}
	})
	for range workers {
		group.Go(func() {
			work := make()
			for j := range todo {
				if ctx.Err() == nil {
					j.err = work(&j.piece)
				}
				j.done <- struct{}{}
			}
		})
	}

	var err error
	for j := range order {
		<-j.done
		if err == nil && ctx.Err() == nil {
			if err = j.err; err == nil {
				err = sink(&j.piece)
			}
			if err != nil {
				cancel()
			}
		}
		free <- j
	}
	group.Wait()
	interrupted := ctx.Err()
	cancel()
	if err == nil {
		err = nextErr
	}
	if err == nil {
		err = interrupted
	}
	return err
}

func newQueue[T any](n int) chan T { return make(chan T, n) }
