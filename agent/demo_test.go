package agent

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// Where sample texts pass for legal ones, nothing may reach another machine.
func TestDemoSendsToNoOtherMachine(t *testing.T) {
	for _, demo := range []bool{false, true} {
		for _, host := range []string{"127.0.0.1", "sftp.acme.example"} {
			var c Config
			source, _ := strictyaml.Decode("postern.yaml", fmt.Appendf(nil,
				"demo: %v\nrecipients:\n  acme:\n    destination:\n      sftp: {host: %s, user: u, key: \"file:k\", folder: f, host_key: k}\n", demo, host), &c) // the rest of it is missing
			c.check(configErrors{source})
			refused := slices.ContainsFunc(source.Errors().List, func(m strictyaml.Mistake) bool {
				return m.Path == "recipients.acme.destination"
			})
			if refused != (demo && host != "127.0.0.1") {
				t.Errorf("demo %v, host %s: refused %v", demo, host, refused)
			}
		}
	}
	if strings.Contains(firstConfig, "demo:") {
		t.Error("init makes a demo")
	}
}
