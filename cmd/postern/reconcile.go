package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/agent"
)

// reconcile takes answers back and compares; its words look at what is
// different without asking the recipient.
func reconcile(k *call) error {
	to := k.flags.String("to", "", "assign: the `NAME` of who looks into it")
	by := k.flags.String("by", accountName(), "assign, settle: the `NAME` of who does so; stands in the ledger")
	because := k.flags.String("because", "", "settle: `WHY`, in a few words; stands in the ledger")
	if err := k.parse(0, 2); err != nil {
		return err
	}
	switch k.arg(0) {
	case "assign", "settle":
		return k.onDifference(*to, *by, *because)
	case "show":
		return k.with(func(a *agent.Agent) error { return k.compared(a, nil, k.arg(1)) })
	}
	if k.arg(1) != "" {
		return usageFailure("too many arguments", "usage: postern reconcile %s", k.command.args)
	}
	return k.with(func(a *agent.Agent) error {
		names := k.args
		if len(names) == 0 {
			for _, e := range a.Config.Exchanges {
				names = append(names, e.Key)
			}
		}
		list := []agent.Reconciled{}
		var failures []error
		for _, name := range names {
			done, err := a.Reconcile(k.ctx, name)
			list = append(list, done...)
			failures = append(failures, err)
		}
		err := k.compared(a, list, k.arg(0))
		if failed := errors.Join(failures...); failed != nil {
			return failed
		}
		return err
	})
}

func (k *call) onDifference(to, by, because string) error {
	id, err := strconv.ParseInt(k.arg(1), 10, 64)
	if err != nil {
		return usageFailure("the difference is missing, or no number", "`postern reconcile show` lists them")
	}
	did := "settled"
	if k.arg(0) == "assign" {
		did = "assigned to " + to
	}
	if k.arg(0) == "assign" && strings.TrimSpace(to) == "" || k.arg(0) == "settle" && strings.TrimSpace(because) == "" {
		return usageFailure("to whom, or why, is missing", "assign ID --to NAME; settle ID --because WHY; no patient's name")
	}
	return k.with(func(a *agent.Agent) error {
		if k.arg(0) == "assign" {
			err = a.Assign(k.ctx, id, to, by)
		} else {
			err = a.Settle(k.ctx, id, by, because)
		}
		if err != nil {
			return err
		}
		return k.say(map[string]any{"difference": id, "did": did, "by": by}, "difference %d is %s\n", id, did)
	})
}

