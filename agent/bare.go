package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/posternhealth/postern/transfer"
)

// deliver sends the files of a drop; of a bare one first those that the recipient
// takes, then those of the side folder, if it has one, and at last the markers.
func (a *Agent) deliver(ctx context.Context, x *exchange, drop *pendingDrop, destination transfer.Destination, files []transfer.File, log func(transfer.Event)) (transfer.Evidence, error) {
	if x.recipient.Bare == nil {
		return destination.Deliver(ctx, files, log)
	}
	evidence, err := a.deliverBare(ctx, x, drop, destination, files, false, log)
	if err != nil {
		return evidence, err
	}
	side, err := a.deliverBeside(ctx, x, files, log)
	if err != nil {
		return evidence, err
	}
	last, err := a.deliverBare(ctx, x, drop, destination, files, true, log)
	if err != nil {
		return last, err
	}
	if evidence.Plan.Probed.IsZero() { // all but the markers had arrived
		evidence.Plan = last.Plan
	}
	arrived, err := a.arrived(ctx, x, drop)
	evidence.Files, evidence.State = append(arrived, side.Files...), transfer.HashVerified
	for _, e := range evidence.Files {
		evidence.State = min(evidence.State, e.State)
	}
	return evidence, err
}

// deliverBare sends those of a bare drop's files that have not arrived yet: all but
// the markers, or what is left. A recipient may take a bare file away at once, so each
// that has arrived is noted, before the next is sent, and not sent again.
func (a *Agent) deliverBare(ctx context.Context, x *exchange, drop *pendingDrop, destination transfer.Destination, files []transfer.File, markers bool, log func(transfer.Event)) (transfer.Evidence, error) {
	arrived, err := a.arrived(ctx, x, drop)
	if err == nil {
		files, err = a.outward(ctx, x, drop.number, files, arrived)
	}
	files = notArrived(files, arrived)
	for i := range files {
		files[i].Later = !markers && files[i].Marker()
	}
	if err != nil || !slices.ContainsFunc(files, func(f transfer.File) bool { return !f.Later }) {
		return transfer.Evidence{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var noted error
	evidence, err := destination.Deliver(ctx, files, func(e transfer.Event) {
		log(e)
		if e.State > transfer.Uploading {
			arrived = append(arrived, e)
			if noted = a.noteArrived(ctx, x, drop, arrived); noted != nil {
				stop()
			}
		}
	})
	return evidence, cmp.Or(noted, err)
}

func (a *Agent) deliverBeside(ctx context.Context, x *exchange, files []transfer.File, log func(transfer.Event)) (transfer.Evidence, error) {
	if x.recipient.Bare.SideFolder == "" {
		return transfer.Evidence{}, nil
	}
	beside, err := a.destination(ctx, x.recipient.beside())
	if err != nil {
		return transfer.Evidence{}, err
	}
	defer beside.Close()
	_, side := transfer.SplitBare(files)
	return beside.Deliver(ctx, side, log)
}

// arrived are the bare files of a drop that an earlier attempt delivered.
func (a *Agent) arrived(ctx context.Context, x *exchange, drop *pendingDrop) (list []transfer.Event, err error) {
	if err := drop.still(ctx, a.db, x); err != nil {
		return nil, err
	}
	var text string
	if err = a.db.QueryRowContext(ctx, `SELECT arrived FROM delivery WHERE exchange = ? AND number = ?`, x.name, drop.number).Scan(&text); err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	return list, err
}

func notArrived(files []transfer.File, arrived []transfer.Event) []transfer.File {
	return slices.DeleteFunc(slices.Clone(files), func(f transfer.File) bool {
		return slices.ContainsFunc(arrived, func(e transfer.Event) bool { return e.File == f.Name })
	})
}

func (a *Agent) noteArrived(ctx context.Context, x *exchange, drop *pendingDrop, arrived []transfer.Event) error {
	text, err := json.Marshal(arrived)
	if err == nil {
		err = drop.still(context.WithoutCancel(ctx), a.db, x)
	}
	if err != nil {
		return err
	}
	_, err = a.db.ExecContext(context.WithoutCancel(ctx), `UPDATE delivery SET arrived = ? WHERE exchange = ? AND number = ?`, string(text), x.name, drop.number)
	return err
}

// outward are the files of a drop that lie in the recipient's folder. Of bare ones
// they tell whether another drop, or an earlier test, may have left a file by that
// name. Once all others have arrived a marker that stands there is this drop's: none
// did when the first of them was sent.
func (a *Agent) outward(ctx context.Context, x *exchange, number int64, files []transfer.File, arrived []transfer.Event) ([]transfer.File, error) {
	if x.recipient.Bare == nil {
		return files, nil
	}
	files, _ = transfer.SplitBare(slices.Clone(files))
	due := slices.ContainsFunc(notArrived(files, arrived), func(f transfer.File) bool { return !f.Marker() })
	for i := range files {
		f := &files[i]
		if f.Marker() && !due {
			continue
		}
		if err := a.db.QueryRowContext(ctx, `SELECT count(*) > 0 FROM file_name JOIN delivery USING (exchange, number)
			WHERE recipient = ? AND name = ? AND exposed = 1 AND NOT (exchange = ? AND number = ?)`,
			x.config.Recipient, f.Name, x.name, number).Scan(&f.Reused); err != nil {
			return nil, err
		}
		f.Reused = f.Reused || number == 0 && f.Marker() && x.recipient.Bare.Reuse == "when-gone"
	}
	return files, nil
}

// beside is the recipient with its side folder as the folder of drops; check lets
// no other destination have one.
func (r RecipientConfig) beside() RecipientConfig {
	r.Destination, _ = r.Destination.elsewhere(r.Bare.SideFolder)
	return r
}
