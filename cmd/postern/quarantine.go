package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/build"
)

var quarantineCommands = []command{
	{"quarantine list", "[EXCHANGE]", "drops that the gate stopped", quarantineList, false},
	{"quarantine show", "ID", "what was found where, how to look at the rows, and what to do", quarantineShow, false},
	{"quarantine except", "ID --position P --rule R --because WHY [--out FILE] | ID --signature FILE.sig…", "a false alarm: what two approvers sign, and their signatures", quarantineExcept, false},
	{"quarantine discard", "ID", "remove the rows that were kept", quarantineDiscard, false},
}

func quarantine(k *call) error { return k.among(quarantineCommands) }

func quarantineList(k *call) error {
	return k.on(0, 1, func(a *agent.Agent) error {
		return show(k, k.listQuarantines)(a.Quarantines(k.ctx, k.arg(0)))
	})
}

func (k *call) listQuarantines(list []*agent.Quarantine) error {
	if len(list) == 0 {
		fmt.Fprintln(k.out, "the gate has stopped nothing that is still kept")
		return nil
	}
	return tabulate(k, "quarantine\texchange\tdrop\tas of\tstopped\trows\tstate", list, func(q *agent.Quarantine) []any {
		return []any{q.ID, q.Exchange, q.Number, q.AsOf, q.Stopped.Format("2006-01-02 15:04Z"), q.Rows, q.State}
	})
}

func quarantineShow(k *call) error {
	return k.on(1, 1, func(a *agent.Agent) error {
		return show(k, k.showQuarantine)(a.Quarantine(k.ctx, k.arg(0)))
	})
}

func (k *call) showQuarantine(q *agent.Quarantine) error {
	fmt.Fprintf(k.out, "%s: drop %d of %s, as of %s, was stopped by the gate on %s; nothing of it was sent\nstate: %s\n\n",
		q.ID, q.Number, q.Exchange, q.AsOf, q.Stopped.Format("2006-01-02 15:04Z"), q.State)
	for _, h := range q.Hits {
		fmt.Fprintf(k.out, "%s\n", h.Hits)
		if !h.MayBeFalse {
			fmt.Fprintln(k.out, "  cannot be excepted: it is a defect of policy, extract or engine")
		}
		if h.Rows > build.KeptForView {
			fmt.Fprintf(k.out, "  the first %d are kept to be looked at; an exception counts for all\n", build.KeptForView)
		}
		for _, e := range h.Exceptions {
			fmt.Fprintf(k.out, "  false alarm, because %s\n  signed: %s (%d of %d)\n", e.Because, orNobody(e.Signed), len(e.Signed), e.Needed)
		}
	}
	fmt.Fprintf(k.out, "\nthe rows, where they can be read with the review key:\n\n  age -d -i review-identity.txt %s\n  SHA-256 %s\n\n", q.File, q.SHA256)
	switch q.State {
	case agent.Stopped:
		fmt.Fprint(k.out, "If a hit is a person's data: mend the extract or the policy, and run again.\nIf it is a false alarm, two approvers sign that, for this run only:\n\n")
		for _, h := range q.Hits {
			if h.MayBeFalse {
				fmt.Fprintf(k.out, "  postern quarantine except %s --dataset '%s' \\\n    --position '%s' --rule '%s' --because WHY --out FILE\n", q.ID, h.Dataset, h.Position, h.Rule)
			}
		}
	case agent.RunAgain:
		fmt.Fprintf(k.out, "All hits are excepted; the same run passes now:\n\n  postern run %s --as-of %s\n", q.Exchange, q.AsOf)
	default:
		fmt.Fprintf(k.out, "Nothing waits for it any more; when it has been looked at:\n\n  postern quarantine discard %s\n", q.ID)
	}
	return nil
}

func quarantineExcept(k *call) error {
	var stop build.Stop
	var signatures files
	k.flags.StringVar(&stop.Position, "position", "", "the `POSITION` as `quarantine show` has it")
	k.flags.StringVar(&stop.Rule, "rule", "", "the `RULE` as `quarantine show` has it")
	k.flags.StringVar(&stop.Dataset, "dataset", "", "the `NAME`, where several datasets have the position")
	because := k.flags.String("because", "", "`WHY` nobody is told of by it; name nobody")
	out := k.flags.String("out", "", "write the statement to `FILE`")
	k.flags.Var(&signatures, "signature", "a signed statement, `FILE`.sig; may stand several times")
	return k.on(1, 1, func(a *agent.Agent) error {
		texts, err := signatures.read()
		if err != nil {
			return err
		}
		if len(texts) > 0 {
			return show(k, k.showQuarantine)(a.Except(k.ctx, k.arg(0), texts))
		}
		e, err := a.ProposeException(k.ctx, k.arg(0), stop, *because)
		if err == nil && *out != "" {
			err = writeNew(*out, e.Statement+"\n")
		}
		return show(k, func(e *agent.Exception) error { return k.showException(e, cmp.Or(*out, "FILE")) })(e, err)
	})
}

func (k *call) showException(e *agent.Exception, file string) error {
	fmt.Fprintf(k.out, "needed: %d of %s\nsigned: %s\n\nEach signs this line, alone in a file, on a computer of their own, after having looked at the rows:\n\n%s\n%s",
		e.Needed, strings.Join(e.May, "; "), orNobody(e.Signed), e.Statement, signing(file, "postern quarantine except "+k.arg(0)))
	return nil
}

func quarantineDiscard(k *call) error {
	by := k.flags.String("by", accountName(), "who discards it")
	return k.on(1, 1, func(a *agent.Agent) error {
		if err := a.Discard(k.ctx, k.arg(0), *by); err != nil {
			return err
		}
		return k.say(map[string]string{"discarded": k.arg(0), "by": *by}, "%s is discarded; what was found where stays in the ledger\n", k.arg(0))
	})
}
