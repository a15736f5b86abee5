// Package gate takes the last look at the very bytes that are about to be sent.
//
// It promises that every value of a row stands at a position that the release
// declared, that the value fits the grammar declared for it, and that no value
// which its grammar does not fully decide holds an identifier pattern
// (45 CFR 164.514(b)(2)(i)(A)–(R)) or a value from this clinic's own roster of
// people. Where a release names an identifier, the value must be that row's
// own subject's. What the gate cannot parse, it does not pass.
//
// It is a second opinion, so it shares nothing with the engine whose work it
// judges: no scanner, no plan, no class table. Its readers accept only the
// shape that Postern itself writes, compact JSON (RFC 8259) one resource a
// line, CSV (RFC 4180) with LF, and the one layout that is declared; that
// narrowness is wanted.
package gate

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// Format is the shape of the rows.
type Format uint8

const (
	NDJSON Format = iota + 1
	CSV
	Laid // as Spec.Layout says
)

// Spec declares all that may stand in one part of a drop.
type Spec struct {
	Format Format
	// ExactDates says that the release may show dates finer than a year
	// (identified, limited data set). It governs scanned text only: a position
	// that holds dates says so by its grammar.
	ExactDates bool
	// RecordNumbers are the forms of the clinic's own record numbers, as
	// CheckRecordNumber has them. Nobody's may stand in a scanned text.
	RecordNumbers []string
	// Positions: for CSV and Laid in the order of the columns.
	Positions []Position
	Layout    *Layout // of Laid
}

// Position is one place in a row at which a value may stand.
type Position struct {
	// Path is a column name, or a path from the resource type down, written
	// as Path does: "Observation.valueQuantity.value". Arrays do not show.
	Path    string
	Grammar Grammar
}

// Path joins the steps of an NDJSON position. A step "extension:URL" is the
// element of the array `extension` that has this URL.
func Path(steps ...string) string {
	written := make([]string, len(steps))
	for i, step := range steps {
		written[i] = step
		if url, ok := strings.CutPrefix(step, "extension:"); ok {
			written[i] = "extension(" + url + ")"
		}
	}
	return strings.Join(written, ".")
}

// Hit says where a row was stopped and by which rule. It never holds a value.
type Hit struct {
	Position string // a declared path, its parent when a member is undeclared, "" for the row
	Rule     string // "unparseable", "undeclared", "grammar", "pattern: …", "roster: …"
}

func (h *Hit) Error() string {
	return fmt.Sprintf("the gate stopped a row at %q by rule %q", h.Position, h.Rule)
}

// The rules that are neither a pattern's nor the roster's.
const (
	RuleUnparseable = "unparseable"
	RuleUndeclared  = "undeclared"
	RuleGrammar     = "grammar"
	RuleNotOwn      = "not the row's own subject's"
	RuleElsewhere   = "a value in the column of another code"
)

// Gate judges rows. It keeps scratch space, so each goroutine needs one of its
// own; they share the Roster. A Gate does not allocate once warm.
type Gate struct {
	roster   *Roster
	exact    bool
	forms    []recordForm
	header   []byte
	columns  []column
	laid     *laid
	types    []*node
	harmless map[string]struct{} // normalized values of the closed positions
	released [kinds]bool         // kinds of identifiers that some position lets out

	subjects []uint32
	line     []byte
	at       int
	found    Hit
	plain    []byte          // a string or cell without its escapes
	inner    [deepest][]byte // what was encoded in a string
	folded   [deepest + 1][]byte
	text     text
	memo     [memoSize]remembered
	judged   Counts
	open     bool // the value at hand is searched
	passing  passing
}

// Counts are what a gate has judged so far.
type Counts struct {
	Rows     uint64 `json:"rows"`     // lines; header and trailer are none
	Values   uint64 `json:"values"`   // at declared positions; an empty cell is none
	Searched uint64 `json:"searched"` // values that their grammar leaves open: searched for identifiers and people
}

