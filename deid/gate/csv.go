package gate

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

type column struct {
	name   string
	site   site
	width  int  // of a layout without delimiter
	always bool // an empty cell is no missing value, but a wrong one
	when   *When
	filled bool   // of the row at hand: it holds a value of the code that when names
	seen   []byte // of the row at hand: what the cell holds
}

func (g *Gate) addColumn(p *Position) error {
	for _, c := range g.columns {
		if c.name == p.Path {
			return fmt.Errorf("column %s stands twice", p.Path)
		}
	}
	if len(g.columns) > 0 {
		g.header = append(g.header, ',')
	}
	g.columns = append(g.columns, column{name: p.Path, site: site{path: p.Path, judge: p.Grammar.judge}})
	if strings.ContainsAny(p.Path, "\",\r\n") {
		g.header = append(g.header, '"')
		g.header = append(g.header, strings.ReplaceAll(p.Path, `"`, `""`)...)
		g.header = append(g.header, '"')
		return nil
	}
	g.header = append(g.header, p.Path...)
	return nil
}

// readCells reads one row; an empty cell is a missing value and fits every
// column.
func (g *Gate) readCells() bool {
	if !utf8.Valid(g.line) {
		return g.stop("", RuleUnparseable)
	}
	for i := range g.columns {
		c := &g.columns[i]
		cell, ok := g.readCell()
		if !ok {
			return g.stop(c.name, RuleUnparseable)
		}
		last := i == len(g.columns)-1
		if atEnd := g.at == len(g.line); atEnd != last {
			return g.stop(c.name, RuleUnparseable)
		}
		g.at++ // the comma
		if len(cell) == 0 {
			continue
		}
		if rule := g.admit(&c.site, cell); rule != "" {
			return g.stop(c.name, rule)
		}
	}
	return true
}

// readCell reads up to the comma or the end of the row (RFC 4180 §2).
func (g *Gate) readCell() ([]byte, bool) {
	rest := g.line[g.at:]
	if len(rest) > 0 && rest[0] == '"' {
		return g.readQuoted(',')
	}
	for i, c := range rest {
		if endsCell[c] {
			g.at += i
			return rest[:i], c == ','
		}
	}
	g.at += len(rest)
	return rest, true
}

// endsCell marks the comma, and what may not stand in a cell without quotes.
var endsCell = func() (t [256]bool) {
	for c := range ' ' {
		t[c] = c != '\t'
	}
	t[','], t['"'] = true, true
	return t
}()

// readQuoted reads a quoted cell up to its delimiter or the end of the row.
func (g *Gate) readQuoted(delimiter byte) ([]byte, bool) {
	g.plain = g.plain[:0]
	for i := g.at + 1; i < len(g.line); i++ {
		c := g.line[i]
		if c != '"' {
			g.plain = append(g.plain, c)
			continue
		}
		if i+1 < len(g.line) && g.line[i+1] == '"' {
			g.plain = append(g.plain, '"')
			i++
			continue
		}
		g.at = i + 1
		return g.plain, g.at == len(g.line) || g.line[g.at] == delimiter
	}
	return nil, false
}
