package transfer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ssh"
)

// proftpd gives an account on ProFTPD's mod_sftp, an SFTP server that shares no
// code with OpenSSH. limits stand in the configuration of the inbox.
func proftpd(t testing.TB, limits string) (SFTPConfig, string) {
	t.Helper()
	peer(t, "proftpd", "ssh-keygen")
	me, err := user.Current()
	must(t, err)
	group, err := user.LookupGroupId(me.Gid)
	must(t, err)
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	for _, folder := range []string{"inbox", "receipts"} {
		must(t, os.Mkdir(filepath.Join(dir, folder), 0o755))
	}
	host, client := newParty(t, "host"), newParty(t, "client")
	must(t, os.WriteFile(filepath.Join(dir, "host_key"), host.pem, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "client.pub"), ssh.MarshalAuthorizedKey(client.signer.PublicKey()), 0o600))
	key, err := exec.Command("ssh-keygen", "-e", "-f", filepath.Join(dir, "client.pub")).Output() // as RFC 4716 has it
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "authorized"), key, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "passwd"), fmt.Appendf(nil, "clinic:x:%s:%s::%s:/bin/sh\n", me.Uid, me.Gid, dir), 0o600))
	at := freePort(t)
	must(t, os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, `
ModulePath /usr/lib/proftpd
LoadModule mod_sftp.c
ServerType standalone
DefaultServer on
DefaultAddress 127.0.0.1
Port %[1]s
User %[2]s
Group %[3]s
PidFile %[4]s/pid
ScoreboardFile %[4]s/scoreboard
WtmpLog off
TransferLog none
AuthOrder mod_auth_file.c
AuthUserFile %[4]s/passwd
RequireValidShell off
RootLogin on
SFTPEngine on
SFTPHostKey %[4]s/host_key
SFTPAuthMethods publickey
SFTPAuthorizedUserKeys file:%[4]s/authorized
AllowOverwrite on
<Directory %[4]s/inbox>
%[5]s
</Directory>
`, at[len("127.0.0.1:"):], me.Username, group.Name, dir, limits), 0o600))
	started(t, at, exec.Command("proftpd", "-n", "-c", filepath.Join(dir, "config")))
	return SFTPConfig{Address: at, User: "clinic", HostKey: host.signer.PublicKey(), Signer: client.signer,
		Folder: filepath.Join(dir, "inbox"), Receipts: filepath.Join(dir, "receipts")}, dir
}

// What ProFTPD refuses is found out, and followed.
func TestProFTPD(t *testing.T) {
	for _, c := range []struct {
		name, limits string
		state        State
		renames      bool
	}{
		{"everything allowed", "", HashVerified, true},
		{"no renaming", "<Limit RNFR RNTO>\nDenyAll\n</Limit>", HashVerified, false},
		{"no reading", "<Limit RETR>\nDenyAll\n</Limit>", SizeVerified, true},
		{"no removing", "<Limit DELE>\nDenyAll\n</Limit>", HashVerified, true},
		{"no listing", "<Limit DIRS>\nDenyAll\n</Limit>", HashVerified, false}, // it counts renaming among these
		{"no overwriting", "AllowOverwrite off", HashVerified, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, dir := proftpd(t, c.limits)
			inbox := filepath.Join(dir, "inbox")
			_, _, files := someDrop(t)
			for range 2 {
				evidence, err := dial(t, config).Deliver(context.Background(), files, quiet)
				must(t, err)
				if evidence.State != c.state || evidence.Plan.renames() != c.renames {
					t.Errorf("%s, %+v", evidence.State, evidence.Plan)
				}
				removeLeft(t, inbox, evidence)
				sameFiles(t, inbox, files)
			}
		})
	}
}

func TestProFTPDLargeFile(t *testing.T) {
	config, dir := proftpd(t, "")
	files := bigDrop(t, 40<<20)
	evidence, err := dial(t, config).Deliver(context.Background(), files, quiet)
	must(t, err)
	if evidence.State != HashVerified {
		t.Errorf("%+v", evidence)
	}
	sameFiles(t, filepath.Join(dir, "inbox"), files)
}
