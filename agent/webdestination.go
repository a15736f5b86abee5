package agent

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/transfer"
)

// HTTPSConfig is a folder of a recipient's web server that takes files by PUT.
// Who we are it learns by a password, a token or a certificate.
type HTTPSConfig struct {
	URL         string `yaml:"url,required"`
	CA          string `yaml:"ca"` // file of who vouches for the server; "": whom the system trusts
	User        string `yaml:"user"`
	Password    string `yaml:"password"` // references, as all below
	Token       string `yaml:"token"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// S3Config is a folder of a recipient's S3-compatible store, the bucket first in
// its path.
type S3Config struct {
	URL       string `yaml:"url,required"`
	Receipts  string `yaml:"receipts"` // URL of the folder where receipts are laid
	CA        string `yaml:"ca"`
	Region    string `yaml:"region,required"`
	AccessKey string `yaml:"access_key,required"` // references
	SecretKey string `yaml:"secret_key,required"`
}

func checkWeb(path string, d DestinationConfig, errs configErrors) {
	if h := d.HTTPS; h != nil {
		checkURL(path+".https.url", h.URL, errs)
		ways := 0
		for _, pair := range [][2]string{{h.User, h.Password}, {h.Certificate, h.Key}, {h.Token, h.Token}} {
			if (pair[0] == "") != (pair[1] == "") {
				errs.add(path+".https", "write user: with password:, or certificate: with key:, or token:", "one of the two is missing")
			}
			if pair[0] != "" {
				ways++
			}
		}
		if ways != 1 {
			errs.add(path+".https", "write user: with password:, or certificate: with key:, or token:", "exactly one of them tells the server who we are")
		}
	}
	if s := d.S3; s != nil {
		checkURL(path+".s3.url", s.URL, errs)
		if s.Receipts != "" {
			checkURL(path+".s3.receipts", s.Receipts, errs)
		}
	}
}

func checkURL(path, text string, errs configErrors) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Path, "/") {
		errs.add(path, "write https://HOST/FOLDER/, with a slash at the end; passwords stand beside it", "no address of a folder")
	}
}

// lines tell approvers where drops go.
func (h *HTTPSConfig) lines() []string {
	as := "certificate"
	if h.User != "" {
		as = "user " + h.User
	} else if h.Token != "" {
		as = "token"
	}
	return []string{line("https", h.URL), line("as", as)}
}

// vouching tells approvers who vouches for the server.
func (c *Config) vouching(ca string) string {
	if ca == "" {
		return "vouched for by whom the system trusts"
	}
	text, err := os.ReadFile(c.Path(ca))
	if err != nil {
		return "vouched for by a file that cannot be read"
	}
	return line("vouched for by a file with SHA-256", hexSum(text))
}

// web prepares the destination of a web server or a store.
func (a *Agent) web(d DestinationConfig) (transfer.Destination, error) {
	var w transfer.WebConfig
	var err error
	secret := func(ref string) string {
		if ref == "" || err != nil {
			return ""
		}
		var text []byte
		text, err = keyring.Resolve(ref, a.Config.Dir)
		return strings.TrimRight(string(text), "\r\n")
	}
	at, ca := "", ""
	switch h, s := d.HTTPS, d.S3; {
	case h != nil:
		at, ca = h.URL, h.CA
		w.User, w.Password, w.Token = h.User, secret(h.Password), secret(h.Token)
		if certificate, key := secret(h.Certificate), secret(h.Key); certificate != "" && err == nil {
			var pair tls.Certificate
			pair, err = tls.X509KeyPair([]byte(certificate), []byte(key))
			w.Client = &pair
		}
	default:
		at, ca = s.URL, s.CA
		w.S3 = &transfer.S3Keys{Region: s.Region, AccessKey: secret(s.AccessKey), SecretKey: secret(s.SecretKey)}
		if s.Receipts != "" && err == nil {
			w.Receipts, err = url.Parse(s.Receipts)
		}
	}
	if err == nil {
		w.Folder, err = url.Parse(at)
	}
	if ca != "" && err == nil {
		var text []byte
		if text, err = os.ReadFile(a.Config.Path(ca)); err == nil {
			w.Roots = x509.NewCertPool()
			if !w.Roots.AppendCertsFromPEM(text) {
				err = errors.New("it holds no certificate in PEM")
			}
			if err != nil {
				err = fmt.Errorf("ca: %s: %w", ca, err)
			}
		}
	}
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "login for %s", at)
	}
	return transfer.NewWeb(w), nil
}
