package agent

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
)

// River carries the work; it decides nothing. Whether an occurrence is still
// due, and which drops wait for delivery, is always read from our own tables,
// so a job that comes twice, late or after another has done its work does
// nothing.
type (
	runJob struct {
		Exchange string `json:"exchange"`
		Civil    string `json:"civil"`
	}
	deliverJob struct {
		Exchange string `json:"exchange"`
	}
)

func (runJob) Kind() string     { return "run" }
func (deliverJob) Kind() string { return "deliver" }

const (
	jobAttempts   = 1000 // River gives up after so many; the next start takes it up again
	longestRetry  = 15 * time.Minute
	shortestRetry = 5 * time.Second
	lookEvery     = 10 * time.Second
	receiptsEvery = 5 * time.Minute
	stopWithin    = 30 * time.Second
)

// enqueueDelivery asks River for a delivery, within the caller's transaction.
func (a *Agent) enqueueDelivery(ctx context.Context, tx *sql.Tx, exchange string) error {
	client, err := river.NewClient(riversqlite.New(a.db), &river.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = client.InsertTx(ctx, tx, deliverJob{exchange}, &river.InsertOpts{MaxAttempts: jobAttempts})
	return err
}

// retrySoon retries after 5 s, 10 s, 20 s … at most a quarter of an hour.
type retrySoon struct{}

func (retrySoon) NextRetry(job *rivertype.JobRow) time.Time {
	wait := time.Duration(math.Min(float64(longestRetry), float64(shortestRetry)*math.Pow(2, float64(len(job.Errors)))))
	return time.Now().Add(wait)
}

type runWorker struct {
	river.WorkerDefaults[runJob]
	agent *Agent
}

func (*runWorker) Timeout(*river.Job[runJob]) time.Duration { return -1 }

func (w *runWorker) Work(ctx context.Context, job *river.Job[runJob]) error {
	a, log := w.agent, w.agent.Log.With("exchange", job.Args.Exchange, "occurrence", job.Args.Civil)
	due, err := a.isDue(ctx, job.Args.Exchange, job.Args.Civil)
	if err != nil || !due {
		return err
	}
	civil, err := time.Parse(civilLayout, job.Args.Civil)
	if err != nil {
		return river.JobCancel(err)
	}
	if waits, err := a.awaits(ctx, job.Args.Exchange, extract.DayOf(civil)); err == nil && waits {
		log.Warn("the drop is in quarantine, it waits for people; `postern quarantine list` shows it")
		return river.JobSnooze(longestRetry)
	}
	outcome, err := a.Run(ctx, job.Args.Exchange, RunOptions{AsOf: extract.DayOf(civil), Occurrence: job.Args.Civil})
	if ExitCode(err) == int(Locked) {
		return river.JobSnooze(shortestRetry) // another job of this occurrence, or a person, has it in hand
	}
	if ExitCode(err) == int(PolicyRefused) { // until a person approves, or lifts the hold; either wakes it
		noteOccurrence(context.WithoutCancel(ctx), a.db, job.Args.Exchange, job.Args.Civil, err)
		log.Warn("run refused, it waits for people", "error", err)
		return river.JobSnooze(longestRetry)
	}
	if errors.As(err, new(*build.Quarantined)) { // until an exception wakes it, or there is something new to read
		noteOccurrence(context.WithoutCancel(ctx), a.db, job.Args.Exchange, job.Args.Civil, err)
		log.Error("the gate stopped the drop, it waits for people", "error", err)
		return river.JobSnooze(longestRetry)
	}
	if err != nil {
		noteOccurrence(context.WithoutCancel(ctx), a.db, job.Args.Exchange, job.Args.Civil, err)
		log.Error("run failed, it will be tried again", "error", err, "attempt", job.Attempt)
		return err
	}
	log.Info("run committed", "number", outcome.Number, "source", outcome.Source, "released", outcome.Released)
	return nil
}

type deliverWorker struct {
	river.WorkerDefaults[deliverJob]
	agent *Agent
}

func (*deliverWorker) Timeout(*river.Job[deliverJob]) time.Duration { return -1 }

func (w *deliverWorker) Work(ctx context.Context, job *river.Job[deliverJob]) error {
	done, err := w.agent.Deliver(ctx, job.Args.Exchange)
	for _, d := range done {
		w.agent.Log.Info("drop", "exchange", d.Exchange, "number", d.Number, "state", d.State)
	}
	if ExitCode(err) == int(Locked) {
		return river.JobSnooze(shortestRetry) // another delivers; what it leaves is looked at then
	}
	if ExitCode(err) == int(PolicyRefused) {
		w.agent.Log.Warn("delivery refused, it waits for people", "exchange", job.Args.Exchange, "error", err)
		return river.JobSnooze(longestRetry)
	}
	if wait := new(early); errors.As(err, &wait) {
		w.agent.Log.Info("the drop waits", "exchange", job.Args.Exchange, "until", w.agent.Config.civil(wait.until))
		return river.JobSnooze(min(longestRetry, max(shortestRetry, wait.until.Sub(w.agent.Now()))))
	}
	if err != nil {
		w.agent.Log.Error("delivery failed, it will be tried again", "exchange", job.Args.Exchange, "error", err, "attempt", job.Attempt)
	}
	return err
}

func (a *Agent) isDue(ctx context.Context, exchange, civil string) (bool, error) {
	var state string
	err := a.db.QueryRowContext(ctx, `SELECT state FROM occurrence WHERE exchange = ? AND civil = ?`, exchange, civil).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return state == occurrenceDue, err
}

// Serve runs the exchanges on their schedules until ctx ends, then lets the
// work at hand end or stops it where that is safe.
func (a *Agent) Serve(ctx context.Context) error {
	if err := a.servable(); err != nil {
		return err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &runWorker{agent: a})
	river.AddWorker(workers, &deliverWorker{agent: a})
	client, err := river.NewClient(riversqlite.New(a.db), &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}},
		Workers:           workers,
		RetryPolicy:       retrySoon{},
		FetchPollInterval: time.Second,
		JobTimeout:        -1,
		Logger:            slog.New(slog.DiscardHandler), // the workers log, by our own rules
	})
	if err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	if err := a.tidy(ctx); err != nil {
		return fmt.Errorf("clear what an earlier agent left: %w", err)
	}
	// River keeps working until told to stop, so that a signal ends the agent
	// gracefully instead of cutting jobs off.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		return fmt.Errorf("start the queue: %w", err)
	}
	a.Log.Info("serving", "exchanges", len(a.Config.Exchanges), "time_zone", a.Config.Organization.TimeZone)
	err = a.keepTime(ctx, client)
	a.Log.Info("stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWithin)
	defer cancel()
	if client.Stop(stop) != nil {
		err = errors.Join(err, client.StopAndCancel(context.WithoutCancel(ctx)))
	}
	a.Log.Info("stopped")
	return err
}

