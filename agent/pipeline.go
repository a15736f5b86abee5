package agent

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

	ctx, cancel := context.WithCancel(ctx)
	reader := extract.OpenChunks(files)
	defer reader.Close()

	type job struct {
		chunk  *extract.Chunk
		result *R
		err    error
		done   chan struct{}
	}
	depth := workers + 2 // chunks in flight bound the memory of a run
	todo := newQueue[*job](depth)
	order := newQueue[*job](depth)
	free := newQueue[*job](depth)
	for range depth {
		free <- &job{chunk: new(extract.Chunk), done: newQueue[struct{}](1)}
	}

	var readErr error
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
			if err := reader.Next(j.chunk); err != nil {
				if !errors.Is(err, io.EOF) {
					readErr = err
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
					j.result, j.err = work(j.chunk, j.result)
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
				err = sink(j.chunk, j.result)
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
		err = errors.Join(readErr)
	}
	if err == nil {
		err = interrupted
	}
	if err != nil {
		return nil, err
	}
	return reader.Sums(), nil
}

func newQueue[T any](n int) chan T { return make(chan T, n) }