// Counts tells what this gate has judged so far, a row that it stopped
// included, up to the hit.
func (g *Gate) Counts() Counts { return g.judged }

// Add adds the counts of another gate.
func (c *Counts) Add(other Counts) {
	c.Rows += other.Rows
	c.Values += other.Values
	c.Searched += other.Searched
}

// New compiles a specification. The roster must be frozen: a gate without one
// would be blind, so it is an error to have none.
func New(spec Spec, roster *Roster) (*Gate, error) {
	if roster == nil || !roster.frozen {
		return nil, errors.New("the gate needs a frozen roster")
	}
	if len(spec.Positions) == 0 {
		return nil, errors.New("the gate needs at least one position")
	}
	g := &Gate{roster: roster, exact: spec.ExactDates, harmless: map[string]struct{}{}}
	for _, form := range spec.RecordNumbers {
		if err := CheckRecordNumber(form); err != nil {
			return nil, fmt.Errorf("form of record numbers %s: %w", form, err)
		}
		g.forms = append(g.forms, formOf(form))
	}
	for i := range spec.Positions {
		if err := g.declare(spec.Format, &spec.Positions[i]); err != nil {
			return nil, fmt.Errorf("gate position %d: %w", i+1, err)
		}
	}
	switch spec.Format {
	case CSV:
		g.addLayout(&ownCSV)
	case Laid:
		g.addLayout(spec.Layout)
	}
	return g, nil
}

func (g *Gate) declare(format Format, p *Position) error {
	if p.Path == "" {
		return errors.New("has no path")
	}
	if p.Grammar.judge == nil {
		return fmt.Errorf("%s has no grammar", p.Path)
	}
	for _, kind := range p.Grammar.own {
		g.released[kind] = true
	}
	for _, value := range p.Grammar.values {
		g.harmless[string(g.text.normalize([]byte(value)))] = struct{}{}
	}
	switch format {
	case NDJSON:
		return g.addPath(p)
	case CSV:
		return g.addColumn(p)
	case Laid:
		g.columns = append(g.columns, columnOf(p))
		return nil
	}
	return errors.New("the format is neither NDJSON nor CSV nor Laid")
}

// Header judges the first line of a CSV part: it must be the declared columns
// in their order, to the byte; of a layout, all that stands before the rows.
// NDJSON has none.
func (g *Gate) Header(line []byte) *Hit {
	if g.laid == nil || g.laid.Layout == &ownCSV {
		if g.laid == nil || !bytes.Equal(bytes.TrimSuffix(line, newline), g.header) {
			return &Hit{Rule: RuleUndeclared}
		}
		return nil
	}
	g.found, g.subjects = Hit{}, nil
	return g.hit(g.headOf(line))
}

var newline = []byte{'\n'}

// Row judges one row, with or without the LF that ends it; nil means clean.
// subjects are the people the row is about. A Hit is the row's first.
func (g *Gate) Row(line []byte, subjects []uint32) *Hit {
	g.line, g.at, g.subjects = bytes.TrimSuffix(line, newline), 0, subjects
	g.found = Hit{}
	g.judged.Rows++
	clean := false
	switch {
	case g.laid == nil:
		clean = g.readResource()
	case g.laid.Layout == &ownCSV:
		clean = g.readLaid(g.line, g.columns)
	default:
		clean = g.readLaid(line, g.columns)
	}
	return g.hit(clean)
}

// hit is the first of the lines that were read last, if they were not clean.
func (g *Gate) hit(clean bool) *Hit {
	if clean {
		return nil
	}
	hit := g.found
	return &hit
}

// stop records the first hit of a row; it returns false so that a reader can
// leave at once.
func (g *Gate) stop(position, rule string) bool {
	if g.found.Rule == "" {
		g.found = Hit{Position: position, Rule: rule}
	}
	return false
}
