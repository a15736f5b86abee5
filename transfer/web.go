package transfer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// WebConfig is a folder that takes files by HTTPS PUT (RFC 9110 §9.3.4), or one
// of an S3-compatible store.
type WebConfig struct {
	Folder   *url.URL         // its path ends in a slash; of S3 it begins with the bucket
	Receipts *url.URL         // of S3; nil: none are looked for
	Roots    *x509.CertPool   // who may vouch for the server; nil: whom the system trusts
	Client   *tls.Certificate // nil: none is shown
	User     string           // with Password
	Password string
	Token    string // a bearer's (RFC 6750)
	S3       *S3Keys
}

// Web is a destination on a web server. A server makes a file visible when all
// of it has come, but gives no promise of that, so the drop is whole with its
// `.done`, as on any server that renames nothing.
type Web struct {
	config WebConfig
	client *http.Client
	used
}

// NewWeb prepares a destination; nothing is connected to yet.
func NewWeb(c WebConfig) *Web { return newWeb(c, usualPace) }

func newWeb(c WebConfig, p pace) *Web {
	dialer := &net.Dialer{Timeout: p.dial}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &patientConn{conn, p.silence}, nil
		},
		TLSClientConfig:       &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   p.handshake,
		ExpectContinueTimeout: p.handshake,
		DisableCompression:    true, // what is read back are the very bytes
	}
	if c.Client != nil {
		transport.TLSClientConfig.Certificates = []tls.Certificate{*c.Client}
	}
	server := "https"
	if c.S3 != nil {
		server = "s3"
	}
	return &Web{
		config: c, used: used{Plan{Where: c.Folder.String(), Server: server}},
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// patientConn gives up a server that takes and sends nothing for a while.
type patientConn struct {
	net.Conn
	silence time.Duration
}

func (c *patientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// Write moves the deadline of a waiting Read, too: there is no answer before all
// is written.
func (c *patientConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.silence)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func (d *Web) Probe(ctx context.Context, known *Plan) (Plan, error) {
	if d.use.follow(known) {
		return d.use, nil
	}
	return probe(ctx, d.in(ctx, d.config.Folder))
}

func (d *Web) Deliver(ctx context.Context, files []File, log func(Event)) (Evidence, error) {
	return deliverTo(ctx, d.in(ctx, d.config.Folder), files, log)
}

func (d *Web) Withdraw(ctx context.Context, files []File) ([]string, error) {
	return withdrawFrom(d.in(ctx, d.config.Folder), files)
}

func (d *Web) Gone(ctx context.Context, files []File) (bool, error) {
	return goneFrom(d.in(ctx, d.config.Folder), files)
}

func (d *Web) Receipts(ctx context.Context, dir string, known func(string) bool) ([]string, error) {
	if d.config.Receipts == nil {
		return nil, nil
	}
	return fetchReceipts(ctx, d.in(ctx, d.config.Receipts), dir, known)
}

func (d *Web) Responses(ctx context.Context, want func(fs.FileInfo) bool, take func(string, io.Reader) error) error {
	if d.config.Receipts == nil {
		return nil
	}
	return openResponses(ctx, d.in(ctx, d.config.Receipts), want, take)
}

func (d *Web) Close() error {
	d.client.CloseIdleConnections()
	return nil
}

func (d *Web) in(ctx context.Context, folder *url.URL) *webStore {
	return &webStore{Web: d, ctx: ctx, folder: folder}
}

type webStore struct {
	*Web
	ctx    context.Context
	folder *url.URL
	broken error // of the line, not the server's answer
}

func (s *webStore) where() string { return s.folder.String() }
func (s *webStore) plan() *Plan   { return &s.use }

// statusError is an answer that is no success.
type statusError struct{ code int }

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", e.code, http.StatusText(e.code))
}

func (e *statusError) Is(target error) bool {
	switch e.code {
	case http.StatusNotFound, http.StatusGone:
		return target == fs.ErrNotExist
	case http.StatusPreconditionFailed:
		return target == fs.ErrExist
	case http.StatusForbidden:
		return target == errRefused || target == fs.ErrPermission
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return target == errRefused || target == errors.ErrUnsupported
	case http.StatusUnauthorized:
		return target == ErrAuth
	}
	return false
}

// ask sends one request; the answer is a success, and its body to be closed.
func (s *webStore) ask(method string, at *url.URL, body io.Reader, size int64, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(s.ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = size
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	switch c := &s.config; {
	case c.S3 != nil:
		c.S3.sign(r, time.Now())
	case c.Token != "":
		r.Header.Set("Authorization", "Bearer "+c.Token)
	case c.User != "":
		r.SetBasicAuth(c.User, c.Password)
	}
	answer, err := s.client.Do(r)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which stands beside it
		}
		s.broken = err
		return nil, err
	}
	if answer.StatusCode/100 != 2 {
		_ = answer.Body.Close()
		return nil, &statusError{answer.StatusCode}
	}
	return answer, nil
}

