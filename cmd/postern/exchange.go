package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
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

// with opens the agent for what do does, and closes it.
func (k *call) with(do func(*agent.Agent) error) error {
	a, err := k.open()
	if err != nil {
		return err
	}
	return errors.Join(do(a), a.Close())
}

// dated asks what takes the length of a run, by the clocks c, and shows the
// answer when the line of progress has gone.
func dated[T any](k *call, c clocks, args int, ask func(*agent.Agent, agent.RunOptions) (T, error), show func(*agent.Agent, T) error) error {
	if err := k.parse(args, args); err != nil {
		return err
	}
	options, err := c.options()
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		progress := k.progress()
		options.Progress = progress.update
		answer, err := ask(a, options)
		progress.end()
		if err != nil {
			return err
		}
		return show(a, answer)
	})
}

func initialize(k *call) error {
	var approvers files
	k.flags.Var(&approvers, "approver", "the `FINGERPRINT` that an approver has read out, SHA256:…; may stand several times")
	if err := k.parse(1, 1); err != nil {
		return err
	}
	config := filepath.Join(k.arg(0), "postern.yaml")
	if _, err := os.Stat(config); err == nil && len(approvers) > 0 {
		return k.confirm(config, approvers)
	}
	keys, err := agent.Init(k.arg(0))
	if err == nil && len(approvers) > 0 {
		err = agent.ConfirmApprovers(k.ctx, config, approvers)
	}
	if err != nil {
		return err
	}
	return k.say(keys, `made in %[1]s
  postern.yaml           the configuration: some places are to be filled in
  policies/              policies, for the compliance officer: likewise; scores.yaml is the one that
                         postern.yaml names, the others are the library
  inputs/README.txt      which files are expected beside it, and their columns
  extract/               where the clinic's extract is laid
  keys/                  this clinic's keys; keep a backup of master.key in a safe
  archive-key/           move it off this machine: archive-identity.txt opens the archive of all that is sent
                         and belongs into a safe; review-identity.txt opens what the gate has stopped
                         and belongs to the officer who looks at it

next
  1. fill in what this lists:       postern check --config %[2]s
  2. lay inputs and extract there:  postern plan scores --config %[2]s   counts, sends nothing
  3. exchange keys with the recipient: keys/sftp-login.pub, and what this prints
                                    postern keys show --config %[2]s
  4. two approvers read out their keys' fingerprints; record what you hear
                                    postern init %[1]s --approver SHA256:… --approver SHA256:…
  5. they sign what this prints:    postern policy approve scores --config %[2]s
  6. the first drop:                postern run scores --config %[2]s
     from then on, on schedule:     postern serve --config %[2]s
`, k.arg(0), config)
}

// confirm records approvers of a clinic that was made before.
func (k *call) confirm(config string, fingerprints []string) error {
	if err := agent.ConfirmApprovers(k.ctx, config, fingerprints); err != nil {
		return err
	}
	const words = " is confirmed as an approver's key\n"
	return k.say(map[string]any{"confirmed": fingerprints}, "%s"+words, strings.Join(fingerprints, words))
}

func check(k *call) error {
	if err := k.parse(0, 0); err != nil {
		return err
	}
	checked, err := agent.CheckFile(k.config)
	if err != nil {
		return err
	}
	for _, w := range checked.Warnings {
		fmt.Fprintf(k.err, "warning: %s\n", w)
	}
	if k.json {
		return k.answer(checked.Proofs)
	}
	for _, e := range checked.Config.Exchanges {
		fmt.Fprintf(k.out, "%s: configuration, keys and policy are in order\n", e.Key)
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

func plan(k *call) error { return k.execute(true) }

func runOnce(k *call) error { return k.execute(false) }

func (k *call) execute(dry bool) error {
	workers := k.flags.Int("workers", 0, "`N` goroutines decide and transform (default 2)")
	var book struct {
		sheet
		wanted bool
		told   *agent.ClinicBook
	}
	test := new(bool)
	var sent *agent.TestSent
	if dry {
		k.flags.BoolVar(&book.wanted, "book", false, "tell what would be done, field by field, and by what")
		book.sheet = k.page()
	} else {
		test = k.flags.Bool("test", false, "no run: lay a drop of the same shape, about nobody, into the recipient's test folder")
	}
	return dated(k, k.clocks(dry), 1, func(a *agent.Agent, options agent.RunOptions) (*agent.Outcome, error) {
		if *test {
			var err error
			sent, err = a.SendTest(k.ctx, k.arg(0))
			return nil, err
		}
		options.DryRun, options.Workers = dry, *workers
		options.Book = func(b *agent.ClinicBook) { book.told = b }
		return a.Run(k.ctx, k.arg(0), options)
	}, func(a *agent.Agent, outcome *agent.Outcome) error {
		if sent != nil {
			return k.say(sent, "test drop %s lies in %s for %s: %d files, %s\nall values in it are made up: it is about nobody\n", sent.Drop, sent.Folder, sent.Recipient, len(sent.Files), sent.State)
		}
		if dry && (book.wanted || *book.html || *book.out != "") {
			return book.write(k, book.told, book.told.Report())
		}
		var undelivered error
		if !dry {
			start := time.Now()
			outcome.State, undelivered = deliver(k, a, k.arg(0), outcome.Number)
			outcome.Stages = append(outcome.Stages, agent.StageTime{Stage: "deliver", Seconds: time.Since(start).Seconds()})
		}
		return cmp.Or(k.showOutcome(outcome), undelivered)
	})
}

// deliver sends what waits. A drop that could not be delivered stays in the
// queue; `drops deliver` and `serve` go on trying.
func deliver(k *call, a *agent.Agent, exchange string, number int64) (string, error) {
	done, err := a.Deliver(k.ctx, exchange)
	state := "sealed"
	for _, d := range done {
		if d.Number == number {
			state = d.State
		}
	}
	return state, ends(agent.Undelivered, agent.NeedsAttention(state), err)
}

func serve(k *call) error {
	level := k.flags.String("log", "info", "log `LEVEL`: debug, info, warn, error")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	log := hclog.New(&hclog.LoggerOptions{Name: "postern", Output: k.err, Level: hclog.LevelFromString(*level), JSONFormat: k.json})
	a, err := agent.Open(k.ctx, k.config, log)
	if err != nil {
		return err
	}
	return errors.Join(a.Serve(k.ctx), a.Close())
}

// hold puts an exchange on hold, at once and for anyone.
func hold(k *call) error {
	by := k.flags.String("by", accountName(), "the `NAME` of who holds it")
	return k.on(1, 1, func(a *agent.Agent) error {
		if err := a.Hold(k.ctx, k.arg(0), *by); err != nil {
			return err
		}
		return k.say(map[string]any{"exchange": k.arg(0), "held": true, "by": *by},
			"%s is on hold: no run, no delivery, until an approver lifts it; `postern release %[1]s` shows how\n", k.arg(0))
	})
}

func accountName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return fmt.Sprintf("account %d", os.Getuid())
}
