package agent

import (
	"os"
	"runtime/debug"
)

// What a run may take: so much that with the program itself, which the system
// counts too, it stays within 128 MiB, and for its tables what the design
// allows for each entry.
const (
	memoryOfRun       = 88 << 20
	memoryOfPatient   = 256
	memoryOfEncounter = 32
	memoryOfDirective = 200
)

// holdMemory holds the Go runtime to what the run may take, by the tables as
// they are now; GOMEMLIMIT overrides it. The limit is soft: the runtime
// collects more often near it and fails nothing beyond it.
func (r *run) holdMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(memoryOfRun + memoryOfPatient*r.index.people.Len())
	if t := r.tables; t != nil {
		if t.Encounters != nil {
			limit += memoryOfEncounter * int64(t.Encounters.Len())
		}
		if t.Directives != nil {
			limit += memoryOfDirective * int64(t.Directives.Len())
		}
	}
	debug.SetMemoryLimit(limit)
}
