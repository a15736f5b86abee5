package transfer

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/pkg/sftp"
)

const (
	usualPacket   = 32 << 10  // what every server must take (draft-ietf-secsh-filexfer-02 §3)
	largestPacket = 255 << 10 // what OpenSSH takes (sftp-server, SFTP_MAX_MSG_LENGTH)

	// inFlight is how many bytes are on their way in one session. OpenSSH lets
	// no more than 2 MiB be (its CHAN_SES_WINDOW_DEFAULT), which at 20 ms of
	// round trip bounds an upload more than the wire does,
	inFlight = 4 << 20
	// so a large file goes to OpenSSH through several sessions at once.
	largeFile     = 16 << 20
	extraSessions = 3
)

// isOpenSSH is true of OpenSSH's own sftp-server, which states its limits
// (PROTOCOL §4.8). There two handles on one file write where they are told, as
// POSIX has it; of other servers behind OpenSSH's sshd that is not known.
func (d *SFTP) isOpenSSH() bool {
	_, limits := d.client.HasExtension("limits@openssh.com")
	return limits && strings.HasPrefix(d.use.Server, "SSH-2.0-OpenSSH_")
}

// upload sends one file, a packet in each request, through all handles that
// take part.
type upload struct {
	size    int64
	packet  int
	writers sync.WaitGroup

	mu   sync.Mutex
	from io.Reader
	at   int64 // bytes taken from it
	err  error // the first one; after it nothing more is sent
}

// help lets further sessions take part as soon as they are open. A server
// that grants none, or no second handle, is left with the first.
func (s *sftpStore) help(u *upload, name string) {
	for range extraSessions {
		u.writers.Go(func() {
			client, err := s.openSession()
			if err != nil {
				return
			}
			defer client.Close()
			if file, err := client.OpenFile(s.path(name), os.O_WRONLY); err == nil {
				u.through(file)
				u.fail(file.Close())
			}
		})
	}
}

// through writes packets to a handle, all but the last.
func (u *upload) through(file *sftp.File) {
	var requests sync.WaitGroup
	for range min(inFlight, u.size) / int64(u.packet) {
		requests.Go(func() {
			packet := make([]byte, u.packet)
			for {
				n, at := u.next(packet)
				if n == 0 {
					return
				}
				_, err := file.WriteAt(packet[:n], at)
				u.fail(err)
			}
		})
	}
	requests.Wait()
}

// next fills a packet. It gives 0 where the last one begins, and after a failure.
func (u *upload) next(packet []byte) (n int, at int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err != nil || u.size-u.at <= int64(len(packet)) {
		return 0, 0
	}
	if n, u.err = io.ReadFull(u.from, packet); u.err != nil {
		return 0, 0
	}
	at = u.at
	u.at += int64(n)
	return n, at
}

// last writes the last packet, when all others are acknowledged: so a file of
// full size has no holes, whenever the line breaks.
func (u *upload) last(file *sftp.File) {
	u.writers.Wait()
	if u.err != nil {
		return
	}
	packet := make([]byte, u.size-u.at+1)
	n, err := io.ReadFull(u.from, packet)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		u.fail(err)
		return
	}
	if n != len(packet)-1 {
		u.fail(fmt.Errorf("the file on this side has %d bytes or more, %d were due", u.at+int64(n), u.size))
		return
	}
	_, err = file.WriteAt(packet[:n], u.at)
	u.fail(err)
}

func (u *upload) fail(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
	}
}

// download reads a file with many requests on their way, one more with each answer
// until there are as many as may be: a small file takes one. Each asks again for what
// a short answer left out; pkg/sftp's own ways of reading in parallel take that for
// the end.
type download struct {
	*sftp.File
	packet int
	window int           // requests that may be on their way, less one
	asked  int64         // where the next one begins
	asking []chan answer // in the order of the file
	head   answer        // what of the first one is left
	free   [][]byte
}

type answer struct {
	text, packet []byte
	err          error
}

func (d *download) Read(p []byte) (int, error) {
	for len(d.head.text) == 0 {
		if d.head.err != nil {
			return 0, d.head.err
		}
		if d.head.packet != nil {
			d.free = append(d.free, d.head.packet)
		}
		for len(d.asking) <= d.window {
			d.ask()
		}
		d.head = <-d.asking[0]
		d.asking = d.asking[1:]
		d.window = min(d.window+1, inFlight/d.packet)
	}
	n := copy(p, d.head.text)
	d.head.text = d.head.text[n:]
	return n, nil
}

func (d *download) ask() {
	var packet []byte
	if last := len(d.free) - 1; last >= 0 {
		packet, d.free = d.free[last], d.free[:last]
	} else {
		packet = make([]byte, d.packet)
	}
	got, at := make(chan answer, 1), d.asked
	d.asked += int64(d.packet)
	d.asking = append(d.asking, got)
	go func() {
		n, err := d.ReadAt(packet, at)
		got <- answer{packet[:n], packet, err}
	}()
}
