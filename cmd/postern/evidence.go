package main

import (
	"bytes"
	"encoding/json"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/ledger"
)

// now is the wall clock.
func now() time.Time { return time.Now() }

// ledgerCommand looks at the log without trusting it: verify recomputes every
// hash.
func ledgerCommand(k *call) error {
	if err := k.parse(1, 2); err != nil {
		return err
	}
	action, err := k.action("verify", "show", "export")
	if err != nil {
		return err
	}
	if k.arg(1) != "" {
		if action != "verify" {
			return usageFailure("too many arguments", "usage: postern ledger %s", action)
		}
		return k.verifyExport(k.arg(1))
	}
	return k.with(func(a *agent.Agent) error {
		switch {
		case action == "verify":
			tree, err := a.VerifyLedger(k.ctx)
			if err != nil {
				return err
			}
			return k.sayTree(tree)
		case action == "show" && k.json:
			return k.answerEntries(a)
		case action == "show":
			return a.ShowLedger(k.ctx, k.out)
		}
		return a.ExportLedger(k.ctx, k.out)
	})
}

// answerEntries writes the ledger's entries as one JSON list.
func (k *call) answerEntries(a *agent.Agent) error {
	list := []json.RawMessage{}
	for entry, err := range a.LedgerEntries(k.ctx) {
		if err != nil {
			return err
		}
		list = append(list, bytes.Clone(entry.Text))
	}
	return k.answer(list)
}

func (k *call) verifyExport(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &agent.Failure{Class: agent.Usage, What: "export", Err: err, Remedy: "name a file that `postern ledger export` wrote"}
	}
	defer f.Close() // it was only read
	tree, err := ledger.VerifyExport(f)
	if err != nil {
		return &agent.Failure{Class: agent.Altered, What: "the export " + path + " was altered", Err: err, Remedy: "export it again and compare"}
	}
	return k.sayTree(tree)
}

func (k *call) sayTree(tree ledger.Tree) error {
	return k.say(tree, "the ledger is whole: %d entries, root %s\n", tree.Size, tree.Root)
}

func version(k *call) error {
	if err := k.parse(0, 0); err != nil {
		return err
	}
	v := map[string]string{"version": "development", "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v["version"] = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v["commit"] = s.Value
			}
		}
	}
	return k.say(v, "postern %s (%s, %s)\n", v["version"], v["go"], v["platform"])
}
