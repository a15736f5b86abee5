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
	spec.Layout = &gate.Layout{Delimiter: l.Delimiter, Quotes: gateQuotes[l.Quotes], LineEnd: l.LineEnd, ASCII: l.ASCII, BOM: l.BOM}
	for i := range file.Columns {
		c := &file.Columns[i]
		g, err := r.columnGrammar(release, c, schema)
		if err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
		spec.Positions = append(spec.Positions, laidPosition(c.Name, c, g))
	}
	for i := range file.Header {
		c := &file.Header[i]
		spec.Layout.Header = append(spec.Layout.Header, laidPosition(fmt.Sprintf("header, cell %d", i+1), c, gate.Constant(strings.Trim(c.Text, " "))))
	}
	for i := range file.Trailer {
		c, g := &file.Trailer[i], gate.Count()
		switch {
		case c.Total == nil:
			g = gate.Constant(strings.Trim(c.Text, " "))
		case c.Total.Kind == "sum":
			g = gate.Sum()
		}
		spec.Layout.Trailer = append(spec.Layout.Trailer, laidPosition(fmt.Sprintf("trailer, cell %d", i+1), c, g))
	}
	return nil
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
	case c.Date == "":
		return r.cellGrammar(release, &release.Fields[at], schema)
	case !r.showsDates():
		return gate.Grammar{}, fmt.Errorf("a date cannot leave under %s", r.Policy.Standard)
	case release.Fields[at].Class == extract.BirthDate:
		return gate.OwnDateIn(c.Date, gate.BirthDate), nil
	}
	return gate.DateIn(c.Date), nil
}
