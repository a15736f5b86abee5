package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/agent"
)

func status(k *call) error {
	return k.on(0, 0, func(a *agent.Agent) error {
		list, err := a.Status(k.ctx)
		return ends(agent.Undelivered, slices.ContainsFunc(list, func(s agent.ExchangeStatus) bool { return s.Attention > 0 }), show(k, k.showStatus)(list, err))
	})
}

func (k *call) showStatus(list []agent.ExchangeStatus) error {
	attention, stopped := 0, 0
	err := tabulate(k, "exchange\trecipient\tdrops\tnewest\tneed a person\tnext\tapproval", list, func(s agent.ExchangeStatus) []any {
		newest, next := "none yet", cmp.Or(s.Next, "by hand")
		if s.Newest > 0 {
			newest = fmt.Sprintf("%d %s", s.Newest, s.State)
		}
		if s.HeldBy != "" {
			next = "on hold (" + s.HeldBy + ")"
		}
		attention += s.Attention - s.Stopped
		stopped += s.Stopped
		return []any{s.Exchange, s.Recipient, s.Drops, newest, s.Attention, next, s.Approval}
	})
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.CutOff != "" {
			fmt.Fprintf(k.out, "\n%s: the next cut-off is %s: %s\n", s.Exchange, s.CutOff, s.For)
		}
		if s.Missed != "" {
			fmt.Fprintf(k.out, "\n%s: missed the cut-off of %s\n", s.Exchange, s.Missed)
		}
		if s.Waits != "" {
			fmt.Fprintf(k.out, "\n%s: a drop waits until %s, to be apart from the one before\n", s.Exchange, s.Waits)
		}
	}
	if stopped > 0 {
		fmt.Fprintln(k.out, "\nthe gate stopped a drop; `postern quarantine list` shows what people are to look at")
	}
	if attention > 0 {
		fmt.Fprintln(k.out, "\n`postern drops list` shows the drops that need a person, `postern reconcile show` what is different")
	}
	return nil
}

// dropsCommands are the words after `postern drops`.
var dropsCommands = []command{
	{"drops list", "[EXCHANGE]", "the drops, and where each stands", dropsList, false},
	{"drops show", "EXCHANGE N", "all about one of them: states, evidence, files, answers, differences", dropsShow, false},
	{"drops book", "EXCHANGE N --archive-key FILE", "what was done for a drop, field by field, and by what: the clinic's own account", dropsBook, false},
	{"drops deliver", "EXCHANGE", "send those that wait", dropsDeliver, false},
	{"drops answer", "EXCHANGE N --accepted | --rejected FILE|KEY|all… --by NAME --report FILE", "take the recipient's answer by hand, with the report that shows it", dropsAnswer, false},
	{"drops resend", "EXCHANGE N --rejected | --rows FILE|KEY… --by NAME --because WHY", "have rows that the recipient does not hold decided and sent anew", dropsResend, false},
	{"drops recall", "EXCHANGE N [--rows FILE|KEY…] --by NAME --because WHY", "ask the recipient to delete a drop that it has, or rows of it; --confirmed: it has said by hand that all is deleted", dropsRecall, false},
	{"drops void", "EXCHANGE N --by NAME --because WHY", "give up a drop that the recipient does not hold", dropsVoid, false},
}

func drops(k *call) error { return k.among(dropsCommands) }

func dropsList(k *call) error {
	return k.on(0, 1, func(a *agent.Agent) error { return k.listDrops(a, k.arg(0)) })
}

func dropsShow(k *call) error {
	to := k.page()
	number, err := k.parseDrop()
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		drop, err := a.Drop(k.ctx, k.arg(0), number)
		if err != nil {
			return err
		}
		return ends(agent.Undelivered, drop.Attention(), to.write(k, drop, drop.Report()))
	})
}

