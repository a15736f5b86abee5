package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// A host key is one line: of two, the second would not be pinned.
func TestConfigPinsOneHostKey(t *testing.T) {
	var lines []string
	for range 2 {
		private, _, err := sshsig.NewKey("")
		if err != nil {
			t.Fatal(err)
		}
		signer, err := sshsig.LoadSigner(private)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))))
	}
	for text, right := range map[string]bool{
		lines[0]: true, "[sftp.acme.example]:22 " + lines[0]: true,
		lines[0] + "\n" + lines[1]: false, "@revoked * " + lines[0]: false, "acme": false,
	} {
		config := fmt.Sprintf("recipients:\n  acme:\n    destination:\n      sftp: {host: h, user: u, key: \"file:k\", folder: f, host_key: %s}\n", strconv.Quote(text))
		var c Config
		source, _ := strictyaml.Decode("postern.yaml", []byte(config), &c) // the rest of it is missing
		c.check(configErrors{source})
		refused := slices.ContainsFunc(source.Errors().List, func(m strictyaml.Mistake) bool {
			return m.Path == "recipients.acme.destination.sftp.host_key"
		})
		if refused == right {
			t.Errorf("%q: refused %v", text, refused)
		}
	}
}
