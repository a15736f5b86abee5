package agent

import (
	"context"
	"errors"
	"slices"
	"time"
)

// defaultReceiptDue is how long a recipient may be silent when its
// configuration does not say.
const defaultReceiptDue = 7 * 24 * time.Hour

// DropStatus is where a drop stands.
type DropStatus struct {
	Exchange  string    `json:"exchange"`
	Recipient string    `json:"recipient"`
	Number    int64     `json:"number"`
	State     string    `json:"state"`
	Source    int64     `json:"source"` // records that the run read
	Released  int64     `json:"released"`
	People    int64     `json:"people"`
	AsOf      string    `json:"as_of"`
	Committed time.Time `json:"committed"`
	Attempts  int64     `json:"attempts"`
	Note      string    `json:"note,omitempty"`
	Problem   string    `json:"problem,omitempty"` // of one that waits: why the last attempt to deliver it failed
	Open      int64     `json:"open_differences,omitempty"`
	Explained int64     `json:"explained_by,omitempty"` // of a voided drop: the number whose manifest lists it
	Manifest  string    `json:"manifest_sha256"`
	CutOff    string    `json:"cut_off,omitempty"` // civil time by which it was to be there
	Late      bool      `json:"late,omitempty"`    // it was not

	Recalls []RecallStatus `json:"recalls,omitempty"`
}

// Drops lists the drops of an exchange, or of all when name is empty.
func (a *Agent) Drops(ctx context.Context, name string) ([]DropStatus, error) {
	if name != "" {
		if _, err := a.Config.Exchange(name); err != nil {
			return nil, err
		}
	}
	var list []DropStatus
	var d DropStatus
	var committed, delivered int64
	var settled bool
	err := each(ctx, a.db, row{&d.Exchange, &d.Number, &d.State, &d.Released, &d.People, &d.AsOf, &committed, &d.Attempts, &d.Note, &d.Manifest, &delivered, &d.Explained, &d.Problem, &d.Source, &d.Open, &settled, &d.CutOff}, func() error {
		d.Committed = time.UnixMilli(committed).UTC()
		d.Recipient, d.Late = "", a.Config.passed(d.CutOff, a.Now())
		if delivered > 0 {
			d.Late = a.Config.passed(d.CutOff, time.UnixMilli(delivered))
		}
		if config, err := a.Config.Exchange(d.Exchange); err == nil {
			d.Recipient = config.Recipient
			if !settled && a.silent(config.Recipient, d.State, delivered) {
				d.State = stateOverdue
			}
		}
		list = append(list, d)
		return nil
	}, `SELECT exchange, number, state, released, people, as_of, committed, attempts, note, manifest, delivered, explained,
		CASE WHEN state IN (?, ?) THEN problem ELSE '' END, source, (SELECT count(*) FROM difference AS f WHERE f.exchange = delivery.exchange AND f.number = delivery.number AND settled = 0),
		EXISTS (SELECT 1 FROM difference AS f WHERE f.exchange = delivery.exchange AND f.number = delivery.number AND rule = ? AND settled > 0), cut_off FROM delivery
		WHERE ? IN ('', exchange) ORDER BY exchange, number`, stateSealed, stateUploading, ruleSilence, name)
	recalls, failed := a.Recalls(ctx, name)
	for i := range list {
		for _, r := range recalls {
			if r.Exchange == list[i].Exchange && r.Number == list[i].Number {
				list[i].Recalls = append(list[i].Recalls, r)
			}
		}
	}
	return list, errors.Join(err, failed)
}

// silent tells whether a delivered drop should have been answered by now.
func (a *Agent) silent(recipient, state string, delivered int64) bool {
	switch state {
	case stateStored, stateSizeVerified, stateHashVerified, statePickedUp:
	default:
		return false
	}
	receipt := a.Config.Recipients[recipient].Receipt
	return receipt.Mode != receiptNone && a.Now().After(time.UnixMilli(delivered).Add(receipt.wait()))
}

// Attention tells whether a person should look at the drop. A voided one that
// a later drop explains to the recipient is done with, and so is one whose
// differences people have settled.
func (d *DropStatus) Attention() bool {
	if slices.ContainsFunc(d.Recalls, func(r RecallStatus) bool { return r.Confirmed.IsZero() }) {
		return true
	}
	switch d.State {
	case stateVoided:
		return d.Explained == 0
	case stateRejected, statePartly, stateDiffering:
		return d.Open > 0
	}
	return d.Open > 0 || NeedsAttention(d.State)
}

// Waits tells whether the drop is committed and not yet sent whole.
func (d *DropStatus) Waits() bool { return d.State == stateSealed || d.State == stateUploading }

// Next says which command goes on with a drop that waits, is void or overdue; empty
// for any other.
func (d *DropStatus) Next() string {
	switch {
	case d.Waits():
		return "`postern drops deliver " + d.Exchange + "` sends it, or says what is wrong"
	case d.State == stateVoided && d.Explained == 0:
		return "`postern run " + d.Exchange + "` makes it anew"
	case d.State == stateOverdue:
		return "`postern reconcile " + d.Exchange + "` looks for its answer, `postern drops answer` takes it by hand"
	}
	return ""
}

// NeedsAttention gives the states in which a person should look at a drop.
func NeedsAttention(state string) bool {
	switch state {
	case stateVoided, stateOverdue, stateRejected, statePartly, stateDiffering, stateSealed, stateUploading:
		return true
	}
	return false
}

// noteProblem keeps why a drop could not be delivered, for who looks at it
// before the next attempt.
func (a *Agent) noteProblem(ctx context.Context, exchange string, number int64, problem error) error {
	if problem == nil || ctx.Err() != nil {
		return nil
	}
	_, err := a.db.ExecContext(ctx, `UPDATE delivery SET problem = ? WHERE exchange = ? AND number = ?`, problem.Error(), exchange, number)
	return err
}
