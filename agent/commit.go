package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/ledger"
)

// delivery states, in the order in which a drop goes through them
const (
	stateSealed       = "sealed"
	stateUploading    = "uploading"
	stateStored       = "stored"
	stateSizeVerified = "size-verified"
	stateHashVerified = "hash-verified"
	statePickedUp     = "picked-up"
	stateAcknowledged = "acknowledged"
	statePartly       = "partly-rejected"
	stateRejected     = "rejected"
	stateDiffering    = "differing"
	stateOverdue      = "overdue"
	stateVoided       = "voided"
	stateRecalled     = "recalled"
)

// chain gives what the next manifest says of its predecessors: the SHA-256 of
// the last manifest that is not voided, and every voided number since then.
func (a *Agent) chain(ctx context.Context, exchange string) (previous string, voids []int64, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT number, manifest, state FROM delivery WHERE exchange = ? ORDER BY number DESC`, exchange)
	if err != nil {
		return "", nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		var manifest, state string
		if err := rows.Scan(&number, &manifest, &state); err != nil {
			return "", nil, err
		}
		if state != stateVoided {
			previous = manifest
			break
		}
		voids = append([]int64{number}, voids...)
	}
	return previous, voids, rows.Err()
}

// dropBefore is the last drop that is not voided.
func (a *Agent) dropBefore(ctx context.Context, exchange string) (b build.Before, err error) {
	var asOf string
	err = a.db.QueryRowContext(ctx, `SELECT number, as_of, source FROM delivery WHERE exchange = ? AND state <> ? ORDER BY number DESC LIMIT 1`, exchange, stateVoided).
		Scan(&b.Number, &asOf, &b.Source)
	if errors.Is(err, sql.ErrNoRows) {
		return b, nil
	}
	span, _ := extract.ParseSpan([]byte(asOf))
	b.AsOf = span.From
	return b, err
}

// commit is the one commit point. Before it nothing of the drop is visible:
// the folder is discarded and the same number built again. After it there is
// only redoing: the drop's bytes are on disk, and everything that follows
// sends these same bytes.
func (r *run) commit(ctx context.Context) error {
	if err := r.fits(); err != nil {
		return err
	}
	if err := durable.SyncTree(filepath.Join(r.agent.dropsDir(), r.dropDir)); err != nil {
		return err
	}
	if err := durable.SyncDir(r.agent.dropsDir()); err != nil {
		return err
	}
	return inTx(ctx, r.agent.db, func(tx *sql.Tx) error {
		for _, step := range []func(context.Context, *sql.Tx) error{
			r.lease.holds, r.commitApproved, r.firstSigner, r.commitNames, r.commitDelivery, r.commitJudged, r.commitMemory, r.acceptInputs, r.commitLedger,
		} {
			if err := step(ctx, tx); err != nil {
				return err
			}
		}
		if r.opt.Occurrence != "" {
			if err := settleOccurrence(ctx, tx, r.x.name, r.opt.Occurrence, r.built.Number); err != nil {
				return err
			}
		}
		if err := r.agent.enqueueDelivery(ctx, tx, r.x.name); err != nil {
			return err
		}
		r.committing = true
		return nil
	})
}

func (r *run) commitApproved(ctx context.Context, tx *sql.Tx) error {
	return r.agent.sealUnder(ctx, tx, r.x, r.built.Number)
}

func (r *run) commitDelivery(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `UPDATE exchange SET head = ?, manifest = ? WHERE name = ?`, r.built.Number, r.built.Sealed.ManifestSHA256, r.x.name); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE delivery SET explained = ? WHERE exchange = ? AND state = ? AND explained = 0`, r.built.Number, r.x.name, stateVoided); err != nil {
		return err
	}
	expect, err := json.Marshal(r.built.Sealed.Expect)
	if err != nil {
		return err
	}
	files, err := json.Marshal(r.built.Sealed.Files)
	if err != nil {
		return err
	}
	key := r.agent.master.Wrap("decision-index/"+r.dropDir, []byte(r.indexKey.String()))
	outcome := r.built.Outcome()
	_, err = tx.ExecContext(ctx, `INSERT INTO delivery (exchange, number, state, dir, manifest, released, people, committed, as_of, ledger, expect, files, index_key, source, cut_off)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.x.name, r.built.Number, stateSealed, r.dropDir, r.built.Sealed.ManifestSHA256,
		outcome.Released, outcome.People, r.agent.Now().UnixMilli(), r.opt.AsOf.String(), r.ledgerSize, string(expect), string(files), key, outcome.Source, r.wantedBy())
	return err
}

// commitMemory stores codes, row keys and a new epoch's secret.
func (r *run) commitMemory(ctx context.Context, tx *sql.Tx) error {
	return r.memory.store(ctx, tx, r.built)
}

func (r *run) commitLedger(ctx context.Context, tx *sql.Tx) error {
	private := map[string]string{}
	for _, f := range r.built.Sealed.Private {
		private[f.Name] = f.SHA256
	}
	event := map[string]any{
		"as_of":           r.opt.AsOf.String(),
		"decided_at":      r.opt.DecidedAt.UTC().Format(time.RFC3339),
		"manifest_sha256": r.built.Sealed.ManifestSHA256,
		"policy":          r.policy.Name,
		"policy_sha256":   r.policy.Digest(),
		"recipient":       r.x.config.Recipient,
		"private_sha256":  private,
		"kept_until":      extract.DayOf(r.opt.DecidedAt.Add(r.policy.Keep.SealedDrop)).String(),
		"sealing":         r.x.envelope.Sealing,
		"gate":            r.built.GateFound(),
	}
	if r.bare != nil { // the names are the recipient's only hold on a file
		event["files"] = r.built.Sealed.Outward()
	}
	return r.agent.record(ctx, tx, ledger.DropCommitted, r.x, r.built.Number, event)
}
