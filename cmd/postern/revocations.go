package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// consentRevocations is `postern consent revocations`. With --over it ends with
// 4 when something is not in effect after that time.
func consentRevocations(k *call) error {
	exchange := k.flags.String("exchange", "", "only how they took effect in this `EXCHANGE`")
	since := k.flags.String("since", "", "only what was read on this `DATE` or later")
	over := k.flags.String("over", "", "only what is not in effect after this `TIME`, such as 2d or 36h; exit 4 when there is any")
	subject := k.flags.String("subject", "", "only those of the patient with this `ID`, whatever else it was merged with")
	archive := k.flags.String("archive-key", "", "`FILE` of the archive's private key: tells what had been sent about the --subject, to whom")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	query := agent.RevocationQuery{Exchange: *exchange, Since: *since}
	if *subject != "" {
		query.Subject = phi.Bytes(*subject)
	}
	if _, err := time.Parse(time.DateOnly, *since); err != nil && *since != "" {
		return usageFailure("--since is no date", "write 2026-07-05")
	}
	limit, ok := strictyaml.ParseDuration(cmp.Or(*over, "0s"))
	if query.Over = time.Duration(limit); !ok {
		return usageFailure("--over is no length of time", "write 2d, 36h or 90m")
	}
	if *archive != "" && *subject == "" {
		return usageFailure("--archive-key needs a --subject", "name the patient: --subject ID")
	}
	return k.with(func(a *agent.Agent) error {
		var answer struct {
			*agent.RevocationReport
			Sent     []agent.SentDrop `json:"sent,omitempty"`
			Searched int              `json:"searched,omitempty"` // drops, for what was sent
		}
		var err error
		if answer.RevocationReport, err = a.Revocations(k.ctx, query); err != nil {
			return err
		}
		if *archive != "" {
			if answer.Sent, answer.Searched, err = a.SentAbout(k.ctx, query.Subject, *archive); err != nil {
				return err
			}
		}
		if k.json {
			err = k.answer(answer)
		} else if err = k.showRevocations(answer.RevocationReport); err == nil && *archive != "" {
			err = k.showSent(answer.Sent, answer.Searched)
		}
		return ends(agent.AnsweredNo, answer.Late > 0, err)
	})
}

func (k *call) showRevocations(r *agent.RevocationReport) error {
	var rows [][]any
	for _, v := range r.Revocations {
		first := []any{v.Kind, cmp.Or(v.Input, "-"), cmp.Or(v.Day, "not told"), minute(v.Written), minute(v.Read)}
		if len(v.Exchanges) == 0 {
			rows = append(rows, append(first, "-", "-", "-"))
		}
		for _, e := range v.Exchanges {
			rows = append(rows, append(slices.Clone(first), e.Exchange, effectWords(e), took(cmp.Or(e.SinceDay, e.SinceFile))))
		}
	}
	if len(rows) > 0 {
		if err := tabulate(k, "what\tinput\tday\tfile written\tread\texchange\tin effect\tafter", rows, asIs); err != nil {
			return err
		}
		fmt.Fprintln(k.out)
	}
	for _, u := range r.Unread {
		fmt.Fprintf(k.out, "%s was written %s, %s ago, and has not been read since; the next run or delivery reads it\n", u.Input, minute(u.Written), took(u.Seconds))
	}
	for _, l := range r.Latency {
		fmt.Fprintf(k.out, "%s: %d in effect, %d not yet; from file to effect, median %s, longest %s\n", l.Exchange, l.InEffect, l.NotYet, took(l.Median), took(l.Longest))
	}
	return nil
}

func effectWords(e agent.Effect) string {
	if e.InEffect.IsZero() {
		return "not yet: nothing was decided since"
	}
	words := fmt.Sprintf("%s, %s of drop %d", minute(e.InEffect), e.Made, e.Number)
	if len(e.Voided) > 0 {
		words += "; voided " + strings.Trim(fmt.Sprint(e.Voided), "[]")
	}
	return words
}

func (k *call) showSent(sent []agent.SentDrop, searched int) error {
	fmt.Fprintf(k.out, "\ndrops that were sent: %d, of which %d hold rows about this patient\n", searched, len(sent))
	if len(sent) == 0 {
		return nil
	}
	return tabulate(k, "recipient\texchange\tdrop\tsent\tstate\trows\tnote", sent, func(d agent.SentDrop) []any {
		var held []string
		for dataset, n := range d.Rows {
			held = append(held, fmt.Sprintf("%s %d", dataset, n))
		}
		slices.Sort(held)
		return []any{d.Recipient, d.Exchange, d.Number, minute(d.Sent), d.State, strings.Join(held, ", "), d.Note}
	})
}

// minute writes a time of the answer; all are in UTC.
func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04Z")
}

// took writes a length of time in its two largest units.
func took(seconds int64) string {
	switch d := time.Duration(seconds) * time.Second; {
	case d >= 24*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", seconds)
}