// compared shows what came now, if anything was fetched, then all drops and
// what is different; it ends with 3 while anything is.
func (k *call) compared(a *agent.Agent, came []agent.Reconciled, exchange string) error {
	drops, err := a.ThreeWay(k.ctx, exchange)
	if err != nil {
		return err
	}
	differences, err := a.Differences(k.ctx, exchange, 0)
	if err != nil {
		return err
	}
	if k.json {
		err = k.answer(map[string]any{"answers": orEmpty(came), "drops": orEmpty(drops), "differences": orEmpty(differences)})
	} else {
		err = k.showCompared(came, drops, differences)
	}
	needed := slices.ContainsFunc(came, func(r agent.Reconciled) bool { return agent.NeedsAttention(r.Outcome) })
	return ends(agent.Undelivered, needed || len(differences) > 0, err)
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (k *call) showCompared(came []agent.Reconciled, drops []agent.DropPage, differences []agent.Difference) error {
	if came != nil && len(came) == 0 {
		fmt.Fprint(k.out, "no new receipts\n\n")
	}
	if len(came) > 0 {
		if err := tabulate(k, "exchange\tdrop\toutcome\trows\tfault\tfile", came, func(r agent.Reconciled) []any {
			return []any{r.Exchange, r.Number, r.Outcome, told(r.Rows), r.Fault, r.File}
		}); err != nil {
			return err
		}
		fmt.Fprintln(k.out)
	}
	if err := tabulate(k, "exchange\tdrop\tstate\tread\treleased\tpeople\tin the drop\tpeople\ttaken\trefused", drops, func(d agent.DropPage) []any {
		return []any{d.Exchange, d.Number, d.State, d.Source, d.Released, d.People, d.Book.Rows, d.Book.People, told(d.Recipients.Rows), told(d.Recipients.Refused)}
	}); err != nil {
		return err
	}
	if len(differences) == 0 {
		fmt.Fprintln(k.out, "\nno open differences")
		return nil
	}
	fmt.Fprintln(k.out)
	return tabulate(k, "difference\texchange\tdrop\topen for\towner\twhat\t\twhere", differences, func(d agent.Difference) []any {
		return []any{d.ID, d.Exchange, told(d.Number), took(d.Age), cmp.Or(d.Owner, "nobody"), d.What, "expected " + d.Expected + ", received " + d.Received, d.Where}
	})
}

// told is a number that may be untold.
func told(n int64) string {
	if n < 0 {
		return "not told"
	}
	return fmt.Sprint(n)
}

func dropsAnswer(k *call) error {
	var rejected files
	accepted := k.flags.Bool("accepted", false, "the recipient has taken all of it")
	k.flags.Var(&rejected, "rejected", "a row `KEY`, or a file of them, one a line; `all` is the whole drop; may stand several times")
	by := k.flags.String("by", "", "the `NAME` of who takes the answer; stands in the ledger")
	report := k.flags.String("report", "", "the `FILE` that shows it: a letter, a mail, the recipient's report; it is kept")
	number, err := k.parseDrop()
	if err != nil {
		return err
	}
	h := agent.HandAnswer{All: slices.Equal(rejected, files{"all"}), By: *by, Report: *report}
	if *accepted == (len(rejected) > 0) || strings.TrimSpace(*by) == "" || *report == "" {
		return usageFailure("what was answered, who says so, or the report is missing", "postern drops answer EXCHANGE N --accepted --by NAME --report FILE, or --rejected in place of --accepted")
	}
	if !h.All {
		if h.Rejected, err = rowKeys(rejected); err != nil {
			return err
		}
	}
	return k.with(func(a *agent.Agent) error {
		r, err := a.Answer(k.ctx, k.arg(0), number, h)
		if err != nil {
			return err
		}
		return k.compared(a, []agent.Reconciled{*r}, k.arg(0))
	})
}

// rowKeys are those that arguments name, themselves or in files.
func rowKeys(args []string) (keys []string, err error) {
	for _, arg := range args {
		f, err := os.Open(arg)
		if errors.Is(err, os.ErrNotExist) {
			keys = append(keys, arg)
			continue
		}
		if err != nil {
			return nil, &agent.Failure{Class: agent.Usage, What: "row keys", Err: err, Remedy: "name a file with one a line"}
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if key := strings.TrimSpace(lines.Text()); key != "" {
				keys = append(keys, key)
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, &agent.Failure{Class: agent.Usage, What: "row keys", Err: err, Remedy: "name a file with one a line"}
		}
	}
	return keys, nil
}

func dropsResend(k *call) error {
	var rows files
	k.flags.Var(&rows, "rows", "a row `KEY`, or a file of them, one a line; may stand several times")
	rejected := k.flags.Bool("rejected", false, "all rows that the recipient has rejected")
	by, because := k.answerable()
	number, err := k.parseDrop()
	if err == nil {
		err = k.answered(by, because)
	}
	if err == nil && *rejected == (len(rows) > 0) {
		err = usageFailure("which rows is missing", "add --rejected, or --rows KEY")
	}
	var keys []string
	if err == nil {
		keys, err = rowKeys(rows)
	}
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		n, err := a.Resend(k.ctx, k.arg(0), number, keys, *by, *because)
		if err != nil {
			return err
		}
		return k.say(map[string]any{"exchange": k.arg(0), "number": number, "rows": n},
			"%d rows of drop %d are decided anew by the next run, and sent if they still may be: postern run %s, with --as-of a day of their period if that is over\n", n, number, k.arg(0))
	})
}

func dropsVoid(k *call) error {
	by, because := k.answerable()
	number, err := k.parseDrop()
	if err == nil {
		err = k.answered(by, because)
	}
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		drop, err := a.Void(k.ctx, k.arg(0), number, *by, *because)
		if err != nil {
			return err
		}
		return k.say(drop, "drop %d of %s is void: %s; the next run makes it anew, and its manifest says so: postern run %[2]s, with --as-of %[4]s if its period is over\n", number, k.arg(0), drop.Note, drop.AsOf)
	})
}