// dropsBook shows the clinic's book, which the archive's private key opens.
func dropsBook(k *call) error {
	archive := k.flags.String("archive-key", "", "`FILE` of the archive's private key")
	to := k.page()
	number, err := k.parseDrop()
	if err != nil {
		return err
	}
	if *archive == "" {
		return usageFailure("the book is encrypted to the archive's key", "name the file of its private half, which lies in a safe: --archive-key FILE")
	}
	return k.with(func(a *agent.Agent) error {
		book, err := a.ClinicBook(k.ctx, k.arg(0), number, *archive)
		if err != nil {
			return err
		}
		return to.write(k, book, book.Report())
	})
}

func dropsDeliver(k *call) error {
	return k.on(1, 1, func(a *agent.Agent) error { return k.deliverWaiting(a, k.arg(0)) })
}

// parseDrop reads the flags, an exchange and the number of a drop.
func (k *call) parseDrop() (int64, error) {
	if err := k.parse(2, 2); err != nil {
		return 0, err
	}
	number, err := strconv.ParseInt(k.arg(1), 10, 64)
	if err != nil || number < 1 {
		return 0, usageFailure(fmt.Sprintf("the number of the drop is no number: %s", k.arg(1)), "postern %s EXCHANGE N", k.command.name)
	}
	return number, nil
}

func (k *call) listDrops(a *agent.Agent, exchange string) error {
	list, err := a.Drops(k.ctx, exchange)
	return ends(agent.Undelivered, slices.ContainsFunc(list, func(d agent.DropStatus) bool { return d.Attention() }), show(k, k.showDrops)(orEmpty(list), err))
}

func (k *call) showDrops(list []agent.DropStatus) error {
	if len(list) == 0 {
		fmt.Fprintln(k.out, "no drop yet; `postern run EXCHANGE` makes one")
		return nil
	}
	return tabulate(k, "exchange\tdrop\tstate\trecipient\treleased\tpeople\tas of\tcommitted\tnote", list, func(d agent.DropStatus) []any {
		note := d.Note
		if d.Problem != "" { // it says what to do
			note = d.Problem
		} else if next := d.Next(); next != "" {
			note += "; " + next
		}
		if d.Late {
			note += "; after the cut-off of " + d.CutOff
		}
		if d.Open > 0 {
			note += fmt.Sprintf("; open differences: %d", d.Open)
		}
		for i := range d.Recalls {
			note += "; " + d.Recalls[i].Words()
		}
		if d.Explained > 0 {
			note += fmt.Sprintf("; the manifest of drop %d lists it as void", d.Explained)
		}
		return []any{d.Exchange, d.Number, d.State, d.Recipient, d.Released, d.People, d.AsOf, d.Committed.Format("2006-01-02 15:04Z"), strings.TrimPrefix(note, "; ")}
	})
}

// deliverWaiting sends the drops of an exchange that wait, and makes none.
func (k *call) deliverWaiting(a *agent.Agent, exchange string) error {
	done, err := a.Deliver(k.ctx, exchange)
	if err != nil && len(done) == 0 && !k.json { // whether one waits was not asked
		return err
	}
	shown := show(k, func(done []agent.Delivered) error {
		if len(done) == 0 {
			fmt.Fprintf(k.out, "no drop of %s waits\n", exchange)
			return nil
		}
		return tabulate(k, "exchange\tdrop\tstate\twhy", done, func(d agent.Delivered) []any { return []any{d.Exchange, d.Number, d.State, d.Reason} })
	})(orEmpty(done), nil)
	return ends(agent.Undelivered, slices.ContainsFunc(done, func(d agent.Delivered) bool { return agent.NeedsAttention(d.State) }), errors.Join(err, shown))
}

func schedule(k *call) error {
	next := k.flags.Int("next", 5, "how many `TIMES` to show of each exchange")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	config, err := agent.LoadConfig(k.config)
	if err != nil {
		return err
	}
	return show(k, func(list []agent.Occurrence) error {
		return tabulate(k, "exchange\tlocal time\ttime zone", list, func(o agent.Occurrence) []any { return []any{o.Exchange, o.Civil, config.Organization.TimeZone} })
	})(config.Upcoming(now(), *next))
}
