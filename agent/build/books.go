package build

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"filippo.io/age"

	"github.com/posternhealth/postern/extract"
)

// books writes what stays at the clinic beside a drop: the clinic's book
// (every disposition by file and line, and a summary), the row index (from a
// sent line back to its source line) and the decision index (what is needed to
// judge everything again before delivery). The first three are encrypted to
// the archive key, the last to a key of this agent that ends with delivery.
type books struct {
	job          *Job
	dispositions sink
	rows         sink
	decisions    sink

	open    dispositionRange
	last    []byte // facts written last: runs of equal facts are written once
	scratch []byte
}

// sink is a buffered writer and what it ends in; a run that writes no drop
// throws its books away.
type sink struct {
	*bufio.Writer
	under io.WriteCloser
}

func (s sink) close() error { return errors.Join(s.Flush(), s.under.Close()) }

// dispositionRange is a run of consecutive lines of one file with one outcome.
type dispositionRange struct {
	place   extract.Place
	to      int64
	dataset string
	reasons extract.ReasonSet
	detail  string
}

// openBooks begins the books; without a drop they are written nowhere.
func openBooks(job *Job) (*books, error) {
	b := &books{job: job}
	for _, f := range []struct {
		sink *sink
		name string
		to   age.Recipient
	}{{&b.dispositions, "dispositions", job.Archive}, {&b.rows, "row-index", job.Archive}, {&b.decisions, "decision-index", job.Indexed}} {
		var under io.WriteCloser = nowhere{}
		if job.Drop != nil {
			var err error
			if under, err = job.Drop.Private(f.name, f.to); err != nil {
				return nil, err
			}
		}
		*f.sink = sink{bufio.NewWriterSize(under, 64<<10), under}
	}
	_, err := b.dispositions.WriteString("file,from_line,to_line,entry,dataset,disposition,reasons,detail\n")
	if err == nil {
		_, err = b.rows.WriteString("part,line,file,source_line,entry,dataset,subject\n")
	}
	return b, err
}

// The decision index is a list of entries: what one is (a byte), its length
// (an unsigned varint), and that many bytes. The programs stand first.
const (
	DecisionRecord   byte = iota // facts of a released record, by consent.AppendFacts
	DecisionPart2                // the same of one under Part 2
	DecisionPrograms             // the Part 2 programs that were declared, by consent.Programs.Keys
)

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

// disposition notes the outcome of one record.
func (b *books) disposition(place extract.Place, dataset string, reasons extract.ReasonSet, detail string) error {
	return b.dispositionOf(1, place, dataset, reasons, detail)
}

// dispositionOf notes the one outcome of n records, each a line, from place on.
func (b *books) dispositionOf(n int64, place extract.Place, dataset string, reasons extract.ReasonSet, detail string) error {
	o := &b.open
	if o.to > 0 && o.place.File == place.File && place.Entry == 0 && o.place.Entry == 0 && place.Line == o.to+1 &&
		o.dataset == dataset && o.reasons == reasons && o.detail == detail {
		o.to += n
		return nil
	}
	if err := b.flushRange(); err != nil {
		return err
	}
	*o = dispositionRange{place, place.Line + n - 1, dataset, reasons, detail}
	return nil
}

func (b *books) flushRange() error {
	o := &b.open
	if o.to == 0 {
		return nil
	}
	_, err := fmt.Fprintf(b.dispositions, "%s,%d,%d,%d,%s,%s,%s,%s\n", csvCell(b.job.Files[o.place.File].Name), o.place.Line, o.to, o.place.Entry,
		o.dataset, o.reasons.First().Disposition(), csvCell(o.reasons.Names()), csvCell(o.detail))
	o.to = 0
	return err
}

func csvCell(s string) string { return string(appendCell(nil, s)) }

// appendCell appends a cell, in quotes where RFC 4180 asks for them.
func appendCell[T string | []byte](dst []byte, cell T) []byte {
	quoted := false
	for i := range len(cell) {
		c := cell[i]
		quoted = quoted || c == ',' || c == '"' || c == '\n' || c == '\r'
	}
	if !quoted {
		return append(dst, cell...)
	}
	dst = append(dst, '"')
	for i := range len(cell) {
		if cell[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, cell[i])
	}
	return append(dst, '"')
}

// row notes where a line of a part came from.
func (b *books) row(part int, line int64, r *row, dataset string, subject []byte) error {
	s := b.scratch[:0]
	s = strconv.AppendInt(s, int64(part), 10)
	s = strconv.AppendInt(append(s, ','), line, 10)
	s = append(s, ',')
	if r.place.Line > 0 { // of a row that is void, nothing in this extract
		s = appendCell(s, b.job.Files[r.place.File].Name)
	}
	s = strconv.AppendInt(append(s, ','), r.place.Line, 10)
	s = strconv.AppendInt(append(s, ','), int64(r.place.Entry), 10)
	s = append(append(s, ','), dataset...)
	s = appendCell(append(s, ','), subject)
	b.scratch = append(s, '\n')
	_, err := b.rows.Write(b.scratch)
	return err
}

// decided notes the facts that a released record was judged by, and whether it
// was under Part 2.
func (b *books) decided(facts []byte, part2 bool) error {
	if bytes.Equal(facts, b.last) {
		return nil
	}
	b.last = append(b.last[:0], facts...)
	if part2 {
		return b.decision(DecisionPart2, facts)
	}
	return b.decision(DecisionRecord, facts)
}

func (b *books) decision(what byte, entry []byte) error {
	b.scratch = binary.AppendUvarint(append(b.scratch[:0], what), uint64(len(entry)))
	b.scratch = append(b.scratch, entry...)
	_, err := b.decisions.Write(b.scratch)
	return err
}

// close ends the books with the summary.
func (b *books) close(summary any) error {
	if err := b.flushRange(); err != nil {
		return err
	}
	err := errors.Join(b.dispositions.close(), b.rows.close(), b.decisions.close())
	if err != nil || b.job.Drop == nil {
		return err
	}
	w, err := b.job.Drop.Private("clinic-book", b.job.Archive)
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return errors.Join(encoder.Encode(summary), w.Close())
}
