package build

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/keyring"
)

// Filter writes to out what a plan makes of the one file of a job: the engine
// alone, by the workers of a run but with nothing decided, nothing checked as a
// whole, and no gate. Codes and row keys come from the stream. With a cohort of
// the plan's dataset it reads the file twice. It gives the account and what was
// done to each path.
func Filter(ctx context.Context, job *Job, plan *deid.Plan, stream *keyring.Stream, out io.Writer) (*Balance, deid.Counts, error) {
	job.Tables = consent.NewTables()
	r := newRun(job)
	r.engine, r.index.repeats = true, &repeats{}
	r.add(&flow{dataset: plan.Dataset(), plan: plan})
	if r.cohort != nil {
		starts, err := r.readIndex(ctx, nil, newIdentityHash())
		if err != nil {
			return nil, nil, err
		}
		for s, begun := range starts {
			r.index.known(s).start = begun
		}
	}
	f := &filter{people: consent.NewPeople(), codes: map[consent.Subject]string{}, ordinals: ordinals{}, stream: stream, balance: &Balance{Dataset: plan.Dataset()}, out: bufio.NewWriterSize(out, 256<<10),
		trailer: newTrailer(formOf(job.Policy, plan.Dataset(), nil))}
	if _, err := f.out.Write(plan.Header()); err != nil {
		return nil, nil, err
	}
	_, counts, err := r.readRelease(ctx, f.write)
	last, trailed := f.trailer.line()
	if _, wrote := f.out.Write(last); err == nil {
		err = errors.Join(trailed, wrote)
	}
	return f.balance, counts[plan.Dataset()], errors.Join(err, f.out.Flush())
}

// filter writes what the workers of a Filter have made. Its people are its own:
// those of the index are read by the workers meanwhile.
type filter struct {
	people   *consent.People
	codes    map[consent.Subject]string
	ordinals ordinals
	stream   *keyring.Stream
	balance  *Balance
	trailer  *trailer
	out      *bufio.Writer
}

// write fills in codes and writes the rows of a chunk in order.
func (f *filter) write(_ *extract.Chunk, b *batch) error {
	for i := range b.outcomes {
		o := &b.outcomes[i]
		f.balance.Source++
		f.balance.count(o.reasons.First())
		row := b.arena[o.bytes[0]:o.bytes[1]]
		for _, h := range b.holes[o.holes[0]:o.holes[1]] {
			switch h.Kind {
			case deid.PersonCode:
				copy(row[h.Start:h.End], f.code(b.arena[o.facts[0]:o.facts[1]]))
			case deid.RowKey:
				copy(row[h.Start:h.End], f.stream.Code(deid.CodeLen))
			case deid.Ordinal:
				f.ordinals.fill(row, h)
			}
		}
		if _, err := f.out.Write(row); err != nil {
			return err
		}
		if len(row) > 0 {
			f.trailer.add(row)
		}
	}
	return nil
}

func (f *filter) code(id []byte) string {
	s := f.people.Intern(id)
	code, ok := f.codes[s]
	if !ok {
		code = f.stream.Code(deid.CodeLen)
		f.codes[s] = code
	}
	return code
}
