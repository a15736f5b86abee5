package casefile

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// roster is the name under which a case's roster is loaded.
const roster = "members"

// laid are the protective inputs of a case as files in a scratch folder, and
// the tables that the loaders make of them.
type laid struct {
	c      *Case
	dir    string
	tables *consent.Tables
	lines  map[string][]strictyaml.Pos // of each file: where line n stands in the case
}

// load lays the inputs out and loads them as a run does. A defect of theirs is
// an *inputDefect.
func (c *Case) load(ctx context.Context, dir string) (*consent.Tables, error) {
	l := &laid{c: c, dir: dir, lines: map[string][]strictyaml.Pos{}, tables: consent.NewTables()}
	l.tables.Directives.OwnServers(c.Clinic.Identifiers)
	for _, load := range []func(context.Context) error{l.merges, l.consents, l.registry, l.restrictions, l.programs, l.coverage} {
		if err := load(ctx); err != nil {
			return nil, l.locate(err)
		}
	}
	l.index()
	return l.tables, nil
}

// inputDefect is a defect of a protective input, by its place in the case.
type inputDefect struct {
	at  strictyaml.Pos
	err *consent.InputError
}

func (e *inputDefect) Error() string { return fmt.Sprintf("line %d: %s", e.at.Line, e.err.Why) }

func (l *laid) locate(err error) error {
	var defect *consent.InputError
	if !errors.As(err, &defect) {
		return err
	}
	at := strictyaml.Pos{Line: l.c.Line, Column: 1}
	if lines := l.lines[filepath.Base(defect.File)]; defect.Line > 0 && defect.Line <= len(lines) {
		at = lines[defect.Line-1]
	}
	return &inputDefect{at, defect}
}

// merges lays the list of ids that stand for one person. It comes first.
func (l *laid) merges(context.Context) error {
	cells := [][]string{{"from", "into"}}
	for _, p := range l.c.Patients {
		if p.MergedInto != "" {
			cells = append(cells, []string{p.ID, p.MergedInto})
		}
	}
	if len(cells) == 1 {
		return nil
	}
	path := filepath.Join(l.dir, "merges.csv")
	if err := writeTable(path, cells); err != nil {
		return err
	}
	m := l.tables.Merges
	m.On = extract.DayOf(l.c.DecidedAt)
	_, err := m.Load(path)
	return errors.Join(err, m.Settle())
}

// classifier lays what the clinic has declared of labels; nil where it has not.
func (c *Case) classifier(dir string) (*consent.Classifier, error) {
	if len(c.Clinic.Classifier) == 0 {
		return nil, nil
	}
	include, labels := "", ""
	for i, d := range c.Clinic.Classifier {
		labels += fmt.Sprintf("  %s:\n    providers: [%s]\n    otherwise: %s\n", d.Label, strings.Join(d.Providers, ", "), cmp.Or(d.Otherwise, "cannot tell"))
		for _, set := range []struct {
			key   string
			codes []string
		}{{"in", d.Codes}, {"perhaps", d.Perhaps}} {
			if len(set.codes) == 0 {
				continue
			}
			name := fmt.Sprintf("%s-%d", set.key, i)
			if err := os.WriteFile(filepath.Join(dir, name+".yaml"), valueSet(set.codes), 0o600); err != nil {
				return nil, err
			}
			include += fmt.Sprintf("  %s: %s.yaml\n", name, name)
			labels += fmt.Sprintf("    %s: [%s]\n", set.key, name)
		}
	}
	file := fmt.Sprintf("postern: classifier/v1\ninclude:\n%slabels:\n%snotes:\n  psychotherapy: {types: [%s]}\n  sud-counseling: {types: [%s]}\n",
		include, labels, strings.Join(c.Clinic.PsychotherapyNotes, ", "), strings.Join(c.Clinic.SUDCounselingNotes, ", "))
	path := filepath.Join(dir, "classifier.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		return nil, err
	}
	return consent.LoadClassifier(path, dayOf(c.AsOf))
}

// valueSet is a value set of codes, each CODE, FIRST..LAST or PREFIX*.
func valueSet(codes []string) []byte {
	lists := map[string]string{}
	for _, code := range codes {
		key, prefix := "codes", strings.TrimSuffix(code, "*")
		if strings.Contains(code, "..") {
			key = "ranges"
		} else if prefix != code {
			key = "prefixes"
		}
		lists[key] += fmt.Sprintf("%q, ", prefix)
	}
	set := "postern: value-set/v1\ntitle: codes of a case\nsource: the case\nlicence: none needed\nsystem: urn:case\neffective: {from: 1900-01-01, to: open}\n"
	for key, list := range lists {
		set += key + ": [" + list + "]\n"
	}
	return []byte(set)
}

