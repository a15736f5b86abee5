package build

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/transfer"
)

// scopes tell of each row under Part 2 on what it rests (42 CFR 2.32(b)): a part
// of the drop has a line for each row, and the book each explanation once,
// numbered as the rows of the drop meet them, so that nothing withheld has a
// number.
type scopes struct {
	numbers map[string]uint32 // of the run, from 1, by explanation
	texts   []string
	met     []int // by number of the run: the number in the drop, 0 of one that no row has
	order   []uint32
	lines   *partSpool
	keyed   bool // rows have keys
	line    []byte
}

// tellsScopes tells whether rows under Part 2 leave with an explanation. Then
// the part is always there, empty or not.
func (r *Run) tellsScopes() bool {
	return r.Policy.Notices.ScopeOfConsent != "" && r.Policy.ReleasesPart2()
}

// number gives that of an explanation.
func (s *scopes) number(text string) (uint32, error) {
	if text == "" {
		return 0, errors.New("a row under 42 CFR Part 2 rests on no consent or ground that can be explained")
	}
	n, known := s.numbers[text]
	if !known {
		s.texts = append(s.texts, text)
		n = uint32(len(s.texts))
		s.numbers[text], s.met = n, append(s.met, 0)
	}
	return n, nil
}

// row notes a sealed row of a part, whose form finds its key.
func (s *scopes) row(part int, line int64, row *row, form *form) error {
	if s.met[row.rests-1] == 0 {
		s.order = append(s.order, row.rests)
		s.met[row.rests-1] = len(s.order)
	}
	b := strconv.AppendInt(s.line[:0], int64(part), 10)
	b = strconv.AppendInt(append(b, ','), line, 10)
	b = strconv.AppendInt(append(b, ','), int64(s.met[row.rests-1]), 10)
	if s.keyed {
		b = form.cell(append(b, ','), row.bytes, form.keys())
	}
	s.line = append(b, '\n')
	told := *row
	told.bytes, told.holes = s.line, nil
	return s.lines.add(&told)
}

// sealScopes seals the part.
func (r *Run) sealScopes() error {
	const most = 1e15
	spec := gate.Spec{Format: gate.CSV, Positions: []gate.Position{
		{Path: "part", Grammar: gate.Number(1, most, true)}, {Path: "row", Grammar: gate.Number(1, most, true)}, {Path: "scope", Grammar: gate.Number(1, most, true)},
	}}
	if r.scopes.keyed {
		spec.Positions = append(spec.Positions, gate.Position{Path: "row_key", Grammar: gate.RowKey(deid.CodeLen)})
	}
	info := transfer.PartInfo{Dataset: transfer.ScopeOfConsent, Part2: true, Format: transfer.CSV}
	return r.sealBeside(info, spec, r.scopes.lines, nil)
}

// sealBeside seals a part that the agent makes itself, each line through a gate
// like all that leaves. note, unless nil, is told of each, and where it stands.
func (r *Run) sealBeside(info transfer.PartInfo, spec gate.Spec, lines *partSpool, note func(part int, line int64, row *row) error) error {
	for _, p := range spec.Positions {
		info.Columns = append(info.Columns, p.Path)
	}
	guard, err := gate.New(spec, r.index.roster)
	if err != nil {
		return failure.New(failure.PolicyRefused, err, "", "the part %s cannot be judged by the gate", info.Dataset)
	}
	p := parts{run: r, info: info, header: []byte(strings.Join(info.Columns, ",") + "\n")}
	if hit := guard.Header(p.header); hit != nil {
		return r.quarantined(info.Dataset, 0, hit)
	}
	if err := p.begin(); err != nil {
		return err
	}
	n, next, batch := int64(0), lines.reader(), new(rowBatch)
	for err = next(batch); err == nil; err = next(batch) {
		for i := range batch.rows {
			row := &batch.rows[i]
			n++
			if hit := guard.Row(row.bytes, row.about(nil)); hit != nil {
				return r.quarantined(info.Dataset, n, hit)
			}
			if err := p.row(row.bytes); err != nil {
				return err
			}
			for _, one := range row.people() {
				if info.Action != transfer.Void {
					p.people.add(one)
				}
			}
			if note == nil {
				continue
			}
			if err := note(p.number, p.rows, row); err != nil {
				return err
			}
		}
	}
	if err != io.EOF {
		return err
	}
	return p.end()
}

// explanations are those of the rows in the drop, in their order.
func (s *scopes) explanations() (list []transfer.Notice) {
	for i, n := range s.order {
		list = append(list, transfer.Notice{Kind: fmt.Sprintf("%s %d", transfer.ScopeOfConsent, i+1), Text: s.texts[n-1]})
	}
	return list
}
