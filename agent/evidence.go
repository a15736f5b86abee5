package agent

import (
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/posternhealth/postern/ledger"
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
