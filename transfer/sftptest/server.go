// Package sftptest is a recipient's SFTP server on loopback, for the demo and
// for tests. It has one account with one key, sees one folder and nothing
// above it (os.Root), and can be told to refuse or break what servers in the
// field refuse and break.
//
// It is no server for strangers: it listens on 127.0.0.1 only.
package sftptest

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
)

// Options of a server. The zero values refuse and break nothing.
type Options struct {
	Root       string        // folder that is served as /
	User       string        // "clinic" when empty
	Key        ssh.PublicKey // that may log in
	Refuse     []string      // methods: Rename, Remove, List, Stat, Get, Put
	Hang       []string      // methods that are never answered, while the line lives
	CutAfter   int64         // the connection ends after so many uploaded bytes; once
	CutAt      string        // the connection ends at this method, once after the cut of CutAfter
	Quota      int64         // bytes of one file beyond which writes fail; 0: none
	ShortReads bool          // answers reads with fewer bytes than asked for
	ReadOnce   bool          // takes a file away that was read
	Endless    bool          // lists files without end
	Version    string        // as the server names itself; "" for the module's own
}

// Server is a running one.
type Server struct {
	Options
	HostKey  ssh.Signer
	listener net.Listener
	config   *ssh.ServerConfig
	root     *os.Root
	uploaded atomic.Int64
	cut      atomic.Bool
	cutAt    atomic.Bool
	open     context.Context // ends with the server, and ends every connection
	end      context.CancelFunc
	wg       sync.WaitGroup
}

// Start listens on a free port of loopback.
func Start(o Options) (*Server, error) {
	if o.User == "" {
		o.User = "clinic"
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	hostKey, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", o.Root, err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		_ = root.Close()
		return nil, fmt.Errorf("serve %s: %w", o.Root, err)
	}
	s := &Server{Options: o, HostKey: hostKey, listener: listener, root: root}
	s.open, s.end = context.WithCancel(context.Background())
	s.config = &ssh.ServerConfig{PublicKeyCallback: s.login, ServerVersion: o.Version}
	s.config.AddHostKey(hostKey)
	s.wg.Go(s.accept)
	return s, nil
}

// Addr is host:port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// HostKeyLine is the line that a client pins, as in known_hosts.
func (s *Server) HostKeyLine() string {
	_, port, _ := net.SplitHostPort(s.Addr())
	return "[127.0.0.1]:" + port + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(s.HostKey.PublicKey())))
}

// Close ends all connections and waits for them.
func (s *Server) Close() error {
	s.end()
	err := s.listener.Close()
	s.wg.Wait()
	return errors.Join(err, s.root.Close())
}

func (s *Server) login(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	if s.Key != nil && meta.User() == s.User && string(key.Marshal()) == string(s.Key.Marshal()) {
		return nil, nil
	}
	return nil, errors.New("unknown user or key")
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(s.open, func() { _ = conn.Close() })()
	client, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	defer client.Close()
	go ssh.DiscardRequests(requests) // a keepalive is refused, as OpenSSH does
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, wishes, err := offered.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.session(conn, channel, wishes) })
	}
}

// session runs the sftp subsystem and nothing else.
func (s *Server) session(conn net.Conn, channel ssh.Channel, wishes <-chan *ssh.Request) {
	defer channel.Close()
	for w := range wishes {
		isSFTP := w.Type == "subsystem" && len(w.Payload) > 4 && string(w.Payload[4:]) == "sftp"
		_ = w.Reply(isSFTP, nil)
		if !isSFTP {
			continue
		}
		go ssh.DiscardRequests(wishes)
		files := &folder{server: s, conn: conn}
		server := sftp.NewRequestServer(channel, sftp.Handlers{FileGet: files, FilePut: files, FileCmd: files, FileList: files})
		if err := server.Serve(); err != nil && !errors.Is(err, io.EOF) {
			return
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
		return
	}
}
