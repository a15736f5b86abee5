package agent_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

// stored is a server that keeps what is put there, of whom it knows. (What real
// servers do is tested in transfer.)
func stored(t *testing.T, dir string) *httptest.Server {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := filepath.Join(dir, filepath.Base(r.URL.Path))
		if user, password, _ := r.BasicAuth(); user != "clinic" || password != "a word" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.Method {
		case http.MethodPut:
			text, err := io.ReadAll(r.Body)
			if err != nil || os.WriteFile(name, text, 0o600) != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		case http.MethodDelete:
			_ = os.Remove(name)
		default:
			http.ServeFile(w, r, name)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// A drop goes to a web server, which knows us by a password and is vouched for
// by a file of our own.
func TestDropToAWebServer(t *testing.T) {
	t.Parallel()
	h, inbox := build(t, synthetic.Options{Patients: 20}), t.TempDir()
	server := stored(t, inbox)
	h.write("keys/payer-ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	h.write("keys/password", "a word\n")
	h.must(os.Chmod(filepath.Join(h.dir, "keys", "password"), 0o600))
	const plan = synthetic.HealthPlan
	r := h.agent.Config.Recipients[plan]
	r.Receipt = agent.ReceiptConfig{Mode: "none"}
	r.Destination = agent.DestinationConfig{HTTPS: &agent.HTTPSConfig{URL: server.URL + "/inbox/", CA: "keys/payer-ca.pem", User: "clinic", Password: "file:keys/password"}}
	h.agent.Config.Recipients[plan] = r
	exchange := demo.Exchanges[0]
	if o := h.run(exchange, agent.RunOptions{}); o.Released == 0 {
		t.Fatal("nothing was released")
	}
	if _, err := h.agent.Deliver(t.Context(), exchange); err != nil {
		t.Fatal(err)
	}
	if got := h.query(`SELECT state FROM delivery`); got != "hash-verified" {
		t.Errorf("state %s", got)
	}
	if names, _ := filepath.Glob(filepath.Join(inbox, "*.done")); len(names) != 1 {
		t.Errorf("%v", names)
	}
	for want, change := range map[string]func(*agent.HTTPSConfig){
		"who vouches for its certificate":            func(c *agent.HTTPSConfig) { c.CA = "" },
		"ca: keys/password: it holds no certificate": func(c *agent.HTTPSConfig) { c.CA = "keys/password" },
		"keys/none: no such file":                    func(c *agent.HTTPSConfig) { c.Password = "file:keys/none" },
		"login was refused: the server answers 401":  func(c *agent.HTTPSConfig) { c.Password = "file:keys/payer-ca.pem" },
		"failed to find any PEM data in certificate": func(c *agent.HTTPSConfig) { c.Certificate, c.Key = "file:keys/password", "file:keys/password" },
	} {
		c := *r.Destination.HTTPS
		change(&c)
		other := r
		other.Destination.HTTPS = &c
		h.agent.Config.Recipients[plan] = other
		found, err := h.agent.Doctor(t.Context(), plan)
		h.must(err)
		if got := fmt.Sprint(found); !strings.Contains(got, want) || strings.Contains(got, "a word") {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}
