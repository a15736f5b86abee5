package main

import (
	"os"
	"slices"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	story "github.com/posternhealth/postern/agent/demo"
)

// demo tells the whole story on one machine.
func demo(k *call) error {
	dir := k.flags.String("dir", "", "the `DIR` to build it in, new or empty (default a temporary one)")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	if *dir == "" {
		made, err := os.MkdirTemp("", "postern-demo-")
		if err != nil {
			return err
		}
		*dir = made
	}
	told, err := story.Tell(k.ctx, *dir, k.err, hclog.New(&hclog.LoggerOptions{Name: "postern", Output: k.err, Level: hclog.Warn}))
	if err != nil {
		return err
	}
	unmatched := slices.ContainsFunc(told.Chapters, func(c story.Chapter) bool { return !c.Matches() })
	return ends(agent.Undelivered, unmatched, show(k, func(*story.Story) error { return told.Print(k.out) })(told, nil))
}
