package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
)

// pace holds the times after which a silent server is given up. pkg/sftp
// knows neither context nor deadline; without these one lost connection would
// hang a delivery for ever.
type pace struct {
	dial      time.Duration
	handshake time.Duration
	keepalive time.Duration
	silence   time.Duration // no inbound byte for so long ends the connection
	answer    time.Duration // no byte of SFTP for so long does, too: a server that hangs may answer keepalives
	list      int64         // so many inbound bytes of one list do, too
}

var usualPace = pace{dial: 30 * time.Second, handshake: 30 * time.Second, keepalive: 15 * time.Second, silence: 60 * time.Second, answer: 15 * time.Minute, list: 64 << 20}

// watchedConn moves its read deadline forward with every inbound byte. The
// keepalives make a living server send some.
type watchedConn struct {
	net.Conn
	silence time.Duration
	armed   atomic.Bool // not during the handshake, which has one deadline
	most    int64       // bytes of a list
	left    atomic.Int64
}

// listing bounds what comes until it is ended: pkg/sftp keeps a list to its end. It
// tells whether that was too much.
func (c *watchedConn) listing() (end func() (tooLong bool)) {
	c.left.Store(c.most)
	return func() bool { return c.left.Swap(math.MaxInt64) < 0 }
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && c.armed.Load() {
		_ = c.SetReadDeadline(time.Now().Add(c.silence))
	}
	if err != nil || c.left.Add(-int64(n)) < 0 {
		_ = c.Close() // frees a writer that waits for a dead peer
	}
	return n, err
}

func (c *watchedConn) arm() error {
	c.armed.Store(true)
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	return c.SetReadDeadline(time.Now().Add(c.silence))
}

// ParseHostKey reads the line that pins a server: one of known_hosts, or
// "ssh-ed25519 AAAA…" as in a .pub file. Host names in it are not compared:
// the line stands in the destination it is for.
func ParseHostKey(line string) (ssh.PublicKey, error) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "@") {
		return nil, errors.New("host key: a line with a marker (@revoked, @cert-authority) cannot pin a server")
	}
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		_, _, key, _, rest, err = ssh.ParseKnownHosts([]byte(line))
	}
	if err != nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("host key: it is not one line of known_hosts or of a .pub file; get one with ssh-keyscan and confirm its fingerprint with the recipient")
	}
	return key, nil
}

// hostKeyAlgorithms follow the pinned key: a server that prefers a key of
// another type must still show the pinned one. RSA never signs with SHA-1.
func hostKeyAlgorithms(pinned ssh.PublicKey) []string {
	if pinned.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{pinned.Type()}
}

type connection struct {
	*ssh.Client
	conn *watchedConn
	stop context.CancelFunc
}

// connect logs in. The host key is checked against the pinned one only:
// there is no trust on first use.
func connect(ctx context.Context, c SFTPConfig, p pace) (*connection, error) {
	fail := func(kind error, doing string, err error, remedy string) error {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return &DestinationError{Kind: kind, Where: c.Address, Doing: doing, Cause: err, Remedy: remedy}
	}
	dialer := net.Dialer{Timeout: p.dial}
	raw, err := dialer.DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return nil, fail(ErrDestination, "connect", err, "look at the address, the firewall and the recipient's server")
	}
	conn := &watchedConn{Conn: raw, silence: p.silence, most: p.list}
	conn.listing()() // nothing is bounded yet
	release := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer release()
	_ = conn.SetDeadline(time.Now().Add(p.handshake))
	var shown ssh.PublicKey
	sshConn, channels, requests, err := ssh.NewClientConn(conn, c.Address, clientConfig(c, &shown))
	if err == nil {
		err = conn.arm()
	}
	if err != nil {
		_ = conn.Close()
		kind, remedy := handshakeFailure(c, shown, err)
		return nil, fail(kind, "open SSH as "+c.User, err, remedy)
	}
	live := &connection{Client: ssh.NewClient(sshConn, channels, requests), conn: conn}
	alive, stop := context.WithCancel(context.Background())
	live.stop = stop
	go live.keepAlive(alive, p.keepalive)
	return live, nil
}

var errOtherHostKey = errors.New("the server showed another key")

func clientConfig(c SFTPConfig, shown *ssh.PublicKey) *ssh.ClientConfig {
	return &ssh.ClientConfig{
		User:              c.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(c.Signer)},
		HostKeyAlgorithms: hostKeyAlgorithms(c.HostKey),
		HostKeyCallback: func(_ string, _ net.Addr, key ssh.PublicKey) error {
			*shown = key
			if !bytes.Equal(c.HostKey.Marshal(), key.Marshal()) {
				return errOtherHostKey
			}
			return nil
		},
	}
}

// handshakeFailure sorts a failure of the handshake by who has to act.
func handshakeFailure(c SFTPConfig, shown ssh.PublicKey, err error) (kind error, remedy string) {
	var negotiation *ssh.AlgorithmNegotiationError
	switch {
	case errors.Is(err, errOtherHostKey):
		return ErrHostKey, fmt.Sprintf("pinned is %s, shown was %s; ask the recipient by telephone whether it changed its key before you pin another",
			ssh.FingerprintSHA256(c.HostKey), ssh.FingerprintSHA256(shown))
	case errors.As(err, &negotiation) && negotiation.What == "host key":
		return ErrHostKey, "the server has no host key of the pinned type; ask the recipient for its present host key"
	case shown != nil && strings.Contains(err.Error(), "unable to authenticate"):
		return ErrAuth, "ask the recipient whether user and public key are entered at its server, and whether the account or the key has expired"
	}
	return ErrDestination, "look at the recipient's server; the delivery will be repeated"
}

func (c *connection) keepAlive(alive context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-alive.Done():
			return
		case <-tick.C:
		}
		if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			return
		}
	}
}

func (c *connection) Close() error {
	c.stop()
	return c.Client.Close()
}
