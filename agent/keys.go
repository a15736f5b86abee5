package agent

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// PublicKeys are what recipients need of the clinic, and the fingerprints by
// which its keys are told apart. None of it is secret.
type PublicKeys struct {
	AllowedSigners string            `json:"allowed_signers"` // lines for ssh-keygen -Y verify, see allowedSigners
	CheckpointKey  string            `json:"checkpoint_key"`  // NAME+HASH+BASE64
	Archive        string            `json:"archive"`
	OpenPGP        string            `json:"openpgp,omitempty"` // armored; "": the clinic has none
	Fingerprints   map[string]string `json:"fingerprints"`      // by use
	Recipients     []RecipientKey    `json:"recipient_keys"`
	Known          []Known           `json:"signing"`
}

// PublicKeys gives the public halves of the clinic's keys.
func (a *Agent) PublicKeys(ctx context.Context) (*PublicKeys, error) {
	verifier, err := ledger.VerifierKey(a.ledgerOrigin(), a.ledgerKey)
	if err != nil {
		return nil, err
	}
	lines, err := a.allowedSigners(ctx)
	if err != nil {
		return nil, err
	}
	known, err := a.Known(ctx)
	if err != nil {
		return nil, err
	}
	keys := &PublicKeys{
		AllowedSigners: lines, Known: known,
		CheckpointKey: verifier, Archive: a.Config.Keys.Archive, Recipients: a.RecipientKeys(),
		Fingerprints: map[string]string{
			"master": a.master.Fingerprint(), "archive": a.archive.Fingerprint,
			"drop signing": fingerprint(a.signer), "checkpoint": a.checkpointFingerprint(),
		},
	}
	if a.before != nil {
		keys.Fingerprints["drop signing, before"] = fingerprint(a.before)
	}
	if a.openPGP != nil {
		if keys.OpenPGP, err = a.openPGP.Public(); err != nil {
			return nil, err
		}
		keys.Fingerprints["openpgp"] = a.openPGP.Fingerprint()
	}
	if review := a.Config.Keys.Review; review != "" {
		keys.Fingerprints["review"] = transfer.Fingerprint(review)
	}
	return keys, nil
}

// knowMaster holds the master key against the one that the state was made with:
// by another, all that is wrapped would look altered.
func (a *Agent) knowMaster(ctx context.Context) error {
	var known string
	err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO master SELECT ? WHERE NOT EXISTS (SELECT 1 FROM master)`, a.master.Fingerprint()); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT fingerprint FROM master`).Scan(&known)
	})
	if err == nil && known != a.master.Fingerprint() {
		return fail(KeyTrouble, nil, "name that key under keys.master, from its backup", "the state was made with the master key %s, and this is %s", known, a.master.Fingerprint())
	}
	return err
}

// Epoch is one secret from which codes, tokens, shifts and row keys stem.
type Epoch struct {
	Name      string   `json:"name"` // RECIPIENT/PURPOSE[/EXCHANGE]/NUMBER
	Current   bool     `json:"current"`
	Made      string   `json:"made"`              // RFC 3339
	MadeBy    string   `json:"made_by,omitempty"` // "": by the first run that needed it
	Because   string   `json:"because,omitempty"`
	Form      string   `json:"form,omitempty"` // what it was used with, of a de-identified exchange
	Overlap   bool     `json:"overlap,omitempty"`
	Exchanges []string `json:"exchanges"` // that have drawn from it
	Drops     int64    `json:"drops"`
	Waiting   int64    `json:"waiting,omitempty"` // not yet delivered: of them, and of those of the next epoch that map its codes
	People    int64    `json:"people"`            // with codes
	Destroyed string   `json:"destroyed,omitempty"`

	id, number int64
	family     string
}

// waiting counts the drops that are not yet delivered and tell codes of an epoch:
// those that drew from it, and those of the next that map its codes.
const waiting = `(SELECT count(*) FROM drawn JOIN delivery USING (exchange, number) JOIN epoch AS of ON of.id = drawn.epoch
	WHERE delivery.state IN (?, ?) AND (of.id = epoch.id OR of.overlap AND of.family = epoch.family AND of.number = epoch.number + 1))`

