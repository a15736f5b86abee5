package agent

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// receiptSchema is what recipients have answered. Row keys are random and drawn
// for the recipient: they tell of nobody.
const receiptSchema = `
CREATE TABLE IF NOT EXISTS receipt (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- of the drop; 0: it could not be told
	sha256   TEXT NOT NULL,
	name     TEXT NOT NULL DEFAULT '',       -- of a response file
	stamp    TEXT NOT NULL DEFAULT '',       -- size and time as the server lists it, and how it was read
	rule     TEXT NOT NULL,                  -- by what it was read: a later answer by the same takes its place
	status   TEXT NOT NULL,                  -- the outcome by this answer alone
	rows     INTEGER NOT NULL DEFAULT -1,    -- taken; -1: it does not tell
	refused  INTEGER NOT NULL DEFAULT -1,
	by       TEXT NOT NULL DEFAULT '',       -- who attached it by hand
	text     BLOB NOT NULL,                  -- of a signed one; others are kept encrypted to the archive key
	taken    INTEGER NOT NULL,               -- Unix milliseconds; their order is that of rowid, as clocks are set back
	PRIMARY KEY (exchange, number, sha256, name, rule)
) STRICT;
CREATE TABLE IF NOT EXISTS row_answer (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,
	rule     TEXT NOT NULL,
	key      TEXT NOT NULL,
	code     TEXT NOT NULL,
	verdict  TEXT NOT NULL,                  -- warning, rejected; rows that were taken are counted
	PRIMARY KEY (exchange, number, rule, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS difference (
	id       INTEGER PRIMARY KEY,
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- 0: of no known drop
	rule     TEXT NOT NULL,                  -- of the answer that showed it
	place    TEXT NOT NULL,                  -- a file, or a drop
	what     TEXT NOT NULL,
	expected TEXT NOT NULL,
	received TEXT NOT NULL,
	opened   INTEGER NOT NULL,               -- Unix milliseconds
	owner    TEXT NOT NULL DEFAULT '',
	settled  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS difference_drop ON difference (exchange, number);
`

// Outcomes of an answer beside the states of a drop.
const (
	answerNoted      = "noted"      // it says nothing yet of the rows, which another file is to answer
	answerUnfinished = "unfinished" // its file is still written, and is looked at again
	answerUnreadable = "unreadable" // nothing is concluded from it
)

// Rules beside those of response files: see reply.rule.
const (
	ruleByHand     = "by hand"
	ruleSilence    = "silence"
	ruleUnreadable = "unreadable "
)

// What the differences are called that come of the numbers of rows.
const (
	refusedRows  = "rows refused"
	answeredRows = "rows answered"
	unknownRows  = "rows that were never sent"
	countedRows  = "rows counted"
)

// reply is one answer about a drop, in whatever form it came.
type reply struct {
	number        int64
	rule          string // a later answer of the same rule takes the place of this one
	name, stamp   string // of a response file
	sha256        string
	text          []byte
	by            string
	outcome       string
	rows, refused int64 // -1: not told
	whole         bool  // the drop was rejected, not row by row
	differences   []transfer.Difference
}

func (s *reply) differ(where, what, expected, received string) {
	s.differences = append(s.differences, transfer.Difference{Where: where, What: what, Expected: expected, Received: received})
}

func (s *reply) reconciled(x *exchange) *Reconciled {
	return &Reconciled{Exchange: x.name, Number: s.number, Outcome: s.outcome, Rows: s.rows, Differences: s.differences}
}

