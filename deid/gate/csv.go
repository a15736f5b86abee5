package gate

import (
	"fmt"
	"strings"
)

// ownCSV is the layout of our own CSV. An empty cell is a missing value and fits
// every column; a row is given without its LF.
var ownCSV = Layout{Delimiter: ',', Quotes: quotesFree}

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
	g.columns = append(g.columns, columnOf(p))
	name := p.Path
	if strings.ContainsAny(name, "\",\r\n") {
		name = `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	g.header = append(g.header, name...)
	return nil
}

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
