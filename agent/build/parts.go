package build

import (
	"bufio"
	"errors"

	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/transfer"
)

// parts writes the rows of one spool into the drop: as one part, or, where the
// recipient takes files of some length only, as several, each with the header and
// what is told of its own rows. The first is always there, empty or not. A drop that
// the gate has stopped is discarded as it stands.
type parts struct {
	run    *Run
	info   transfer.PartInfo
	header []byte
	begins func()                 // is told of each; may be nil
	ends   func() ([]byte, error) // gives what stands behind its rows; nil: nothing

	part   Part
	out    *bufio.Writer
	number int   // of the part in the drop, from 1
	rows   int64 // of the part
	people peopleSet
}

// begin begins a part.
func (p *parts) begin() (err error) {
	if p.part, err = p.run.Drop.Part(p.info); errors.Is(err, transfer.ErrParts) {
		return failure.New(failure.Configuration, err, "raise destination.max_rows or max_file, or release a shorter period", "the drop")
	} else if err != nil {
		return err
	}
	if p.out == nil {
		p.out = bufio.NewWriterSize(nil, 128<<10)
	}
	p.out.Reset(p.part)
	p.run.begun++
	p.number, p.rows, p.people = p.run.begun, 0, peopleSet{}
	if p.begins != nil {
		p.begins()
	}
	_, err = p.out.Write(p.header)
	return err
}

// row takes a row, into another part when this one is full. One that is longer
// than a file may be stands alone in one.
func (p *parts) row(text []byte) error {
	if p.rows > 0 && (p.rows == p.run.MaxRows || !p.part.Fits(len(text))) {
		if err := p.end(); err != nil || p.run.held.stopped {
			return err
		}
		if err := p.begin(); err != nil {
			return err
		}
	}
	p.rows++
	_, err := p.out.Write(text)
	return err
}

// end ends the part.
func (p *parts) end() error {
	if p.ends != nil {
		text, err := p.ends()
		if err != nil || p.run.held.stopped {
			return err
		}
		p.out.Write(text) // an error comes back from Flush
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	return p.part.Close(p.rows, p.people.n)
}
