package strictyaml

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Pos is a place in a file, both numbers from 1; columns count characters.
type Pos struct{ Line, Column int }

// Mistake is one thing that is wrong with a file.
type Mistake struct {
	File         string
	Line, Column int
	Path         string // of keys, such as exchanges.acme.schedule; "" for the whole file
	Message      string
	Hint         string // what to do; may be empty
	Cause        error  // for errors.Is; may be nil
}

func (m Mistake) Error() string {
	text := fmt.Sprintf("%s:%d:%d: ", m.File, m.Line, m.Column)
	if m.Path != "" {
		text += m.Path + ": "
	}
	text += m.Message
	if m.Hint != "" {
		text += " (" + m.Hint + ")"
	}
	return text
}

// Unwrap gives the cause.
func (m Mistake) Unwrap() error { return m.Cause }

// Errors holds all mistakes of a file, and of those it includes.
type Errors struct {
	File  string
	List  []Mistake
	texts map[string][]byte // of the files, for Render
	seen  map[Mistake]bool
}

// Add notes a mistake. The same mistake at the same place is noted once.
func (e *Errors) Add(pos Pos, path, message, hint string) {
	e.AddCause(pos, path, message, hint, nil)
}

// AddCause notes a mistake that errors.Is can recognise by its cause, which
// must be comparable.
func (e *Errors) AddCause(pos Pos, path, message, hint string, cause error) {
	e.Note(Mistake{File: e.File, Line: pos.Line, Column: pos.Column, Path: path, Message: message, Hint: hint, Cause: cause})
}

// Join takes over the mistakes of an included file.
func (e *Errors) Join(included *Errors) {
	if e.texts == nil {
		e.texts = map[string][]byte{}
	}
	maps.Copy(e.texts, included.texts)
	for _, m := range included.List {
		e.Note(m)
	}
}

// Note notes a mistake as it is.
func (e *Errors) Note(m Mistake) {
	if e.seen[m] {
		return
	}
	if e.seen == nil {
		e.seen = map[Mistake]bool{}
	}
	e.seen[m] = true
	e.List = append(e.List, m)
}

// Err is nil when there is no mistake, else e with its mistakes in the order
// of the file; those of included files come last.
func (e *Errors) Err() error {
	if len(e.List) == 0 {
		return nil
	}
	slices.SortStableFunc(e.List, func(a, b Mistake) int {
		return cmp.Or(e.rank(a)-e.rank(b), cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return e
}

// rank is 0 for a mistake of the file itself, 1 for one of an included file.
func (e *Errors) rank(m Mistake) int {
	if m.File == e.File {
		return 0
	}
	return 1
}

// Error gives one line a mistake: file:line:col: key.path: message (hint).
func (e *Errors) Error() string {
	lines := make([]string, len(e.List))
	for i, m := range e.List {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the mistakes, so that errors.Is finds any cause among them.
func (e *Errors) Unwrap() []error {
	list := make([]error, len(e.List))
	for i, m := range e.List {
		list[i] = m
	}
	return list
}

// Only tells whether every mistake has the cause.
func (e *Errors) Only(cause error) bool {
	for _, m := range e.List {
		if !errors.Is(m, cause) {
			return false
		}
	}
	return len(e.List) > 0
}

// secret is a line that may hold one where only a reference or a public key belongs:
// what a mistake shows, a log keeps.
var secret = regexp.MustCompile(`(?i)AGE-SECRET-KEY-|PRIVATE KEY|^\s*(keys|master|passphrase|(drop_signing|checkpoint)(_before)?)\s*:`)

// Render writes each mistake with the line it is in and a caret under it, unless
// the line may hold a secret.
func (e *Errors) Render(w io.Writer) error {
	var b strings.Builder
	for _, m := range e.List {
		text := e.texts[m.File]
		lines := bytes.Split(text, []byte("\n"))
		hint := m.Hint
		m.Hint = ""
		b.WriteString(m.Error() + "\n")
		if m.Line >= 1 && m.Line <= len(lines) && len(text) > 0 && !secret.Match(lines[m.Line-1]) {
			excerpt(&b, m, string(lines[m.Line-1]))
		}
		if hint != "" {
			b.WriteString("  hint: " + hint + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// excerpt writes a source line, cut to what fits a terminal, and the caret.
func excerpt(b *strings.Builder, m Mistake, line string) {
	const width, before = 100, 40
	runes := []rune(strings.Map(printable, strings.TrimRight(line, "\r")))
	column := min(max(m.Column-1, 0), len(runes))
	if from := column - (width - before); from > 0 {
		runes, column = runes[from:], column-from
	}
	runes = runes[:min(len(runes), width)]
	number := fmt.Sprintf("%5d", m.Line)
	fmt.Fprintf(b, "%s | %s\n%s | %s^\n", number, string(runes), strings.Repeat(" ", len(number)), strings.Repeat(" ", column))
}

// printable keeps terminals safe from control characters of a file.
func printable(r rune) rune {
	if r == utf8.RuneError || r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return ' '
	}
	return r
}

// Nearest gives the name among the given ones that is most like name, or ""
// when none is like it. Case, hyphens and underscores do not count.
func Nearest(name string, among []string) string {
	best, least := "", 1+len(name)/3
	for _, candidate := range among {
		if d := distance(fold(name), fold(candidate)); d < least || d == least && best == "" {
			best, least = candidate, d
		}
	}
	return best
}

func fold(s string) string { return strings.ToLower(strings.ReplaceAll(s, "-", "_")) }

// distance is the number of characters to insert, delete, replace or swap with
// their neighbour between two words.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
