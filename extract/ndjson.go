package extract

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// lineCutter cuts a text into chunks at line ends. With a quote it cuts rows
// instead, whose quoted cells may hold line ends (RFC 4180 §2.6).
type lineCutter struct {
	file   *File
	r      io.Reader
	limits limits
	rows   rowEnd // how a row ends; its zero value ends every row at the line end
	rest   []byte // what was read beyond the last chunk
	line   int64  // of the first byte of rest
	eof    bool
}

func (l *lineCutter) next(c *Chunk) error {
	data, want := append(c.data[:0], l.rest...), l.limits.chunk
	l.rest = l.rest[:0]
	for {
		var err error
		if data, err = l.fill(data, want); err != nil {
			return err
		}
		end := l.rows.lastEnd(data)
		if l.eof && end < len(data) {
			end = len(data)
		}
		if end > 0 {
			l.rest = append(l.rest, data[end:]...)
			c.data, c.line = data[:end], l.line
			l.line += int64(bytes.Count(c.data, newline))
			return nil
		}
		if l.eof {
			c.data = data
			return io.EOF
		}
		if len(data) > l.limits.record+len("\r\n") {
			return l.passOver(c, data)
		}
		want = min(2*len(data), l.limits.record+len("\r\n")+1)
	}
}

var newline = []byte("\n")

// fill reads until data holds want bytes or the text is at its end. Memory is
// taken as the text comes: a table of a few rows does not cost a chunk's.
func (l *lineCutter) fill(data []byte, want int) ([]byte, error) {
	for len(data) < want && !l.eof {
		if len(data) == cap(data) {
			data = slices.Grow(data, min(max(16<<10, 3*len(data)), want-len(data)))
		}
		n, err := l.r.Read(data[len(data):min(want, cap(data))])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			l.eof = true
		} else if err != nil {
			return data, err
		}
	}
	return data, nil
}

// passOver passes over a record that is longer than a record may be, and gives
// a chunk that says so. data is the record's beginning.
func (l *lineCutter) passOver(c *Chunk, data []byte) error {
	dataset := Unreadable
	if l.file.Rule.Format == Delimited {
		dataset = l.file.Rule.Dataset
	}
	c.line = l.line
	c.items = append(c.items, item{line: l.line, dataset: dataset, reject: TooLarge, detail: tooLong})
	rows := l.rows
	for {
		n, found := rows.firstEnd(data)
		l.line += int64(bytes.Count(data[:n], newline))
		if found || l.eof {
			l.rest = append(l.rest, data[n:]...)
			c.data = data[:0]
			return nil
		}
		var err error
		if data, err = l.fill(data[:0], l.limits.chunk); err != nil {
			return err
		}
	}
}

// rowEnd finds where rows end. It remembers where in a row it stands, so that
// a row can be followed over several reads.
type rowEnd struct {
	quote, delimiter byte // quote 0: cells are never quoted
	state            rowState
}

type rowState uint8

const (
	cellStart rowState = iota
	unquoted
	quoted
	closing // after a quote within a quoted cell: its end, or half of a doubled quote
)

// lastEnd gives the offset after the last row that ends within data, which
// begins with a row; 0 when none does.
func (r rowEnd) lastEnd(data []byte) int {
	if r.quote == 0 || bytes.IndexByte(data, r.quote) < 0 {
		return bytes.LastIndexByte(data, '\n') + 1
	}
	end := 0
	for {
		n, found := r.firstEnd(data[end:])
		if !found {
			return end
		}
		end += n
	}
}

// firstEnd gives the offset after the row that data goes on with; when the
// row does not end within data, found is false and n is all of it.
func (r *rowEnd) firstEnd(data []byte) (n int, found bool) {
	if r.state != quoted {
		n = bytes.IndexByte(data, '\n')
		if n >= 0 && (r.quote == 0 || bytes.IndexByte(data[:n], r.quote) < 0) && r.state != closing {
			r.state = cellStart
			return n + 1, true
		}
		if n < 0 && r.quote == 0 {
			return len(data), false
		}
	}
	for i, b := range data {
		switch {
		case r.state == quoted:
			if b == r.quote {
				r.state = closing
			}
		case b == '\n':
			r.state = cellStart
			return i + 1, true
		case b == r.quote && r.state != unquoted:
			r.state = quoted
		case b == r.delimiter:
			r.state = cellStart
		default:
			r.state = unquoted
		}
	}
	return len(data), false
}