// takeReply stores an answer within the caller's transaction, and puts the drop
// in the state that all its answers lead to.
func (a *Agent) takeReply(ctx context.Context, tx *sql.Tx, x *exchange, s *reply) error {
	if s.text == nil {
		s.text = []byte{}
	}
	if _, err := tx.ExecContext(ctx, `INSERT OR REPLACE INTO receipt (exchange, number, sha256, name, stamp, rule, status, rows, refused, by, text, taken) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		x.name, s.number, s.sha256, s.name, s.stamp, s.rule, s.outcome, s.rows, s.refused, s.by, s.text, a.Now().UnixMilli()); err != nil {
		return err
	}
	if s.outcome != answerUnreadable {
		state, err := answeredState(ctx, tx, x.name, s.number)
		if err != nil {
			return err
		}
		// A voided drop stays voided, and a recalled one recalled, whatever the recipient says.
		if _, err := tx.ExecContext(ctx, `UPDATE delivery SET state = ? WHERE exchange = ? AND number = ? AND state NOT IN (?, ?) AND ? != ''`,
			state, x.name, s.number, stateVoided, stateRecalled, state); err != nil {
			return err
		}
	}
	if err := notTaken(ctx, tx, x.name, s.number, s.whole); err != nil {
		return err
	}
	if err := passedOver(ctx, tx, x.name); err != nil {
		return err
	}
	data := map[string]any{"outcome": s.outcome, "receipt_sha256": s.sha256}
	if s.by != "" {
		data["by"] = s.by
	}
	if err := a.record(ctx, tx, ledger.Receipt, x, s.number, data); err != nil {
		return err
	}
	var void bool // then nothing about it is open any more
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM delivery WHERE exchange = ? AND number = ? AND state = ?)`, x.name, s.number, stateVoided).Scan(&void); err != nil {
		return err
	}
	if void {
		s.differences = nil
	}
	return errors.Join(a.compareDifferences(ctx, tx, x, s), a.settleTaken(ctx, tx, x, s.number))
}

// settleTaken ends what is open about rows that were refused, once answered drops of
// changes up to this one have told all of them anew.
func (a *Agent) settleTaken(ctx context.Context, tx *sql.Tx, x *exchange, number int64) error {
	refused := map[int64]int64{} // difference: drop
	var id, of int64
	err := each(ctx, tx, row{&id, &of}, func() error {
		refused[id] = of
		return nil
	}, `SELECT id, number FROM difference WHERE exchange = ? AND number < ? AND what = ? AND settled = 0`, x.name, number, refusedRows)
	for _, id := range slices.Sorted(maps.Keys(refused)) {
		var taken sql.NullBool // null: the answer told no keys
		err = cmp.Or(err, tx.QueryRowContext(ctx, `SELECT min(key IN (SELECT key FROM told JOIN delivery USING (exchange, number) WHERE exchange = ?1 AND number > ?2 AND number <= ?3 AND state IN (?4, ?5)))
			FROM row_answer WHERE exchange = ?1 AND number = ?2 AND verdict = ?6`, x.name, refused[id], number, stateAcknowledged, statePartly, transfer.Refused.String()).Scan(&taken))
		if err == nil && taken.Bool {
			err = a.settleDifference(ctx, tx, x, refused[id], DifferenceEvent{ID: id, Because: fmt.Sprintf("its rows were told anew, and taken with drop %d at last", number)})
		}
	}
	return err
}

// notTaken notes of an exchange that sends changes that the recipient does not
// hold the rows it has rejected, or the whole drop: the next run sends them
// again, if they still may leave. A signed rejection of a drop is no such: its
// recipient may read it once more, or it is given up; see passedOver.
func notTaken(ctx context.Context, tx *sql.Tx, exchange string, number int64, whole bool) error {
	if whole {
		_, err := untell(ctx, tx, exchange, number, nil)
		return err
	}
	keys, err := rejectedRows(ctx, tx, exchange, number)
	if err == nil && len(keys) > 0 {
		_, err = unhold(ctx, tx, exchange, number, keys)
	}
	return err
}

// passedOver notes the same of drops that were rejected as a whole by a recipient
// that has taken a later one all the same: it asks for them no more.
func passedOver(ctx context.Context, tx *sql.Tx, exchange string) error {
	var rejected []int64
	var n int64
	err := each(ctx, tx, row{&n}, func() error {
		rejected = append(rejected, n)
		return nil
	}, `SELECT number FROM delivery WHERE exchange = ? AND state = ?`, exchange, stateRejected)
	for _, n := range rejected {
		later, failed := takenAfter(ctx, tx, exchange, n)
		if failed == nil && later > 0 {
			failed = notTaken(ctx, tx, exchange, n, true)
		}
		err = errors.Join(err, failed)
	}
	return err
}

