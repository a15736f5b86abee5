package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/transfer"
)

// Diagnosis is what `doctor` found of one recipient's destination, or of the
// clinic's own side.
type Diagnosis struct {
	Of      string         `json:"of"`                // a recipient; "clinic" for this side
	Profile string         `json:"profile,omitempty"` // the kind of server, and whether it was ever tried
	Plan    *transfer.Plan `json:"plan,omitempty"`
	Faults  []string       `json:"faults,omitempty"` // with them nothing can be delivered
	Advice  []string       `json:"advice,omitempty"` // what is weak, and what to do
}

// apart is how far the clocks of two machines may differ before someone is told.
const apart = 5 * time.Minute

// Doctor looks at this side and probes destinations anew, of one exchange or
// recipient, or of all. What it learns, deliveries follow from then on.
func (a *Agent) Doctor(ctx context.Context, of string) ([]Diagnosis, error) {
	recipients, err := a.Config.recipientsOf(of)
	if err != nil {
		return nil, err
	}
	list := []Diagnosis{a.examine()}
	for _, name := range recipients {
		d := Diagnosis{Of: name}
		profile := a.Config.Recipients[name].Destination.profile()
		if profile != nil {
			d.Profile = profile.Known()
		}
		plan, err := a.askServer(ctx, name)
		switch {
		case ctx.Err() != nil:
			return nil, fail(Interrupted, context.Canceled, "", "doctor")
		case err != nil:
			d.Faults = []string{err.Error()}
		default:
			d.Plan, d.Advice = plan, plan.Advice()
			if profile != nil {
				d.Advice = append(d.Advice, profile.Unlike(plan)...)
			}
			if ahead := time.Duration(plan.Ahead) * time.Second; ahead.Abs() > apart {
				d.Advice = append(d.Advice, fmt.Sprintf("clock: the server's is %s ahead of this machine's: set this one by NTP, or tell the recipient", ahead))
			}
		}
		list = append(list, d)
	}
	return list, nil
}

func (a *Agent) askServer(ctx context.Context, recipient string) (*transfer.Plan, error) {
	destination, err := a.destination(ctx, a.Config.Recipients[recipient])
	if err != nil {
		return nil, err
	}
	defer destination.Close()
	return a.probe(ctx, recipient, destination, true)
}

// examine looks at the clinic's own side.
func (a *Agent) examine() Diagnosis {
	d := Diagnosis{Of: "clinic"}
	if info, err := os.Stat(a.Config.StateDir()); err == nil && info.Mode().Perm()&0o077 != 0 {
		d.Faults = append(d.Faults, fmt.Sprintf("the state folder can be looked into by others: chmod 700 %s", a.Config.StateDir()))
	}
	probe, err := os.CreateTemp(a.scratchDir(), ".doctor.*.part")
	if err == nil {
		_, err = probe.Write(make([]byte, 1<<20))
		err = errors.Join(err, probe.Sync(), probe.Close(), os.Remove(probe.Name()))
	}
	if err != nil {
		d.Faults = append(d.Faults, fmt.Sprintf("a file of 1 MiB cannot be kept in the state folder: %v; make room, or look at its permissions", err))
	}
	return d
}

// recipientsOf names the recipients that a word means: an exchange's, one by
// its own name, or, for "", all that an exchange sends to.
func (c *Config) recipientsOf(word string) ([]string, error) {
	named, words := map[string]bool{}, slices.Sorted(maps.Keys(c.Recipients))
	for _, e := range c.Exchanges {
		words = append(words, e.Key)
		if word == "" || word == e.Key {
			named[e.Value.Recipient] = true
		}
	}
	if _, known := c.Recipients[word]; known {
		named[word] = true
	}
	if len(named) == 0 && word != "" {
		return nil, fail(Usage, nil, strictyaml.DidYouMean(word, words), "no exchange or recipient of %s is called %q", c.File, word)
	}
	return slices.Sorted(maps.Keys(named)), nil
}

// probe lets a destination follow what is known of it, or learns it anew and
// keeps it.
func (a *Agent) probe(ctx context.Context, recipient string, d transfer.Destination, anew bool) (*transfer.Plan, error) {
	var known *transfer.Plan
	var text []byte
	err := a.db.QueryRowContext(ctx, `SELECT plan FROM probe WHERE recipient = ?`, recipient).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err == nil {
		known = new(transfer.Plan)
		if err := json.Unmarshal(text, known); err != nil && !anew {
			return nil, fail(Altered, err, "`postern doctor "+recipient+"` learns it anew", "what is known of the server of %s", recipient)
		}
	}
	if anew && known != nil {
		known.Probed = time.Time{} // only what it left is of use
	}
	plan, err := d.Probe(ctx, known)
	if err != nil || known != nil && plan.Probed.Equal(known.Probed) {
		return &plan, err
	}
	if text, err = json.Marshal(plan); err != nil {
		return nil, err
	}
	_, err = a.db.ExecContext(ctx, `INSERT INTO probe (recipient, plan) VALUES (?, ?) ON CONFLICT (recipient) DO UPDATE SET plan = excluded.plan`, recipient, string(text))
	return &plan, err
}

// forget lets the next delivery probe again, because this one failed: what the
// server allows may have changed. Where each probe leaves a file behind, once a day.
func (a *Agent) forget(ctx context.Context, recipient string, plan *transfer.Plan) error {
	if len(plan.Left) > 0 && time.Since(plan.Probed) < 24*time.Hour {
		return nil
	}
	_, err := a.db.ExecContext(context.WithoutCancel(ctx), `UPDATE probe SET plan = json_set(plan, '$.probed', '0001-01-01T00:00:00Z') WHERE recipient = ?`, recipient)
	return err
}
