package agent

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/consent/casefile"
	"github.com/posternhealth/postern/extract"
)

// Decided is the answer about one record. It names no value of it.
type Decided struct {
	Line     int      `json:"line"`
	Effect   string   `json:"effect"`
	Reasons  []string `json:"reasons"`
	Part2    bool     `json:"part2"`
	ReliedOn string   `json:"relied_on,omitempty"` // file:line of the directive that permits it
}

// maxRecord bounds a record (DESIGN, Life of a record, 1).
const maxRecord = 16 << 20

// Decide answers for each JSON line of in how the next run of an exchange would
// decide on such a record: a FHIR resource, or what casefile.ReadRecord reads.
// It reads protective inputs and extract as a dry run does, because people,
// their links and their encounters are part of a decision, and writes nothing.
// What a run finds only over all records (scope, duplicates, what was derived
// from something withheld) is not asked.
func (a *Agent) Decide(ctx context.Context, name string, in io.Reader, out io.Writer, opt RunOptions) error {
	x, err := a.load(name)
	if err != nil {
		return err
	}
	opt.DryRun = true
	r := a.newRun(x, opt)
	if err = r.stages.Do(ctx, "prepare", r.tables, r.prepare); err == nil {
		if err = r.built.Index(ctx); err == nil {
			err = decideLines(ctx, r.built.Decider, r.tables.Directives, in, out)
		}
	}
	return errors.Join(err, r.clean(err != nil))
}

func decideLines(ctx context.Context, decider *consent.Decider, directives *consent.Directives, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxRecord)
	answers := bufio.NewWriter(out)
	encoder, scanner := json.NewEncoder(answers), extract.NewScanner()
	var rec extract.Record
	for n := 1; lines.Scan() && ctx.Err() == nil; n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := casefile.ReadRecord(lines.Bytes(), scanner, &rec); err != nil {
			return errors.Join(fail(Usage, err, "write a FHIR resource, or an object of dataset, id, subject, date, encounter, providers, codes, labels, status", "line %d", n), answers.Flush())
		}
		if err := encoder.Encode(decided(n, &rec, decider, directives)); err != nil {
			return err
		}
	}
	if lines.Err() != nil {
		return errors.Join(fail(Usage, lines.Err(), "", "standard input"), answers.Flush())
	}
	return errors.Join(ctx.Err(), answers.Flush())
}

func decided(line int, rec *extract.Record, decider *consent.Decider, directives *consent.Directives) *Decided {
	if rec.Reject != extract.NoReason {
		return &Decided{Line: line, Effect: string(consent.EffectDeny), Reasons: []string{rec.Reject.String()}}
	}
	d := decider.Decide(&rec.Facts)
	answer := &Decided{Line: line, Effect: string(decider.Effect(d)), Reasons: []string{}, Part2: d.Part2}
	if d.Reasons != 0 {
		answer.Reasons = strings.Split(d.Reasons.Names(), ",")
	}
	if d.Relied > 0 {
		file, at := directives.Place(d.Relied - 1)
		answer.ReliedOn = fmt.Sprintf("%s:%d", file, at)
	}
	return answer
}
