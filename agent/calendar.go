package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/robfig/cron/v3"
)

// Calendar is what an exchange's drops have to do with the recipient's calendar.
// All are civil times.
type Calendar struct {
	CutOff string `json:"cut_off,omitempty"`        // the next one
	For    string `json:"for_cut_off,omitempty"`    // what there is for it
	Missed string `json:"missed_cut_off,omitempty"` // the last one, when it was missed, and what came instead
	Waits  string `json:"waits_until,omitempty"`    // until then the next drop is not sent, as they are to be apart
}

// instant is a civil time of the clinic's clock.
func (c *Config) instant(civil time.Time) time.Time {
	return time.Date(civil.Year(), civil.Month(), civil.Day(), civil.Hour(), civil.Minute(), 0, 0, c.Zone)
}

func (c *Config) civil(at time.Time) string { return at.In(c.Zone).Format(civilLayout) }

// cutOffs are those of an exchange; nil: it has none.
func (c *Config) cutOffs(e ExchangeConfig) cron.Schedule {
	if e.CutOff == "" {
		return nil
	}
	times, _ := parseSchedule(e.CutOff, c.Zone) // checked when it was read
	return times
}

// wantedBy is the cut-off that a run's drop is for: the first after the time at
// which it was scheduled, or is made by hand. "" of an exchange without.
func (r *run) wantedBy() (civil string) {
	times := r.agent.Config.cutOffs(r.x.config)
	if times == nil {
		return ""
	}
	from, err := time.Parse(civilLayout, r.opt.Occurrence)
	if err != nil {
		from = civilNow(r.opt.DecidedAt, r.agent.Config.Zone)
	}
	return times.Next(from).Format(civilLayout)
}

// passed tells whether a cut-off lies before a time.
func (c *Config) passed(cutOff string, at time.Time) bool {
	civil, err := time.Parse(civilLayout, cutOff)
	return err == nil && at.After(c.instant(civil))
}

// forewarn says before a drop is made that it will come late, or wait.
func (r *run) forewarn(ctx context.Context) error {
	a, by := r.agent, r.wantedBy()
	until, err := a.waitsUntil(ctx, r.x.name, r.x.config, r.lease.Head+1)
	if err != nil {
		return err
	}
	switch {
	case a.Config.passed(by, a.Now()):
		a.Log.Warn("the cut-off has passed, so this drop will come late: tell the recipient", "exchange", r.x.name, "cut_off", by)
	case a.Config.passed(by, until):
		a.Log.Warn("this drop has to wait, and will miss the cut-off: tell the recipient", "exchange", r.x.name, "cut_off", by, "waits_until", a.Config.civil(until))
	case until.After(a.Now()):
		a.Log.Warn("this drop will wait", "exchange", r.x.name, "waits_until", a.Config.civil(until))
	}
	return nil
}

// waitsUntil is when a drop may be sent that is to be apart from those before it.
func (a *Agent) waitsUntil(ctx context.Context, name string, e ExchangeConfig, number int64) (until time.Time, err error) {
	var last int64
	err = a.db.QueryRowContext(ctx, `SELECT coalesce(max(delivered), 0) FROM delivery WHERE exchange = ? AND number < ?`, name, number).Scan(&last)
	if e.Apart > 0 && last > 0 {
		until = time.UnixMilli(last).Add(time.Duration(e.Apart))
	}
	return until, err
}

// early is the cause of a failure to send a drop that has to wait.
type early struct{ until time.Time }

func (e *early) Error() string { return "the recipient wants them apart" }

// mayGo is an error when a drop has to wait. One of which a part may be there goes
// on: it had the right to begin.
func (a *Agent) mayGo(ctx context.Context, x *exchange, drop *pendingDrop) error {
	until, err := a.waitsUntil(ctx, x.name, x.config, drop.number)
	if err != nil || drop.exposed || !until.After(a.Now()) {
		return err
	}
	return fail(Undelivered, &early{until}, "`postern serve` sends it then, `postern drops deliver "+x.name+"` from then on; exchanges."+x.name+".apart has the rule",
		"drop %d of %s waits until %s", drop.number, x.name, a.Config.civil(until))
}

