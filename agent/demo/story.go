package demo

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// Chapter is what became of one exchange.
type Chapter struct {
	Outcome    *agent.Outcome     `json:"outcome"`
	Delivered  string             `json:"delivered"`
	Received   string             `json:"received"`
	Rows       int64              `json:"rows_received"`
	Reconciled []agent.Reconciled `json:"reconciled"`
	Seconds    float64            `json:"seconds"`
}

// Story is the demo's result.
type Story struct {
	Dir      string    `json:"dir"`
	Chapters []Chapter `json:"chapters"`
}

// Tell plays the demo below dir and says on `say` what happens.
func Tell(ctx context.Context, dir string, say io.Writer, log hclog.Logger) (story *Story, err error) {
	fmt.Fprintf(say, "inventing a clinic in %s …\n", dir)
	w, err := New(ctx, dir, synthetic.Options{Mess: true}, log)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closing := w.Close(); err == nil {
			err = closing
		}
	}()
	fmt.Fprintf(say, "%d patients, %d records in the extract, %.1f MB\n", w.Summary.Patients, w.Summary.InExtract(), float64(w.Summary.Bytes)/1e6)
	story = &Story{Dir: dir}
	for _, name := range Exchanges {
		chapter, err := w.play(ctx, name, say)
		if err != nil {
			return nil, fmt.Errorf("exchange %s: %w", name, err)
		}
		story.Chapters = append(story.Chapters, *chapter)
	}
	return story, nil
}

func (w *World) play(ctx context.Context, name string, say io.Writer) (*Chapter, error) {
	start := time.Now()
	fmt.Fprintf(say, "%-18s deciding …", name)
	outcome, err := w.Agent.Run(ctx, name, agent.RunOptions{AsOf: AsOf()})
	if err != nil {
		return nil, err
	}
	c := &Chapter{Outcome: outcome}
	fmt.Fprintf(say, " sealed drop %d …", outcome.Number)
	delivered, err := w.Agent.Deliver(ctx, name)
	if err != nil {
		return nil, err
	}
	c.Delivered = delivered[len(delivered)-1].State
	fmt.Fprintf(say, " %s …", c.Delivered)
	if err := w.receive(ctx, c); err != nil {
		return nil, err
	}
	if c.Reconciled, err = w.Agent.Reconcile(ctx, name); err != nil {
		return nil, err
	}
	c.Seconds = time.Since(start).Seconds()
	fmt.Fprintf(say, " %s, receipt taken (%.1f s)\n", c.Received, c.Seconds)
	return c, nil
}

func (w *World) receive(ctx context.Context, c *Chapter) error {
	r := w.Recipient(c.Outcome.Recipient)
	receiver, err := w.Receiver(r)
	if err != nil {
		return err
	}
	results, err := receiver.Receive(ctx, r.Inbox())
	if err != nil {
		return err
	}
	for _, result := range results {
		if result.Fault != nil {
			return fmt.Errorf("%s refused drop %s: %w", r.Name, result.Drop, result.Fault)
		}
		if result.Status == transfer.Accepted {
			c.Received, c.Rows = result.Status, result.Rows
		}
	}
	return nil
}

// Matches tells whether the recipient counted what the clinic released, and
// its receipt was acknowledged.
func (c *Chapter) Matches() bool {
	return c.Rows == c.Outcome.Released && len(c.Reconciled) == 1 && c.Reconciled[0].Outcome == string(transfer.Acknowledged)
}

// Print writes the story as a table that a person can read.
func (s *Story) Print(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(what string, of func(c *Chapter) any) {
		fmt.Fprint(t, what)
		for i := range s.Chapters {
			fmt.Fprintf(t, "\t%v", of(&s.Chapters[i]))
		}
		fmt.Fprint(t, "\t\n")
	}
	fmt.Fprintln(t)
	line("", func(c *Chapter) any { return c.Outcome.Exchange })
	line("source", func(c *Chapter) any { return c.Outcome.Source })
	for d := range extract.Dispositions {
		line(extract.Disposition(d).String(), func(c *Chapter) any {
			var n int64
			for _, b := range c.Outcome.Balances {
				n += b.Count(extract.Disposition(d))
			}
			return n
		})
	}
	line("people", func(c *Chapter) any { return c.Outcome.People })
	line("rows received", func(c *Chapter) any { return c.Rows })
	line("receipt", func(c *Chapter) any {
		if len(c.Reconciled) > 0 {
			return c.Reconciled[0].Outcome
		}
		return "missing"
	})
	if err := t.Flush(); err != nil {
		return err
	}
	config := filepath.Join(s.Dir, "clinic", "postern.yaml")
	payer := filepath.Join(s.Dir, "recipients", synthetic.HealthPlan)
	_, err := fmt.Fprintf(out, `
Each column balances: source = the sum of the six below it. What was withheld,
and why, stays in the clinic's book; the recipients' books do not say that it
exists.

Everything lies in %s
  clinic/           configuration, policies, extract, inputs, state
  approvers/        the keys of two people who signed all of it
  recipients/NAME/  inbox/ (what arrived), received/ (decrypted), receipts/

Look further:
  postern status --config %s
  postern plan acme-scores --as-of %s --config %s
  postern policy explain acme-scores --config %s
  postern ledger verify --config %s
  head %s
`, s.Dir, config, synthetic.AsOf, config, config, config, filepath.Join(payer, "received", "*", "*.csv"))
	return err
}
