// Package demo plays the whole story on one machine: a synthetic clinic, three
// recipients with SFTP servers on loopback, one drop to each, their receipts,
// and the reconciliation.
//
// It promises that everything is made anew below one folder, that no person in
// it is real, and that it uses the product itself: the agent runs and delivers
// as it does in a clinic, and the recipients receive as `postern receive` does.
package demo

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
	"github.com/posternhealth/postern/transfer/sftptest"
)

//go:embed clinic
var files embed.FS

// Exchanges are the demo's flows, in the order in which they are run.
var Exchanges = []string{"acme-scores", "hie-treatment", "outcomes-registry"}

// World is the demo's clinic and its recipients, all below Dir.
type World struct {
	Dir        string
	Clinic     string // folder of postern.yaml
	Recipients []*Recipient
	Agent      *agent.Agent
	Summary    synthetic.Summary

	login ssh.PublicKey
}

// Recipient is one receiving organization with its server and its keys.
type Recipient struct {
	Name, Kind, Title, Address string
	Dir                        string // inbox, receipts, received
	EncryptTo, ReceiptKey      string
	Port                       string
	HostKey                    string

	identity *age.X25519Identity
	receipts ssh.Signer
	server   *sftptest.Server
}

func recipients() []*Recipient {
	return []*Recipient{
		{Name: synthetic.HealthPlan, Kind: "health-plan", Title: "Acme Health Plan", Address: "1 Plan Plaza"},
		{Name: synthetic.Exchange, Kind: "hie", Title: "Valley Health Information Exchange", Address: "2 Valley Road"},
		{Name: synthetic.Registry, Kind: "registry", Title: "National Outcomes Registry", Address: "3 Register Row"},
	}
}

// AsOf is the day that fixes the demo's periods and ages.
func AsOf() extract.Day {
	span, _ := extract.ParseSpan([]byte(synthetic.AsOf))
	return span.From
}

// New builds the world below dir, which must be empty or absent, and starts
// the recipients' servers. Close it.
func New(ctx context.Context, dir string, opt synthetic.Options, log hclog.Logger) (w *World, err error) {
	w = &World{Dir: dir, Clinic: filepath.Join(dir, "clinic"), Recipients: recipients()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return w, &agent.Failure{Class: agent.Usage, What: dir + " is not empty", Remedy: "name a new folder"}
	}
	if w.Summary, err = synthetic.Write(w.Clinic, opt); err != nil {
		return w, err
	}
	keys, err := agent.NewKeys(w.Clinic, dir)
	if err != nil {
		return w, err
	}
	if err := w.makeLogin(); err != nil {
		return w, err
	}
	for _, r := range w.Recipients {
		if err := w.open(r); err != nil {
			return w, fmt.Errorf("recipient %s: %w", r.Name, err)
		}
	}
	approvers, err := NewApprovers(w.ApproverKeys())
	if err != nil {
		return w, err
	}
	if err := w.writeClinic(keys, approvers); err != nil {
		return w, err
	}
	config := filepath.Join(w.Clinic, "postern.yaml")
	if err := Confirm(ctx, config, approvers); err != nil {
		return w, err
	}
	if w.Agent, err = agent.Open(ctx, config, log); err != nil {
		return w, err
	}
	return w, Approve(ctx, w.Agent, w.ApproverKeys(), Exchanges...)
}

// ApproverKeys is the folder of the approvers' keys.
func (w *World) ApproverKeys() string { return filepath.Join(w.Dir, "approvers") }

func (w *World) makeLogin() error {
	private, public, err := sshsig.NewKey("clearview sftp")
	if err != nil {
		return err
	}
	if w.login, _, _, _, err = ssh.ParseAuthorizedKey(public); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.Clinic, "keys", "sftp-login"), private, 0o600)
}

func (w *World) open(r *Recipient) error {
	r.Dir = filepath.Join(w.Dir, "recipients", r.Name)
	for _, folder := range []string{"inbox", "receipts", "received", "keys"} {
		if err := os.MkdirAll(filepath.Join(r.Dir, folder), 0o700); err != nil {
			return err
		}
	}
	var err error
	if r.identity, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	r.EncryptTo = r.identity.Recipient().String()
	private, public, err := sshsig.NewKey(r.Name + " receipts")
	if err != nil {
		return err
	}
	if r.receipts, err = sshsig.LoadSigner(private); err != nil {
		return err
	}
	r.ReceiptKey = strings.TrimSpace(string(public))
	for name, text := range map[string]string{"identity.txt": r.identity.String() + "\n", "receipt-key": string(private)} {
		if err := os.WriteFile(filepath.Join(r.Dir, "keys", name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if r.server, err = sftptest.Start(sftptest.Options{Root: r.Dir, Key: w.login}); err != nil {
		return err
	}
	r.HostKey = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(r.server.HostKey.PublicKey())))
	_, r.Port, err = net.SplitHostPort(r.server.Addr())
	return err
}

func (w *World) writeClinic(keys *agent.Keys, approvers []Approver) error {
	err := fs.WalkDir(files, "clinic/policies", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(w.Dir, filepath.FromSlash(path))
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o600)
	})
	if err != nil {
		return err
	}
	text, err := template.ParseFS(files, "clinic/postern.yaml.tmpl")
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(w.Clinic, "postern.yaml"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(text.Execute(out, struct {
		Keys       *agent.Keys
		Recipients []*Recipient
		Approvers  []Approver
	}{keys, w.Recipients, approvers}), out.Close())
}

// Close stops the servers and closes the agent.
func (w *World) Close() error {
	var err error
	if w.Agent != nil {
		err = w.Agent.Close()
	}
	for _, r := range w.Recipients {
		if r.server != nil {
			err = errors.Join(err, r.server.Close())
		}
	}
	return err
}

// Recipient finds a recipient by name.
func (w *World) Recipient(name string) *Recipient {
	for _, r := range w.Recipients {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Receiver is the recipient's side, trusting the clinic's keys.
func (w *World) Receiver(r *Recipient) (*transfer.Receiver, error) {
	keys, err := w.Agent.PublicKeys(context.Background())
	if err != nil {
		return nil, err
	}
	signersFile := filepath.Join(r.Dir, "keys", "allowed_signers")
	if err := os.WriteFile(signersFile, []byte(keys.AllowedSigners+"\n"), 0o600); err != nil {
		return nil, err
	}
	signers, err := sshsig.ParseAllowedSigners(signersFile, []byte(keys.AllowedSigners+"\n"))
	if err != nil {
		return nil, err
	}
	return &transfer.Receiver{
		Name: r.Name, Signers: signers, Identities: []age.Identity{r.identity}, ReceiptSigner: r.receipts,
		Dir: filepath.Join(r.Dir, "received"), Receipts: filepath.Join(r.Dir, "receipts"), Now: time.Now,
		CheckLedger: func(seen string, now transfer.Ledger) error {
			return ledger.VerifyContinues([]byte(seen), []byte(now.Checkpoint), keys.CheckpointKey, now.Proof)
		},
	}, nil
}

// Inbox is where the recipient's server puts what is uploaded.
func (r *Recipient) Inbox() string { return filepath.Join(r.Dir, "inbox") }
