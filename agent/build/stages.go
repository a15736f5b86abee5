package build

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/internal/failure"
)

// Stages are the stages of one run, those before and after a build included.
type Stages struct {
	Exchange string
	Times    []StageTime
}

// StageTime is how long a stage of a run took.
type StageTime struct {
	Stage   string  `json:"stage"`
	Seconds float64 `json:"seconds"`
}

// Do goes through one stage. Whatever it was, an interrupted run has committed
// nothing.
func (s *Stages) Do(ctx context.Context, name string, t *consent.Tables, work func(context.Context) error) error {
	start := time.Now()
	holdMemory(t)
	if err := work(ctx); err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return failure.New(failure.Interrupted, nil, "nothing was committed; run again", "exchange %s was interrupted during %s", s.Exchange, name)
		}
		return err
	}
	s.Times = append(s.Times, StageTime{name, time.Since(start).Seconds()})
	return nil
}

// What a run may take: so much that with the program itself, which the system
// counts too, it stays within 128 MiB, and for its tables what the design
// allows for each entry.
const (
	memoryOfRun       = 88 << 20
	memoryOfPatient   = 256
	memoryOfEncounter = 32
	memoryOfDirective = 200
)

// holdMemory holds the Go runtime to what a run may take, by its tables as they
// are now; GOMEMLIMIT overrides it. The limit is soft: the runtime collects
// more often near it and fails nothing beyond it.
func holdMemory(t *consent.Tables) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(memoryOfRun + memoryOfPatient*t.People.Len())
	if t.Encounters != nil {
		limit += memoryOfEncounter * int64(t.Encounters.Len())
	}
	if t.Directives != nil {
		limit += memoryOfDirective * int64(t.Directives.Len())
	}
	debug.SetMemoryLimit(limit)
}
