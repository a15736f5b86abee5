package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/sshsig"
)

// Approver is one of the two people who approve the demo's exchanges. Their
// keys lie beside the clinic's folder, never in it.
type Approver struct{ Name, Key, Fingerprint string }

// approverNames are the files of the keys, and the people.
var approverNames = [][2]string{{"privacy-officer", "Ana Ruiz, privacy officer"}, {"medical-director", "Ben Okafor, medical director"}}

// NewApprovers makes the approvers' keys in dir.
func NewApprovers(dir string) ([]Approver, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	var list []Approver
	for _, name := range approverNames {
		private, public, err := sshsig.NewKey(name[0])
		if err != nil {
			return nil, err
		}
		signer, err := sshsig.LoadSigner(private)
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, name[0]), private, 0o600); err != nil {
			return nil, err
		}
		list = append(list, Approver{name[1], strings.TrimSpace(string(public)), ssh.FingerprintSHA256(signer.PublicKey())})
	}
	return list, nil
}

// Confirm plays init's part: the approvers have read their fingerprints out.
func Confirm(ctx context.Context, config string, approvers []Approver) error {
	var prints []string
	for _, p := range approvers {
		prints = append(prints, p.Fingerprint)
	}
	return agent.ConfirmApprovers(ctx, config, prints)
}

// Approve lets both approvers, whose keys lie in dir, sign what exchanges stand
// on now.
func Approve(ctx context.Context, a *agent.Agent, dir string, exchanges ...string) error {
	for _, exchange := range exchanges {
		approval, err := a.Approval(ctx, exchange)
		if err != nil {
			return err
		}
		if approval.Approved {
			continue
		}
		signatures, err := signatures(dir, approval.Statement)
		if err != nil {
			return err
		}
		if approval, err = a.Approve(ctx, exchange, signatures); err != nil {
			return err
		}
		if !approval.Approved {
			return fmt.Errorf("exchange %s: %s", exchange, approval)
		}
	}
	return nil
}

func signatures(dir, statement string) (list [][]byte, err error) {
	for _, name := range approverNames {
		key, err := os.ReadFile(filepath.Join(dir, name[0]))
		if err != nil {
			return nil, err
		}
		signature, err := agent.SignStatement([]byte(statement+"\n"), key)
		if err != nil {
			return nil, err
		}
		list = append(list, signature)
	}
	return list, nil
}