// keepTime looks for what has come due until ctx ends. At the start it takes
// up again what a killed agent left: River would notice only after an hour. Answers
// are looked for beside it, as a recipient's server may take its time.
func (a *Agent) keepTime(ctx context.Context, client *river.Client[*sql.Tx]) error {
	if err := a.resume(ctx, client); err != nil && ctx.Err() == nil {
		return err
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	receipts := a.Now()
	var collecting sync.WaitGroup
	defer collecting.Wait()
	one := make(chan struct{}, 1)
	for {
		if err := a.look(ctx, client); err != nil && ctx.Err() == nil {
			a.Log.Error("looking for due occurrences failed", "error", err)
		}
		if a.Now().Sub(receipts) >= receiptsEvery {
			receipts = a.Now()
			select {
			case one <- struct{}{}:
				collecting.Go(func() { a.collect(ctx); <-one })
			default: // the round before goes on
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (a *Agent) look(ctx context.Context, client *river.Client[*sql.Tx]) error {
	for _, e := range a.Config.Exchanges {
		if e.Value.Schedule == "" {
			continue
		}
		schedule, err := parseSchedule(e.Value.Schedule, a.Config.Zone)
		if err != nil {
			return err
		}
		err = inTx(ctx, a.db, func(tx *sql.Tx) error {
			due, err := recordDue(ctx, tx, e.Key, schedule, a.Now(), a.Config.Zone)
			if err != nil || due == "" {
				return err
			}
			a.Log.Info("occurrence due", "exchange", e.Key, "occurrence", due)
			_, err = client.InsertTx(ctx, tx, runJob{e.Key, due}, &river.InsertOpts{MaxAttempts: jobAttempts})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what a killed agent left of runs and of deliveries that had
// ended. What another agent has in hand is tidied by that one.
func (a *Agent) tidy(ctx context.Context) error {
	for _, e := range a.Config.Exchanges {
		if err := a.alone(ctx, e.Key, func() error { return a.sweep(ctx, e.Value.ID) }); err != nil {
			return err
		}
		if err := a.alone(ctx, e.Key+"/delivery", func() error { return a.sweepSettled(ctx, e.Key) }); err != nil {
			return err
		}
	}
	return nil
}

// alone does work under a lease, or not at all when another has it.
func (a *Agent) alone(ctx context.Context, what string, work func() error) error {
	lease, err := takeLease(ctx, a.db, what, leaseOwner(), a.Now)
	if ExitCode(err) == int(Locked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer lease.Release()
	return work()
}

// resume enqueues every occurrence that is still due and every exchange with
// an undelivered drop.
func (a *Agent) resume(ctx context.Context, client *river.Client[*sql.Tx]) error {
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		insert := &river.InsertOpts{MaxAttempts: jobAttempts}
		due, err := queryPairs(ctx, tx, `SELECT exchange, civil FROM occurrence WHERE state = ?`, occurrenceDue)
		if err != nil {
			return err
		}
		for _, o := range due {
			if _, err := client.InsertTx(ctx, tx, runJob{o[0], o[1]}, insert); err != nil {
				return err
			}
		}
		waiting, err := queryPairs(ctx, tx, `SELECT DISTINCT exchange, '' FROM delivery WHERE state IN (?, ?)`, stateSealed, stateUploading)
		if err != nil {
			return err
		}
		for _, w := range waiting {
			if _, err := client.InsertTx(ctx, tx, deliverJob{w[0]}, insert); err != nil {
				return err
			}
		}
		return nil
	})
}

func queryPairs(ctx context.Context, tx *sql.Tx, query string, args ...any) (list [][2]string, err error) {
	var pair [2]string
	err = each(ctx, tx, row{&pair[0], &pair[1]}, func() error {
		list = append(list, pair)
		return nil
	}, query, args...)
	return list, err
}

// collect fetches receipts of all exchanges and warns of silence.
func (a *Agent) collect(ctx context.Context) {
	for _, e := range a.Config.Exchanges {
		done, err := a.Reconcile(ctx, e.Key)
		if err != nil && ctx.Err() == nil {
			a.Log.Warn("receipts could not all be taken", "exchange", e.Key, "error", err)
		}
		for _, r := range done {
			a.Log.Info("receipt", "exchange", r.Exchange, "number", r.Number, "outcome", r.Outcome)
		}
	}
	drops, err := a.Drops(ctx, "")
	if err != nil {
		return
	}
	for _, d := range drops {
		if d.State == stateOverdue {
			a.Log.Warn("receipt overdue", "exchange", d.Exchange, "number", d.Number)
		}
	}
}
