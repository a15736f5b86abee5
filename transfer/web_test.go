package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t testing.TB, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "payer"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(t, os.WriteFile(filepath.Join(dir, "cert.pem"), public, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(public)
	return roots
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

func address(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	must(t, err)
	return u
}

// nginx serves a folder to who knows the password (RFC 7617), and takes files by
// its module for WebDAV. limits is what stands beside.
func nginx(t testing.TB, limits string) (WebConfig, string) {
	t.Helper()
	peer(t, "nginx")
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755))
	inbox := filepath.Join(dir, "www", "inbox")
	must(t, os.MkdirAll(inbox, 0o777))
	roots, at := certificate(t, dir), freePort(t)
	who, err := user.Current()
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "users"), []byte("clinic:{PLAIN}a word\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "nginx.conf"), fmt.Appendf(nil, `daemon off; pid nginx.pid; error_log stderr; user %s;
events {}
http {
  access_log off; client_body_temp_path body; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {
    listen %s ssl; ssl_certificate %s/cert.pem; ssl_certificate_key %[3]s/key.pem; root www; client_max_body_size 0;
    auth_basic x; auth_basic_user_file %[3]s/users;
    location / { dav_methods PUT DELETE; %s }
    location /moved/ { return 308 https://elsewhere.example/; }
  }
}
`, who.Username, at, dir, limits), 0o644))
	started(t, at, exec.Command("nginx", "-p", dir, "-c", "nginx.conf", "-e", "stderr"))
	return WebConfig{Folder: address(t, "https://"+at+"/inbox/"), Roots: roots, User: "clinic", Password: "a word"}, inbox
}

// started runs a server until the test ends, and waits until it answers.
func started(t testing.TB, at string, server *exec.Cmd) {
	t.Helper()
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	must(t, server.Start())
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		<-ended
	})
	for {
		conn, err := net.Dial("tcp", at)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", server.Path, err, said.Bytes())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestWebServer(t *testing.T) {
	c, inbox := nginx(t, "")
	w, _, files := someDrop(t)
	d := NewWeb(c)
	evidence, err := d.Deliver(context.Background(), files, quiet)
	must(t, err)
	if evidence.State != HashVerified || evidence.Plan.renames() || evidence.Plan.Allows(canList) {
		t.Errorf("%+v", evidence)
	}
	sameFiles(t, inbox, files)
	if evidence, err = d.Deliver(context.Background(), files, quiet); err != nil || !evidence.Files[0].Already {
		t.Errorf("again: %+v %v", evidence, err)
	}
	if got := receiveOne(t, w.receiver(t), inbox); got.Status != Accepted {
		t.Error(got.Fault)
	}
	if _, err := d.Withdraw(context.Background(), files); !errors.Is(err, ErrDelivered) {
		t.Errorf("a whole drop was withdrawn: %v", err)
	}
	must(t, os.Remove(filepath.Join(inbox, files[len(files)-1].Name)))
	if removed, err := d.Withdraw(context.Background(), files); err != nil || len(removed) != len(files)-1 {
		t.Errorf("withdrew %v %v", removed, err)
	}
	sameFiles(t, inbox, nil)

	big := bigDrop(t, 3<<20)
	must(t, os.WriteFile(filepath.Join(inbox, big[0].Name), make([]byte, big[0].Size), 0o644))
	if _, err := d.Deliver(context.Background(), big, quiet); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a taken name: %v", err)
	}
}

// Each refusal has its kind, which decides the exit code, and its remedy.
func TestWebServersThatRefuse(t *testing.T) {
	_, _, files := someDrop(t)
	for _, c := range []struct {
		name, limits string
		change       func(*WebConfig)
		kind         error
		remedy       string
		state        State
	}{
		{"another password", "", func(c *WebConfig) { c.Password = "no" }, ErrAuth, "password", 0},
		{"a token where it wants a password", "", func(c *WebConfig) { c.User, c.Token = "", "t" }, ErrAuth, "token", 0},
		{"a certificate of nobody we know", "", func(c *WebConfig) { c.Roots = nil }, ErrHostKey, "who vouches for its certificate", 0},
		{"a folder that is not there", "", func(c *WebConfig) { c.Folder = c.Folder.JoinPath("no/") }, ErrDestination, "will be repeated", 0},
		{"another address", "", func(c *WebConfig) { c.Folder.Path = "/moved/" }, ErrDestination, "the folder's own address", 0},
		{"nothing that long", "client_max_body_size 20;", nil, ErrDestination, "too large for the server", 0},
		{"no server", "", func(c *WebConfig) { c.Folder.Host = freePort(t) }, ErrDestination, "will be repeated", 0},
		{"no reading", "limit_except PUT DELETE { deny all; }", nil, nil, "", Stored},
		{"sizes only", "if ($request_method = GET) { return 403; }", nil, nil, "", SizeVerified},
		{"no removing", "limit_except GET PUT { deny all; }", nil, nil, "", HashVerified},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, inbox := nginx(t, c.limits)
			if c.change != nil {
				c.change(&config)
			}
			evidence, err := NewWeb(config).Deliver(context.Background(), files, quiet)
			if c.kind == nil {
				must(t, err)
				if evidence.State != c.state {
					t.Errorf("state %s", evidence.State)
				}
				removeLeft(t, inbox, evidence)
				sameFiles(t, inbox, files)
				evidence, err = NewWeb(config).Deliver(context.Background(), files, quiet)
				must(t, err)
				removeLeft(t, inbox, evidence)
				sameFiles(t, inbox, files)
				return
			}
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.remedy) || strings.Contains(err.Error(), "a word") {
				t.Errorf("got %v", err)
			}
			sameFiles(t, inbox, nil)
		})
	}
}

// cutting passes connections on to a server, the first of which it ends after
// so many bytes.
func cutting(t testing.TB, to string, after int64) string {
	first := true
	return relay(t, to, func(in, out net.Conn) {
		cut := first
		first = false
		go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
		go func() {
			if cut {
				_, _ = io.CopyN(out, in, after)
			} else {
				_, _ = io.Copy(out, in)
			}
			_ = in.Close()
			_ = out.Close()
		}()
	})
}

func TestWebServerCutThenWholeFile(t *testing.T) {
	c, inbox := nginx(t, "")
	plan, err := NewWeb(c).Probe(context.Background(), nil)
	must(t, err)
	c.Folder.Host = cutting(t, c.Folder.Host, 1<<20)
	files := bigDrop(t, 3<<20)
	d := NewWeb(c)
	plan.Where = c.Folder.String()
	_, err = d.Probe(context.Background(), &plan)
	must(t, err)
	if _, err := d.Deliver(context.Background(), files, quiet); !errors.Is(err, ErrDestination) {
		t.Fatalf("the cut went unnoticed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(inbox, files[1].Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the cut .done is there: %v", err)
	}
	_, err = d.Deliver(context.Background(), files, quiet)
	must(t, err)
	sameFiles(t, inbox, files)
}

// A server that takes nothing more is given up.
func TestSilentWebServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close() // it never says a word
		}
	}()
	p := usualPace
	p.silence, p.handshake = 100*time.Millisecond, time.Minute
	d := newWeb(WebConfig{Folder: address(t, "https://"+l.Addr().String()+"/")}, p)
	if _, err := d.Deliver(context.Background(), bigDrop(t, 100), quiet); !errors.Is(err, ErrDestination) {
		t.Errorf("got %v", err)
	}
}

// s3 is a bucket of s3rver (npm). It looks at the account, not at the signature.
func s3(t testing.TB) WebConfig {
	t.Helper()
	peer(t, "node")
	module := os.Getenv("S3RVER")
	if module == "" {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer s3rver is missing: S3RVER names its folder")
		}
		t.Skip("peer s3rver is missing: S3RVER names its folder")
	}
	dir := t.TempDir()
	roots := certificate(t, dir)
	must(t, os.WriteFile(filepath.Join(dir, "s3.js"), fmt.Appendf(nil, `
const S3rver = require(%q), fs = require("fs");
const s = new S3rver({address: "127.0.0.1", port: 0, silent: true, directory: %q, key: fs.readFileSync(%[3]q), cert: fs.readFileSync(%q),
  configureBuckets: [{name: "drops"}]});
s.run().then(a => console.log(a.port));
process.stdin.on("end", () => process.exit(0)).resume();
`, module, filepath.Join(dir, "data"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")), 0o644))
	server := exec.Command("node", filepath.Join(dir, "s3.js"))
	in, err := server.StdinPipe()
	must(t, err)
	out, err := server.StdoutPipe()
	must(t, err)
	server.Stderr = os.Stderr
	server.Env = append(os.Environ(), "NODE_OPTIONS=--openssl-legacy-provider") // for its marks of where a list goes on
	must(t, server.Start())
	t.Cleanup(func() { _ = in.Close(); _ = server.Wait() })
	port, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	at := "https://127.0.0.1:" + strings.TrimSpace(port) + "/drops/"
	return WebConfig{Folder: address(t, at+"clearview/"), Receipts: address(t, at+"receipts/"), Roots: roots, S3: &S3Keys{"us-east-1", "S3RVER", "S3RVER"}}
}

func TestS3(t *testing.T) {
	c := s3(t)
	w, sealed, files := someDrop(t)
	d := NewWeb(c)
	evidence, err := d.Deliver(context.Background(), files, quiet)
	must(t, err)
	if evidence.State != HashVerified || !evidence.Plan.Allows(canList) || !evidence.Plan.Allows(canRemove) {
		t.Errorf("%+v", evidence)
	}
	store := d.in(context.Background(), c.Folder)
	entries, err := store.list()
	must(t, err)
	if len(entries) != len(files) {
		t.Errorf("%d objects, want %d", len(entries), len(files))
	}
	if evidence, err = d.Deliver(context.Background(), files, quiet); err != nil || !evidence.Files[0].Already {
		t.Errorf("again: %+v %v", evidence, err)
	}

	// What is there is the drop; the recipient lays its receipt into another folder.
	inbox := t.TempDir()
	for _, e := range entries {
		must(t, read(store, e, func(name string, from io.Reader) error {
			text, err := io.ReadAll(from)
			return errors.Join(err, os.WriteFile(filepath.Join(inbox, name), text, 0o600))
		}))
	}
	r := w.receiver(t)
	r.Receipts = t.TempDir()
	if got := receiveOne(t, r, inbox); got.Status != Accepted {
		t.Fatal(got.Fault)
	}
	answers := d.in(context.Background(), c.Receipts)
	for _, name := range []string{"cv.x7.000001.receipt.json", "cv.x7.000001.receipt.json.sig"} {
		text, err := os.ReadFile(filepath.Join(r.Receipts, name))
		must(t, err)
		must(t, answers.write(name, bytes.NewReader(text), int64(len(text)), false))
	}
	here := t.TempDir()
	names, err := d.Receipts(context.Background(), here, func(string) bool { return false })
	must(t, err)
	if fmt.Sprint(names) != "[cv.x7.000001.receipt.json]" {
		t.Fatalf("receipts %v", names)
	}
	if c := compareReceipt(t, w, sealed, filepath.Join(here, names[0])); c.Outcome != Acknowledged {
		t.Errorf("%s %v", c.Outcome, c.Differences)
	}

	other := c
	other.S3 = &S3Keys{"us-east-1", "ANOTHER", "S3RVER"}
	if _, err := NewWeb(other).Deliver(context.Background(), files, quiet); !errors.Is(err, ErrAuth) {
		t.Errorf("another account: %v", err)
	}
}

// Requests are signed as curl signs them.
func TestS3Signature(t *testing.T) {
	peer(t, "curl")
	type seen struct {
		header http.Header
		url    *url.URL
		host   string
	}
	asked := make(chan seen, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- seen{r.Header, r.URL, r.Host} }))
	defer server.Close()
	for _, c := range []struct{ method, path string }{
		{"PUT", "/drops/clearview/.cv.x7.000001.001.zst.age.k3.part"},
		{"GET", "/drops?continuation-token=a%2Bb%3D%2Fc&delimiter=%2F&list-type=2&prefix=clear%20view%2F"},
		{"DELETE", "/drops/clear%20view/cv.x7.000001.SHA256SUMS"},
	} {
		if out, err := exec.Command("curl", "-sS", "-g", "-X", c.method, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--aws-sigv4", "aws:amz:eu-west-3:s3",
			"--user", "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", server.URL+c.path).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		its := <-asked
		at, err := time.Parse("20060102T150405Z", its.header.Get("X-Amz-Date"))
		must(t, err)
		ours, err := http.NewRequest(c.method, "http://"+its.host+c.path, nil)
		must(t, err)
		(&S3Keys{"eu-west-3", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}).sign(ours, at)
		if got, want := ours.Header.Get("Authorization"), its.header.Get("Authorization"); got != want {
			t.Errorf("%s %s: got\n%s\nwant\n%s", c.method, c.path, got, want)
		}
	}
}

// A list longer than one answer is read to its end.
func TestS3Pages(t *testing.T) {
	c := s3(t)
	store := NewWeb(c).in(context.Background(), c.Folder)
	for i := range 1005 {
		must(t, store.write(fmt.Sprintf("f%04d", i), strings.NewReader("x"), 1, false))
	}
	entries, err := store.list()
	must(t, err)
	if len(entries) != 1005 || entries[1004].Name() != "f1004" || entries[3].Size() != 1 || entries[3].ModTime().IsZero() {
		t.Errorf("%d objects", len(entries))
	}
}

// A store whose list never ends is given up, and not listened to until memory is full.
func TestListWithoutEnd(t *testing.T) {
	asked := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		_, _ = io.WriteString(w, `<ListBucketResult><Contents><Key>in/../x</Key><Size>1</Size></Contents><NextContinuationToken>more</NextContinuationToken></ListBucketResult>`)
	}))
	defer server.Close()
	folder, err := url.Parse(server.URL + "/bucket/in/")
	must(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	d := NewWeb(WebConfig{Folder: folder, Receipts: folder, Roots: roots, S3: &S3Keys{"eu-west-3", "A", "B"}})
	defer d.Close()
	_, err = d.Receipts(t.Context(), t.TempDir(), func(string) bool { return false })
	if err == nil || !strings.Contains(err.Error(), "no end") || asked != maxListPages {
		t.Errorf("%d pages were read: %v", asked, err)
	}
}
