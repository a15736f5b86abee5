package agent

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/posternhealth/postern/transfer"
)

// sealedOtherwise tells in which way a drop was sealed otherwise than it would
// be now: under another policy, or to other keys. Nothing else judges that
// again before delivery, so a field taken out of the policy, or a key taken out
// of use, would leave once more. "" means that nothing has changed.
func (a *Agent) sealedOtherwise(ctx context.Context, x *exchange, drop *pendingDrop) (string, error) {
	altered := func(err error) (string, error) {
		return "", fail(Altered, err, "restore the state from its backup", "manifest of drop %d of %s cannot be read", drop.number, x.name)
	}
	at := slices.IndexFunc(drop.files, func(f transfer.SealedFile) bool { return f.SHA256 == drop.manifest })
	if at < 0 {
		return altered(nil)
	}
	text, err := os.ReadFile(filepath.Join(a.dropsDir(), drop.dir, drop.files[at].Name))
	if err != nil || hexSum(text) != drop.manifest {
		return altered(err)
	}
	manifest, err := transfer.ParseManifest(text)
	if err != nil {
		return altered(err)
	}
	keys := slices.Sorted(slices.Values(x.envelope.Fingerprints))
	slices.Sort(manifest.RecipientKeys)
	switch {
	case manifest.PolicySHA256 != x.policy.Digest():
		return "the policy was changed after it was sealed", nil
	case manifest.Recipient != x.config.Recipient || !slices.Equal(manifest.RecipientKeys, keys):
		return "the recipient or its keys were changed after it was sealed", nil
	}
	return a.shapedOtherwise(ctx, x, drop)
}

// shapedOtherwise asks the same of the approvals: whether the closure under
// which the drop was sealed differs in what shapes a drop, such as a schema.
func (a *Agent) shapedOtherwise(ctx context.Context, x *exchange, drop *pendingDrop) (string, error) {
	var digest string
	err := a.db.QueryRowContext(ctx, `SELECT closure FROM sealed_under WHERE exchange = ? AND number = ?`, x.name, drop.number).Scan(&digest)
	if errors.Is(err, sql.ErrNoRows) {
		return "it was sealed before anything was approved", nil
	}
	if err != nil {
		return "", err
	}
	was, err := a.approvedClosure(digest)
	if err != nil {
		return "", err
	}
	for _, c := range changes(was, a.closure(x)) {
		if shapes(c.Part) {
			return c.Part + " was changed after it was sealed", nil
		}
	}
	return "", nil
}
