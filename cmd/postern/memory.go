package main

import (
	"os"
	"runtime/debug"
)

// memoryLimit is what the Go runtime is held to, so that with the program
// itself, which the system counts too, a run stays within 128 MiB. The limit is
// soft: tables that grow with the number of patients may pass it.
const memoryLimit = 88 << 20

// limitMemory sets the limit, unless GOMEMLIMIT says another one.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}
