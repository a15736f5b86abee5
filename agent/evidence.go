package agent

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"iter"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// VerifyLedger recomputes every hash of the ledger, and holds it against every
// checkpoint that a drop has carried to a recipient.
func (a *Agent) VerifyLedger(ctx context.Context) (ledger.Tree, error) {
	if err := ledger.Verify(ctx, a.db); err != nil {
		return ledger.Tree{}, fail(Altered, err, "restore the state from its backup", "the ledger was altered")
	}
	size, root, err := ledger.Head(ctx, a.db)
	return ledger.Tree{Size: size, Root: root}, err
}

// ExportLedger writes the ledger's text form, one entry a line.
func (a *Agent) ExportLedger(ctx context.Context, w io.Writer) error {
	return ledger.Export(ctx, a.db, w)
}

// LedgerEntries gives the ledger's entries in their order.
func (a *Agent) LedgerEntries(ctx context.Context) iter.Seq2[ledger.Entry, error] {
	return ledger.Entries(ctx, a.db, 0)
}

// ShowLedger writes the entries for a person to read.
func (a *Agent) ShowLedger(ctx context.Context, w io.Writer) error {
	for entry, err := range a.LedgerEntries(ctx) {
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%6d  %s\n", entry.Index, entry.Text); err != nil {
			return err
		}
	}
	return nil
}

// PublicKeys are what recipients need of the clinic.
type PublicKeys struct {
	AllowedSigner string `json:"allowed_signer"` // a line for ssh-keygen -Y verify
	CheckpointKey string `json:"checkpoint_key"` // NAME+HASH+BASE64
	Archive       string `json:"archive"`
}

// PublicKeys gives the public halves of the clinic's keys.
func (a *Agent) PublicKeys() (*PublicKeys, error) {
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(a.signer.PublicKey())))
	text, err := keyring.Resolve(a.Config.Keys.Checkpoint, a.Config.Dir)
	if err != nil {
		return nil, err
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return nil, fail(KeyTrouble, nil, "", "signing key of ledger checkpoints cannot be read")
	}
	private, ok := key.(*ed25519.PrivateKey)
	if !ok {
		return nil, fail(KeyTrouble, nil, "", "signing key of ledger checkpoints is no Ed25519 key")
	}
	verifier, err := ledger.VerifierKey(ledgerOrigin(a.Config.Organization.ID), private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	return &PublicKeys{
		AllowedSigner: fmt.Sprintf("%s namespaces=%q %s", a.Config.Organization.ID, transfer.DropNamespace, line),
		CheckpointKey: verifier, Archive: a.Config.Keys.Archive,
	}, nil
}