// Epochs lists them, the oldest of each recipient and purpose first.
func (a *Agent) Epochs(ctx context.Context) ([]Epoch, error) {
	rows, err := a.db.QueryContext(ctx, `SELECT id, family, number, number = max(number) OVER (PARTITION BY family), made, made_by, because, form, overlap, destroyed,
		(SELECT count(*) FROM code WHERE epoch = epoch.id),
		(SELECT count(*) FROM drawn WHERE epoch = epoch.id),
		`+waiting+`,
		coalesce((SELECT group_concat(DISTINCT exchange) FROM drawn WHERE epoch = epoch.id), '')
		FROM epoch ORDER BY family, number`, stateSealed, stateUploading)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []Epoch{}
	for rows.Next() {
		var e Epoch
		var made, destroyed int64
		var exchanges string
		if err := rows.Scan(&e.id, &e.family, &e.number, &e.Current, &made, &e.MadeBy, &e.Because, &e.Form, &e.Overlap, &destroyed,
			&e.People, &e.Drops, &e.Waiting, &exchanges); err != nil {
			return nil, err
		}
		e.Name, e.Made = epochName(e.family, e.number), time.UnixMilli(made).UTC().Format(time.RFC3339)
		if destroyed > 0 {
			e.Destroyed, e.Current = time.UnixMilli(destroyed).UTC().Format(time.RFC3339), false
		}
		if e.Exchanges = []string{}; exchanges != "" {
			e.Exchanges = strings.Split(exchanges, ",")
			slices.Sort(e.Exchanges)
		}
		list = append(list, e)
	}
	return list, rows.Err()
}

// Rotation is what a rotation did, for the clinic to tell its recipient.
type Rotation struct {
	Exchanges []string `json:"exchanges"`
	Old       string   `json:"old_epoch"`
	New       string   `json:"new_epoch"`
	Changes   []string `json:"changes"` // for the recipient, one sentence each
}

