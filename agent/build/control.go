package build

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// listing is a drop that notes its parts for the control file of a layout.
type listing struct {
	Drop
	parts []*listed
}

// listed is one part of a drop, with what the control file says of it.
type listed struct {
	Part
	part2 bool
	rows  int64
	sums  *totals
}

// Named is a part that knows what its file will be called at the recipient's.
type Named interface{ File() string }

func (l *listing) Part(info transfer.PartInfo) (Part, error) {
	part, err := l.Drop.Part(info)
	if err != nil {
		return nil, err
	}
	p := &listed{Part: part, part2: info.Part2}
	l.parts = append(l.parts, p)
	return p, nil
}

func (p *listed) Close(rows, people int64) error {
	p.rows = rows
	return p.Part.Close(rows, people)
}

// sums adds up the rows of the part at hand for the control file; nil, which adds
// nothing, when there is none.
func (r *Run) sums(lines form) *partTotals {
	l, is := r.Drop.(*listing)
	if !is || lines.file == nil {
		return nil
	}
	sums := newTotals(totalsOf(r.Policy.Layout.Control.Columns))
	l.parts[len(l.parts)-1].sums = sums
	return sums.of(lines, lines.totalled)
}

// sealControl seals the control file, which lists the files without Part 2 rows.
// Those with them have one of their own, which is always there: the first tells
// neither their rows nor, by a sum, what is in them, and so may lie where
// everybody at the recipient's sees it.
func (r *Run) sealControl() error {
	l, is := r.Drop.(*listing)
	if !is {
		return nil
	}
	parts := l.parts
	for _, part2 := range []bool{false, true} {
		if !part2 || r.Policy.ReleasesPart2() {
			if err := r.controlOf(parts, part2); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Run) controlOf(parts []*listed, part2 bool) error {
	l := r.Policy.Layout
	file := l.Control
	var lines [][]byte
	var names []string
	for _, p := range parts {
		if p.part2 != part2 {
			continue
		}
		named, is := p.Part.(Named)
		if !is {
			return errors.New("the drop does not name its files")
		}
		names = append(names, named.File())
		line, err := l.Line(nil, file.Columns, r.controlTexts(p, named.File()))
		if err != nil {
			return failure.New(failure.Unbalanced, err, "give its columns the width that they need", "the control file cannot be laid out")
		}
		lines = append(lines, line)
	}
	info := transfer.PartInfo{Dataset: transfer.ControlFile, Part2: part2, Format: transfer.Lines(file.Header != nil, false)}
	spec := gate.Spec{Format: gate.Laid, Layout: gateLayout(l, file)}
	for i := range file.Columns {
		c := &file.Columns[i]
		g := totalGrammar(c)
		switch {
		case c.Total != nil && c.Total.Kind == policies.FileName:
			g = gate.Mapped(names...)
		case c.Total != nil && c.Total.Kind == policies.AsOf:
			g = gate.Constant(r.asOfText(c))
		}
		spec.Positions = append(spec.Positions, laidPosition(c.Name, c, g))
		info.Columns = append(info.Columns, c.Name)
	}
	guard, err := gate.New(spec, r.index.roster)
	if err != nil {
		return err
	}
	header, err := l.Head(file)
	if err != nil {
		return err
	}
	if hit := guard.Header(header); hit != nil {
		return r.quarantined(info.Dataset, 0, hit)
	}
	out, err := r.Drop.Part(info)
	if err != nil {
		return err
	}
	text := header
	for i, line := range lines {
		if hit := guard.Row(line, nil); hit != nil {
			return r.quarantined(info.Dataset, int64(i+1), hit)
		}
		text = append(text, line...)
	}
	if _, err := out.Write(text); err != nil {
		return err
	}
	return out.Close(int64(len(lines)), 0)
}

// controlTexts are the cells of a file's line. A file of another form has no
// fields of the layout, so its sums are of nothing.
func (r *Run) controlTexts(p *listed, name string) (texts []string) {
	if p.sums == nil {
		p.sums = newTotals(totalsOf(r.Policy.Layout.Control.Columns))
	}
	sums := p.sums.list(0)
	for i := range r.Policy.Layout.Control.Columns {
		c, text := &r.Policy.Layout.Control.Columns[i], ""
		switch {
		case c.Total == nil:
			text = c.Text
		case c.Total.Kind == policies.FileName:
			text = name
		case c.Total.Kind == policies.AsOf:
			text = r.asOfText(c)
		case c.Total.Kind == "rows":
			text, sums = strconv.FormatInt(p.rows, 10), sums[1:]
		default:
			text, sums = sums[0].Value, sums[1:]
		}
		texts = append(texts, text)
	}
	return texts
}

// asOfText writes the as-of day.
func (r *Run) asOfText(c *policies.Column) string {
	year, month, day := r.AsOf.Time().Date()
	switch c.Date {
	case "YYYY-MM-DD":
		return fmt.Sprintf("%04d-%02d-%02d", year, month, day)
	case "YYYYMMDD":
		return fmt.Sprintf("%04d%02d%02d", year, month, day)
	case "MM/DD/YYYY":
		return fmt.Sprintf("%02d/%02d/%04d", month, day, year)
	case "M/D/YYYY":
		return fmt.Sprintf("%d/%d/%04d", month, day, year)
	}
	return fmt.Sprintf("%04d", year)
}
