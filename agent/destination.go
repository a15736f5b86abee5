package agent

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/transfer"
)

// profile is that of the destination's server; nil: none is named.
func (d DestinationConfig) profile() *transfer.Profile {
	if d.SFTP == nil {
		return nil
	}
	return transfer.ProfileOf(d.SFTP.Profile)
}

// rules are how the recipient wants its server used.
func (d DestinationConfig) rules() transfer.Rules {
	byProfile := "yes"
	if p := d.profile(); p != nil && p.NoReadBack {
		byProfile = "no"
	}
	return transfer.Rules{NoReadBack: cmp.Or(d.ReadBack, byProfile) == "no", Temporary: d.TemporaryName}
}

// checkTemporary lets only bare files have other names on their way: who takes
// drops ignores those that the format has, and no others.
func checkTemporary(path string, r RecipientConfig, errs configErrors) {
	form := r.Destination.TemporaryName
	if form == "" {
		return
	}
	if err := transfer.CheckTemporary(form); err != nil {
		errs.add(path, "write a name that the recipient ignores, such as {name}.filepart", "%v", err)
	} else if r.Bare == nil {
		errs.add(path, "remove it, or add bare:", "names of a drop's files on their way are fixed by its format")
	}
}

// untested are warnings of servers that are known from documentation alone.
func (c *Config) untested() (warnings []string) {
	recipients, _ := c.recipientsOf("") // of "" it knows no error
	for _, name := range recipients {
		if p := c.Recipients[name].Destination.profile(); p != nil && p.Tested == "" {
			warnings = append(warnings, fmt.Sprintf("recipients.%s.destination.sftp.profile: %s; `postern doctor %s` tries the server", name, p.Known(), name))
		}
	}
	return warnings
}

// destination connects to where a recipient wants its drops, to use it as it wants.
func (a *Agent) destination(ctx context.Context, r RecipientConfig) (transfer.Destination, error) {
	d, err := a.connect(ctx, r)
	if err == nil {
		d.Obey(r.Destination.rules())
	}
	return d, err
}

func (a *Agent) connect(ctx context.Context, r RecipientConfig) (transfer.Destination, error) {
	if f := r.Destination.Folder; f != nil {
		receipts := f.Receipts
		if receipts != "" {
			receipts = a.Config.Path(receipts)
		}
		return transfer.NewFolder(a.Config.Path(f.Path), receipts)
	}
	if r.Destination.SFTP == nil {
		return a.web(r.Destination)
	}
	s := r.Destination.SFTP
	text, err := keyring.Resolve(s.Key, a.Config.Dir)
	var login ssh.Signer
	if err == nil {
		login, err = sshsig.LoadSigner(text)
	}
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "login key for %s", s.Host)
	}
	hostKey, err := transfer.ParseHostKey(s.HostKey)
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "host key of %s", s.Host)
	}
	port := s.Port
	if port == 0 {
		port = 22
	}
	return transfer.DialSFTP(ctx, transfer.SFTPConfig{
		Address: net.JoinHostPort(s.Host, strconv.Itoa(port)), User: s.User, Signer: login,
		HostKey: hostKey, Folder: s.Folder, Receipts: s.Receipts,
	})
}
