package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/posternhealth/postern/agent"
)

func status(k *call) error { return k.listDrops("", 0) }

func drops(k *call) error {
	if err := k.parse(1, 3); err != nil {
		return err
	}
	action, exchange := k.arg(0), k.arg(1)
	number := 0
	switch action {
	case "list":
	case "show":
		var err error
		if number, err = strconv.Atoi(k.arg(2)); err != nil || number < 1 {
			return &agent.Failure{Class: agent.Usage, What: "drops show needs an exchange and a number", Remedy: "postern drops show EXCHANGE N"}
		}
	default:
		return &agent.Failure{Class: agent.Usage, What: fmt.Sprintf("drops %s is not part of this version", action), Remedy: "use drops list or drops show"}
	}
	k.args = nil
	return k.listDrops(exchange, number)
}

func (k *call) listDrops(exchange string, number int) (err error) {
	if !k.flags.Parsed() {
		if err := k.parse(0, 0); err != nil {
			return err
		}
	}
	a, err := k.open()
	if err != nil {
		return err
	}
	defer closing(a, &err)
	list, err := a.Drops(k.ctx, exchange)
	if err != nil {
		return err
	}
	var shown []agent.DropStatus
	attention := false
	for _, d := range list {
		if number == 0 || d.Number == int64(number) {
			shown = append(shown, d)
			attention = attention || agent.NeedsAttention(d.State) && d.Note == ""
		}
	}
	if number > 0 && len(shown) == 0 {
		return &agent.Failure{Class: agent.AnsweredNo, What: fmt.Sprintf("exchange %s has no drop %d", exchange, number), Remedy: "`postern drops list " + exchange + "` shows them"}
	}
	if err := k.showDrops(shown); err != nil {
		return err
	}
	if attention {
		return silent{agent.Undelivered}
	}
	return nil
}

func (k *call) showDrops(list []agent.DropStatus) error {
	if k.json {
		return k.answer(list)
	}
	var rows [][]string
	for _, d := range list {
		rows = append(rows, []string{d.Exchange, fmt.Sprint(d.Number), d.State, d.Recipient, fmt.Sprint(d.Released), fmt.Sprint(d.People),
			d.AsOf, d.Committed.Format("2006-01-02 15:04Z"), d.Note})
	}
	return k.table([]string{"exchange", "drop", "state", "recipient", "rows", "people", "as of", "committed", "note"}, rows)
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
	list, err := config.Upcoming(now(), *next)
	if err != nil {
		return err
	}
	if k.json {
		return k.answer(list)
	}
	var rows [][]string
	for _, o := range list {
		rows = append(rows, []string{o.Exchange, o.Civil, config.Organization.TimeZone})
	}
	return k.table([]string{"exchange", "local time", "time zone"}, rows)
}

func reconcile(k *call) (err error) {
	if err := k.parse(0, 1); err != nil {
		return err
	}
	a, err := k.open()
	if err != nil {
		return err
	}
	defer closing(a, &err)
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
		if err != nil {
			failures = append(failures, err)
		}
	}
	if err := k.showReconciled(list); err != nil {
		return err
	}
	if len(failures) > 0 {
		return errors.Join(failures...)
	}
	for _, r := range list {
		if agent.NeedsAttention(r.Outcome) {
			return silent{agent.Undelivered}
		}
	}
	return nil
}

func (k *call) showReconciled(list []agent.Reconciled) error {
	if k.json {
		return k.answer(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(k.out, "no new receipts")
		return nil
	}
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{r.Exchange, fmt.Sprint(r.Number), r.Outcome, fmt.Sprint(r.Rows), r.Fault, r.File})
		for _, d := range r.Differences {
			rows = append(rows, []string{"", "", "differs", d.Where, d.What, "expected " + d.Expected + ", received " + d.Received})
		}
	}
	return k.table([]string{"exchange", "drop", "outcome", "rows", "fault", "file"}, rows)
}
