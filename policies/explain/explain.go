// Package explain tells a policy in plain English, for those who answer for it:
// who gets what, why, under which law, and what a patient can do. It promises
// that each sentence is made from clauses of the policy's file, which it names,
// and that no clause is left out; and it prints the table of steps. The law is
// that of the policy: 45 CFR 164.502 to 164.528 and 42 CFR Part 2.
package explain

import (
	"errors"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// Page is a policy in plain English, for those who answer for it. It
// holds no sentence that the policy does not force: each is made from clauses
// of the file and names them.
type Page struct {
	Policy   string    `json:"policy"`
	Version  int       `json:"version"`
	SHA256   string    `json:"sha256"` // of the policy file
	Title    string    `json:"title"`
	Sections []Section `json:"sections"`
}

// Section is what the page says to one question.
type Section struct {
	Heading   string     `json:"heading"`
	Sentences []Sentence `json:"sentences"`
}

// Sentence is one sentence with the clauses that force it: key paths of the
// policy file, or FILE: PATH of another. What every policy of this language
// forces, and none can switch off, is forced by the first line: `postern`.
type Sentence struct {
	Text    string   `json:"text"`
	Item    bool     `json:"item,omitempty"`    // stands in a list
	ToCopy  bool     `json:"to_copy,omitempty"` // a line of its own, to be taken over letter by letter
	Clauses []string `json:"clauses"`
}

// everyPolicy is the clause that forces what no policy can switch off.
const everyPolicy = "postern"

// Of makes the page. The policy must be right, but for values that are
// still to be filled in, papers that are not in force today and what this
// version cannot carry out; else the error is that of Check.
func Of(p *policies.Policy, env policies.Env) (*Page, error) {
	open, err := unfinished(p, env)
	if err != nil {
		return nil, err
	}
	return explain(p, env, open), nil
}

func explain(p *policies.Policy, env policies.Env, open []strictyaml.Mistake) *Page {
	e := &explaining{Policy: p, env: env, kind: env.Recipients[p.Recipient],
		page: &Page{Policy: p.Name, Version: p.Version, SHA256: p.SHA256, Title: fmt.Sprintf("Policy %s, version %d", p.Name, p.Version)}}
	e.steps = e.binding()
	e.missing(open)
	e.inShort()
	e.whose()
	e.which()
	e.leaves()
	e.codes()
	e.stays()
	e.patient()
	e.delivery()
	e.stops()
	return e.page
}

// unfinished is what a policy lacks before it can run, and is not wrong.
func unfinished(p *policies.Policy, env policies.Env) ([]strictyaml.Mistake, error) {
	env.Unbuilt = false
	_, err := policies.Check(p, env)
	var found *strictyaml.Errors
	if !errors.As(err, &found) {
		return nil, err
	}
	for _, m := range found.List {
		if m.Cause != policies.ErrPlaceholder && m.Cause != policies.ErrNotInThisVersion && m.Cause != policies.ErrNotInForce {
			return nil, err
		}
	}
	return found.List, nil
}

// binding are the steps that bind the disclosure. Of a recipient who is still
// to be filled in, they are those of the kinds that the basis speaks of.
func (e *explaining) binding() policies.Steps {
	kind := e.kind
	for _, l := range policies.ApplicabilityTable() {
		if e.IsOpen("recipient") && l.Basis == policies.Section(e.Basis) && kind == "" {
			kind = append(l.Recipients, "provider")[0]
		}
	}
	return policies.Applies(kind, e.Basis, e.Standard)
}

// missing says what is still to be done before the policy can run.
func (e *explaining) missing(open []strictyaml.Mistake) {
	if len(open) == 0 {
		return
	}
	e.section("What is missing before it can run")
	for _, m := range open {
		text := m.Message
		if what, ok := strings.CutPrefix(m.Hint, strictyaml.PlaceholderPrefix); ok {
			text = "to be filled in:" + what
		}
		e.item(m.Path+": "+sentence(text), m.Path)
	}
}

// explaining is a page that is being written.
type explaining struct {
	*policies.Policy
	env   policies.Env
	kind  string // of the recipient
	steps policies.Steps
	page  *Page
}

func (e *explaining) section(heading string) {
	e.page.Sections = append(e.page.Sections, Section{Heading: heading})
}

// say adds a sentence and the clauses it is made from. Those that the file
// leaves out force nothing; if it leaves out all, the language does.
func (e *explaining) say(text string, clauses ...string) { e.add(Sentence{Text: text}, clauses) }

// item is say, in a list.
func (e *explaining) item(text string, clauses ...string) {
	e.add(Sentence{Text: text, Item: true}, clauses)
}

func (e *explaining) add(s Sentence, clauses []string) {
	for _, c := range clauses {
		if e.Written(c) && !slices.Contains(s.Clauses, c) {
			s.Clauses = append(s.Clauses, c)
		}
	}
	if len(s.Clauses) == 0 {
		s.Clauses = []string{everyPolicy}
	}
	last := &e.page.Sections[len(e.page.Sections)-1]
	last.Sentences = append(last.Sentences, s)
}

// day is a date in words.
func (e *explaining) day(clause string, d extract.Day) string {
	if e.IsOpen(clause) {
		return "(date to be filled in)"
	}
	return d.Time().Format("January 2, 2006")
}

// text is what somebody wrote, or that it is still to be written.
func (e *explaining) text(clause, value string) string {
	if e.IsOpen(clause) {
		return "(to be filled in:" + strings.TrimPrefix(value, strictyaml.PlaceholderPrefix) + ")"
	}
	return value
}

// HTML is the page as one self-contained HTML file.
func (x *Page) HTML() string { return page.HTML(x.Title, false, body, x) }

var body = template.Must(template.New("explanation").Parse(`{{range .Sections}}<h2>{{.Heading}}</h2>
{{range .Paragraphs}}{{if (index . 0).Item}}<ul>
{{range .}}<li>{{.Text}}</li>
{{end}}</ul>
{{else if (index . 0).ToCopy}}<pre>{{(index . 0).Text}}</pre>
{{else}}<p>{{range $i, $s := .}}{{if $i}} {{end}}{{$s.Text}}{{end}}</p>
{{end}}{{end}}{{end}}<p class="digest">Made from the policy file whose SHA-256 is {{.SHA256}}.</p>
`))

// each are the clauses of a list of so many.
func each(at string, n int) []string {
	clauses := make([]string, n)
	for i := range clauses {
		clauses[i] = fmt.Sprintf("%s[%d]", at, i)
	}
	return clauses
}

// Text is the page as Markdown, its lines no longer than 80 characters, but for
// those to copy.
func (x *Page) Text() string {
	var b strings.Builder
	b.WriteString(page.Wrap(x.Title, "# ", "# "))
	for _, s := range x.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n", s.Heading)
		for i, part := range s.Paragraphs() {
			if i > 0 {
				b.WriteString("\n")
			}
			if part[0].ToCopy {
				b.WriteString("    " + part[0].Text + "\n")
				continue
			}
			text := ""
			for _, s := range part {
				if text += " " + s.Text; s.Item {
					b.WriteString(page.Wrap(s.Text, "- ", "  "))
				}
			}
			if !part[0].Item {
				b.WriteString(page.Wrap(text, "", ""))
			}
		}
	}
	fmt.Fprintf(&b, "\nMade from the policy file whose SHA-256 is\n`%s`.\n", x.SHA256)
	return b.String()
}

// Paragraphs parts the sentences into runs: of a text, of a list, or a line to copy.
func (s Section) Paragraphs() (parts [][]Sentence) {
	for i, one := range s.Sentences {
		if i == 0 || one.ToCopy || s.Sentences[i-1].ToCopy || one.Item != s.Sentences[i-1].Item {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], one)
	}
	return parts
}
