package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
)

// answer writes v as JSON.
func (k *call) answer(v any) error {
	encoder := json.NewEncoder(k.out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// say answers with v as JSON, or in words.
func (k *call) say(v any, words string, args ...any) error {
	if k.json {
		return k.answer(v)
	}
	_, err := fmt.Fprintf(k.out, words, args...)
	return err
}

// show shows what was asked for, as JSON or in words, or why there is nothing.
func show[T any](k *call, words func(T) error) func(T, error) error {
	return func(v T, err error) error {
		switch {
		case err != nil:
			return err
		case k.json:
			return k.answer(v)
		}
		return words(v)
	}
}

// on reads the command line and opens the agent for what do does.
func (k *call) on(least, most int, do func(*agent.Agent) error) error {
	if err := k.parse(least, most); err != nil {
		return err
	}
	return k.with(do)
}

// ends is how a command ends that has answered: with a class where that is so.
func ends(class agent.Class, is bool, err error) error {
	if err == nil && is {
		return silent{class}
	}
	return err
}

// tabulate writes a row for each of a list, in columns under a heading that has
// tabs between its words.
func tabulate[T any](k *call, heading string, list []T, row func(T) []any) error {
	w := tabwriter.NewWriter(k.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, heading)
	for _, v := range list {
		cells := row(v)
		fmt.Fprintf(w, strings.Repeat("%v\t", len(cells)-1)+"%v\n", cells...)
	}
	return w.Flush()
}

// asIs tabulates rows that are made already.
func asIs(cells []any) []any { return cells }

func (k *call) showOutcome(o *agent.Outcome) error {
	if k.json {
		return k.answer(o)
	}
	what := fmt.Sprintf("drop %d of %s", o.Number, o.Exchange)
	if o.Number == 0 {
		what = "plan of " + o.Exchange + " (nothing leaves)"
	}
	fmt.Fprintf(k.out, "%s, as of %s: %d of %d records about %d people for %s\n\n", what, o.AsOf, o.Released, o.Source, o.People, o.Recipient)
	if err := k.showBalances(o.Balances); err != nil {
		return err
	}
	fmt.Fprintln(k.out)
	for _, b := range o.Balances {
		for r := extract.Reason(1); int(r) < extract.Reasons; r++ {
			if n := b.Reasons[r.String()]; n > 0 {
				fmt.Fprintf(k.out, "  %s: %d %s (%s)\n", b.Dataset, n, r.Disposition(), r)
			}
		}
	}
	if c := o.Changes; c != nil {
		fmt.Fprintf(k.out, "\nrows: %d to add, %d to change, %d void, %d unchanged\n", c.Add, c.Change, c.Void, c.Unchanged)
		if c.KeptBack > 0 {
			fmt.Fprintf(k.out, "%d rows whose records are gone or taken back are not void: something keeps back what that would say\n", c.KeptBack)
		}
		if c.Owed > 0 {
			fmt.Fprintf(k.out, "%d rows outside of this period are still to be told of, because the recipient has not taken, or may not have taken, what a drop said of them; a run --as-of a day of theirs tells it\n", c.Owed)
		}
		if c.Unsure > 0 {
			fmt.Fprintf(k.out, "%d rows whose records are gone are not void while records that cannot be read may be they\n", c.Unsure)
		}
	}
	if len(o.Rejected) > 0 {
		fmt.Fprintln(k.out, "\nrejected:")
	}
	for _, r := range o.Rejected {
		fmt.Fprintf(k.out, "  %s\n", r)
	}
	if o.ToMend > 0 {
		fmt.Fprintf(k.out, "\n%d rows of protective inputs keep records back until they are mended; `postern consent mend %s` lists them\n", o.ToMend, o.Exchange)
	}
	if o.State != "" {
		fmt.Fprintf(k.out, "\ndelivery: %s\n", o.State)
	}
	return nil
}

// showBalances shows the invariant: source = the sum of all dispositions.
func (k *call) showBalances(balances []*agent.Balance) error {
	heading := "dataset\tsource"
	for d := range extract.Dispositions {
		heading += "\t" + extract.Disposition(d).String()
	}
	return tabulate(k, heading, balances, func(b *agent.Balance) []any {
		cells := []any{b.Dataset, b.Source}
		for d := range extract.Dispositions {
			cells = append(cells, b.Count(extract.Disposition(d)))
		}
		return cells
	})
}

// progress shows on a terminal where a long run stands.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	shown time.Time
	start time.Time
	stage string
	wrote bool
}

func (k *call) progress() *progress {
	p := &progress{start: time.Now()}
	if f, ok := k.err.(*os.File); ok && !k.json {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.out = f
		}
	}
	return p
}

func (p *progress) update(stage string, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.out == nil || now.Sub(p.start) < time.Second || now.Sub(p.shown) < 200*time.Millisecond && stage == p.stage {
		return
	}
	p.shown, p.stage, p.wrote = now, stage, true
	fmt.Fprintf(p.out, "\r\033[K%s  %d MB  %s", stage, bytes>>20, now.Sub(p.start).Round(time.Second))
}

func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wrote {
		fmt.Fprint(p.out, "\r\033[K")
	}
}
