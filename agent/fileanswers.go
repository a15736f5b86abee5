package agent

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/posternhealth/postern/transfer"
)

// fileOf finds the drop and the file that an answer is about, where its name has that
// file's. It tells whether the exchange has sent a file that is called so.
func (a *Agent) fileOf(ctx context.Context, x *exchange, file *arrived) (sent bool, err error) {
	if file.About == "" {
		return true, nil
	}
	if file.Sequence == 0 && file.Day == "" {
		if file.Sequence, err = a.dropOfFile(ctx, x, file.About); err != nil || file.Sequence == 0 {
			return false, err
		}
	}
	expect, _, err := a.expectation(ctx, x.name, file.Sequence)
	if err != nil {
		return true, nil // it says so when it is read
	}
	for i, p := range expect.Parts {
		if p.Records && isFile(p.Name, file.About) {
			file.part = &expect.Parts[i]
		}
	}
	return true, nil
}

// isFile tells whether a file is called so, with all its endings or without some.
func isFile(name, called string) bool {
	return len(name) >= len(called) && strings.EqualFold(name[:len(called)], called) && (len(name) == len(called) || name[len(called)] == '.')
}

// dropOfFile is the number of the last drop with a file that is called so, of those
// that the recipient may answer; 0: there is none. Markers ask for no answer.
func (a *Agent) dropOfFile(ctx context.Context, x *exchange, called string) (number int64, err error) {
	if x.recipient.Bare == nil {
		if cells := strings.SplitN(strings.ToLower(called), ".", 4); len(cells) > 3 {
			base, err := transfer.ParseBase(strings.Join(cells[:3], "."))
			if err == nil && base == a.base(x, base.Sequence) {
				return base.Sequence, nil
			}
		}
		return 0, nil
	}
	var n int64
	var name string
	err = each(ctx, a.db, row{&n, &name}, func() error {
		if isFile(name, called) {
			number = n
		}
		return nil
	}, `SELECT number, name FROM file_name JOIN delivery USING (exchange, number) WHERE recipient = ? AND exchange = ? AND state NOT IN (?, ?, ?)
		AND NOT EXISTS (SELECT 1 FROM json_each(files) WHERE value ->> 'name' = name AND value ->> 'size' = 0) ORDER BY number`,
		x.config.Recipient, x.name, stateVoided, stateSealed, stateUploading)
	return number, err
}

// ofFile makes what an answer says of one file a judgement of the drop: it is all
// taken, or all refused, only when its other files are.
func (s *reply) ofFile(ctx context.Context, q query, exchange string, part *transfer.ExpectedPart, expect *transfer.Expectation) error {
	last, err := lastAnswers(ctx, q, exchange, s.number)
	kind, _, _ := strings.Cut(s.rule, fileInRule)
	for _, p := range expect.Parts {
		before, told := last[kind+fileInRule+p.Name]
		switch {
		case !p.Records || p.Rows == 0 || p.Name == part.Name:
		case s.outcome == stateAcknowledged && !told:
			s.outcome = answerNoted
		case s.outcome == stateRejected && (!told || before.refused < p.Rows):
			s.outcome = statePartly
		}
	}
	return err
}

// fileInRule stands in a rule before the name of the file that it is about.
const fileInRule = "\n"

// lastAnswer is what an answer has said.
type lastAnswer struct {
	status        string
	rows, refused int64 // -1: not told
	at            int64 // its place among all
}

// lastAnswers are what each rule said last, since the last answer by hand, which is
// a person's judgement of all before it.
func lastAnswers(ctx context.Context, q query, exchange string, number int64) (map[string]lastAnswer, error) {
	last := map[string]lastAnswer{}
	var rule string
	var r lastAnswer
	err := each(ctx, q, row{&rule, &r.status, &r.rows, &r.refused}, func() error {
		if rule == ruleByHand {
			clear(last)
		}
		r.at++
		last[rule] = r
		return nil
	}, `SELECT rule, status, rows, refused FROM receipt WHERE exchange = ? AND number = ? AND status != ? ORDER BY rowid`, exchange, number, answerUnreadable)
	return last, err
}

// recipientSays are the counts of the newest answer that has led to the state
// that the drop is in, those about its files taken together.
func (a *Agent) recipientSays(ctx context.Context, d *DropStatus) (Counts, error) {
	last, err := lastAnswers(ctx, a.db, d.Exchange, d.Number)
	if err != nil {
		return Counts{}, err
	}
	kinds := map[string]lastAnswer{}
	for rule, r := range last {
		kind, _, ofFile := strings.Cut(rule, fileInRule)
		if ofFile {
			kind += fileInRule // apart from what the same kind says of the drop
		}
		if known, met := kinds[kind]; met {
			told := known.rows >= 0 && r.rows >= 0
			if r.rows, r.refused = r.rows+known.rows, r.refused+known.refused; !told {
				r.rows, r.refused = -1, -1
			}
			if r.at = max(r.at, known.at); known.status == d.State {
				r.status = known.status
			}
		}
		kinds[kind] = r
	}
	best := lastAnswer{rows: -1, refused: -1}
	for _, r := range kinds {
		if r.status == d.State && (best.at == 0 || cmp.Or(cmp.Compare(min(r.rows, 0), min(best.rows, 0)), cmp.Compare(r.at, best.at)) > 0) {
			best = r
		}
	}
	return Counts{Rows: best.rows, Refused: best.refused}, nil
}

// answeredState is what the answers to a drop lead to: the worst of what each
// rule said last. It is empty while no answer settles anything.
func answeredState(ctx context.Context, q query, exchange string, number int64) (worst string, err error) {
	last, err := lastAnswers(ctx, q, exchange, number)
	states := []string{"", stateAcknowledged, statePartly, stateRejected, stateDiffering}
	for _, r := range last {
		if slices.Index(states, r.status) > slices.Index(states, worst) {
			worst = r.status
		}
	}
	return worst, err
}