// lateness is what the ledger tells of a drop that is delivered now: its cut-off,
// and whether it has passed.
func (a *Agent) lateness(ctx context.Context, exchange string, number int64) (cutOff string, late bool, err error) {
	err = a.db.QueryRowContext(ctx, `SELECT cut_off FROM delivery WHERE exchange = ? AND number = ?`, exchange, number).Scan(&cutOff)
	if late = a.Config.passed(cutOff, a.Now()); late {
		a.Log.Warn("the drop came after its cut-off: tell the recipient", "exchange", exchange, "number", number, "cut_off", cutOff)
	}
	return cutOff, late, err
}

// calendar tells where an exchange stands with its cut-offs, and whether a person
// should know.
func (a *Agent) calendar(ctx context.Context, name string, e ExchangeConfig, drops []DropStatus, next string) (c Calendar, attention bool, err error) {
	if at := slices.IndexFunc(drops, func(d DropStatus) bool { return d.Waits() }); at >= 0 {
		until, err := a.waitsUntil(ctx, name, e, drops[at].Number)
		if err != nil {
			return c, false, err
		}
		if until.After(a.Now()) {
			c.Waits = a.Config.civil(until)
		}
	}
	times := a.Config.cutOffs(e)
	if times == nil {
		return c, false, nil
	}
	now := civilNow(a.Now(), a.Config.Zone)
	c.CutOff = times.Next(now).Format(civilLayout)
	var since, due string
	if err := a.db.QueryRowContext(ctx, `SELECT coalesce(max(since), ''), (SELECT coalesce(max(civil), '') FROM occurrence WHERE exchange = ?1 AND state = ?2) FROM exchange WHERE name = ?1`,
		name, occurrenceDue).Scan(&since, &due); err != nil {
		return c, false, err
	}
	switch c.For, _ = forCutOff(drops, c.CutOff); {
	case c.For != "":
	case due != "":
		c.For = "the run of " + due + " is still to be made"
	case next != "" && next <= c.CutOff:
		c.For = "a run at " + next
	default:
		c.For = "no run is scheduled before it"
	}
	if since == "" && len(drops) > 0 {
		since = a.Config.civil(drops[0].Committed)
	}
	last := dueBetween(times, now.AddDate(-1, 0, -1), now, 1)
	if len(last) == 0 || since == "" || last[0].Format(civilLayout) <= since {
		return c, false, nil
	}
	missed := last[0].Format(civilLayout)
	switch came, there := forCutOff(drops, missed); {
	case came == "":
		c.Missed, attention = missed+", nothing was made for it", true
	case !there:
		c.Missed = missed + ", " + came
	}
	return c, attention, nil
}

// forCutOff says what there is for a cut-off, and whether that was there in time.
func forCutOff(drops []DropStatus, cutOff string) (what string, inTime bool) {
	for _, d := range drops {
		if d.CutOff != cutOff || d.State == stateVoided {
			continue
		}
		switch {
		case d.Waits():
			what = fmt.Sprintf("drop %d waits", d.Number)
		case d.Late:
			what = fmt.Sprintf("drop %d came late", d.Number)
		default:
			return fmt.Sprintf("drop %d is there", d.Number), true
		}
	}
	return what, false
}

// unscheduled are warnings of cut-offs before which no run is scheduled.
func (c *Config) unscheduled(now time.Time) (warnings []string) {
	for _, e := range c.Exchanges {
		times := c.cutOffs(e.Value)
		if times == nil || e.Value.Schedule == "" {
			continue
		}
		runs, _ := parseSchedule(e.Value.Schedule, c.Zone)
		last := times.Next(civilNow(now, c.Zone))
		for range 12 {
			by := times.Next(last)
			if runs.Next(last).After(by) {
				warnings = append(warnings, fmt.Sprintf("exchanges.%s: no run is scheduled before the cut-off of %s, and after the one before it", e.Key, by.Format(civilLayout)))
				break
			}
			last = by
		}
	}
	return warnings
}
