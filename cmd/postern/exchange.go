package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
)

// open opens the agent that the configuration names, with a logger on stderr.
func (k *call) open() (*agent.Agent, error) {
	log := hclog.New(&hclog.LoggerOptions{Name: "postern", Output: k.err, Level: hclog.Warn})
	return agent.Open(k.ctx, k.config, log)
}

// closing closes the agent and joins the error of doing so.
func closing(a *agent.Agent, err *error) { *err = errors.Join(*err, a.Close()) }

func initialize(k *call) error {
	if err := k.parse(1, 1); err != nil {
		return err
	}
	keys, err := agent.Init(k.arg(0))
	if err != nil {
		return err
	}
	if k.json {
		return k.answer(keys)
	}
	fmt.Fprintf(k.out, "made %s/postern.yaml and keys below %s/keys\n\n", k.arg(0), k.arg(0))
	fmt.Fprintf(k.out, "move %s off this machine, into a safe: it opens the archive of everything sent\n\n", keys.ArchiveIdentity)
	fmt.Fprintf(k.out, "give recipients this line for their allowed signers:\n  CLINIC-ID namespaces=\"postern-drop\" %s\n", keys.DropSigning)
	fmt.Fprintf(k.out, "then fill in %s/postern.yaml; `postern check` says what is missing\n", k.arg(0))
	return nil
}

func check(k *call) (err error) {
	proof := k.flags.Bool("proof", false, "print what is done to each identifier")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	a, err := k.open()
	if err != nil {
		return err
	}
	defer closing(a, &err)
	proofs, err := a.Check()
	if err != nil {
		return err
	}
	if k.json {
		return k.answer(proofs)
	}
	for _, e := range a.Config.Exchanges {
		fmt.Fprintf(k.out, "%s: ready\n", e.Key)
		if *proof {
			fmt.Fprintln(k.out, proofs[e.Key])
		}
	}
	return nil
}

// clocks declares the flags of the recorded clocks.
type clocks struct{ asOf, decidedAt *string }

func (k *call) clocks(settable bool) clocks {
	c := clocks{asOf: k.flags.String("as-of", "", "the `DATE` that fixes periods and ages (default today)")}
	if settable {
		c.decidedAt = k.flags.String("decided-at", "", "the `TIME` at which consent is judged (default now)")
	}
	return c
}

func (c clocks) options() (agent.RunOptions, error) {
	o := agent.RunOptions{AsOf: extract.NoDay}
	if *c.asOf != "" {
		span, ok := extract.ParseSpan([]byte(*c.asOf))
		if !ok || span.From != span.To {
			return o, &agent.Failure{Class: agent.Usage, What: "--as-of is no date", Remedy: "write YYYY-MM-DD"}
		}
		o.AsOf = span.From
	}
	if c.decidedAt != nil && *c.decidedAt != "" {
		at, err := time.Parse(time.RFC3339, *c.decidedAt)
		if err != nil {
			return o, &agent.Failure{Class: agent.Usage, What: "--decided-at is no time", Remedy: "write 2026-07-05T02:00:00-05:00"}
		}
		o.DecidedAt = at
	}
	return o, nil
}

func plan(k *call) error {
	c := k.clocks(true)
	return k.execute(c, true)
}

func runOnce(k *call) error {
	c := k.clocks(false)
	return k.execute(c, false)
}

func (k *call) execute(c clocks, dry bool) (err error) {
	workers := k.flags.Int("workers", 0, "goroutines that decide and transform (default 2)")
	if err := k.parse(1, 1); err != nil {
		return err
	}
	options, err := c.options()
	if err != nil {
		return err
	}
	a, err := k.open()
	if err != nil {
		return err
	}
	defer closing(a, &err)
	progress := k.progress()
	options.DryRun, options.Workers, options.Progress = dry, *workers, progress.update
	outcome, err := a.Run(k.ctx, k.arg(0), options)
	progress.end()
	if err != nil {
		return err
	}
	var undelivered error
	if !dry {
		outcome.State, undelivered = deliver(k, a, k.arg(0), outcome.Number)
	}
	if err := k.showOutcome(outcome); err != nil {
		return err
	}
	return undelivered
}

// deliver sends what waits. A drop that could not be delivered stays in the
// queue, and `serve` goes on trying.
func deliver(k *call, a *agent.Agent, exchange string, number int64) (string, error) {
	done, err := a.Deliver(k.ctx, exchange)
	state := "sealed"
	for _, d := range done {
		if d.Number == number {
			state = d.State
		}
	}
	if err != nil {
		return state, fmt.Errorf("the drop is committed and waits: %w", err)
	}
	if agent.NeedsAttention(state) {
		return state, silent{agent.Undelivered}
	}
	return state, nil
}

func serve(k *call) (err error) {
	level := k.flags.String("log", "info", "log `LEVEL`: debug, info, warn, error")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "postern", Output: k.err, Level: hclog.LevelFromString(*level), JSONFormat: k.json})
	a, err := agent.Open(k.ctx, k.config, log)
	if err != nil {
		return err
	}
	defer closing(a, &err)
	return a.Serve(k.ctx)
}

func hold(k *call) (err error) {
	why := k.flags.String("by", "", "who holds it (default the account's name)")
	if err := k.parse(1, 1); err != nil {
		return err
	}
	a, err := k.open()
	if err != nil {
		return err
	}
	defer closing(a, &err)
	if *why == "" {
		*why = accountName()
	}
	if err := a.Hold(k.ctx, k.arg(0), *why); err != nil {
		return err
	}
	fmt.Fprintf(k.out, "%s is on hold\n", k.arg(0))
	return nil
}

func accountName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("account %d", os.Getuid())
}

func release(k *call) (err error) {
	if err := k.parse(1, 1); err != nil {
		return err
	}
	a, err := k.open()
	if err != nil {
		return err
	}
	defer closing(a, &err)
	if err := a.Unhold(k.ctx, k.arg(0)); err != nil {
		return err
	}
	fmt.Fprintf(k.out, "%s runs again\n", k.arg(0))
	return nil
}
