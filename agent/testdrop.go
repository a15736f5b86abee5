package agent

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// TestSent is a test drop as it lies in the recipient's test folder.
type TestSent struct {
	Exchange  string           `json:"exchange"`
	Recipient string           `json:"recipient"`
	Drop      string           `json:"drop"` // CODE.EXCHANGE.NUMBER
	Folder    string           `json:"folder"`
	State     string           `json:"state"`
	Manifest  string           `json:"manifest_sha256"`
	Files     []transfer.Event `json:"files"`
}

// What tells a test drop from others, in its sender's name and at the beginning
// of its files' (docs/drop-format.md, Test drops).
const (
	testSender = transfer.TestSender
	testCode   = "test"
)

// SendTest makes a drop that has the shape of the exchange's and is about nobody,
// and lays it into the recipient's test folder. It reads no record, list or
// memory of the clinic, needs no approval, and leaves nothing in the state but an
// entry of the ledger, from which test drops have their numbers.
func (a *Agent) SendTest(ctx context.Context, name string) (*TestSent, error) {
	x, err := a.load(name)
	if err != nil {
		return nil, err
	}
	sent := &TestSent{Exchange: name, Recipient: x.config.Recipient, Folder: x.recipient.Destination.TestFolder}
	if x.envelope == nil { // who may not be sent to
		return nil, x.lapsed
	}
	if sent.Folder == "" {
		return nil, fail(Configuration, nil, "ask the recipient for a folder for tests, and add test_folder: FOLDER there",
			"recipients.%s.destination has no folder for test drops", x.config.Recipient)
	}
	if x.envelope == nil || x.recipient.Bare != nil && x.lapsed != nil { // a policy that has lapsed may be tested otherwise
		return nil, x.lapsed
	}
	lease, err := takeLease(ctx, a.db, name+"/test", leaseOwner(), a.Now)
	if err != nil {
		return nil, err
	}
	defer lease.Release()
	if err := a.sweepPlans(x.config.ID); err != nil {
		return nil, err
	}
	dir := a.planDir(x.config.ID)
	return sent, errors.Join(a.sendTest(lease.Context, x, dir, sent), durable.RemoveAll(dir))
}

func (a *Agent) sendTest(ctx context.Context, x *exchange, dir string, sent *TestSent) error {
	number, err := a.nextTest(ctx, x)
	if err != nil {
		return err
	}
	signer, _, err := a.signers(ctx, x) // the test name is given no key by a drop
	if err != nil {
		return err
	}
	spec := transfer.DropSpec{
		Dir: filepath.Join(dir, "drop"), Sender: a.Config.Organization.ID + testSender, Recipient: x.config.Recipient, Exchange: x.config.ID, Sequence: number,
		Code: testCode + a.Config.Organization.Code, Archive: a.archive.Key, Signer: signer, PolicySHA256: x.policy.Digest(), Envelope: x.envelope,
	}
	for n := int64(1); n < number; n++ { // it stands alone, whatever became of those before
		spec.Voids = append(spec.Voids, n)
	}
	if spec.Bare, err = a.testFiles(x, number); err != nil {
		return err
	}
	if err := durable.MkdirAll(spec.Dir, 0o700); err != nil {
		return err
	}
	builder, err := transfer.NewDrop(spec)
	if err != nil {
		return err
	}
	defer builder.Discard()
	sealed, err := build.TestDrop(ctx, &build.Job{
		Exchange: x.name, Recipient: x.config.Recipient, Number: number, Policy: x.policy, Schemas: x.schemas,
		AsOf: extract.DayOf(a.Now().In(a.Config.Zone)), DecidedAt: a.Now(), Epoch: build.Epoch{Name: "test", Secret: keyring.NewSecret()},
		Scratch: dir, Drop: drop{builder}, Archive: a.archive.Key, Indexed: a.archive.Key, MaxRows: x.recipient.Destination.MaxRows, Workers: 1, Stages: &build.Stages{Exchange: x.name},
	})
	if err != nil {
		return err
	}
	sent.Drop, sent.Manifest = transfer.Base{Code: spec.Code, Exchange: spec.Exchange, Sequence: number}.String(), sealed.ManifestSHA256
	// The number is taken before a byte can leave: it never stands for two drops.
	if err := inTx(ctx, a.db, func(tx *sql.Tx) error {
		return a.record(ctx, tx, ledger.TestDrop, x, number, map[string]any{"manifest_sha256": sealed.ManifestSHA256, "recipient": x.config.Recipient})
	}); err != nil {
		return err
	}
	to := x.recipient
	to.Destination, _ = to.Destination.elsewhere(to.Destination.TestFolder)
	destination, err := a.destination(ctx, to)
	if err != nil {
		return deliveryFailure(ctx, err, x, &pendingDrop{number: number})
	}
	defer destination.Close()
	if _, err := destination.Probe(ctx, nil); err != nil { // what is known is of another folder
		return deliveryFailure(ctx, err, x, &pendingDrop{number: number})
	}
	files, err := a.outward(ctx, x, 0, transfer.Deliverables(spec.Dir, sealed.Files), nil)
	if err != nil {
		return err
	}
	evidence, err := destination.Deliver(ctx, files, func(e transfer.Event) {})
	if err != nil {
		return deliveryFailure(ctx, err, x, &pendingDrop{number: number})
	}
	sent.State, sent.Files = evidence.State.String(), evidence.Files
	return nil
}

// nextTest is the number of the next test drop, by the ledger.
func (a *Agent) nextTest(ctx context.Context, x *exchange) (number int64, err error) {
	for entry, err := range a.LedgerEntries(ctx) {
		if err != nil {
			return 0, err
		}
		var event ledger.Event
		if json.Unmarshal(entry.Text, &event) == nil && event.Kind == ledger.TestDrop && event.Exchange == x.config.ID {
			number = event.Sequence
		}
	}
	return number + 1, nil
}

// elsewhere is the destination with another folder in place of its own, and
// where that is.
func (d DestinationConfig) elsewhere(folder string) (other DestinationConfig, instead string) {
	other = d
	other.TestFolder = ""
	switch {
	case d.Folder != nil:
		instead, other.Folder = d.Folder.Path, &FolderConfig{Path: folder}
	case d.SFTP != nil:
		other.SFTP = new(SFTPConfig)
		*other.SFTP = *d.SFTP
		instead, other.SFTP.Folder, other.SFTP.Receipts = d.SFTP.Folder, folder, ""
	case d.HTTPS != nil:
		other.HTTPS = new(HTTPSConfig)
		*other.HTTPS = *d.HTTPS
		instead, other.HTTPS.URL = d.HTTPS.URL, folder
	default:
		other.S3 = new(S3Config)
		*other.S3 = *d.S3
		instead, other.S3.URL, other.S3.Receipts = d.S3.URL, folder, ""
	}
	return other, instead
}

// checkTests holds the folder for tests apart from the one for drops, and at the
// same server: nobody approves it, and logging in there shows our secrets.
func checkTests(path string, d DestinationConfig, errs configErrors) {
	tests, instead := d.elsewhere(d.TestFolder)
	if d.TestFolder == instead {
		errs.add(path, "name another folder", "test drops would lie among the others")
	}
	if d.HTTPS == nil && d.S3 == nil {
		return
	}
	own, _ := url.Parse(instead)
	if u, err := url.Parse(d.TestFolder); err != nil || own == nil || u.Scheme != own.Scheme || u.Host != own.Host {
		errs.add(path, "write a URL at the same server", "test drops go to another server")
		return
	}
	checkWeb(path, tests, errs)
}