// rows are the directives that stand in a consent registry.
func (c *Case) rows() (list []strictyaml.Node) {
	for _, d := range c.Directives {
		if d.TextAt("resourceType") == "" && d.TextAt("malformed") == "" {
			list = append(list, d)
		}
	}
	return list
}

// consents lays the FHIR Consents, and the lines that are none.
func (l *laid) consents(ctx context.Context) error {
	var lines []byte
	const name = "consents.ndjson"
	for _, d := range l.c.Directives {
		switch {
		case d.TextAt("resourceType") != "":
			lines = d.AppendJSON(lines)
		case d.TextAt("malformed") != "":
			lines = append(lines, d.TextAt("malformed")...)
		default:
			continue
		}
		lines = append(lines, '\n')
		l.lines[name] = append(l.lines[name], d.Pos())
	}
	if lines == nil {
		return nil
	}
	path := filepath.Join(l.dir, name)
	if err := os.WriteFile(path, lines, 0o600); err != nil {
		return err
	}
	file, err := extract.FileAt(path, &extract.FileRule{Format: extract.FHIRNDJSON})
	if err != nil {
		return err
	}
	_, err = l.tables.Directives.LoadFHIRConsents(ctx, []extract.File{file})
	return err
}

func (l *laid) registry(context.Context) error {
	return table(l, "registry.csv", columns("consents"), l.c.rows(), l.tables.Directives.LoadRegistry)
}

func (l *laid) restrictions(context.Context) error {
	return table(l, "restrictions.csv", columns("restrictions"), l.c.Restrictions, l.tables.Restrictions.Load)
}

func (l *laid) programs(context.Context) error {
	return table(l, "programs.csv", columns("programs"), l.c.Programs, l.tables.Programs.Load)
}

// coverage lays the roster of the recipient: the rows that name no plan, or it.
func (l *laid) coverage(context.Context) error {
	cells := [][]string{columns("roster")}
	for _, row := range l.c.Coverage {
		if row.Plan != "" && row.Plan != l.c.Request.Recipient {
			continue
		}
		if row.MemberID == "" {
			row.MemberID = "member-" + row.Subject
		}
		cells = append(cells, []string{row.Subject, row.MemberID, row.From, row.To})
	}
	path := filepath.Join(l.dir, "roster.csv")
	err := writeTable(path, cells)
	if err != nil {
		return err
	}
	l.tables.Rosters[roster], err = consent.LoadRoster(path, l.tables.People)
	return err
}

// table lays rows as a CSV file and loads it.
func table(l *laid, name string, columns []string, rows []strictyaml.Node, load func(string) (consent.Input, error)) error {
	if len(rows) == 0 {
		return nil
	}
	cells := [][]string{columns}
	l.lines[name] = []strictyaml.Pos{{}}
	for _, row := range rows {
		line := make([]string, len(columns))
		for i, column := range columns {
			line[i] = row.TextAt(column)
		}
		cells, l.lines[name] = append(cells, line), append(l.lines[name], row.Pos())
	}
	path := filepath.Join(l.dir, name)
	if err := writeTable(path, cells); err != nil {
		return err
	}
	_, err := load(path)
	return err
}

func writeTable(path string, cells [][]string) error {
	var b strings.Builder
	w := csv.NewWriter(&b)
	if err := w.WriteAll(cells); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(b.String()), 0o600)
}

// index makes the tables that a run makes of the extract itself: people,
// their links, and the encounters.
func (l *laid) index() {
	t := l.tables
	t.Encounters = consent.NewEncounters(t.Programs, t.People)
	for _, p := range l.c.Patients {
		s := t.People.Intern([]byte(p.ID))
		if p.LinkedTo != "" {
			t.People.Link(s)
		}
		if birth, ok := extract.ParseSpan([]byte(p.BirthDate)); ok {
			t.People.NoteBirth(s, birth)
		}
	}
	for _, e := range l.c.Encounters {
		l.encounter(&record{ID: e.ID, Dataset: "Encounter", Subject: e.Subject, Date: e.Date, Providers: e.Providers})
	}
	for i := range l.c.Records {
		l.encounter(&l.c.Records[i])
	}
}

func (l *laid) encounter(r *record) {
	f, rejected := r.facts()
	if rejected != extract.NoReason {
		return
	}
	for _, patient := range f.Subjects {
		l.tables.People.Intern(patient)
	}
	if met, ok := l.tables.Encounters.Weigh(&f); ok && f.Dataset == "Encounter" {
		l.tables.Encounters.Add(f.ID, met, f.Subjects...)
	}
}
