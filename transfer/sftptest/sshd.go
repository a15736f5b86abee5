package sftptest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
)

// SSHD is OpenSSH's own server, run as the present user on loopback.
type SSHD struct {
	Address string
	User    string
	HostKey ssh.PublicKey
	command *exec.Cmd
}

const sshdProgram = "/usr/sbin/sshd"

// HasSSHD tells whether OpenSSH's server is installed.
func HasSSHD() bool {
	_, err := os.Stat(sshdProgram)
	return err == nil
}

// StartSSHD starts it with its files in dir, for who has the key.
func StartSSHD(dir string, authorized ssh.PublicKey) (*SSHD, error) {
	private, public, err := sshsig.NewKey("host")
	if err != nil {
		return nil, err
	}
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &SSHD{Address: l.Addr().String(), User: me.Username}
	if s.HostKey, _, _, _, err = ssh.ParseAuthorizedKey(public); err != nil {
		return nil, err
	}
	if me.Uid == "0" {
		_ = os.MkdirAll("/run/sshd", 0o755) // privilege separation of a root sshd
	}
	config := fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s/host_key\nAuthorizedKeysFile %s/authorized\nPidFile none\nStrictModes no\nUsePAM no\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\nSubsystem sftp internal-sftp\n", l.Addr().(*net.TCPAddr).Port, dir, dir)
	if err := errors.Join(l.Close(), os.WriteFile(filepath.Join(dir, "host_key"), private, 0o600),
		os.WriteFile(filepath.Join(dir, "authorized"), ssh.MarshalAuthorizedKey(authorized), 0o600), os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600)); err != nil {
		return nil, err
	}
	s.command = exec.Command(sshdProgram, "-D", "-f", filepath.Join(dir, "config"))
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	return s, s.listens()
}

// listens waits until it takes connections.
func (s *SSHD) listens() error {
	look, late := time.NewTicker(10*time.Millisecond), time.After(30*time.Second)
	defer look.Stop()
	for {
		if conn, err := net.Dial("tcp", s.Address); err == nil {
			return conn.Close()
		}
		select {
		case <-look.C:
		case <-late:
			return errors.Join(errors.New("sshd does not listen"), s.Close())
		}
	}
}

// Close ends it.
func (s *SSHD) Close() error {
	err := s.command.Process.Kill()
	_ = s.command.Wait() // it was killed
	return err
}
