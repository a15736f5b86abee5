package agent

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/ledger"
)

// Exception is the finding that a hit of the gate is a false alarm. It holds
// for these rows of one run, once two approvers of the closure in force have signed it.
type Exception struct {
	Because   string   `json:"because"`
	Statement string   `json:"statement"` // the line to sign
	Signed    []string `json:"signed"`
	Needed    int      `json:"needed"`
	May       []string `json:"may_sign"`
	InForce   bool     `json:"in_force"`

	hits build.Hits
}

// exceptions are those of a run, whatever their signatures; the row of the
// database gives the words, and only a signature of these words counts.
func (a *Agent) exceptions(ctx context.Context, db query, exchange, run string, may []approver) ([]Exception, error) {
	rows, err := db.QueryContext(ctx, `SELECT dataset, position, rule, rows, places, because FROM exception WHERE exchange = ? AND run = ? ORDER BY rowid`, exchange, run)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Exception
	for rows.Next() {
		e := Exception{Needed: enough}
		if err := rows.Scan(&e.hits.Dataset, &e.hits.Position, &e.hits.Rule, &e.hits.Rows, &e.hits.Which, &e.Because); err != nil {
			return nil, err
		}
		e.Statement = exceptionStatement(exchange, run, e.hits, e.Because)
		list = append(list, e)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil { // the one connection is needed
		return nil, err
	}
	for i := range list {
		e, p := &list[i], &Approval{Statement: list[i].Statement, may: may}
		if err := a.countSignatures(ctx, db, p); err != nil {
			return nil, err
		}
		e.Signed, e.InForce = p.Signed, len(p.Signed) >= enough && e.hits.MayBeFalse()
		for _, m := range may {
			e.May = append(e.May, m.name)
		}
	}
	return list, nil
}

func exceptionStatement(exchange, run string, h build.Hits, because string) string {
	return fmt.Sprintf("postern-policy %s exception in run %s for %d rows (%s) by rule %q at %q of %q, because %q", exchange, run, h.Rows, h.Which, h.Rule, h.Position, h.Dataset, because)
}

// exceptions gives build what people have found about this very run.
func (r *run) exceptions(ctx context.Context, sources []extract.FileSum) (found []build.Hits, err error) {
	r.identity = r.identify(sources)
	may, err := r.agent.mayRelease(ctx, r.x.name)
	if err != nil {
		return nil, err
	}
	list, err := r.agent.exceptions(ctx, r.agent.db, r.x.name, r.identity, may)
	for _, e := range list {
		if e.InForce {
			found = append(found, e.hits)
		}
	}
	return found, err
}

// question adds to a quarantine what people have said of it, and where it
// stands by that.
func (a *Agent) question(ctx context.Context, db query, q *Quarantine, may []approver) error {
	list, err := a.exceptions(ctx, db, q.Exchange, q.Run, may)
	if err != nil {
		return err
	}
	open := false
	for i := range q.Hits {
		h := &q.Hits[i]
		h.MayBeFalse, h.Exceptions = h.Stop.MayBeFalse(), nil
		for _, e := range list {
			if e.hits == h.Hits {
				h.Exceptions = append(h.Exceptions, e)
			}
		}
		open = open || !slices.ContainsFunc(h.Exceptions, func(e Exception) bool { return e.InForce })
	}
	last, err := a.lastApproval(ctx, db, q.Exchange)
	switch {
	case last.closure != q.Closure:
		q.State = Settled
	case q.State == Stopped && !open:
		q.State = RunAgain
	}
	return err
}

// ProposeException writes down that a hit is a false alarm, and why, so that
// two approvers can sign it. An empty dataset means the only one that has the
// position and the rule.
func (a *Agent) ProposeException(ctx context.Context, id string, stop build.Stop, because string) (*Exception, error) {
	q, err := a.Quarantine(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := q.awaited(); err != nil {
		return nil, err
	}
	if because = strings.TrimSpace(because); because == "" {
		return nil, fail(Usage, nil, "say in a line why nobody is told of by it, and name nobody: --because WHY", "an exception has a reason, which is recorded")
	}
	var met []build.Hits
	for _, h := range q.Hits {
		if h.Position == stop.Position && h.Rule == stop.Rule && (stop.Dataset == "" || stop.Dataset == h.Dataset) {
			met = append(met, h.Hits)
		}
	}
	switch {
	case len(met) == 0:
		return nil, fail(Usage, nil, "`postern quarantine show "+id+"` lists what was", "nothing was stopped at %q by rule %q", stop.Position, stop.Rule)
	case len(met) > 1:
		return nil, fail(Usage, nil, "say of which: --dataset NAME", "%d datasets were stopped there", len(met))
	case !met[0].MayBeFalse():
		return nil, fail(PolicyRefused, nil, "mend the policy or the extract, or report the defect, and run again",
			"rule %q cannot be excepted: what breaks it is no resemblance, but not what the policy declares", stop.Rule)
	}
	if _, err := a.db.ExecContext(ctx, `INSERT INTO exception (exchange, run, dataset, position, rule, rows, places, because) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		q.Exchange, q.Run, met[0].Dataset, met[0].Position, met[0].Rule, met[0].Rows, met[0].Which, because); err != nil {
		return nil, err
	}
	may, err := a.mayRelease(ctx, q.Exchange)
	if err == nil {
		err = a.question(ctx, a.db, q, may)
	}
	if err != nil {
		return nil, err
	}
	return q.proposed(exceptionStatement(q.Exchange, q.Run, met[0], because)), nil
}

// awaited is the failure of a quarantine that nobody waits for any more, or of
// which nobody can have looked at the rows: what lies there is another file.
func (q *Quarantine) awaited() error {
	if q.State != Settled {
		return q.intact()
	}
	return fail(PolicyRefused, nil, "run the exchange again; what the gate stops then is looked at then", "quarantine %s is settled: an exception would hold for no run", q.ID)
}

func (q *Quarantine) intact() error {
	sum := sha256.New()
	file, err := os.Open(q.File)
	if err == nil {
		_, err = io.Copy(sum, file)
		err = errors.Join(err, file.Close())
	}
	if err == nil && hex.EncodeToString(sum.Sum(nil)) != q.SHA256 {
		err = errors.New("it is not the file that was written")
	}
	if err != nil {
		return fail(Altered, err, "`postern run "+q.Exchange+" --as-of "+q.AsOf+"` keeps the rows anew", "rows of quarantine %s, %s", q.ID, q.File)
	}
	return nil
}

func (q *Quarantine) proposed(statement string) *Exception {
	for _, h := range q.Hits {
		for i := range h.Exceptions {
			if h.Exceptions[i].Statement == statement {
				return &h.Exceptions[i]
			}
		}
	}
	return nil
}

// Except takes signatures of a quarantine's exceptions in: all, or none when
// one is not good. With the second person's an exception is in force, and the
// exchange is tried again.
func (a *Agent) Except(ctx context.Context, id string, signatures [][]byte) (*Quarantine, error) {
	q, err := a.Quarantine(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := q.awaited(); err != nil {
		return nil, err
	}
	config, err := a.Config.Exchange(q.Exchange)
	if err != nil {
		return nil, err
	}
	may, err := a.mayRelease(ctx, q.Exchange)
	if err != nil {
		return nil, err
	}
	return q, inTx(ctx, a.db, func(tx *sql.Tx) error {
		for _, s := range signatures {
			if err := a.takeSignature(ctx, tx, q, may, s); err != nil {
				return err
			}
		}
		before := q.inForce()
		if err := a.question(ctx, tx, q, may); err != nil {
			return err
		}
		for _, h := range q.Hits {
			for _, e := range h.Exceptions {
				if !e.InForce || slices.Contains(before, e.Statement) {
					continue
				}
				if err := a.record(ctx, tx, ledger.Excepted, &exchange{name: q.Exchange, config: config}, q.Number, map[string]any{
					"quarantine": id, "run_sha256": q.Run, "hits": e.hits, "because": e.Because, "by": e.Signed,
				}); err != nil {
					return err
				}
			}
		}
		if q.State != RunAgain {
			return nil
		}
		return a.wake(ctx, tx, q.Exchange)
	})
}

func (q *Quarantine) inForce() (statements []string) {
	for _, h := range q.Hits {
		for _, e := range h.Exceptions {
			if e.InForce {
				statements = append(statements, e.Statement)
			}
		}
	}
	return statements
}

// takeSignature finds which of the exceptions a signature is of. A second one
// of the same person is refused: it would look as if it counted.
func (a *Agent) takeSignature(ctx context.Context, tx *sql.Tx, q *Quarantine, may []approver, armored []byte) error {
	refused := fail(Usage, nil, "propose one: postern quarantine except "+q.ID+" --position P --rule R --because WHY --out FILE", "quarantine %s has no exception to sign yet", q.ID)
	for _, h := range q.Hits {
		for _, e := range h.Exceptions {
			by, err := signedBy(e.Statement, armored, may, a.today())
			if err != nil {
				refused = err
				continue
			}
			p := &Approval{Statement: e.Statement, may: may}
			if err := a.countSignatures(ctx, tx, p); err != nil {
				return err
			}
			if slices.ContainsFunc(p.Signed, func(name string) bool { return personOf(name) == personOf(by.name) }) {
				return fail(PolicyRefused, nil, "another approver must sign: "+names(may), "%s has signed this exception already", by.name)
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO signature (statement, armored, taken) VALUES (?, ?, ?)`, e.Statement, armored, a.Now().UnixMilli())
			return err
		}
	}
	return refused
}