func (s *webStore) do(method, name string, body io.Reader, size int64, header ...string) error {
	answer, err := s.ask(method, s.folder.JoinPath(name), body, size, header...)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(answer.Body, maxSmall))
	return errors.Join(err, answer.Body.Close())
}

func (s *webStore) size(name string) (int64, error) {
	answer, err := s.ask(http.MethodHead, s.folder.JoinPath(name), nil, 0)
	if err != nil {
		return 0, err
	}
	_ = answer.Body.Close()
	if answer.ContentLength < 0 {
		return 0, errRefused // it is there, and nobody says how long it is
	}
	return answer.ContentLength, nil
}

func (s *webStore) read(name string) (io.ReadCloser, error) {
	answer, err := s.ask(http.MethodGet, s.folder.JoinPath(name), nil, 0)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

func (s *webStore) write(name string, from io.Reader, size int64, again bool) error {
	header := []string{"Content-Type", "application/octet-stream", "Expect", "100-continue"}
	if !again {
		header = append(header, "If-None-Match", "*") // RFC 9110 §13.1.2; not every server looks at it
	}
	return s.do(http.MethodPut, name, io.LimitReader(from, size), size, header...)
}

func (s *webStore) rename(string, string) error { return errRefused }

func (s *webStore) remove(name string) error { return s.do(http.MethodDelete, name, nil, 0) }

// maxListPages bounds a list; a page has up to 1000 files.
const maxListPages = 1000

// list gives the files of a folder of S3 (ListObjectsV2); a web server has no
// list that all understand.
func (s *webStore) list() ([]fs.FileInfo, error) {
	if s.config.S3 == nil {
		return nil, errRefused
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.folder.Path, "/"), "/")
	at := *s.folder
	at.Path = "/" + bucket
	var infos []fs.FileInfo
	query := url.Values{"list-type": {"2"}, "prefix": {prefix}, "delimiter": {"/"}}
	for range maxListPages {
		at.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
		answer, err := s.ask(http.MethodGet, &at, nil, 0)
		if err != nil {
			return nil, err
		}
		var page struct {
			Contents []struct {
				Key          string
				Size         int64
				LastModified time.Time
			}
			NextContinuationToken string
		}
		err = xml.NewDecoder(io.LimitReader(answer.Body, 64<<20)).Decode(&page)
		if err = errors.Join(err, answer.Body.Close()); err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			infos = append(infos, webFile{strings.TrimPrefix(o.Key, prefix), o.Size, o.LastModified})
		}
		if page.NextContinuationToken == "" {
			return infos, nil
		}
		query.Set("continuation-token", page.NextContinuationToken)
	}
	return nil, fmt.Errorf("its list has no end within %d pages", maxListPages)
}

// webFile is one object of a list.
type webFile struct {
	name string
	size int64
	time time.Time
}

func (f webFile) Name() string       { return f.name }
func (f webFile) Size() int64        { return f.size }
func (f webFile) Mode() fs.FileMode  { return 0 }
func (f webFile) ModTime() time.Time { return f.time }
func (f webFile) IsDir() bool        { return false }
func (f webFile) Sys() any           { return nil }

func (s *webStore) tries(t *trial) []try {
	return []try{
		{canList, func() error { return mustShow(listed(s, t.name)) }},
		{canStat, func() error {
			size, err := s.size(t.name)
			if err != nil {
				return err
			}
			return mustShow(webFile{size: size}, nil)
		}},
		{canRead, func() error { return readsBack(s, t) }},
		{canOverwrite, func() error { return s.write(t.name, strings.NewReader(probeText), int64(len(probeText)), true) }},
	}
}

func (s *webStore) alive() error { return s.broken }

func (s *webStore) explain(doing string, err error) error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("%s: %s: %w", s.where(), doing, s.ctx.Err())
	}
	e := &DestinationError{Kind: ErrDestination, Where: s.where(), Doing: doing, Cause: err, Remedy: "the delivery will be repeated"}
	var status *statusError
	switch {
	case errors.As(err, new(*tls.CertificateVerificationError)):
		e.Kind, e.Remedy = ErrHostKey, "ask the recipient who vouches for its certificate, confirm that by telephone, and name the file under ca:"
	case !errors.As(err, &status):
	case status.code == http.StatusUnauthorized, status.code == http.StatusForbidden:
		e.Kind, e.Remedy = ErrAuth, "ask the recipient whether the account is in force and may store files in this folder; look at its password, token, certificate or keys"
	case status.code/100 == 3:
		e.Remedy = "it sends us elsewhere; ask the recipient for the folder's own address"
	case status.code == http.StatusNotFound, status.code == http.StatusConflict: // a folder is missing (RFC 4918 §9.7.1)
		e.Remedy = "ask the recipient for the folder's address; it has to be there already"
	case status.code == http.StatusRequestEntityTooLarge, status.code == http.StatusInsufficientStorage:
		e.Remedy = "the file is too large for the server, or its disk is full: ask the recipient for room"
	}
	return e
}
