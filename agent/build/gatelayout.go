package build

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

var gateQuotes = map[string]gate.Quotes{policies.WhereNeeded: gate.QuotesWhereNeeded, policies.Always: gate.QuotesAlways, policies.Never: gate.QuotesNever}

// laidPositions tells the gate what may stand at each position of a part in the
// recipient's layout, in its header and in its trailer.
func (r *Run) laidPositions(release *policies.Release, schema *extract.Schema, spec *gate.Spec) error {
	l, file := r.Policy.Layout, r.Policy.Layout.File(release.Dataset)
	spec.Format = gate.Laid
	spec.Layout = gateLayout(l, file)
	for i := range file.Columns {
		c := &file.Columns[i]
		g, err := r.columnGrammar(release, c, schema)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
		p := laidPosition(c.Name, c, g)
		if c.When != nil {
			p.Grammar = gate.Bound(whenOf(l, file, c), p.Grammar)
		}
		spec.Positions = append(spec.Positions, p)
	}
	return nil
}

// gateLayout is the form of a file, with its header and trailer.
func gateLayout(l *policies.Layout, file *policies.LaidOut) *gate.Layout {
	out := &gate.Layout{Delimiter: l.Delimiter, Quotes: gateQuotes[l.Quotes], LineEnd: l.LineEnd, ASCII: l.ASCII, BOM: l.BOM}
	for i := range file.Header {
		c := &file.Header[i]
		out.Header = append(out.Header, laidPosition(fmt.Sprintf("header, cell %d", i+1), c, totalGrammar(c)))
	}
	for i := range file.Trailer {
		c := &file.Trailer[i]
		out.Trailer = append(out.Trailer, laidPosition(fmt.Sprintf("trailer, cell %d", i+1), c, totalGrammar(c)))
	}
	return out
}

// totalGrammar is what may stand in a cell that holds a text, a count or a sum.
func totalGrammar(c *policies.Column) gate.Grammar {
	switch {
	case c.Total == nil:
		return gate.Constant(strings.Trim(c.Text, " "))
	case c.Total.Kind == "sum":
		return gate.Sum()
	}
	return gate.Count()
}

// whenOf tells the gate what a column holds in rows of another code than its own,
// and where it sees which code a row has: where a column holds it in every row.
func whenOf(l *policies.Layout, file *policies.LaidOut, c *policies.Column) gate.When {
	when := gate.When{Column: slices.IndexFunc(file.Columns, func(o policies.Column) bool {
		return o.When == nil && o.From == c.When.From && (o.Leaf == nil || slices.Equal(o.Leaf.Path, c.When.Leaf.Path))
	})}
	if c.Others != nil {
		when.Else = laidText(l, *c.Others, c)
	}
	if when.Column >= 0 {
		code := &file.Columns[when.Column]
		to, mapped := code.Codes[c.When.Value]
		switch {
		case code.Codes == nil:
			to = c.When.Value
		case !mapped && code.Others != nil:
			to = *code.Others
		}
		when.Is = laidText(l, to, code)
	}
	return when
}

// laidText is a text as the gate reads it in a cell; one that does not fit never
// stands there.
func laidText(l *policies.Layout, text string, c *policies.Column) string {
	if l.Delimiter != 0 {
		return text
	}
	cell, _ := l.Append(nil, []byte(text), c)
	return strings.Trim(string(cell), " ")
}

func laidPosition(path string, c *policies.Column, g gate.Grammar) gate.Position {
	if c.Zeros {
		return gate.Position{Path: path, Grammar: gate.ZeroFilled(c.Width, g)}
	}
	return gate.Position{Path: path, Grammar: gate.InWidth(c.Width, g)}
}

func (r *Run) columnGrammar(release *policies.Release, c *policies.Column, schema *extract.Schema) (gate.Grammar, error) {
	at := slices.IndexFunc(release.Fields, func(f policies.Field) bool { return f.Name == c.From })
	switch {
	case c.RowKey:
		return gate.RowKey(deid.CodeLen), nil
	case c.From == "" && c.Text == "":
		return gate.Nothing(), nil
	case c.From == "":
		return gate.Constant(strings.Trim(c.Text, " ")), nil
	case at < 0:
		return gate.Grammar{}, fmt.Errorf("%s is not released", c.From)
	case c.Codes != nil:
		codes := slices.Collect(maps.Values(c.Codes))
		if c.Others != nil {
			codes = append(codes, *c.Others)
		}
		return gate.Mapped(codes...), nil
	case c.Date == "" && c.Leaf != nil:
		return r.leafGrammar(release, &release.Fields[at], c.Leaf)
	case c.Date == "":
		return r.cellGrammar(release, &release.Fields[at], schema)
	case !r.showsDates():
		return gate.Grammar{}, fmt.Errorf("a date cannot leave under %s", r.Policy.Standard)
	case c.Leaf != nil && c.Leaf.Class == extract.BirthDate, c.Leaf == nil && release.Fields[at].Class == extract.BirthDate:
		return gate.OwnDateIn(c.Date, gate.BirthDate), nil
	}
	return gate.DateIn(c.Date), nil
}