func rejectedRows(ctx context.Context, db query, exchange string, number int64) (keys []string, err error) {
	var key string
	err = each(ctx, db, row{&key}, func() error {
		keys = append(keys, key)
		return nil
	}, `SELECT DISTINCT key FROM row_answer WHERE exchange = ? AND number = ? AND verdict = ?`, exchange, number, transfer.Refused.String())
	return keys, err
}

// compareDifferences opens what an answer is the first to show, and settles
// what an earlier one of its rule had shown and it no longer does. An answer by
// hand does so for all rules.
func (a *Agent) compareDifferences(ctx context.Context, tx *sql.Tx, x *exchange, s *reply) error {
	open := map[string]int64{}
	var id, number int64
	var rule, place, what string
	if err := each(ctx, tx, row{&id, &number, &rule, &place, &what}, func() error {
		answered := s.outcome != answerUnreadable && s.outcome != answerNoted
		if rule == s.rule || rule == ruleUnreadable+s.name || number != 0 && (s.rule == ruleByHand || rule == ruleSilence && answered) {
			open[place+"\n"+what] = id
		}
		return nil
	}, `SELECT id, number, rule, place, what FROM difference WHERE exchange = ? AND number IN (0, ?) AND settled = 0`, x.name, s.number); err != nil {
		return err
	}
	for _, d := range s.differences {
		if id, there := open[d.Where+"\n"+d.What]; there {
			delete(open, d.Where+"\n"+d.What)
			if _, err := tx.ExecContext(ctx, `UPDATE difference SET rule = ?, expected = ?, received = ? WHERE id = ?`, s.rule, d.Expected, d.Received, id); err != nil {
				return err
			}
			continue
		}
		result, err := tx.ExecContext(ctx, `INSERT INTO difference (exchange, number, rule, place, what, expected, received, opened) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			x.name, s.number, s.rule, d.Where, d.What, d.Expected, d.Received, a.Now().UnixMilli())
		if err == nil {
			id, err = result.LastInsertId()
		}
		if err == nil {
			err = a.record(ctx, tx, ledger.Difference, x, s.number, DifferenceEvent{ID: id, Did: "opened", Because: d.What})
		}
		if err != nil {
			return err
		}
	}
	for _, id := range open {
		if err := a.settleDifference(ctx, tx, x, s.number, DifferenceEvent{ID: id, By: s.by, Because: "the answer " + s.sha256}); err != nil {
			return err
		}
	}
	return nil
}

// noteSilence opens a difference for each drop that should have been answered.
// Once a person has settled it, the drop is no longer overdue.
func (a *Agent) noteSilence(ctx context.Context, x *exchange) error {
	drops, err := a.Drops(ctx, x.name)
	if err != nil {
		return err
	}
	for _, d := range drops {
		if d.State != stateOverdue || d.Open > 0 {
			continue
		}
		s := &reply{number: d.Number, rule: ruleSilence}
		s.differ(a.base(x, d.Number).String(), "answer", "one by now", "none")
		err = errors.Join(err, inTx(ctx, a.db, func(tx *sql.Tx) error { return a.compareDifferences(ctx, tx, x, s) }))
	}
	return err
}

func (a *Agent) base(x *exchange, number int64) transfer.Base {
	return transfer.Base{Code: a.Config.Organization.Code, Exchange: x.config.ID, Sequence: number}
}

// Difference is something about a drop that the clinic and the recipient do not
// say alike, until it is settled.
type Difference struct {
	ID       int64             `json:"id"`
	Exchange string            `json:"exchange"`
	Number   int64             `json:"number,omitempty"`
	Where    string            `json:"where"`
	What     string            `json:"what"`
	Expected string            `json:"expected"`
	Received string            `json:"received"`
	Opened   time.Time         `json:"opened"`
	Age      int64             `json:"age"` // seconds, while it is open
	Owner    string            `json:"owner,omitempty"`
	Settled  bool              `json:"settled"`
	History  []DifferenceEvent `json:"history,omitempty"` // as the ledger has it
}

// DifferenceEvent is what was done about a difference.
type DifferenceEvent struct {
	At      time.Time `json:"at,omitzero"`
	ID      int64     `json:"difference"`
	Did     string    `json:"did"` // opened, assigned, settled
	By      string    `json:"by,omitempty"`
	To      string    `json:"to,omitempty"`
	Because string    `json:"because,omitempty"`
}

// Differences lists the open ones of an exchange, or of all when it is empty,
// the oldest first; with a drop's number, those of it that are settled, too,
// with their history.
func (a *Agent) Differences(ctx context.Context, exchange string, number int64) (list []Difference, err error) {
	if exchange != "" {
		if _, err := a.Config.Exchange(exchange); err != nil {
			return nil, err
		}
	}
	var d Difference
	var opened, settled int64
	err = each(ctx, a.db, row{&d.ID, &d.Exchange, &d.Number, &d.Where, &d.What, &d.Expected, &d.Received, &opened, &d.Owner, &settled}, func() error {
		d.Opened, d.Settled, d.Age = time.UnixMilli(opened).UTC(), settled > 0, 0
		if !d.Settled {
			d.Age = int64(a.Now().Sub(d.Opened).Seconds())
		}
		list = append(list, d)
		return nil
	}, `SELECT id, exchange, number, place, what, expected, received, opened, owner, settled FROM difference
		WHERE ? IN ('', exchange) AND (? = number OR ? = 0 AND settled = 0) ORDER BY opened, id`, exchange, number, number)
	return list, err
}

// Assign gives an open difference an owner.
func (a *Agent) Assign(ctx context.Context, id int64, to, by string) error {
	return a.onDifference(ctx, id, func(tx *sql.Tx, x *exchange, number int64) error {
		if _, err := tx.ExecContext(ctx, `UPDATE difference SET owner = ? WHERE id = ?`, to, id); err != nil {
			return err
		}
		return a.record(ctx, tx, ledger.Difference, x, number, DifferenceEvent{ID: id, Did: "assigned", By: by, To: to})
	})
}

// Settle ends a difference, for a reason.
func (a *Agent) Settle(ctx context.Context, id int64, by, because string) error {
	return a.onDifference(ctx, id, func(tx *sql.Tx, x *exchange, number int64) error {
		return a.settleDifference(ctx, tx, x, number, DifferenceEvent{ID: id, By: by, Because: because})
	})
}

func (a *Agent) onDifference(ctx context.Context, id int64, do func(*sql.Tx, *exchange, int64) error) error {
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		var name string
		var number int64
		err := tx.QueryRowContext(ctx, `SELECT exchange, number FROM difference WHERE id = ? AND settled = 0`, id).Scan(&name, &number)
		if errors.Is(err, sql.ErrNoRows) {
			return fail(AnsweredNo, nil, "`postern reconcile show` lists them", "there is no open difference %d", id)
		}
		if err != nil {
			return err
		}
		x, err := a.answering(name)
		if err != nil {
			return err
		}
		return do(tx, x, number)
	})
}

// settleDifferences ends all that are open about a drop.
func (a *Agent) settleDifferences(ctx context.Context, tx *sql.Tx, x *exchange, number int64, by, because string) error {
	var open []int64
	var id int64
	err := each(ctx, tx, row{&id}, func() error {
		open = append(open, id)
		return nil
	}, `SELECT id FROM difference WHERE exchange = ? AND number = ? AND settled = 0`, x.name, number)
	for _, id := range open {
		err = errors.Join(err, a.settleDifference(ctx, tx, x, number, DifferenceEvent{ID: id, By: by, Because: because}))
	}
	return err
}

func (a *Agent) settleDifference(ctx context.Context, tx *sql.Tx, x *exchange, number int64, e DifferenceEvent) error {
	if _, err := tx.ExecContext(ctx, `UPDATE difference SET settled = ? WHERE id = ?`, a.Now().UnixMilli(), e.ID); err != nil {
		return err
	}
	e.Did = "settled"
	return a.record(ctx, tx, ledger.Difference, x, number, e)
}
