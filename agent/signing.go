package agent

import (
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// signingSchema is which of the clinic's signing keys each exchange's recipient knows.
const signingSchema = `
CREATE TABLE IF NOT EXISTS signing (
	exchange TEXT PRIMARY KEY,
	key      TEXT NOT NULL,                  -- fingerprint
	since    INTEGER NOT NULL                -- Unix milliseconds
) STRICT;
`

// Known is the signing key of drops that the recipient of an exchange knows.
type Known struct {
	Exchange  string    `json:"exchange"`
	Key       string    `json:"key"` // fingerprint
	Since     time.Time `json:"since"`
	Introduce bool      `json:"introduces"` // it is the one before: the next drop introduces the present one
}

// Known lists them for the exchanges of which there is a drop.
func (a *Agent) Known(ctx context.Context) (list []Known, err error) {
	var k Known
	var since int64
	err = each(ctx, a.db, row{&k.Exchange, &k.Key, &since}, func() error {
		k.Since, k.Introduce = time.UnixMilli(since).UTC(), k.Key != fingerprint(a.signer)
		list = append(list, k)
		return nil
	}, `SELECT exchange, key, since FROM signing ORDER BY exchange`)
	return list, err
}

func fingerprint(signer ssh.Signer) string { return ssh.FingerprintSHA256(signer.PublicKey()) }

// signers are the key that signs for an exchange now and, while its recipient knows
// only the one before, the key that the next drop introduces.
func (a *Agent) signers(ctx context.Context, x *exchange) (signer, successor ssh.Signer, err error) {
	var known string
	err = a.db.QueryRowContext(ctx, `SELECT key FROM signing WHERE exchange = ?`, x.name).Scan(&known)
	if errors.Is(err, sql.ErrNoRows) {
		return a.signer, nil, nil
	}
	switch {
	case err != nil:
		return nil, nil, err
	case known == fingerprint(a.signer), x.recipient.Bare != nil && x.recipient.Bare.SideFolder == "": // nobody else sees what is signed
		return a.signer, nil, nil
	case a.before != nil && known == fingerprint(a.before):
		return a.before, a.signer, nil
	}
	return nil, nil, fail(KeyTrouble, nil, "name that key under keys.drop_signing_before; if it is lost or stolen, have the recipient confirm the new one by telephone, then: postern keys confirm "+x.name,
		"%s knows the signing key %s, and keys.drop_signing is %s", x.config.Recipient, known, fingerprint(a.signer))
}

// firstSigner notes by which key the recipient of a new exchange comes to know the clinic.
func (r *run) firstSigner(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO signing (exchange, key, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`, r.x.name, fingerprint(r.signer), r.agent.Now().UnixMilli())
	return err
}

// learned notes that a recipient knows the key that a drop introduced: it has
// signed that it took the drop, and no receiver takes one without the key. One
// that was introduced and is not ours any more is no longer of interest.
func (a *Agent) learned(ctx context.Context, tx *sql.Tx, x *exchange, expect *transfer.Expectation, receipt *transfer.Receipt) error {
	if receipt.Status != transfer.Accepted || receipt.ManifestSHA256 != expect.ManifestSHA256 || expect.Introduces != sshsig.KeyText(a.signer.PublicKey()) {
		return nil
	}
	return a.knows(ctx, tx, x, receipt.Sequence, map[string]any{})
}

// Confirm takes an officer's word that the recipients of exchanges have the
// present signing key, confirmed with them by its fingerprint.
func (a *Agent) Confirm(ctx context.Context, names []string, by, because string) error {
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		for _, name := range names {
			x, err := a.answering(name)
			if err == nil {
				err = a.knows(ctx, tx, x, 0, map[string]any{"by": by, "because": because})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *Agent) knows(ctx context.Context, tx *sql.Tx, x *exchange, drop int64, event map[string]any) error {
	result, err := tx.ExecContext(ctx, `INSERT INTO signing (exchange, key, since) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET key = ?2, since = ?3 WHERE key <> ?2`,
		x.name, fingerprint(a.signer), a.Now().UnixMilli())
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	event["did"], event["key"], event["recipient"] = "recipient knows the signing key", fingerprint(a.signer), x.config.Recipient
	return a.record(ctx, tx, ledger.Key, x, drop, event)
}

// oldKeyLasts is how long the line of a key goes on after the last recipient has
// come to know the next: for what it signed that is still on its way.
const oldKeyLasts = 30 * 24 * time.Hour

// allowedSigners are the lines by which recipients check signatures (ALLOWED
// SIGNERS of ssh-keygen(1)): of the present key, and of the one before, which has
// no end until all recipients know the present one.
func (a *Agent) allowedSigners(ctx context.Context) (string, error) {
	lines := a.signerLine("", a.signer)
	if a.before == nil {
		return lines, nil
	}
	known, err := a.Known(ctx)
	var last time.Time
	valid := ""
	for _, k := range known {
		if k.Introduce {
			return lines + "\n" + a.signerLine("", a.before), err
		} else if k.Since.After(last) {
			last = k.Since
		}
	}
	if !last.IsZero() {
		valid = fmt.Sprintf("valid-before=%q,", last.Add(oldKeyLasts).In(a.Config.Zone).Format("20060102"))
	}
	return lines + "\n" + a.signerLine(valid, a.before), err
}

func (a *Agent) signerLine(valid string, signer ssh.Signer) string {
	return fmt.Sprintf("%s %snamespaces=%q %s", a.Config.Organization.ID, valid, transfer.DropNamespaces, sshsig.KeyText(signer.PublicKey()))
}

// NewSigner is a signing key that was made to follow another.
type NewSigner struct {
	Use         string `json:"use"` // as under `keys` in the configuration
	File        string `json:"file"`
	Fingerprint string `json:"fingerprint"`
	Before      string `json:"before"` // reference to the present one
}

// RotateSigner makes a key to follow the one that signs drops or checkpoints, in a
// file beside it; it signs once the configuration names it. It overwrites nothing.
func (a *Agent) RotateSigner(ctx context.Context, use, by, because string) (*NewSigner, error) {
	n := &NewSigner{Use: "drop_signing", Before: a.Config.Keys.DropSigning}
	if use == "checkpoint" {
		n.Use, n.Before = use, a.Config.Keys.Checkpoint
	}
	name := filepath.Join("keys", use)
	if file, is := strings.CutPrefix(n.Before, "file:"); is {
		name = file
	}
	n.File = name + "-" + a.Now().In(a.Config.Zone).Format(time.DateOnly)
	public, err := newSigningKey(a.Config.Path(n.File), "postern "+use)
	if err != nil {
		remedy := "see that the folder is there and can be written"
		if errors.Is(err, fs.ErrExist) {
			remedy = "the key that was made today stands there; move it away if it is not wanted"
		}
		return nil, fail(KeyTrouble, err, remedy, "no key was made")
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(public))
	if err != nil {
		return nil, err
	}
	n.Fingerprint = ssh.FingerprintSHA256(key)
	return n, inTx(ctx, a.db, func(tx *sql.Tx) error {
		return a.record(ctx, tx, ledger.Key, &exchange{}, 0, map[string]any{"did": "signing key made", "use": n.Use, "key": n.Fingerprint, "by": by, "because": because})
	})
}

// newSigningKey makes a key of OpenSSH's format and its .pub file, and gives the latter's line.
func newSigningKey(path, comment string) (string, error) {
	private, public, err := sshsig.NewKey(comment)
	if err == nil {
		err = durable.WriteFile(path, private, 0o600)
	}
	if err == nil {
		err = durable.WriteFile(path+".pub", public, 0o644)
	}
	return string(public), err
}

// openSigners reads the keys that sign drops and checkpoints, and those before them.
func (a *Agent) openSigners() error {
	keys := a.Config.Keys
	for _, k := range []struct {
		use, ref string
		open     func(text []byte) error
	}{
		{"signing key of drops", keys.DropSigning, func(text []byte) (err error) { a.signer, err = sshsig.LoadSigner(text); return err }},
		{"signing key of drops, the one before,", keys.DropSigningBefore, func(text []byte) (err error) { a.before, err = sshsig.LoadSigner(text); return err }},
		{"signing key of ledger checkpoints", keys.Checkpoint, a.openCheckpointSigner},
		{"signing key of ledger checkpoints, the one before,", keys.CheckpointBefore, a.openCheckpointSigner},
	} {
		if k.ref == "" {
			continue
		}
		text, err := keyring.Resolve(k.ref, a.Config.Dir)
		if err == nil {
			err = k.open(text)
		}
		if err != nil {
			return fail(KeyTrouble, err, ifLost(err), "%s", k.use)
		}
	}
	return nil
}

// openCheckpointSigner makes a signer of ledger checkpoints from an Ed25519 key
// in OpenSSH's format. A checkpoint's origin is the organization's ledger.
func (a *Agent) openCheckpointSigner(text []byte) error {
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return errors.New("no OpenSSH private key")
	}
	private, ok := key.(*ed25519.PrivateKey)
	if !ok {
		return errors.New("no Ed25519 key")
	}
	signer, err := ledger.Signer(a.ledgerOrigin(), *private)
	if len(a.ledgerKeys) == 0 {
		a.ledgerKey = private.Public().(ed25519.PublicKey)
	}
	a.ledgerKeys = append(a.ledgerKeys, signer)
	return err
}

func (a *Agent) checkpointFingerprint() string {
	key, _ := ssh.NewPublicKey(a.ledgerKey) // never fails with an Ed25519 key
	return ssh.FingerprintSHA256(key)
}

func (a *Agent) ledgerOrigin() string { return a.Config.Organization.ID + "/postern" }
