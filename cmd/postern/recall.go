package main

import (
	"fmt"

	"github.com/posternhealth/postern/agent"
)

// dropsRecall asks for what was sent to be deleted. It ends with 3 until the
// recipient has the recall.
func dropsRecall(k *call) error {
	var rows files
	k.flags.Var(&rows, "rows", "a row `KEY`, or a file of them, one a line; may stand several times; without it, the whole drop")
	confirmed := k.flags.Bool("confirmed", false, "the recipient has said, other than by a signed answer, that all is deleted")
	by, because := k.answerable()
	number, err := k.parseDrop()
	if err == nil {
		err = k.answered(by, because)
	}
	if err == nil && *confirmed && len(rows) > 0 {
		err = usageFailure("what is confirmed is all that was recalled of the drop", "leave out --rows")
	}
	keys, failed := rowKeys(rows)
	if err == nil {
		err = failed
	}
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		if *confirmed {
			return a.ConfirmRecall(k.ctx, k.arg(0), number, *by, *because)
		}
		r, err := a.Recall(k.ctx, k.arg(0), number, keys, *by, *because)
		if r == nil || r.Problem == "" && err != nil {
			return err
		}
		if err = nil; k.json {
			err = k.answer(r)
		} else {
			fmt.Fprintf(k.out, "drop %d of %s: %s\n", number, k.arg(0), r.Words())
		}
		if err == nil && r.Problem != "" {
			err = silent{agent.Undelivered}
		}
		return err
	})
}