// Rotate begins a new epoch of the exchanges, which must be all that draw from
// one secret: a new secret and an empty crosswalk, from the next drop on. A run
// that is under way commits before it, or is refused and has to run again. With
// overlap each drop of the new epoch maps the people's old codes to the new.
func (a *Agent) Rotate(ctx context.Context, exchanges []string, by, because string, overlap bool) (*Rotation, error) {
	together, err := a.sharing(exchanges)
	if err != nil {
		return nil, err
	}
	if overlap {
		if err := mayOverlap(together); err != nil {
			return nil, err
		}
	}
	family := together[0].family()
	answer := &Rotation{Changes: whatChanges(together, overlap)}
	var ids []string
	for _, x := range together {
		answer.Exchanges, ids = append(answer.Exchanges, x.name), append(ids, x.config.ID)
	}
	kept := "" // the form that the new epoch begins with: with a map it stays that of the old one
	err = inTx(ctx, a.db, func(tx *sql.Tx) error {
		old, err := currentEpoch(ctx, tx, family)
		if err != nil {
			return err
		}
		var drops int64
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM drawn WHERE epoch = ?`, old.id).Scan(&drops); err != nil {
			return err
		}
		if drops == 0 && (overlap || !old.overlap) || old.destroyed {
			return fail(Usage, nil, "nothing is to be done: the next drop draws from an epoch that nobody has seen", "no drop has drawn from the current epoch of %s yet", family)
		}
		if form := together[0].form(); overlap && old.form != form {
			return fail(PolicyRefused, nil, "rotate without --overlap", "codes of %s were given out for: %s; the policy now says: %s; a map would join what neither lets out alone",
				epochName(family, old.number), old.form, form)
		} else if overlap {
			kept = form
		}
		answer.Old, answer.New = epochName(family, old.number), epochName(family, old.number+1)
		if _, err := a.newEpoch(ctx, tx, family, old.number+1, keyring.NewSecret(), kept, by, because, overlap); err != nil {
			return err
		}
		return a.record(ctx, tx, ledger.Key, &exchange{}, 0, map[string]any{
			"did": "rotated", "old_epoch": answer.Old, "new_epoch": answer.New, "overlap": overlap, "exchanges": ids, "by": by, "because": because,
		})
	})
	return answer, err
}

// sharing loads the exchanges that draw from the secret of the first, all of
// which must have been named: whoever rotates knows whose recipients' codes change.
func (a *Agent) sharing(named []string) ([]*exchange, error) {
	first, err := a.load(named[0])
	if err != nil {
		return nil, err
	}
	var together []*exchange
	var names []string
	for _, e := range a.Config.Exchanges {
		if e.Value.Recipient != first.config.Recipient {
			continue
		}
		x, err := a.load(e.Key)
		if err != nil {
			return nil, err
		}
		if x.family() == first.family() {
			together, names = append(together, x), append(names, x.name)
		}
	}
	for _, name := range named {
		if !slices.Contains(names, name) {
			return nil, fail(Usage, nil, "rotate one after the other", "%s draws from another secret than %s", name, first.name)
		}
	}
	for _, name := range names {
		if !slices.Contains(named, name) {
			return nil, fail(Usage, nil, "name all of them: postern keys rotate "+strings.Join(names, " "), "%s draws from the same secret as %s, so that it is rotated with it", name, first.name)
		}
	}
	return together, nil
}

// mayOverlap refuses a map of codes where it would tell more than the codes: by
// tokens, which it does not hold, or by two shifts of one person's dates.
func mayOverlap(together []*exchange) error {
	codes := false
	for _, x := range together {
		if x.recipient.Bare != nil {
			return fail(PolicyRefused, nil, "rotate without --overlap", "%s takes bare files, and the map of codes is a part of a drop", x.config.Recipient)
		}
		codes = codes || build.GivesCodes(x.policy)
		for _, f := range x.fieldsThat(policies.Token) {
			return fail(PolicyRefused, nil, "rotate without --overlap", "policy %s gives tokens (%s), and the map holds people's codes only", x.policy.Name, f.Name)
		}
		for _, f := range x.fieldsThat(policies.ShiftDate) {
			return fail(PolicyRefused, nil, "rotate without --overlap", "policy %s moves dates (%s), and the map would tell of each person how the two shifts differ", x.policy.Name, f.Name)
		}
	}
	if !codes {
		return fail(PolicyRefused, nil, "rotate without --overlap", "no policy of these exchanges gives people codes: there is nothing to map")
	}
	return nil
}

// whatChanges says what a new epoch changes for the recipient of each exchange.
func whatChanges(together []*exchange, overlap bool) (list []string) {
	for _, x := range together {
		say := func(text string) { list = append(list, x.name+": "+text) }
		if build.GivesCodes(x.policy) && overlap {
			say("people get new codes; the part `overlap` of each drop tells of the people in it the old code beside the new one")
		} else if build.GivesCodes(x.policy) {
			say("people get new codes; no later row can be joined by code to one sent before")
		}
		if len(x.fieldsThat(policies.Token)) > 0 {
			say("tokens change; no later row can be joined by token to one sent before")
		}
		if len(x.fieldsThat(policies.ShiftDate)) > 0 {
			say("each person's dates move by another number of days; whoever keeps rows of both epochs can know people again by their intervals, and then learns how the two shifts differ: " +
				"the certificate has to cover that, or the old rows have to be deleted")
		}
		switch {
		case x.policy.Output.Mode == policies.Delta:
			say("row keys change; the next drop adds the rows of its periods under new keys, and makes them void under the old ones")
		case x.policy.Output.RowKey:
			say("row keys change; rows are loaded whole again, not replaced by key")
		}
	}
	if len(list) == 0 {
		list = []string{"nothing that the recipient sees: these exchanges give no codes, tokens, moved dates or row keys"}
	}
	return list
}

// Doomed is the epoch that Destroy would destroy: the named one; without a name
// the one of the exchange that is no longer current, or its current one. Its
// error says why it cannot be.
func (a *Agent) Doomed(ctx context.Context, exchange, name string, current bool) (*Epoch, error) {
	family := ""
	if exchange != "" {
		x, err := a.load(exchange)
		if err != nil {
			return nil, err
		}
		family = x.family()
	}
	epochs, err := a.Epochs(ctx)
	if err != nil {
		return nil, err
	}
	var found []*Epoch
	var names []string
	for i := range epochs {
		e := &epochs[i]
		if e.Name == name || family != "" && e.family == family && e.Destroyed == "" && e.Current == current {
			found, names = append(found, e), append(names, e.Name)
		}
	}
	switch {
	case len(found) == 0 && name != "":
		return nil, fail(Usage, nil, "`postern keys show` lists them", "there is no epoch %s", name)
	case len(found) == 0 && current:
		return nil, fail(Usage, nil, "`postern keys show` lists the epochs", "%s has no epoch", exchange)
	case len(found) == 0:
		return nil, fail(Usage, nil, "`postern keys rotate "+exchange+"` begins another first, --current destroys the one in use", "%s has no epoch that is out of use", exchange)
	case len(found) > 1:
		return nil, fail(Usage, nil, "name one with --epoch: "+strings.Join(names, ", "), "%s has %d epochs that are out of use", exchange, len(found))
	}
	return found[0], found[0].destroyable(current)
}

func (e *Epoch) destroyable(current bool) error {
	switch {
	case e.Destroyed != "": // again, for what a crash may have left
	case e.Current && !current:
		return fail(Usage, nil, "rotate first, or add --current", "runs draw from %s", e.Name)
	case e.Waiting > 0:
		return fail(Undelivered, nil, "`postern drops list` shows them; deliver them first", "%d drops of %s wait for delivery: nobody could ever say whom they hold", e.Waiting, e.Name)
	}
	return nil
}

// Destroy deletes the secret of an epoch, its crosswalk and its row keys in one
// transaction, and then every byte of them that SQLite may have left in its
// files: a checkpoint cuts the write-ahead log to nothing, and VACUUM builds the
// database anew, as secure_delete overwrites what is deleted, but does not
// promise that of copies in pages whose cells were moved. An epoch that was
// destroyed before is only cleaned again. Backups hold what they held.
func (a *Agent) Destroy(ctx context.Context, doomed *Epoch, by, because string, current bool) error {
	err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		if doomed.Destroyed != "" {
			return nil
		}
		var e Epoch // as it is now
		err := tx.QueryRowContext(ctx, `SELECT number = (SELECT max(number) FROM epoch WHERE family = ?), `+waiting+` FROM epoch WHERE id = ?`,
			doomed.family, stateSealed, stateUploading, doomed.id).Scan(&e.Current, &e.Waiting)
		if err != nil {
			return err
		}
		e.Name = doomed.Name
		if err := e.destroyable(current); err != nil {
			return err
		}
		for _, q := range []struct {
			text string
			args []any
		}{
			{`UPDATE epoch SET wrapped = NULL, destroyed = ? WHERE id = ?`, []any{a.Now().UnixMilli(), doomed.id}},
			{`UPDATE epoch SET overlap = 0 WHERE family = ? AND number = ?`, []any{doomed.family, doomed.number + 1}},
			{`DELETE FROM code WHERE epoch = ?`, []any{doomed.id}},
			{`DELETE FROM row_key WHERE epoch = ?`, []any{doomed.id}},
			{`DELETE FROM told WHERE epoch = ?`, []any{doomed.id}},
		} {
			if _, err := tx.ExecContext(ctx, q.text, q.args...); err != nil {
				return err
			}
		}
		return a.record(ctx, tx, ledger.Key, &exchange{}, 0, map[string]any{
			"did": "destroyed", "epoch": doomed.Name, "by": by, "because": because, "backups": "those made before still hold it, until their declared end",
		})
	})
	if err != nil {
		return err
	}
	if err := a.eraseTraces(ctx); err != nil {
		return fail(Unexpected, err, "stop `postern serve`, then clean what is left: postern keys destroy --epoch "+doomed.Name+" --by NAME --because WHY", "%s is destroyed, but its bytes may still lie in the files of the state", doomed.Name)
	}
	return nil
}

// eraseTraces makes the database's files hold nothing but what is in it.
func (a *Agent) eraseTraces(ctx context.Context) error {
	if _, err := a.db.ExecContext(ctx, `VACUUM`); err != nil {
		return err
	}
	var busy, pages, moved int64
	if err := a.db.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &moved); err != nil {
		return err
	}
	if busy != 0 {
		return fmt.Errorf("another process reads %s", databaseName)
	}
	return nil
}
