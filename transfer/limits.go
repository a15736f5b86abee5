package transfer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// Packet types of SFTP v3 (draft-ietf-secsh-filexfer-02 §3).
const (
	fxpInit          = 1
	fxpVersion       = 2
	fxpExtended      = 200
	fxpExtendedReply = 201
)

const (
	limitsExtension = "limits@openssh.com" // OpenSSH PROTOCOL §4.8
	usualPacket     = 32 << 10             // what every server must take
	largestPacket   = 255 << 10            // what OpenSSH takes
	largestGreeting = 64 << 10
)

// greeted is an SFTP channel on which version and limits have been asked for
// already. pkg/sftp cannot ask for limits, and some servers allow one session
// only, so its own greeting is answered from memory.
type greeted struct {
	io.Reader
	io.WriteCloser
	packet int // payload bytes per write
}

// swallowInit drops the client's INIT packet, which the server has had.
type swallowInit struct {
	io.WriteCloser
	left int
}

func (s *swallowInit) Write(p []byte) (int, error) {
	n := min(s.left, len(p))
	s.left -= n
	if n == len(p) {
		return n, nil
	}
	m, err := s.WriteCloser.Write(p[n:])
	return n + m, err
}

// greet opens the protocol and chooses the packet size.
func greet(in io.Reader, out io.WriteCloser) (*greeted, error) {
	init := frame(fxpInit, binary.BigEndian.AppendUint32(nil, 3))
	if _, err := out.Write(init); err != nil {
		return nil, err
	}
	version, err := readFrame(in)
	if err != nil {
		return nil, err
	}
	if len(version) < 5 || version[0] != fxpVersion {
		return nil, errors.New("the server does not speak SFTP")
	}
	g := &greeted{WriteCloser: &swallowInit{out, len(init)}, packet: usualPacket}
	if bytes.Contains(version, []byte(limitsExtension)) {
		if g.packet, err = askLimits(in, out); err != nil {
			return nil, err
		}
	}
	g.Reader = io.MultiReader(bytes.NewReader(frame(version[0], version[1:])), in)
	return g, nil
}

func askLimits(in io.Reader, out io.Writer) (int, error) {
	body := binary.BigEndian.AppendUint32(nil, 0) // request id
	body = binary.BigEndian.AppendUint32(body, uint32(len(limitsExtension)))
	if _, err := out.Write(frame(fxpExtended, append(body, limitsExtension...))); err != nil {
		return 0, err
	}
	reply, err := readFrame(in)
	if err != nil {
		return 0, err
	}
	// type, id, then max-packet-length, max-read-length, max-write-length
	if len(reply) < 5+3*8 || reply[0] != fxpExtendedReply {
		return usualPacket, nil
	}
	read, write := binary.BigEndian.Uint64(reply[13:]), binary.BigEndian.Uint64(reply[21:])
	most := min(read, write, largestPacket)
	return int(max(most, usualPacket)), nil
}

func frame(kind byte, body []byte) []byte {
	packet := binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))
	return append(append(packet, kind), body...)
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n < 1 || n > largestGreeting {
		return nil, errors.New("the server does not speak SFTP: it sent text; ask the recipient for an account without greeting or shell")
	}
	packet := make([]byte, n)
	_, err := io.ReadFull(r, packet)
	return packet, err
}
